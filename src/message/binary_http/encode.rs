//! Writes messages of indeterminate length (RFC 9292 section 3.2).

use super::{BinaryHttpError, Control, Field, Head, MAX_FIELDS, MAX_HEAD};
use crate::message::varint;

const INDETERMINATE_REQUEST: u8 = 2;
const INDETERMINATE_RESPONSE: u8 = 3;
/// Ends a section of fields, and the content.
const END: u8 = 0;
/// How many bytes most heads fit in, so that they are written without growing.
const MOST_HEADS: usize = 512;

/// The start of a message: control data and header fields. What a reader would refuse is not written.
pub(crate) fn head(head: &Head) -> Result<Vec<u8>, BinaryHttpError> {
    if !head.control.is_valid() {
        return Err(BinaryHttpError::Control);
    }
    let mut out = Vec::with_capacity(MOST_HEADS);
    match &head.control {
        Control::Request { method, scheme, authority, path } => {
            out.push(INDETERMINATE_REQUEST);
            for text in [method, scheme, authority, path] {
                string(text.as_bytes(), &mut out)?;
            }
        }
        Control::Response { status } => {
            out.push(INDETERMINATE_RESPONSE);
            varint::write(usize::from(*status), &mut out).ok_or(BinaryHttpError::Control)?;
        }
    }
    section(&head.fields, &mut out)?;
    Ok(out)
}

/// What stands before a piece of content. Nothing for no bytes: a piece without bytes would be the end.
pub(crate) fn content_length(piece: &[u8]) -> Result<Vec<u8>, BinaryHttpError> {
    let mut out = Vec::new();
    if !piece.is_empty() {
        varint::write(piece.len(), &mut out).ok_or(BinaryHttpError::TooLarge)?;
    }
    Ok(out)
}

/// A piece of content.
#[cfg(any(test, fuzzing))]
pub(crate) fn content(piece: &[u8]) -> Result<Vec<u8>, BinaryHttpError> {
    Ok([&content_length(piece)?, piece].concat())
}

/// The end of the content, and the trailers.
pub(crate) fn end(trailers: &[Field]) -> Result<Vec<u8>, BinaryHttpError> {
    let mut out = Vec::with_capacity(2);
    out.push(END);
    section(trailers, &mut out)?;
    Ok(out)
}

fn section(fields: &[Field], out: &mut Vec<u8>) -> Result<(), BinaryHttpError> {
    if fields.len() > MAX_FIELDS {
        return Err(BinaryHttpError::TooLarge);
    }
    for field in fields {
        if !field.is_valid() {
            return Err(BinaryHttpError::Field);
        }
        string(field.name.as_bytes(), out)?;
        string(&field.value, out)?;
    }
    out.push(END);
    if out.len() > MAX_HEAD { Err(BinaryHttpError::TooLarge) } else { Ok(()) }
}

fn string(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), BinaryHttpError> {
    varint::write(bytes.len(), out).ok_or(BinaryHttpError::TooLarge)?;
    out.extend_from_slice(bytes);
    Ok(())
}
