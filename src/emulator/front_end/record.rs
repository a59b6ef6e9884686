//! What a front end sees in clear.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::HeaderMap;

use crate::emulator::lock;
use crate::error::BoxError;

/// Every head and body that passed, each in one piece, whatever passed at the same time. Clones are the same record.
#[derive(Clone, Default)]
pub(super) struct Record(Arc<Mutex<Vec<Seen>>>);

/// One head or body, which may still grow.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Record {
    pub(super) fn add(&self, bytes: &[u8]) {
        lock(&self.0).push(Seen(Arc::new(Mutex::new(bytes.to_vec()))));
    }

    pub(super) fn add_head(&self, first_line: &str, headers: &HeaderMap) {
        let mut head = first_line.as_bytes().to_vec();
        for (name, value) in headers {
            head.extend_from_slice(b"\n");
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
        }
        self.add(&head);
    }

    /// Records a body while it passes.
    pub(super) fn watch<B>(&self, body: B) -> Watched<B> {
        let seen = Seen::default();
        lock(&self.0).push(seen.clone());
        Watched { body: Box::pin(body), seen }
    }

    pub(super) fn count(&self, text: &[u8]) -> usize {
        let all = lock(&self.0).clone();
        all.iter()
            .map(|Seen(bytes)| lock(bytes).windows(text.len().max(1)).filter(|window| *window == text).count())
            .sum()
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.0).iter().map(|Seen(bytes)| lock(bytes).len()).sum()
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// A body that is recorded.
pub(super) struct Watched<B> {
    body: Pin<Box<B>>,
    seen: Seen,
}

impl<B> HttpBody for Watched<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let polled = self.body.as_mut().poll_frame(cx).map_err(io::Error::other);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            lock(&self.seen.0).extend_from_slice(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
