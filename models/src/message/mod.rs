//! Messages sealed to an attested key: `blindbox-bound-message/1`.
//!
//! The front end ends TLS and is the attacker: it carries every request and response, keeps copies, drops, reorders and repeats
//! them. Two instances serve; each has a message key of its own unless the scenario says otherwise.

mod scenario;

pub use scenario::{Replay, Resend, Scenario, Sealing};

/// No request can be read outside an accepted TEE.
pub const CONFIDENTIAL: &str = "no request is read outside an accepted TEE";
/// No request is processed twice.
pub const ONCE: &str = "no request is processed twice";
/// A response is accepted only for the request that it responds to.
pub const MATCHED: &str = "a response belongs to its request";
/// A response that is accepted as complete is complete.
pub const COMPLETE: &str = "a complete response is complete";
/// Accepted evidence was made after the request that it is accepted for.
pub const FRESH: &str = "accepted evidence is fresh";

const PROPERTIES: [&str; 5] = [CONFIDENTIAL, ONCE, MATCHED, COMPLETE, FRESH];

/// How many requests the client has, and how often it seals one, attests, and receives a response, at most.
const REQUESTS: usize = 2;
const SEALINGS: usize = 3;
const ATTESTATIONS: usize = 2;
const EVIDENCE: usize = 2;
const RESPONSES: usize = 3;

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

/// A sealed request. Its index in the list is its HPKE context: each has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sealed {
    request: usize,
    key: Key,
    session: usize,
    number: usize,
    /// The client's time, for a window of time.
    time: bool,
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
    pub to: usize,
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
    responses: Vec<Response>,
    stolen: bool,
    /// A response was accepted as it should be.
    reached: bool,
    /// By the order of [`PROPERTIES`].
    violated: [bool; 5],
}

impl State {
    fn violate(&mut self, property: &str) {
        for (name, violated) in PROPERTIES.iter().zip(&mut self.violated) {
            *violated |= *name == property;
        }
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
    /// The front end responds with an error of its own.
    Fail(usize),
    /// An instance forgets a session.
    Forget(usize, usize),
    /// The host sets the clock of an instance.
    SetClock(usize),
    Steal,
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
                write!(f, "request {r} gets the response to sealed {} ({:?})", response.to, response.kind)
            }
            Self::RespondCut(r, response) => {
                write!(f, "request {r} gets a part of the response to sealed {}", response.to)
            }
            Self::Fail(r) => write!(f, "request {r} gets an error of the front end"),
            Self::Forget(i, session) => write!(f, "instance {i} forgets session {session}"),
            Self::SetClock(i) => write!(f, "host sets the clock of instance {i}"),
            Self::Steal => write!(f, "attacker steals the key of instance 0"),
        }
    }
}
