//! Evidence that was collected and not verified.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::ptr;

use blindbox_facade as facade;

use crate::call::{call, quiet};
use crate::error::bb_error;
use crate::pointer::{c_text, given, owned_text, start};
use crate::policy::bb_policy;

/// Evidence as received: nothing of it is verified, and nothing leads from it to a session. Threads may share it.
pub struct bb_collected {
    inner: facade::Collected,
    documents: Vec<Document>,
}

struct Document {
    name: CString,
    bytes: Vec<u8>,
}

impl bb_collected {
    pub(crate) fn new(inner: facade::Collected) -> Self {
        let documents = inner.documents().into_iter();
        let documents = documents.map(|(name, bytes)| Document { name: c_text(name), bytes }).collect();
        Self { inner, documents }
    }
}

/// Returns how many documents there are: evidence, then what vouches for it.
///
/// @param collected NULL gives 0.
#[unsafe(no_mangle)]
pub extern "C" fn bb_collected_count(collected: Option<&bb_collected>) -> usize {
    collected.map_or(0, |collected| collected.documents.len())
}

/// Returns the name of a document: that of the file which `blindbox-attest fetch` saves, such as `token.jwt`.
///
/// @param collected NULL gives NULL.
/// @param index counts from 0.
///
/// Returns: NULL beyond the last; valid until the evidence is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_collected_name(collected: Option<&bb_collected>, index: usize) -> *const c_char {
    let document = collected.and_then(|collected| collected.documents.get(index));
    document.map_or(ptr::null(), |document| document.name.as_ptr())
}

/// Returns the bytes of a document.
///
/// @param collected NULL gives NULL.
/// @param index counts from 0.
/// @param length receives their number.
///
/// Returns: NULL beyond the last, or if `length` is NULL; valid until the evidence is freed.
#[unsafe(no_mangle)]
pub extern "C" fn bb_collected_bytes(
    collected: Option<&bb_collected>,
    index: usize,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const u8 {
    let document = collected.and_then(|collected| collected.documents.get(index));
    match (document, length) {
        (Some(document), Some(length)) => {
            length.write(document.bytes.len());
            start(&document.bytes)
        }
        _ => ptr::null(),
    }
}

/// Gives how and when the peer was asked, as a JSON object with `asked_at`, `received_at`, `nonce`, `channel`, `tls_key` and `missing`.
///
/// @param collected borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_collected_about(
    collected: Option<&bb_collected>,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (collected, json) = (given("collected", collected)?, given("json", json)?);
        json.write(owned_text(&collected.inner.about_json()));
        Ok(())
    })
}

/// Appraises the evidence as a record: as of the time at which it was received, for the nonce of the request and the TLS key of its
/// connection. Gives claims and checks as JSON.
///
/// @param collected borrowed for the call.
/// @param policy borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_collected_verify(
    collected: Option<&bb_collected>,
    policy: Option<&bb_policy>,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (collected, policy) = (given("collected", collected)?, given("policy", policy)?);
        given("json", json)?.write(owned_text(&collected.inner.verify(&policy.0)?));
        Ok(())
    })
}

/// Frees collected evidence.
///
/// @param collected NULL, or the evidence; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_collected_free(collected: Option<Box<bb_collected>>) {
    quiet(|| drop(collected));
}
