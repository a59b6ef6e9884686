//! The blocking [`Response`], and its body as a stream.

use std::fmt;
use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode, Version};
use serde::de::DeserializeOwned;

use super::runtime;
use crate::error::AttestationError;
use crate::http::{BodyError, Response as AsyncResponse, StatusError as AsyncStatusError};

/// A response with the status of an error, from [`Response::error_for_status`].
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StatusError {
    error: AsyncStatusError,
}

impl StatusError {
    /// Returns the status, from 400 to 599.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.error.status()
    }

    /// Returns the response, whose body can still be read.
    #[must_use]
    pub fn into_response(self) -> Response {
        Response::new(self.error.into_response())
    }
}

/// A response of the attested peer, from [`Request::send`](super::Request::send): status and headers. The methods that consume
/// the response read the body, and wait for it.
pub struct Response {
    response: AsyncResponse,
}

impl Response {
    pub(super) fn new(response: AsyncResponse) -> Self {
        Self { response }
    }

    /// Returns the status. Statuses of errors and redirects are not errors of this API.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.response.version()
    }

    /// Returns the requested URL, the base of a relative `Location`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.response.url()
    }

    /// Returns the response if its status is not one of an error (400 to 599).
    ///
    /// # Errors
    ///
    /// [`StatusError`], which has the response.
    pub fn error_for_status(self) -> Result<Self, StatusError> {
        self.response.error_for_status().map(Self::new).map_err(|error| StatusError { error })
    }

    /// Returns the size of the body in bytes, if the peer has announced it.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Reads the whole body, however large. [`Response::reader`] is for bodies that need a limit.
    ///
    /// # Errors
    ///
    /// [`AttestationError::RequestInterrupted`], with the refusal of the peer, if it was refused while the body was read; with
    /// [`AttestationError::Timeout`] after the request's timeout; with [`AttestationError::AttestationExpired`] one minute after the
    /// end of the attestation; with [`AttestationError::ApplicationUnreachable`] if the connection broke before the body was
    /// complete. [`AttestationError::Misconfigured`] inside an async runtime.
    pub fn bytes(self) -> Result<Vec<u8>, AttestationError> {
        runtime::run(self.response.bytes())?.map(Vec::from)
    }

    /// Reads the whole body as text. Bytes that are not UTF-8 are replaced by U+FFFD.
    ///
    /// # Errors
    ///
    /// As [`Response::bytes`].
    pub fn text(self) -> Result<String, AttestationError> {
        Ok(crate::http::text(self.bytes()?))
    }

    /// Reads the whole body as JSON, whatever the status and the content type are.
    ///
    /// # Errors
    ///
    /// [`BodyError`]: the body could not be read, or is not JSON of that form.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, BodyError> {
        crate::http::json(&self.bytes()?)
    }

    /// Returns a reader of the body as it arrives: a line can be read before the peer has sent the next one.
    pub fn reader(self) -> BodyReader {
        BodyReader { state: State::Open(self.response), chunk: Bytes::new() }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking::Response({})", self.status())
    }
}

/// The body of a response as a stream, from [`Response::reader`].
///
/// Its errors are [`io::Error`]s around an [`AttestationError`] (see [`io::Error::get_ref`]) as [`Response::bytes`] gives it.
/// A body that breaks off is an error each time it is read, and never looks like one that has ended: leave a loop over it at
/// the first error.
///
/// ```no_run
/// # fn f(session: blindbox_attestation::blocking::Session) -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::BufRead;
///
/// for line in session.get("/events").send()?.reader().lines() {
///     println!("{}", line?);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct BodyReader {
    state: State,
    chunk: Bytes,
}

enum State {
    Open(AsyncResponse),
    /// With the trailers, if there were any.
    Ended(Option<HeaderMap>),
    Failed(AttestationError),
}

impl BodyReader {
    /// Returns the trailers, after the body was read to its end; `None` if there were none. As [`crate::Response::trailers`].
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        match &self.state {
            State::Ended(trailers) => trailers.as_ref(),
            State::Open(_) | State::Failed(_) => None,
        }
    }

    fn next_chunk(&mut self) -> Result<(), AttestationError> {
        // Before the state is taken: an attempt in async code must not lose the body, which can still be read elsewhere.
        runtime::check()?;
        match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Ended(trailers) => {
                self.state = State::Ended(trailers);
                Ok(())
            }
            State::Failed(error) => {
                self.state = State::Failed(error.clone());
                Err(error)
            }
            State::Open(mut response) => {
                let outcome = runtime::run(async move {
                    let chunk = response.chunk().await;
                    (chunk, response)
                });
                let failure = match outcome {
                    Ok((Ok(Some(chunk)), response)) => {
                        (self.state, self.chunk) = (State::Open(response), chunk);
                        return Ok(());
                    }
                    Ok((Ok(None), response)) => {
                        self.state = State::Ended(response.trailers().cloned());
                        return Ok(());
                    }
                    Ok((Err(error), _)) | Err(error) => error,
                };
                self.state = State::Failed(failure.clone());
                Err(failure)
            }
        }
    }
}

impl BufRead for BodyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() && !matches!(self.state, State::Ended(_)) {
            self.next_chunk().map_err(|error| io::Error::new(kind(&error), error))?;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count.min(self.chunk.len()));
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Open(_) => "open",
            State::Ended(_) => "ended",
            State::Failed(_) => "failed",
        };
        write!(f, "blocking::BodyReader({state})")
    }
}

fn kind(error: &AttestationError) -> io::ErrorKind {
    match error.reason() {
        AttestationError::Timeout { .. } | AttestationError::AttestationExpired => io::ErrorKind::TimedOut,
        AttestationError::ApplicationUnreachable { .. } => io::ErrorKind::ConnectionAborted,
        _ => io::ErrorKind::Other,
    }
}
