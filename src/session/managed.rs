//! [`ManagedSession`]: connects on first use, and again after a refusal has closed it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use tokio::sync::Mutex as AsyncMutex;

use super::Session;
use crate::attest::{Challenger, Coalesce};
use crate::base_url::BaseUrl;
use crate::deadline::{BoxFuture, Deadline};
use crate::error::AttestationError;
use crate::http::{Parts, Request, Response, Sender, check_headers, request_methods};
use crate::policy::Policy;
use crate::sync::lock;
use crate::verifier_state::VerifierState;

/// How long a failed attempt counts unless [`ManagedSession::cool_down`] says otherwise.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// A session for a service that runs for a long time, from [`Verifier::managed_session`](crate::Verifier::managed_session).
///
/// - It connects on first use, so that a service starts whether or not its peer is up.
/// - After a failed attempt, callers get its error from memory until the cool-down is over (10 seconds by default), and callers that
///   come during an attempt share its outcome: a peer or MAA that is down is not flooded.
/// - A session that a refusal has closed attests its peer again, once for each request at most. No check is skipped: a peer that is
///   still refused gets nothing.
///
/// Requests are those of a [`Session`], with the same checks and errors; it is a `tower::Service` as well. Expiry, renewal, restarts and
/// replicas are handled by the [`Session`] itself.
///
/// ```no_run
/// use blindbox_attestation::{Policy, Verifier};
///
/// # async fn f(policy: Policy) -> Result<(), Box<dyn std::error::Error>> {
/// let peer = Verifier::builder().build()?.managed_session("https://my-app.example", &policy)?;
/// let response = peer.post("/generate").json(&serde_json::json!({ "prompt": "hi" })).send().await?;
/// println!("{}", response.text().await?);
/// # Ok(())
/// # }
/// ```
///
/// Cheap to clone; clones share the session. An attempt runs in a task of its own: a caller that is dropped does not end it, so that
/// callers that hang up cannot cause one attempt after the other.
#[derive(Clone)]
#[must_use]
pub struct ManagedSession {
    peer: Arc<ManagedPeer>,
    cool_down: Duration,
    default_headers: Arc<HeaderMap>,
}

struct ManagedPeer {
    verifier: Arc<VerifierState>,
    coalesce: Arc<Coalesce>,
    url: String,
    base: BaseUrl,
    policy: Policy,
    state: Mutex<State>,
    /// Held by the task that makes an attempt.
    attempt: Arc<AsyncMutex<()>>,
}

#[derive(Clone, Default)]
struct State {
    /// Once it was opened; it may be poisoned.
    session: Option<Session>,
    /// When the last attempt failed, and why.
    failed: Option<(Instant, AttestationError)>,
}

/// What a [`ManagedSession`] is at the moment, from [`ManagedSession::status`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ManagedStatus {
    /// No attempt has ended yet.
    New,
    /// Requests are sent. Expiry and renewal are the session's own.
    Open(Session),
    /// The first request that comes after the cool-down causes an attempt.
    Closed {
        /// The session that a refusal has closed; `None` if none was ever opened.
        session: Option<Session>,
        /// The error of the last attempt, or [`AttestationError::SessionPoisoned`] if none was made since the refusal.
        reason: AttestationError,
        /// The rest of the cool-down; zero if the next call makes an attempt.
        retry_after: Duration,
    },
}

impl ManagedSession {
    pub(crate) fn new(
        verifier: &Arc<VerifierState>,
        coalesce: &Arc<Coalesce>,
        url: &str,
        policy: &Policy,
    ) -> Result<Self, AttestationError> {
        // What is wrong with the settings is wrong from the start.
        let base = Challenger::new(verifier, coalesce, url, policy)?.base;
        let peer = ManagedPeer {
            verifier: Arc::clone(verifier),
            coalesce: Arc::clone(coalesce),
            url: url.to_owned(),
            base,
            policy: policy.clone(),
            state: Mutex::default(),
            attempt: Arc::default(),
        };
        Ok(Self { peer: Arc::new(peer), cool_down: COOL_DOWN, default_headers: Arc::default() })
    }

    request_methods!(Request);

    /// Returns a request of any method except `CONNECT` and `TRACE`, as [`Session::request`] does. It is sent when the session is
    /// open; its timeout limits an attempt to open it too.
    pub fn request(&self, method: Method, target: impl AsRef<str>) -> Request {
        let mut parts = Parts::new(method, target.as_ref(), &self.default_headers);
        parts.timeout = self.peer.verifier.request_timeout;
        Request::new(Arc::new(self.clone()), parts)
    }

