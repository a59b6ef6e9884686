//! The blocking [`ManagedSession`].

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, Method};

use super::{Request, Session, runtime};
use crate::error::AttestationError;
use crate::http::request_methods;
use crate::session;

/// A session for a service that runs for a long time, from [`Verifier::managed_session`](super::Verifier::managed_session): it connects
/// on first use, and again after a refusal has closed it. As [`crate::ManagedSession`].
///
/// ```no_run
/// use blindbox_attestation::{Policy, Verifier};
///
/// # fn f(policy: Policy) -> Result<(), Box<dyn std::error::Error>> {
/// let peer = Verifier::builder().build_blocking()?.managed_session("https://my-app.example", &policy)?;
/// println!("{}", peer.post("/generate").body("a prompt").send()?.text()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ManagedSession {
    session: session::ManagedSession,
}

impl ManagedSession {
    pub(super) fn new(session: session::ManagedSession) -> Self {
        Self { session }
    }

    request_methods!(Request);

    /// Returns a request of any method except `CONNECT` and `TRACE`. As [`crate::ManagedSession::request`].
    pub fn request(&self, method: Method, target: impl AsRef<str>) -> Request {
        Request::new(self.session.request(method, target))
    }

    /// Returns a handle whose requests have these headers. As [`crate::ManagedSession::with_default_headers`].
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidRequest`] for headers that [`Request::header`] does not allow.
    pub fn with_default_headers(&self, headers: HeaderMap) -> Result<Self, AttestationError> {
        self.session.with_default_headers(headers).map(Self::new)
    }

    /// Sets for this handle for how long the outcome of a failed attempt is used; 10 seconds by default, 0 for no time.
    pub fn cool_down(self, cool_down: Duration) -> Self {
        Self::new(self.session.cool_down(cool_down))
    }

    /// Returns the session, which is opened first if there is none, or attested again if a refusal has closed it.
    ///
    /// # Errors
    ///
    /// As [`super::verify_connection`], or the error of the last attempt during the cool-down.
    pub fn session(&self) -> Result<Session, AttestationError> {
        let managed = self.session.clone();
        let session = runtime::run(async move { managed.session().await })??;
        Ok(Session { session })
    }

    /// Returns whether a request could be sent to an attested peer now, and attests one if there is none: for health checks of a
    /// load balancer.
    ///
    /// # Errors
    ///
    /// As [`ManagedSession::session`].
    pub fn ready(&self) -> Result<(), AttestationError> {
        let managed = self.session.clone();
        runtime::run(async move { managed.ready().await })?
    }

    /// Returns the error of the last attempt, if it failed and no later one succeeded. Does not block.
    #[must_use]
    pub fn last_error(&self) -> Option<AttestationError> {
        self.session.last_error()
    }
}

impl fmt::Debug for ManagedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking::{:?}", self.session)
    }
}
