//! Policies and host data.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::ptr;

use blindbox_facade::{self as facade, Error};

use crate::call::{call, quiet};
use crate::error::bb_error;
use crate::pointer::{given, owned_text, text};

/// A policy: what must be proven. Threads may share it.
pub struct bb_policy(pub(crate) facade::Policy);

/// Parses a policy file: JSON if it begins with a brace, otherwise TOML.
///
/// @param text the content of the file; borrowed for the call.
/// @param policy receives the policy; free it with `bb_policy_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_policy_parse(
    text: *const c_char,
    policy: Option<&mut MaybeUninit<*mut bb_policy>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let policy = given("policy", policy)?;
        // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
        let text = unsafe { self::text("text", text) }?;
        policy.write(Box::into_raw(Box::new(bb_policy(facade::Policy::parse(text)?))));
        Ok(())
    })
}

/// Gives a property of a policy as a text.
fn property(
    policy: Option<&bb_policy>,
    result: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
    of: impl FnOnce(&facade::Policy) -> String,
) -> u32 {
    call(error, || {
        let (policy, result) = (given("policy", policy)?, given("result", result)?);
        result.write(owned_text(&of(&policy.0)));
        Ok(())
    })
}

/// Gives the policy as TOML.
///
/// @param policy borrowed for the call.
/// @param toml receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_policy_to_toml(
    policy: Option<&bb_policy>,
    toml: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    property(policy, toml, error, facade::Policy::to_toml)
}

/// Gives the policy as JSON.
///
/// @param policy borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_policy_to_json(
    policy: Option<&bb_policy>,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    property(policy, json, error, facade::Policy::to_json)
}

/// Gives the SHA-256 of the policy in hexadecimal. Two policies have the same one exactly if they require the same.
///
/// @param policy borrowed for the call.
/// @param digest receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_policy_digest(
    policy: Option<&bb_policy>,
    digest: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    property(policy, digest, error, facade::Policy::digest)
}

/// Gives what the policy does not restrict, the most severe first, as a JSON array of objects with `code` and `message`.
///
/// @param policy borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_policy_lint(
    policy: Option<&bb_policy>,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    property(policy, json, error, facade::Policy::lint_json)
}

/// Gives the trusted MAA instance.
///
/// @param policy borrowed for the call.
/// @param url receives a text, which is freed with `bb_string_free`; NULL under AMD trust alone.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_policy_maa_issuer(
    policy: Option<&bb_policy>,
    url: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (policy, url) = (given("policy", policy)?, given("url", url)?);
        url.write(policy.0.maa_issuer().map_or(ptr::null_mut(), |issuer| owned_text(&issuer)));
        Ok(())
    })
}

/// Frees a policy. Sessions that were opened with it go on.
///
/// @param policy NULL, or the policy; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_policy_free(policy: Option<Box<bb_policy>>) {
    quiet(|| drop(policy));
}

fn described(
    text: Result<&str, Error>,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    by: impl FnOnce(&str) -> Result<String, Error>,
) -> Result<(), Error> {
    given("json", json)?.write(owned_text(&by(text?)?));
    Ok(())
}

/// Parses host data, 64 hexadecimal digits, and gives a JSON object with `host_data` and `known_allow_all`: whether it is the digest of
/// a published CCE policy that allows everything.
///
/// @param hex borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_host_data(
    hex: *const c_char,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
    call(error, || described(unsafe { text("hex", hex) }, json, facade::host_data))
}

/// Reads a CCE policy in base64, as it is deployed, and gives a JSON object with `host_data`, `known_allow_all` and `findings`: what it
/// allows that it should not.
///
/// @param base64 borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn bb_cce_policy(
    base64: *const c_char,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    // SAFETY: by the rules of the header, a text is NULL or ends with a zero, and is borrowed for the call.
    call(error, || described(unsafe { text("base64", base64) }, json, facade::cce_policy))
}
