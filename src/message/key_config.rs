//! Key configurations of RFC 9458 section 3.1: `key_id || kem_id || public key || length || { kdf_id || aead_id }*`.
//!
//! An agent names one configuration and evidence names its digest, so there is nothing to choose: the crate accepts one key of a
//! [`Kem`], with HKDF-SHA256 and AES-256-GCM as its only pair, and no byte more.

use super::public_key::{self, UnusableKey};
use super::suite::{self, Kem};
use crate::crypto::suite::Aead;
use crate::types::Sha256Digest;

/// The length of the list of algorithm pairs: one pair.
const PAIRS_LEN: [u8; 2] = [0, 4];

/// A public key that messages are sealed to, with its algorithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyConfig {
    key_id: u8,
    kem: Kem,
    public_key: Vec<u8>,
    /// AES-256-GCM, but for published test vectors.
    aead: Aead,
}

/// Why bytes are not a key configuration that the crate uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyConfigError {
    /// Shorter or longer than a configuration of its KEM with one pair of algorithms.
    #[error("the key configuration has {found} bytes; with this KEM it has {expected}")]
    Length {
        /// 41 for X25519, 1225 for X-Wing.
        expected: usize,
        /// How many bytes there are.
        found: usize,
    },
    /// It ends within its first three bytes.
    #[error("the key configuration has no KEM id")]
    Empty,
    /// Neither X25519 nor X-Wing.
    #[error("the KEM 0x{0:04x} is not supported: expected X-Wing (0x647a) or X25519 (0x0020)")]
    Kem(u16),
    /// Not exactly one pair, or another one.
    #[error("the algorithms are not HKDF-SHA256 (0x0001) with AES-256-GCM (0x0002) alone")]
    Algorithms,
    /// Nothing can be sealed to it.
    #[error("the key configuration has no usable public key: {0}")]
    PublicKey(UnusableKey),
}

impl KeyConfig {
    /// Names a public key of one's own. `None` if its size is not that of the KEM.
    pub(crate) fn new(key_id: u8, kem: Kem, public_key: Vec<u8>) -> Option<Self> {
        let aead = Aead::Aes256Gcm;
        (public_key.len() == kem.public_key_len()).then_some(Self { key_id, kem, public_key, aead })
    }

    /// The same key with the AEAD of published test vectors.
    #[cfg(test)]
    pub(super) fn with_aes_128_gcm(self) -> Self {
        Self { aead: Aead::Aes128Gcm, ..self }
    }

