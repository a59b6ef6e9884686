//! Key agreement, key derivation and authenticated encryption, for messages that are sealed to a key.
//!
//! Each crypto library has the same functions. Every secret is overwritten when it is dropped: those of a crypto library by the
//! library, the others by [`Zeroizing`].

use zeroize::Zeroizing;

#[cfg(all(feature = "crypto-aws-lc", any(test, not(blindbox_crypto = "rust"))))]
mod aws_lc;
#[cfg(test)]
mod differential;
#[cfg(all(feature = "crypto-rust", any(test, blindbox_crypto = "rust", not(feature = "crypto-aws-lc"))))]
mod rust;

#[cfg(all(feature = "crypto-aws-lc", not(blindbox_crypto = "rust")))]
use aws_lc as library;
#[cfg(any(blindbox_crypto = "rust", not(feature = "crypto-aws-lc")))]
use rust as library;

pub(crate) use super::suite::{
    Aead, MAX_KEY_LEN, ML_KEM_768_CIPHERTEXT_LEN, ML_KEM_768_PUBLIC_KEY_LEN, NONCE_LEN, TAG_LEN, X25519_LEN,
};
pub(crate) use library::{
    AeadKey, MlKem768PrivateKey, X25519PrivateKey, hkdf_expand, hkdf_extract, ml_kem_768_encapsulate, sha3_256,
};

/// With given randomness, for test vectors: AWS-LC has no such call.
#[cfg(all(test, feature = "crypto-rust"))]
pub(crate) use rust::encapsulate_with as ml_kem_768_encapsulate_with;

/// 32 secret bytes.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// A key, a ciphertext or a length does not fit, or does not authenticate; or there are no random bytes. It carries no detail: a
/// peer that learned one could use it as an oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SealingError;

fn secret(bytes: &[u8]) -> Result<Secret, SealingError> {
    let mut out = Zeroizing::new([0; 32]);
    let target: &mut [u8] = out.as_mut();
    if target.len() != bytes.len() {
        return Err(SealingError);
    }
    target.copy_from_slice(bytes);
    Ok(out)
}
