//! Step 6: the session, which sends requests to attested peers only.
//!
//! A session is a pool of attested peers, each with its own connections. A connection can be opened to any key. If the key is
//! not attested yet, nothing but the request for evidence is sent on it until it is. `docs/session.md` has the state diagrams.
//!
//! | file | responsibility |
//! |---|---|
//! | `admission` | which connections are accepted: of an attested key, or after the peer is attested |
//! | `send` | which connection a request is sent on; when it is sent again |
//! | `message` | one sealed request through a front end; when it is sealed and sent again |
//! | `exchange` | one request on one connection |
//! | `checkout` | a connection in use for one exchange, and whether another can follow |
//! | `peer` | one key: its attestation, its revocation, its connections |
//! | `pool` | which peers a session has; when it is poisoned |
//! | `rate` | how often peers are attested at an attacker's wish |
//! | `renewal` | when and over which connection an attestation is renewed |
//! | `stream` | opens byte streams of other protocols |
//! | `service` | the session as a tower service |
//! | `managed` | a session that opens itself, and again |
//!
//! Below it are `crate::attest` (one attestation: challenge, fetch, verify) and `crate::http` (requests and responses).

mod admission;
mod checkout;
mod exchange;
mod managed;
mod message;
mod peer;
mod pool;
mod rate;
mod renewal;
mod send;
mod service;
mod stream;

use std::fmt;
use std::sync::{Arc, Weak};

use http::{HeaderMap, Method};
use tokio::sync::Semaphore;

pub use managed::{ManagedSession, ManagedStatus};
pub use stream::StreamBuilder;

use pool::{Poison, Pool};

use crate::attest::{Challenger, Coalesce, Freshness};
use crate::attestation::Attestation;
use crate::challenge::Channel;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::http::{Parts, Request, check_headers, request_methods};
use crate::policy::Policy;
use crate::telemetry;
use crate::verifier_state::VerifierState;

/// How many connections of one session are opened, and their peers attested, at the same time.
const MAX_CONCURRENT_ATTESTATIONS: usize = 8;

/// The most attempts to send a request that certainly was not processed before.
const MAX_ATTEMPTS: usize = 8;

/// An HTTP session with an attested peer, from [`crate::verify_connection`].
///
/// Cheap to clone; clones share connections and attestations. Requests go to targets on the session's origin:
///
/// ```no_run
/// # async fn f(session: blindbox_attestation::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let response = session.post("/generate").json(&serde_json::json!({ "prompt": "hi" })).send().await?;
/// println!("{}", response.text().await?);
/// # Ok(())
/// # }
/// ```
///
/// A connection runs in the tokio runtime in which it was opened: use a session in one runtime, or open one in each. A request
/// whose future is neither polled nor dropped delays others that wait for the same attestation, until their deadline.
///
/// There is no access to an HTTP client that could reach another host, or the same host by another key:
///
/// ```compile_fail,E0616
/// # fn f(session: blindbox_attestation::Session) {
/// let client = session.inner;
/// # }
/// ```
///
/// ```compile_fail,E0599
/// # fn f(session: blindbox_attestation::Session) {
/// let client: reqwest::Client = session.client();
/// # }
/// ```
///
/// ```compile_fail,E0277
/// # fn f(session: blindbox_attestation::Session) {
/// let client: reqwest::Client = session.into();
/// # }
/// ```
///
/// A session cannot be made without an attestation:
///
/// ```compile_fail
/// let session = blindbox_attestation::Session::default();
/// ```
#[derive(Clone)]
#[must_use]
pub struct Session {
    inner: Arc<SessionInner>,
    first: Arc<Attestation>,
    default_headers: Arc<HeaderMap>,
}

struct SessionInner {
    challenger: Challenger,
    pool: Pool,
    attest_permits: Semaphore,
}