    /// Returns a handle whose requests have these headers, unless they set one of the same name themselves.
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidRequest`] for headers that [`Request::header`] does not allow.
    pub fn with_default_headers(&self, headers: HeaderMap) -> Result<Self, AttestationError> {
        check_headers(&headers).map_err(|reason| AttestationError::InvalidRequest { reason })?;
        Ok(Self { default_headers: Arc::new(headers), ..self.clone() })
    }

    /// Sets for this handle for how long the outcome of a failed attempt is used; 10 seconds by default, 0 for no time.
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down = cool_down;
        self
    }

    /// Returns the session, which is opened first if there is none, or attested again if a refusal has closed it.
    ///
    /// # Errors
    ///
    /// As [`crate::verify_connection`], or the error of the last attempt during the cool-down.
    pub async fn session(&self) -> Result<Session, AttestationError> {
        self.session_that(Session::is_open).await
    }

    /// Returns whether a request could be sent to an attested peer now, and attests one if there is none: for health checks of a
    /// load balancer.
    ///
    /// # Errors
    ///
    /// As [`ManagedSession::session`].
    pub async fn ready(&self) -> Result<(), AttestationError> {
        self.session_that(Session::has_attested_peer).await.map(drop)
    }

    /// Returns the error of the last attempt, if it failed and no later one succeeded.
    #[must_use]
    pub fn last_error(&self) -> Option<AttestationError> {
        lock(&self.peer.state).failed.as_ref().map(|(_, error)| error.clone())
    }

    /// Returns what the session is, and makes no attempt: for status pages, and for callers with rules of their own about when to
    /// try again.
    #[must_use]
    pub fn status(&self) -> ManagedStatus {
        let State { session, failed } = lock(&self.peer.state).clone();
        let poisoned = match &session {
            Some(opened) => match opened.check_open() {
                Ok(()) => return ManagedStatus::Open(opened.clone()),
                Err(poisoned) => Some(poisoned),
            },
            None => None,
        };
        let retry_after = failed.as_ref().map_or(Duration::ZERO, |(since, _)| self.rest_of_cool_down(*since));
        match failed.map(|(_, error)| error).or(poisoned) {
            Some(reason) => ManagedStatus::Closed { session, reason, retry_after },
            None => ManagedStatus::New,
        }
    }

    pub(super) fn base(&self) -> &BaseUrl {
        &self.peer.base
    }

    fn rest_of_cool_down(&self, failed: Instant) -> Duration {
        self.cool_down.saturating_sub(self.peer.verifier.clock.elapsed(failed))
    }

    async fn session_that(&self, is_usable: impl Fn(&Session) -> bool) -> Result<Session, AttestationError> {
        let usable = || lock(&self.peer.state).session.clone().filter(&is_usable);
        if let Some(session) = usable() {
            return Ok(session);
        }
        let attempt = Arc::clone(&self.peer.attempt).lock_owned().await;
        // The task before this one may have opened it, or have failed a moment ago.
        if let Some(session) = usable() {
            return Ok(session);
        }
        let failed = lock(&self.peer.state).failed.clone();
        if let Some((since, error)) = failed
            && !self.rest_of_cool_down(since).is_zero()
        {
            return Err(error);
        }
        let peer = Arc::clone(&self.peer);
        let attempting = tokio::spawn(async move {
            let outcome = peer.open().await;
            drop(attempt);
            outcome
        });
        // It does not panic; the runtime may end.
        attempting.await.unwrap_or(Err(AttestationError::AttestationExpired))
    }
}

impl Sender for ManagedSession {
    fn send(self: Arc<Self>, parts: &Parts) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let deadline = Deadline::after(parts.timeout.unwrap_or(Duration::MAX));
            match self.send_once(parts, &deadline).await {
                // A refusal has closed it in between. Nothing was sent; a stream that has begun is not sent by another attempt.
                Err(error @ AttestationError::SessionPoisoned { .. }) if !error.request_sent() => {
                    self.send_once(parts, &deadline).await
                }
                outcome => outcome,
            }
        })
    }
}

impl ManagedSession {
    async fn send_once(&self, parts: &Parts, deadline: &Deadline) -> Result<Response, AttestationError> {
        let session = deadline.run("the request", self.session()).await??;
        session.inner.send_before(parts, deadline).await
    }
}

impl ManagedPeer {
    async fn open(&self) -> Result<Session, AttestationError> {
        let known = lock(&self.state).session.clone();
        let outcome = match known {
            // Its other handles continue with it.
            Some(session) => session.reattest().await.map(|_| session),
            None => Session::open(&self.verifier, &self.coalesce, &self.url, &self.policy).await,
        };
        let mut state = lock(&self.state);
        match outcome {
            Ok(session) => {
                *state = State { session: Some(session.clone()), failed: None };
                Ok(session)
            }
            Err(error) => {
                state.failed = Some((self.verifier.clock.monotonic(), error.clone()));
                Err(error)
            }
        }
    }
}

impl fmt::Debug for ManagedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManagedSession({}, {:?})", self.peer.url, lock(&self.peer.state).session)
    }
}
