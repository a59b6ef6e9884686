//! Writes DER by hand: signed objects that no certificate library would make are what the tests are for.

use crate::types::DateTime;

/// One element: tag, shortest length, contents.
pub(super) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = contents.len();
    let bytes = length.to_be_bytes();
    let significant = bytes.iter().skip_while(|byte| **byte == 0).copied();
    match u8::try_from(length) {
        Ok(short @ 0..=0x7f) => out.push(short),
        _ => {
            let significant: Vec<u8> = significant.collect();
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(0x7f));
            out.extend(significant);
        }
    }
    out.extend_from_slice(contents);
    out
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// A non-negative INTEGER from its bytes, most significant first.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let mut contents: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if contents.first().is_none_or(|first| *first >= 0x80) {
        contents.insert(0, 0);
    }
    element(0x02, &contents)
}

pub(super) fn boolean(value: bool) -> Vec<u8> {
    element(0x01, &[if value { 0xff } else { 0 }])
}

pub(super) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(0x03, &[&[0], bytes].concat())
}

pub(super) fn octet_string(bytes: &[u8]) -> Vec<u8> {
    element(0x04, bytes)
}

pub(super) fn ia5_string(text: &str) -> Vec<u8> {
    element(0x16, text.as_bytes())
}

/// An object identifier from its dotted text.
pub(super) fn oid(text: &str) -> Vec<u8> {
    let mut arcs = text.split('.').map(|arc| arc.parse::<u64>().unwrap_or_default());
    let (first, second) = (arcs.next().unwrap_or_default(), arcs.next().unwrap_or_default());
    let mut contents = Vec::new();
    for arc in std::iter::once(first.saturating_mul(40).saturating_add(second)).chain(arcs) {
        let mut groups = vec![u8::try_from(arc & 0x7f).unwrap_or_default()];
        let mut rest = arc >> 7;
        while rest > 0 {
            groups.push(0x80 | u8::try_from(rest & 0x7f).unwrap_or_default());
            rest >>= 7;
        }
        groups.reverse();
        contents.extend(groups);
    }
    element(0x06, &contents)
}

/// AMD's form of a name: everything but the common name is the same in all of its certificates.
pub(super) fn name(common_name: &str) -> Vec<u8> {
    name_of("Advanced Micro Devices", common_name)
}

/// The same of another organisation.
pub(super) fn name_of(organization: &str, common_name: &str) -> Vec<u8> {
    let attribute = |oid_text: &str, tag: u8, text: &str| {
        element(0x31, &sequence(&[&oid(oid_text), &element(tag, text.as_bytes())]))
    };
    sequence(&[
        &attribute("2.5.4.11", 0x0c, "Engineering"),
        &attribute("2.5.4.6", 0x13, "US"),
        &attribute("2.5.4.7", 0x0c, "Santa Clara"),
        &attribute("2.5.4.8", 0x0c, "CA"),
        &attribute("2.5.4.10", 0x0c, organization),
        &attribute("2.5.4.3", 0x0c, common_name),
    ])
}

/// A time in seconds since 1970, as `GeneralizedTime`, or as `UTCTime` until 2049 (RFC 5280 section 4.1.2.5).
pub(super) fn time(seconds: u64) -> Vec<u8> {
    let DateTime { year, month, day, hour, minute, second } = DateTime::from_seconds(seconds);
    let clock = format!("{hour:02}{minute:02}{second:02}Z");
    if year < 2050 {
        let short = year % 100;
        element(0x17, format!("{short:02}{month:02}{day:02}{clock}").as_bytes())
    } else {
        element(0x18, format!("{year:04}{month:02}{day:02}{clock}").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_the_calendar() {
        assert_eq!(time(0), b"\x17\x0d700101000000Z");
        assert_eq!(time(1_709_164_800 + 3_661), b"\x17\x0d240229010101Z");
        assert_eq!(time(2_524_607_999), b"\x17\x0d491231235959Z");
        assert_eq!(time(2_524_608_000), b"\x18\x0f20500101000000Z");
    }

    #[test]
    fn numbers_and_identifiers_are_der() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(integer(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(oid("1.3.6.1.4.1.3704.1"), [6, 8, 0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1]);
        assert_eq!(element(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(element(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }
}
