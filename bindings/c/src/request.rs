//! Requests, and bodies that are written while they are sent.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

use blindbox_facade::{self as facade, Error};
use bytes::Bytes;

use crate::call::{self, call, quiet};
use crate::cancel::bb_cancel;
use crate::error::bb_error;
use crate::pointer::{bytes, given, optional_text, text};

/// The length of a body that is not known before it ends.
pub const BB_LENGTH_UNKNOWN: u64 = u64::MAX;

/// A request. One thread at a time may use it. It may be sent several times, unless it has an upload.
pub struct bb_request(pub(crate) facade::Request);

/// A request body that the caller writes while it is sent, in bounded memory. One thread writes; others may fail or finish it.
pub struct bb_upload(facade::Upload);

/// Creates a request.
///
/// @param method such as `POST`; borrowed for the call.
/// @param target begins with a slash, or is a URL on the session's origin; other origins are refused when it is sent. Borrowed for the
/// call.
/// @param request receives the request; free it with `bb_request_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_request_new(
    method: *const c_char,
    target: *const c_char,
    request: Option<&mut MaybeUninit<*mut bb_request>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let request = given("request", request)?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let method = unsafe { text("method", method) }?.to_owned();
        // SAFETY: as for the method.
        let target = unsafe { text("target", target) }?.to_owned();
        let made = facade::Request { method, target, ..facade::Request::default() };
        request.write(Box::into_raw(Box::new(bb_request(made))));
        Ok(())
    })
}

/// Adds a header. It is checked when the request is sent.
///
/// @param request changed by the call.
/// @param name borrowed for the call.
/// @param value any bytes that HTTP allows; borrowed for the call.
/// @param length the number of bytes of the value.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_request_header(
    request: Option<&mut bb_request>,
    name: *const c_char,
    value: *const u8,
    length: usize,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let request = given("request", request)?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let name = unsafe { text("name", name) }?;
        // SAFETY: by the rules of the header, there are as many bytes as the length says, borrowed for the call.
        let value = unsafe { bytes("value", value, length) }?;
        request.0.headers.push((name.to_owned(), value.to_vec()));
        Ok(())
    })
}

/// Sets the body, in place of an earlier one.
///
/// @param request changed by the call.
/// @param body copied.
/// @param length the number of bytes.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_request_body(
    request: Option<&mut bb_request>,
    body: *const u8,
    length: usize,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let request = given("request", request)?;
        // SAFETY: by the rules of the header, there are as many bytes as the length says, borrowed for the call.
        let body = unsafe { bytes("body", body, length) }?;
        request.0.body = Some(body.to_vec().into());
        Ok(())
    })
}

/// Sets an upload as the body, in place of an earlier one. Such a request is sent once.
///
/// @param request changed by the call.
/// @param upload borrowed for the call; the caller keeps it to write to it.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_request_upload(
    request: Option<&mut bb_request>,
    upload: Option<&bb_upload>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (request, upload) = (given("request", request)?, given("upload", upload)?);
        request.0.body = Some(upload.0.clone().into());
        Ok(())
    })
}

/// Limits the time to the end of the response body, in place of the verifier's limit.
///
/// @param request changed by the call.
/// @param milliseconds the limit.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_request_timeout(
    request: Option<&mut bb_request>,
    milliseconds: u64,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        given("request", request)?.0.timeout = Some(Duration::from_millis(milliseconds));
        Ok(())
    })
}

/// States that to process the request twice has the same effect as to process it once. It counts in sessions with sealed messages
/// (`own-message-key`): after an error that the front end may have made up, the request is sent again, at most twice; not one with an
/// upload. `GET`, `HEAD` and `OPTIONS` are idempotent without it.
///
/// @param request changed by the call.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_request_idempotent(
    request: Option<&mut bb_request>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        given("request", request)?.0.idempotent = true;
        Ok(())
    })
}

/// Frees a request. One that is being sent goes on.
///
/// @param request NULL, or the request; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_request_free(request: Option<Box<bb_request>>) {
    quiet(|| drop(request));
}

/// Creates an upload. Give it to a request with `bb_request_upload`, start the request with `bb_session_start`, write, finish, and wait
/// for the response with `bb_exchange_wait`.
///
/// @param length the number of bytes, which is sent as Content-Length; or `BB_LENGTH_UNKNOWN`.
/// @param upload receives the upload; free it with `bb_upload_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_upload_new(
    length: u64,
    upload: Option<&mut MaybeUninit<*mut bb_upload>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let length = (length != BB_LENGTH_UNKNOWN).then_some(length);
        given("upload", upload)?.write(Box::into_raw(Box::new(bb_upload(facade::Upload::new(length)))));
        Ok(())
    })
}

/// Writes the next piece of the body. Blocks until the request takes it; at most 256 KiB and one piece are held. Do not write before
/// the request was started: nothing would take the piece.
///
/// @param upload borrowed for the call.
/// @param data copied.
/// @param length the number of bytes.
/// @param cancel NULL, or a handle that ends the call; borrowed for the call. The piece is then in doubt: fail the upload.
/// @param taken receives whether the piece was taken. If not, the request has ended or takes no more: stop writing, and wait for the
/// outcome of the request, which says why.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_upload_write(
    upload: Option<&bb_upload>,
    data: *const u8,
    length: usize,
    cancel: Option<&bb_cancel>,
    taken: Option<&mut MaybeUninit<bool>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (upload, taken) = (given("upload", upload)?, given("taken", taken)?);
        // SAFETY: by the rules of the header, there are as many bytes as the length says, borrowed for the call.
        let data = unsafe { bytes("data", data, length) }?;
        taken.write(call::wait(cancel, upload.0.write(Bytes::copy_from_slice(data)))?);
        Ok(())
    })
}

/// Ends the body: all of it was written.
///
/// @param upload NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn bb_upload_finish(upload: Option<&bb_upload>) {
    quiet(|| {
        if let Some(upload) = upload {
            upload.0.finish();
        }
    });
}

/// Ends the body because its source failed: the request fails with `BB_REQUEST_BODY_FAILED`, and the peer sees that the body is not
/// complete.
///
/// @param upload borrowed for the call.
/// @param reason NULL, or what is reported; borrowed for the call.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_upload_fail(
    upload: Option<&bb_upload>,
    reason: *const c_char,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let upload = given("upload", upload)?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let reason: Result<_, Error> = unsafe { optional_text("reason", reason) };
        // It ends in any case: a body must not look as if it were complete.
        upload.0.fail(reason.as_ref().ok().copied().flatten().unwrap_or("the source of the body failed"));
        reason.map(|_| ())
    })
}

/// Frees an upload. If it was not finished, the body has failed, as by `bb_upload_fail`.
///
/// @param upload NULL, or the upload; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_upload_free(upload: Option<Box<bb_upload>>) {
    quiet(|| {
        // The request has a handle of its own, which it keeps as long as it exists.
        if let Some(upload) = upload {
            upload.0.fail("the source was given up before its end");
        }
    });
}
