//! A strict CBOR walker: checks the structure of a `COSE_Sign1` before any value is parsed.
//!
//! A general decoder accepts ambiguous encodings: duplicate keys in a nested map, strings in pieces. This file walks the bytes
//! once, refuses these, and locates the four parts of the `COSE_Sign1`, so that the unsigned part never reaches a decoder.

use std::collections::BTreeSet;

use super::error::CoseError;
use crate::parser_steps;

/// Deeper nesting than any header needs; bounds the recursion of the walk.
const MAX_DEPTH: u8 = 16;

const COSE_SIGN1_TAG: u64 = 18;

/// The four parts of a tagged `COSE_Sign1` (RFC 9052 section 4.2), as received.
#[derive(Debug)]
pub(super) struct Sign1Parts<'a> {
    /// The content of the protected header's byte string: exactly one strict CBOR map.
    pub(super) protected: &'a [u8],
    /// The unprotected header's map with its initial byte: well-formed, otherwise not parsed.
    pub(super) unprotected: &'a [u8],
    /// The content of the payload's byte string.
    pub(super) payload: &'a [u8],
    /// The content of the signature's byte string.
    pub(super) signature: &'a [u8],
}

/// Splits a document into its parts.
///
/// Everything that the signature covers must have definite lengths and no duplicate key at any depth. The unprotected
/// header is only skipped: anyone can change it, so nothing in it may decide anything.
pub(super) fn split(document: &[u8]) -> Result<Sign1Parts<'_>, CoseError> {
    let mut reader = CborReader { rest: document };
    if reader.head()? != (Head { major: Major::Tag, value: Some(COSE_SIGN1_TAG) }) {
        return Err(CoseError::NotTagged);
    }
    if reader.head()? != (Head { major: Major::Array, value: Some(4) }) {
        return Err(CoseError::NotFourItems);
    }
    let protected = reader.byte_string()?;
    let mut header = CborReader { rest: protected };
    if header.peek_major()? != Major::Map {
        return Err(CoseError::ProtectedNotAMap);
    }
    header.item(MAX_DEPTH, Rules::Strict)?;
    header.end()?;

    let before = reader.rest;
    if reader.peek_major()? != Major::Map {
        return Err(CoseError::UnprotectedNotAMap);
    }
    reader.item(MAX_DEPTH, Rules::WellFormed)?;
    let unprotected =
        before.len().checked_sub(reader.rest.len()).and_then(|len| before.get(..len)).ok_or(CoseError::Truncated)?;

    // Only a byte string is accepted: the signature of a detached payload (nil) would cover unknown data.
    let payload = reader.byte_string()?;
    let signature = reader.byte_string()?;
    reader.end()?;
    Ok(Sign1Parts { protected, unprotected, payload, signature })
}

/// How strictly an item is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Definite lengths, keys that are integers or text, no key twice.
    Strict,
    /// Well-formed in the sense of RFC 8949 section 5.3.1.
    WellFormed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Major {
    Unsigned,
    Negative,
    Bytes,
    Text,
    Array,
    Map,
    Tag,
    Simple,
}

/// The initial bytes of an item (major type and argument); `value` is `None` for an indefinite length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    major: Major,
    value: Option<u64>,
}

/// A map key, independent of the width of its encoding.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Integer(Major, u64),
    Text(&'a [u8]),
}

struct CborReader<'a> {
    rest: &'a [u8],
}

