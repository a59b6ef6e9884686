//! The parser: from bytes to values.

use std::borrow::Cow;
use std::cell::Cell;

use super::{JsonError, Member, Object, Value};
use crate::parser_steps;
use crate::types::shorten;

/// The maximum nesting of objects and arrays: a few kilobytes of `[` must not exhaust the stack. Genuine evidence has 6 levels.
pub(super) const MAX_DEPTH: usize = 16;

/// The maximum number of values in a document: `[0,0,0,...]` would take 20 times its size in memory. Genuine tokens have 100,
/// key sets 20.
pub(super) const MAX_VALUES: usize = 16_384;

/// Parses a whole document.
pub(crate) fn parse(document: &[u8]) -> Result<Value<'_>, JsonError> {
    if document.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    let text = std::str::from_utf8(document).map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() })?;
    let mut reader = JsonReader { text, at: 0, depth: 0, values: 0, members: Vec::with_capacity(text.len() / 64) };
    reader.skip_white_space();
    let value = reader.value()?;
    reader.skip_white_space();
    if reader.at == document.len() { Ok(value) } else { Err(JsonError::TrailingBytes { at: reader.at }) }
}

struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    values: usize,
    /// The members of all unfinished objects, in one buffer instead of one for each object.
    members: Vec<Member<'a>>,
}

impl<'a> JsonReader<'a> {
    fn value(&mut self) -> Result<Value<'a>, JsonError> {
        parser_steps::step();
        self.values = self.values.saturating_add(1);
        if self.values > MAX_VALUES {
            return Err(JsonError::TooManyValues { max: MAX_VALUES });
        }
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.nested(Self::object).map(Value::Object),
            Some(b'[') => self.nested(Self::array).map(Value::Array),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.literal("true", Value::Boolean(true)),
            Some(b'f') => self.literal("false", Value::Boolean(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => Err(self.syntax()),
        }
    }

    fn nested<T>(&mut self, read: fn(&mut Self) -> Result<T, JsonError>) -> Result<T, JsonError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonError::TooDeep { at: self.at, max: MAX_DEPTH });
        }
        self.depth = self.depth.saturating_add(1);
        let result = read(self);
        self.depth = self.depth.saturating_sub(1);
        result
    }

    fn object(&mut self) -> Result<Object<'a>, JsonError> {
        let start = self.at;
        let outer = self.members.len();
        self.items(b'}', |reader| {
            if reader.peek() != Some(b'"') {
                return Err(reader.syntax());
            }
            let name = reader.string()?;
            reader.skip_white_space();
            reader.expect(b':')?;
            reader.skip_white_space();
            let value = reader.value()?;
            reader.members.push(Member { name, value });
            Ok(())
        })?;
        let members = sorted(self.members.split_off(outer))?;
        let source = self.text.get(start..self.at).unwrap_or_default();
        Ok(Object { members, source, next: Cell::new(0) })
    }

    fn array(&mut self) -> Result<Vec<Value<'a>>, JsonError> {
        let mut values = Vec::new();
        self.items(b']', |reader| {
            values.push(reader.value()?);
            Ok(())
        })?;
        Ok(values)
    }

    /// Parses the items between an opening and a closing bracket, separated by commas.
    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Result<(), JsonError>) -> Result<(), JsonError> {
        self.step();
        self.skip_white_space();
        if self.peek() == Some(end) {
            self.step();
            return Ok(());
        }
        loop {
            item(self)?;
            self.skip_white_space();
            if self.peek() == Some(end) {
                self.step();
                return Ok(());
            }
            self.expect(b',')?;
            self.skip_white_space();
        }
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.step();
        let plain = self.plain()?;
        if self.peek() == Some(b'"') {
            self.step();
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.step();
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.syntax()),
            }
            text.push_str(self.plain()?);
        }
    }

    /// Returns the text up to the next quote, backslash or control character.
    #[inline(always)]
    fn plain(&mut self) -> Result<&'a str, JsonError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let end = self.at.saturating_add(plain_len(rest));
        let plain = self.text.get(self.at..end).ok_or(self.syntax())?;
        self.at = end;
        Ok(plain)
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.step();
        let escaped = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.step();
                return self.code_point().ok_or(JsonError::Syntax { at: start });
            }
            _ => return Err(self.syntax()),
        };
        self.step();
        Ok(escaped)
    }

    /// Parses four digits, or twice four for a surrogate pair; a lone surrogate is refused.
    fn code_point(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..=0xdbff).contains(&first) {
            return char::from_u32(first.into());
        }
        if self.text.as_bytes().get(self.at..)?.starts_with(b"\\u") {
            self.at = self.at.saturating_add(2);
            return char::decode_utf16([first, self.four_digits()?]).next()?.ok();
        }
        None
    }

    fn four_digits(&mut self) -> Option<u16> {
        let end = self.at.saturating_add(4);
        let digits = self.text.get(self.at..end)?;
        self.at = end;
        // `from_str_radix` alone would accept a sign.
        if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) { u16::from_str_radix(digits, 16).ok() } else { None }
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        self.text.get(start..self.at).ok_or(self.syntax())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.step();
        }
        if self.at == start { Err(self.syntax()) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.syntax());
        }
        self.at = self.at.saturating_add(word.len());
        Ok(value)
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.step();
        }
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.skip(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }
}

/// Sorts members by name, which finds duplicates. MAA's claims are already sorted.
fn sorted(mut members: Vec<Member<'_>>) -> Result<Vec<Member<'_>>, JsonError> {
    if members.is_sorted_by(|a, b| a.name < b.name) {
        return Ok(members);
    }
    members.sort_unstable_by(|a, b| {
        parser_steps::step();
        a.name.cmp(&b.name)
    });
    for (a, b) in members.iter().zip(members.iter().skip(1)) {
        if a.name == b.name {
            return Err(JsonError::DuplicateMember { name: shorten(&a.name, 100) });
        }
    }
    Ok(members)
}

/// Counts the bytes from the start that are neither quote nor backslash nor control character, eight at a time.
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut len: usize = 0;
    let (chunks, _) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        // The high bit of a byte of `x - ONES * n` is set if the byte is below `n`. A borrow can set it wrongly only above a
        // byte where it is set correctly, and only the lowest one is used.
        let below = |x: u64, n: u8| x.wrapping_sub(ONES.wrapping_mul(n.into())) & !x & HIGH_BITS;
        let equal = |byte: u8| below(word ^ ONES.wrapping_mul(byte.into()), 1);
        let special = below(word, 0x20) | equal(b'"') | equal(b'\\');
        if special != 0 {
            let before = usize::try_from(special.trailing_zeros() / 8).unwrap_or(0);
            return len.saturating_add(before);
        }
        len = len.saturating_add(8);
    }
    let rest = bytes.get(len..).unwrap_or_default();
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    len.saturating_add(rest.iter().position(is_special).unwrap_or(rest.len()))
}
