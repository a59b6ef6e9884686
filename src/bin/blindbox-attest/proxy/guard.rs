//! Which requests of local clients are taken.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request;
use hyper::{Method, StatusCode, Version};

use super::headers::names;

/// The header with the access token. A web page cannot set it without asking first, and is told no.
pub const TOKEN_HEADER: &str = "X-Blindbox-Token";

/// The largest target and headers together, in bytes: applications accept no more either.
pub const MAX_HEAD: usize = 64 << 10;

/// Why a request went nowhere.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: &'static str,
}

pub struct Guard {
    hosts: Vec<String>,
    wrong_host: &'static str,
    token: Option<String>,
}

impl Guard {
    /// `wrong_host` is what a client with another `Host` is told.
    pub fn new(hosts: Vec<String>, wrong_host: &'static str, token: Option<String>) -> Self {
        Self { hosts, wrong_host, token }
    }

    pub fn check(&self, head: &request::Parts) -> Result<(), Refusal> {
        check_size(head)?;
        check_target(head)?;
        let host = self.check_host(&head.headers)?;
        check_site(&head.headers, host)?;
        self.check_token(&head.headers)?;
        check_framing(head)
    }

    /// Against DNS rebinding: a page of a name that was made to resolve to loopback sends that name.
    fn check_host<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Refusal> {
        let host = only(headers, header::HOST).and_then(|host| host.to_str().ok());
        host.filter(|host| self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)))
            .ok_or_else(|| refusal(StatusCode::FORBIDDEN, "wrong-host", self.wrong_host))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(expected) = &self.token else { return Ok(()) };
        let given = only(headers, TOKEN_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
        if same(given, expected.as_bytes()) {
            return Ok(());
        }
        let message = "expected the header X-Blindbox-Token with the token that was printed at the start";
        Err(refusal(StatusCode::UNAUTHORIZED, "wrong-access-token", message))
    }
}

fn check_size(head: &request::Parts) -> Result<(), Refusal> {
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len()));
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if headers.fold(target, usize::saturating_add) <= MAX_HEAD {
        return Ok(());
    }
    let message = "expected target and headers of at most 64 KiB";
    Err(refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", message))
}

/// Only `origin-form` (RFC 9112 section 3.2.1): nobody but the session decides where requests go.
fn check_target(head: &request::Parts) -> Result<(), Refusal> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        let message = "expected a method other than CONNECT and TRACE";
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "method-refused", message));
    }
    if head.uri.scheme().is_some() || head.uri.authority().is_some() || !head.uri.path().starts_with('/') {
        let message = "expected a target that is a path: this is no proxy for other addresses";
        return Err(refusal(StatusCode::BAD_REQUEST, "target-refused", message));
    }
    if head.headers.contains_key(header::UPGRADE) || names(&head.headers, header::CONNECTION, "upgrade") {
        let message = "connections are not upgraded: what follows would not be requests";
        return Err(refusal(StatusCode::NOT_IMPLEMENTED, "upgrade-refused", message));
    }
    Ok(())
}

/// Whether the end of the request, and that of its answer, can be told for certain.
fn check_framing(head: &request::Parts) -> Result<(), Refusal> {
    if head.version != Version::HTTP_11 {
        let message = "expected HTTP/1.1: an older client cannot tell an answer that is cut off from a whole one";
        return Err(refusal(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "version-refused", message));
    }
    // Any other coding would stay on the body, and nothing would say so any more.
    let coded = head.headers.contains_key(header::TRANSFER_ENCODING);
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if coded && !only(&head.headers, header::TRANSFER_ENCODING).is_some_and(chunked) {
        let message = "expected as Transfer-Encoding chunked, once, or none";
        return Err(refusal(StatusCode::NOT_IMPLEMENTED, "framing-refused", message));
    }
    Ok(())
}

/// Browsers say which page makes a request. Those of other sites have no business here.
fn check_site(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    let own = format!("http://{host}");
    let origin_is_own = headers.get_all(header::ORIGIN).iter().all(|origin| origin.as_bytes() == own.as_bytes());
    let site_is_own =
        headers.get_all("sec-fetch-site").iter().all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    if origin_is_own && site_is_own {
        return Ok(());
    }
    let message = "a web page of another site asked for this (Origin, Sec-Fetch-Site)";
    Err(refusal(StatusCode::FORBIDDEN, "cross-site", message))
}

/// The value of a header that stands there exactly once.
pub fn only(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// In a time that does not tell how much of the token was right.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |all, (l, r)| all | (l ^ r)) == 0
}

pub fn refusal(status: StatusCode, code: &'static str, message: &'static str) -> Refusal {
    Refusal { status, code, message }
}
