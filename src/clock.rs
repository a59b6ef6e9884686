//! The time: from the caller's clock, and from one that nobody can set back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::UnixTime;

/// Where the time of day comes from.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> UnixTime + Send + Sync>);

impl Clock {
    pub(crate) fn new(now: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The machine's clock.
    pub(crate) fn system() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            UnixTime::from_secs(since.as_secs())
        })
    }

    pub(crate) fn now(&self) -> UnixTime {
        (self.0)()
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { wall: self.now(), monotonic: Instant::now() }
    }

    /// How long ago a moment was, by whichever of the clocks says more: setting one back keeps nothing alive.
    pub(crate) fn since(&self, moment: Moment) -> Duration {
        self.moment().after(moment)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    wall: UnixTime,
    monotonic: Instant,
}

impl Moment {
    /// Whether this moment is not before the other; by the clock that only goes forward.
    pub(crate) fn is_since(self, other: Self) -> bool {
        self.monotonic >= other.monotonic
    }

    /// How long after the other, by whichever of the clocks says more; nothing if it is before.
    pub(crate) fn after(self, other: Self) -> Duration {
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
