//! Opens the response to a sealed request, as it arrives through a front end.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Response, StatusCode};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use url::Url;

use crate::error::AttestationError;
use crate::message::binary_http::{Control, Field, Head, Part};
use crate::message::exchange::client::{ResponseError, ResponseReader};
use crate::message::exchange::stream::Ending;
use crate::message::headers::from_fields;
use crate::transport::{Stage, TransportError, TransportErrorKind, classify};

/// The content of a sealed response, whose head was opened.
pub(crate) struct SealedBody {
    incoming: Incoming,
    /// `None` after the final chunk.
    reader: Option<ResponseReader>,
    /// The parts that the final chunk had.
    last: VecDeque<Part>,
    trailers: Option<HeaderMap>,
}

/// Why a response cannot be opened to its end.
#[derive(Debug)]
pub(crate) enum OpeningError {
    /// The connection broke.
    Transport(hyper::Error),
    /// It is not that of the instance, or not complete.
    Response(ResponseError),
}

impl From<ResponseError> for OpeningError {
    fn from(error: ResponseError) -> Self {
        Self::Response(error)
    }
}

impl OpeningError {
    /// Returns the error of the application at this URL.
    pub(crate) fn of_application(self, url: &Url) -> AttestationError {
        let failure = match self {
            Self::Transport(error) => classify(&error, Stage::Body).caused_by(error),
            Self::Response(error) => TransportError::new(TransportErrorKind::Broken, error.to_string()),
        };
        failure.of_application(url)
    }
}

impl SealedBody {
    /// Reads up to the head: status and headers of the application.
    pub(crate) async fn open(incoming: Incoming, reader: ResponseReader) -> Result<Response<Self>, OpeningError> {
        let mut body = Self { incoming, reader: Some(reader), last: VecDeque::new(), trailers: None };
        match poll_fn(|cx| body.poll_part(cx)).await? {
            Some(Part::Head(head)) => Ok(response(head, body)?),
            _ => Err(ResponseError::Malformed.into()),
        }
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, OpeningError>> {
        loop {
            if let Some(part) = self.last.pop_front() {
                return Poll::Ready(Ok(Some(part)));
            }
            let Some(reader) = &mut self.reader else { return Poll::Ready(Ok(None)) };
            if let Some(part) = reader.next()? {
                return Poll::Ready(Ok(Some(part)));
            }
            match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers of the outer response are the front end's.
                    if let Ok(data) = frame.into_data() {
                        reader.push(&data);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(OpeningError::Transport(error))),
                None => self.finish()?,
            }
        }
    }

    /// Opens the final chunk: only with it the response is complete.
    fn finish(&mut self) -> Result<(), OpeningError> {
        let Some(reader) = self.reader.take() else { return Ok(()) };
        let Ending { parts, trailers } = reader.finish()?;
        self.last = parts.into();
        self.trailers = match from_fields(&trailers) {
            Some(trailers) => Some(trailers).filter(|trailers| !trailers.is_empty()),
            None => return Err(ResponseError::Trailer.into()),
        };
        Ok(())
    }

    /// Returns the next piece of the content, then the trailers, then `None`: the response is complete.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OpeningError>>> {
        Poll::Ready(match ready!(self.poll_part(cx)) {
            Ok(Some(Part::Content(content))) => Some(Ok(Frame::data(content))),
            // The reader gives one, which was read before.
            Ok(Some(Part::Head(_))) => Some(Err(ResponseError::Malformed.into())),
            Ok(None) => self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(error)),
        })
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.reader.is_none() && self.last.is_empty() && self.trailers.is_none()
    }
}

fn response(head: Head, body: SealedBody) -> Result<Response<SealedBody>, ResponseError> {
    let Control::Response { status } = head.control else { return Err(ResponseError::Malformed) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| ResponseError::Malformed)?;
    *response.headers_mut() = headers(&head.fields)?;
    Ok(response)
}

fn headers(fields: &[Field]) -> Result<HeaderMap, ResponseError> {
    from_fields(fields).ok_or(ResponseError::Malformed)
}
