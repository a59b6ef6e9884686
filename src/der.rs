//! Just enough DER to take a signed object apart without a single byte of slack.
//!
//! It makes sure that the envelope around the signed part has one encoding only, so that bytes of a certificate cannot be
//! changed without breaking its signature, and that parts which decide something have one encoding as well.

mod time;

use crate::parser_steps;

/// One element: its contents, and the whole of it with tag and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) contents: &'a [u8],
    pub(crate) whole: &'a [u8],
}

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const IA5_STRING: u8 = 0x16;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
/// The context-specific tag `[0]`, constructed.
pub(crate) const CONTEXT_0: u8 = 0xa0;
/// The context-specific tag `[1]`, constructed.
pub(crate) const CONTEXT_1: u8 = 0xa1;
/// The context-specific tag `[2]`, constructed.
pub(crate) const CONTEXT_2: u8 = 0xa2;
/// The context-specific tag `[3]`, constructed.
pub(crate) const CONTEXT_3: u8 = 0xa3;

/// Walks over elements that stand side by side.
#[derive(Clone, Debug)]
pub(crate) struct DerReader<'a> {
    rest: &'a [u8],
}

impl<'a> DerReader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next element, if it has this tag and a length in its shortest form.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        parser_steps::step();
        let (&found, after_tag) = self.rest.split_first()?;
        if found != tag {
            return None;
        }
        let (&first, after_first) = after_tag.split_first()?;
        let (length, body) = match first {
            0..=0x7f => (usize::from(first), after_first),
            0x81 => {
                let (&low, body) = after_first.split_first()?;
                (usize::from(low), body)
            }
            0x82 => {
                let (bytes, body) = after_first.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*bytes)), body)
            }
            0x83 => {
                let ([high, middle, low], body) = after_first.split_first_chunk::<3>()?;
                (usize::try_from(u32::from_be_bytes([0, *high, *middle, *low])).ok()?, body)
            }
            // Nothing that is read here is as long as 16 MiB; indefinite lengths are not DER.
            _ => return None,
        };
        let shortest = match first {
            0x81 => length > 0x7f,
            0x82 => length > 0xff,
            0x83 => length > 0xffff,
            _ => true,
        };
        if !shortest {
            return None;
        }
        let (contents, rest) = body.split_at_checked(length)?;
        let whole = self.rest.get(..self.rest.len().checked_sub(rest.len())?)?;
        self.rest = rest;
        Some(Element { contents, whole })
    }

    /// The contents of an INTEGER in its shortest form, whatever its sign.
    pub(crate) fn integer(&mut self) -> Option<&'a [u8]> {
        let contents = self.expect(INTEGER)?.contents;
        match contents {
            [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => None,
            _ => Some(contents),
        }
    }

    /// Whether the next element has this tag.
    pub(crate) fn is_next(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    /// The end: nothing may be left.
    pub(crate) fn finish(self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// A `SIGNED{..}` object of X.509: what is signed, by which algorithm, and the signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signed<'a> {
    /// The signed bytes.
    pub(crate) body: Element<'a>,
    /// The `AlgorithmIdentifier` outside of the signed part, in full.
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Takes a certificate or CRL apart.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let mut outside = DerReader::new(der);
        let mut inside = DerReader::new(outside.expect(SEQUENCE)?.contents);
        outside.finish()?;
        let body = inside.expect(SEQUENCE)?;
        let algorithm = inside.expect(SEQUENCE)?.whole;
        let bits = inside.expect(BIT_STRING)?.contents;
        inside.finish()?;
        let (0, signature) = bits.split_first().map(|(unused, bytes)| (*unused, bytes))? else { return None };
        Some(Self { body, algorithm, signature })
    }
}

