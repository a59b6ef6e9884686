//! The crypto library AWS-LC: in C and assembler, the one that TLS uses.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, EcdsaVerificationAlgorithm, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
};
use aws_lc_rs::{constant_time, digest, rand};

use super::encoding::KeyNumbers;
use super::{Curve, Hash, Scheme};

/// A public key of a scheme.
#[derive(Clone)]
pub(super) struct PublicKey(ParsedPublicKey);

enum Algorithm {
    Rsa(&'static RsaParameters),
    Ecdsa(&'static EcdsaVerificationAlgorithm),
}

impl Algorithm {
    fn of(scheme: Scheme) -> Self {
        use Algorithm::{Ecdsa, Rsa};
        match scheme {
            Scheme::RsaPkcs1Sha256 => Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Scheme::RsaPkcs1Sha384 => Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Scheme::RsaPkcs1Sha512 => Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Scheme::RsaPssSha256 => Rsa(&RSA_PSS_2048_8192_SHA256),
            Scheme::RsaPssSha384 => Rsa(&RSA_PSS_2048_8192_SHA384),
            Scheme::RsaPssSha512 => Rsa(&RSA_PSS_2048_8192_SHA512),
            Scheme::EcdsaP384Sha384 => Ecdsa(&ECDSA_P384_SHA384_FIXED),
            // The library has the fixed form for some pairs only.
            Scheme::EcdsaDer(Curve::P256, Hash::Sha256) => Ecdsa(&ECDSA_P256_SHA256_ASN1),
            Scheme::EcdsaDer(Curve::P256, Hash::Sha384) => Ecdsa(&ECDSA_P256_SHA384_ASN1),
            Scheme::EcdsaDer(Curve::P256, Hash::Sha512) => Ecdsa(&ECDSA_P256_SHA512_ASN1),
            Scheme::EcdsaDer(Curve::P384, Hash::Sha256) => Ecdsa(&ECDSA_P384_SHA256_ASN1),
            Scheme::EcdsaDer(Curve::P384, Hash::Sha384) => Ecdsa(&ECDSA_P384_SHA384_ASN1),
            Scheme::EcdsaDer(Curve::P384, Hash::Sha512) => Ecdsa(&ECDSA_P384_SHA512_ASN1),
            Scheme::EcdsaDer(Curve::P521, Hash::Sha256) => Ecdsa(&ECDSA_P521_SHA256_ASN1),
            Scheme::EcdsaDer(Curve::P521, Hash::Sha384) => Ecdsa(&ECDSA_P521_SHA384_ASN1),
            Scheme::EcdsaDer(Curve::P521, Hash::Sha512) => Ecdsa(&ECDSA_P521_SHA512_ASN1),
        }
    }
}

impl PublicKey {
    pub(super) fn new(scheme: Scheme, numbers: &KeyNumbers<'_>) -> Option<Self> {
        let key = match (Algorithm::of(scheme), *numbers) {
            (Algorithm::Rsa(parameters), KeyNumbers::Rsa { modulus, exponent }) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.to_parsed_public_key(parameters)
            }
            (Algorithm::Ecdsa(algorithm), KeyNumbers::Point(point)) => ParsedPublicKey::new(algorithm, point),
            _ => return None,
        };
        key.ok().map(Self)
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

pub(super) fn sha1(data: &[u8]) -> [u8; 20] {
    digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data)
}

pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    digest(&digest::SHA256, data)
}

pub(super) fn sha384(data: &[u8]) -> [u8; 48] {
    digest(&digest::SHA384, data)
}

pub(super) fn sha512(data: &[u8]) -> [u8; 64] {
    digest(&digest::SHA512, data)
}

/// `N` is the length of the algorithm's digest.
fn digest<const N: usize>(algorithm: &'static digest::Algorithm, data: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(digest::digest(algorithm, data).as_ref());
    out
}

pub(super) fn fill_random(out: &mut [u8]) -> Option<()> {
    rand::fill(out).ok()
}

pub(super) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}
