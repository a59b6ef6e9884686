//! Sealing in Rust alone, with the libraries of the RustCrypto and dalek projects, which take no time that depends on secrets.

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::{Hkdf, HkdfExtract};
use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768;
use sha2::Sha256;
use sha3::{Digest as _, Sha3_256};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Aead, NONCE_LEN, SealingError, Secret, TAG_LEN, X25519_LEN, secret};
use crate::crypto::rust::fill_random;

/// HKDF-Extract with SHA-256 (RFC 5869 section 2.2) over the concatenation of `parts`.
pub(crate) fn hkdf_extract(salt: &[u8], parts: &[&[u8]]) -> Result<Secret, SealingError> {
    let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
    for part in parts {
        extract.input_ikm(part);
    }
    let (mut prk, _) = extract.finalize();
    let out = secret(&prk);
    prk.as_mut_slice().zeroize();
    out
}

/// HKDF-Expand with SHA-256 (RFC 5869 section 2.3) over the concatenation of `info`, into `out`: at most 8160 bytes.
pub(crate) fn hkdf_expand(prk: &[u8; 32], info: &[&[u8]], out: &mut [u8]) -> Result<(), SealingError> {
    let prk = Hkdf::<Sha256>::from_prk(prk).map_err(|_| SealingError)?;
    prk.expand_multi_info(info, out).map_err(|_| SealingError)
}

