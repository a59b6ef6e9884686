//! Arguments of C: what may be NULL, what must be text, where results go.

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::{ptr, slice};

use blindbox_facade::Error;

/// The handle or value of an argument that must be given.
pub(crate) fn given<T>(name: &str, argument: Option<T>) -> Result<T, Error> {
    argument.ok_or_else(|| Error::argument(format!("{name}: expected a pointer, found NULL")))
}

/// Text that must be given.
///
/// # Safety
///
/// `pointer` is NULL or points to bytes that end with a zero and stay as they are while the text is used.
pub(crate) unsafe fn text<'a>(name: &str, pointer: *const c_char) -> Result<&'a str, Error> {
    // SAFETY: the caller's promise is that of this function.
    given(name, unsafe { optional_text(name, pointer) }?)
}

/// Text, or nothing for NULL.
///
/// # Safety
///
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(name: &str, pointer: *const c_char) -> Result<Option<&'a str>, Error> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: it is not NULL, and the caller promises a zero at its end and that nothing changes it.
    let text = unsafe { CStr::from_ptr(pointer) };
    let text = text.to_str().map_err(|_| Error::argument(format!("{name}: expected text in UTF-8")))?;
    Ok(Some(text))
}

/// Bytes, or nothing for NULL.
///
/// # Safety
///
/// `pointer` is NULL or points to `length` bytes that stay as they are while the slice is used.
pub(crate) unsafe fn optional_bytes<'a>(
    name: &str,
    pointer: *const u8,
    length: usize,
) -> Result<Option<&'a [u8]>, Error> {
    if pointer.is_null() {
        return match length {
            0 => Ok(None),
            _ => Err(Error::argument(format!("{name}: expected a pointer to {length} bytes, found NULL"))),
        };
    }
    limit(name, length)?;
    // SAFETY: it is not NULL, the length is one that memory can have, and the caller promises that the bytes are there.
    Ok(Some(unsafe { slice::from_raw_parts(pointer, length) }))
}

/// Bytes; NULL with a length of 0 stands for none.
///
/// # Safety
///
/// As [`optional_bytes`].
pub(crate) unsafe fn bytes<'a>(name: &str, pointer: *const u8, length: usize) -> Result<&'a [u8], Error> {
    // SAFETY: the caller's promise is that of this function.
    Ok(unsafe { optional_bytes(name, pointer, length) }?.unwrap_or_default())
}

/// The address of bytes that the caller may read: one of an object also where there are none, since some languages check each pointer
/// (Go ends the program over one into the first page).
pub(crate) fn start(bytes: &[u8]) -> *const u8 {
    if bytes.is_empty() { c"".as_ptr().cast() } else { bytes.as_ptr() }
}

/// Room for bytes, which may hold anything.
///
/// # Safety
///
/// `pointer` is NULL or points to `length` bytes that nothing else uses while the slice is used.
pub(crate) unsafe fn room<'a>(name: &str, pointer: *mut u8, length: usize) -> Result<&'a mut [MaybeUninit<u8>], Error> {
    if pointer.is_null() || length == 0 {
        return Err(Error::argument(format!("{name}: expected room for at least one byte")));
    }
    limit(name, length)?;
    // SAFETY: it is not NULL, the length is one that memory can have, and the caller promises that the room is this call's alone.
    Ok(unsafe { slice::from_raw_parts_mut(pointer.cast(), length) })
}

fn limit(name: &str, length: usize) -> Result<(), Error> {
    isize::try_from(length).map_err(|_| Error::argument(format!("{name}: {length} bytes are more than memory has")))?;
    Ok(())
}

/// Copies as much as fits, and returns how much that is.
pub(crate) fn copy(from: &[u8], to: &mut [MaybeUninit<u8>]) -> usize {
    let length = from.len().min(to.len());
    // Not byte by byte: what is optimised for size would copy one at a time.
    // SAFETY: both have as many bytes, and a slice that is borrowed mutably overlaps no other.
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr().cast(), length) };
    length
}

/// Text for C: a zero in it, which would end it, is replaced.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default())
}

/// Text that the caller frees with `bb_string_free`.
pub(crate) fn owned_text(text: &str) -> *mut c_char {
    c_text(text).into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_in_a_text_does_not_end_it() {
        assert_eq!(c_text("a\0b").as_bytes(), "a\u{fffd}b".as_bytes());
    }

    #[test]
    fn a_copy_takes_what_fits() {
        let mut room = [MaybeUninit::uninit(); 2];
        assert_eq!(copy(b"abc", &mut room), 2);
        assert_eq!(copy(b"", &mut room), 0);
    }
}
