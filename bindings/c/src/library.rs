//! The library itself.

use std::ffi::{CStr, c_char};

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// Returns the version of the library, which never changes in a process. A program that loads the shared library compares it with
/// `BB_VERSION`, the version of the header that it was compiled with, and does not go on if they differ.
///
/// Returns: never NULL; not freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Notes that this process is a fork of another. Optional: objects also compare process ids, which repeat in a long chain of forks.
/// Call it in the child, for example by `pthread_atfork`; it takes no lock.
#[unsafe(no_mangle)]
pub extern "C" fn bb_note_fork() {
    blindbox_facade::note_fork();
}
