//! Step 6: the session. Every byte goes to a peer that has proven what it is.
//!
//! A session is a pool of attested peers, each with its own connections. A connection is opened without any expectation of whom
//! it leads to, and nothing is sent on it but, where its key is not attested yet, the request for attestation.
//! `docs/session.md` draws the states of connection, peer and session.
//!
//! | file | what it decides |
//! |---|---|
//! | `channel_mode` | how the peer is reached and identified |
//! | `attest` | what one attestation is: open, challenge, fetch, verify |
//! | `coalesce` | which tasks share an attestation; which keys were refused |
//! | `peer` | one key: its attestation, its revocation, its connections |
//! | `pool` | which peers a session has; when it is poisoned |
//! | `renewal` | when and over which connection an attestation is renewed |

mod attest;
mod base_url;
mod channel_mode;
mod coalesce;
mod collect;
mod exchange;
mod headers;
mod managed;
mod multipart;
mod peer;
mod peer_id;
mod pool;
mod renewal;
mod request;
mod request_body;
mod response;
mod service;
mod stream;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::sync::Semaphore;

pub(crate) use coalesce::Coalesce;
pub use collect::EvidenceBundle;
pub(crate) use collect::collect;
pub use managed::ManagedSession;
pub use multipart::{Form, Part};
pub use request::Request;
pub use response::{Body, BodyError, Response, StatusError};
pub use stream::{AttestedStream, StreamBuilder};

use attest::Attester;
use coalesce::Freshness;
use exchange::{Outcome, Parts};
use peer::Checkout;
use pool::{Poison, Pool};

use crate::attestation::Attestation;
use crate::challenge::Channel;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::policy::Policy;
use crate::sync::lock;
use crate::telemetry;
use crate::transport::{Connection, TransportError, TransportErrorKind};
use crate::verifier_state::VerifierState;

/// How many connections of one session are opened, and their peers attested, at the same time.
const MAX_CONCURRENT_ATTESTATIONS: usize = 8;

/// How often a request is sent that was certainly not processed before.
const MAX_ATTEMPTS: usize = 8;

/// An HTTP session with an attested peer, from [`crate::verify_connection`].
///
/// Cheap to clone; clones share connections and attestations. Requests go to targets on the session's origin:
///
/// ```no_run
/// # async fn f(session: blindbox_attestation::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let answer = session.post("/generate").json(&serde_json::json!({ "prompt": "hi" })).send().await?;
/// println!("{}", answer.text().await?);
/// # Ok(())
/// # }
/// ```
///
/// A connection is driven by the runtime in which it was opened: use a session in one runtime, or open one in each. A request
/// whose future is neither polled nor dropped holds up others that wait for the same attestation, until their deadline.
///
/// Nothing leads from it to an HTTP client that would talk to somebody else, or to the same host by another key:
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
/// And there is none without an attestation:
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
    attester: Attester,
    pool: Pool,
    attest_permits: Semaphore,
}

impl Session {
    /// Opens a session: its first peer is attested when it is there.
    pub(crate) async fn open(
        verifier: &Arc<VerifierState>,
        coalesce: &Arc<Coalesce>,
        url: &str,
        policy: &Policy,
    ) -> Result<Self, AttestationError> {
        let attester = Attester::new(verifier, coalesce, url, policy)?;
        let origin = attester.base.origin();
        let call = coalesce.connect(origin.clone(), attester.policy_digest(), &verifier.clock);
        // So that tasks which start at the same time have all said so before the first of them is done.
        tokio::task::yield_now().await;
        let pool = Pool::new(verifier.clock.clone());
        let inner = SessionInner { attester, pool, attest_permits: Semaphore::new(MAX_CONCURRENT_ATTESTATIONS) };
        let deadline = Deadline::after(verifier.deadline);
        let attesting = inner.connect_and_attest(call.freshness, Poison::Clears, &deadline);
        let attested = telemetry::connect(&origin, attesting).await?;
        Ok(Self { inner: Arc::new(inner), first: attested, default_headers: Arc::default() })
    }

    /// A `GET` request to a target on the session's origin, such as `/status`.
    pub fn get(&self, target: impl AsRef<str>) -> Request {
        self.request(Method::GET, target)
    }

    /// A `POST` request.
    pub fn post(&self, target: impl AsRef<str>) -> Request {
        self.request(Method::POST, target)
    }

    /// A `PUT` request.
    pub fn put(&self, target: impl AsRef<str>) -> Request {
        self.request(Method::PUT, target)
    }

    /// A `PATCH` request.
    pub fn patch(&self, target: impl AsRef<str>) -> Request {
        self.request(Method::PATCH, target)
    }

