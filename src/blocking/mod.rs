//! The blocking API, for callers without an async runtime.
//!
//! ```no_run
//! use blindbox_attestation::{HostData, Policy, Trust, UvmRequirement, Workload, blocking};
//!
//! # fn talk(cce_policy: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::confidential_container(
//!     Trust::maa("https://sharedneu.neu.attest.azure.net")?,
//!     Workload::binds_its_own_key(HostData::from_cce_policy(cce_policy)?),
//!     UvmRequirement::at_least(101),
//! )?;
//! let session = blocking::verify_connection("https://my-app.example", &policy)?;
//! println!("{}", session.attestation());
//! println!("{}", session.post("/generate").json("hi").send()?.text()?);
//! # Ok(())
//! # }
//! ```
//!
//! Every check, limit and error is that of the async API: calls run it on background threads and wait, at most for the
//! verifier's `deadline` or [`Request::timeout`]. The async API alone has streams of other protocols (`Session::stream`,
//! `Request::upgrade`) and bodies of `http_body`.
//!
//! # Threads
//!
//! The work is done by background threads, of which there is one set per process, however many verifiers and sessions there
//! are: at most 4 for the work, and 16 for name lookups, which end when idle. They are started by the first call that needs
//! them, and named `blindbox-blocking`. Everything here may be used from any number of threads at once, and dropped anywhere.
//!
//! Threads do not survive a `fork()`. A child of a process that has used this module gets
//! [`AttestationError::Misconfigured`] instead of waiting for ever: fork first, connect then.
//!
//! # Inside an async runtime
//!
//! A call that would hold up a thread on which tokio is polling a future gives [`AttestationError::Misconfigured`], and sends
//! nothing. Use the async API there, or call this one where blocking is allowed:
//!
//! | where | calls |
//! |---|---|
//! | a thread without a runtime, also below `Handle::enter` | work |
//! | `tokio::task::spawn_blocking`, `tokio::task::block_in_place` | work |
//! | in `async` code, whether a task or the future of `block_on`, on any kind of runtime | are refused |
//! | in the verifier's own clock | are refused |
//!
//! Whether a future is being polled is inferred from the task budget (`tokio::task::coop`): tokio gives one to everything that
//! it polls, and removes it where blocking is allowed. Code without a budget is not detected: code in
//! `tokio::task::unconstrained`, and executors other than tokio's. A call from there holds up its thread, as any blocking call
//! would, until the work is done by the threads of this module.

mod managed;
mod reader_body;
mod request;
mod response;
mod runtime;

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method};

pub use crate::http::{BodyError, BodyJsonError};
pub use managed::ManagedSession;
pub use request::Request;
pub use response::{BodyReader, Response, StatusError};

use crate::attest::EvidenceBundle;
use crate::attestation::Attestation;
use crate::challenge::Channel;
use crate::error::AttestationError;
use crate::http::request_methods;
use crate::policy::Policy;
use crate::session;
use crate::verifier::{self, VerifierBuilder};

/// Attests the peer behind a URL before a byte of the application is sent to it, and waits for the outcome.
///
/// As [`crate::verify_connection`].
///
/// # Errors
///
/// [`AttestationError`], one variant for each cause; [`AttestationError::Misconfigured`] inside an async runtime.
pub fn verify_connection(url: impl AsRef<str>, policy: &Policy) -> Result<Session, AttestationError> {
    static VERIFIER: OnceLock<Result<Verifier, AttestationError>> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(|| verifier::Verifier::builder().build_blocking()).clone()?;
    verifier.connect(url, policy)
}

impl VerifierBuilder {
    /// Makes a verifier for callers without an async runtime. Does not block.
    ///
    /// # Errors
    ///
    /// As [`VerifierBuilder::build`].
    pub fn build_blocking(self) -> Result<Verifier, AttestationError> {
        Ok(Verifier { verifier: self.build()? })
    }
}

/// Opens attested sessions, from [`VerifierBuilder::build_blocking`]. As [`crate::Verifier`]: cheap to clone, and to be shared.
///
/// There is no way to one from an async verifier: connections belong to the runtime that opened them.
#[derive(Clone)]
#[must_use]
pub struct Verifier {
    verifier: verifier::Verifier,
}

impl Verifier {
    /// Attests the peer behind a URL and opens a session with it. As [`crate::Verifier::connect`].
    ///
    /// # Errors
    ///
    /// As [`verify_connection`].
    pub fn connect(&self, url: impl AsRef<str>, policy: &Policy) -> Result<Session, AttestationError> {
        let (verifier, url, policy) = (self.verifier.clone(), url.as_ref().to_owned(), policy.clone());
        let session = runtime::run(async move { verifier.connect(url, &policy).await })??;
        Ok(Session { session })
    }

    /// Returns a session that connects to the peer behind a URL on first use, and keeps itself open. As
    /// [`crate::Verifier::managed_session`]. Does not block.
    ///
    /// # Errors
    ///
    /// As [`crate::Verifier::managed_session`].
    pub fn managed_session(&self, url: impl AsRef<str>, policy: &Policy) -> Result<ManagedSession, AttestationError> {
        self.verifier.managed_session(url, policy).map(ManagedSession::new)
    }

    /// Collects the evidence that the policy needs from the peer behind a URL, and returns it without verifying it. As
    /// [`crate::Verifier::collect`].
    ///
    /// # Errors
    ///
    /// [`AttestationError`] if the peer sends no evidence; [`AttestationError::Misconfigured`] inside an async runtime.
    pub fn collect(&self, url: impl AsRef<str>, policy: &Policy) -> Result<EvidenceBundle, AttestationError> {
        let (verifier, url, policy) = (self.verifier.clone(), url.as_ref().to_owned(), policy.clone());
        runtime::run(async move { verifier.collect(url, &policy).await })?
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// An HTTP session with an attested peer, from [`verify_connection`]. As [`crate::Session`].
///
/// Cheap to clone; clones share connections and attestations.
///
/// ```compile_fail,E0616
/// # fn f(session: blindbox_attestation::blocking::Session) {
/// let session = session.session;
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Session {
    session: session::Session,
}

impl Session {
    request_methods!(Request);

    /// Returns a request of any method except `CONNECT` and `TRACE`. As [`crate::Session::request`].
    pub fn request(&self, method: Method, target: impl AsRef<str>) -> Request {
        Request::new(self.session.request(method, target))
    }

    /// Returns the latest attestation. Does not block.
    #[must_use]
    pub fn attestation(&self) -> Arc<Attestation> {
        self.session.attestation()
    }

    /// Returns how connections are bound to the evidence. Does not block.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.session.channel()
    }

    /// Returns a handle of the same session with default headers. As [`crate::Session::with_default_headers`].
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidRequest`] for headers that [`Request::header`] does not allow.
    pub fn with_default_headers(&self, headers: HeaderMap) -> Result<Self, AttestationError> {
        self.session.with_default_headers(headers).map(|session| Self { session })
    }

    /// Opens a new connection and attests its peer again. As [`crate::Session::reattest`].
    ///
    /// # Errors
    ///
    /// As [`verify_connection`]. A refusal removes the key of the peer from the session.
    pub fn reattest(&self) -> Result<Arc<Attestation>, AttestationError> {
        let session = self.session.clone();
        runtime::run(async move { session.reattest().await })?
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking::{:?}", self.session)
    }
}
