//! Messages sealed to an attested key: `blindbox-bound-message/1`.
//!
//! The front end ends TLS and is the attacker: it carries every request and response, keeps copies, drops, cuts, reorders and repeats
//! them, and seals requests of its own. Two instances serve; each has a message key of its own unless the scenario says otherwise.

mod client;
mod front_end;
mod instance;
mod scenario;

pub use scenario::{Replay, Resend, Scenario, Sealing};

/// Neither a request of the client nor the response to it can be read outside an accepted TEE.
pub const CONFIDENTIAL: &str = "no request or response is read outside an accepted TEE";
/// No request is processed twice.
pub const ONCE: &str = "no request is processed twice";
/// A response is accepted only for the request that it responds to.
pub const MATCHED: &str = "a response belongs to its request";
/// A response that is accepted as complete is complete.
pub const COMPLETE: &str = "a complete response is complete";
/// Accepted evidence was made after the request that it is accepted for.
pub const FRESH: &str = "accepted evidence is fresh";

const PROPERTIES: [&str; 5] = [CONFIDENTIAL, ONCE, MATCHED, COMPLETE, FRESH];

/// How many requests the client has, and how often it attests, at most.
const REQUESTS: usize = 2;
const ATTESTATIONS: usize = 2;
const EVIDENCE: usize = 2;

/// How many responses the front end keeps, at most, where it may use them for other requests.
const RESPONSES: usize = 2;

/// The request that is idempotent (RFC 9110 section 9.2.2) where the client makes a difference. The other one never is.
const IDEMPOTENT: usize = 1;

/// A message key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    OfInstance(usize),
    /// One for both instances.
    Shared,
    Attackers,
}

/// Genuine evidence of accepted code, and the session that the instance began with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evidence {
    pub nonce: usize,
    pub key: Key,
    pub session: usize,
    /// Which attestations the client had requested when this was made.
    requested: [bool; ATTESTATIONS],
}

/// A request that the client sealed. Its index in the list is its HPKE context: each has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sealed {
    request: usize,
    key: Key,
    session: usize,
    number: usize,
    /// The client's time, for a window of time.
    time: bool,
}

/// The HPKE context of a sealed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    /// Of the client, by the index of what it sealed.
    Client(usize),
    /// Of a request of the front end's own in this session.
    FrontEnd(usize),
}

/// What an instance says to a sealed request, sealed with the context of that request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Processed,
    /// The number was used, or the session is not known. The request may have been processed before.
    Refused,
    /// The number was not used before, and the instance does not process the request.
    Declined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Response {
    /// The sealed request that it responds to.
    pub to: Context,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    /// To be sealed, or to be sealed again.
    Waiting,
    /// Sealed with this index; the client waits for a response.
    Sent(usize),
    /// A response was accepted, or the request ended with an error.
    Over,
}

/// What one instance keeps in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Memory {
    /// Sessions, in the order of their numbers.
    sessions: Vec<usize>,
    /// Session and number of what was processed; by request alone where there are no numbers.
    seen: Vec<(usize, usize)>,
    /// The host's clock, as this guest sees it.
    clock: bool,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    requested: [bool; ATTESTATIONS],
    /// Evidence that instances made; the front end has all of it.
    evidence: Vec<Evidence>,
    sessions_begun: usize,
    /// What the client seals to: the latest attestation.
    member: Option<Evidence>,
    /// Whether an attestation was accepted, by its number.
    accepted: [bool; ATTESTATIONS],
    next_number: usize,
    requests: [Standing; REQUESTS],
    sealed: Vec<Sealed>,
    memory: [Memory; 2],
    processed: [usize; REQUESTS],
    /// Those that the front end keeps.
    responses: Vec<Response>,
    stolen: bool,
    /// A response was accepted as it should be.
    reached: bool,
    /// What the last step violated, by the order of [`PROPERTIES`].
    violated: [bool; 5],
}

impl State {
    fn violate(&mut self, property: &str) {
        for (name, violated) in PROPERTIES.iter().zip(&mut self.violated) {
            *violated |= *name == property;
        }
    }

    fn session_of(&self, context: Context) -> usize {
        match context {
            Context::Client(index) => self.sealed[index].session,
            Context::FrontEnd(session) => session,
        }
    }

