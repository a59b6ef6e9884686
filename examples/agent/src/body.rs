//! Bodies on their way through, with a bound on silence and on bytes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::rate_limit::Place;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response of the agent.
pub(crate) type Answer = UnsyncBoxBody<Bytes, BoxError>;

pub(crate) fn whole(body: impl Into<Bytes>) -> Answer {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that ends with an error when nothing comes for a while, or when it is longer than allowed.
///
/// Only the time in which it was waited for is silence: while the receiver is slow, nothing is waited for.
pub(crate) struct LimitedBody<B> {
    inner: B,
    left: u64,
    idle: Duration,
    silence: Pin<Box<Sleep>>,
    waiting: bool,
    too_long: Arc<AtomicBool>,
    /// Given back with the body.
    _place: Option<Place>,
}

impl<B> LimitedBody<B> {
    pub(crate) fn new(inner: B, limit: u64, idle: Duration) -> Self {
        let silence = Box::pin(tokio::time::sleep(idle));
        Self { inner, left: limit, idle, silence, waiting: false, too_long: Arc::default(), _place: None }
    }

    /// Keeps a place until the body has ended.
    pub(crate) fn holding(self, place: Place) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// Whether it was longer than allowed, as far as it was read.
    pub(crate) fn too_long(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.too_long)
    }
}

impl<B> Body for LimitedBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            if !std::mem::replace(&mut self.waiting, true) {
                let end = Instant::now() + self.idle;
                self.silence.as_mut().reset(end);
            }
            ready!(self.silence.as_mut().poll(cx));
            return Poll::Ready(Some(Err("nothing came for too long".into())));
        };
        self.waiting = false;
        let Some(frame) = frame.transpose().map_err(Into::into)? else { return Poll::Ready(None) };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) {
            Some(left) => self.left = left,
            None => {
                self.too_long.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err("the body is too long".into())));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
