//! Sessions, and requests that were started.

use std::ffi::c_char;
use std::mem::MaybeUninit;

use blindbox_facade::{self as facade, Error};

use crate::call::{self, Running, call, quiet};
use crate::cancel::bb_cancel;
use crate::error::bb_error;
use crate::pointer::{given, owned_text};
use crate::request::bb_request;
use crate::response::bb_response;

/// A session with an attested peer. Threads may share it.
pub struct bb_session(pub(crate) facade::Session);

/// A request that was started, and whose response is not there yet. Threads may share it; one at a time waits for it, and a second one
/// is refused.
pub struct bb_exchange(Running<facade::Response>);

/// Sends a request, and blocks until the head of the response is there. Redirects are returned as responses.
///
/// @param session borrowed for the call.
/// @param request borrowed for the call.
/// @param cancel NULL, or a handle that ends the call; borrowed for the call.
/// @param response receives the response; free it with `bb_response_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_session_send(
    session: Option<&bb_session>,
    request: Option<&bb_request>,
    cancel: Option<&bb_cancel>,
    response: Option<&mut MaybeUninit<*mut bb_response>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (session, request) = (given("session", session)?, given("request", request)?);
        let response = given("response", response)?;
        let received = call::wait(cancel, session.0.send(request.0.clone()))?;
        response.write(Box::into_raw(Box::new(bb_response::new(received))));
        Ok(())
    })
}

/// Starts a request and returns at once, so that its body can be written.
///
/// @param session borrowed for the call.
/// @param request borrowed for the call.
/// @param cancel NULL, or a handle that ends the request until its response is there; the exchange keeps what it needs of it.
/// @param exchange receives the exchange; free it with `bb_exchange_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_session_start(
    session: Option<&bb_session>,
    request: Option<&bb_request>,
    cancel: Option<&bb_cancel>,
    exchange: Option<&mut MaybeUninit<*mut bb_exchange>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (session, request) = (given("session", session)?, given("request", request)?);
        let exchange = given("exchange", exchange)?;
        let running = Running::start(cancel, session.0.send(request.0.clone()))?;
        exchange.write(Box::into_raw(Box::new(bb_exchange(running))));
        Ok(())
    })
}

/// Blocks until the head of the response is there. It can be had once; after that, or after an error, the exchange is closed.
///
/// @param exchange borrowed for the call.
/// @param response receives the response; free it with `bb_response_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_exchange_wait(
    exchange: Option<&bb_exchange>,
    response: Option<&mut MaybeUninit<*mut bb_response>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (exchange, response) = (given("exchange", exchange)?, given("response", response)?);
        response.write(Box::into_raw(Box::new(bb_response::new(exchange.0.wait()?))));
        Ok(())
    })
}

/// Frees an exchange. A request whose response was not waited for is cancelled. Do not free it while a thread waits for it.
///
/// @param exchange NULL, or the exchange; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_exchange_free(exchange: Option<Box<bb_exchange>>) {
    quiet(|| {
        if let Some(exchange) = exchange {
            exchange.0.stop();
        }
    });
}

fn described(
    session: Option<&bb_session>,
    result: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
    of: impl FnOnce(&facade::Session) -> Result<String, Error>,
) -> u32 {
    call(error, || {
        let (session, result) = (given("session", session)?, given("result", result)?);
        result.write(owned_text(&of(&session.0)?));
        Ok(())
    })
}

/// Gives the URL that the session was opened with, without a slash at its end, so that a path can be appended.
///
/// @param session borrowed for the call.
/// @param url receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_session_url(
    session: Option<&bb_session>,
    url: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    described(session, url, error, facade::Session::url)
}

/// Gives the latest attestation as JSON: claims, checks, channel, times. It holds values that identify a machine: do not log it.
///
/// @param session borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_session_attestation(
    session: Option<&bb_session>,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    described(session, json, error, facade::Session::attestation_json)
}

/// Gives the latest attestation as a table for people; values that identify a machine are shortened.
///
/// @param session borrowed for the call.
/// @param table receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_session_attestation_table(
    session: Option<&bb_session>,
    table: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    described(session, table, error, facade::Session::attestation_text)
}

/// Opens a new connection and attests its peer again, whatever is known of it. Blocks. Gives the attestation as JSON.
///
/// @param session borrowed for the call.
/// @param cancel NULL, or a handle that ends the call; borrowed for the call.
/// @param json receives a text; free it with `bb_string_free`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_session_reattest(
    session: Option<&bb_session>,
    cancel: Option<&bb_cancel>,
    json: Option<&mut MaybeUninit<*mut c_char>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        let (session, json) = (given("session", session)?, given("json", json)?);
        json.write(owned_text(&call::wait(cancel, session.0.reattest())?));
        Ok(())
    })
}

/// Closes a session: further calls fail with `BB_CLOSED`. Responses that are being read are not cut off. Other threads may still use the
/// handle until it is freed.
///
/// @param session NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn bb_session_close(session: Option<&bb_session>) {
    quiet(|| {
        if let Some(session) = session {
            session.0.close();
        }
    });
}

/// Closes and frees a session. Do not free it while another thread uses it. Its responses and exchanges may be used further.
///
/// @param session NULL, or the session; it must not be used any more.
#[unsafe(no_mangle)]
pub extern "C" fn bb_session_free(session: Option<Box<bb_session>>) {
    quiet(|| drop(session));
}
