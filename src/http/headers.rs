//! Which headers a caller can set.

use http::header::{HeaderMap, HeaderName, HeaderValue, TE};

/// Headers that decide where a message goes, how it is framed, or what happens to the connection. With them, a caller could send
/// the request to another host behind the peer, or hide a second request in it (request smuggling).
const RESERVED: &[&str] = &[
    "alt-used",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The most headers of a request. A `HeaderMap` panics when it is full (32,768); servers accept about one hundred.
pub(super) const MAX_HEADERS: usize = 1_000;

/// Reads a header as a caller wrote it.
pub(crate) fn parse(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = HeaderName::try_from(name).map_err(|_| "expected the name of a header")?;
    let value = HeaderValue::from_bytes(value).map_err(|_| "expected the value of a header, without line breaks")?;
    check(&name, &value)?;
    Ok((name, value))
}

/// Returns an error for a header that a caller cannot set. `TE: trailers` concerns the response alone, and gRPC requires it.
pub(super) fn check(name: &HeaderName, value: &HeaderValue) -> Result<(), &'static str> {
    if name == TE && value == "trailers" {
        return Ok(());
    }
    if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
        return Err("expected no header that belongs to the connection, such as Host or Content-Length");
    }
    Ok(())
}

/// Returns an error if a caller cannot set one of the headers, or if there are too many.
pub(crate) fn check_all(headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.len() > MAX_HEADERS {
        return Err("expected at most 1000 headers");
    }
    headers.iter().try_for_each(|(name, value)| check(name, value))
}
