//! Texts of the library.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

use blindbox_facade::Error;

use crate::call::call;
use crate::error::bb_error;
use crate::pointer::{given, owned_text, text};

/// Gives a text as a JSON string, with its quotes: for the value of a setting, such as certificates in PEM.
///
/// @param plain borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_json_string(
    plain: *const c_char,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let json = given("json", json)?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let plain = unsafe { text("plain", plain) }?;
        json.write(owned_text(&serde_json::to_string(plain).map_err(Error::internal)?));
        Ok(())
    })
}

/// Frees a text that a function of this library returned for the caller to free.
///
/// @param text NULL, or the text; it must not be used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_string_free(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: it is not NULL, and the caller promises that it came from this library, which makes texts with `into_raw`.
        drop(unsafe { CString::from_raw(text) });
    }
}
