//! The identifiers and sizes of HPKE's algorithms (RFC 9180 section 7), which key configurations name.

use crate::crypto::suite::{Aead, ML_KEM_768_CIPHERTEXT_LEN, ML_KEM_768_PUBLIC_KEY_LEN, X25519_LEN};

/// HKDF-SHA256 (RFC 9180 section 7.2).
pub(super) const KDF_ID: [u8; 2] = [0x00, 0x01];

/// A key encapsulation mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kem {
    X25519,
    XWing,
}

impl Kem {
    /// The registered id (RFC 9180 section 7.1), big-endian.
    pub(super) fn id(self) -> [u8; 2] {
        match self {
            Self::X25519 => [0x00, 0x20],
            Self::XWing => [0x64, 0x7a],
        }
    }

    /// The name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X25519 => "X25519",
            Self::XWing => "X-Wing",
        }
    }

    pub(crate) fn from_id(id: [u8; 2]) -> Option<Self> {
        [Self::X25519, Self::XWing].into_iter().find(|kem| kem.id() == id)
    }

    /// The size of a public key in bytes.
    pub(crate) fn public_key_len(self) -> usize {
        match self {
            Self::X25519 => X25519_LEN,
            Self::XWing => const { ML_KEM_768_PUBLIC_KEY_LEN + X25519_LEN },
        }
    }

    /// The size of an encapsulated key in bytes.
    pub(crate) fn encapsulated_key_len(self) -> usize {
        match self {
            Self::X25519 => X25519_LEN,
            Self::XWing => const { ML_KEM_768_CIPHERTEXT_LEN + X25519_LEN },
        }
    }
}

/// The registered id of an AEAD (RFC 9180 section 7.3), big-endian.
pub(super) fn aead_id(aead: Aead) -> [u8; 2] {
    match aead {
        #[cfg(test)]
        Aead::Aes128Gcm => [0x00, 0x01],
        Aead::Aes256Gcm => [0x00, 0x02],
    }
}

pub(super) fn aead_from_id(id: [u8; 2]) -> Option<Aead> {
    #[cfg(test)]
    if id == aead_id(Aead::Aes128Gcm) {
        return Some(Aead::Aes128Gcm);
    }
    (id == aead_id(Aead::Aes256Gcm)).then_some(Aead::Aes256Gcm)
}
