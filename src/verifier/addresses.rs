//! Reads the addresses that a caller sets on a [`VerifierBuilder`](super::VerifierBuilder).

use url::Url;

use crate::error::AttestationError;
use crate::types::shorten;

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
