//! Web pages of other origins that are let in: cross-origin resource sharing (the Fetch Standard, "HTTP CORS protocol"), for the
//! origins that `--allow-origin` names and no others.
//!
//! A preflight has no access token, since browsers send none with it: the proxy responds by itself. The request that follows
//! needs the token. Cookies and other credentials of a browser are never shared.

use std::str::FromStr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, Response, StatusCode};
use url::Url;

use super::access::only;
use super::response::AnswerBody;

const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");

/// How long a browser may remember a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// An origin of web pages, as browsers send it: `https://chat.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected an origin such as https://chat.example or http://localhost:3000";
        let url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        let origin = url.origin().ascii_serialization();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(expected.to_owned());
        }
        if origin != text {
            return Err(format!("{expected}: browsers send {origin}"));
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| expected.to_owned())
    }
}

/// The origins that are let in.
pub struct Origins(Vec<Origin>);

impl Origins {
    pub fn new(origins: Vec<Origin>) -> Self {
        Self(origins)
    }

    /// The origin of the page that sent these headers, if it is let in.
    pub fn allowed<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        only(headers, header::ORIGIN).filter(|origin| self.0.iter().any(|Origin(allowed)| allowed == *origin))
    }

    /// The response to a preflight of a page that is let in; `None` for any other request.
    pub fn preflight(&self, head: &request::Parts) -> Option<Response<AnswerBody>> {
        let method = only(&head.headers, header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if head.method != Method::OPTIONS || self.allowed(&head.headers).is_none() {
            return None;
        }
        let mut response = Response::new(AnswerBody::Own(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(names) = only(&head.headers, header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        if head.headers.contains_key(REQUEST_PRIVATE_NETWORK) {
            headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
        Some(response)
    }
}

/// Lets a page of this origin read a response, with every header of it.
pub fn share(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_as_browsers_send_them() {
        for origin in ["https://chat.example", "http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1"] {
            assert_eq!(origin.parse(), Ok(Origin(HeaderValue::from_static(origin))));
        }
        let expected = "expected an origin such as https://chat.example or http://localhost:3000";
        for (text, why) in [
            ("*", ": relative URL without a base"),
            ("null", ": relative URL without a base"),
            ("https://chat.example/", ": browsers send https://chat.example"),
            ("https://chat.example:443", ": browsers send https://chat.example"),
            ("https://CHAT.example", ": browsers send https://chat.example"),
            ("https://user@chat.example", ": browsers send https://chat.example"),
            ("file:///x", ""),
            ("chrome-extension://abc", ""),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(format!("{expected}{why}")), "{text}");
        }
    }
}
