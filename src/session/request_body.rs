//! The body of a request, which goes on only while its peer is attested.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::peer::Peer;

/// How much is given to the HTTP library at a time, in bytes. What it has been given it sends, whatever becomes of the request
/// meanwhile: a body that it had whole would reach a peer that was refused long ago.
const CHUNK_SIZE: usize = 16 << 10;

/// See the module.
pub(super) struct GuardedBody {
    rest: Bytes,
    peer: Arc<Peer>,
    progress: Progress,
}

/// Whether all of a body was given to the HTTP library: only then is its connection free when the response has ended.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicBool>);

impl Progress {
    /// Of a request without a body.
    pub(super) fn over() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl GuardedBody {
    pub(super) fn new(body: Bytes, peer: &Arc<Peer>) -> (Self, Progress) {
        let progress = Progress::default();
        (Self { rest: body, peer: Arc::clone(peer), progress: progress.clone() }, progress)
    }
}

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        // The sender of the request looks for the reason where it stands, at the peer: HTTP/2 does not carry this one on.
        if let Err(error) = self.peer.check() {
            return Poll::Ready(Some(Err(error.into())));
        }
        let size = self.rest.len().min(CHUNK_SIZE);
        let chunk = self.rest.split_to(size);
        self.progress.0.store(self.rest.is_empty(), Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}
