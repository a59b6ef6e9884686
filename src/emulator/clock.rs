//! The time that an emulator believes in, so that tests with a clock of their own can agree with it.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::lock;
use crate::clock::TimeProvider;
use crate::types::UnixTime;

/// A wall clock and a monotonic clock that advance together, for the emulator and for
/// [`VerifierBuilder::clock`](crate::VerifierBuilder::clock). Clones are the same clock.
#[derive(Clone, Debug)]
pub struct EmulatedClock(Arc<Mutex<Setting>>);

#[derive(Clone, Copy, Debug)]
enum Setting {
    /// The machine's time plus so many seconds.
    Running(u64),
    /// A time, and how many seconds the clock was advanced to it.
    Stopped(UnixTime, u64),
}

/// What a stopped monotonic clock counts from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl EmulatedClock {
    /// The machine's time.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(Setting::Running(0))))
    }

    /// Stands still at the present time of the machine: only [`EmulatedClock::advance`] lets time pass.
    #[must_use]
    pub fn stopped() -> Self {
        Self::stopped_at(SystemTime::now().into())
    }

    /// Stands still at a time.
    #[must_use]
    pub fn stopped_at(time: UnixTime) -> Self {
        Self(Arc::new(Mutex::new(Setting::Stopped(time, 0))))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        match *lock(&self.0) {
            Setting::Running(offset) => UnixTime::from(SystemTime::now()).plus(offset),
            Setting::Stopped(time, _) => time,
        }
    }

    /// Lets so many seconds pass at once, on both clocks.
    pub fn advance(&self, seconds: u64) {
        let mut setting = lock(&self.0);
        *setting = match *setting {
            Setting::Running(offset) => Setting::Running(offset.saturating_add(seconds)),
            Setting::Stopped(time, advanced) => Setting::Stopped(time.plus(seconds), advanced.saturating_add(seconds)),
        };
    }
}

impl TimeProvider for EmulatedClock {
    fn now(&self) -> UnixTime {
        Self::now(self)
    }

    fn monotonic(&self) -> Instant {
        let (origin, seconds) = match *lock(&self.0) {
            Setting::Running(offset) => (Instant::now(), offset),
            Setting::Stopped(_, advanced) => (*ORIGIN, advanced),
        };
        origin.checked_add(Duration::from_secs(seconds)).unwrap_or(origin)
    }
}

impl Default for EmulatedClock {
    fn default() -> Self {
        Self::system()
    }
}