    /// The responses to what the client waits for, each with its sealed request.
    fn waited_for(&self) -> impl Iterator<Item = (usize, Sealed, Kind)> + '_ {
        self.requests
            .iter()
            .filter_map(|standing| match standing {
                Standing::Sent(index) => Some(*index),
                Standing::Waiting | Standing::Over => None,
            })
            .flat_map(move |index| {
                let responses = self.responses.iter().filter(move |response| response.to == Context::Client(index));
                responses.map(move |response| (index, self.sealed[index], response.kind))
            })
    }

    /// Whether a request was sealed again under another attestation, and is processed for the first time.
    pub fn was_sent_again_under_the_next_attestation(&self) -> bool {
        self.waited_for().any(|(index, sealed, kind)| {
            let before = self.sealed[..index].iter().find(|earlier| earlier.request == sealed.request);
            let is_other = before.is_some_and(|earlier| earlier.session != sealed.session);
            kind == Kind::Processed && is_other && self.processed[sealed.request] == 1
        })
    }

    /// Whether a request of the client is refused because a request of the front end's own has used its number: the session is known, and
    /// the instance neither processed the request nor declined it.
    pub fn has_a_number_used_by_the_front_end(&self) -> bool {
        self.waited_for().any(|(index, sealed, kind)| {
            let is_used = self.memory.iter().any(|memory| memory.seen.contains(&(sealed.session, sealed.number)));
            let declined = Response { to: Context::Client(index), kind: Kind::Declined };
            let by_client = self.processed[sealed.request] > 0 || self.responses.contains(&declined);
            kind == Kind::Refused && is_used && !by_client
        })
    }
}

/// What happens next. Requests, sealed requests, instances and attestations are numbered from zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The client requests evidence.
    Request(usize),
    /// The front end has an instance attest for the nonce of an attestation.
    Attest(usize, usize),
    /// Accepted code attests a key of the attacker.
    AttestsAnyData(usize),
    /// The client receives evidence.
    Receive(usize, Evidence),
    Seal(usize),
    /// The front end delivers a sealed request to an instance.
    Deliver(usize, usize),
    /// The same, and the instance has no capacity for it.
    DeliverToBusy(usize, usize),
    /// The front end gives a response to the request that the client waits for.
    Respond(usize, Response),
    /// The same, without its last part.
    RespondCut(usize, Response),
    /// The front end responds with an error of its own, or with a response that does not open.
    Fail(usize),
    /// The front end seals a request of its own with the session and the number of a sealed request, and delivers it to an instance.
    DeliverOwn(usize, usize),
    /// An instance forgets a session.
    Forget(usize, usize),
    /// The host sets the clock of an instance.
    SetClock(usize),
    Steal,
}

impl std::fmt::Display for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(index) => write!(f, "sealed {index}"),
            Self::FrontEnd(session) => write!(f, "the front end's own request in session {session}"),
        }
    }
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request(q) => write!(f, "client requests evidence {q}"),
            Self::Attest(i, n) => write!(f, "instance {i} attests for nonce {n}"),
            Self::AttestsAnyData(n) => write!(f, "accepted code attests the attacker's key for nonce {n}"),
            Self::Receive(q, e) => write!(f, "client receives evidence {q} (nonce {}, key {:?})", e.nonce, e.key),
            Self::Seal(r) => write!(f, "client seals request {r}"),
            Self::Deliver(s, i) => write!(f, "sealed {s} is delivered to instance {i}"),
            Self::DeliverToBusy(s, i) => write!(f, "sealed {s} is delivered to instance {i}, which is busy"),
            Self::Respond(r, response) => {
                write!(f, "request {r} gets the response to {} ({:?})", response.to, response.kind)
            }
            Self::RespondCut(r, response) => {
                write!(f, "request {r} gets a part of the response to {} ({:?})", response.to, response.kind)
            }
            Self::Fail(r) => write!(f, "request {r} gets an error of the front end"),
            Self::DeliverOwn(s, i) => {
                write!(f, "front end seals with the number of sealed {s}, and delivers that to instance {i}")
            }
            Self::Forget(i, session) => write!(f, "instance {i} forgets session {session}"),
            Self::SetClock(i) => write!(f, "host sets the clock of instance {i}"),
            Self::Steal => write!(f, "attacker steals the key of instance 0"),
        }
    }
}
