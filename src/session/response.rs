//! A response of the attested peer. Its body is cut off when the peer is refused, or when its attestation ended too long ago.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::Sleep;
use url::Url;

use super::checkout::Checkout;
use super::peer::Cancelled;
use super::stream::AttestedStream;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::transport::{Stage, classify};

/// How long a response may continue after the attestation of its peer has ended.
const GRACE: Duration = Duration::from_secs(60);

/// A response of the attested peer, from [`Request::send`](crate::Request::send): status, headers, and a body that is read while it
/// arrives.
pub struct Response {
    head: http::response::Parts,
    body: Body,
    trailers: Option<Box<HeaderMap>>,
    stream: Option<Box<AttestedStream>>,
}

/// The body of a response, as an [`http_body::Body`]: it can become the body of a response of axum or hyper.
///
/// It fails with the refusal of the peer if the peer is refused while it is read, and at the latest one minute after the end of the
/// attestation. A body that was cut off never looks like one that has ended.
pub struct Body {
    state: State,
    url: Box<Url>,
}

enum State {
    Open(Box<Open>),
    /// The body has ended, and the connection was returned.
    Ended,
    /// The body is incomplete. Every further read returns the error.
    Failed(AttestationError),
}

/// A body that is not complete yet.
struct Open {
    incoming: Incoming,
    checkout: Checkout,
    cancelled: Cancelled,
    timeout: Option<(Deadline, Pin<Box<Sleep>>)>,
}

/// The reason why a body could not be read in the requested form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The body could not be read to its end.
    #[error(transparent)]
    Unread(#[from] AttestationError),
    /// The body is not JSON, or not JSON of the requested form.
    #[error("expected a response in JSON of the requested form; found something else at line {line}, column {column}")]
    NotThisJson {
        /// The line, from 1 on; 0 for the whole body.
        line: usize,
        /// The column, in bytes from 1 on; 0 for the whole body.
        column: usize,
    },
}

impl Response {
    pub(super) fn new(
        response: http::Response<Incoming>,
        checkout: Checkout,
        url: &Url,
        deadline: Option<Deadline>,
    ) -> Self {
        let (mut head, incoming) = response.into_parts();
        // Extensions of the HTTP library could give access to the connection.
        head.extensions = http::Extensions::new();
        let cancelled = checkout.peer().until_revoked_or_expired(GRACE);
        let timeout = deadline.map(|deadline| (deadline, Box::pin(tokio::time::sleep(deadline.remaining()))));
        let state = State::Open(Box::new(Open { incoming, checkout, cancelled, timeout }));
        let mut body = Body { state, url: Box::new(url.clone()) };
        body.end_if_over();
        Self { head, body, trailers: None, stream: None }
    }

    /// A response after which the connection has another protocol.
    pub(super) fn switched(response: http::Response<Incoming>, stream: AttestedStream, url: &Url) -> Self {
        let (mut head, _) = response.into_parts();
        head.extensions = http::Extensions::new();
        let body = Body { state: State::Ended, url: Box::new(url.clone()) };
        Self { head, body, trailers: None, stream: Some(Box::new(stream)) }
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
        self.body.url.as_str()
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
        let bytes = Vec::from(self.bytes().await?);
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Reads the whole body as JSON. Status and content type are not checked.
    ///
    /// # Errors
    ///
    /// [`BodyError`]: the body could not be read, or is not JSON of that form.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, BodyError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| BodyError::NotThisJson { line: error.line(), column: error.column() })
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
}

impl Response {
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
        let mut url = (*self.body.url).clone();
        // It may be secret.
        url.set_query(None);
        Err(StatusError { status, url: url.into(), response: Box::new(self) })
    }
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

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = AttestationError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AttestationError>>> {
        let open = match &mut self.state {
            State::Open(open) => open,
            State::Ended => return Poll::Ready(None),
            State::Failed(error) => return Poll::Ready(Some(Err(error.clone()))),
        };
        let polled = Pin::new(&mut open.incoming).poll_frame(cx);
        // A complete response has nothing left to cut off, whatever happened to its peer.
        if let Poll::Ready(None) = polled {
            self.state = State::Ended;
            return Poll::Ready(None);
        }
        // Checked directly: polling the future would be pending in a task that has used up tokio's budget. The future is needed only
        // to wake the task while there is nothing to read; polling it costs more than reading a chunk.
        let cut = match open.checkout.peer().cancelled(GRACE) {
            None if polled.is_pending() => match open.cancelled.as_mut().poll(cx) {
                Poll::Ready(error) => Some(error),
                Poll::Pending => open.poll_timeout(cx),
            },
            None => open.poll_timeout(cx),
            cancelled => cancelled,
        };
        let failure = match (cut, polled) {
            (Some(error), _) => error.after_request_was_sent(),
            (None, Poll::Ready(Some(Err(error)))) => explain(error, &self.url).after_request_was_sent(),
            (None, Poll::Ready(Some(Ok(frame)))) => {
                self.end_if_over();
                return Poll::Ready(Some(Ok(frame)));
            }
            (None, _) => return Poll::Pending,
        };
        self.state = State::Failed(failure.clone());
        Poll::Ready(Some(Err(failure)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Open(open) => open.incoming.is_end_stream(),
            State::Ended => true,
            State::Failed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Open(open) => open.incoming.size_hint(),
            State::Ended => SizeHint::with_exact(0),
            State::Failed(_) => SizeHint::default(),
        }
    }
}

impl Open {
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Option<AttestationError> {
        let (deadline, sleep) = self.timeout.as_mut()?;
        sleep.as_mut().poll(cx).is_ready().then(|| deadline.timeout_error("the request"))
    }
}

impl Body {
    /// Returns the connection at the end of a body of known length: the caller may never poll for the end.
    fn end_if_over(&mut self) {
        if let State::Open(open) = &self.state
            && open.incoming.is_end_stream()
        {
            self.state = State::Ended;
        }
    }
}

fn explain(error: hyper::Error, url: &Url) -> AttestationError {
    classify(&error, Stage::Body).caused_by(error).of_application(url)
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?})", self.size_hint().exact())
    }
}
