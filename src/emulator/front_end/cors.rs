//! Which web pages may use the agent from a browser (Fetch standard, section 3.2 "CORS protocol"): what the reference agent does by itself.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Request, StatusCode};

use crate::emulator::network::body::ResponseBody;
use crate::emulator::network::request::Reply;
use crate::emulator::network::traffic::is_agent_path;

/// The origin of a request that is on the list.
pub(super) struct Page(HeaderValue);

impl Page {
    pub(super) fn of<B>(request: &Request<B>, origins: &[String], prefix: &str) -> Option<Self> {
        let is_for_agent = request.uri().path().strip_prefix(prefix).is_some_and(is_agent_path);
        let origin = request.headers().get(ORIGIN).filter(|_| is_for_agent)?;
        origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()).then(|| Self(origin.clone()))
    }

    /// The response to a preflight, if the request is one.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Reply> {
        if request.method() != Method::OPTIONS || !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut response = hyper::Response::new(ResponseBody::whole(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, blindbox-instance"));
        Some(self.mark(Reply::Response(response)))
    }

    /// Lets the page read a response.
    pub(super) fn mark(&self, reply: Reply) -> Reply {
        let Reply::Response(mut response) = reply else { return reply };
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(VARY, HeaderValue::from_static("origin"));
        Reply::Response(response)
    }
}
