//! Bodies of requests: held in memory until the application responds, and never more of them than there is room for.
//!
//! A session may have to attest another peer before it sends, so it wants the whole body.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::access::{Refusal, refusal};

/// How long a client may take for the body of a request.
const BODY_TIME: Duration = Duration::from_secs(120);

/// The unit in which room is given.
const UNIT: usize = 1 << 10;

pub struct Bodies {
    most: usize,
    room: Semaphore,
    /// How long a body waits for room.
    wait: Duration,
    /// How long one that has found none may still be sent.
    discard: Duration,
}

/// A whole body, and the room that it takes.
pub struct Held<'b> {
    pub bytes: Bytes,
    _room: SemaphorePermit<'b>,
}

impl Bodies {
    /// Bodies of at most so many bytes each, and all together. One of the largest size always has room.
    pub fn new(most: usize, together: usize, wait: Duration, discard: Duration) -> Self {
        let units = together.max(most).div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { most, room: Semaphore::new(units), wait, discard }
    }

    /// The whole body, or none where the request has none. Only for requests that are let in.
    pub async fn read(&self, headers: &HeaderMap, mut body: Incoming) -> Result<Option<Held<'_>>, Refusal> {
        if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
            return Ok(None);
        }
        let announced = body.size_hint().exact().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        // As long as its length is not known it may become as large as any.
        let largest = announced.unwrap_or(self.most);
        if largest > self.most {
            return Err(too_large());
        }
        let mut room = match self.reserve(largest).await {
            Ok(room) => room,
            Err(refusal) => {
                // A client that could not finish would not read a response.
                let _ = timeout(self.discard, self.read_away(&mut body)).await;
                return Err(refusal);
            }
        };
        let late = |_| refusal(StatusCode::REQUEST_TIMEOUT, "request-late", "the body is late");
        let bytes = timeout(BODY_TIME, self.whole(body)).await.map_err(late)??;
        let spare = room.num_permits().saturating_sub(bytes.len().div_ceil(UNIT));
        drop(room.split(spare));
        Ok(Some(Held { bytes, _room: room }))
    }

    async fn reserve(&self, size: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        let full = || {
            let message = "no room for another body (see --max-held)";
            refusal(StatusCode::SERVICE_UNAVAILABLE, "too-many-bodies", message)
        };
        let units = u32::try_from(size.div_ceil(UNIT)).map_err(|_| too_large())?;
        let reserving = timeout(self.wait, self.room.acquire_many(units)).await;
        reserving.ok().and_then(Result::ok).ok_or_else(full)
    }

    async fn read_away(&self, body: &mut Incoming) {
        let mut left = self.most;
        while let Some(Ok(frame)) = next(body).await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(size) else { return };
            left = rest;
        }
    }

    async fn whole(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
        let cut = |_| refusal(StatusCode::BAD_REQUEST, "request-cut", "the body is cut off");
        let mut whole = BytesMut::new();
        while let Some(frame) = next(&mut body).await {
            // Trailers are left out.
            let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
            if whole.len().saturating_add(data.len()) > self.most {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }
}

async fn next(body: &mut Incoming) -> Option<Result<Frame<Bytes>, hyper::Error>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

fn too_large() -> Refusal {
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "request-too-large", "the body is larger than --max-request")
}
