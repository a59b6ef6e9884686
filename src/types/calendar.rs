//! The Gregorian calendar in UTC, without leap seconds, from 1970 on.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const DAYS_IN_400_YEARS: u64 = 146_097;

/// A calendar date and time, as in certificates, HTTP and RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateTime {
    pub(crate) year: u64,
    /// From 1.
    pub(crate) month: u64,
    /// From 1.
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
}

impl DateTime {
    /// Returns the seconds since 1970. `None` for an invalid date or time, or one before 1970.
    pub(crate) fn to_seconds(self) -> Option<u64> {
        if self.hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let months = month_lengths(self.year);
        let month = usize::try_from(self.month).ok()?.checked_sub(1)?;
        if self.day == 0 || self.day > *months.get(month)? {
            return None;
        }
        let years = self.year.checked_sub(1970)?.checked_mul(365)?.checked_add(leap_days_before(self.year)?)?;
        let days = years.checked_add(months.iter().take(month).sum())?.checked_add(self.day)?.checked_sub(1)?;
        let of_day = self.hour.checked_mul(60)?.checked_add(self.minute)?.checked_mul(60)?.checked_add(self.second)?;
        days.checked_mul(DAY)?.checked_add(of_day)
    }

    /// Returns the date and time of a number of seconds since 1970.
    pub(crate) fn from_seconds(seconds: u64) -> Self {
        let (days, of_day) = (seconds / DAY, seconds % DAY);
        let mut year = (days / DAYS_IN_400_YEARS).saturating_mul(400).saturating_add(1970);
        let mut day = days % DAYS_IN_400_YEARS;
        // At most 400 steps.
        while let Some(rest) = day.checked_sub(if is_leap(year) { 366 } else { 365 }) {
            (day, year) = (rest, year.saturating_add(1));
        }
        let mut month = 1_u64;
        for length in month_lengths(year) {
            let Some(rest) = day.checked_sub(length) else { break };
            (day, month) = (rest, month.saturating_add(1));
        }
        let (hour, minute, second) = (of_day / HOUR, of_day % HOUR / MINUTE, of_day % MINUTE);
        Self { year, month, day: day.saturating_add(1), hour, minute, second }
    }
}

/// Returns the number of leap days from 1970 to the end of the previous year.
fn leap_days_before(year: u64) -> Option<u64> {
    let until = |year: u64| {
        let (by_4, by_100, by_400) = (year.checked_div(4)?, year.checked_div(100)?, year.checked_div(400)?);
        by_4.checked_sub(by_100)?.checked_add(by_400)
    };
    until(year.checked_sub(1)?)?.checked_sub(until(1969)?)
}

const fn month_lengths(year: u64) -> [u64; 12] {
    [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every day until 2399 follows the one before it, in both directions.
    #[test]
    fn the_calendar_has_no_gap() {
        let mut expected = 0;
        for year in 1970..2400_u64 {
            for (month, length) in (1..).zip(month_lengths(year)) {
                for day in 1..=length {
                    let date = DateTime { year, month, day, hour: 0, minute: 0, second: 0 };
                    assert_eq!((date.to_seconds(), DateTime::from_seconds(expected)), (Some(expected), date));
                    expected += DAY;
                }
            }
        }
    }
}
