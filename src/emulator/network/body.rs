//! Bodies of responses, well-behaved and otherwise.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::error::BoxError;

/// How much white space one frame of an oversized body holds.
static PADDING: [u8; 64 * 1024] = [b' '; 64 * 1024];

/// Between the last bytes of a body and the error that ends it.
const BEFORE_A_CUT: Duration = Duration::from_millis(20);

/// What is sent after the headers of a response.
pub(crate) enum ResponseBody {
    /// All of it at once.
    Whole(Bytes),
    /// One byte at a time, with a pause before each.
    Dripping { rest: Bytes, every: Duration, pause: Pin<Box<Sleep>> },
    /// The bytes, then as much white space again and again: JSON allows it, only a limit stops it.
    Padded { first: Bytes, padding: u64 },
    /// As another body has it.
    Passed(Pin<Box<dyn HttpBody<Data = Bytes, Error = io::Error> + Send>>),
    /// The bytes, then an error, which ends the stream or the connection.
    Cut(CutBody),
}

impl ResponseBody {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(bytes.into())
    }

    pub(crate) fn passed<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self::Passed(Box::pin(WithIoError(Box::pin(body))))
    }

    pub(crate) fn cut_after(first: Bytes) -> Self {
        Self::Cut(CutBody::Unsent(first))
    }

    pub(crate) fn dripping(rest: Bytes, every: Duration) -> Self {
        Self::Dripping { rest, every, pause: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = match &mut *self {
            Self::Passed(body) => return body.as_mut().poll_frame(cx),
            Self::Whole(bytes) => std::mem::take(bytes),
            Self::Dripping { rest, every, pause } => {
                if rest.is_empty() {
                    return Poll::Ready(None);
                }
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                pause.as_mut().reset(Instant::now() + *every);
                rest.split_to(1)
            }
            Self::Padded { first, padding } if first.is_empty() => {
                let len = PADDING.len().min(usize::try_from(*padding).unwrap_or(usize::MAX));
                *padding = padding.saturating_sub(PADDING.len().try_into().unwrap_or(u64::MAX));
                Bytes::from_static(PADDING.split_at(len).0)
            }
            Self::Padded { first, .. } => std::mem::take(first),
            Self::Cut(body) => return body.poll_frame(cx),
        };
        Poll::Ready(if data.is_empty() { None } else { Some(Ok(Frame::data(data))) })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Passed(body) => body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len().try_into().unwrap_or(u64::MAX)),
            Self::Passed(body) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

/// A body that ends with an error when the HTTP library has sent what precedes it. Without that order, HTTP/2 would discard the
/// headers and the bytes that it still holds, and the client would see a reset stream without a response.
pub(crate) enum CutBody {
    Unsent(Bytes),
    /// The HTTP library holds the bytes: it drops them when they are in the buffer of the connection, where a reset follows them.
    Queued(oneshot::Receiver<()>),
    /// They are sent.
    Pausing(Pin<Box<Sleep>>),
}

impl CutBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self {
            Self::Unsent(bytes) => {
                let (dropped, queued) = oneshot::channel();
                let bytes = Bytes::from_owner(Watched { bytes: std::mem::take(bytes), _dropped: dropped });
                *self = Self::Queued(queued);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Queued(queued) => {
                if Pin::new(queued).poll(cx).is_ready() {
                    *self = Self::Pausing(Box::pin(tokio::time::sleep(BEFORE_A_CUT)));
                    cx.waker().wake_by_ref();
                }
                // HTTP/1.1 flushes its buffer when a body is not ready.
                Poll::Pending
            }
            Self::Pausing(pause) => {
                pause.as_mut().poll(cx).map(|()| Some(Err(io::ErrorKind::ConnectionAborted.into())))
            }
        }
    }
}

/// Bytes whose last reference closes a channel when it is dropped.
struct Watched {
    bytes: Bytes,
    _dropped: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct WithIoError<B>(Pin<Box<B>>);

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>>> HttpBody for WithIoError<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.as_mut().poll_frame(cx).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// The next data of a body, or the reason why it breaks off; `None` at its end.
pub(crate) async fn next_data<B: HttpBody<Data = Bytes> + Unpin>(body: &mut B) -> Option<Result<Bytes, B::Error>> {
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await? {
            Err(error) => return Some(Err(error)),
            // Trailers are no data.
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Some(Ok(data));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// The HTTP library may run at any time: a cut does not begin to wait before it has let go of the bytes.
    #[tokio::test]
    async fn a_cut_follows_the_bytes_before_it() {
        for first in [&b"half"[..], b""] {
            let mut body = ResponseBody::cut_after(Bytes::from_static(first));
            let mut poll = |cx: &mut Context<'_>| Pin::new(&mut body).poll_frame(cx);
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(Some(Ok(frame))) = poll(&mut context) else { panic!("no bytes") };
            let queued = frame.into_data().unwrap();
            assert_eq!(queued, first);
            assert!(poll(&mut context).is_pending());
            let clone = queued.clone();
            drop(queued);
            assert!(poll(&mut context).is_pending());
            let ResponseBody::Cut(CutBody::Queued(_)) = &body else { panic!("the pause has begun") };
            drop(clone);
            let mut poll = |cx: &mut Context<'_>| Pin::new(&mut body).poll_frame(cx);
            assert!(poll(&mut context).is_pending(), "HTTP/1.1 flushes when a body is not ready");
            let error = std::future::poll_fn(&mut poll).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        }
    }
}