impl Session {
    /// Opens a session and attests its first peer.
    pub(crate) async fn open(
        verifier: &Arc<VerifierState>,
        coalesce: &Arc<Coalesce>,
        url: &str,
        policy: &Policy,
    ) -> Result<Self, AttestationError> {
        let challenger = Challenger::new(verifier, coalesce, url, policy)?;
        let origin = challenger.base.origin();
        let call = coalesce.connect(challenger.scope(), challenger.policy_digest(), &verifier.clock);
        // Lets tasks that start at the same time register before the first of them is done: they share its attestation.
        tokio::task::yield_now().await;
        let pool = Pool::new(verifier.clock.clone());
        let attest_permits = Semaphore::new(MAX_CONCURRENT_ATTESTATIONS);
        let inner = Arc::new(SessionInner { challenger, pool, attest_permits });
        let observer: Weak<SessionInner> = Arc::downgrade(&inner);
        coalesce.add(observer);
        let deadline = Deadline::after(verifier.deadline);
        let attesting = inner.connect_and_attest(call.freshness, Poison::Clears, &deadline);
        let attested = telemetry::connect(&origin, attesting).await?;
        Ok(Self { inner, first: attested, default_headers: Arc::default() })
    }

    request_methods!(Request);

    /// Returns a request of any method except `CONNECT` and `TRACE`.
    ///
    /// `target` begins with one slash and stays within the session's origin and base path.
    pub fn request(&self, method: Method, target: impl AsRef<str>) -> Request {
        let mut parts = Parts::new(method, target.as_ref(), &self.default_headers);
        parts.timeout = self.inner.challenger.verifier.request_timeout;
        Request::new(Arc::clone(&self.inner), parts)
    }

    /// Prepares a byte stream to an attested peer, for other protocols than HTTP, or for other clients of HTTP:
    ///
    /// ```no_run
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # async fn f(session: blindbox_attestation::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut stream = session.stream().port(6379).open().await?;
    /// stream.write_all(b"PING\r\n").await?;
    /// let mut pong = [0; 7];
    /// stream.read_exact(&mut pong).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self) -> StreamBuilder {
        StreamBuilder::new(self.clone())
    }

    /// Returns a handle of the same session whose requests have these headers, unless they set one of the same name themselves.
    ///
    /// # Errors
    ///
    /// [`AttestationError::InvalidRequest`] for headers that [`Request::header`] does not allow.
    pub fn with_default_headers(&self, headers: HeaderMap) -> Result<Self, AttestationError> {
        check_headers(&headers).map_err(|reason| AttestationError::InvalidRequest { reason })?;
        Ok(Self { default_headers: Arc::new(headers), ..self.clone() })
    }

    /// Returns the latest attestation. With several replicas, it is of the one that was attested last.
    #[must_use]
    pub fn attestation(&self) -> Arc<Attestation> {
        self.inner.pool.latest().unwrap_or_else(|| Arc::clone(&self.first))
    }

    /// Returns how connections are bound to the evidence.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.inner.challenger.mode.kind()
    }

    /// Opens a new connection and attests its peer again, even if its key is attested or was refused recently. Success also ends
    /// the poisoning of a session.
    ///
    /// # Errors
    ///
    /// As [`crate::verify_connection`]. A refusal removes the key of the peer from the session.
    pub async fn reattest(&self) -> Result<Arc<Attestation>, AttestationError> {
        let verifier = &self.inner.challenger.verifier;
        let deadline = Deadline::after(verifier.deadline);
        let freshness = Freshness::evidence_from_now(&verifier.clock);
        self.inner.connect_and_attest(freshness, Poison::Clears, &deadline).await
    }

    /// Whether requests are sent: no refusal has closed the session.
    fn is_open(&self) -> bool {
        self.check_open().is_ok()
    }

    fn check_open(&self) -> Result<(), AttestationError> {
        self.inner.pool.check_not_poisoned()
    }

    /// Whether there is a peer whose attestation is valid.
    fn has_attested_peer(&self) -> bool {
        self.is_open() && self.inner.pool.has_valid_peer()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {:?})", self.inner.challenger.base.url(), self.channel())
    }
}
