//! The input of the decoder: bytes that were received and are not parsed yet.

use super::BinaryHttpError;
use crate::message::varint;

/// A queue of bytes. Items are removed whole, or not at all.
#[derive(Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// How many bytes at the start have been read.
    read: usize,
}

/// What a read gives: the item, or `None` until more has come.
pub(super) type Item<T> = Result<Option<T>, BinaryHttpError>;

impl Input {
    pub(super) fn push(&mut self, more: impl Into<Vec<u8>> + AsRef<[u8]>) {
        // Removes what was read once for each piece that comes, not once for each item.
        self.bytes.drain(..self.read);
        self.read = 0;
        if self.bytes.is_empty() {
            self.bytes = more.into();
        } else {
            self.bytes.extend_from_slice(more.as_ref());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.read..).unwrap_or_default()
    }

    fn skip(&mut self, len: usize) {
        self.read = self.read.saturating_add(len).min(self.bytes.len());
    }

    /// An integer.
    pub(super) fn integer(&mut self) -> Item<u64> {
        let Some((value, len)) = varint::read(self.rest()) else { return Ok(None) };
        self.skip(len);
        Ok(Some(value))
    }

    /// A length and as many bytes, `limit` at most with the length. `limit` is reduced by what was read.
    pub(super) fn string(&mut self, limit: &mut usize) -> Item<Vec<u8>> {
        let Some((found, len)) = string_at(self.rest(), *limit)? else { return Ok(None) };
        let found = found.to_vec();
        *limit = limit.saturating_sub(len);
        self.skip(len);
        Ok(Some(found))
    }

    /// The next field of a section, or `Some(None)` at the zero that ends it.
    pub(super) fn field(&mut self, limit: &mut usize) -> Item<Option<(Vec<u8>, Vec<u8>)>> {
        let Some((name, name_len)) = string_at(self.rest(), *limit)? else { return Ok(None) };
        if name.is_empty() {
            *limit = limit.saturating_sub(name_len);
            self.skip(name_len);
            return Ok(Some(None));
        }
        let left = limit.saturating_sub(name_len);
        let after = self.rest().get(name_len..).unwrap_or_default();
        let Some((value, value_len)) = string_at(after, left)? else { return Ok(None) };
        let field = (name.to_vec(), value.to_vec());
        *limit = left.saturating_sub(value_len);
        self.skip(name_len.saturating_add(value_len));
        Ok(Some(Some(field)))
    }

    /// Exactly as many bytes.
    pub(super) fn exactly(&mut self, len: usize) -> Option<Vec<u8>> {
        let found = self.rest().get(..len)?.to_vec();
        self.skip(len);
        Some(found)
    }

    /// What there is, `limit` bytes at most.
    pub(super) fn at_most(&mut self, limit: u64) -> Vec<u8> {
        let available = self.rest().len();
        let len = usize::try_from(limit).unwrap_or(usize::MAX).min(available);
        if len < available {
            return self.exactly(len).unwrap_or_default();
        }
        // All of it is given away instead of copied.
        let mut found = std::mem::take(&mut self.bytes);
        found.drain(..std::mem::take(&mut self.read));
        found
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
