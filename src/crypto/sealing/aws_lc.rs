//! Sealing over AWS-LC, which has random bytes of its own.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use aws_lc_rs::{digest, hkdf, hmac};

use super::{Aead, NONCE_LEN, SealingError, Secret, TAG_LEN, X25519_LEN, secret};

/// HKDF-Extract with SHA-256 (RFC 5869 section 2.2) over the concatenation of `parts`.
pub(crate) fn hkdf_extract(salt: &[u8], parts: &[&[u8]]) -> Result<Secret, SealingError> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    for part in parts {
        context.update(part);
    }
    secret(context.sign().as_ref())
}

/// HKDF-Expand with SHA-256 (RFC 5869 section 2.3) over the concatenation of `info`, into `out`: at most 8160 bytes.
pub(crate) fn hkdf_expand(prk: &[u8; 32], info: &[&[u8]], out: &mut [u8]) -> Result<(), SealingError> {
    let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, prk);
    prk.expand(info, OutputLen(out.len())).and_then(|okm| okm.fill(out)).map_err(|_| SealingError)
}

struct OutputLen(usize);

impl hkdf::KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

/// SHA3-256 (FIPS 202) over the concatenation of `parts`, as a secret.
pub(crate) fn sha3_256(parts: &[&[u8]]) -> Result<Secret, SealingError> {
    let mut context = digest::Context::new(&digest::SHA3_256);
    for part in parts {
        context.update(part);
    }
    secret(context.finish().as_ref())
}

/// A private key of X25519.
pub(crate) struct X25519PrivateKey(agreement::PrivateKey);

impl X25519PrivateKey {
    pub(crate) fn generate() -> Result<Self, SealingError> {
        agreement::PrivateKey::generate(&X25519).map(Self).map_err(|_| SealingError)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, SealingError> {
        agreement::PrivateKey::from_private_key(&X25519, bytes).map(Self).map_err(|_| SealingError)
    }

    pub(crate) fn public_key(&self) -> Result<[u8; X25519_LEN], SealingError> {
        let key = self.0.compute_public_key().map_err(|_| SealingError)?;
        key.as_ref().try_into().map_err(|_| SealingError)
    }

    /// The shared secret of RFC 7748 section 6.1. Refuses a key of low order, for which it would be zero.
    pub(crate) fn agree(&self, peer: &[u8]) -> Result<Secret, SealingError> {
        agreement::agree(&self.0, UnparsedPublicKey::new(&X25519, peer), SealingError, secret)
    }
}

/// A decapsulation key of ML-KEM-768 (FIPS 203).
pub(crate) struct MlKem768PrivateKey(DecapsulationKey);

impl MlKem768PrivateKey {
    pub(crate) fn generate() -> Result<Self, SealingError> {
        DecapsulationKey::generate(&ML_KEM_768).map(Self).map_err(|_| SealingError)
    }

    /// Reads the expanded form (FIPS 203 algorithm 16). The library has no public key of what it reads.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn from_expanded(bytes: &[u8]) -> Result<Self, SealingError> {
        DecapsulationKey::new(&ML_KEM_768, bytes).map(Self).map_err(|_| SealingError)
    }

    pub(crate) fn public_key(&self) -> Result<Vec<u8>, SealingError> {
        let key = self.0.encapsulation_key().map_err(|_| SealingError)?;
        Ok(key.key_bytes().map_err(|_| SealingError)?.as_ref().to_vec())
    }

    /// A ciphertext of the right size always gives a secret (FIPS 203 section 6.3): a wrong one shows when it is used.
    pub(crate) fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, SealingError> {
        let shared = self.0.decapsulate(Ciphertext::from(ciphertext)).map_err(|_| SealingError)?;
        secret(shared.as_ref())
    }
}

/// A new shared secret for an encapsulation key of ML-KEM-768, and its ciphertext.
pub(crate) fn ml_kem_768_encapsulate(public_key: &[u8]) -> Result<(Vec<u8>, Secret), SealingError> {
    let key = EncapsulationKey::new(&ML_KEM_768, public_key).map_err(|_| SealingError)?;
    let (ciphertext, shared) = key.encapsulate().map_err(|_| SealingError)?;
    Ok((ciphertext.as_ref().to_vec(), secret(shared.as_ref())?))
}

fn algorithm(aead: Aead) -> &'static aws_lc_rs::aead::Algorithm {
    match aead {
        #[cfg(test)]
        Aead::Aes128Gcm => &aws_lc_rs::aead::AES_128_GCM,
        Aead::Aes256Gcm => &AES_256_GCM,
    }
}

/// A key for authenticated encryption. The caller uses each nonce once.
pub(crate) struct AeadKey(LessSafeKey);

impl AeadKey {
    pub(crate) fn new(aead: Aead, key: &[u8]) -> Result<Self, SealingError> {
        UnboundKey::new(algorithm(aead), key).map(|key| Self(LessSafeKey::new(key))).map_err(|_| SealingError)
    }

    /// Encrypts in place. Returns the tag.
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], SealingError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| SealingError)?;
        tag.as_ref().try_into().map_err(|_| SealingError)
    }

    /// Verifies the tag at the end of `sealed`, and decrypts in place. Returns the length of the text, which stands at the start. After an
    /// error, nothing of what is in `sealed` is authentic.
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &mut [u8]) -> Result<usize, SealingError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, Aad::from(aad), sealed).map(|text| text.len()).map_err(|_| SealingError)
    }
}
