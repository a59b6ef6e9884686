//! Which requests of local clients are taken.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, StatusCode, Version};

use super::headers::names;
use super::origins::Origins;
use super::tunnel::WEBSOCKET;

/// The header with the access token. A web page cannot set it without a preflight, which is refused.
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
    pub origins: Origins,
}

impl Guard {
    /// `wrong_host` is the message for a client with another `Host`.
    pub fn new(hosts: Vec<String>, wrong_host: &'static str, token: Option<String>, origins: Origins) -> Self {
        Self { hosts, wrong_host, token, origins }
    }

    /// Whether the request is for this proxy, and by whom it may be.
    pub fn check_destination(&self, head: &request::Parts) -> Result<(), Refusal> {
        check_size(head)?;
        check_target(head)?;
        let host = self.check_host(&head.headers)?;
        self.check_site(&head.headers, host)
    }

    /// Whether it has the access token, and an end that is certain. After [`Self::check_destination`].
    pub fn check_access(&self, head: &request::Parts) -> Result<(), Refusal> {
        self.check_token(&head.headers)?;
        check_framing(head)
    }

    /// Against DNS rebinding: a page of a name that was made to resolve to loopback sends that name.
    fn check_host<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Refusal> {
        let host = only(headers, header::HOST).and_then(|host| host.to_str().ok());
        host.filter(|host| self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host)))
            .ok_or_else(|| refusal(StatusCode::FORBIDDEN, "wrong-host", self.wrong_host))
    }

    /// Whether this is the token in an `Authorization`: it is for this proxy only, even beside an `X-Blindbox-Token`.
    pub fn is_access_token(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        let Some(token) = &self.token else { return false };
        name == header::AUTHORIZATION && bearer(value).is_some_and(|given| same(given, token.as_bytes()))
    }

    /// Browsers say which page makes a request. Those of other sites are let in only by `--allow-origin`.
    fn check_site(&self, headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
        let own = format!("http://{host}");
        let origin_is_own = headers.get_all(header::ORIGIN).iter().all(|origin| origin.as_bytes() == own.as_bytes());
        let site_is_own =
            headers.get_all("sec-fetch-site").iter().all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
        if (origin_is_own && site_is_own) || self.origins.allowed(headers).is_some() {
            return Ok(());
        }
        let message = "a web page of another site asked for this (Origin, Sec-Fetch-Site)";
        Err(refusal(StatusCode::FORBIDDEN, "cross-site", message))
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(expected) = &self.token else { return Ok(()) };
        let given = match headers.contains_key(TOKEN_HEADER) {
            true => only(headers, TOKEN_HEADER).map(HeaderValue::as_bytes),
            false => only(headers, header::AUTHORIZATION).and_then(bearer),
        };
        if same(given.unwrap_or_default(), expected.as_bytes()) {
            return Ok(());
        }
        let message = "expected the token that was printed at the start, as X-Blindbox-Token or Authorization: Bearer";
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

/// Only `origin-form` (RFC 9112 section 3.2.1): only the session decides where requests go.
fn check_target(head: &request::Parts) -> Result<(), Refusal> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        let message = "expected a method other than CONNECT and TRACE";
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "method-refused", message));
    }
    if head.uri.scheme().is_some() || head.uri.authority().is_some() || !head.uri.path().starts_with('/') {
        let message = "expected a target that is a path: this is no proxy for other addresses";
        return Err(refusal(StatusCode::BAD_REQUEST, "target-refused", message));
    }
    if !is_websocket(head) && !upgrade_may_be_ignored(&head.headers) {
        let message = "expected no upgrade, or one to websocket alone, of a GET without a body";
        return Err(refusal(StatusCode::NOT_IMPLEMENTED, "upgrade-refused", message));
    }
    Ok(())
}

/// Whether the request is the opening handshake of a WebSocket (RFC 6455 section 4.1). The application checks the headers of that.
pub fn is_websocket(head: &request::Parts) -> bool {
    let is_offered = only(&head.headers, header::UPGRADE)
        .is_some_and(|offer| offer.as_bytes().trim_ascii().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    let has_body =
        head.headers.contains_key(header::TRANSFER_ENCODING) || head.headers.contains_key(header::CONTENT_LENGTH);
    is_offered && head.method == Method::GET && !has_body && names(&head.headers, header::CONNECTION, "upgrade")
}

/// Whether the request has a response over HTTP/1.1 although it offers another protocol. A server may ignore the offer (RFC 9110
/// section 7.8), and the headers with it stay here. So it is with `h2c`, which Java's client and `curl --http2` offer in
/// ordinary requests. A client that offers anything else has no use for that and gets an error.
fn upgrade_may_be_ignored(headers: &HeaderMap) -> bool {
    let mut offers =
        headers.get_all(header::UPGRADE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    offers.all(|offer| offer.trim_ascii().eq_ignore_ascii_case(b"h2c"))
        && (headers.contains_key(header::UPGRADE) || !names(headers, header::CONNECTION, "upgrade"))
}

/// Whether the ends of the request and its response can be recognised with certainty.
fn check_framing(head: &request::Parts) -> Result<(), Refusal> {
    if head.version != Version::HTTP_11 {
        let message = "expected HTTP/1.1: an older client cannot distinguish a truncated response from a complete one";
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

/// The value of a header that stands there exactly once.
pub fn only(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The credentials of `Authorization: Bearer` (RFC 6750 section 2.1), whose scheme is written in any case.
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, credentials) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| credentials.trim_ascii())
}

/// In a time that does not tell how much of the token was right.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |all, (l, r)| all | (l ^ r)) == 0
}

pub fn refusal(status: StatusCode, code: &'static str, message: &'static str) -> Refusal {
    Refusal { status, code, message }
}
