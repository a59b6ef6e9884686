use std::future::Future;
use std::time::{Duration, Instant};

use crate::error::AttestationError;

/// The one end of a whole undertaking, however many steps it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    after: Duration,
}

impl Deadline {
    pub(crate) fn after(duration: Duration) -> Self {
        Self { at: Instant::now().checked_add(duration), after: duration }
    }

    /// What is left; a deadline too far away to be counted is never reached.
    pub(crate) fn left(&self) -> Duration {
        self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Half of what is left, for a step that must leave time for another.
    pub(crate) fn half_left(&self) -> Duration {
        self.left().checked_div(2).unwrap_or_default()
    }

    /// Does one step, boxed since steps are nested. `what` is what the error says took too long.
    pub(crate) async fn run<T>(
        &self,
        what: &'static str,
        step: impl Future<Output = T>,
    ) -> Result<T, AttestationError> {
        tokio::time::timeout(self.left(), Box::pin(step)).await.map_err(|_| self.passed(what))
    }

    /// The error for a step that took too long.
    pub(crate) fn passed(&self, what: &'static str) -> AttestationError {
        AttestationError::Timeout { what, after: self.after }
    }
}
