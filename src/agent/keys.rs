//! The message keys of one instance.

use std::time::Duration;

use crate::message::exchange::keys::{self, MessageKeys as Keys};
use crate::message::exchange::runtime_data::runtime_data;
use crate::message::hpke::Kem;
use crate::types::Nonce;

/// How a key is agreed on with the sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MessageKem {
    /// X-Wing, 0x647a: ML-KEM-768 with X25519. What is recorded now cannot be opened by a quantum computer later.
    #[default]
    XWing,
    /// X25519, 0x0020 (RFC 9180 section 7.1), for clients without ML-KEM.
    X25519,
}

/// How long a key is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeySchedule {
    /// How long attestations name a key: one hour unless set.
    pub lifetime: Duration,
    /// How long after that requests to it are opened: one hour unless set, which is how long clients use an attestation unless their
    /// policy says otherwise. Then the key is overwritten.
    pub kept: Duration,
}

impl KeySchedule {
    /// Returns whether every key is kept for as long as this says. An instance has eight keys at most, of which the oldest is overwritten
    /// for the next: `kept` is at most seven times `lifetime`. An agent refuses a setting beyond that, since requests to a key would be
    /// refused before its time is over.
    #[must_use]
    pub fn keeps_every_key(&self) -> bool {
        self.inner().keeps_every_key()
    }

    const fn inner(self) -> keys::KeySchedule {
        keys::KeySchedule { lifetime: self.lifetime, kept: self.kept }
    }
}

impl Default for KeySchedule {
    fn default() -> Self {
        let hour = Duration::from_secs(60 * 60);
        Self { lifetime: hour, kept: hour }
    }
}

/// The message keys of one instance: generated here, in memory only, overwritten in time.
///
/// Every method takes the time since some start, of a clock that only runs forward. A host that stops that clock makes keys live longer
/// and gains nothing else: what stops replay are the sessions of each key, not a time.
pub struct MessageKeys(pub(super) Keys);

/// What one attestation names, and what its response carries beside the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageOffer {
    /// What the evidence covers: `REPORT_DATA` is SHA-256 of these 207 bytes, and 32 zero bytes.
    pub runtime_data: String,
    /// The key configuration (RFC 9458 section 3.1), for the member `key_config`: 1225 bytes for X-Wing, 41 for X25519.
    pub key_config: Vec<u8>,
    /// The id of the session, for the member `session`: 32 hexadecimal digits, never the same twice.
    pub session: String,
}

/// No key could be generated: there is no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no message key can be generated: the system gives no randomness")]
pub struct NoKey;

impl MessageKeys {
    /// Creates the keys of an instance. The first key is generated with the first attestation.
    #[must_use]
    pub fn new(kem: MessageKem, schedule: KeySchedule) -> Self {
        let kem = match kem {
            MessageKem::XWing => Kem::XWing,
            MessageKem::X25519 => Kem::X25519,
        };
        Self(Keys::new(kem, schedule.inner()))
    }

    /// Begins a session on the newest key, for one attestation with this nonce. A new key is generated when the newest is older than
    /// its lifetime.
    ///
    /// A key has 65,536 sessions at most. Beyond them the oldest is forgotten, and its requests are refused. So the caller limits
    /// attestations to fewer within a lifetime: to 18 a second if it is one hour.
    ///
    /// # Errors
    ///
    /// If no key or session id can be generated.
    pub fn offer(&self, nonce: &Nonce, now: Duration) -> Result<MessageOffer, NoKey> {
        let offer = self.0.offer(now).map_err(|_| NoKey)?;
        Ok(MessageOffer {
            runtime_data: runtime_data(nonce, &offer.config),
            key_config: offer.config.to_bytes(),
            session: offer.session.to_string(),
        })
    }

    /// Overwrites the keys whose time is over. Each use does it as well; an agent without requests calls it from a timer, every few
    /// seconds.
    pub fn expire(&self, now: Duration) {
        self.0.expire(now);
    }
}

impl std::fmt::Debug for MessageKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageKeys").finish_non_exhaustive()
    }
}
