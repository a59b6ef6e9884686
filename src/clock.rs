//! Clocks: the wall clock that the caller can set, and with it a monotonic one that cannot be set back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::types::UnixTime;

/// The source of the time of day.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> UnixTime + Send + Sync>);

impl Clock {
    /// Uses the caller's function as the clock.
    pub(crate) fn new(now: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Uses the clock of the machine.
    pub(crate) fn system() -> Self {
        Self::new(|| SystemTime::now().into())
    }

    /// Returns the time of day.
    pub(crate) fn now(&self) -> UnixTime {
        (self.0)()
    }

    /// Returns the present time on both clocks.
    pub(crate) fn moment(&self) -> Moment {
        Moment { wall: self.now(), monotonic: Instant::now() }
    }

    /// Returns the time since a moment, by the clock that counts more: setting one back extends no lifetime.
    pub(crate) fn since(&self, moment: Moment) -> Duration {
        self.moment().elapsed_since(moment)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// A point in time, on the wall clock and on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    wall: UnixTime,
    monotonic: Instant,
}

impl Moment {
    /// Whether this moment is the same as or later than the other, by the monotonic clock.
    pub(crate) fn not_before(self, other: Self) -> bool {
        self.monotonic >= other.monotonic
    }

    /// Returns how much later this moment is than the other, by the clock that counts more; zero if it is earlier.
    pub(crate) fn elapsed_since(self, other: Self) -> Duration {
        let wall = self.wall.as_secs().saturating_sub(other.wall.as_secs());
        Duration::from_secs(wall).max(self.monotonic.saturating_duration_since(other.monotonic))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_younger() {
        let seconds = Arc::new(AtomicU64::new(1_000));
        let shown = Arc::clone(&seconds);
        let clock = Clock::new(move || UnixTime::from_secs(shown.load(Ordering::SeqCst)));
        let moment = clock.moment();
        seconds.store(1_100, Ordering::SeqCst);
        assert_eq!(clock.since(moment), Duration::from_secs(100));
        seconds.store(10, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.since(moment) >= Duration::from_millis(2));
    }
}
