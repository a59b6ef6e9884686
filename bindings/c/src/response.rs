//! Responses.

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, OnceLock, TryLockError};

use blindbox_facade::{self as facade, Error};
use bytes::{Buf, Bytes};

use crate::call::{self, call, quiet};
use crate::cancel::bb_cancel;
use crate::error::bb_error;
use crate::pointer::{c_text, copy, given, room, start};

/// A response: its head, and its body as it is read. One thread at a time reads; the other functions may be called from every thread.
pub struct bb_response {
    inner: facade::Response,
    version: &'static CStr,
    names: Vec<CString>,
    /// Once it was asked for: most callers have it.
    url: OnceLock<CString>,
    unread: Mutex<Unread>,
}

/// What was received and not read yet.
struct Unread {
    bytes: Bytes,
    ended: bool,
}

impl bb_response {
    pub(crate) fn new(inner: facade::Response) -> Self {
        let early = inner.early();
        let unread = Mutex::new(Unread { bytes: early.bytes, ended: early.complete });
        let names = inner.headers.iter().map(|(name, _)| c_text(name)).collect();
        let version = match inner.version {
            "HTTP/2" => c"HTTP/2",
            "HTTP/1.0" => c"HTTP/1.0",
            _ => c"HTTP/1.1",
        };
        Self { inner, version, names, url: OnceLock::new(), unread }
    }

    /// Reads what is there, or waits for more.
    fn read(&self, to: &mut [MaybeUninit<u8>], cancel: Option<&bb_cancel>) -> Result<usize, Error> {
        // Before the lock, which another thread may have held during a fork.
        self.inner.check_process()?;
        let mut unread = match self.unread.try_lock() {
            Ok(unread) => unread,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::argument("response: expected one thread at a time to read, found a second one"));
            }
        };
        while unread.bytes.is_empty() && !unread.ended {
            match call::wait(cancel, self.inner.chunk()) {
                Ok(Some(bytes)) => unread.bytes = bytes,
                Ok(None) => unread.ended = true,
                Err(error) => {
                    // What a cancelled pull had is lost: the rest must not be taken for the whole.
                    if error.code == Error::cancelled().code {
                        self.inner.close();
                    }
                    return Err(error);
                }
            }
        }
        let copied = copy(&unread.bytes, to);
        unread.bytes.advance(copied);
        Ok(copied)
    }
}

/// Returns the status, such as 200.
///
/// @param response NULL gives 0.
#[unsafe(no_mangle)]
pub extern "C" fn bb_response_status(response: Option<&bb_response>) -> u16 {
    response.map_or(0, |response| response.inner.status)
}

/// Returns the version: `HTTP/2`, `HTTP/1.1` or `HTTP/1.0`.
///
/// @param response NULL gives an empty text.
///
/// Returns: never NULL; valid until the response is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_response_version(response: Option<&bb_response>) -> *const c_char {
    response.map_or(c"".as_ptr(), |response| response.version.as_ptr())
}

/// Returns the URL of the request, against which a relative `Location` is read.
///
/// @param response NULL gives an empty text.
///
/// Returns: never NULL; valid until the response is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_response_url(response: Option<&bb_response>) -> *const c_char {
    response.map_or(c"".as_ptr(), |response| response.url.get_or_init(|| c_text(&response.inner.url)).as_ptr())
}

/// Returns how many headers there are; one that occurs twice counts twice.
///
/// @param response NULL gives 0.
#[unsafe(no_mangle)]
pub extern "C" fn bb_response_header_count(response: Option<&bb_response>) -> usize {
    response.map_or(0, |response| response.names.len())
}

/// Returns the name of a header, in lower case.
///
/// @param response NULL gives NULL.
/// @param index counts from 0.
///
/// Returns: NULL beyond the last; valid until the response is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_response_header_name(response: Option<&bb_response>, index: usize) -> *const c_char {
    response.and_then(|response| response.names.get(index)).map_or(ptr::null(), |name| name.as_ptr())
}

/// Returns the value of a header: bytes, without a zero at their end.
///
/// @param response NULL gives NULL.
/// @param index counts from 0.
/// @param length receives the number of bytes.
///
/// Returns: NULL beyond the last, or if `length` is NULL; valid until the response is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_response_header_value(
    response: Option<&bb_response>,
    index: usize,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    match (response.and_then(|response| response.inner.headers.get(index)), length) {
        (Some((_, value)), Some(length)) => {
            length.write(value.len());
            start(value)
        }
        _ => ptr::null(),
    }
}

/// Reads the next bytes of the body. Blocks until there are some. A body that broke off is an error on every call, and never an end.
///
/// @param response borrowed for the call.
/// @param buffer receives the bytes.
/// @param size the room in the buffer, at least 1.
/// @param cancel NULL, or a handle that ends the call; borrowed for the call. The response is then closed.
/// @param length receives how many bytes there are; 0 at the end of the body.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_response_read(
    response: Option<&bb_response>,
    buffer: *mut u8,
    size: usize,
    cancel: Option<&bb_cancel>,
    length: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (response, length) = (given("response", response)?, given("length", length)?);
        // SAFETY: by the rules of the header, there is as much room as the size says, and it is the call's alone.
        let room = unsafe { room("buffer", buffer, size) }?;
        length.write(response.read(room, cancel)?);
        Ok(())
    })
}

/// Gives up the rest of the body, and that of the request if it is being written (`bb_upload_write` takes no more); their stream or
/// connection is freed. A read that waits, and each later one that needs more, fails with `BB_CLOSED`.
///
/// @param response NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn bb_response_close(response: Option<&bb_response>) {
    quiet(|| {
        if let Some(response) = response {
            response.inner.close();
        }
    });
}

/// Closes and frees a response. Do not free it while another thread uses it.
///
/// @param response NULL, or the response; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_response_free(response: Option<Box<bb_response>>) {
    quiet(|| drop(response));
}
