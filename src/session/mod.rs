//! Step 6: the session. Every byte goes to a peer that has proven what it is.
//!
//! A session is a set of attested TLS keys, each with its own connections. A new connection is opened without any expectation
//! ([`line`]), and nothing is sent on it but, where its key is not attested yet, the request for attestation.

mod attest;
mod collect;
mod life;
mod line;
mod members;
mod renewal;
mod request;
mod response;
mod route;
mod settings;
mod standing;
mod target;
mod upload;
mod verdicts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::Client;
use tokio::sync::Semaphore;
use url::Url;

pub use collect::Collected;
pub(crate) use collect::collect;
pub use request::Request;
pub use response::{Body, BodyError, Response};
pub(crate) use settings::Settings;

use attest::attest;
use life::Life;
use line::{Line, NoConnection, dial};
use members::{Member, Members};
use request::Parts;
use route::Route;
use target::Base;
use upload::Upload;
use verdicts::{About, Asked};

use crate::attested::Attested;
use crate::challenge::Channel;
use crate::error::AttestationError;
use crate::fetch::{Deadline, TroubleKind, explain, find};
use crate::observe::{self, Step};
use crate::policy::Policy;
use crate::types::{Sha256Digest, SpkiDigest};

/// How many connections of one session are opened, and their peers attested, at the same time.
const DOORS: usize = 8;

/// How often a request looks for another connection after others took the one that was opened for it.
const MAX_TRIES: usize = 32;

/// How often a request looks whether a connection that others opened will do, before it opens one of its own.
const PATIENCE: u32 = 4;

/// How long a connection takes at most to be free for the next request after an answer was read.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(5);

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
/// let client = session.shared;
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
    shared: Arc<Shared>,
    first: Arc<Attested>,
}

struct Shared {
    settings: Arc<Settings>,
    policy: Policy,
    policy_digest: Sha256Digest,
    base: Base,
    route: Route,
    members: Members,
    doors: Semaphore,
}

/// Whether a peer that is attested already is asked again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Anew {
    Always,
    IfNeeded,
}

impl Session {
    /// Opens a session: its first peer is attested when it is there.
    pub(crate) async fn open(settings: &Arc<Settings>, url: &str, policy: &Policy) -> Result<Self, AttestationError> {
        let base = Base::parse(url)?;
        let route = Route::new(settings, &base, policy)?;
        let policy_digest = policy.digest();
        let call = settings.verdicts.call(base.origin(), policy_digest, &settings.clock);
        // So that tasks which start at the same time have all said so before the first of them is done.
        tokio::task::yield_now().await;
        let shared = Shared {
            settings: Arc::clone(settings),
            policy: policy.clone(),
            policy_digest,
            base,
            route,
            members: Members::new(settings.clock.clone()),
            doors: Semaphore::new(DOORS),
        };
        let (origin, deadline) = (shared.base.origin(), Deadline::after(settings.deadline));
        let member = observe::connect(&origin, shared.attest_another(call.asked, Anew::Always, &deadline)).await?;
        Ok(Self { shared: Arc::new(shared), first: Arc::clone(member.life().attested()) })
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

    /// The latest attestation: of the peer, or of the one among several replicas that was attested last.
    #[must_use]
    pub fn attestation(&self) -> Arc<Attested> {
        self.shared.members.latest().unwrap_or_else(|| Arc::clone(&self.first))
    }

    /// How connections are tied to the evidence.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.first.channel()
    }

    /// Opens a new connection and has its peer attested anew, whatever is known of it. Opens a poisoned session again.
    ///
    /// # Errors
    ///
    /// As [`crate::verify_connection`]. A refusal takes the peer's key out of the session.
    pub async fn reattest(&self) -> Result<Arc<Attested>, AttestationError> {
        let shared = &self.shared;
        let deadline = Deadline::after(shared.settings.deadline);
        let member = shared.attest_another(Asked::anew(&shared.settings.clock), Anew::Always, &deadline).await?;
        Ok(Arc::clone(member.life().attested()))
    }

    async fn send(&self, parts: &Parts) -> Result<Response, AttestationError> {
        let Some(timeout) = parts.timeout else {
            return self.shared.send(parts, &Deadline::after(Duration::MAX)).await;
        };
        let deadline = Deadline::after(timeout);
        deadline.run("the request", self.shared.send(parts, &deadline)).await?
    }
}

impl Shared {
    async fn send(&self, parts: &Parts, deadline: &Deadline) -> Result<Response, AttestationError> {
        self.members.check_not_poisoned()?;
        let url = self.base.resolve(&parts.target, &parts.query)?;
        let asked = Asked::now(&self.settings.clock);
        self.renew_the_late(deadline).await?;
        let attesting = Deadline::after(self.settings.deadline.min(deadline.left()));
        let mut patience = PATIENCE;
        for _ in 0..MAX_TRIES {
            let connections = self.members.connections();
            if let Some(response) = self.send_to_anyone(parts, &url, deadline).await? {
                return Ok(response);
            }
            let waiting = attesting.run("waiting for another connection", self.doors.acquire());
            let door = waiting.await?.map_err(|_| AttestationError::AttestationExpired)?;
            // Others who waited here have opened connections meanwhile, and one may be enough for all.
            if patience > 0 && self.members.connections() != connections {
                patience = patience.saturating_sub(1);
                continue;
            }
            let member = self.attest_another(asked, Anew::IfNeeded, &attesting).await?;
            drop(door);
            if let Some(response) = self.send_to(&member, parts, &url, deadline).await? {
                return Ok(response);
            }
        }
        Err(AttestationError::ApplicationUnreachable {
            why: "its connections close before they can be used".to_owned(),
        })
    }