    /// Reads exactly one configuration, of a key that messages can be sealed to.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, KeyConfigError> {
        let (key_id, rest) = bytes.split_first().ok_or(KeyConfigError::Empty)?;
        let (kem_id, rest) = rest.split_first_chunk::<2>().ok_or(KeyConfigError::Empty)?;
        let kem = Kem::from_id(*kem_id).ok_or(KeyConfigError::Kem(u16::from_be_bytes(*kem_id)))?;
        let expected = Self::encoded_len(kem);
        if bytes.len() != expected {
            return Err(KeyConfigError::Length { expected, found: bytes.len() });
        }
        let (public_key, algorithms) = rest.split_at_checked(kem.public_key_len()).ok_or(KeyConfigError::Algorithms)?;
        let config = Self { key_id: *key_id, kem, public_key: public_key.to_vec(), aead: Aead::Aes256Gcm };
        if algorithms != config.algorithms() {
            return Err(KeyConfigError::Algorithms);
        }
        public_key::check(kem, public_key).map_err(KeyConfigError::PublicKey)?;
        Ok(config)
    }

    /// The configuration as an agent sends it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [&[self.key_id], self.kem.id().as_slice(), &self.public_key, &self.algorithms()].concat()
    }

    /// SHA-256 over [`KeyConfig::to_bytes`].
    pub(crate) fn digest(&self) -> Sha256Digest {
        crate::crypto::sha256_digest(&self.to_bytes())
    }

    /// A hint to the holder of the key, which has several.
    pub(super) fn key_id(&self) -> u8 {
        self.key_id
    }

    pub(crate) fn kem(&self) -> Kem {
        self.kem
    }

    pub(super) fn aead(&self) -> Aead {
        self.aead
    }

    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// `hdr` of RFC 9458 section 4.3: what an encapsulated request starts with.
    pub(super) fn header(&self) -> [u8; 7] {
        let ([kem_high, kem_low], [kdf_high, kdf_low]) = (self.kem.id(), suite::KDF_ID);
        let [aead_high, aead_low] = suite::aead_id(self.aead);
        [self.key_id, kem_high, kem_low, kdf_high, kdf_low, aead_high, aead_low]
    }

    fn encoded_len(kem: Kem) -> usize {
        match kem {
            Kem::X25519 => 41,
            Kem::XWing => 1225,
        }
    }

    fn algorithms(&self) -> [u8; 6] {
        let ([length_high, length_low], [kdf_high, kdf_low]) = (PAIRS_LEN, suite::KDF_ID);
        let [aead_high, aead_low] = suite::aead_id(self.aead);
        [length_high, length_low, kdf_high, kdf_low, aead_high, aead_low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of bytes that are a usable key of either KEM.
    fn config(kem: Kem) -> KeyConfig {
        KeyConfig::new(7, kem, vec![0xab; kem.public_key_len()]).unwrap()
    }

    #[test]
    fn a_configuration_is_read_as_it_was_written() {
        for (kem, len) in [(Kem::X25519, 41), (Kem::XWing, 1225)] {
            let bytes = config(kem).to_bytes();
            assert_eq!(bytes.len(), len);
            assert_eq!(KeyConfig::from_bytes(&bytes), Ok(config(kem)));
        }
    }

    #[test]
    fn a_key_of_another_size_is_no_configuration() {
        assert_eq!(KeyConfig::new(0, Kem::XWing, vec![0; 32]), None);
    }

    #[test]
    fn only_whole_configurations_are_read() {
        let bytes = config(Kem::X25519).to_bytes();
        assert_eq!(KeyConfig::from_bytes(&[]), Err(KeyConfigError::Empty));
        assert_eq!(KeyConfig::from_bytes(&bytes[..2]), Err(KeyConfigError::Empty));
        for len in 3..bytes.len() {
            let expected = Err(KeyConfigError::Length { expected: 41, found: len });
            assert_eq!(KeyConfig::from_bytes(&bytes[..len]), expected);
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(KeyConfig::from_bytes(&longer), Err(KeyConfigError::Length { expected: 41, found: 42 }));
    }

    #[test]
    fn a_key_that_nothing_can_be_sealed_to_is_refused() {
        let read = |kem: Kem, at: usize, part: [u8; 32]| {
            let mut bytes = config(kem).to_bytes();
            bytes[3 + at..3 + at + 32].copy_from_slice(&part);
            KeyConfig::from_bytes(&bytes).map_err(|error| (error, error.to_string()))
        };
        let low_order = KeyConfigError::PublicKey(UnusableKey::LowOrder);
        let text = "the key configuration has no usable public key: its X25519 part has a low order";
        assert_eq!(read(Kem::X25519, 0, [0; 32]), Err((low_order, text.to_owned())));
        assert_eq!(read(Kem::XWing, 1184, [0; 32]), Err((low_order, text.to_owned())));
        let coefficient = KeyConfigError::PublicKey(UnusableKey::Coefficient);
        let text = "the key configuration has no usable public key: its ML-KEM-768 part has a coefficient above 3328";
        assert_eq!(read(Kem::XWing, 0, [0xff; 32]), Err((coefficient, text.to_owned())));
    }

    #[test]
    fn other_algorithms_are_refused() {
        let bytes = config(Kem::X25519).to_bytes();
        for (at, byte, expected) in [
            (1, 0x10, KeyConfigError::Kem(0x1020)),
            (2, 0x10, KeyConfigError::Kem(0x0010)),
            // The pair in another size; HKDF-SHA384; AES-128-GCM; ChaCha20-Poly1305.
            (36, 8, KeyConfigError::Algorithms),
            (38, 2, KeyConfigError::Algorithms),
            (40, 1, KeyConfigError::Algorithms),
            (40, 3, KeyConfigError::Algorithms),
        ] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            assert_eq!(KeyConfig::from_bytes(&changed), Err(expected), "{byte} at {at}");
        }
    }
}