/// SHA3-256 (FIPS 202) over the concatenation of `parts`, as a secret.
pub(crate) fn sha3_256(parts: &[&[u8]]) -> Result<Secret, SealingError> {
    let mut hash = Sha3_256::new();
    for part in parts {
        hash.update(part);
    }
    let mut digest = hash.finalize();
    let out = secret(&digest);
    digest.as_mut_slice().zeroize();
    out
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, SealingError> {
    let mut bytes = Zeroizing::new([0; N]);
    fill_random(bytes.as_mut_slice()).ok_or(SealingError)?;
    Ok(bytes)
}

/// A private key of X25519.
pub(crate) struct X25519PrivateKey(StaticSecret);

impl X25519PrivateKey {
    pub(crate) fn generate() -> Result<Self, SealingError> {
        Ok(Self(StaticSecret::from(*random()?)))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, SealingError> {
        Ok(Self(StaticSecret::from(*secret(bytes)?)))
    }

    #[allow(clippy::unnecessary_wraps, reason = "the other library can fail here")]
    pub(crate) fn public_key(&self) -> Result<[u8; X25519_LEN], SealingError> {
        Ok(PublicKey::from(&self.0).to_bytes())
    }

    /// The shared secret of RFC 7748 section 6.1. Refuses a key of low order, for which it would be zero.
    pub(crate) fn agree(&self, peer: &[u8]) -> Result<Secret, SealingError> {
        let peer: [u8; X25519_LEN] = peer.try_into().map_err(|_| SealingError)?;
        let shared = self.0.diffie_hellman(&PublicKey::from(peer));
        if shared.was_contributory() { secret(shared.as_bytes()) } else { Err(SealingError) }
    }
}

/// A decapsulation key of ML-KEM-768 (FIPS 203).
pub(crate) struct MlKem768PrivateKey(ml_kem_768::DecapsulationKey);

impl MlKem768PrivateKey {
    pub(crate) fn generate() -> Result<Self, SealingError> {
        Ok(Self::from_seed(&*random()?))
    }

    /// Reads the expanded form (FIPS 203 algorithm 16).
    #[cfg(any(test, fuzzing))]
    #[allow(deprecated, reason = "the other library reads no seed")]
    pub(crate) fn from_expanded(bytes: &[u8]) -> Result<Self, SealingError> {
        let bytes = bytes.try_into().map_err(|_| SealingError)?;
        ml_kem_768::DecapsulationKey::from_expanded(&bytes).map(Self).map_err(|_| SealingError)
    }

    /// Derives the key from `d || z` of FIPS 203 section 7.1.
    pub(super) fn from_seed(seed: &[u8; 64]) -> Self {
        Self(ml_kem_768::DecapsulationKey::from_seed((*seed).into()))
    }

    #[allow(clippy::unnecessary_wraps, reason = "the other library can fail here")]
    pub(crate) fn public_key(&self) -> Result<Vec<u8>, SealingError> {
        Ok(self.0.encapsulation_key().to_bytes().to_vec())
    }

    /// A ciphertext of the right size always gives a secret (FIPS 203 section 6.3): a wrong one shows when it is used.
    pub(crate) fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, SealingError> {
        let ciphertext = ml_kem_768::Ciphertext::try_from(ciphertext).map_err(|_| SealingError)?;
        let mut shared = self.0.decapsulate(&ciphertext);
        let out = secret(&shared);
        shared.as_mut_slice().zeroize();
        out
    }
}

/// A new shared secret for an encapsulation key of ML-KEM-768, and its ciphertext.
pub(crate) fn ml_kem_768_encapsulate(public_key: &[u8]) -> Result<(Vec<u8>, Secret), SealingError> {
    encapsulate_with(public_key, &*random()?)
}

/// The same with given randomness (FIPS 203 section 6.2).
pub(crate) fn encapsulate_with(public_key: &[u8], random: &[u8; 32]) -> Result<(Vec<u8>, Secret), SealingError> {
    let key = public_key.try_into().map_err(|_| SealingError)?;
    let key = ml_kem_768::EncapsulationKey::new(&key).map_err(|_| SealingError)?;
    let mut message = (*random).into();
    let (ciphertext, mut shared) = key.encapsulate_deterministic(&message);
    message.as_mut_slice().zeroize();
    let out = secret(&shared);
    shared.as_mut_slice().zeroize();
    Ok((ciphertext.to_vec(), out?))
}

/// A key for authenticated encryption. The caller uses each nonce once.
pub(crate) enum AeadKey {
    #[cfg(test)]
    Aes128Gcm(Box<aes_gcm::Aes128Gcm>),
    Aes256Gcm(Box<Aes256Gcm>),
}

impl AeadKey {
    pub(crate) fn new(aead: Aead, key: &[u8]) -> Result<Self, SealingError> {
        Ok(match aead {
            #[cfg(test)]
            Aead::Aes128Gcm => {
                Self::Aes128Gcm(Box::new(aes_gcm::Aes128Gcm::new_from_slice(key).map_err(|_| SealingError)?))
            }
            Aead::Aes256Gcm => Self::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(key).map_err(|_| SealingError)?)),
        })
    }

    /// Encrypts in place. Returns the tag.
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_LEN], SealingError> {
        let (nonce, text) = (Nonce::from(nonce), text.into());
        let tag = match self {
            #[cfg(test)]
            Self::Aes128Gcm(key) => key.encrypt_inout_detached(&nonce, aad, text),
            Self::Aes256Gcm(key) => key.encrypt_inout_detached(&nonce, aad, text),
        };
        tag.map(Into::into).map_err(|_| SealingError)
    }

    /// Verifies the tag at the end of `sealed`, and decrypts in place. Returns the length of the text, which stands at the start. After an
    /// error, nothing of what is in `sealed` is authentic.
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], aad: &[u8], sealed: &mut [u8]) -> Result<usize, SealingError> {
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_LEN>().ok_or(SealingError)?;
        let (nonce, tag, len) = (Nonce::from(nonce), Tag::from(*tag), text.len());
        match self {
            #[cfg(test)]
            Self::Aes128Gcm(key) => key.decrypt_inout_detached(&nonce, aad, text.into(), &tag),
            Self::Aes256Gcm(key) => key.decrypt_inout_detached(&nonce, aad, text.into(), &tag),
        }
        .map_err(|_| SealingError)?;
        Ok(len)
    }
}
