//! Sequences of chunks (draft-ietf-ohai-chunked-ohttp-08 section 6), the same in both directions.
//!
//! A chunk is `length || ciphertext`, and the last one `0 || ciphertext` up to the end of the HTTP content. The last chunk is
//! encrypted with another additional text, so a sequence that was cut cannot be taken for a whole one. Lengths are not
//! authenticated, and need not be: the order is, by the counter in each nonce.

use bytes::{Buf, BytesMut};

use super::hpke::AeadContext;
use super::varint;
use crate::crypto::sealing::{SealingError, TAG_LEN};

/// The largest text of a chunk: what every receiver accepts (section 3 of the draft).
pub(crate) const MAX_TEXT: usize = 16_384;
const MAX_SEALED: usize = MAX_TEXT + TAG_LEN;
/// AES-GCM encrypts 2^24.5 records of this size under one key with a margin of 2^-57 (RFC 8446 section 5.5).
const MAX_CHUNKS: u64 = 1 << 24;
const FINAL: &[u8] = b"final";

/// Why a sequence of chunks is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    /// A chunk does not decrypt: it is not the sender's, or not the next one.
    #[error("a chunk does not decrypt")]
    Unauthentic,
    /// The sequence ended before its last chunk.
    #[error("the message ends before its final chunk")]
    Truncated,
    /// A chunk has more than 16384 bytes.
    #[error("a chunk is larger than 16384 bytes")]
    TooLarge,
    /// A chunk before the last one has no text (section 6 of the draft).
    #[error("a chunk before the final one is empty")]
    Empty,
    /// More chunks than one key may encrypt.
    #[error("the message has more than 16777216 chunks")]
    TooMany,
}

impl From<SealingError> for ChunkError {
    fn from(SealingError: SealingError) -> Self {
        Self::Unauthentic
    }
}

/// Encrypts chunks.
pub(crate) struct ChunkSealer {
    context: AeadContext,
    left: u64,
}

impl ChunkSealer {
    pub(super) fn new(context: AeadContext) -> Self {
        Self { context, left: MAX_CHUNKS }
    }

    /// Encrypts a chunk that is not the last.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn chunk(&mut self, text: &[u8]) -> Result<Vec<u8>, ChunkError> {
        let mut out = Vec::new();
        self.append(&[text], &mut out)?;
        Ok(out)
    }

    /// Encrypts a chunk that is not the last, 1 to 16384 bytes, whose text is given in parts, and appends it to `out`. After an error
    /// nothing is appended.
    pub(crate) fn append(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), ChunkError> {
        let len = parts.iter().fold(0_usize, |len, part| len.saturating_add(part.len()));
        if len == 0 {
            return Err(ChunkError::Empty);
        }
        // One is left for the final chunk.
        self.left = self.left.checked_sub(1).filter(|left| *left > 0).ok_or(ChunkError::TooMany)?;
        if len > MAX_TEXT {
            return Err(ChunkError::TooLarge);
        }
        let start = out.len();
        out.reserve(sealed_len(len));
        varint::write(len.saturating_add(TAG_LEN), out).ok_or(ChunkError::TooLarge)?;
        self.context.append(&[], parts, out).map_err(|error| {
            out.truncate(start);
            error.into()
        })
    }

    /// Encrypts the last chunk.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn finish(self, text: &[u8]) -> Result<Vec<u8>, ChunkError> {
        let mut out = Vec::new();
        self.append_final(text, &mut out)?;
        Ok(out)
    }

    /// Encrypts the last chunk, at most 16384 bytes, and appends it to `out`. The HTTP content MUST end with it.
    pub(crate) fn append_final(mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), ChunkError> {
        if text.len() > MAX_TEXT {
            return Err(ChunkError::TooLarge);
        }
        out.reserve(sealed_len(text.len()));
        out.push(0);
        Ok(self.context.append(FINAL, &[text], out)?)
    }
}

/// How many bytes a chunk with a text of this size has at most.
fn sealed_len(text: usize) -> usize {
    text.saturating_add(const { TAG_LEN + 4 })
}

/// Decrypts a sequence of chunks from content that comes in pieces of any size. After an error it gives nothing any more.
pub(crate) trait Chunks {
    /// Takes the next bytes of the content. The caller calls [`Chunks::next`] until it gives `None` before it pushes more, so that no
    /// more than one chunk and one piece is kept.
    fn push(&mut self, bytes: &[u8]);

    /// Returns the text of the next chunk before the last one, or `None` until more has been pushed.
    fn next(&mut self) -> Result<Option<BytesMut>, ChunkError>;

    /// Returns the text of the last chunk, once the content has ended and [`Chunks::next`] has given `None`: only then the content is
    /// complete.
    fn finish(self) -> Result<BytesMut, ChunkError>;
}

/// The chunks of a request, or of a response after its nonce.
#[must_use = "content is complete only when `finish` has returned its end"]
pub(crate) struct ChunkOpener {
    context: AeadContext,
    /// What was not decrypted yet. A chunk is decrypted here, and split off.
    received: BytesMut,
    state: State,
    left: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Chunks,
    /// The rest of the content is the final chunk.
    Final,
    Failed(ChunkError),
}

impl ChunkOpener {
    pub(super) fn new(context: AeadContext) -> Self {
        Self { context, received: BytesMut::new(), state: State::Chunks, left: MAX_CHUNKS }
    }

    fn take(&mut self) -> Result<Option<BytesMut>, ChunkError> {
        match self.state {
            State::Failed(error) => return Err(error),
            State::Final => return self.final_is_small().map(|()| None),
            State::Chunks => {}
        }
        let Some((len, prefix)) = varint::read(&self.received) else { return Ok(None) };
        if len == 0 {
            self.state = State::Final;
            self.received.advance(prefix);
            return self.final_is_small().map(|()| None);
        }
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX_SEALED).ok_or(ChunkError::TooLarge)?;
        let end = prefix.checked_add(len).ok_or(ChunkError::TooLarge)?;
        if self.received.len() < end {
            return Ok(None);
        }
        self.left = self.left.checked_sub(1).ok_or(ChunkError::TooMany)?;
        self.received.advance(prefix);
        let text = self.context.open(&[], self.received.split_to(len))?;
        if text.is_empty() { Err(ChunkError::Empty) } else { Ok(Some(text)) }
    }

    fn final_is_small(&self) -> Result<(), ChunkError> {
        if self.received.len() > MAX_SEALED { Err(ChunkError::TooLarge) } else { Ok(()) }
    }
}

impl Chunks for ChunkOpener {
    fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed(_)) {
            self.received.extend_from_slice(bytes);
        }
    }

    fn next(&mut self) -> Result<Option<BytesMut>, ChunkError> {
        let next = self.take();
        if let Err(error) = next {
            self.state = State::Failed(error);
            self.received = BytesMut::new();
        }
        next
    }

    fn finish(mut self) -> Result<BytesMut, ChunkError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::Chunks => Err(ChunkError::Truncated),
            State::Final => {
                self.final_is_small()?;
                Ok(self.context.open(FINAL, self.received)?)
            }
        }
    }
}

#[cfg(test)]
mod tests;
