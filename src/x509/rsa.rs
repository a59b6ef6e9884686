//! RSA public keys as numbers: of a JWK, or of a certificate that only carries a key.

use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// DER of `AlgorithmIdentifier { rsaEncryption, NULL }` (RFC 8017 appendix A.1).
const RSA_ENCRYPTION: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// The largest certificate of a key set that is read, in bytes: with MAA's own evidence in it a real one has 31 KB.
const MAX_CERTIFICATE_LEN: usize = 64 << 10;

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
