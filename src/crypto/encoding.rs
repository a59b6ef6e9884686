//! The encodings of public keys and of signatures, the same for each crypto library: one form each, in strict DER.

use std::ops::RangeInclusive;

use super::{Curve, Scheme};
use crate::der::{BIT_STRING, DerReader, SEQUENCE};

/// DER of `AlgorithmIdentifier { rsaEncryption, NULL }` (RFC 8017 appendix A.1).
pub(crate) const RSA_ENCRYPTION: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// DER of `AlgorithmIdentifier { id-ecPublicKey, secp256r1 }` (RFC 5480 section 2.1.1).
const EC_P256: &[u8] = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// DER of `AlgorithmIdentifier { id-ecPublicKey, secp384r1 }`.
const EC_P384: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
/// DER of `AlgorithmIdentifier { id-ecPublicKey, secp521r1 }`.
const EC_P521: &[u8] = b"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23";

/// The sizes of an RSA modulus, in bits.
pub(super) const MODULUS_BITS: RangeInclusive<usize> = 2048..=8192;
/// The values of an RSA exponent, of which the odd ones are accepted. Longer ones would take seconds for each signature.
const EXPONENTS: RangeInclusive<u64> = 3..=0x1_ffff_ffff;

/// The first byte of an uncompressed point (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

impl Curve {
    /// The size of a coordinate, and of each number of a signature, in bytes.
    pub(super) const fn number_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    const fn algorithm_identifier(self) -> &'static [u8] {
        match self {
            Self::P256 => EC_P256,
            Self::P384 => EC_P384,
            Self::P521 => EC_P521,
        }
    }
}

/// What a public key consists of. Whether a point is on its curve is left to the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyNumbers<'a> {
    /// Both big endian, without leading zeros.
    Rsa { modulus: &'a [u8], exponent: &'a [u8] },
    /// An uncompressed point.
    Point(&'a [u8]),
}

impl<'a> KeyNumbers<'a> {
    /// Reads the key of a scheme, of a size that is accepted.
    pub(super) fn read(scheme: Scheme, der: &'a [u8]) -> Option<Self> {
        let Some(curve) = scheme.curve() else { return Self::read_rsa(der) };
        let point = key_of(der, curve.algorithm_identifier())?;
        let len = curve.number_len().checked_mul(2)?.checked_add(1)?;
        (point.len() == len && point.first() == Some(&UNCOMPRESSED)).then_some(Self::Point(point))
    }

    fn read_rsa(der: &'a [u8]) -> Option<Self> {
        let mut outside = DerReader::new(der);
        let mut numbers = DerReader::new(outside.expect(SEQUENCE)?.contents);
        outside.finish()?;
        // A `SubjectPublicKeyInfo` begins with an algorithm, a bare `RSAPublicKey` (RFC 8017 appendix A.1.1) with a number.
        if numbers.is_next(SEQUENCE) {
            outside = DerReader::new(key_of(der, RSA_ENCRYPTION)?);
            numbers = DerReader::new(outside.expect(SEQUENCE)?.contents);
            outside.finish()?;
        }
        let (modulus, exponent) = (positive(&mut numbers)?, positive(&mut numbers)?);
        numbers.finish()?;
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        let value = exponent
            .iter()
            .try_fold(0_u64, |value, byte| value.checked_mul(256).map(|shifted| shifted | u64::from(*byte)))?;
        let is_accepted = MODULUS_BITS.contains(&bits(modulus)?) && EXPONENTS.contains(&value);
        (is_accepted && is_odd(modulus) && is_odd(exponent)).then_some(Self::Rsa { modulus, exponent })
    }
}

/// The key in a `SubjectPublicKeyInfo` (RFC 5280 section 4.1) of an algorithm.
fn key_of<'a>(der: &'a [u8], algorithm: &[u8]) -> Option<&'a [u8]> {
    let mut outside = DerReader::new(der);
    let mut inside = DerReader::new(outside.expect(SEQUENCE)?.contents);
    outside.finish()?;
    let stated = inside.expect(SEQUENCE)?.whole;
    let bits = inside.expect(BIT_STRING)?.contents;
    inside.finish()?;
    match bits.split_first()? {
        (0, key) if stated == algorithm => Some(key),
        _ => None,
    }
}

/// The next element as a positive number without leading zeros.
fn positive<'a>(reader: &mut DerReader<'a>) -> Option<&'a [u8]> {
    match reader.integer()? {
        // Its first bit would be that of the sign.
        [0, number @ ..] if !number.is_empty() => Some(number),
        number @ [1..=0x7f, ..] => Some(number),
        _ => None,
    }
}

/// The size of a number without leading zeros, in bits.
fn bits(number: &[u8]) -> Option<usize> {
    let unused = usize::try_from(number.first()?.leading_zeros()).ok()?;
    number.len().checked_mul(8)?.checked_sub(unused)
}

/// Whether a signature has the encoding of its scheme. Whether it verifies is left to the library.
pub(super) fn is_signature_of(scheme: Scheme, signature: &[u8]) -> bool {
    match scheme {
        Scheme::EcdsaDer(curve, _) => ecdsa_numbers(curve, signature).is_some(),
        _ => true,
    }
}

/// The numbers `r` and `s` of an ECDSA signature in DER (RFC 3279 section 2.2.3), without leading zeros. `None` for another encoding
/// than that of DER, for zero, and for numbers that are longer than those of the curve; whether they are below its order is left to
/// the library.
fn ecdsa_numbers(curve: Curve, signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut outside = DerReader::new(signature);
    let mut inside = DerReader::new(outside.expect(SEQUENCE)?.contents);
    outside.finish()?;
    let (r, s) = (positive(&mut inside)?, positive(&mut inside)?);
    inside.finish()?;
    (r.len() <= curve.number_len() && s.len() <= curve.number_len()).then_some((r, s))
}

/// An ECDSA signature in DER as `r || s`, each as long as the numbers of the curve. The library in Rust takes it so.
#[cfg(any(test, blindbox_crypto = "rust", not(feature = "crypto-aws-lc")))]
pub(super) fn ecdsa_fixed_of_der(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = ecdsa_numbers(curve, signature)?;
    let zeros = |number: &[u8]| curve.number_len().checked_sub(number.len()).map(|len| vec![0; len]);
    Some([&zeros(r)?, r, &zeros(s)?, s].concat())
}

/// An ECDSA signature `r || s` (RFC 9053 section 2.1) in DER, for the schemes [`Scheme::EcdsaDer`]: RFC 9053 does not tie
/// a hash to a curve.
pub(crate) fn ecdsa_der_of_fixed(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    let len = curve.number_len();
    if signature.len() != len.checked_mul(2)? {
        return None;
    }
    let (r, s) = signature.split_at_checked(len)?;
    let content = [der_integer(r)?, der_integer(s)?].concat();
    let head: &[u8] = match content.len() {
        0..=127 => &[0x30],
        _ => &[0x30, 0x81],
    };
    Some([head, &[u8::try_from(content.len()).ok()?], &content].concat())
}

/// An unsigned number as a DER `INTEGER`: no superfluous zero in front, but one where the sign bit would be set.
fn der_integer(number: &[u8]) -> Option<Vec<u8>> {
    let first = number.iter().position(|byte| *byte != 0)?;
    let digits = number.get(first..)?;
    let zero: &[u8] = if digits.first()? & 0x80 == 0 { &[] } else { &[0] };
    let content = [zero, digits].concat();
    Some([&[0x02, u8::try_from(content.len()).ok()?], content.as_slice()].concat())
}
