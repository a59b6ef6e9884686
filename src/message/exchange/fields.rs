//! Which fields only the client or the ends of the protocol write, over TLS and in sealed messages.

use crate::message::binary_http::Field;

/// In a request, the session and the number; in a response, why the agent did not process the request.
pub(crate) const MESSAGE: &str = "blindbox-message";

/// Fields about a connection or about how a message is delimited. Chunks and binary HTTP delimit messages: a second statement about the
/// same thing is what request smuggling is made of (RFC 9112 section 11.2).
const OF_A_CONNECTION: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Why a field of [`is_of_the_client`] is refused.
pub(crate) const OF_THE_CLIENT: &str =
    "expected no header that belongs to the connection, such as Host or Content-Length";

/// Whether a field belongs to the connection or to what delimits a message, so that no caller of a client sets it: a caller could have a
/// request sent to another host behind the peer, or hide a second request in it. `name` is in lower case.
pub(crate) fn is_of_the_client(name: &str) -> bool {
    is_of_a_connection(name) || matches!(name, "alt-used" | "expect" | "host") || name.starts_with("proxy-")
}

/// A message has a field that its kind of message does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field `{0}` does not belong in a sealed message")]
pub(crate) struct ReservedField(pub(crate) String);

/// Checks the fields of a request that an application writes: `host` too is refused, since the authority has its place in the control
/// data.
pub(super) fn check_request(fields: &[Field]) -> Result<(), ReservedField> {
    check(fields, |name| name == "host" || is_reserved(name))
}

/// Checks the fields of a response, or trailers.
pub(super) fn check(fields: &[Field], is_reserved: impl Fn(&str) -> bool) -> Result<(), ReservedField> {
    match fields.iter().find(|field| is_reserved(&field.name)) {
        Some(field) => Err(ReservedField(field.name.clone())),
        None => Ok(()),
    }
}

pub(crate) fn is_reserved(name: &str) -> bool {
    name == MESSAGE || is_of_a_connection(name)
}

pub(super) fn is_of_a_connection(name: &str) -> bool {
    OF_A_CONNECTION.contains(&name)
}

/// Returns the value of the field `blindbox-message`. `Err` if there is more than one.
pub(super) fn message(fields: &[Field]) -> Result<Option<&[u8]>, ReservedField> {
    let mut values = fields.iter().filter(|field| field.name == MESSAGE).map(|field| field.value.as_slice());
    let value = values.next();
    if values.next().is_none() { Ok(value) } else { Err(ReservedField(MESSAGE.to_owned())) }
}
