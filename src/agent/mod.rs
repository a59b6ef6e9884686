//! The agent's end of sealed messages, `blindbox-bound-message/1`: for the server inside the TEE.
//!
//! TLS may end at a front end that is not trusted. The agent generates a key, evidence names it, and clients seal whole requests to
//! it: method, path, headers and content. The front end sees sizes and times. The protocol, byte for byte, is in
//! `docs/protocol-message.md`.
//!
//! ```
//! use std::time::Duration;
//! use blindbox_attestation::Nonce;
//! use blindbox_attestation::agent::{KeySchedule, MessageKem, MessageKeys};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = MessageKeys::new(MessageKem::XWing, KeySchedule::default());
//! let now = Duration::ZERO; // of a clock that only runs forward
//! // For each attestation: the hardware attests `runtime_data`, the response carries the other two.
//! let offer = keys.offer(&Nonce::from_hex(&"00".repeat(32))?, now)?;
//! assert_eq!(offer.runtime_data.len(), 207);
//! assert_eq!(offer.key_config.len(), 1225);
//! assert_eq!(offer.session.len(), 32);
//! # Ok(())
//! # }
//! ```
//!
//! A sealed request arrives as `POST` [`MESSAGE_PATH`] with [`REQUEST_TYPE`]. [`open`] reads it up to its head and marks its number as
//! used, before anything of it is given out; [`SealedExchange::accept`] gives the request and what seals the response to it.
//!
//! # What the caller does
//!
//! - It takes nothing from the outer request but its body.
//! - It bounds the time and the number of calls of [`open`]: the sender is not authenticated. One call keeps less than 128 KiB.
//! - It calls [`MessageKeys::expire`] from a timer, so that keys are overwritten in time where no requests arrive.
//! - It never shares [`MessageKeys`] between instances, and never writes them anywhere.
//! - It serves the application by sealed messages alone: a plain way to the same application is one for the front end.

mod body;
mod keys;
mod open;
mod respond;

pub use body::{RequestContent, RequestContentError};
pub use keys::{KeySchedule, MessageKem, MessageKeys, MessageOffer, NoKey};
pub use open::{OpenError, Opened, SealedExchange, open};
pub use respond::{Responder, SealedBody, SealedBodyError, sealed_response};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use crate::message::exchange::{outer, runtime_data};

/// The value of `protocol` in a request for evidence that names a message key.
pub const PROTOCOL: &str = runtime_data::BOUND_MESSAGE;
/// Where sealed requests are posted, below the address of the agent.
pub const MESSAGE_PATH: &str = "/attest/message";
/// The media type of a sealed request.
pub const REQUEST_TYPE: &str = outer::REQUEST_TYPE;
/// The media type of a sealed response.
pub const RESPONSE_TYPE: &str = outer::RESPONSE_TYPE;

/// The response to a request that does not open: status 400 with problem details (RFC 9457, RFC 9458 section 5.3). It is the same
/// whatever the reason, so that a sender of changed requests learns nothing about others.
#[must_use]
pub fn not_opened() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(outer::not_opened()));
    if let Ok(status) = StatusCode::from_u16(outer::NOT_OPENED_STATUS) {
        *response.status_mut() = status;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(outer::PROBLEM_TYPE));
    response
}

#[cfg(test)]
mod tests;
