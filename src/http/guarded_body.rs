//! The body of a request on its way, which continues only while its peer is attested.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::headers;
use super::request_body::{BoxBody, RequestBody, StreamedBody};
use crate::error::{AttestationError, BoxError};
use crate::sync::lock;

/// How far the HTTP library has come with a body.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<ProgressState>);

#[derive(Default)]
struct ProgressState {
    begun: AtomicBool,
    over: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Progress {
    /// The progress of a request without a body.
    pub(crate) fn over() -> Self {
        let progress = Self::default();
        progress.0.over.store(true, Ordering::SeqCst);
        progress
    }

    /// Whether the library has all of the body: only then the connection is free when the response has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::SeqCst)
    }

    /// Whether the library has asked for any of it.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::SeqCst)
    }

    /// Records why the caller's body cannot be sent.
    pub(crate) fn fail(&self, reason: String) {
        *lock(&self.0.failure) = Some(reason);
    }

    /// Why the caller's body could not be read.
    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.0.failure).clone()
    }
}

/// A body on its way. Its peer is checked before each chunk.
pub(super) struct GuardedBody<C> {
    source: Source,
    /// The rest of the chunk that was read last.
    rest: Bytes,
    trailers: Option<HeaderMap>,
    piece_size: usize,
    /// Returns an error if nothing more may be sent to the peer.
    check: C,
    progress: Progress,
}

enum Source {
    Ended,
    Waiting(StreamedBody),
    Reading(BoxBody),
}

impl<C> GuardedBody<C> {
    /// `piece_size` is the most bytes that are given out at a time.
    pub(super) fn new(body: RequestBody, trailers: Option<HeaderMap>, piece_size: usize, check: C) -> (Self, Progress) {
        let progress = Progress::default();
        let (source, rest) = match body {
            RequestBody::Bytes(bytes) => (Source::Ended, bytes),
            RequestBody::Stream(stream) => (Source::Waiting(stream), Bytes::new()),
        };
        (Self { source, rest, trailers, piece_size, check, progress: progress.clone() }, progress)
    }

    /// Reads on until there is a chunk or the body has ended; trailers of the body itself are returned.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, BoxError>> {
        while self.rest.is_empty() {
            match &mut self.source {
                Source::Ended => break,
                Source::Waiting(shared) => {
                    // Taken at the last moment: a request that was never written can be sent again.
                    let Some(body) = shared.take() else {
                        return Poll::Ready(Err("a body that is a stream can be sent once".into()));
                    };
                    self.source = Source::Reading(body);
                }
                Source::Reading(body) => match std::task::ready!(body.as_mut().poll_frame(cx)) {
                    None => self.source = Source::Ended,
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.rest = data,
                        Err(frame) => {
                            let trailers = frame.into_trailers().ok();
                            let checked = trailers.as_ref().map_or(Ok(()), headers::check_all);
                            return Poll::Ready(checked.map(|()| trailers).map_err(Into::into));
                        }
                    },
                },
            }
        }
        Poll::Ready(Ok(None))
    }
}

impl<C: Fn() -> Result<(), AttestationError> + Unpin> Body for GuardedBody<C> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.progress.0.begun.store(true, Ordering::SeqCst);
        let own_trailers = match std::task::ready!(self.poll_source(cx)) {
            Ok(trailers) => trailers,
            Err(error) => {
                // The HTTP library does not pass the reason on.
                self.progress.fail(error.to_string());
                return Poll::Ready(Some(Err(error)));
            }
        };
        // The sender of the request looks for the reason at the peer: HTTP/2 does not pass this one on.
        if let Err(error) = (self.check)() {
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = if !self.rest.is_empty() {
            let size = self.rest.len().min(self.piece_size);
            Some(Frame::data(self.rest.split_to(size)))
        } else {
            let trailers = own_trailers.or_else(|| self.trailers.take());
            trailers.map(Frame::trailers)
        };
        if frame.is_none() || self.is_end_stream() {
            self.progress.0.over.store(true, Ordering::SeqCst);
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let source_has_ended = match &self.source {
            Source::Ended => true,
            Source::Waiting(_) => false,
            Source::Reading(body) => body.is_end_stream(),
        };
        self.rest.is_empty() && self.trailers.is_none() && source_has_ended
    }

    fn size_hint(&self) -> SizeHint {
        // Only a body in chunks can have trailers (RFC 9112 section 7.1.2).
        if self.trailers.is_some() {
            return SizeHint::default();
        }
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let source = match &self.source {
            Source::Ended => SizeHint::with_exact(0),
            Source::Waiting(shared) => shared.size(),
            Source::Reading(body) => body.size_hint(),
        };
        source.exact().map_or_else(SizeHint::default, |exact| SizeHint::with_exact(exact.saturating_add(rest)))
    }
}
