//! Reads the addresses and headers that a caller sets on a [`VerifierBuilder`](super::VerifierBuilder).

use http::HeaderMap;
use url::Url;

use crate::attest::has_own_header;
use crate::error::AttestationError;
use crate::http::parse_header;
use crate::types::shorten;

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

pub(super) fn agent(text: &str) -> Result<Url, AttestationError> {
    let reason =
        "expected an origin, optionally with a path, as the agent's address, such as https://my-app.example:8080";
    address(text).ok_or(AttestationError::InvalidUrl { reason })
}

pub(super) fn kds(text: &str) -> Result<Url, AttestationError> {
    let reason = "expected an origin, optionally with a path, as the mirror's address, such as https://kds.example";
    address(text).ok_or(AttestationError::InvalidUrl { reason })
}

pub(super) fn thim(text: &str) -> Result<Url, AttestationError> {
    let reason =
        "expected the address of a THIM service, such as http://169.254.169.254/metadata/THIM/amd/certification";
    address(text).ok_or(AttestationError::InvalidUrl { reason })
}

fn address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "https" | "http")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

/// Normalizes a host as URLs do; in any other form it would never match.
pub(super) fn resolved(host: &str) -> Result<String, AttestationError> {
    let parsed = url::Host::parse(host).map_err(|error| AttestationError::Misconfigured {
        reason: format!(
            "expected a name such as my-app.example as the host to resolve, found {:?}: {error}",
            shorten(host, 100)
        ),
    })?;
    match parsed {
        url::Host::Domain(name) => Ok(name),
        // A URL with an address needs no name resolution.
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => Err(AttestationError::Misconfigured {
            reason: format!("expected a name as the host to resolve, found the address {host}"),
        }),
    }
}

/// Parses a proxy's address. `https` is refused: the session's TLS settings, which accept only the attested peer, would apply to
/// the proxy.
pub(super) fn proxy(text: &str) -> Result<Url, AttestationError> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.host().is_some());
    url.ok_or_else(|| misconfigured("expected a proxy's address such as http://proxy.example:3128"))
}

pub(super) fn misconfigured(reason: &str) -> AttestationError {
    AttestationError::Misconfigured { reason: reason.to_owned() }
}
