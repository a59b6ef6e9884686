//! Recorded evidence and inspection: no network, no clock.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::slice;

use blindbox_facade::{self as facade, Error, Recorded};

use crate::call::call;
use crate::error::bb_error;
use crate::pointer::{bytes, given, optional_bytes, optional_text, owned_text, text};
use crate::policy::bb_policy;

/// A file of recorded evidence, borrowed for a call.
#[repr(C)]
pub struct bb_document {
    /// The name that `blindbox-attest fetch` gives it, such as `token.jwt`.
    pub name: *const c_char,
    /// Its bytes, in any form that the command reads.
    pub data: *const u8,
    /// Their number.
    pub length: usize,
}

/// Recorded evidence, and what the caller knows from elsewhere. All pointers are borrowed for a call; what is not there is NULL.
#[repr(C)]
pub struct bb_recorded {
    /// Evidence and endorsements: an array of at most 64. Names that `blindbox-attest fetch` does not write are refused. `key-set.json`
    /// among them proves nothing: it is used only if `key_set` is NULL, and refused unless the policy pins the key.
    pub documents: *const bb_document,
    /// How many documents there are.
    pub document_count: usize,
    /// The key set of the MAA instance, whose origin the caller knows.
    pub key_set: *const u8,
    /// The number of its bytes.
    pub key_set_length: usize,
    /// Roots that replace AMD's, in PEM.
    pub amd_roots: *const c_char,
    /// The root that replaces Azure's root of virtual TPMs, in PEM.
    pub ak_root: *const c_char,
}

/// The most documents that are read.
const MAX_DOCUMENTS: usize = 64;

/// Copies what a call is about.
///
/// # Safety
///
/// Every pointer in it is NULL or leads to what its documentation says, for as long as the call takes.
unsafe fn copied(recorded: Option<&bb_recorded>) -> Result<Recorded, Error> {
    let recorded = given("recorded", recorded)?;
    // SAFETY: the caller's promise is that of this function; so for each field below.
    let documents = unsafe { documents(recorded.documents, recorded.document_count) }?;
    // SAFETY: as for the documents.
    let key_set = unsafe { optional_bytes("key_set", recorded.key_set, recorded.key_set_length) }?;
    // SAFETY: as for the documents.
    let amd_roots = unsafe { optional_text("amd_roots", recorded.amd_roots) }?;
    // SAFETY: as for the documents.
    let ak_root = unsafe { optional_text("ak_root", recorded.ak_root) }?;
    Ok(Recorded {
        documents,
        key_set: key_set.map(<[u8]>::to_vec),
        amd_roots: amd_roots.map(str::to_owned),
        ak_root: ak_root.map(str::to_owned),
    })
}

/// Copies an array of documents.
///
/// # Safety
///
/// `pointer` is NULL or leads to `count` elements, whose pointers are NULL or lead to what their documentation says.
unsafe fn documents(pointer: *const bb_document, count: usize) -> Result<Vec<(String, Vec<u8>)>, Error> {
    if count > MAX_DOCUMENTS {
        return Err(Error::argument(format!("documents: expected at most {MAX_DOCUMENTS}, found {count}")));
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    if pointer.is_null() {
        return Err(Error::argument(format!("documents: expected a pointer to {count}, found NULL")));
    }
    // SAFETY: it is not NULL, the count is small, and the caller promises as many elements.
    let elements = unsafe { slice::from_raw_parts(pointer, count) };
    let mut copied = Vec::new();
    for element in elements {
        // SAFETY: the caller's promise is that of this function.
        let name = unsafe { text("documents: name", element.name) }?;
        // SAFETY: as for the name.
        let content = unsafe { bytes(name, element.data, element.length) }?;
        copied.push((name.to_owned(), content.to_vec()));
    }
    Ok(copied)
}

/// Verifies recorded evidence and appraises it against a policy, for a time. Gives claims and checks as JSON. The result proves neither
/// freshness nor whose connection it was.
///
/// @param recorded borrowed for the call.
/// @param policy borrowed for the call.
/// @param at the time, in seconds since 1970-01-01 UTC.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_verify_recorded(
    recorded: Option<&bb_recorded>,
    policy: Option<&bb_policy>,
    at: u64,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (policy, json) = (given("policy", policy)?, given("json", json)?);
        // SAFETY: by the rules of the header, what the pointers lead to is there for the call.
        let recorded = unsafe { copied(recorded) }?;
        json.write(owned_text(&facade::verify_recorded(&recorded, &policy.0, at)?));
        Ok(())
    })
}

/// Verifies evidence without appraising it: its content is genuine, and nothing says that it is acceptable. Gives claims as JSON.
///
/// @param recorded borrowed for the call.
/// @param maa_issuer NULL, or the MAA instance of the token, such as `https://sharedneu.neu.attest.azure.net`; borrowed for the call.
/// @param at the time, in seconds since 1970-01-01 UTC.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_verify_unappraised(
    recorded: Option<&bb_recorded>,
    maa_issuer: *const c_char,
    at: u64,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let json = given("json", json)?;
        // SAFETY: by the rules of the header, what the pointers lead to is there for the call.
        let recorded = unsafe { copied(recorded) }?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let maa_issuer = unsafe { optional_text("maa_issuer", maa_issuer) }?;
        json.write(owned_text(&facade::verify_unappraised(&recorded, maa_issuer, at)?));
        Ok(())
    })
}

/// Gives what the bytes of a file are, for display: a JSON array of objects with `kind`, `verified`, `why` and the contents. Nothing of
/// it is verified unless it says so.
///
/// @param data borrowed for the call.
/// @param length the number of bytes.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_inspect(
    data: *const u8,
    length: usize,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let json = given("json", json)?;
        // SAFETY: by the rules of the header, there are as many bytes as the length says, borrowed for the call.
        let data = unsafe { bytes("data", data, length) }?;
        json.write(owned_text(&facade::inspect(data)?));
        Ok(())
    })
}
