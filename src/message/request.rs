//! Encapsulated requests (RFC 9458 section 4.3, draft-ietf-ohai-chunked-ohttp-08 section 6.1):
//! `key_id || kem_id || kdf_id || aead_id || enc || chunks`.

use super::chunks::{ChunkOpener, ChunkSealer};
use super::hpke::{self, Kem, PrivateKey};
use super::key_config::KeyConfig;
use super::response::{ResponseOpener, ResponseSealer};
use super::suite;
use crate::crypto::sealing::{Aead, SealingError};
#[cfg(test)]
use crate::crypto::sealing::{Secret, X25519PrivateKey};

const LABEL: &[u8] = b"message/bhttp chunked request";
/// The size of key id and algorithms in bytes.
pub(crate) const HEADER_LEN: usize = 7;

/// A request that a client begins.
pub(crate) struct SealedRequest {
    /// What the content of the HTTP request starts with; the chunks follow.
    pub(crate) start: Vec<u8>,
    /// Encrypts the request.
    pub(crate) chunks: ChunkSealer,
    /// Decrypts the response to this request, and no other.
    pub(crate) response: ResponseOpener,
}

/// Begins a request to the holder of a key.
pub(crate) fn seal(config: &KeyConfig) -> Result<SealedRequest, SealingError> {
    let header = config.header();
    let sender = hpke::setup_sender(config.kem(), config.aead(), config.public_key(), &info(&header))?;
    begin(config, sender)
}

/// The same with a given ephemeral key and encapsulation, for test vectors.
#[cfg(test)]
pub(super) fn seal_with(
    config: &KeyConfig,
    ephemeral: &X25519PrivateKey,
    ml_kem_768: impl FnOnce(&[u8]) -> Result<(Vec<u8>, Secret), SealingError>,
) -> Result<SealedRequest, SealingError> {
    let (kem, aead, info) = (config.kem(), config.aead(), info(&config.header()));
    begin(config, hpke::setup_sender_with(kem, aead, config.public_key(), &info, ephemeral, ml_kem_768)?)
}

fn begin(config: &KeyConfig, sender: hpke::Sender) -> Result<SealedRequest, SealingError> {
    let start = [config.header().as_slice(), &sender.encapsulated].concat();
    let response = ResponseOpener::new(config.aead(), sender.encapsulated, &sender.exporter)?;
    Ok(SealedRequest { start, chunks: ChunkSealer::new(sender.context), response })
}

fn info(header: &[u8; HEADER_LEN]) -> Vec<u8> {
    [LABEL, &[0], header].concat()
}

/// The key id, the algorithms and the encapsulated key of a received request.
pub(crate) struct RequestStart {
    header: [u8; HEADER_LEN],
    aead: Aead,
    encapsulated: Vec<u8>,
}

/// The request names algorithms that no key configuration of the crate has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request names other algorithms than X-Wing or X25519, HKDF-SHA256 and AES-256-GCM")]
pub(crate) struct UnknownAlgorithms;

impl RequestStart {
    /// Reads the start of a request, and returns it with the bytes that follow. `None` until all of it is there: at most 1127
    /// bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Self, &[u8])>, UnknownAlgorithms> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let [_, kem_high, kem_low, kdf_high, kdf_low, aead_high, aead_low] = *header;
        let kem = Kem::from_id([kem_high, kem_low]).ok_or(UnknownAlgorithms)?;
        let aead = suite::aead_from_id([aead_high, aead_low]).ok_or(UnknownAlgorithms)?;
        if [kdf_high, kdf_low] != suite::KDF_ID {
            return Err(UnknownAlgorithms);
        }
        let Some((encapsulated, rest)) = rest.split_at_checked(kem.encapsulated_key_len()) else { return Ok(None) };
        Ok(Some((Self { header: *header, aead, encapsulated: encapsulated.to_vec() }, rest)))
    }

    /// Whether the request names this key and its algorithms. It is a hint: only a chunk that decrypts shows the key.
    pub(crate) fn names(&self, config: &KeyConfig) -> bool {
        self.header == config.header()
    }

    /// Opens the request with a key. A false encapsulated key may show with the first chunk only.
    pub(crate) fn open(self, key: &PrivateKey) -> Result<OpenedRequest, SealingError> {
        let (context, exporter) = hpke::setup_recipient(key, self.aead, &self.encapsulated, &info(&self.header))?;
        let response = ResponseSealer::new(self.aead, self.encapsulated, &exporter)?;
        Ok(OpenedRequest { chunks: ChunkOpener::new(context), response })
    }
}

/// A request that the holder of the key reads.
pub(crate) struct OpenedRequest {
    /// Decrypts the request.
    pub(crate) chunks: ChunkOpener,
    /// Encrypts the response to it.
    pub(crate) response: ResponseSealer,
}
