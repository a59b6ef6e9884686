//! Recorded evidence and inspection: no network, no clock.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::slice;

use blindbox_facade::{self as facade, EndorsementInput, Error, EvidenceInput};

use crate::call::call;
use crate::error::bb_error;
use crate::pointer::{bytes, given, optional_bytes, optional_text, owned_text};
use crate::policy::bb_policy;

/// Bytes of the caller, borrowed for a call.
#[repr(C)]
pub struct bb_bytes {
    /// NULL if there are none.
    pub data: *const u8,
    /// Their number.
    pub length: usize,
}

/// Evidence as files, each in any form that the command `blindbox-attest` reads. What is not there is NULL.
#[repr(C)]
pub struct bb_evidence {
    /// The MAA token.
    pub token: bb_bytes,
    /// The hardware report.
    pub report: bb_bytes,
    /// The utility VM's endorsement.
    pub uvm_endorsement: bb_bytes,
    /// The runtime data, as they are.
    pub runtime_data: bb_bytes,
}

/// What vouches for evidence, as files. What is not there is NULL.
#[repr(C)]
pub struct bb_endorsements {
    /// The key set of the MAA instance, whose origin the caller knows.
    pub key_set: bb_bytes,
    /// Not 0 if the key set was stored with the evidence: then it proves nothing, and is refused unless the policy pins the key.
    pub key_set_beside_evidence: u8,
    /// The certificates of the report's key.
    pub certificates: bb_bytes,
    /// AMD's CRLs: an array.
    pub revocation_lists: *const bb_bytes,
    /// How many CRLs there are.
    pub revocation_list_count: usize,
    /// Roots that replace AMD's, in PEM.
    pub amd_roots: *const c_char,
}

/// The content of a field.
///
/// # Safety
///
/// As [`optional_bytes`].
unsafe fn field(name: &str, field: &bb_bytes) -> Result<Option<Vec<u8>>, Error> {
    // SAFETY: the caller's promise is that of this function.
    Ok(unsafe { optional_bytes(name, field.data, field.length) }?.map(<[u8]>::to_vec))
}

/// Copies what a call is about.
///
/// # Safety
///
/// Every pointer in both is NULL or leads to what its documentation says, for as long as the call takes.
unsafe fn copied(
    evidence: Option<&bb_evidence>,
    endorsements: Option<&bb_endorsements>,
) -> Result<(EvidenceInput, EndorsementInput), Error> {
    let evidence = given("evidence", evidence)?;
    // SAFETY: the caller's promise is that of this function; so for each field below.
    let token = unsafe { field("token", &evidence.token) }?;
    // SAFETY: as for the token.
    let report = unsafe { field("report", &evidence.report) }?;
    // SAFETY: as for the token.
    let uvm_endorsement = unsafe { field("uvm_endorsement", &evidence.uvm_endorsement) }?;
    // SAFETY: as for the token.
    let runtime_data = unsafe { field("runtime_data", &evidence.runtime_data) }?;
    let evidence = EvidenceInput { token, report, uvm_endorsement, runtime_data };
    let Some(given) = endorsements else { return Ok((evidence, EndorsementInput::default())) };
    // SAFETY: as for the token.
    let key_set = unsafe { field("key_set", &given.key_set) }?;
    // SAFETY: as for the token.
    let certificates = unsafe { field("certificates", &given.certificates) }?;
    // SAFETY: as for the token.
    let revocation_lists = unsafe { lists(given.revocation_lists, given.revocation_list_count) }?;
    // SAFETY: as for the token.
    let amd_roots = unsafe { optional_text("amd_roots", given.amd_roots) }?.map(str::to_owned);
    // A byte, since C may put any value into a `bool`.
    let key_set_beside_evidence = given.key_set_beside_evidence != 0;
    let endorsements = EndorsementInput { key_set, key_set_beside_evidence, certificates, revocation_lists, amd_roots };
    Ok((evidence, endorsements))
}

/// The most CRLs that are read. Each kind of key of each product has one.
const MAX_LISTS: usize = 64;

/// Copies an array of files.
///
/// # Safety
///
/// `pointer` is NULL or leads to `count` elements, each as for [`field`].
unsafe fn lists(pointer: *const bb_bytes, count: usize) -> Result<Vec<Vec<u8>>, Error> {
    if count > MAX_LISTS {
        return Err(Error::argument(format!("revocation_lists: expected at most {MAX_LISTS}, found {count}")));
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    if pointer.is_null() {
        return Err(Error::argument(format!("revocation_lists: expected a pointer to {count}, found NULL")));
    }
    // SAFETY: it is not NULL, the count is small, and the caller promises as many elements.
    let given_lists = unsafe { slice::from_raw_parts(pointer, count) };
    let mut copied = Vec::new();
    for element in given_lists {
        // SAFETY: the caller's promise is that of this function.
        let list = unsafe { field("revocation_lists", element) }?;
        copied.push(given("revocation_lists", list)?);
    }
    Ok(copied)
}

/// Verifies recorded evidence and appraises it against a policy, for a time. Gives claims and checks as JSON. The result proves neither
/// freshness nor whose connection it was.
///
/// @param evidence borrowed for the call.
/// @param endorsements NULL for none; borrowed for the call.
/// @param policy borrowed for the call.
/// @param at the time, in seconds since 1970-01-01 UTC.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_verify_recorded(
    evidence: Option<&bb_evidence>,
    endorsements: Option<&bb_endorsements>,
    policy: Option<&bb_policy>,
    at: u64,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (policy, json) = (given("policy", policy)?, given("json", json)?);
        // SAFETY: by the rules of the header, what the pointers lead to is there for the call.
        let (evidence, endorsements) = unsafe { copied(evidence, endorsements) }?;
        json.write(owned_text(&facade::verify_recorded(&evidence, &endorsements, &policy.0, at)?));
        Ok(())
    })
}

/// Verifies evidence without appraising it: its content is genuine, and nothing says that it is acceptable. Gives claims as JSON.
///
/// @param evidence borrowed for the call.
/// @param endorsements NULL for none; borrowed for the call.
/// @param attester NULL, or the MAA instance of the token, such as `https://sharedneu.neu.attest.azure.net`; borrowed for the call.
/// @param at the time, in seconds since 1970-01-01 UTC.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_verify_unappraised(
    evidence: Option<&bb_evidence>,
    endorsements: Option<&bb_endorsements>,
    attester: *const c_char,
    at: u64,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let json = given("json", json)?;
        // SAFETY: by the rules of the header, what the pointers lead to is there for the call.
        let (evidence, endorsements) = unsafe { copied(evidence, endorsements) }?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let attester = unsafe { optional_text("attester", attester) }?;
        json.write(owned_text(&facade::verify_unappraised(&evidence, &endorsements, attester, at)?));
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
