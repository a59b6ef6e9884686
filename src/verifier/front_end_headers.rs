//! Reads the headers for front ends that a caller sets on a [`VerifierBuilder`](super::VerifierBuilder): none that a request has already.

use http::HeaderMap;

use super::addresses::misconfigured;
use crate::attest::has_own_header;
use crate::error::AttestationError;
use crate::http::parse_header;

pub(super) fn front_end_headers(written: &[(String, Vec<u8>)]) -> Result<HeaderMap, AttestationError> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let (name, mut value) = parse_header(name, value)
            .map_err(|reason| misconfigured(&format!("a header for a front end: {reason}")))?;
        if has_own_header(&name) {
            return Err(misconfigured(&format!(
                "expected a front-end header that this crate does not set itself, found {name}"
            )));
        }
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}
