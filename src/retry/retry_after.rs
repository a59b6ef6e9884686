//! The `Retry-After` header (RFC 9110 section 10.2.3): a number of seconds, or a date in one of the three forms of section 5.6.7.

use std::time::Duration;

use crate::types::{DateTime, UnixTime};

/// The longest value that is read, in bytes. The longest form of a date has 33.
const MAX_LEN: usize = 64;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns how long a server asks to wait, by its headers `Retry-After` and `Date`. A date counts from the server's own `Date`, so that its
/// clock may differ from ours; `now` is used for servers that send no `Date`.
pub(crate) fn retry_after(value: Option<&str>, date: Option<&str>, now: UnixTime) -> Option<Duration> {
    let bounded = |text: &&str| text.len() <= MAX_LEN;
    let value = value.map(str::trim).filter(bounded)?;
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too large to parse is a very long wait, not no wait.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let from = date.map(str::trim).filter(bounded).and_then(http_date).unwrap_or(now.as_secs());
    Some(Duration::from_secs(http_date(value)?.saturating_sub(from)))
}

/// Reads an HTTP-date into seconds since 1970. The name of the day is not compared with the date.
fn http_date(text: &str) -> Option<u64> {
    let fields: Vec<&str> = text.split_ascii_whitespace().take(7).collect();
    let (day, month, year, time) = match *fields.as_slice() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        [name, day, month, year, time, "GMT"] if name.ends_with(',') => (day, month, number(year, 4)?, time),
        // Sunday, 06-Nov-94 08:49:37 GMT
        [name, date, time, "GMT"] if name.ends_with(',') => {
            let mut parts = date.splitn(3, '-');
            let (day, month, year) = (parts.next()?, parts.next()?, number(parts.next()?, 2)?);
            // Two digits: below 70 means 20xx, since no server names a time before 1970.
            (day, month, year.saturating_add(if year < 70 { 2000 } else { 1900 }), time)
        }
        // Sun Nov  6 08:49:37 1994
        [_, month, day, time, year] => (day, month, number(year, 4)?, time),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)?.checked_add(1)?;
    let mut clock = time.splitn(3, ':');
    let mut part = || number(clock.next()?, 2);
    let (hour, minute, second) = (part()?, part()?, part()?);
    // A leap second (RFC 9110 section 5.6.7) is no second of Unix time.
    let second = second.min(59);
    let day = if day.len() == 1 { number(day, 1)? } else { number(day, 2)? };
    DateTime { year, month: u64::try_from(month).ok()?, day, hour, minute, second }.to_seconds()
}

fn number(text: &str, digits: usize) -> Option<u64> {
    let all = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_date_are_one_time() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(http_date(text), Some(784_111_777), "{text}");
        }
        assert_eq!(http_date("Fri, 09 Oct 2026 00:26:40 GMT"), Some(1_791_505_600));
        assert_eq!(http_date("Friday, 09-Oct-26 00:26:40 GMT"), Some(1_791_505_600));
        assert_eq!(http_date("Sat, 31 Dec 2016 23:59:60 GMT"), Some(1_483_228_799));
        for text in [
            "",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 6 nov 1994 08:49:37 GMT",
            "Sun, 31 Jun 2026 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_wait_is_a_number_or_counts_from_the_servers_own_date() {
        let now = UnixTime::from_secs(1_791_505_600);
        let wait = |value: &str, date: Option<&str>| retry_after(Some(value), date, now).map(|wait| wait.as_secs());
        assert_eq!(wait("3", None), Some(3));
        assert_eq!(wait(" 3 ", None), Some(3));
        assert_eq!(wait("99999999999999999999999", None), Some(u64::MAX));
        assert_eq!(wait("Fri, 09 Oct 2026 00:26:44 GMT", None), Some(4));
        // This server's clock is a day ahead.
        let date = Some("Sat, 10 Oct 2026 00:26:40 GMT");
        assert_eq!(wait("Sat, 10 Oct 2026 00:26:42 GMT", date), Some(2));
        // What is past is now.
        assert_eq!(wait("Fri, 09 Oct 2026 00:26:44 GMT", date), Some(0));
        assert_eq!(wait(&"9".repeat(64), None), Some(u64::MAX));
        assert_eq!(wait(&"9".repeat(65), None), None);
        for value in ["-1", "1.5", "soon", ""] {
            assert_eq!(wait(value, None), None, "{value}");
        }
        assert_eq!(retry_after(None, date, now), None);
    }
}
