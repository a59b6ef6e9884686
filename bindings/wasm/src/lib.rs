//! Sealed messages to an attested BlindBox, and verification of recorded evidence, for WebAssembly: for browsers, Node, and hosts without
//! JavaScript.
//!
//! The module imports nothing. Its exports take and return the addresses of buffers in its memory:
//!
//! | export | what it does |
//! |---|---|
//! | `bb_allocate(length)` | returns a buffer of zeros, or 0 where `length` is too large |
//! | `bb_length(buffer)` | returns the length of a buffer |
//! | `bb_free(buffer)` | frees a buffer |
//! | `bb_about`, `bb_verify_recorded`, `bb_verify_unappraised`, `bb_inspect`, `bb_policy`, `bb_host_data`, `bb_cce_policy` | each takes a buffer with a JSON object of arguments, frees it, and returns a buffer with JSON: [`blindbox_facade::call`] lists them |
//! | `bb_message` | takes and returns buffers in the same way, with JSON and bytes: a step of [`blindbox_facade::MessageHost`]; an instance has one client |
//!
//! An address that is not one of a buffer is 0 bytes long, and no function reads or writes there. A trap means that nothing was
//! verified: the host drops the instance and makes another.

use std::cell::RefCell;
use std::collections::BTreeMap;

use blindbox_facade::{MAX_CALL_BYTES, MessageHost};

thread_local! {
    /// The buffers of the host, by their addresses.
    static BUFFERS: RefCell<BTreeMap<usize, Box<[u8]>>> = const { RefCell::new(BTreeMap::new()) };
    /// The client of this instance.
    static MESSAGES: RefCell<MessageHost> = RefCell::default();
}

/// The most buffers at a time. A host needs one.
const MAX_BUFFERS: usize = 8;

/// Gives a buffer to the host and returns its address, or 0 where there are too many.
fn give(mut buffer: Box<[u8]>) -> usize {
    // The host reads and writes here: the address is that of memory which others change.
    let address = buffer.as_mut_ptr().expose_provenance();
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() >= MAX_BUFFERS || buffer.is_empty() {
            return 0;
        }
        buffers.insert(address, buffer);
        address
    })
}

fn take(buffer: usize) -> Box<[u8]> {
    BUFFERS.with_borrow_mut(|buffers| buffers.remove(&buffer)).unwrap_or_default()
}

fn call(function: &str, arguments: usize) -> usize {
    give(blindbox_facade::call(function, &take(arguments)).into_bytes().into_boxed_slice())
}

fn message(argument: usize) -> usize {
    let argument = take(argument);
    give(MESSAGES.with_borrow_mut(|host| host.call(argument)).into_boxed_slice())
}

/// What the host calls, by the names that the module exports. They are safe functions: numbers go in and out, and no pointer is
/// followed.
#[allow(unsafe_code, reason = "the name of an export is a promise to the linker")]
mod exports {
    use super::{BUFFERS, MAX_CALL_BYTES, call, give, message};

    #[unsafe(no_mangle)]
    extern "C" fn bb_allocate(length: usize) -> usize {
        if length > MAX_CALL_BYTES { 0 } else { give(vec![0; length].into_boxed_slice()) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_length(buffer: usize) -> usize {
        BUFFERS.with_borrow(|buffers| buffers.get(&buffer).map_or(0, |buffer| buffer.len()))
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_free(buffer: usize) {
        BUFFERS.with_borrow_mut(|buffers| drop(buffers.remove(&buffer)));
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_about(arguments: usize) -> usize {
        call("about", arguments)
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_verify_recorded(arguments: usize) -> usize {
        call("verify_recorded", arguments)
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_verify_unappraised(arguments: usize) -> usize {
        call("verify_unappraised", arguments)
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_inspect(arguments: usize) -> usize {
        call("inspect", arguments)
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_message(argument: usize) -> usize {
        message(argument)
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_policy(arguments: usize) -> usize {
        call("policy", arguments)
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_host_data(arguments: usize) -> usize {
        call("host_data", arguments)
    }

    #[unsafe(no_mangle)]
    extern "C" fn bb_cce_policy(arguments: usize) -> usize {
        call("cce_policy", arguments)
    }
}
