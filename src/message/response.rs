//! Encapsulated responses (RFC 9458 section 4.4, draft-ietf-ohai-chunked-ohttp-08 section 6.2): `response nonce || chunks`.
//!
//! The key is exported from the context of the request, so a response decrypts for its own request only.

use bytes::BytesMut;
use zeroize::Zeroizing;

use super::chunks::{ChunkError, ChunkOpener, ChunkSealer, Chunks};
use super::hpke::{AeadContext, Exporter};
use crate::crypto::sealing::{Aead, MAX_KEY_LEN, NONCE_LEN, SealingError, hkdf_expand, hkdf_extract};

const LABEL: &[u8] = b"message/bhttp chunked response";
/// What a response is encrypted with, until its nonce is known.
struct ResponseSecret {
    aead: Aead,
    encapsulated: Vec<u8>,
    /// As long as the nonce of the response: max(Nn, Nk) bytes, which is the size of a key.
    secret: Zeroizing<Vec<u8>>,
}

impl ResponseSecret {
    fn new(aead: Aead, encapsulated: Vec<u8>, exporter: &Exporter) -> Result<Self, SealingError> {
        let mut secret = Zeroizing::new(vec![0; aead.key_len()]);
        exporter.export(LABEL, &mut secret)?;
        Ok(Self { aead, encapsulated, secret })
    }

    fn context(&self, nonce: &[u8]) -> Result<AeadContext, SealingError> {
        response_context(self.aead, &self.encapsulated, &self.secret, nonce)
    }
}

/// `Extract` and `Expand` of RFC 9458 section 4.4.
pub(super) fn response_context(
    aead: Aead,
    encapsulated: &[u8],
    secret: &[u8],
    nonce: &[u8],
) -> Result<AeadContext, SealingError> {
    let prk = hkdf_extract(&[encapsulated, nonce].concat(), &[secret])?;
    let mut key = Zeroizing::new([0; MAX_KEY_LEN]);
    let key = key.get_mut(..aead.key_len()).ok_or(SealingError)?;
    hkdf_expand(&prk, &[b"key"], key)?;
    let mut base_nonce = [0; NONCE_LEN];
    hkdf_expand(&prk, &[b"nonce"], &mut base_nonce)?;
    AeadContext::new(aead, key, base_nonce)
}

/// Encrypts the response to one request.
pub(crate) struct ResponseSealer {
    secret: ResponseSecret,
}

impl ResponseSealer {
    pub(super) fn new(aead: Aead, encapsulated: Vec<u8>, exporter: &Exporter) -> Result<Self, SealingError> {
        Ok(Self { secret: ResponseSecret::new(aead, encapsulated, exporter)? })
    }

    /// Begins the response: what its content starts with, and what encrypts its chunks.
    pub(crate) fn begin(self) -> Result<(Vec<u8>, ChunkSealer), SealingError> {
        let nonce = crate::crypto::random_32().map_err(|_| SealingError)?;
        let nonce = nonce.get(..self.secret.aead.key_len()).ok_or(SealingError)?;
        self.begin_with(nonce)
    }

    /// The same with a given nonce, which is used once.
    pub(super) fn begin_with(self, nonce: &[u8]) -> Result<(Vec<u8>, ChunkSealer), SealingError> {
        Ok((nonce.to_vec(), ChunkSealer::new(self.secret.context(nonce)?)))
    }
}

/// Decrypts the response to one request, from content that comes in pieces of any size.
pub(crate) struct ResponseOpener {
    state: State,
}

enum State {
    Nonce(ResponseSecret, Vec<u8>),
    Chunks(ChunkOpener),
    Failed(ChunkError),
}

impl ResponseOpener {
    pub(super) fn new(aead: Aead, encapsulated: Vec<u8>, exporter: &Exporter) -> Result<Self, SealingError> {
        Ok(Self { state: State::Nonce(ResponseSecret::new(aead, encapsulated, exporter)?, Vec::new()) })
    }
}

impl Chunks for ResponseOpener {
    fn push(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Chunks(chunks) => chunks.push(bytes),
            State::Failed(_) => {}
            State::Nonce(secret, received) => {
                let missing = secret.aead.key_len().saturating_sub(received.len());
                let Some((end, rest)) = bytes.split_at_checked(missing) else {
                    received.extend_from_slice(bytes);
                    return;
                };
                received.extend_from_slice(end);
                self.state = match secret.context(received) {
                    Ok(context) => {
                        let mut chunks = ChunkOpener::new(context);
                        chunks.push(rest);
                        State::Chunks(chunks)
                    }
                    Err(error) => State::Failed(error.into()),
                };
            }
        }
    }

    fn next(&mut self) -> Result<Option<BytesMut>, ChunkError> {
        match &mut self.state {
            State::Nonce(..) => Ok(None),
            State::Chunks(chunks) => chunks.next(),
            State::Failed(error) => Err(*error),
        }
    }

    fn finish(self) -> Result<BytesMut, ChunkError> {
        match self.state {
            State::Nonce(..) => Err(ChunkError::Truncated),
            State::Chunks(chunks) => chunks.finish(),
            State::Failed(error) => Err(error),
        }
    }
}