impl<'a> CborReader<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], CoseError> {
        let len = usize::try_from(len).map_err(|_| CoseError::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CoseError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CoseError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CoseError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn end(&self) -> Result<(), CoseError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CoseError::TrailingBytes) }
    }

    fn peek_major(&self) -> Result<Major, CoseError> {
        CborReader { rest: self.rest }.head().map(|head| head.major)
    }

    fn head(&mut self) -> Result<Head, CoseError> {
        parser_steps::step();
        let [first] = self.array()?;
        let major = match first >> 5 {
            0 => Major::Unsigned,
            1 => Major::Negative,
            2 => Major::Bytes,
            3 => Major::Text,
            4 => Major::Array,
            5 => Major::Map,
            6 => Major::Tag,
            _ => Major::Simple,
        };
        let value = match first & 0x1f {
            small @ 0..=23 => Some(u64::from(small)),
            24 => Some(u64::from(u8::from_be_bytes(self.array()?))),
            25 => Some(u64::from(u16::from_be_bytes(self.array()?))),
            26 => Some(u64::from(u32::from_be_bytes(self.array()?))),
            27 => Some(u64::from_be_bytes(self.array()?)),
            31 if matches!(major, Major::Bytes | Major::Text | Major::Array | Major::Map | Major::Simple) => None,
            _ => return Err(CoseError::NotWellFormed),
        };
        Ok(Head { major, value })
    }

    /// A byte string in one piece.
    fn byte_string(&mut self) -> Result<&'a [u8], CoseError> {
        match self.head()? {
            Head { major: Major::Bytes, value: Some(len) } => self.take(len),
            Head { major: Major::Bytes, value: None } => Err(CoseError::IndefiniteLength),
            _ => Err(CoseError::NotAByteString),
        }
    }

    /// Walks over one item and everything in it.
    fn item(&mut self, depth: u8, rules: Rules) -> Result<(), CoseError> {
        let depth = depth.checked_sub(1).ok_or(CoseError::TooDeep)?;
        let head = self.head()?;
        let Some(value) = head.value else {
            return match rules {
                Rules::Strict => Err(CoseError::IndefiniteLength),
                Rules::WellFormed => self.indefinite(head.major, depth),
            };
        };
        match head.major {
            Major::Unsigned | Major::Negative | Major::Simple => Ok(()),
            Major::Bytes | Major::Text => self.take(value).map(|_| ()),
            // Each iteration consumes a byte or fails, so that a huge count costs nothing.
            Major::Array => (0..value).try_for_each(|_| self.item(depth, rules)),
            Major::Map => self.map(value, depth, rules),
            Major::Tag => self.item(depth, rules),
        }
    }

    fn map(&mut self, pairs: u64, depth: u8, rules: Rules) -> Result<(), CoseError> {
        let mut seen = BTreeSet::new();
        for _ in 0..pairs {
            match rules {
                Rules::Strict => {
                    if !seen.insert(self.key()?) {
                        return Err(CoseError::DuplicateKey);
                    }
                }
                Rules::WellFormed => self.item(depth, rules)?,
            }
            self.item(depth, rules)?;
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Key<'a>, CoseError> {
        match self.head()? {
            Head { major: major @ (Major::Unsigned | Major::Negative), value: Some(value) } => {
                Ok(Key::Integer(major, value))
            }
            Head { major: Major::Text, value: Some(len) } => self.take(len).map(Key::Text),
            Head { value: None, .. } => Err(CoseError::IndefiniteLength),
            _ => Err(CoseError::UnusableKey),
        }
    }

    /// Walks over the rest of an item of indefinite length, up to its break.
    fn indefinite(&mut self, major: Major, depth: u8) -> Result<(), CoseError> {
        const BREAK: Head = Head { major: Major::Simple, value: None };
        if major == Major::Simple {
            return Err(CoseError::NotWellFormed);
        }
        loop {
            let mut ahead = CborReader { rest: self.rest };
            let head = ahead.head()?;
            if head == BREAK {
                self.rest = ahead.rest;
                return Ok(());
            }
            match major {
                Major::Bytes | Major::Text => match head {
                    Head { major: of_chunk, value: Some(len) } if of_chunk == major => {
                        ahead.take(len)?;
                        self.rest = ahead.rest;
                    }
                    _ => return Err(CoseError::NotWellFormed),
                },
                Major::Array => self.item(depth, Rules::WellFormed)?,
                Major::Map => {
                    self.item(depth, Rules::WellFormed)?;
                    self.item(depth, Rules::WellFormed)?;
                }
                _ => return Err(CoseError::NotWellFormed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split_hex(text: &str) -> Result<String, CoseError> {
        let document = hex::decode(text.replace(' ', "")).unwrap();
        let parts = split(&document)?;
        Ok(format!(
            "{}/{}/{}/{}",
            hex::encode(parts.protected),
            hex::encode(parts.unprotected),
            hex::encode(parts.payload),
            hex::encode(parts.signature)
        ))
    }

    #[test]
    fn a_document_has_four_parts_and_one_tag() {
        assert_eq!(split_hex("d2 84 43a10126 a0 4101 4102").unwrap(), "a10126/a0/01/02");
        for (document, defect) in [
            ("84 43a10126 a0 4101 4102", CoseError::NotTagged),
            ("d1 84 43a10126 a0 4101 4102", CoseError::NotTagged),
            ("d2 d2 84 43a10126 a0 4101 4102", CoseError::NotFourItems),
            ("d2 83 43a10126 a0 4101", CoseError::NotFourItems),
            ("d2 9f 43a10126 a0 4101 4102 ff", CoseError::NotFourItems),
            ("d2 84 43a10126 a0 4101 4102 00", CoseError::TrailingBytes),
            ("d2 84 43a10126 a0 f6 4102", CoseError::NotAByteString),
            ("d2 84 43a10126 a0 5f4101ff 4102", CoseError::IndefiniteLength),
            ("d2 84 43a10126 a0 4101 41", CoseError::Truncated),
            ("d2 84 40 a0 4101 4102", CoseError::Truncated),
            ("d2 84 4180 a0 4101 4102", CoseError::ProtectedNotAMap),
            ("d2 84 44a1012600 a0 4101 4102", CoseError::TrailingBytes),
            ("d2 84 43a10126 80 4101 4102", CoseError::UnprotectedNotAMap),
            ("d2 84 5bffffffffffffffff", CoseError::Truncated),
            ("d2 84 49bbffffffffffffffff a0 4101 4102", CoseError::Truncated),
            ("", CoseError::Truncated),
        ] {
            assert_eq!(split_hex(document), Err(defect), "{document}");
        }
    }

    #[test]
    fn the_protected_header_is_strict_at_every_depth() {
        let inside = |header: &str| {
            let header = hex::decode(header.replace(' ', "")).unwrap();
            split_hex(&format!("d284 58{:02x} {} a0 4101 4102", header.len(), hex::encode(header)))
        };
        for (header, defect) in [
            ("a2 0126 0126", CoseError::DuplicateKey),
            ("a2 0126 180126", CoseError::DuplicateKey),
            ("a2 0126 1b000000000000000126", CoseError::DuplicateKey),
            ("a2 616101 616102", CoseError::DuplicateKey),
            ("a1 0f a2 0101 0102", CoseError::DuplicateKey),
            ("a1 0f 81 c1 a2 616101 78016102", CoseError::DuplicateKey),
            ("bf 0126 ff", CoseError::IndefiniteLength),
            ("a1 0f bf 0101 ff", CoseError::IndefiniteLength),
            ("a1 01 9f ff", CoseError::IndefiniteLength),
            ("a1 01 5f ff", CoseError::IndefiniteLength),
            ("a1 7f6161ff 01", CoseError::IndefiniteLength),
            ("a1 4101 01", CoseError::UnusableKey),
            ("a1 f6 01", CoseError::UnusableKey),
            ("a1 01 1c", CoseError::NotWellFormed),
            ("a1 01 81818181818181818181818181818181 01", CoseError::TooDeep),
        ] {
            assert_eq!(inside(header), Err(defect), "{header}");
        }
        inside("a3 0126 2001 6131 01").unwrap();
    }

    #[test]
    fn the_unprotected_header_needs_only_an_end() {
        for header in
            ["a2 0101 0102", "bf 01 5f4101ff 02 9f01ff ff", "a1 61ff 01", "a1 80 f6", "bf ff", "a1 01 7f6161ff"]
        {
            let end = split_hex(&format!("d284 43a10126 {header} 4101 4102")).unwrap();
            assert_eq!(end, format!("a10126/{}/01/02", header.replace(' ', "")));
        }
        for (header, defect) in [
            ("bf 01 ff", CoseError::NotWellFormed),
            ("bf 01 5f6161ff ff", CoseError::NotWellFormed),
            ("a1 01 ff", CoseError::NotWellFormed),
        ] {
            assert_eq!(split_hex(&format!("d284 43a10126 {header} 4101 4102")), Err(defect), "{header}");
        }
    }
}
