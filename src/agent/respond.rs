//! Seals responses.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame};

use super::keys::NoKey;
use crate::message::binary_http::{BinaryHttpError, Control, Field, Head};
use crate::message::exchange::agent::{Responder as Sealer, ResponseHead};
use crate::message::exchange::fields;
use crate::message::exchange::stream::{MessageError, MessageWriter};
use crate::message::headers::to_fields;

/// Responds to one sealed request.
pub struct Responder {
    sealer: Sealer,
    /// Of the request.
    method: Method,
}

impl Responder {
    pub(super) fn new(sealer: Sealer, method: Method) -> Self {
        Self { sealer, method }
    }

    /// Seals the response of the application: status, headers, content and trailers. The outer response has status 200 and no header of
    /// the application's. Fields about a connection are left out, and so is the field in which the agent itself speaks. A response to
    /// `HEAD`, or with status 204 or 304, has no content, whatever the application writes.
    ///
    /// A head that is too large to seal (64 KiB, 256 fields) becomes a sealed status 502 without content.
    ///
    /// # Errors
    ///
    /// If there is no randomness.
    pub fn seal<B>(self, response: Response<B>) -> Result<Response<SealedBody<B>>, NoKey> {
        let (parts, body) = response.into_parts();
        // HTTP/1.1 and HTTP/2 leave it out by themselves, and applications rely on that.
        let has_content =
            self.method != Method::HEAD && !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let (head, body) = match response_head(parts.status, &parts.headers) {
            Ok(head) => (head, has_content.then_some(body)),
            Err(_) => (response_head(StatusCode::BAD_GATEWAY, &HeaderMap::new()).map_err(|_| NoKey)?, None),
        };
        let (writer, start) = self.sealer.begin(&head).map_err(|_| NoKey)?;
        let state = State::Start(start.into(), Box::new(writer), body);
        Ok(sealed_response(SealedBody { state }))
    }

    pub(super) fn decline(self) -> Result<Bytes, NoKey> {
        self.sealer.decline().map(Bytes::from).map_err(|_| NoKey)
    }
}

impl std::fmt::Debug for Responder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Responder").finish_non_exhaustive()
    }
}

/// The outer response with a sealed one as its content.
#[must_use]
pub fn sealed_response<B>(content: B) -> Response<B> {
    let mut response = Response::new(content);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(super::RESPONSE_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A whole sealed response of the agent with a status and no content.
pub(super) fn whole(responder: Sealer, code: StatusCode) -> Result<Bytes, MessageError> {
    let (writer, mut out) = responder.begin(&response_head(code, &HeaderMap::new())?)?;
    out.extend(writer.finish(&[])?);
    Ok(out.into())
}

fn response_head(status: StatusCode, headers: &HeaderMap) -> Result<ResponseHead, BinaryHttpError> {
    ResponseHead::new(Head { control: Control::Response { status: status.as_u16() }, fields: to_fields(headers) })
}

/// The trailers that an application may write.
fn of_application(trailers: &HeaderMap) -> Vec<Field> {
    to_fields(trailers.iter().filter(|(name, _)| !fields::is_reserved(name.as_str())))
}

/// The content of a sealed response. It ends with its final chunk only if the application's content ended; else with an error.
pub struct SealedBody<B> {
    state: State<B>,
}

enum State<B> {
    Start(Bytes, Box<MessageWriter>, Option<B>),
    Content(Box<MessageWriter>, B, HeaderMap),
    Ended,
}

impl<B: Body<Data = Bytes> + Unpin> SealedBody<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SealedBodyError<B::Error>>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Start(mut start, writer, None) => {
                    let end = writer.finish(&[])?;
                    start = [start.as_ref(), &end].concat().into();
                    return Poll::Ready(Some(Ok(start)));
                }
                State::Start(start, writer, Some(body)) => {
                    self.state = State::Content(writer, body, HeaderMap::new());
                    return Poll::Ready(Some(Ok(start)));
                }
                State::Content(mut writer, mut body, trailers) => {
                    let Poll::Ready(frame) = Pin::new(&mut body).poll_frame(cx) else {
                        self.state = State::Content(writer, body, trailers);
                        return Poll::Pending;
                    };
                    let Some(frame) = frame.transpose().map_err(SealedBodyError::Application)? else {
                        let end = writer.finish(&of_application(&trailers))?;
                        return Poll::Ready(Some(Ok(end.into())));
                    };
                    match frame.into_data() {
                        Ok(data) => {
                            let sealed = writer.content(&data)?;
                            self.state = State::Content(writer, body, trailers);
                            if !sealed.is_empty() {
                                return Poll::Ready(Some(Ok(sealed.into())));
                            }
                        }
                        Err(frame) => {
                            let trailers = frame.into_trailers().unwrap_or(trailers);
                            self.state = State::Content(writer, body, trailers);
                        }
                    }
                }
            }
        }
    }
}

/// Why a sealed response is cut: without its final chunk the client takes it for incomplete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealedBodyError<E> {
    /// The content of the application's response failed.
    #[error("the response of the application is cut: {0}")]
    Application(E),
    /// It is too long, or its trailers are none that can be sealed.
    #[error("the response cannot be sealed")]
    Sealing,
}

impl<E> From<MessageError> for SealedBodyError<E> {
    fn from(_: MessageError) -> Self {
        Self::Sealing
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for SealedBody<B> {
    type Data = Bytes;
    type Error = SealedBodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SealedBodyError<B::Error>>>> {
        let data = ready!(self.poll(cx));
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

impl<B> std::fmt::Debug for SealedBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedBody").finish_non_exhaustive()
    }
}
