//! Signatures, digests and random bytes: the only file that names the crypto library.
//!
//! Verification needs public keys, digests, random bytes and one comparison in constant time. Keys are parsed once and
//! kept: verifying with a parsed key is up to 12 % faster than from bytes.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};

use crate::types::Sha256Digest;

/// The signature schemes of evidence, each with its hash and padding.
///
/// RSA keys must have 2048 to 8192 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// JOSE `RS256`: MAA tokens.
    RsaPkcs1Sha256,
    /// X.509 `sha384WithRSAEncryption`: the chain of a UVM endorsement.
    RsaPkcs1Sha384,
    /// X.509 `sha512WithRSAEncryption`.
    RsaPkcs1Sha512,
    /// COSE `PS256` and X.509: salt of 32 bytes, MGF1 with SHA-256.
    RsaPssSha256,
    /// COSE `PS384` and AMD's certificates: salt of 48 bytes, MGF1 with SHA-384.
    RsaPssSha384,
    /// COSE `PS512` and X.509: salt of 64 bytes, MGF1 with SHA-512.
    RsaPssSha512,
    /// ECDSA P-384, signature as `r || s` in 96 bytes: attestation reports.
    EcdsaP384Sha384,
    /// ECDSA with the signature in DER (`SEQUENCE { r, s }`): X.509 `ecdsa-with-SHA*`, and COSE once its `r || s` is in DER.
    EcdsaDer(Curve, Hash),
}

/// An elliptic curve of NIST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

/// A hash of the SHA-2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Scheme {
    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::RsaPkcs1Sha384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::RsaPkcs1Sha512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::RsaPssSha256 => &RSA_PSS_2048_8192_SHA256,
            Self::RsaPssSha384 => &RSA_PSS_2048_8192_SHA384,
            Self::RsaPssSha512 => &RSA_PSS_2048_8192_SHA512,
            Self::EcdsaP384Sha384 => &ECDSA_P384_SHA384_FIXED,
            Self::EcdsaDer(Curve::P256, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
            Self::EcdsaDer(Curve::P256, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
            Self::EcdsaDer(Curve::P256, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
            Self::EcdsaDer(Curve::P384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
            Self::EcdsaDer(Curve::P384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
            Self::EcdsaDer(Curve::P384, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
            Self::EcdsaDer(Curve::P521, Hash::Sha256) => &ECDSA_P521_SHA256_ASN1,
            Self::EcdsaDer(Curve::P521, Hash::Sha384) => &ECDSA_P521_SHA384_ASN1,
            Self::EcdsaDer(Curve::P521, Hash::Sha512) => &ECDSA_P521_SHA512_ASN1,
        }
    }
}

/// A public key that fits its scheme, parsed.
#[derive(Clone)]
pub(crate) struct PublicKey {
    key: ParsedPublicKey,
}

/// The bytes are not a key of the scheme, or the key is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnusableKey;

/// The signature does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadSignature;

impl PublicKey {
    /// Reads a key from the DER of a `SubjectPublicKeyInfo`; for RSA the bare PKCS#1 `RSAPublicKey` works as well, for
    /// ECDSA the bare uncompressed point.
    pub(crate) fn from_der(scheme: Scheme, der: &[u8]) -> Result<Self, UnusableKey> {
        ParsedPublicKey::new(scheme.algorithm(), der).map(|key| Self { key }).map_err(|_| UnusableKey)
    }

    /// Verifies a signature over a message.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.key.verify_sig(message, signature).map_err(|_| BadSignature)
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicKey")
    }
}

/// An ECDSA signature `r || s` (RFC 9053 section 2.1) in DER, for the schemes [`Scheme::EcdsaDer`]: RFC 9053 does not tie
/// a hash to a curve, and the library has the fixed form for some pairs only.
pub(crate) fn ecdsa_der_of_fixed(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    let len: usize = match curve {
        Curve::P256 => 32,
        Curve::P384 => 48,
        Curve::P521 => 66,
    };
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

/// SHA-256.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
    out.copy_from_slice(digest.as_ref());
    out
}

/// SHA-256 as a value to compare and show.
pub(crate) fn sha256_digest(data: &[u8]) -> Sha256Digest {
    Sha256Digest::new(sha256(data))
}

/// SHA-384.
pub(crate) fn sha384(data: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA384, data);
    out.copy_from_slice(digest.as_ref());
    out
}

/// SHA-512.
pub(crate) fn sha512(data: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, data);
    out.copy_from_slice(digest.as_ref());
    out
}

/// SHA-1, only to recompute the `x5t` form of a key id that a policy pins. Never a protection by itself.
pub(crate) fn sha1_for_x5t(data: &[u8]) -> [u8; 20] {
    let mut out = [0; 20];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, data);
    out.copy_from_slice(digest.as_ref());
    out
}

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRandomness;

/// 32 random bytes from the operating system.
pub(crate) fn random_32() -> Result<[u8; 32], NoRandomness> {
    let mut out = [0; 32];
    aws_lc_rs::rand::fill(&mut out).map_err(|_| NoRandomness)?;
    Ok(out)
}

/// Equality in a time that does not depend on where the bytes differ.
pub(crate) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

pub(crate) mod sealing;
#[cfg(test)]
mod wycheproof;
