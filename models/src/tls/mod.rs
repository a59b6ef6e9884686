//! Evidence about a TLS connection: `blindbox-bound-server/1` and `blindbox-bound-connection/1` (`docs/protocol.md`).
//!
//! The client opens up to two connections and the attacker up to two of their own. The attacker decides who ends each connection of
//! the client: an instance, or the attacker with any private key they have.

use std::collections::BTreeSet;

mod scenario;

pub use scenario::{Check, Form, Scenario, Theft};

/// Application data are sent only to keys that were generated inside an accepted TEE.
pub const INSIDE_KEYS_ONLY: &str = "data only to keys generated inside an accepted TEE";
/// No application data are sent to the attacker.
pub const NOT_TO_ATTACKER: &str = "no data to the attacker";
/// Application data are sent to the owner's instance only.
pub const OWNER_ONLY: &str = "data only to the owner's instance";
/// Accepted evidence was made after the request that it is accepted for.
pub const FRESH: &str = "accepted evidence is fresh";

/// How many connections the client opens, and at most the attacker: a second one of the client is what a session with an attested
/// key adds to the first. With three, a search does not end within 10 minutes.
const CLIENT_CONNECTIONS: usize = 2;
const OWN_CONNECTIONS: usize = 2;

const PROPERTIES: [&str; 4] = [INSIDE_KEYS_ONLY, NOT_TO_ATTACKER, OWNER_ONLY, FRESH];

/// Who runs an instance of accepted code. The key of each is inside its TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instance {
    Owners,
    /// Of the same code, started by the attacker.
    Attackers,
}

/// A TLS key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The owner's instance served with it first.
    Old,
    /// The owner's instance serves with it after a rotation.
    New,
    /// The key of the attacker's instance of the same code.
    OfAttackersInstance,
    /// A key that the attacker generated.
    Attackers,
}

/// Who ends a connection of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    Instance(Instance),
    Attacker,
}

/// The exporter value of a connection: connections have different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exporter {
    OfClient(usize),
    OfAttacker(usize),
}

/// The code that evidence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    Accepted,
    Other,
}

/// Genuine evidence: only a TEE makes it, and the code in it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Evidence {
    pub code: Code,
    pub nonce: usize,
    pub key: Key,
    /// In the form that names it.
    pub exporter: Option<Exporter>,
    /// Which connections of the client had requested evidence when this was made, for [`FRESH`].
    requested: [bool; CLIENT_CONNECTIONS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    Opened,
    Requested,
    /// Its own evidence was accepted.
    Attested,
    /// Closed, refused or expired.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ClientConnection {
    end: End,
    key: Key,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct OwnConnection {
    to: Instance,
    key: Key,
}

/// What has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    client: [Option<ClientConnection>; CLIENT_CONNECTIONS],
    /// The connections of the attacker; those that the agent closed stay, without effect.
    own: [Option<OwnConnection>; OWN_CONNECTIONS],
    /// Which keys the client holds to be attested, whatever connection showed them.
    attested_keys: [bool; 4],
    /// Evidence that the attacker has.
    evidence: BTreeSet<Evidence>,
    requested: [bool; CLIENT_CONNECTIONS],
    rotated: bool,
    drained: bool,
    stolen: bool,
    /// Data were sent to the owner's instance, as they should.
    reached: bool,
    /// By the order of [`PROPERTIES`].
    violated: [bool; 4],
}

impl State {
    fn violate(&mut self, property: &str) {
        for (name, violated) in PROPERTIES.iter().zip(&mut self.violated) {
            *violated |= *name == property;
        }
    }

    /// Closes connections of the client.
    fn close(&mut self, which: impl Fn(&ClientConnection) -> bool) {
        for open in self.client.iter_mut().flatten().filter(|open| which(open)) {
            open.standing = Standing::Over;
        }
    }
}

/// What happens next. Connections are numbered from zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Open(usize, End, Key),
    /// The client requests evidence.
    Request(usize),
    /// The instance at the other end responds.
    TeeResponds(usize),
    /// The attacker responds with evidence that they have.
    AttackerResponds(usize, Evidence),
    /// The attacker responds with evidence of their own TEE with other code, which attests any data.
    OtherCodeResponds(usize),
    Send(usize),
    AttackerConnects(usize, Instance),
    /// The attacker has the instance attest, over a connection of their own, for a nonce of the client.
    AttackerRequests(usize, usize),
    /// Accepted code attests data of the attacker's choice.
    AttestsAnyData(Evidence),
    Steal,
    Rotate,
    /// The agent closes the connections of the retired key.
    Drain,
    /// Every attestation that the client has ends.
    Expire,
}

impl std::fmt::Debug for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let exporter = |e: &Evidence| e.exporter.map_or_else(String::new, |exporter| format!(", {exporter:?}"));
        let evidence = |e: &Evidence| format!("nonce {}, key {:?}{}", e.nonce, e.key, exporter(e));
        match self {
            Self::Open(c, End::Instance(instance), key) => {
                write!(f, "open {c} to the instance {instance:?}, key {key:?}")
            }
            Self::Open(c, End::Attacker, key) => write!(f, "open {c} to the attacker, key {key:?}"),
            Self::Request(c) => write!(f, "client requests evidence over {c}"),
            Self::TeeResponds(c) => write!(f, "TEE responds over {c}"),
            Self::AttackerResponds(c, e) => write!(f, "attacker responds over {c} with evidence ({})", evidence(e)),
            Self::OtherCodeResponds(c) => write!(f, "other code responds over {c}"),
            Self::Send(c) => write!(f, "client sends over {c}"),
            Self::AttackerConnects(a, instance) => write!(f, "attacker opens own {a} to the instance {instance:?}"),
            Self::AttackerRequests(a, nonce) => write!(f, "attacker requests evidence over own {a}, nonce {nonce}"),
            Self::AttestsAnyData(e) => write!(f, "accepted code attests any data ({})", evidence(e)),
            Self::Steal => write!(f, "attacker steals the key Old"),
            Self::Rotate => write!(f, "owner's instance rotates its key"),
            Self::Drain => write!(f, "connections of the key Old are closed"),
            Self::Expire => write!(f, "attestations end"),
        }
    }
}
