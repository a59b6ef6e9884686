//! The content of a sealed request, as it arrives.

use std::collections::VecDeque;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::message::binary_http::Part;
use crate::message::exchange::agent::RequestContent as Content;
use crate::message::exchange::stream::{Ending, MessageError};
use crate::message::headers::from_fields;

/// An error of an outer body.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The content of a sealed request. It gives only what has been authenticated, and ends without an error only if the client ended it.
pub struct RequestContent<B> {
    state: State<B>,
    /// What was read and not given out yet.
    ready: VecDeque<Frame<Bytes>>,
}

enum State<B> {
    Open(Box<(Content, B)>),
    Ended,
    Failed,
}

/// Why the content of a sealed request ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("the content of the sealed request cannot be read to its end: {0}")]
pub struct RequestContentError(#[source] Reason);

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("the connection that it comes on failed: {0}")]
    Outer(BoxError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("a trailer field is none that HTTP has")]
    Trailer,
    #[error("it has failed before")]
    Failed,
}

impl<B> RequestContent<B> {
    pub(super) fn new(content: Content, body: B) -> Self {
        Self { state: State::Open(Box::new((content, body))), ready: VecDeque::new() }
    }
}

impl<B> RequestContent<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// Reads until something can be given out, or the content has ended.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RequestContentError>> {
        while self.ready.is_empty() {
            let read = match &mut self.state {
                State::Ended => return Poll::Ready(Ok(())),
                State::Failed => Err(Reason::Failed),
                State::Open(open) => ready!(open.0.poll_read(&mut open.1, cx)),
            };
            match read {
                Ok(Read::Frame(frame)) => self.ready.push_back(frame),
                Ok(Read::End) => {
                    if let State::Open(open) = std::mem::replace(&mut self.state, State::Failed) {
                        let (content, _) = *open;
                        self.ready = end(content).map_err(RequestContentError)?;
                        self.state = State::Ended;
                    }
                }
                Err(reason) => {
                    self.state = State::Failed;
                    return Poll::Ready(Err(RequestContentError(reason)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

enum Read {
    Frame(Frame<Bytes>),
    /// The outer body has ended.
    End,
}

impl Content {
    fn poll_read<B>(&mut self, body: &mut B, cx: &mut Context<'_>) -> Poll<Result<Read, Reason>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    {
        loop {
            match self.next()? {
                Some(Part::Content(bytes)) => return Poll::Ready(Ok(Read::Frame(Frame::data(bytes)))),
                // The decoder gives one head, which was read before.
                Some(Part::Head(_)) => return Poll::Ready(Err(Reason::Failed)),
                None => {}
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(Read::End)),
                Some(Err(error)) => return Poll::Ready(Err(Reason::Outer(error.into()))),
                Some(Ok(frame)) => {
                    // Outer trailers are not a part of the message.
                    if let Ok(data) = frame.into_data() {
                        self.push(&data);
                    }
                }
            }
        }
    }
}

fn end(content: Content) -> Result<VecDeque<Frame<Bytes>>, Reason> {
    let Ending { parts, trailers } = content.finish()?;
    let mut frames = VecDeque::new();
    for part in parts {
        match part {
            Part::Content(bytes) => frames.push_back(Frame::data(bytes)),
            Part::Head(_) => return Err(Reason::Failed),
        }
    }
    if !trailers.is_empty() {
        frames.push_back(Frame::trailers(from_fields(&trailers).ok_or(Reason::Trailer)?));
    }
    Ok(frames)
}

impl<B> Body for RequestContent<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = RequestContentError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestContentError>>> {
        match ready!(self.poll_first(cx)) {
            Ok(()) => Poll::Ready(self.ready.pop_front().map(Ok)),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && matches!(self.state, State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

impl<B> std::fmt::Debug for RequestContent<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestContent").finish_non_exhaustive()
    }
}
