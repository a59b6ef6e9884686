//! The scope of a CRL: its issuing distribution point (RFC 5280 section 5.2.5) compared with the distribution points of a
//! certificate (section 4.2.1.13), as section 6.3.3 (b)(2) requires.

use crate::der::{CONTEXT_0, CONTEXT_3, DerReader, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};

/// `cRLDistributionPoints`, 2.5.29.31.
const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];

/// `uniformResourceIdentifier` of a `GeneralName`, and `onlyContainsCACerts` of an issuing distribution point.
const URI: u8 = 0x86;
const ONLY_CA_CERTIFICATES: u8 = 0x82;

/// The most names that are read of one distribution point. AMD's certificates have one.
const MAX_NAMES: usize = 8;

/// Reads the URIs of an issuing distribution point; an empty list if it names none.
///
/// `None` if it excludes CA certificates or cannot be compared: only URIs and the restriction to CA certificates are allowed.
pub(super) fn issuing_distribution_point(value: &[u8]) -> Option<Vec<String>> {
    let mut outside = DerReader::new(value);
    let mut inside = DerReader::new(outside.expect(SEQUENCE)?.contents);
    outside.finish()?;
    let names = if inside.is_next(CONTEXT_0) { full_name(inside.expect(CONTEXT_0)?.contents)? } else { Vec::new() };
    if inside.is_next(ONLY_CA_CERTIFICATES) && inside.expect(ONLY_CA_CERTIFICATES)?.contents != [0xff] {
        return None;
    }
    inside.finish()?;
    Some(names)
}

/// Returns the URIs of the CRL that a certificate (DER) names.
pub(super) fn of_certificate(der: &[u8]) -> Vec<String> {
    let points = || {
        let mut outside = DerReader::new(der);
        let mut signed = DerReader::new(outside.expect(SEQUENCE)?.contents);
        let mut tbs = DerReader::new(signed.expect(SEQUENCE)?.contents);
        // Version, serial number, algorithm, issuer, validity, subject, public key.
        for tag in [CONTEXT_0, INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
            tbs.expect(tag)?;
        }
        let mut wrapping = DerReader::new(tbs.expect(CONTEXT_3)?.contents);
        let mut extensions = DerReader::new(wrapping.expect(SEQUENCE)?.contents);
        while extensions.is_next(SEQUENCE) {
            let mut extension = DerReader::new(extensions.expect(SEQUENCE)?.contents);
            if extension.expect(OBJECT_IDENTIFIER)?.contents == CRL_DISTRIBUTION_POINTS {
                return distribution_points(extension.expect(OCTET_STRING)?.contents);
            }
        }
        None
    };
    points().unwrap_or_default()
}

/// Reads the names of all points. A point with reasons or another issuer does not refer to this issuer's complete CRL.
fn distribution_points(value: &[u8]) -> Option<Vec<String>> {
    let mut outside = DerReader::new(value);
    let mut points = DerReader::new(outside.expect(SEQUENCE)?.contents);
    let mut names = Vec::new();
    while points.is_next(SEQUENCE) && names.len() < MAX_NAMES {
        let mut point = DerReader::new(points.expect(SEQUENCE)?.contents);
        let name = point.expect(CONTEXT_0)?.contents;
        if point.finish().is_some() {
            names.extend(full_name(name)?);
        }
    }
    Some(names)
}

/// Reads a `DistributionPointName` as `fullName`: one or more URIs, and nothing else.
fn full_name(contents: &[u8]) -> Option<Vec<String>> {
    let mut choice = DerReader::new(contents);
    let mut general_names = DerReader::new(choice.expect(CONTEXT_0)?.contents);
    choice.finish()?;
    let mut names = Vec::new();
    while general_names.is_next(URI) && names.len() < MAX_NAMES {
        let uri = std::str::from_utf8(general_names.expect(URI)?.contents).ok()?;
        names.push(uri.to_owned());
    }
    general_names.finish()?;
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::super::super::anchors::BUILTIN_CERTIFICATES;
    use super::*;

    #[test]
    fn amds_certificates_name_the_crl_of_their_kind() {
        for files in BUILTIN_CERTIFICATES {
            let product = files.product;
            let [vcek, vlek] =
                ["vcek", "vlek"].map(|kind| vec![format!("https://kdsintf.amd.com/{kind}/v1/{product}/crl")]);
            assert_eq!(of_certificate(files.ark), vcek);
            assert_eq!(of_certificate(files.ask), vcek);
            assert_eq!(of_certificate(files.asvk), vlek);
        }
        assert_eq!(of_certificate(b"\x30\x00"), Vec::<String>::new());
    }

    #[test]
    fn an_issuing_distribution_point_names_uris_and_narrows_nothing() {
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        for (value, expected) in [
            (&b"\x30\x00"[..], names(&[])),
            (b"\x30\x03\x82\x01\xff", names(&[])),
            (b"\x30\x07\xa0\x05\xa0\x03\x86\x01x", names(&["x"])),
            (b"\x30\x0d\xa0\x08\xa0\x06\x86\x01x\x86\x01y\x82\x01\xff", names(&["x", "y"])),
            // Only end entity certificates, some reasons, indirect, attribute certificates.
            (b"\x30\x03\x81\x01\xff", None),
            (b"\x30\x04\x83\x02\x00\x80", None),
            (b"\x30\x03\x84\x01\xff", None),
            (b"\x30\x03\x85\x01\xff", None),
            // No name, a name that is no URI, a name relative to the issuer, a DEFAULT that is written out.
            (b"\x30\x04\xa0\x02\xa0\x00", None),
            (b"\x30\x07\xa0\x05\xa0\x03\x82\x01x", None),
            (b"\x30\x07\xa0\x05\xa1\x03\x86\x01x", None),
            (b"\x30\x03\x82\x01\x00", None),
            (b"\x30\x00\x00", None),
            (b"", None),
        ] {
            assert_eq!(issuing_distribution_point(value), expected, "{value:02x?}");
        }
    }

    #[test]
    fn names_are_read_up_to_their_number() {
        let point = |count: u8| {
            let names = [0x86, 1, b'x'].repeat(usize::from(count));
            [&[0x30, 4 + 3 * count, 0xa0, 2 + 3 * count, 0xa0, 3 * count][..], &names].concat()
        };
        assert_eq!(issuing_distribution_point(&point(8)), Some(vec!["x".to_owned(); 8]));
        assert_eq!(issuing_distribution_point(&point(9)), None);
    }
}
