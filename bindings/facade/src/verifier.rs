//! [`Verifier`]: opens attested sessions, or collects evidence without a verdict.

use std::future::Future;

use blindbox_attestation::{EvidenceBundle, RecordedAttestation};

use crate::error::Error;
use crate::policy::Policy;
use crate::process::Owned;
use crate::session::Session;
use crate::settings;

/// Opens attested sessions. One verifier serves a whole process: its sessions share key sets, certificates and attestations under
/// way.
#[derive(Debug)]
pub struct Verifier(Owned<blindbox_attestation::Verifier>);

impl Verifier {
    /// Creates a verifier from settings in JSON; an empty text stands for the defaults.
    ///
    /// # Errors
    ///
    /// `misconfigured`, `invalid-url`, or the error of a key set or root that cannot be read.
    pub fn new(settings_json: &str) -> Result<Self, Error> {
        Ok(Self(Owned::new(settings::verifier(settings_json)?)))
    }

    /// Attests the peer behind a URL and opens a session with it.
    pub fn connect(&self, url: &str, policy: &Policy) -> impl Future<Output = Result<Session, Error>> + Send + use<> {
        let verifier = self.0.get().cloned();
        let (url, policy) = (url.to_owned(), policy.inner().clone());
        async move {
            let session = verifier?.connect(&url, &policy).await?;
            Session::new(session, &url)
        }
    }

    /// Collects the evidence of the peer behind a URL without verifying it. Nothing but the attestation request is sent.
    pub fn collect(&self, url: &str, policy: &Policy) -> impl Future<Output = Result<Collected, Error>> + Send + use<> {
        let verifier = self.0.get().cloned();
        let (url, policy) = (url.to_owned(), policy.inner().clone());
        async move { Ok(Collected(verifier?.collect(&url, &policy).await?)) }
    }
}

/// Evidence as received: nothing of it is verified, and nothing leads from it to a session.
#[derive(Clone, Debug)]
pub struct Collected(EvidenceBundle);

impl Collected {
    /// Returns all documents, the evidence first, by the names under which the command `fetch` saves them.
    #[must_use]
    pub fn documents(&self) -> Vec<(&'static str, Vec<u8>)> {
        self.0.files().iter().map(|(name, bytes)| (name, bytes.to_vec())).collect()
    }

    /// Returns how and when the peer was asked: `asked_at`, `received_at`, `nonce`, `channel`, `tls_key`, `missing`, as
    /// JSON.
    #[must_use]
    pub fn about_json(&self) -> String {
        let Self(bundle) = self;
        let missing: Vec<Error> = bundle.missing().cloned().map(Error::from).collect();
        serde_json::json!({
            "asked_at": bundle.asked_at,
            "received_at": bundle.received_at,
            "nonce": bundle.nonce.to_string(),
            "channel": bundle.channel,
            "tls_key": bundle.tls_key,
            "missing": missing,
        })
        .to_string()
    }

    /// Returns the verdict of a policy on the evidence as a record, as JSON: [`crate::verify_recorded`] for the time at which it was
    /// received, the nonce of the request and the TLS key of its connection.
    ///
    /// # Errors
    ///
    /// As [`crate::verify_recorded`], and the cause for which a document is missing that the policy needs.
    pub fn verify(&self, policy: &Policy) -> Result<String, Error> {
        let accepted: RecordedAttestation = self.0.verify(policy.inner())?;
        serde_json::to_string(&accepted).map_err(Error::internal)
    }
}
