//! Times of certificates and revocation lists, in the one form that RFC 5280 sections 4.1.2.5 and 5.1.2.4 give each.
//!
//! BER allows offsets, missing seconds, fractions and two spellings of one date. DER in X.509 allows none of them:
//! `UTCTime` is `YYMMDDHHMMSSZ` for the years 1950 to 2049, `GeneralizedTime` is `YYYYMMDDHHMMSSZ` for 2050 and later.

use super::{DerReader, GENERALIZED_TIME, UTC_TIME};
use crate::types::{DateTime, UnixTime};

impl DerReader<'_> {
    /// Reads a `Time`. `None` also for what is before 1970: no certificate of this field is that old.
    pub(crate) fn time(&mut self) -> Option<UnixTime> {
        if self.is_next(GENERALIZED_TIME) {
            generalized_time(self.expect(GENERALIZED_TIME)?.contents)
        } else {
            utc_time(self.expect(UTC_TIME)?.contents)
        }
    }

    /// Whether the next element is a `Time`, well-formed or not.
    pub(crate) fn is_next_time(&self) -> bool {
        self.is_next(UTC_TIME) || self.is_next(GENERALIZED_TIME)
    }
}

fn utc_time(contents: &[u8]) -> Option<UnixTime> {
    let (year, rest) = contents.split_first_chunk::<2>()?;
    let century: u64 = if digits(*year)? >= 50 { 1900 } else { 2000 };
    since_1970(century.checked_add(digits(*year)?)?, rest)
}

fn generalized_time(contents: &[u8]) -> Option<UnixTime> {
    let ([y1, y2, y3, y4], rest) = contents.split_first_chunk::<4>()?;
    let year = digits([*y1, *y2])?.checked_mul(100)?.checked_add(digits([*y3, *y4])?)?;
    // Until 2049 a date is a UTCTime: two spellings would be two certificates of one meaning.
    if year < 2050 {
        return None;
    }
    since_1970(year, rest)
}

/// Reads `MMDDHHMMSSZ` and counts the seconds.
fn since_1970(year: u64, rest: &[u8]) -> Option<UnixTime> {
    let &[month1, month2, day1, day2, hour1, hour2, minute1, minute2, second1, second2, b'Z'] = rest else {
        return None;
    };
    let (month, day) = (digits([month1, month2])?, digits([day1, day2])?);
    let (hour, minute, second) = (digits([hour1, hour2])?, digits([minute1, minute2])?, digits([second1, second2])?);
    DateTime { year, month, day, hour, minute, second }.to_seconds().map(UnixTime::from_secs)
}

fn digits([tens, ones]: [u8; 2]) -> Option<u64> {
    let digit = |byte: u8| char::from(byte).to_digit(10).map(u64::from);
    digit(tens)?.checked_mul(10)?.checked_add(digit(ones)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tag: u8, text: &str) -> Option<u64> {
        let der = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let mut reader = DerReader::new(&der);
        let time = reader.time()?;
        reader.finish()?;
        Some(time.as_secs())
    }

    #[test]
    fn the_two_forms_are_read() {
        for (tag, text, seconds) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "991231235959Z", 946_684_799),
            (UTC_TIME, "000229000000Z", 951_782_400),
            (UTC_TIME, "240229010101Z", 1_709_168_461),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "21000301000000Z", 4_107_542_400),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(read(tag, text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn either_form_is_next() {
        for (tag, expected) in
            [(UTC_TIME, true), (GENERALIZED_TIME, true), (GENERALIZED_TIME + 1, false), (UTC_TIME - 1, false)]
        {
            assert_eq!(DerReader::new(&[tag, 0]).is_next_time(), expected, "{tag:#x}");
        }
        assert!(!DerReader::new(&[]).is_next_time());
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "240229010101+0000",
            "240229010101-0100",
            "2402290101Z",
            "2402290101+0000",
            "240229010101",
            "240229010101z",
            "240229010101.5Z",
            "20240229010101Z",
            "250229010101Z",
            "240001010101Z",
            "241301010101Z",
            "240100010101Z",
            "240132010101Z",
            "240431010101Z",
            "240101240000Z",
            "240101006000Z",
            "240101000060Z",
            "24010100000 Z",
            "+40101000000Z",
            "691231235959Z",
            "500101000000Z",
            "",
        ] {
            assert_eq!(read(UTC_TIME, text), None, "{text}");
        }
        for text in [
            "20240229010101Z",
            "20491231235959Z",
            "20500101000000.0Z",
            "20500101000000,5Z",
            "205001010000Z",
            "20500101000000+0000",
            "20500101000000",
            "500101000000Z",
            "21000229000000Z",
            "120500101000000Z",
            "",
        ] {
            assert_eq!(read(GENERALIZED_TIME, text), None, "{text}");
        }
        assert_eq!(read(super::super::OCTET_STRING, "240229010101Z"), None);
    }
}