/// An INTEGER of 0 to 255 in its one encoding: `02 01 7f`, but `02 02 00 80`.
pub(crate) fn small_integer(der: &[u8]) -> Option<u8> {
    match der {
        [INTEGER, 1, value @ 0..=0x7f] => Some(*value),
        [INTEGER, 2, 0, value @ 0x80..=0xff] => Some(*value),
        _ => None,
    }
}

/// An `IA5String` that is all of the bytes.
pub(crate) fn ia5_string(der: &[u8]) -> Option<&str> {
    std::str::from_utf8(whole(der, IA5_STRING)?).ok().filter(|text| text.is_ascii())
}

/// A `UTF8String` that is all of the bytes.
pub(crate) fn utf8_string(der: &[u8]) -> Option<&str> {
    std::str::from_utf8(whole(der, UTF8_STRING)?).ok()
}

/// An `OCTET STRING` that is all of the bytes.
pub(crate) fn octet_string(der: &[u8]) -> Option<&[u8]> {
    whole(der, OCTET_STRING)
}

fn whole(der: &[u8], tag: u8) -> Option<&[u8]> {
    let mut reader = DerReader::new(der);
    let contents = reader.expect(tag)?.contents;
    reader.finish()?;
    Some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_integer_has_one_encoding() {
        assert_eq!(small_integer(&[2, 1, 0]), Some(0));
        assert_eq!(small_integer(&[2, 1, 0x7f]), Some(0x7f));
        assert_eq!(small_integer(&[2, 2, 0, 0x80]), Some(0x80));
        assert_eq!(small_integer(&[2, 2, 0, 0xff]), Some(0xff));
        for other in [
            &[2, 1, 0x80][..],
            &[2, 1, 0xff],
            &[2, 2, 0, 0x7f],
            &[2, 2, 1, 0],
            &[2, 0],
            &[2, 1, 1, 0],
            &[2, 3, 0, 0, 1],
            &[2, 0x81, 1, 1],
            &[4, 1, 1],
            &[],
        ] {
            assert_eq!(small_integer(other), None, "{other:?}");
        }
    }

    #[test]
    fn lengths_are_in_their_shortest_form() {
        let long = |header: &[u8], len: usize| [header, &vec![7; len]].concat();
        for (good, len) in [
            (&[0x30, 0x7f][..], 0x7f),
            (&[0x30, 0x81, 0x80], 0x80),
            (&[0x30, 0x81, 0xff], 0xff),
            (&[0x30, 0x82, 1, 0], 0x100),
            (&[0x30, 0x82, 0xff, 0xff], 0xffff),
            (&[0x30, 0x83, 1, 0, 0], 0x1_0000),
        ] {
            let der = long(good, len);
            let mut reader = DerReader::new(&der);
            let element = reader.expect(SEQUENCE).unwrap();
            assert_eq!((element.contents.len(), element.whole.len()), (len, der.len()));
            assert_eq!(reader.finish(), Some(()));
        }
        for (bad, len) in [
            (&[0x30, 0x81, 0x7f][..], 0x7f),
            (&[0x30, 0x82, 0, 0xff], 0xff),
            (&[0x30, 0x83, 0, 1, 0], 0x100),
            (&[0x30, 0x83, 0, 0xff, 0xff], 0xffff),
            (&[0x30, 0x84, 1, 0, 0, 0], 0x100_0000),
            (&[0x30, 0x80], 4),
            (&[0x31, 0x01], 1),
            (&[0x30, 0x02], 1),
        ] {
            assert_eq!(DerReader::new(&long(bad, len)).expect(SEQUENCE), None, "{bad:02x?}");
        }
    }

    #[test]
    fn an_ia5_string_is_the_whole_value() {
        assert_eq!(ia5_string(b"\x16\x05Genoa"), Some("Genoa"));
        for other in [&b"\x0c\x05Genoa"[..], b"\x16\x05Genoa\0", b"\x16\x06Genoa", b"\x16\x01\xff", b""] {
            assert_eq!(ia5_string(other), None, "{other:?}");
        }
    }
}
