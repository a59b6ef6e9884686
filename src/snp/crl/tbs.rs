//! A strict parser for the signed part of a CRL (RFC 5280 section 5.1.2). `x509-parser` would read a CRL with a malformed entry
//! as one without entries.
//!
//! The header names the signer and is read before the signature is verified; the rest is read only afterwards.

use super::super::error::CrlError;
use crate::der::{BOOLEAN, CONTEXT_0, DerReader, Element, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE};
use crate::types::UnixTime;
use crate::x509::without_leading_zeros;

/// The most revoked certificates that are read. AMD's CRLs name none or one: they are about issuers.
pub(super) const MAX_ENTRIES: usize = 1024;

/// The most extensions of the CRL, and of one entry, that are read. AMD's CRLs have two and none.
pub(super) const MAX_EXTENSIONS: usize = 16;

/// RFC 5280 sections 4.1.2.2 and 5.2.3: serial numbers and CRL numbers have at most 20 octets, here without leading zeros.
const MAX_NUMBER_LEN: usize = 20;

/// The header of a CRL, which names the signer and the algorithm.
pub(super) struct Header<'a> {
    pub(super) algorithm: &'a [u8],
    pub(super) issuer: &'a [u8],
    is_version_2: bool,
    rest: DerReader<'a>,
}

/// The content of a CRL after its header.
pub(super) struct Content<'a> {
    pub(super) this_update: UnixTime,
    pub(super) next_update: Option<UnixTime>,
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) extensions: Vec<Extension<'a>>,
}

pub(super) struct Entry<'a> {
    /// Without leading zeros.
    pub(super) serial: &'a [u8],
    pub(super) extensions: Vec<Extension<'a>>,
}

pub(super) struct Extension<'a> {
    pub(super) oid: &'a [u8],
    pub(super) critical: bool,
    pub(super) value: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads the header: at most four elements, however long the CRL is.
    pub(super) fn read(contents: &'a [u8]) -> Option<Self> {
        let mut rest = DerReader::new(contents);
        let is_version_2 = rest.is_next(INTEGER);
        if is_version_2 && rest.expect(INTEGER)?.contents != [1] {
            return None;
        }
        let algorithm = rest.expect(SEQUENCE)?.whole;
        let issuer = rest.expect(SEQUENCE)?.whole;
        Some(Self { algorithm, issuer, is_version_2, rest })
    }

    /// Whether a time follows, as in a CRL; in a certificate a SEQUENCE follows.
    pub(super) fn is_before_a_time(&self) -> bool {
        self.rest.is_next_time()
    }

    /// Reads the content after the header. Only for CRLs whose signature is verified, and for display.
    pub(super) fn content(self) -> Result<Content<'a>, CrlError> {
        let mut reader = self.rest;
        let this_update = time(&mut reader)?;
        let next_update = if reader.is_next_time() { Some(time(&mut reader)?) } else { None };
        let mut entries = Vec::new();
        if reader.is_next(SEQUENCE) {
            let mut list = DerReader::new(expect(&mut reader, SEQUENCE)?.contents);
            while list.is_next(SEQUENCE) {
                if entries.len() == MAX_ENTRIES {
                    return Err(CrlError::TooMany { what: "revoked certificates", limit: MAX_ENTRIES });
                }
                entries.push(Entry::read(expect(&mut list, SEQUENCE)?)?);
            }
            list.finish().ok_or(CrlError::Malformed)?;
        }
        let mut extensions = Vec::new();
        if self.is_version_2 && reader.is_next(CONTEXT_0) {
            let mut outside = DerReader::new(expect(&mut reader, CONTEXT_0)?.contents);
            extensions = Extension::read_all(expect(&mut outside, SEQUENCE)?)?;
            outside.finish().ok_or(CrlError::Malformed)?;
        }
        reader.finish().ok_or(CrlError::Malformed)?;
        Ok(Content { this_update, next_update, entries, extensions })
    }
}

impl<'a> Entry<'a> {
    fn read(element: Element<'a>) -> Result<Self, CrlError> {
        let mut reader = DerReader::new(element.contents);
        let serial = number(&mut reader)?;
        time(&mut reader)?;
        let mut extensions = Vec::new();
        if reader.is_next(SEQUENCE) {
            extensions = Extension::read_all(expect(&mut reader, SEQUENCE)?)?;
        }
        reader.finish().ok_or(CrlError::Malformed)?;
        Ok(Self { serial, extensions })
    }
}

impl<'a> Extension<'a> {
    fn read_all(sequence: Element<'a>) -> Result<Vec<Self>, CrlError> {
        let mut list = DerReader::new(sequence.contents);
        let mut extensions: Vec<Self> = Vec::new();
        while list.is_next(SEQUENCE) {
            if extensions.len() == MAX_EXTENSIONS {
                return Err(CrlError::TooMany { what: "extensions", limit: MAX_EXTENSIONS });
            }
            let mut reader = DerReader::new(expect(&mut list, SEQUENCE)?.contents);
            let oid = expect(&mut reader, OBJECT_IDENTIFIER)?.contents;
            let critical = if reader.is_next(BOOLEAN) { expect(&mut reader, BOOLEAN)?.contents != [0] } else { false };
            let value = expect(&mut reader, OCTET_STRING)?.contents;
            reader.finish().ok_or(CrlError::Malformed)?;
            if extensions.iter().any(|earlier| earlier.oid == oid) {
                return Err(CrlError::Malformed);
            }
            extensions.push(Self { oid, critical, value });
        }
        list.finish().ok_or(CrlError::Malformed)?;
        Ok(extensions)
    }
}

/// Reads an INTEGER of at most 20 octets, without leading zeros.
pub(super) fn number<'a>(reader: &mut DerReader<'a>) -> Result<&'a [u8], CrlError> {
    let contents = expect(reader, INTEGER)?.contents;
    let number = without_leading_zeros(contents);
    if contents.is_empty() || number.len() > MAX_NUMBER_LEN { Err(CrlError::Malformed) } else { Ok(number) }
}

fn expect<'a>(reader: &mut DerReader<'a>, tag: u8) -> Result<Element<'a>, CrlError> {
    reader.expect(tag).ok_or(CrlError::Malformed)
}

fn time(reader: &mut DerReader<'_>) -> Result<UnixTime, CrlError> {
    reader.time().ok_or(CrlError::Malformed)
}
