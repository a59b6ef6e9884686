//! The deadline of one operation, which its steps share.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::error::AttestationError;

/// A boxed future. A future contains the futures that it awaits, so that each layer around a large one would double its size,
/// until it no longer fits on the caller's stack.
pub(crate) type BoxFuture<'w, T, E = AttestationError> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'w>>;

/// The time at which an operation fails, however many steps it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    after: Duration,
}

impl Deadline {
    /// Returns a deadline that is `duration` from now.
    pub(crate) fn after(duration: Duration) -> Self {
        Self { at: Instant::now().checked_add(duration), after: duration }
    }

    /// Returns the time that remains. A deadline too far away to be represented is never reached.
    pub(crate) fn remaining(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Returns half of the remaining time, for a step that must leave time for another.
    pub(crate) fn half_remaining(&self) -> Duration {
        self.remaining().checked_div(2).unwrap_or_default()
    }

    /// Runs one step until the deadline. It is boxed, because nested steps would make large futures; and at once, because a future
    /// that takes over another is copied with it. `what` names the step in the timeout error.
    pub(crate) fn run<T>(
        &self,
        what: &'static str,
        step: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, AttestationError>> {
        let step = Box::pin(step);
        async move { tokio::time::timeout(self.remaining(), step).await.map_err(|_| self.timeout_error(what)) }
    }

    /// Returns the error for a step that took too long.
    pub(crate) fn timeout_error(&self, what: &'static str) -> AttestationError {
        AttestationError::Timeout { what, after: self.after }
    }
}
