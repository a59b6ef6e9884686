//! How long requests may be sealed and continued: the end of the attestation, a refusal, and a front end that no longer leads to the
//! holder of the key.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::AttestationError;
use crate::sync::lock;
use crate::types::UnixTime;

/// Whether requests still reach the holder of the key, as far as responses say, which are not authenticated.
pub(super) struct Reached(AtomicBool);

impl Reached {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(true))
    }

    pub(super) fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn mark_lost(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The latest time that the host gave, in seconds. A clock that is set back to before it prolongs nothing as long as the host gives a time
/// that goes on as its monotonic clock does.
#[derive(Default)]
pub(super) struct Latest(AtomicU64);

impl Latest {
    /// The given time, or the latest that was given before.
    pub(super) fn advance(&self, now: UnixTime) -> UnixTime {
        let before = self.0.fetch_max(now.as_secs(), Ordering::Relaxed);
        now.max(UnixTime::from_secs(before))
    }
}

/// The code of the refusal after which nothing is sent and nothing received.
#[derive(Default)]
pub(super) struct Standing(Mutex<Option<&'static str>>);

impl Standing {
    pub(super) fn refuse(&self, cause: &'static str) {
        *lock(&self.0) = Some(cause);
    }

    pub(super) fn check(&self) -> Result<(), AttestationError> {
        lock(&self.0).map_or(Ok(()), |cause| Err(AttestationError::SessionPoisoned { cause }))
    }
}

/// How long an exchange may be continued.
pub(super) struct Validity {
    pub(super) expires_at: UnixTime,
    pub(super) latest: Arc<Latest>,
    pub(super) reached: Arc<Reached>,
    pub(super) standing: Arc<Standing>,
}

impl Validity {
    /// Checks that content may be sealed at this time.
    pub(super) fn check(&self, now: UnixTime) -> Result<(), AttestationError> {
        self.standing.check()?;
        if self.latest.advance(now) < self.expires_at { Ok(()) } else { Err(AttestationError::AttestationExpired) }
    }
}
