//! [`verify_connection`] and [`Verifier`], which open attested sessions. The settings are in `builder`.

mod addresses;
mod builder;
mod front_end_headers;

use std::fmt;
use std::sync::{Arc, OnceLock};

pub use builder::VerifierBuilder;

use crate::attest::{Coalesce, EvidenceBundle, collect};
use crate::error::AttestationError;
use crate::policy::Policy;
use crate::session::{ManagedSession, Session};
use crate::verifier_state::VerifierState;

/// Attests the peer behind a URL and opens a session with it, before any application data is sent.
///
/// The result is a session with an open connection to a peer that passed every check of the policy. This is
/// [`Verifier::connect`] with the default settings of [`Verifier::builder`]; key sets of MAA instances are cached for the
/// process.
///
/// ```no_run
/// # use blindbox_attestation::{HostData, Policy, Trust, UvmRequirement, Workload, verify_connection};
/// # async fn f(cce_policy: &str) -> Result<(), Box<dyn std::error::Error>> {
/// let policy = Policy::confidential_container(
///     Trust::maa("https://sharedneu.neu.attest.azure.net")?,
///     Workload::binds_its_own_key(HostData::from_cce_policy(cce_policy)?),
///     UvmRequirement::at_least(101),
/// )?;
/// let session = verify_connection("https://my-app.example", &policy).await?;
/// println!("{}", session.attestation());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`AttestationError`], one variant for each cause. In that case nothing was sent but the attestation request.
pub async fn verify_connection(url: impl AsRef<str>, policy: &Policy) -> Result<Session, AttestationError> {
    static VERIFIER: OnceLock<Result<Verifier, AttestationError>> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(|| Verifier::builder().build()).clone()?;
    verifier.connect(url, policy).await
}

/// Opens attested sessions. Cheap to clone; clones share caches and attestations in progress, so share one.
///
/// No result that depends on a policy outlives the calls that requested it: every call of [`Verifier::connect`] attests its
/// peer again, or shares the attestation of a call with equal policy, peer and origin that overlaps it in time and was made
/// at most five seconds ago.
#[derive(Clone)]
#[must_use]
pub struct Verifier {
    state: Arc<VerifierState>,
    coalesce: Arc<Coalesce>,
}

impl Verifier {
    /// Returns the settings, each with a default.
    pub fn builder() -> VerifierBuilder {
        VerifierBuilder::default()
    }

    /// Attests the peer behind a URL and opens a session with it.
    ///
    /// The URL is an origin, optionally with a base path for all requests. A DNS name in it is also validated against the
    /// certificate authorities, unless the policy has `allow_unverified_name`; for an IP address or `localhost` only the
    /// attested key counts.
    ///
    /// # Errors
    ///
    /// As [`verify_connection`].
    pub async fn connect(&self, url: impl AsRef<str>, policy: &Policy) -> Result<Session, AttestationError> {
        Session::open(&self.state, &self.coalesce, url.as_ref(), policy).await
    }

    /// Returns a session that connects to the peer behind a URL on first use, and keeps itself open.
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidUrl`], [`AttestationError::ChannelNotAllowed`] or [`AttestationError::Misconfigured`] for settings
    /// that cannot be used. Nothing is connected here.
    pub fn managed_session(&self, url: impl AsRef<str>, policy: &Policy) -> Result<ManagedSession, AttestationError> {
        ManagedSession::new(&self.state, &self.coalesce, url.as_ref(), policy)
    }

    /// Collects the evidence that the policy needs from the peer behind a URL, and returns it without verifying it; for
    /// example to save the evidence of a peer that is refused. Nothing but the attestation request is sent.
    ///
    /// # Errors
    ///
    /// [`AttestationError`] if the peer sends no evidence. Endorsements that could not be fetched are reported in the result.
    pub async fn collect(&self, url: impl AsRef<str>, policy: &Policy) -> Result<EvidenceBundle, AttestationError> {
        collect(&self.state, url.as_ref(), policy).await
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("deadline", &self.state.deadline).finish_non_exhaustive()
    }
}
