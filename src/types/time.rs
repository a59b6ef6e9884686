//! [`UnixTime`]: points in time, and how errors show them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::calendar::DateTime;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The first second of the year 10000, which RFC 3339 cannot write.
const END_OF_RFC3339: u64 = 253_402_300_800;

/// Seconds since 1970-01-01 UTC. The pure part of this crate never reads a clock: the caller provides the time.
///
/// Displayed as RFC 3339 in UTC, serialised as a number.
///
/// ```
/// use blindbox_attestation::UnixTime;
///
/// assert_eq!(UnixTime::from_secs(1_791_503_200).to_string(), "2026-10-08T23:46:40Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

impl UnixTime {
    /// Creates a point in time from seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Returns the seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// Adds seconds; saturates instead of wrapping.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Subtracts seconds; saturates at 1970 instead of wrapping.
    #[must_use]
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}

/// In whole seconds, rounded down; a time before 1970 becomes 1970.
impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

/// As RFC 3339 in UTC, such as `2026-10-08T23:46:40Z`; from the year 10000 on as a number of seconds.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= END_OF_RFC3339 {
            return write!(f, "second {} of Unix time", self.0);
        }
        let DateTime { year, month, day, hour, minute, second } = DateTime::from_seconds(self.0);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Formats the difference of two points in time in its two largest units, for errors that a wrong clock may have caused.
pub(crate) fn difference(one: &UnixTime, other: &UnixTime) -> String {
    let seconds = one.0.abs_diff(other.0);
    let (large, small) = match seconds {
        DAY.. => ((DAY, "d"), (HOUR, "h")),
        HOUR.. => ((HOUR, "h"), (MINUTE, "min")),
        MINUTE.. => ((MINUTE, "min"), (1, "s")),
        _ => return format!("{seconds} s"),
    };
    let parts = (seconds.checked_div(large.0), seconds.checked_rem(large.0).and_then(|rest| rest.checked_div(small.0)));
    let (count, rest) = (parts.0.unwrap_or_default(), parts.1.unwrap_or_default());
    if rest == 0 { format!("{count} {}", large.1) } else { format!("{count} {} {rest} {}", large.1, small.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (978_307_199, "2000-12-31T23:59:59Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (13_569_465_599, "2399-12-31T23:59:59Z"),
            (END_OF_RFC3339 - 1, "9999-12-31T23:59:59Z"),
            (END_OF_RFC3339, "second 253402300800 of Unix time"),
            (u64::MAX, "second 18446744073709551615 of Unix time"),
        ] {
            assert_eq!(UnixTime::from_secs(seconds).to_string(), text);
        }
    }

    #[test]
    fn times_of_the_standard_library_are_rounded_down() {
        let at = |millis| UnixTime::from(UNIX_EPOCH + std::time::Duration::from_millis(millis));
        assert_eq!((at(0), at(1_999)), (UnixTime(0), UnixTime(1)));
        assert_eq!(UnixTime::from(UNIX_EPOCH - std::time::Duration::from_secs(1)), UnixTime(0));
    }

    #[test]
    fn differences_are_shown_in_two_units() {
        let from = UnixTime::from_secs(1_000_000);
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min 59 s"),
            (3600, "1 h"),
            (86_399, "23 h 59 min"),
            (90_000, "1 d 1 h"),
            (86_400 * 400, "400 d"),
        ] {
            assert_eq!(difference(&from, &from.plus(seconds)), text);
            assert_eq!(difference(&from.plus(seconds), &from), text);
        }
    }
}
