//! Errors, and the codes that languages generate theirs from.

use std::collections::HashMap;
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use blindbox_facade::{self as facade, Error};

use crate::pointer::c_text;

/// Why a call failed. Its texts live as long as it does. Functions may be called from every thread.
pub struct bb_error {
    number: u32,
    retryable: bool,
    request_sent: bool,
    code: CString,
    category: CString,
    name: CString,
    message: CString,
    appraisal: Option<CString>,
}

impl From<Error> for bb_error {
    fn from(error: Error) -> Self {
        let name = names().get(error.code).copied().unwrap_or_default();
        Self {
            number: error.number.into(),
            retryable: error.retryable,
            request_sent: error.request_sent,
            code: c_text(error.code),
            category: c_text(error.category),
            name: c_text(name),
            message: c_text(&error.message),
            appraisal: error.appraisal.as_deref().map(c_text),
        }
    }
}

/// The names of exception types by their codes.
fn names() -> &'static HashMap<&'static str, &'static str> {
    static NAMES: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    NAMES.get_or_init(|| facade::codes().into_iter().map(|code| (code.code, code.name)).collect())
}

/// Returns the frozen number, such as 101; it is also the result of the function that failed.
///
/// @param error NULL gives 0.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_number(error: Option<&bb_error>) -> u32 {
    error.map_or(0, |error| error.number)
}

/// Returns whether the same call may succeed later without any change of settings or deployment. It does not say that a request may be
/// repeated: that depends on `bb_error_request_sent`.
///
/// @param error NULL gives false.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_retryable(error: Option<&bb_error>) -> bool {
    error.is_some_and(|error| error.retryable)
}

/// Returns whether the peer may have received the request that failed. If so, repeat it only if processing it twice does no harm.
///
/// @param error NULL gives false.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_request_sent(error: Option<&bb_error>) -> bool {
    error.is_some_and(|error| error.request_sent)
}

fn text(error: Option<&bb_error>, of: impl FnOnce(&bb_error) -> &CString) -> *const c_char {
    error.map_or(c"".as_ptr(), |error| of(error).as_ptr())
}

/// Returns the frozen code, such as `debug-mode`.
///
/// @param error NULL gives an empty text.
///
/// Returns: never NULL; valid until the error is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_code(error: Option<&bb_error>) -> *const c_char {
    text(error, |error| &error.code)
}

/// Returns the category: `rejected`, `untrusted`, `unavailable`, `misconfigured` or `internal`.
///
/// @param error NULL gives an empty text.
///
/// Returns: never NULL; valid until the error is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_category(error: Option<&bb_error>) -> *const c_char {
    text(error, |error| &error.category)
}

/// Returns the name of the error type in other languages, such as `DebugMode`.
///
/// @param error NULL gives an empty text.
///
/// Returns: never NULL; valid until the error is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_name(error: Option<&bb_error>) -> *const c_char {
    text(error, |error| &error.name)
}

/// Returns the reason, for people. It holds nothing that identifies a machine.
///
/// @param error NULL gives an empty text.
///
/// Returns: never NULL; valid until the error is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_message(error: Option<&bb_error>) -> *const c_char {
    text(error, |error| &error.message)
}

/// Returns every check as a JSON array, if the evidence was genuine and was appraised: objects with `name`, `verdict`, `expected`,
/// `actual` and `why`. It holds values that identify a machine: do not log it.
///
/// @param error NULL gives NULL.
///
/// Returns: NULL without an appraisal; valid until the error is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_appraisal(error: Option<&bb_error>) -> *const c_char {
    error.and_then(|error| error.appraisal.as_ref()).map_or(ptr::null(), |appraisal| appraisal.as_ptr())
}

/// Frees an error.
///
/// @param error NULL, or the error; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_error_free(error: Option<Box<bb_error>>) {
    drop(error);
}

/// The frozen facts about one kind of error.
#[repr(C)]
pub struct bb_code {
    /// The number, such as 101.
    pub number: u32,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// The code, such as `debug-mode`.
    pub code: *const c_char,
    /// The category, such as `rejected`.
    pub category: *const c_char,
    /// The name of the error type in other languages, such as `DebugMode`.
    pub name: *const c_char,
}

// SAFETY: the pointers lead to texts that are never changed and never freed.
unsafe impl Send for bb_code {}
// SAFETY: as for `Send`.
unsafe impl Sync for bb_code {}

/// Returns all codes in the order of their numbers.
///
/// @param count receives how many there are.
///
/// Returns: an array of `count` elements, never freed; NULL if `count` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn bb_codes(count: Option<&mut MaybeUninit<usize>>) -> *const bb_code {
    static CODES: OnceLock<Vec<bb_code>> = OnceLock::new();
    let kept = |text: &str| -> *const c_char { c_text(text).into_raw() };
    let codes = CODES.get_or_init(|| {
        let codes = facade::codes().into_iter();
        let codes = codes.map(|code| bb_code {
            number: code.number.into(),
            retryable: code.retryable,
            code: kept(code.code),
            category: kept(code.category),
            name: kept(code.name),
        });
        codes.collect()
    });
    count.map_or(ptr::null(), |count| {
        count.write(codes.len());
        codes.as_ptr()
    })
}
