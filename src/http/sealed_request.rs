//! Seals a request to a message key: method, path, fields, content and trailers. A front end sees sizes and times.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TE, TRAILER};
use http_body::{Body, Frame, SizeHint};
use url::Url;

use super::guarded_body::Progress;
use crate::base_url::BaseUrl;
use crate::error::{AttestationError, BoxError};
use crate::message::binary_http::{Field, Head};
use crate::message::exchange::client::{Numbered, ResponseReader};
use crate::message::exchange::stream::{MessageError, MessageWriter};
use crate::message::headers::to_fields;
use crate::transport::OutgoingBody;

/// A sealed request.
pub(crate) struct SealedRequest {
    pub(crate) body: OutgoingBody,
    pub(crate) handed_out: HandedOut,
    /// Opens the response to this request, and no other.
    pub(crate) response: ResponseReader,
}

/// Whether the HTTP library has taken any byte of the sealed request. What a front end says about it counts for nothing.
#[derive(Clone, Default)]
pub(crate) struct HandedOut(Arc<AtomicBool>);

impl HandedOut {
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Seals a request for this URL, under its number.
pub(crate) fn seal(
    request: http::Request<OutgoingBody>,
    url: &Url,
    base: &BaseUrl,
    progress: Progress,
    number: Numbered<'_>,
) -> Result<SealedRequest, AttestationError> {
    let (head, body) = request.into_parts();
    let mut headers = head.headers;
    // They delimit or announce what binary HTTP delimits by itself.
    for name in [CONTENT_LENGTH, TRAILER, TE] {
        headers.remove(name);
    }
    let head = Head { control: base.control_data(head.method.as_str(), url), fields: to_fields(&headers) };
    let (writer, start, response) = number.seal(head)?;
    let handed_out = HandedOut::default();
    let mut sealed = SealedBody { start, writer: Some(writer), body, progress, handed_out: handed_out.clone() };
    // A request without a body is one piece, and has a length.
    if sealed.body.is_end_stream() {
        sealed.finish(&[])?;
    }
    Ok(SealedRequest { body: OutgoingBody::new(sealed), handed_out, response })
}

/// The content of the outer request.
struct SealedBody {
    /// What is sealed and was not taken yet.
    start: Vec<u8>,
    /// `None` after the final chunk.
    writer: Option<MessageWriter>,
    /// Checks the peer before each piece.
    body: OutgoingBody,
    progress: Progress,
    handed_out: HandedOut,
}

impl SealedBody {
    /// Seals the end of the request with its trailers.
    fn finish(&mut self, trailers: &[Field]) -> Result<(), MessageError> {
        if let Some(writer) = self.writer.take() {
            self.start.extend(writer.finish(trailers)?);
        }
        Ok(())
    }

    /// Seals the next piece, or the end.
    fn seal(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), MessageError> {
        let Some(frame) = frame else { return self.finish(&[]) };
        match frame.into_data() {
            Ok(data) => {
                if let Some(writer) = &mut self.writer {
                    let sealed = writer.content(&data)?;
                    if self.start.is_empty() {
                        self.start = sealed;
                    } else {
                        self.start.extend(sealed);
                    }
                }
                // The end goes with the last piece: then all of the request was taken when the library has that.
                if self.body.is_end_stream() { self.finish(&[]) } else { Ok(()) }
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => self.finish(&to_fields(&trailers)),
                Err(_) => Ok(()),
            },
        }
    }
}

impl Body for SealedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.handed_out.0.store(true, Ordering::SeqCst);
        while self.start.is_empty() {
            if self.writer.is_none() {
                return Poll::Ready(None);
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose();
            let sealed = frame.and_then(|frame| {
                self.seal(frame).map_err(|error| {
                    let reason = format!("it cannot be sealed: {error}");
                    // The HTTP library does not pass the reason on.
                    self.progress.fail(reason.clone());
                    reason.into()
                })
            });
            if let Err(error) = sealed {
                // Without its final chunk, the request is incomplete for the instance.
                self.writer = None;
                return Poll::Ready(Some(Err(error)));
            }
        }
        let sealed = std::mem::take(&mut self.start);
        Poll::Ready(Some(Ok(Frame::data(sealed.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_empty() && self.writer.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.writer {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(u64::try_from(self.start.len()).unwrap_or(u64::MAX)),
        }
    }
}
