//! The blocking [`Request`].

use std::fmt;
use std::io::Read;
use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;

use super::reader_body::BlockingReaderBody;
use super::response::Response;
use super::runtime;
use crate::error::AttestationError;
use crate::http::Request as AsyncRequest;
use crate::http::multipart::Form;

/// A request to the attested peer, from [`Session::get`](super::Session::get) and its siblings. As [`crate::Request`].
#[derive(Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    request: AsyncRequest,
}

impl Request {
    pub(super) fn new(request: AsyncRequest) -> Self {
        Self { request }
    }

    /// Adds a header. As [`crate::Request::header`].
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        Self { request: self.request.header(name, value) }
    }

    /// Adds headers. As [`crate::Request::headers`].
    pub fn headers(self, headers: HeaderMap) -> Self {
        Self { request: self.request.headers(headers) }
    }

    /// Sends these fields after the body. As [`crate::Request::trailers`].
    pub fn trailers(self, trailers: HeaderMap) -> Self {
        Self { request: self.request.trailers(trailers) }
    }

    /// Adds a parameter to the query, encoded as in forms.
    pub fn query(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { request: self.request.query(name, value) }
    }

    /// Sets the body to a value as JSON, with the content type of JSON unless another one is set.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        Self { request: self.request.json(value) }
    }

    /// Sets the body to pairs, encoded like an HTML form. As [`crate::Request::form`].
    pub fn form<N: AsRef<str>, V: AsRef<str>>(self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self { request: self.request.form(pairs) }
    }

    /// Sets the header `Authorization: Bearer ...`. As [`crate::Request::bearer_auth`].
    pub fn bearer_auth(self, token: impl AsRef<str>) -> Self {
        Self { request: self.request.bearer_auth(token) }
    }

    /// Sets the body to a form of several parts. As [`crate::Request::multipart`].
    pub fn multipart(self, form: Form) -> Self {
        Self { request: self.request.multipart(form) }
    }

    /// Sets the header `Authorization: Basic ...`. As [`crate::Request::basic_auth`].
    pub fn basic_auth(self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        Self { request: self.request.basic_auth(user, password) }
    }

    /// Sets the body to all that can be read from a file or another reader, which is read while the body is sent: a body of any
    /// size takes the same memory. As [`crate::Request::body_reader`].
    pub fn body_reader(self, reader: impl Read + Send + 'static) -> Self {
        Self { request: self.request.http_body(BlockingReaderBody::new(reader)) }
    }

    /// Sets the body to these bytes.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { request: self.request.body(body) }
    }

    /// Limits the total time, to the end of the response body. As [`crate::Request::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { request: self.request.timeout(timeout) }
    }

    /// States that to process this request twice has the same effect as to process it once. As [`crate::Request::idempotent`].
    pub fn idempotent(self) -> Self {
        Self { request: self.request.idempotent() }
    }

    /// Sends the request to an attested peer, and waits for the headers of the response. As [`crate::Request::send`].
    ///
    /// # Errors
    ///
    /// [`AttestationError`]; [`AttestationError::request_sent`] reports whether the peer may have received the request. Inside an async
    /// runtime [`AttestationError::Misconfigured`], and nothing was sent.
    pub fn send(self) -> Result<Response, AttestationError> {
        let response = runtime::run(self.request.send())??;
        Ok(Response::new(response))
    }
}

/// Omits headers, query and body, which may be secret.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking::{:?}", self.request)
    }
}
