//! Binary HTTP in chunks: the same in both directions.

use super::fields::{self, ReservedField};
use crate::crypto::sealing::{SealingError, TAG_LEN};
use crate::message::binary_http::{self, BinaryHttpError, Decoder, Field, Kind, Part};
use crate::message::chunks::{ChunkError, ChunkSealer, Chunks, MAX_TEXT};

/// The most bytes of content in one chunk. With the two lengths before it (2 bytes each) and the tag, a chunk has 16,384 bytes, which is
/// what HTTP/2 carries in one frame (RFC 9113 section 4.2) and TLS in one record.
pub(crate) const MAX_PIECE: usize = 16_384 - 2 - 2 - TAG_LEN;
const _: () = assert!(MAX_PIECE + 2 <= MAX_TEXT);
/// The most bytes beside the content in one chunk.
const MAX_OVERHEAD: usize = 2 + 2 + TAG_LEN;

/// Why a sealed message is not readable, or not writable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error(transparent)]
    BinaryHttp(#[from] BinaryHttpError),
    #[error(transparent)]
    Reserved(#[from] ReservedField),
    /// As many requests of one session are under way as an agent keeps numbers of.
    #[error("1024 sealed requests of one attestation are under way")]
    TooManyUnderWay,
}

impl From<SealingError> for MessageError {
    fn from(error: SealingError) -> Self {
        Self::Chunk(error.into())
    }
}

/// What the final chunk had: the message is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The parts that were not read before.
    pub(crate) parts: Vec<Part>,
    pub(crate) trailers: Vec<Field>,
}

/// Reads one message from content that comes in pieces of any size. After an error it gives nothing any more.
#[must_use = "a message is complete only when `finish` has returned its end"]
pub(crate) struct MessageReader<C> {
    chunks: C,
    decoder: Decoder,
}

impl<C: Chunks> MessageReader<C> {
    pub(super) fn new(chunks: C, kind: Kind) -> Self {
        Self { chunks, decoder: Decoder::new(kind) }
    }

    /// Takes the next bytes. The caller calls [`MessageReader::next`] until it gives `None` before it pushes more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.chunks.push(bytes);
    }

    /// Returns the next part, or `None` until more has been pushed.
    pub(super) fn next(&mut self) -> Result<Option<Part>, MessageError> {
        loop {
            if let Some(part) = self.decoder.next()? {
                return Ok(Some(part));
            }
            match self.chunks.next()? {
                Some(text) => self.decoder.push(text),
                None => return Ok(None),
            }
        }
    }

    /// Opens the final chunk, once the content has ended and [`MessageReader::next`] has given `None`.
    pub(super) fn finish(self) -> Result<Ending, MessageError> {
        let Self { chunks, mut decoder } = self;
        decoder.push(chunks.finish()?);
        let mut parts = Vec::new();
        while let Some(part) = decoder.next()? {
            parts.push(part);
        }
        let trailers = decoder.finish()?;
        fields::check(&trailers, fields::is_reserved)?;
        Ok(Ending { parts, trailers })
    }
}

/// Writes one message.
pub(crate) struct MessageWriter {
    chunks: ChunkSealer,
}

impl MessageWriter {
    /// Writes `start` and the head, as [`binary_http::head`] has written it. It gets chunks of its own.
    pub(super) fn begin(
        mut start: Vec<u8>,
        mut chunks: ChunkSealer,
        head: &[u8],
    ) -> Result<(Self, Vec<u8>), MessageError> {
        for text in head.chunks(MAX_TEXT) {
            chunks.append(&[text], &mut start)?;
        }
        Ok((Self { chunks }, start))
    }

    /// Writes content. Nothing is written for no bytes.
    pub(crate) fn content(&mut self, bytes: &[u8]) -> Result<Vec<u8>, MessageError> {
        let pieces = bytes.len().div_ceil(MAX_PIECE);
        let mut out = Vec::with_capacity(pieces.saturating_mul(MAX_OVERHEAD).saturating_add(bytes.len()));
        for piece in bytes.chunks(MAX_PIECE) {
            self.chunks.append(&[&binary_http::content_length(piece)?, piece], &mut out)?;
        }
        Ok(out)
    }

    /// Writes the end of the content with the trailers, in the final chunk.
    pub(crate) fn finish(mut self, trailers: &[Field]) -> Result<Vec<u8>, MessageError> {
        fields::check(trailers, fields::is_reserved)?;
        let end = binary_http::end(trailers)?;
        let (before, last) = end.split_at(end.len().saturating_sub(MAX_TEXT));
        let mut out = Vec::new();
        for text in before.chunks(MAX_TEXT) {
            self.chunks.append(&[text], &mut out)?;
        }
        self.chunks.append_final(last, &mut out)?;
        Ok(out)
    }
}
