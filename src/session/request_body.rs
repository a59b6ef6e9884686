//! The body of a request, which goes on only while its peer is attested.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use super::headers;
use super::lock;
use super::peer::Peer;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Any body, with its data as `Bytes`.
pub(super) type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// The most bytes that are given to the HTTP library at a time. The library sends what it was given, whatever happens to the
/// request in the meantime: if it had all of a body, the body would reach a peer that was refused long ago.
pub(super) const CHUNK_SIZE: usize = 16 << 10;

/// The body that a caller gave to a request.
#[derive(Clone)]
pub(super) enum RequestBody {
    Bytes(Bytes),
    Stream(StreamedBody),
}

/// A body that is read while it is sent, and so only once. Clones share it.
#[derive(Clone)]
pub(super) struct StreamedBody {
    body: Arc<Mutex<Option<BoxBody>>>,
    size: SizeHint,
}

impl StreamedBody {
    pub(super) fn new(body: BoxBody) -> Self {
        let size = body.size_hint();
        Self { body: Arc::new(Mutex::new(Some(body))), size }
    }

    /// Whether it was read by a request before.
    pub(super) fn is_taken(&self) -> bool {
        lock(&self.body).is_none()
    }
}

/// Converts a body of any data and error.
pub(super) fn boxed<B>(body: B) -> BoxBody
where
    B: Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::pin(Converted(Box::pin(body)))
}

struct Converted<B>(Pin<Box<B>>);

impl<B: Body<Error: Into<BoxError>>> Body for Converted<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Nothing is copied where the data are `Bytes` already.
        let convert = |frame: Frame<B::Data>| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        self.0.as_mut().poll_frame(cx).map(|next| next.map(|frame| frame.map(convert).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Reads a body from an `AsyncRead`, a chunk at a time.
pub(super) struct ReaderBody<R> {
    reader: Pin<Box<R>>,
    buffer: BytesMut,
}

impl<R: AsyncRead> ReaderBody<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: Box::pin(reader), buffer: BytesMut::new() }
    }
}

impl<R: AsyncRead> Body for ReaderBody<R> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        this.buffer.resize(CHUNK_SIZE, 0);
        let mut read = ReadBuf::new(&mut this.buffer);
        std::task::ready!(this.reader.as_mut().poll_read(cx, &mut read))?;
        let length = read.filled().len();
        if length == 0 {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(this.buffer.split_to(length).freeze()))))
    }
}

/// Reads a body from a stream of chunks.
pub(super) struct ChunksBody<S>(pub(super) Pin<Box<S>>);

impl<S, E> Body for ChunksBody<S>
where
    S: futures_core::Stream<Item = Result<Bytes, E>>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.as_mut().poll_next(cx).map(|next| next.map(|chunk| chunk.map(Frame::data).map_err(Into::into)))
    }
}

/// How far the HTTP library has come with a body.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<ProgressState>);

#[derive(Default)]
struct ProgressState {
    begun: AtomicBool,
    over: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Progress {
    /// The progress of a request without a body.
    pub(super) fn over() -> Self {
        let progress = Self::default();
        progress.0.over.store(true, Ordering::SeqCst);
        progress
    }

    /// Whether the library has all of the body: only then the connection is free when the response has ended.
    pub(super) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::SeqCst)
    }

    /// Whether the library has asked for any of it.
    pub(super) fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::SeqCst)
    }

    /// Why the caller's body could not be read.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.0.failure).clone()
    }
}

/// A body on its way. Its peer is checked before each chunk.
pub(super) struct GuardedBody {
    source: Source,
    /// The rest of the chunk that was read last.
    rest: Bytes,
    trailers: Option<HeaderMap>,
    peer: Arc<Peer>,
    progress: Progress,
}

enum Source {
    Ended,
    Waiting(StreamedBody),
    Reading(BoxBody),
}

impl GuardedBody {
    pub(super) fn new(body: RequestBody, trailers: Option<HeaderMap>, peer: &Arc<Peer>) -> (Self, Progress) {
        let progress = Progress::default();
        let (source, rest) = match body {
            RequestBody::Bytes(bytes) => (Source::Ended, bytes),
            RequestBody::Stream(stream) => (Source::Waiting(stream), Bytes::new()),
        };
        (Self { source, rest, trailers, peer: Arc::clone(peer), progress: progress.clone() }, progress)
    }

    /// Reads on until there is a chunk or the body has ended; trailers of the body itself are returned.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, BoxError>> {
        while self.rest.is_empty() {
            match &mut self.source {
                Source::Ended => break,
                Source::Waiting(shared) => {
                    // Taken at the last moment: a request that was never written can be sent again.
                    let Some(body) = lock(&shared.body).take() else {
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

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.progress.0.begun.store(true, Ordering::SeqCst);
        let own_trailers = match std::task::ready!(self.poll_source(cx)) {
            Ok(trailers) => trailers,
            Err(error) => {
                // The HTTP library does not pass the reason on.
                *lock(&self.progress.0.failure) = Some(error.to_string());
                return Poll::Ready(Some(Err(error)));
            }
        };
        // The sender of the request looks for the reason at the peer: HTTP/2 does not pass this one on.
        if let Err(error) = self.peer.check() {
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = if !self.rest.is_empty() {
            let size = self.rest.len().min(CHUNK_SIZE);
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
            Source::Waiting(shared) => shared.size,
            Source::Reading(body) => body.size_hint(),
        };
        source.exact().map_or_else(SizeHint::default, |exact| SizeHint::with_exact(exact.saturating_add(rest)))
    }
}
