//! A cursor over bytes of fixed layouts.

use crate::parser_steps;

/// Reads fields one after the other. `None` when the bytes end too early.
#[derive(Clone, Debug)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
    read: usize,
}

impl<'a> Bytes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, read: 0 }
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        parser_steps::step();
        let (field, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        self.read = self.read.saturating_add(len);
        Some(field)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        self.take(N)?.first_chunk()
    }

    /// The next number, least significant byte first.
    pub(super) fn u32_le(&mut self) -> Option<u32> {
        self.array().copied().map(u32::from_le_bytes)
    }

    /// The next byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| *byte)
    }

    /// The next number, most significant byte first.
    pub(super) fn u16_be(&mut self) -> Option<u16> {
        self.array().copied().map(u16::from_be_bytes)
    }

    /// The next number, most significant byte first.
    pub(super) fn u32_be(&mut self) -> Option<u32> {
        self.array().copied().map(u32::from_be_bytes)
    }

    /// The next number, most significant byte first.
    pub(super) fn u64_be(&mut self) -> Option<u64> {
        self.array().copied().map(u64::from_be_bytes)
    }

    /// The bytes that are left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The offset of the first byte that is left.
    pub(super) const fn offset(&self) -> usize {
        self.read
    }
}
