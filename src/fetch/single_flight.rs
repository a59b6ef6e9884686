//! Work that one task does while others wait for its outcome.

use std::future::Future;

use tokio::sync::Mutex as AsyncMutex;

use crate::clock::{Clock, Moment};
use crate::deadline::Deadline;
use crate::error::AttestationError;

/// Lets one task at a time do work, and the tasks that wait share its outcome. If the task is cancelled, the next one that waits
/// does the work itself.
#[derive(Debug)]
pub(crate) struct SingleFlight<T>(AsyncMutex<Option<Outcome<T>>>);

/// What came of work that has ended.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    pub(crate) at: Moment,
    pub(crate) result: Result<T, AttestationError>,
    /// The number of attempts so far for tasks that waited.
    pub(crate) attempts: u32,
}

impl<T> Default for SingleFlight<T> {
    fn default() -> Self {
        Self(AsyncMutex::new(None))
    }
}

impl<T: Clone> SingleFlight<T> {
    /// Returns the latest outcome if `shares` accepts it, otherwise that of `work`.
    ///
    /// `activity` names the work in the error if `deadline` passes while another task does it. The time of the request decides
    /// whether an earlier attempt counts as one for tasks that waited.
    pub(crate) async fn run(
        &self,
        requested_at: Moment,
        clock: &Clock,
        activity: &'static str,
        deadline: &Deadline,
        shares: impl FnOnce(&Outcome<T>) -> bool,
        work: impl Future<Output = Result<T, AttestationError>>,
    ) -> Result<T, AttestationError> {
        let mut latest = deadline.run(activity, self.0.lock()).await?;
        if let Some(outcome) = latest.as_ref().filter(|outcome| shares(outcome)) {
            return outcome.result.clone();
        }
        let result = work.await;
        // The deadline was this task's own: waiting tasks may have later ones and try for themselves.
        if !matches!(result, Err(AttestationError::Timeout { .. })) {
            let before = latest.as_ref().filter(|outcome| outcome.at.not_before(requested_at));
            let attempts = before.map_or(0, |outcome| outcome.attempts).saturating_add(1);
            *latest = Some(Outcome { at: clock.moment(), result: result.clone(), attempts });
        }
        result
    }
}
