//! [`MessageExchange`]: seals the content of one request, and opens the response to it.

use bytes::Bytes;
use url::Url;

use super::host::HostResponse;
use super::request::RequestToSeal;
use super::validity::Validity;
use crate::error::AttestationError;
use crate::message::binary_http::{Control, Field, Part};
use crate::message::exchange::client::{ResponseError, ResponseReader};
use crate::message::exchange::not_sealed::NotSealed;
use crate::message::exchange::outer;
use crate::message::exchange::resending::{Failure, Repetition, Resending};
use crate::message::exchange::stream::{Ending, MessageWriter};
use crate::types::UnixTime;

/// A part of the application's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponsePart {
    /// The first part.
    Head {
        /// The status: 200 to 599.
        status: u16,
        /// The headers, in lower case.
        headers: Vec<(String, Vec<u8>)>,
    },
    /// A piece of the content, never empty.
    Content(Bytes),
}

/// Why there is no complete response, and what the host does now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExchangeFailed {
    /// The error for the caller, unless the request is sealed again.
    pub error: AttestationError,
    /// The request may be sealed again after so many milliseconds, as the next attempt, without being processed twice.
    pub again_after_ms: Option<u32>,
}

/// A sealed request that was begun: `POST`.
#[non_exhaustive]
pub struct BegunExchange {
    /// The URL at the agent.
    pub url: String,
    /// The headers that the front end sees.
    pub headers: Vec<(String, String)>,
    /// What the content begins with.
    pub start: Vec<u8>,
    /// Seals the rest of it, and opens the response.
    pub exchange: MessageExchange,
}

/// One sealed request and its response.
pub struct MessageExchange {
    writer: Option<MessageWriter>,
    /// `None` after the final chunk, or a failure.
    reader: Option<ResponseReader>,
    /// The application's response has begun.
    has_head: bool,
    resending: Resending,
    attempt: u8,
    url: Url,
    validity: Validity,
}

impl MessageExchange {
    pub(super) fn new(
        writer: MessageWriter,
        reader: ResponseReader,
        request: &RequestToSeal<'_>,
        url: Url,
        validity: Validity,
    ) -> Self {
        let repetition = Repetition::of(request.method, request.idempotent);
        Self {
            writer: Some(writer),
            reader: Some(reader),
            has_head: false,
            resending: Resending { repetition, whole_body: request.repeatable },
            attempt: request.attempt,
            url,
            validity,
        }
    }

    /// Seals content.
    ///
    /// # Errors
    ///
    /// [`AttestationError::SessionPoisoned`] after a refusal and [`AttestationError::AttestationExpired`] after the end of the attestation;
    /// [`AttestationError::InvalidRequest`] after the end of the request. Unless all of the content was there to be sent again, the
    /// error says that the request was sent: what was sealed before may have arrived.
    pub fn content(&mut self, bytes: &[u8], now: UnixTime) -> Result<Vec<u8>, AttestationError> {
        self.check(now)?;
        let reason = "expected no content after the end of the request";
        let writer = self.writer.as_mut().ok_or(AttestationError::InvalidRequest { reason })?;
        Ok(writer.content(bytes)?)
    }

    /// Seals the end of the content, without which the request is incomplete.
    ///
    /// # Errors
    ///
    /// As [`MessageExchange::content`].
    pub fn end(&mut self, now: UnixTime) -> Result<Vec<u8>, AttestationError> {
        self.check(now)?;
        let reason = "expected one end of the request";
        let writer = self.writer.take().ok_or(AttestationError::InvalidRequest { reason })?;
        Ok(writer.finish(&[])?)
    }

    /// Returns whether the content of a response with this status and `Content-Type` may be that of the instance, and is given to
    /// [`MessageExchange::open`]. If not, it is given to [`MessageExchange::refuse`].
    #[must_use]
    pub fn is_sealed(status: u16, content_type: &str) -> bool {
        outer::is_sealed(status, content_type)
    }

