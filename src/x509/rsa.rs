//! RSA public keys as numbers: of a JWK, or of a certificate that only carries a key.

use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::crypto::RSA_ENCRYPTION;

/// The largest certificate of a key set that is read, in bytes: with MAA's own evidence in it a real one has 31 KB.
pub(crate) const MAX_CERTIFICATE_LEN: usize = 64 << 10;

/// The primes modulo which most residues are not powers of 65537.
const ROCA_PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];

/// Modulus and exponent, big endian, without leading zeros.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RsaNumbers {
    pub(crate) n: Vec<u8>,
    pub(crate) e: Vec<u8>,
}

impl RsaNumbers {
    /// Reads the key of a certificate and nothing else of it. `None` if it is not a certificate with an RSA key.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(super::public_key_of(der, MAX_CERTIFICATE_LEN)?).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let PublicKey::RSA(key) = spki.parsed().ok()? else { return None };
        Some(Self { n: without_sign(key.modulus)?, e: without_sign(key.exponent)? })
    }

    /// Returns the length of the modulus in bits.
    pub(crate) fn bits(&self) -> usize {
        let unused = self.n.first().map_or(0, |first| first.leading_zeros());
        self.n.len().saturating_mul(8).saturating_sub(usize::try_from(unused).unwrap_or(0))
    }

    /// Whether the modulus has the fingerprint of ROCA (CVE-2017-15361): such keys can be factored.
    ///
    /// Their primes are powers of 65537 modulo the product of small primes, so that the modulus is one as well, modulo each
    /// of them. A modulus that was made at random has this property with a probability of less than 2^-27.
    pub(crate) fn is_roca(&self) -> bool {
        ROCA_PRIMES.iter().all(|prime| {
            let digit = |remainder: u32, byte: &u8| {
                remainder.wrapping_mul(256).wrapping_add(u32::from(*byte)).checked_rem(*prime).unwrap_or(0)
            };
            let remainder = self.n.iter().fold(0, digit);
            let mut power: u32 = 1;
            (0..*prime).any(|_| {
                let found = power == remainder;
                power = power.wrapping_mul(65537_u32).checked_rem(*prime).unwrap_or(0);
                found
            })
        })
    }

    /// Returns the DER of the `SubjectPublicKeyInfo` (RFC 5280 section 4.1).
    pub(crate) fn spki(&self) -> Vec<u8> {
        let key = tlv(0x30, &[&integer(&self.n), &integer(&self.e)]);
        tlv(0x30, &[RSA_ENCRYPTION, &tlv(0x03, &[&[0], &key])])
    }
}

/// Encodes a positive DER INTEGER, with a leading zero if the number would otherwise be negative.
fn without_sign(bytes: &[u8]) -> Option<Vec<u8>> {
    match bytes {
        [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Some(rest.to_vec()),
        [1..=0x7f, ..] => Some(bytes.to_vec()),
        _ => None,
    }
}

fn integer(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    tlv(0x02, &[sign, number])
}

/// Encodes tag, length and value. Two length bytes are enough: a modulus has at most 1024 bytes.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [.., high, low] = content.len().to_be_bytes();
    let length: &[u8] = match (high, low) {
        (0, 0..=0x7f) => &[low],
        (0, _) => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, &content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_positive_and_in_its_shortest_form() {
        for (der, number) in [
            (&[1][..], Some(&[1][..])),
            (&[0x7f, 0xff], Some(&[0x7f, 0xff])),
            (&[0, 0x80], Some(&[0x80])),
            (&[0, 0xff, 0], Some(&[0xff, 0])),
            (&[0, 0x7f], None),
            (&[0, 0, 0x80], None),
            (&[0x80], None),
            (&[0xff, 1], None),
            (&[0], None),
            (&[], None),
        ] {
            assert_eq!(without_sign(der).as_deref(), number, "{der:02x?}");
        }
    }

    #[test]
    fn lengths_are_written_in_their_shortest_form() {
        for (len, head) in [
            (0, &[4, 0][..]),
            (127, &[4, 0x7f]),
            (128, &[4, 0x81, 0x80]),
            (255, &[4, 0x81, 0xff]),
            (256, &[4, 0x82, 1, 0]),
            (65_535, &[4, 0x82, 0xff, 0xff]),
        ] {
            let written = tlv(4, &[&vec![7; len]]);
            assert_eq!(written.split_at(head.len()), (head, &vec![7; len][..]), "{len}");
        }
    }

    /// The sizes at which the lengths of a key's DER change their form.
    #[test]
    fn the_der_of_a_key_is_read_back() {
        for len in [125, 126, 127, 128, 253, 254, 255, 256, 257, 1024] {
            for first in [1, 0x7f, 0x80, 0xff] {
                let mut n = vec![0xff; len];
                n[0] = first;
                let spki = RsaNumbers { n: n.clone(), e: vec![1, 0, 1] }.spki();
                let (rest, read) = SubjectPublicKeyInfo::from_der(&spki).unwrap();
                let Ok(PublicKey::RSA(key)) = read.parsed() else { panic!("no RSA key of {len} bytes") };
                assert_eq!(
                    (rest.len(), without_sign(key.modulus), without_sign(key.exponent)),
                    (0, Some(n), Some(vec![1, 0, 1]))
                );
            }
        }
    }

    #[test]
    fn a_certificate_of_a_key_set_is_read_up_to_64_kib() {
        // Its key comes before its extensions, which are not looked at.
        let certificate = |len: usize| {
            let key = RsaNumbers { n: vec![0xff; 256], e: vec![1, 0, 1] }.spki();
            let empty: &[u8] = &[0x30, 0];
            let with = |padding: usize| {
                let extensions = tlv(0xa3, &[&vec![0; padding]]);
                let body = [&[0xa0, 3, 2, 1, 2, 2, 1, 1], empty, empty, empty, empty, &key, &extensions].concat();
                tlv(0x30, &[&tlv(0x30, &[&body]), empty, &[3, 2, 0, 1]])
            };
            let fixed = with(60_000).len() - 60_000;
            with(len - fixed)
        };
        assert_eq!((certificate(65_536).len(), certificate(65_537).len()), (65_536, 65_537));
        assert!(RsaNumbers::of_certificate(&certificate(65_536)).is_some());
        assert!(RsaNumbers::of_certificate(&certificate(65_537)).is_none());
    }
}
