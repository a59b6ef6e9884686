//! Verifiers.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use blindbox_facade as facade;

use crate::call::{self, call, quiet};
use crate::cancel::bb_cancel;
use crate::collected::bb_collected;
use crate::error::bb_error;
use crate::pointer::{given, optional_text, text};
use crate::policy::bb_policy;
use crate::session::bb_session;

/// Opens sessions. One serves a whole process, and threads may share it: its sessions share key sets, certificates and attestations
/// under way.
pub struct bb_verifier(facade::Verifier);

/// Creates a verifier.
///
/// @param settings NULL for the defaults, or a JSON object; `bindings/README.md` lists its members. Unknown ones are refused. Borrowed
/// for the call.
/// @param verifier receives the verifier; free it with `bb_verifier_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_verifier_new(
    settings: *const c_char,
    verifier: Option<&mut MaybeUninit<*mut bb_verifier>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let verifier = given("verifier", verifier)?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let settings = unsafe { optional_text("settings", settings) }?;
        let made = facade::Verifier::new(settings.unwrap_or_default())?;
        verifier.write(Box::into_raw(Box::new(bb_verifier(made))));
        Ok(())
    })
}

/// Attests the peer behind a URL and opens a session with it. Blocks. Nothing but the attestation request is sent before the peer is
/// attested.
///
/// @param verifier borrowed for the call.
/// @param url such as `https://my-app.example`; borrowed for the call.
/// @param policy borrowed for the call.
/// @param cancel NULL, or a handle that ends the call; borrowed for the call.
/// @param session receives the session; free it with `bb_session_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_connect(
    verifier: Option<&bb_verifier>,
    url: *const c_char,
    policy: Option<&bb_policy>,
    cancel: Option<&bb_cancel>,
    session: Option<&mut MaybeUninit<*mut bb_session>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (verifier, policy) = (given("verifier", verifier)?, given("policy", policy)?);
        let session = given("session", session)?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let url = unsafe { text("url", url) }?;
        let connected = call::wait(cancel, verifier.0.connect(url, &policy.0))?;
        session.write(Box::into_raw(Box::new(bb_session(connected))));
        Ok(())
    })
}

/// Collects the evidence of the peer behind a URL without verifying it. Blocks. Nothing but the attestation request is sent.
///
/// @param verifier borrowed for the call.
/// @param url such as `https://my-app.example`; borrowed for the call.
/// @param policy borrowed for the call.
/// @param cancel NULL, or a handle that ends the call; borrowed for the call.
/// @param collected receives the evidence; free it with `bb_collected_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_collect(
    verifier: Option<&bb_verifier>,
    url: *const c_char,
    policy: Option<&bb_policy>,
    cancel: Option<&bb_cancel>,
    collected: Option<&mut MaybeUninit<*mut bb_collected>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (verifier, policy) = (given("verifier", verifier)?, given("policy", policy)?);
        let collected = given("collected", collected)?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let url = unsafe { text("url", url) }?;
        let evidence = call::wait(cancel, verifier.0.collect(url, &policy.0))?;
        collected.write(Box::into_raw(Box::new(bb_collected::new(evidence))));
        Ok(())
    })
}

/// Frees a verifier. Its sessions go on.
///
/// @param verifier NULL, or the verifier; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_verifier_free(verifier: Option<Box<bb_verifier>>) {
    quiet(|| drop(verifier));
}