    /// Opens the next piece of the content.
    ///
    /// # Errors
    ///
    /// [`AttestationError::ApplicationUnreachable`] for a response that is not that of the instance to this request.
    pub fn open(&mut self, bytes: &[u8]) -> Result<Vec<ResponsePart>, ExchangeFailed> {
        self.check_standing()?;
        let mut reader = self.reader.take().ok_or_else(|| self.over())?;
        reader.push(bytes);
        let mut parts = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(part)) => parts.push(self.part(part)?),
                Ok(None) => break,
                Err(error) => return Err(self.failed(&error)),
            }
        }
        self.reader = Some(reader);
        Ok(parts)
    }

    /// Opens the end of the content: only then the response is complete. Returns the last parts, and the trailers.
    ///
    /// # Errors
    ///
    /// As [`MessageExchange::open`]; and what the instance says in place of the application.
    #[allow(clippy::type_complexity, reason = "trailers, as headers")]
    pub fn finish(&mut self) -> Result<(Vec<ResponsePart>, Vec<(String, Vec<u8>)>), ExchangeFailed> {
        self.check_standing()?;
        let reader = self.reader.take().ok_or_else(|| self.over())?;
        let Ending { parts, trailers } = reader.finish().map_err(|error| self.failed(&error))?;
        let parts = parts.into_iter().map(|part| self.part(part)).collect::<Result<_, _>>()?;
        Ok((parts, trailers.into_iter().map(header).collect()))
    }

    /// Takes a response that is not sealed, with at most 4096 bytes of its content, or a failure of the network, and returns the error.
    /// Nothing of it is authenticated.
    pub fn refuse(&mut self, response: HostResponse<'_>) -> ExchangeFailed {
        self.reader = None;
        if let Err(failed) = self.check_standing() {
            return failed;
        }
        match response {
            HostResponse::Redirect => {
                self.unauthenticated(None, "the front end responded with a redirect, which the instance has not sealed")
            }
            HostResponse::Failed { reason } => self.unauthenticated(None, reason),
            HostResponse::Received { status, content_type, body } => {
                let found = NotSealed::of(status, content_type, body);
                if found.is_of_absent_instance() {
                    self.validity.reached.mark_lost();
                }
                self.unauthenticated(found.failure(), &found.to_string())
            }
        }
    }

    fn check(&self, now: UnixTime) -> Result<(), AttestationError> {
        let whole = self.resending.whole_body;
        self.validity.check(now).map_err(|error| if whole { error } else { error.after_request_was_sent() })
    }

    fn check_standing(&self) -> Result<(), ExchangeFailed> {
        let sent = |error: AttestationError| error.after_request_was_sent();
        self.validity.standing.check().map_err(|error| ExchangeFailed { error: sent(error), again_after_ms: None })
    }

    fn over(&self) -> ExchangeFailed {
        self.unauthenticated(None, "expected nothing after the end of the response")
    }

    fn part(&mut self, part: Part) -> Result<ResponsePart, ExchangeFailed> {
        match part {
            Part::Content(content) => Ok(ResponsePart::Content(content)),
            Part::Head(head) => {
                let Control::Response { status } = head.control else {
                    return Err(self.failed(&ResponseError::Malformed));
                };
                self.has_head = true;
                Ok(ResponsePart::Head { status, headers: head.fields.into_iter().map(header).collect() })
            }
        }
    }

    fn failed(&self, error: &ResponseError) -> ExchangeFailed {
        match error.failure() {
            // A sealed decline says that the request was not processed and never will be.
            Some(Failure::Declined) => {
                let again_after_ms = self.again(Failure::Declined);
                ExchangeFailed { error: self.error(&error.to_string()), again_after_ms }
            }
            failure => self.unauthenticated(failure, &error.to_string()),
        }
    }

    /// With a failure that another attestation may repair, the next request attests again: it costs that, and no more.
    fn unauthenticated(&self, failure: Option<Failure>, reason: &str) -> ExchangeFailed {
        if failure.is_some() {
            self.validity.reached.mark_lost();
        }
        let error = self.error(reason).after_request_was_sent();
        ExchangeFailed { error, again_after_ms: failure.and_then(|failure| self.again(failure)) }
    }

    fn again(&self, failure: Failure) -> Option<u32> {
        let wait = self.resending.wait(failure, self.attempt).filter(|_| !self.has_head)?;
        Some(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))
    }

    fn error(&self, reason: &str) -> AttestationError {
        let reason = format!("{}: {reason}", self.url.origin().ascii_serialization());
        AttestationError::ApplicationUnreachable { reason, source: None }
    }
}

/// Omits everything: keys and content.
impl std::fmt::Debug for MessageExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageExchange").finish_non_exhaustive()
    }
}

fn header(Field { name, value }: Field) -> (String, Vec<u8>) {
    (name, value)
}
