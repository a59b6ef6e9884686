//! Signatures, digests and random bytes: the only module that names a crypto library.
//!
//! Verification needs public keys, digests, random bytes and one comparison in constant time; `sealing` has what sealed messages need.
//! Keys are parsed once and kept: verifying with a parsed key is up to 12 % faster than from bytes.
//!
//! There are two libraries with one interface: AWS-LC (feature `crypto-aws-lc`) and one in Rust alone (`crypto-rust`). Encodings
//! and the sizes of keys are checked here, by `encoding`, and the libraries get numbers: so both accept the same.
//! With both features AWS-LC is used, unless the crate is compiled with `--cfg blindbox_crypto="rust"`: for the tests, which
//! then run over the other library with evidence that AWS-LC has signed.

#[cfg(all(feature = "crypto-aws-lc", any(test, not(blindbox_crypto = "rust"))))]
mod aws_lc;
#[cfg(test)]
mod differential;
mod encoding;
// AWS-LC, where it is used, has random bytes of its own.
#[cfg(feature = "crypto-rust")]
#[cfg_attr(all(feature = "crypto-aws-lc", not(any(test, blindbox_crypto = "rust"))), allow(dead_code))]
pub(crate) mod host_random;
#[cfg(all(feature = "crypto-rust", any(test, blindbox_crypto = "rust", not(feature = "crypto-aws-lc"))))]
mod rust;
// Each end of the protocol uses a part of it.
#[cfg_attr(not(any(test, feature = "emulator")), allow(dead_code))]
pub(crate) mod sealing;
pub(crate) mod suite;
#[cfg(test)]
mod wycheproof;

#[cfg(not(any(feature = "crypto-aws-lc", feature = "crypto-rust")))]
compile_error!("a crypto library is needed: enable the feature `crypto-aws-lc` or `crypto-rust`");

#[cfg(all(feature = "crypto-aws-lc", not(blindbox_crypto = "rust")))]
use aws_lc as library;
#[cfg(any(blindbox_crypto = "rust", not(feature = "crypto-aws-lc")))]
use rust as library;

pub(crate) use encoding::{RSA_ENCRYPTION, ecdsa_der_of_fixed};

use self::encoding::KeyNumbers;
use crate::types::Sha256Digest;

/// The signature schemes of evidence, each with its hash and padding.
///
/// RSA keys must have 2048 to 8192 bits, and an odd exponent of 3 to 2^33 - 1.
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
    /// The curve of ECDSA; `None` for RSA.
    const fn curve(self) -> Option<Curve> {
        match self {
            Self::EcdsaP384Sha384 => Some(Curve::P384),
            Self::EcdsaDer(curve, _) => Some(curve),
            _ => None,
        }
    }
}

/// A public key that fits its scheme, parsed.
#[derive(Clone)]
pub(crate) struct PublicKey {
    scheme: Scheme,
    key: library::PublicKey,
}

/// The bytes are not a key of the scheme, or the key has another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnusableKey;

/// The signature does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadSignature;

impl PublicKey {
    /// Reads a key from the DER of a `SubjectPublicKeyInfo`; for RSA the bare PKCS#1 `RSAPublicKey` works as well.
    ///
    /// Curves are named, points uncompressed (RFC 5480 section 2), the parameters of RSA NULL (RFC 3279 section 2.3.1).
    pub(crate) fn from_der(scheme: Scheme, der: &[u8]) -> Result<Self, UnusableKey> {
        let numbers = KeyNumbers::read(scheme, der).ok_or(UnusableKey)?;
        let key = library::PublicKey::new(scheme, &numbers).ok_or(UnusableKey)?;
        Ok(Self { scheme, key })
    }

    /// Verifies a signature over a message.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let verifies = encoding::is_signature_of(self.scheme, signature) && self.key.verifies(message, signature);
        if verifies { Ok(()) } else { Err(BadSignature) }
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicKey")
    }
}

/// SHA-256.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    library::sha256(data)
}

/// SHA-256 as a value to compare and show.
pub(crate) fn sha256_digest(data: &[u8]) -> Sha256Digest {
    Sha256Digest::new(sha256(data))
}

/// SHA-384.
pub(crate) fn sha384(data: &[u8]) -> [u8; 48] {
    library::sha384(data)
}

/// SHA-512.
pub(crate) fn sha512(data: &[u8]) -> [u8; 64] {
    library::sha512(data)
}

/// SHA-1, only to recompute the `x5t` form of a key id that a policy pins. Never a protection by itself.
pub(crate) fn sha1_for_x5t(data: &[u8]) -> [u8; 20] {
    library::sha1(data)
}

/// The operating system gave no random bytes, or there is none, as in WebAssembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRandomness;

/// 32 random bytes from the operating system.
pub(crate) fn random_32() -> Result<[u8; 32], NoRandomness> {
    let mut out = [0; 32];
    library::fill_random(&mut out).ok_or(NoRandomness)?;
    Ok(out)
}

/// Equality in a time that does not depend on where the bytes differ.
pub(crate) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    library::constant_time_eq(a, b)
}
