//! Which web pages may use the agent from a browser (Fetch standard, section 3.2 "CORS protocol").
//!
//! It protects the users of browsers from foreign pages, and nothing else: other clients do not ask.

use std::str::FromStr;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, Response, StatusCode};

use crate::body::{Answer, whole};

/// The requests that a page makes. Everything else of the application is inside of sealed messages.
const PATHS: [&str; 4] = ["/attest/azure-vm", "/attest/combined", "/attest/maa", "/attest/message"];

/// An origin as browsers send it, such as `https://chat.example`: scheme and host, and a port that is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// The origin of a request, if it is on the list.
#[derive(Clone)]
pub(crate) struct Allowed(HeaderValue);

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "an origin is written as https://chat.example: no path, wildcard, user or capital letter";
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or(expected)?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(expected);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| expected)
    }
}

impl Allowed {
    pub(crate) fn of<B>(request: &Request<B>, origins: &[Origin]) -> Option<Self> {
        if !PATHS.contains(&request.uri().path()) {
            return None;
        }
        let mut said = request.headers().get_all(ORIGIN).iter();
        let origin = said.next().filter(|_| said.next().is_none())?;
        origins.iter().find(|Origin(listed)| listed == origin).map(|Origin(listed)| Self(listed.clone()))
    }

    /// The response to a preflight, if the request is one.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Answer>> {
        if request.method() != Method::OPTIONS || !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut answer = Response::new(whole(""));
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, blindbox-instance"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(self.mark(answer))
    }

    /// Lets the page read a response. With credentials: the front end keeps a client on one instance by a cookie, and the agent reads none.
    pub(crate) fn mark(&self, mut answer: Response<Answer>) -> Response<Answer> {
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(VARY, HeaderValue::from_static("origin"));
        answer
    }
}
