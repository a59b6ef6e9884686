//! The algorithms that messages are sealed with: names and sizes, which verification reads without a library that carries them out.

/// The size of a public key, a private key and a shared secret of X25519 (RFC 7748 section 6.1).
pub(crate) const X25519_LEN: usize = 32;
/// The size of an encapsulation key of ML-KEM-768 (FIPS 203 table 3).
pub(crate) const ML_KEM_768_PUBLIC_KEY_LEN: usize = 1184;
/// The size of a ciphertext of ML-KEM-768 (FIPS 203 table 3).
pub(crate) const ML_KEM_768_CIPHERTEXT_LEN: usize = 1088;
/// The size of a key of AES-256-GCM, the longest.
pub(crate) const MAX_KEY_LEN: usize = 32;
/// The size of a nonce of AES-GCM (RFC 5116 section 5.1).
pub(crate) const NONCE_LEN: usize = 12;
/// The size of the tag that a ciphertext of AES-GCM ends with (RFC 5116 section 5.1).
pub(crate) const TAG_LEN: usize = 16;

/// An algorithm of authenticated encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aead {
    /// That of published test vectors.
    #[cfg(test)]
    Aes128Gcm,
    Aes256Gcm,
}

impl Aead {
    /// The size of a key in bytes.
    pub(crate) fn key_len(self) -> usize {
        match self {
            #[cfg(test)]
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm => MAX_KEY_LEN,
        }
    }
}
