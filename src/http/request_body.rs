//! The sources of the body of a request: bytes in memory, readers, streams and bodies of other libraries.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use crate::error::BoxError;
use crate::sync::lock;

/// Any body, with its data as `Bytes`.
pub(crate) type BoxBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// The most bytes that are given to the HTTP library at a time. The library sends what it was given, whatever happens to the
/// request in the meantime: if it had all of a body, the body would reach a peer that was refused long ago.
pub(crate) const CHUNK_SIZE: usize = 16 << 10;

/// The body that a caller gave to a request.
#[derive(Clone)]
pub(crate) enum RequestBody {
    Bytes(Bytes),
    Stream(StreamedBody),
}

/// A body that is read while it is sent, and so only once. Clones share it.
#[derive(Clone)]
pub(crate) struct StreamedBody {
    body: Arc<Mutex<Option<BoxBody>>>,
    size: SizeHint,
}

impl StreamedBody {
    pub(crate) fn new(body: BoxBody) -> Self {
        let size = body.size_hint();
        Self { body: Arc::new(Mutex::new(Some(body))), size }
    }

    /// Whether it was read by a request before.
    pub(super) fn is_taken(&self) -> bool {
        lock(&self.body).is_none()
    }

    /// Returns the body, for the first request that reads it.
    pub(super) fn take(&self) -> Option<BoxBody> {
        lock(&self.body).take()
    }

    pub(super) fn size(&self) -> SizeHint {
        self.size
    }
}

/// Converts a body of any data and error.
pub(crate) fn boxed<B>(body: B) -> BoxBody
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
pub(crate) struct ReaderBody<R> {
    reader: Pin<Box<R>>,
    buffer: BytesMut,
}

impl<R: AsyncRead> ReaderBody<R> {
    pub(crate) fn new(reader: R) -> Self {
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
pub(crate) struct ChunksBody<S>(pub(super) Pin<Box<S>>);

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
