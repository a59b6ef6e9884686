//! Timeout of a connection on which the caller neither sends nor reads.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::{Answer, BoxError};

/// What goes on on one connection.
pub(crate) struct IdleTracker(Mutex<State>);

struct State {
    /// Requests whose response is not yet handed over whole; and since when they wait for the caller to take more of it, if
    /// they do not wait for the agent or the application.
    open: HashMap<u64, Option<Instant>>,
    begun: u64,
    /// When the last one ended.
    since: Instant,
}

/// One request, until its response has been handed over.
pub(crate) struct InFlightRequest {
    idle: Arc<IdleTracker>,
    number: u64,
}

impl IdleTracker {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { open: HashMap::new(), begun: 0, since: Instant::now() }))
    }

    pub(crate) fn begin(self: &Arc<Self>) -> InFlightRequest {
        let mut state = self.state();
        state.begun = state.begun.wrapping_add(1);
        let number = state.begun;
        state.open.insert(number, None);
        InFlightRequest { idle: Arc::clone(self), number }
    }

    /// Waits until it has been the caller's move all this time: no request, or a response that they do not take. Pings and
    /// other frames are no move, nor is another request beside that response. Returns whether there is such a response.
    pub(crate) async fn idle_for(&self, bound: Duration) -> bool {
        loop {
            let (since, open) = {
                let state = self.state();
                let oldest = state.open.values().flatten().min().copied();
                match state.open.is_empty() {
                    true => (state.since, false),
                    false => (oldest.unwrap_or_else(Instant::now), true),
                }
            };
            if since.elapsed() >= bound {
                return open;
            }
            tokio::time::sleep_until(since + bound).await;
        }
    }

    /// Since when there has been no request, unless there is one: a response that the caller does not take is one still.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        let state = self.state();
        state.open.is_empty().then_some(state.since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlightRequest {
    /// There is a response: until more of it is requested, the caller is the slow one.
    pub(crate) fn answer(self, inner: Answer) -> TrackedBody {
        self.waits_for_caller(true);
        TrackedBody { inner, exchange: self }
    }

    fn waits_for_caller(&self, does: bool) {
        self.idle.state().open.insert(self.number, does.then(Instant::now));
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        let mut state = self.idle.state();
        state.open.remove(&self.number);
        state.since = Instant::now();
    }
}

/// A response that keeps count: more of it is requested when the caller took what there was.
pub(crate) struct TrackedBody {
    inner: Answer,
    exchange: InFlightRequest,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.exchange.waits_for_caller(false);
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        self.exchange.waits_for_caller(true);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