    /// A `DELETE` request.
    pub fn delete(&self, target: impl AsRef<str>) -> Request {
        self.request(Method::DELETE, target)
    }

    /// A `HEAD` request.
    pub fn head(&self, target: impl AsRef<str>) -> Request {
        self.request(Method::HEAD, target)
    }

    /// An `OPTIONS` request.
    pub fn options(&self, target: impl AsRef<str>) -> Request {
        self.request(Method::OPTIONS, target)
    }

    /// A request of any method but `CONNECT` and `TRACE`.
    ///
    /// `target` begins with one slash and stays within the session's origin and base path.
    pub fn request(&self, method: Method, target: impl AsRef<str>) -> Request {
        Request::new(self.clone(), method, target.as_ref())
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
        headers::check_all(&headers).map_err(|reason| AttestationError::InvalidRequest { reason })?;
        Ok(Self { default_headers: Arc::new(headers), ..self.clone() })
    }

    /// The latest attestation: of the peer, or of the one among several replicas that was attested last.
    #[must_use]
    pub fn attestation(&self) -> Arc<Attestation> {
        self.inner.pool.latest().unwrap_or_else(|| Arc::clone(&self.first))
    }

    /// How connections are tied to the evidence.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.inner.attester.mode.kind()
    }

    /// Opens a new connection and has its peer attested again, whatever is known of it. Opens a poisoned session again.
    ///
    /// # Errors
    ///
    /// As [`crate::verify_connection`]. A refusal takes the peer's key out of the session.
    pub async fn reattest(&self) -> Result<Arc<Attestation>, AttestationError> {
        let verifier = &self.inner.attester.verifier;
        let deadline = Deadline::after(verifier.deadline);
        let freshness = Freshness::evidence_from_now(&verifier.clock);
        self.inner.connect_and_attest(freshness, Poison::Clears, &deadline).await
    }

    /// Whether requests are sent: no refusal has closed the session.
    fn is_open(&self) -> bool {
        self.inner.pool.check_not_poisoned().is_ok()
    }

    /// Whether there is a peer whose attestation is valid.
    fn has_attested_peer(&self) -> bool {
        self.is_open() && self.inner.pool.has_valid_peer()
    }

    async fn send(&self, parts: &Parts) -> Result<Response, AttestationError> {
        let sent = AtomicBool::new(false);
        let Some(timeout) = parts.timeout else {
            return self.inner.send(parts, &Deadline::after(Duration::MAX), &sent).await;
        };
        let deadline = Deadline::after(timeout);
        let outcome = deadline.run("the request", self.inner.send(parts, &deadline, &sent)).await;
        outcome.unwrap_or_else(|timeout| {
            Err(if sent.load(Ordering::Relaxed) { timeout.after_request_was_sent() } else { timeout })
        })
    }
}

impl SessionInner {
    async fn send(
        self: &Arc<Self>,
        parts: &Parts,
        deadline: &Deadline,
        sent: &AtomicBool,
    ) -> Result<Response, AttestationError> {
        self.pool.check_not_poisoned()?;
        let url = self.attester.base.resolve(&parts.target, &parts.query)?;
        let freshness = Freshness::now(&self.attester.verifier.clock);
        self.renew_expiring(deadline).await?;
        let mut last = None;
        for _ in 0..MAX_ATTEMPTS {
            let checkout = match &parts.upgrade {
                None => self.checkout(freshness, deadline).await?,
                Some(_) => self.checkout_for_upgrade(freshness, deadline).await?,
            };
            let peer = Arc::clone(checkout.peer());
            match exchange::exchange(checkout, parts, &url, deadline, sent).await? {
                Outcome::Upgraded(response, io, checkout) => {
                    let stream = AttestedStream::new(io, checkout, Arc::clone(self));
                    return Ok(Response::switched(*response, stream, &url));
                }
                Outcome::Response(response) => {
                    self.pool.mark_used(&peer);
                    return Ok(response);
                }
                // It may be sent again, whatever its method.
                Outcome::NotProcessed(failure) => last = Some(failure),
            }
        }
        let last =
            last.unwrap_or_else(|| TransportError::new(TransportErrorKind::NotProcessed, "no connection was free"));
        Err(last.and("; it was not processed by any connection, and may be sent again").of_application(&url))
    }

