//! Clocks: a wall clock, and with it a monotonic one that cannot be set back. A caller can provide both.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::types::UnixTime;

/// The clocks of a [`Verifier`](crate::Verifier), for [`VerifierBuilder::clock`](crate::VerifierBuilder::clock).
///
/// A function that returns the time of day is one, with the monotonic clock of the machine. A test that controls the time implements
/// both methods, and advances both clocks together.
pub trait TimeProvider: Send + Sync {
    /// Returns the time of day. The dates in evidence and certificates are compared with it.
    fn now(&self) -> UnixTime;

    /// Returns the time of a clock that is never set, and never goes back; by default that of the machine.
    ///
    /// Ages and pauses are measured with it. Deadlines and timeouts of the network are not: they always use the clock of the
    /// machine.
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

impl<F: Fn() -> UnixTime + Send + Sync> TimeProvider for F {
    fn now(&self) -> UnixTime {
        self()
    }
}

/// The clocks that a verifier and its sessions read.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn TimeProvider>);

impl Clock {
    /// Uses the caller's clocks.
    pub(crate) fn new(clocks: impl TimeProvider + 'static) -> Self {
        Self(Arc::new(clocks))
    }

    /// Uses the clock of the machine.
    pub(crate) fn system() -> Self {
        Self::new(|| UnixTime::from(SystemTime::now()))
    }

    /// Returns the time of day.
    pub(crate) fn now(&self) -> UnixTime {
        self.0.now()
    }

    /// Returns the time of the monotonic clock.
    pub(crate) fn monotonic(&self) -> Instant {
        self.0.monotonic()
    }

    /// Returns the time since a time of the monotonic clock; zero if that is later.
    pub(crate) fn elapsed(&self, since: Instant) -> Duration {
        self.monotonic().saturating_duration_since(since)
    }

    /// Returns the present time on both clocks.
    pub(crate) fn moment(&self) -> Moment {
        Moment { wall: self.now(), monotonic: self.monotonic(), order: Order::next() }
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
    order: Order,
}

impl Moment {
    /// Returns what the wall clock showed.
    pub(crate) fn time_of_day(self) -> UnixTime {
        self.wall
    }

    /// Whether this moment is the same as or later than the other, whatever the clocks showed.
    pub(crate) fn not_before(self, other: Self) -> bool {
        self.order >= other.order
    }

    /// Returns how much later this moment is than the other, by the clock that counts more; zero if it is earlier.
    pub(crate) fn elapsed_since(self, other: Self) -> Duration {
        let wall = self.wall.as_secs().saturating_sub(other.wall.as_secs());
        Duration::from_secs(wall).max(self.monotonic.saturating_duration_since(other.monotonic))
    }
}

/// The place of an event in the order of all events of the process. Two readings of a clock can be equal; two of these are not, so
/// that of evidence and a refusal it is always known which is later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order(u64);

impl Order {
    pub(crate) fn next() -> Self {
        static EVENTS: AtomicU64 = AtomicU64::new(0);
        Self(EVENTS.fetch_add(1, Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Both clocks, at what a test sets them to.
    struct Shown(Mutex<(u64, Instant)>);

    impl Shown {
        fn clock() -> (Arc<Self>, Clock) {
            let shown = Arc::new(Self(Mutex::new((1_000, Instant::now()))));
            (Arc::clone(&shown), Clock(shown))
        }

        fn show(&self, wall: u64, monotonic: Instant) {
            *self.0.lock().unwrap() = (wall, monotonic);
        }
    }

    impl TimeProvider for Shown {
        fn now(&self) -> UnixTime {
            UnixTime::from_secs(self.0.lock().unwrap().0)
        }

        fn monotonic(&self) -> Instant {
            self.0.lock().unwrap().1
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_younger() {
        let (shown, clock) = Shown::clock();
        let (moment, begun) = (clock.moment(), clock.monotonic());
        shown.show(1_100, begun);
        assert_eq!(clock.since(moment), Duration::from_secs(100));
        shown.show(10, begun + Duration::from_millis(2));
        assert_eq!((clock.since(moment), clock.elapsed(begun)), (Duration::from_millis(2), Duration::from_millis(2)));
        shown.show(10, begun);
        assert_eq!(clock.since(moment), Duration::ZERO);
    }

    #[test]
    fn of_two_moments_the_later_is_known_even_while_the_clocks_stand_still() {
        let (_, clock) = Shown::clock();
        let (first, second) = (clock.moment(), clock.moment());
        assert_eq!(second.elapsed_since(first), Duration::ZERO);
        assert!(second.not_before(first) && first.not_before(first) && !first.not_before(second));
    }

    #[test]
    fn a_function_is_a_wall_clock_beside_the_monotonic_clock_of_the_machine() {
        let clock = Clock::new(|| UnixTime::from_secs(7));
        let before = Instant::now();
        assert_eq!(clock.now(), UnixTime::from_secs(7));
        assert!(clock.monotonic() >= before);
    }
}
