//! The message keys of one agent: generated inside the TEE, kept in memory only, never shared, and wiped in time.
//!
//! HPKE to a key that is kept has no forward secrecy: anyone who has the key opens what was recorded. So keys are short-lived. Time is
//! given by the caller, from a clock that only runs forward. A host that slows that clock makes keys live longer and gains nothing else:
//! what stops replay are the sessions, not a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::replay::{MAX_SESSIONS, MessageNumber, SessionId, Sessions};
use crate::crypto::sealing::SealingError;
use crate::message::hpke::{Kem, PrivateKey};
use crate::message::key_config::KeyConfig;
use crate::message::request::{OpenedRequest, RequestStart};
use crate::sync::lock;

/// The keys that are kept at once, at most. Key ids have one byte, so no two of them have the same.
const MAX_KEYS: usize = 8;

/// How long keys are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySchedule {
    /// How long attestations name a key.
    pub(crate) lifetime: Duration,
    /// How long after that requests to it are opened: as long as clients keep an attestation.
    pub(crate) kept: Duration,
}

impl KeySchedule {
    /// Whether every key is kept for its whole time: each lifetime adds one, and beyond [`MAX_KEYS`] the oldest is wiped early.
    pub(crate) fn keeps_every_key(self) -> bool {
        let others = u32::try_from(MAX_KEYS.saturating_sub(1)).unwrap_or(u32::MAX);
        self.kept <= self.lifetime.saturating_mul(others)
    }
}

/// One key with its sessions, which end with it. The private key is overwritten when this is dropped.
pub(crate) struct MessageKey {
    config: KeyConfig,
    private: PrivateKey,
    sessions: UsedNumbers,
}

/// The sessions of a key, without the key: a request whose head is slow to arrive keeps no key longer than its time.
#[derive(Clone)]
pub(super) struct UsedNumbers(Arc<Mutex<Sessions>>);

impl UsedNumbers {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Sessions::new(MAX_SESSIONS))))
    }

    /// As [`Sessions::mark`].
    #[must_use]
    pub(super) fn mark(&self, request: MessageNumber) -> bool {
        lock(&self.0).mark(request)
    }
}

impl MessageKey {
    fn generate(key_id: u8, kem: Kem) -> Result<Self, SealingError> {
        let private = PrivateKey::generate(kem)?;
        let config = KeyConfig::new(key_id, kem, private.public_key()?).ok_or(SealingError)?;
        Ok(Self { config, private, sessions: UsedNumbers::new() })
    }

    pub(super) fn open(&self, start: RequestStart) -> Result<OpenedRequest, SealingError> {
        start.open(&self.private)
    }

    pub(super) fn used_numbers(&self) -> UsedNumbers {
        self.sessions.clone()
    }
}

/// What an agent has attested, and sends beside the evidence.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// Evidence names its digest.
    pub(crate) config: KeyConfig,
    /// Not authenticated: another one makes requests be refused.
    pub(crate) session: SessionId,
}

/// The keys of one agent, the newest last.
pub(crate) struct MessageKeys {
    kem: Kem,
    schedule: KeySchedule,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    keys: VecDeque<Generation>,
    next_key_id: u8,
}

struct Generation {
    key: Arc<MessageKey>,
    made_at: Duration,
}

impl MessageKeys {
    /// Creates an agent's keys. The first one is generated with the first attestation.
    pub(crate) fn new(kem: Kem, schedule: KeySchedule) -> Self {
        Self { kem, schedule, generations: Mutex::default() }
    }

    /// Begins a session on the newest key, for one attestation.
    pub(crate) fn offer(&self, now: Duration) -> Result<Offer, SealingError> {
        let mut generations = lock(&self.generations);
        generations.expire(now, self.schedule);
        let newest = generations.keys.back().filter(|newest| now < due(newest.made_at, self.schedule.lifetime));
        let key = match newest {
            Some(newest) => Arc::clone(&newest.key),
            None => {
                let key = Arc::new(MessageKey::generate(generations.next_key_id, self.kem)?);
                generations.add(Arc::clone(&key), now);
                key
            }
        };
        let session = lock(&key.sessions.0).begin()?;
        Ok(Offer { config: key.config.clone(), session })
    }

    /// Returns the key that a request names, unless its time is over.
    pub(super) fn find(&self, start: &RequestStart, now: Duration) -> Option<Arc<MessageKey>> {
        let mut generations = lock(&self.generations);
        generations.expire(now, self.schedule);
        let named = generations.keys.iter().find(|generation| start.names(&generation.key.config));
        named.map(|generation| Arc::clone(&generation.key))
    }

    /// Wipes the keys whose time is over. Each use does it as well; an agent without requests calls it from a timer.
    pub(crate) fn expire(&self, now: Duration) {
        lock(&self.generations).expire(now, self.schedule);
    }

    #[cfg(test)]
    pub(super) fn weak(&self) -> Vec<std::sync::Weak<MessageKey>> {
        lock(&self.generations).keys.iter().map(|generation| Arc::downgrade(&generation.key)).collect()
    }
}

impl Generations {
    fn add(&mut self, key: Arc<MessageKey>, made_at: Duration) {
        self.next_key_id = key.config.key_id().wrapping_add(1);
        while self.keys.len() >= MAX_KEYS {
            self.keys.pop_front();
        }
        self.keys.push_back(Generation { key, made_at });
    }

    fn expire(&mut self, now: Duration, schedule: KeySchedule) {
        let end = |made_at| due(due(made_at, schedule.lifetime), schedule.kept);
        self.keys.retain(|generation| now < end(generation.made_at));
    }
}

fn due(from: Duration, after: Duration) -> Duration {
    from.saturating_add(after)
}