    /// A connection for one request: a free one, or a new one whose peer is attested before it is used.
    async fn checkout(&self, freshness: Freshness, deadline: &Deadline) -> Result<Checkout, AttestationError> {
        if let Some(checkout) = self.pool.checkout() {
            return Ok(checkout);
        }
        let attesting = Deadline::after(self.attester.verifier.deadline.min(deadline.remaining()));
        loop {
            // Registered before the pool is looked at, so that no connection is freed in between unnoticed.
            let mut freed = pin!(self.pool.freed());
            freed.as_mut().enable();
            if let Some(checkout) = self.pool.checkout() {
                return Ok(checkout);
            }
            if self.pool.is_full(self.opening()) {
                attesting.run("waiting for another connection", freed).await?;
                continue;
            }
            let waiting = async {
                tokio::select! {
                    biased;
                    () = freed => None,
                    permit = self.attest_permits.acquire() => permit.ok(),
                }
            };
            let Some(_permit) = attesting.run("waiting for another connection", waiting).await? else { continue };
            // Others who had a permit have opened connections in between, and one may be enough for all.
            if let Some(checkout) = self.pool.checkout() {
                return Ok(checkout);
            }
            self.pool.check_not_poisoned()?;
            // Of those that are on their way, one is this task's.
            if self.pool.is_full(self.opening().saturating_sub(1)) {
                continue;
            }
            return self.admit(self.attester.open(&attesting).await?, freshness, &attesting).await;
        }
    }

    /// How many connections are being opened for requests.
    fn opening(&self) -> usize {
        MAX_CONCURRENT_ATTESTATIONS.saturating_sub(self.attest_permits.available_permits())
    }

    /// A new connection, whose peer is attested unless it is already.
    async fn checkout_new(&self, freshness: Freshness, deadline: &Deadline) -> Result<Checkout, AttestationError> {
        let _permit = deadline.run("waiting for another connection", self.attest_permits.acquire()).await?.ok();
        self.admit(self.attester.open(deadline).await?, freshness, deadline).await
    }

    /// A new connection for HTTP/1.1 alone, whose peer is attested unless it is already. It takes no other request before.
    async fn checkout_for_upgrade(
        &self,
        freshness: Freshness,
        deadline: &Deadline,
    ) -> Result<Checkout, AttestationError> {
        let attesting = Deadline::after(self.attester.verifier.deadline.min(deadline.remaining()));
        let _permit = attesting.run("waiting for another connection", self.attest_permits.acquire()).await?.ok();
        self.admit(self.attester.open_http1(&attesting).await?, freshness, &attesting).await
    }

    /// Takes over an open connection, and has its peer attested unless it is.
    async fn admit(
        &self,
        connection: Connection,
        freshness: Freshness,
        deadline: &Deadline,
    ) -> Result<Checkout, AttestationError> {
        let security = connection.security();
        let id = self.attester.mode.peer_id(security);
        if let Some(peer) = self.pool.get(id).filter(|peer| self.attester.joins_unasked(security, peer)) {
            let mut checkout = self.pool.attach(&peer, connection);
            self.renew_on_new_connection(&mut checkout, deadline).await?;
            return Ok(checkout);
        }
        if let Some(key) = id.key() {
            let about = self.attester.attestation_key(security);
            let clock = &self.attester.verifier.clock;
            let refused = self.attester.coalesce.recent_refusal(&about, clock);
            let allowed = refused.map_or_else(|| self.pool.check_attest_rate(id), Err);
            allowed.inspect_err(|error| telemetry::rejected_without_attestation(key, error))?;
        }
        self.attest_and_insert(connection, freshness, Poison::Stays, deadline).await
    }

    /// Opens a connection and has its peer attested, whatever is known of it.
    async fn connect_and_attest(
        &self,
        freshness: Freshness,
        poison: Poison,
        deadline: &Deadline,
    ) -> Result<Arc<Attestation>, AttestationError> {
        let connection = self.attester.open(deadline).await?;
        let checkout = self.attest_and_insert(connection, freshness, poison, deadline).await?;
        Ok(Arc::clone(checkout.peer().lease().attested()))
    }

    async fn attest_and_insert(
        &self,
        mut connection: Connection,
        freshness: Freshness,
        poison: Poison,
        deadline: &Deadline,
    ) -> Result<Checkout, AttestationError> {
        let attester = &self.attester;
        let id = attester.mode.peer_id(connection.security());
        let about = attester.attestation_key(connection.security());
        match attester.attest(&mut connection, freshness, deadline).await {
            Ok(lease) => {
                self.pool.insert(id, &lease, connection, poison, || attester.coalesce.outweighs(&about, &lease))
            }
            Err(error) => {
                if error.is_verdict() {
                    self.pool.revoke(id, &error);
                }
                Err(error)
            }
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {:?})", self.inner.attester.base.url(), self.channel())
    }
}
