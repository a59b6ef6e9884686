//! A crypto library in Rust alone, that of the RustCrypto project: for targets without a C compiler, such as WebAssembly.
//!
//! Of signatures only public keys come here, so that nothing has to take a time that does not depend on them.

use std::borrow::Cow;
use std::sync::Arc;

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::BoxedUint;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

use super::encoding::{KeyNumbers, MODULUS_BITS, ecdsa_fixed_of_der};
use super::host_random::{self, Taken};
use super::{Curve, Hash, Scheme};

/// A public key of a scheme.
#[derive(Clone)]
pub(super) struct PublicKey {
    scheme: Scheme,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Rsa(Arc<rsa::PublicKey>),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

impl PublicKey {
    pub(super) fn new(scheme: Scheme, numbers: &KeyNumbers<'_>) -> Option<Self> {
        let key = match (scheme.curve(), *numbers) {
            (None, KeyNumbers::Rsa { modulus, exponent }) => {
                let (n, e) = (BoxedUint::from_be_slice_vartime(modulus), BoxedUint::from_be_slice_vartime(exponent));
                // Its own limits are others.
                Key::Rsa(Arc::new(rsa::PublicKey::new_with_size_limits(n, e, MODULUS_BITS).ok()?))
            }
            (Some(Curve::P256), KeyNumbers::Point(point)) => {
                Key::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)
            }
            (Some(Curve::P384), KeyNumbers::Point(point)) => {
                Key::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)
            }
            (Some(Curve::P521), KeyNumbers::Point(point)) => {
                Key::P521(p521::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)
            }
            _ => return None,
        };
        Some(Self { scheme, key })
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let numbers = match self.scheme {
            Scheme::EcdsaDer(curve, _) => Cow::Owned(ecdsa_fixed_of_der(curve, signature).unwrap_or_default()),
            _ => Cow::Borrowed(signature),
        };
        match &self.key {
            Key::Rsa(key) => rsa_verifies(key, self.scheme, message, signature),
            Key::P256(key) => p256::ecdsa::Signature::from_slice(&numbers)
                .is_ok_and(|numbers| key.verify_prehash(&self.prehash(message), &numbers).is_ok()),
            Key::P384(key) => p384::ecdsa::Signature::from_slice(&numbers)
                .is_ok_and(|numbers| key.verify_prehash(&self.prehash(message), &numbers).is_ok()),
            Key::P521(key) => p521::ecdsa::Signature::from_slice(&numbers)
                .is_ok_and(|numbers| key.verify_prehash(&self.prehash(message), &numbers).is_ok()),
        }
    }

    /// The digest that a signature of ECDSA is over. The library shortens it to the size of the curve's order, or fills it up.
    fn prehash(&self, message: &[u8]) -> Vec<u8> {
        match self.scheme {
            Scheme::EcdsaDer(_, Hash::Sha256) => sha256(message).to_vec(),
            Scheme::EcdsaDer(_, Hash::Sha512) => sha512(message).to_vec(),
            _ => sha384(message).to_vec(),
        }
    }
}

fn rsa_verifies(key: &rsa::PublicKey, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
    let verified = match scheme {
        Scheme::RsaPkcs1Sha256 => key.pkcs1v15_verify::<Sha256>(message, signature),
        Scheme::RsaPkcs1Sha384 => key.pkcs1v15_verify::<Sha384>(message, signature),
        Scheme::RsaPkcs1Sha512 => key.pkcs1v15_verify::<Sha512>(message, signature),
        Scheme::RsaPssSha256 => key.pss_verify::<Sha256>(message, signature),
        Scheme::RsaPssSha384 => key.pss_verify::<Sha384>(message, signature),
        Scheme::RsaPssSha512 => key.pss_verify::<Sha512>(message, signature),
        Scheme::EcdsaP384Sha384 | Scheme::EcdsaDer(..) => return false,
    };
    verified.is_ok()
}

pub(super) fn sha1(data: &[u8]) -> [u8; 20] {
    Sha1::digest(data).into()
}

pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

pub(super) fn sha384(data: &[u8]) -> [u8; 48] {
    Sha384::digest(data).into()
}

pub(super) fn sha512(data: &[u8]) -> [u8; 64] {
    Sha512::digest(data).into()
}

/// Random bytes that the host has given for this call, or else those of the operating system, which WebAssembly does not have.
pub(super) fn fill_random(out: &mut [u8]) -> Option<()> {
    match host_random::take(out) {
        Taken::Filled => Some(()),
        Taken::TooFew => None,
        Taken::NoneGiven => of_the_system(out),
    }
}

#[cfg(not(target_family = "wasm"))]
fn of_the_system(out: &mut [u8]) -> Option<()> {
    getrandom::fill(out).ok()
}

#[cfg(target_family = "wasm")]
const fn of_the_system(_: &mut [u8]) -> Option<()> {
    None
}

pub(super) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
