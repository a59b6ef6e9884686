//! A response of the attested peer: status, headers, and the ways to read its body.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use url::Url;

use super::guard::Guard;
use super::response_body::Body;
use super::sealed_response::SealedBody;
use super::stream::AttestedStream;
use crate::deadline::Deadline;
use crate::error::AttestationError;

/// A response of the attested peer, from [`Request::send`](crate::Request::send): status, headers, and a body that is read while it
/// arrives.
pub struct Response {
    head: http::response::Parts,
    body: Body,
    trailers: Option<Box<HeaderMap>>,
    stream: Option<Box<AttestedStream>>,
}

/// The reason why a body could not be read in the requested form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The body could not be read to its end.
    #[error(transparent)]
    Read(#[from] AttestationError),
    /// The body is not JSON of the requested form.
    #[error("expected a response in JSON of the requested form; found {reason} at line {line}, column {column}")]
    Json {
        /// What is wrong with it.
        reason: BodyJsonError,
        /// The line, from 1 on; 0 for the whole body.
        line: usize,
        /// The column, in bytes from 1 on; 0 for the whole body.
        column: usize,
    },
}

/// What is wrong with a body that was read as JSON, in [`BodyError::Json`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyJsonError {
    /// The body is JSON, but a member is missing, unknown, or of another type than the requested one.
    #[error("JSON of another form")]
    AnotherForm,
    /// The body is not JSON.
    #[error("what is not JSON")]
    Syntax,
    /// The JSON does not end: the server wrote no more of it. A connection that broke is [`BodyError::Read`].
    #[error("the end of the body inside of JSON")]
    Truncated,
}

impl Response {
    /// Returns the response to a request. The exchange is over when its body is, or when it is dropped.
    pub(crate) fn new(
        response: http::Response<Incoming>,
        guard: impl Guard,
        url: &Url,
        deadline: Option<Deadline>,
    ) -> Self {
        let (head, incoming) = response.into_parts();
        Self::of(head, Body::new(incoming, guard, url, deadline), None)
    }

    /// Returns the response to a sealed request, whose head has been opened.
    pub(crate) fn sealed(
        response: http::Response<SealedBody>,
        guard: impl Guard,
        url: &Url,
        deadline: Option<Deadline>,
    ) -> Self {
        let (head, body) = response.into_parts();
        Self::of(head, Body::new(body, guard, url, deadline), None)
    }

    /// Returns a response after which the connection has another protocol.
    pub(crate) fn switched(response: http::Response<Incoming>, stream: AttestedStream, url: &Url) -> Self {
        Self::of(response.into_parts().0, Body::empty(url), Some(Box::new(stream)))
    }

    fn of(mut head: http::response::Parts, body: Body, stream: Option<Box<AttestedStream>>) -> Self {
        // Extensions of the HTTP library could give access to the connection.
        head.extensions = http::Extensions::new();
        Self { head, body, trailers: None, stream }
    }

    /// Returns the status. Statuses of errors and redirects are not errors of this API; see [`Response::error_for_status`].
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Returns the version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// Returns the requested URL, the base of a relative `Location`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.body.url().as_str()
    }

    /// Returns the remaining size of the body in bytes, if the peer has announced it. For a response to `HEAD`, see the header
    /// `Content-Length` instead.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Reads the whole body, of any size. Use [`Response::chunk`] if a limit is needed.
    ///
    /// # Errors
    ///
    /// [`AttestationError::RequestInterrupted`], with the refusal of the peer, if it was refused while the body was read; with
    /// [`AttestationError::Timeout`] after the request's timeout; with [`AttestationError::AttestationExpired`] one minute after the
    /// end of the attestation; with [`AttestationError::ApplicationUnreachable`] if the connection broke before the body was
    /// complete.
    pub async fn bytes(mut self) -> Result<Bytes, AttestationError> {
        let first = self.chunk().await?.unwrap_or_default();
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }

    /// Reads the whole body as text. Bytes that are not UTF-8 are replaced by U+FFFD.
    ///
    /// # Errors
    ///
    /// As [`Response::bytes`].
    pub async fn text(self) -> Result<String, AttestationError> {
        Ok(text(self.bytes().await?.into()))
    }

    /// Reads the whole body as JSON. Status and content type are not checked.
    ///
    /// # Errors
    ///
    /// [`BodyError`]: the body could not be read, or is not JSON of that form.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, BodyError> {
        json(&self.bytes().await?)
    }

    /// Returns the next chunk of the body as soon as it has arrived, and `None` at its end.
    ///
    /// # Errors
    ///
    /// As [`Response::bytes`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, AttestationError> {
        loop {
            match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => return Ok(Some(data)),
                Some(Err(frame)) => self.trailers = frame.into_trailers().ok().map(Box::new),
                None => return Ok(None),
            }
        }
    }

    /// Returns the trailers, after [`Response::chunk`] has returned `None`; `None` if there were none. HTTP/1.1 servers send them
    /// only if the request has the header `TE: trailers`.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_deref()
    }

    /// Returns the connection after a switch to the protocol that was requested with [`Request::upgrade`](crate::Request::upgrade);
    /// `None` unless the status is 101.
    #[must_use]
    pub fn into_stream(self) -> Option<AttestedStream> {
        self.stream.map(|stream| *stream)
    }

    /// Returns the response if its status is not one of an error (400 to 599).
    ///
    /// # Errors
    ///
    /// [`StatusError`], which has the response.
    pub fn error_for_status(self) -> Result<Self, StatusError> {
        let status = self.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(self);
        }
        let mut url = self.body.url().clone();
        // It may be secret.
        url.set_query(None);
        Err(StatusError { status, url: url.into(), response: Box::new(self) })
    }
}

/// Reads a body as text.
pub(crate) fn text(body: Vec<u8>) -> String {
    String::from_utf8(body).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Reads a body as JSON.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    serde_json::from_slice(body).map_err(|error| {
        let reason = match error.classify() {
            serde_json::error::Category::Data => BodyJsonError::AnotherForm,
            serde_json::error::Category::Eof => BodyJsonError::Truncated,
            // A slice has no errors of input.
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => BodyJsonError::Syntax,
        };
        BodyError::Json { reason, line: error.line(), column: error.column() }
    })
}

/// A response with the status of an error, from [`Response::error_for_status`].
#[derive(Debug, thiserror::Error)]
#[error("{url} responded with the status {status}")]
pub struct StatusError {
    status: StatusCode,
    url: String,
    response: Box<Response>,
}

impl StatusError {
    /// Returns the status, from 400 to 599.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the response, whose body can still be read.
    #[must_use]
    pub fn into_response(self) -> Response {
        *self.response
    }
}

impl From<Response> for http::Response<Body> {
    fn from(response: Response) -> Self {
        Self::from_parts(response.head, response.body)
    }
}

/// Omits headers and body, which may be secret.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({})", self.status())
    }
}
