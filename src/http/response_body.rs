//! The body of a response, which is cut off when the peer is refused, or when its attestation ended too long ago.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use url::Url;

use super::guard::{Cancelled, Guard};
use super::sealed_response::{OpeningError, SealedBody};
use crate::deadline::Deadline;
use crate::error::AttestationError;

/// How long a response may continue after the attestation of its peer has ended.
const GRACE: Duration = Duration::from_secs(60);

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

/// Where the content comes from.
pub(super) enum Source {
    Plain(Incoming),
    Sealed(Box<SealedBody>),
}

impl From<Incoming> for Source {
    fn from(incoming: Incoming) -> Self {
        Self::Plain(incoming)
    }
}

impl From<SealedBody> for Source {
    fn from(body: SealedBody) -> Self {
        Self::Sealed(Box::new(body))
    }
}

impl Source {
    /// Returns the next frame; `None` if the content is complete.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OpeningError>>> {
        match self {
            Self::Plain(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(OpeningError::Transport)))
            }
            Self::Sealed(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(incoming) => incoming.is_end_stream(),
            Self::Sealed(body) => body.is_end_stream(),
        }
    }

    /// Returns the size of the rest; of a sealed body nothing is known before its end.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(incoming) => incoming.size_hint(),
            Self::Sealed(_) => SizeHint::default(),
        }
    }
}

/// A body that is not complete yet.
struct Open {
    source: Source,
    guard: Box<dyn Guard>,
    /// Made when it is first needed: most bodies end before.
    cancelled: Option<Cancelled>,
    timeout: Option<(Deadline, Pin<Box<Sleep>>)>,
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
        let polled = open.source.poll_frame(cx);
        // A complete response has nothing left to cut off, whatever happened to its peer.
        if let Poll::Ready(None) = polled {
            self.state = State::Ended;
            return Poll::Ready(None);
        }
        // Checked directly: polling the future would be pending in a task that has used up tokio's budget. The future is needed only
        // to wake the task while there is nothing to read; polling it costs more than reading a chunk.
        let cut = match open.guard.cancelled(GRACE) {
            None if polled.is_pending() => match open.poll_cancelled(cx) {
                Poll::Ready(error) => Some(error),
                Poll::Pending => open.poll_timeout(cx),
            },
            None => open.poll_timeout(cx),
            cancelled => cancelled,
        };
        let failure = match (cut, polled) {
            (Some(error), _) => error.after_request_was_sent(),
            (None, Poll::Ready(Some(Err(error)))) => error.of_application(&self.url).after_request_was_sent(),
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
            State::Open(open) => open.source.is_end_stream(),
            State::Ended => true,
            State::Failed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Open(open) => open.source.size_hint(),
            State::Ended => SizeHint::with_exact(0),
            State::Failed(_) => SizeHint::default(),
        }
    }
}

impl Open {
    fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<AttestationError> {
        self.cancelled.get_or_insert_with(|| self.guard.until_cancelled(GRACE)).as_mut().poll(cx)
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Option<AttestationError> {
        let (deadline, sleep) = self.timeout.as_mut()?;
        sleep.as_mut().poll(cx).is_ready().then(|| deadline.timeout_error("the request"))
    }
}

impl Body {
    /// Returns the body of a response that has arrived; `deadline` is the one of the request.
    pub(super) fn new(source: impl Into<Source>, guard: impl Guard, url: &Url, deadline: Option<Deadline>) -> Self {
        let timeout = deadline.map(|deadline| (deadline, Box::pin(tokio::time::sleep(deadline.remaining()))));
        let state =
            State::Open(Box::new(Open { source: source.into(), guard: Box::new(guard), cancelled: None, timeout }));
        let mut body = Self { state, url: Box::new(url.clone()) };
        body.end_if_over();
        body
    }

    pub(super) fn empty(url: &Url) -> Self {
        Self { state: State::Ended, url: Box::new(url.clone()) }
    }

    /// Returns the requested URL.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the connection at the end of a body of known length: the caller may never poll for the end.
    fn end_if_over(&mut self) {
        if let State::Open(open) = &self.state
            && open.source.is_end_stream()
        {
            self.state = State::Ended;
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?})", self.size_hint().exact())
    }
}
