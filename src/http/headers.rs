//! Which headers a caller can set: those that `message::exchange::fields` does not reserve.

use http::header::{HeaderMap, HeaderName, HeaderValue, TE};

use crate::message::exchange::fields;

/// The most headers of a request. A `HeaderMap` panics when it is full (32,768); servers accept about one hundred.
pub(super) const MAX_HEADERS: usize = 1_000;

/// Reads a header as a caller wrote it.
pub(crate) fn parse(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = HeaderName::try_from(name)
        .map_err(|_| "expected the name of a header (RFC 9110 section 5.1), without spaces and control characters")?;
    let value = HeaderValue::from_bytes(value).map_err(|_| "expected the value of a header, without line breaks")?;
    check(&name, &value)?;
    Ok((name, value))
}

/// Returns an error for a header that a caller cannot set. `TE: trailers` concerns the response alone, and gRPC requires it.
pub(super) fn check(name: &HeaderName, value: &HeaderValue) -> Result<(), &'static str> {
    if name == TE && value == "trailers" {
        return Ok(());
    }
    if fields::is_of_the_client(name.as_str()) { Err(fields::OF_THE_CLIENT) } else { Ok(()) }
}

/// Returns an error if a caller cannot set one of the headers, or if there are too many.
pub(crate) fn check_all(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.len() > MAX_HEADERS {
        return Err("expected at most 1000 headers");
    }
    headers.iter().try_for_each(|(name, value)| check(name, value))
}