    /// Sends to a peer whose attestation holds and to whom a connection is open. `None`: there is none, nothing was sent.
    async fn send_to_anyone(
        &self,
        parts: &Parts,
        url: &Url,
        deadline: &Deadline,
    ) -> Result<Option<Response>, AttestationError> {
        for (place, member) in self.members.holding().into_iter().enumerate() {
            if place == 0 {
                member.expect_back(BETWEEN_ANSWERS);
            }
            if let Some(response) = self.send_to(&member, parts, url, deadline).await? {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    async fn send_to(
        &self,
        member: &Arc<Member>,
        parts: &Parts,
        url: &Url,
        deadline: &Deadline,
    ) -> Result<Option<Response>, AttestationError> {
        let standing = member.standing();
        if !standing.life().holds(&self.settings.clock) {
            return Ok(None);
        }
        let mut request = member.client().request(parts.method.clone(), url.clone()).headers(parts.headers.clone());
        if let (Some(content_type), false) = (parts.content_type, parts.headers.contains_key(CONTENT_TYPE)) {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(body) = &parts.body {
            // The HTTP library says nothing of an empty body, and some servers want to hear it (RFC 9110 section 8.6).
            if body.is_empty() {
                request = request.header(CONTENT_LENGTH, 0);
            }
            request = request.body(reqwest::Body::wrap(Upload::new(body.clone(), standing)));
        }
        if parts.timeout.is_some() {
            request = request.timeout(deadline.left());
        }
        let outcome = tokio::select! {
            biased;
            error = standing.ending(Duration::ZERO) => return Err(error),
            outcome = request.send() => outcome,
        };
        let error = match outcome {
            Ok(response) if response.status().is_informational() => {
                let why = "it switches to another protocol, which nobody asked for".to_owned();
                return Err(AttestationError::ApplicationUnreachable { why });
            }
            Ok(response) => {
                self.members.answered(member);
                return Ok(Some(Response::new(response, standing, parts.timeout)));
            }
            Err(error) => error,
        };
        // Of the body on its way out: the peer was refused, or its attestation has ended.
        if let Some(error) = find::<AttestationError>(&error) {
            return Err(error.clone());
        }
        if find::<NoConnection>(&error).is_some() {
            return Ok(None);
        }
        let trouble = explain(&error);
        Err(match trouble.kind {
            TroubleKind::Timeout if deadline.left().is_zero() => deadline.passed("the request"),
            TroubleKind::Name => AttestationError::ServerNameNotValidated { why: trouble.at(url) },
            _ => AttestationError::ApplicationUnreachable { why: trouble.at(url) },
        })
    }

    /// Opens a connection and makes sure that its peer is attested.
    async fn attest_another(
        &self,
        asked: Asked,
        anew: Anew,
        deadline: &Deadline,
    ) -> Result<Arc<Member>, AttestationError> {
        let (settings, clock) = (&self.settings, &self.settings.clock);
        let (line, client) = match &self.route {
            Route::Bound { names, .. } => {
                let root = self.base.root();
                let line = observe::step(Step::Dial, dial(settings, &root, names.clone(), deadline)).await?;
                let client = line.client().clone();
                (Some(line), client)
            }
            Route::Unbound { client, .. } => (None, client.clone()),
        };
        let agent = self.route.agent(&client, &self.base);
        let key = line.as_ref().map(Line::key);
        if anew == Anew::IfNeeded {
            if let Some(member) = self.members.find(key) {
                if let Some(line) = &line {
                    self.members.reinforce(&member, line);
                }
                self.renew_at_last(&member, deadline).await?;
                return Ok(member);
            }
            if let Some(key) = key {
                self.members.may_ask(key).inspect_err(|error| observe::refused_unasked(key, error))?;
            }
        }
        let about = self.about(key);
        let attestation = || self.attest(key, (&agent.0, &agent.1), deadline);
        let outcome = settings.verdicts.attest(about, asked, (clock, deadline), attestation).await;
        match outcome {
            // It took longer than the attestation lasts.
            Ok(life) if !life.holds(clock) => Err(AttestationError::AttestationExpired),
            Ok(life) => self.members.join((line, client), life, anew == Anew::Always),
            Err(error) => {
                self.members.leave(key, &error);
                Err(error)
            }
        }
    }

    fn about(&self, key: Option<SpkiDigest>) -> About {
        About { key, origin: self.base.origin(), policy: self.policy_digest }
    }

    async fn attest(
        &self,
        key: Option<SpkiDigest>,
        agent: (&Client, &Url),
        deadline: &Deadline,
    ) -> Result<Life, AttestationError> {
        let challenge = self.route.challenge(key, self.settings.clock.now())?;
        observe::attestation(attest(&self.settings, &self.policy, challenge, agent, deadline)).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {:?})", self.shared.base.url(), self.channel())
    }
}
