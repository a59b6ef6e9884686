//! Events of the core, pulled.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use blindbox_facade::{Error, log};

use crate::call::call;
use crate::error::bb_error;
use crate::pointer::{given, owned_text, text};

/// Sets which events are kept for `bb_log_next`: `off` (the default), `error`, `warn`, `info`, `debug` or `trace`. At most 1024 wait;
/// earlier ones are dropped, and counted.
///
/// @param level borrowed for the call.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_log_level(level: *const c_char, error: Option<&mut MaybeUninit<*mut bb_error>>) -> u32 {
    // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
    call(error, || log::set_level(unsafe { text("level", level) }?))
}

/// Gives the next event as a JSON object with `level`, `message`, `fields` (JSON in a text) and `dropped`. The library never calls back:
/// pull on a thread of your own.
///
/// @param milliseconds how long to wait for one.
/// @param json receives a text, which is freed with `bb_string_free`; NULL if none came.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_log_next(
    milliseconds: u64,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let json = given("json", json)?;
        let event = match log::next(Duration::from_millis(milliseconds))? {
            Some(event) => owned_text(&serde_json::to_string(&event).map_err(Error::internal)?),
            None => ptr::null_mut(),
        };
        json.write(event);
        Ok(())
    })
}
