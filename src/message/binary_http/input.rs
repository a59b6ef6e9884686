//! The input of the decoder: bytes that were received and are not parsed yet.

use bytes::{Buf, Bytes, BytesMut};

use super::BinaryHttpError;
use crate::message::varint;

/// A queue of bytes. Items are removed whole, or not at all.
#[derive(Default)]
pub(super) struct Input {
    bytes: BytesMut,
}

/// What a read gives: the item, or `None` until more has come.
pub(super) type Item<T> = Result<Option<T>, BinaryHttpError>;

impl Input {
    pub(super) fn push(&mut self, more: impl Into<BytesMut> + AsRef<[u8]>) {
        if self.bytes.is_empty() {
            self.bytes = more.into();
        } else {
            self.bytes.extend_from_slice(more.as_ref());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn skip(&mut self, len: usize) {
        self.bytes.advance(len.min(self.bytes.len()));
    }

    /// An integer.
    pub(super) fn integer(&mut self) -> Item<u64> {
        let Some((value, len)) = varint::read(&self.bytes) else { return Ok(None) };
        self.skip(len);
        Ok(Some(value))
    }

    /// A length and as many bytes, `limit` at most with the length. `limit` is reduced by what was read.
    pub(super) fn string(&mut self, limit: &mut usize) -> Item<Vec<u8>> {
        Ok(self.section(limit)?.map(|found| found.bytes.to_vec()))
    }

    /// The same, to be parsed.
    pub(super) fn section(&mut self, limit: &mut usize) -> Item<Self> {
        let Some((found, end)) = string_at(&self.bytes, *limit)? else { return Ok(None) };
        let prefix = end.saturating_sub(found.len());
        *limit = limit.saturating_sub(end);
        let mut bytes = self.bytes.split_to(end);
        bytes.advance(prefix);
        Ok(Some(Self { bytes }))
    }

    /// The next field of a section, or `Some(None)` at the zero that ends it.
    pub(super) fn field(&mut self, limit: &mut usize) -> Item<Option<(Vec<u8>, Vec<u8>)>> {
        let Some((name, name_len)) = string_at(&self.bytes, *limit)? else { return Ok(None) };
        if name.is_empty() {
            *limit = limit.saturating_sub(name_len);
            self.skip(name_len);
            return Ok(Some(None));
        }
        let left = limit.saturating_sub(name_len);
        let after = self.bytes.get(name_len..).unwrap_or_default();
        let Some((value, value_len)) = string_at(after, left)? else { return Ok(None) };
        let field = (name.to_vec(), value.to_vec());
        *limit = left.saturating_sub(value_len);
        self.skip(name_len.saturating_add(value_len));
        Ok(Some(Some(field)))
    }

    /// What there is, `limit` bytes at most. It is not copied.
    pub(super) fn at_most(&mut self, limit: u64) -> Bytes {
        let len = usize::try_from(limit).unwrap_or(usize::MAX).min(self.bytes.len());
        if len == self.bytes.len() {
            // All of it is given away. A view that is left empty would keep the buffer of the chunks from being used again.
            return std::mem::take(&mut self.bytes).freeze();
        }
        self.bytes.split_to(len).freeze()
    }
}

/// The string at the start of `bytes`, and its size with its length.
fn string_at(bytes: &[u8], limit: usize) -> Result<Option<(&[u8], usize)>, BinaryHttpError> {
    let Some((len, prefix)) = varint::read(bytes) else {
        return if limit == 0 { Err(BinaryHttpError::TooLarge) } else { Ok(None) };
    };
    let end = usize::try_from(len).ok().and_then(|len| prefix.checked_add(len)).filter(|end| *end <= limit);
    let end = end.ok_or(BinaryHttpError::TooLarge)?;
    Ok(bytes.get(prefix..end).map(|found| (found, end)))
}
