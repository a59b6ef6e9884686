//! A value that is fetched by one task at a time and kept for a while.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::deadline::Deadline;
use crate::clock::{Clock, Moment};
use crate::error::AttestationError;

/// One value. Whoever finds it too old fetches it while the others wait; a task that gives up on the way leaves nothing
/// behind, and the next one takes over.
#[derive(Debug)]
pub(super) struct Cell<T> {
    kept: Mutex<Kept<T>>,
    flight: AsyncMutex<()>,
}

#[derive(Debug)]
struct Kept<T> {
    value: Option<(Moment, T)>,
    failure: Option<(Moment, AttestationError)>,
}

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self { kept: Mutex::new(Kept { value: None, failure: None }), flight: AsyncMutex::new(()) }
    }
}

impl<T: Clone> Cell<T> {
    /// The value, if it is younger than that; else a new one.
    pub(super) async fn get<F: Future<Output = Result<T, AttestationError>>>(
        &self,
        (clock, at_most): (&Clock, Duration),
        (doing, deadline): (&'static str, &Deadline),
        fetch: impl FnOnce() -> F,
    ) -> Result<T, AttestationError> {
        if let Some(value) = self.kept_for(clock, at_most) {
            return Ok(value);
        }
        let asked = clock.moment();
        let _flight = deadline.run(doing, self.flight.lock()).await?;
        // What another task found out while this one waited holds for both, a failure too: a thousand tasks that wait for
        // a server that is down do not try it one after the other.
        if let Some(outcome) = self.found_since(asked) {
            return outcome;
        }
        let outcome = fetch().await;
        let mut kept = self.kept();
        match &outcome {
            Ok(value) => *kept = Kept { value: Some((clock.moment(), value.clone())), failure: None },
            // That was this task's own patience: the others may have more.
            Err(AttestationError::Timeout { .. }) => {}
            Err(error) => kept.failure = Some((clock.moment(), error.clone())),
        }
        outcome
    }

    fn kept_for(&self, clock: &Clock, at_most: Duration) -> Option<T> {
        let kept = self.kept();
        let (fetched, value) = kept.value.as_ref()?;
        (clock.since(*fetched) < at_most).then(|| value.clone())
    }

    fn found_since(&self, asked: Moment) -> Option<Result<T, AttestationError>> {
        let kept = self.kept();
        if let Some((_, value)) = kept.value.as_ref().filter(|(at, _)| at.is_since(asked)) {
            return Some(Ok(value.clone()));
        }
        kept.failure.as_ref().filter(|(at, _)| at.is_since(asked)).map(|(_, error)| Err(error.clone()))
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most entries of one kind that are kept: stops peers that claim a new chip each time.
const MAX_CELLS: usize = 256;

/// One cell for each key.
#[derive(Debug)]
pub(super) struct Cells<K, T>(Mutex<HashMap<K, Arc<Cell<T>>>>);

impl<K, T> Default for Cells<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> Cells<K, T> {
    pub(super) fn cell(&self, key: K) -> Arc<Cell<T>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= MAX_CELLS && !cells.contains_key(&key) {
            cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        Arc::clone(cells.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn failure() -> AttestationError {
        AttestationError::KdsUnreachable { reason: "down".to_owned() }
    }

    async fn get(
        cell: &Cell<u32>,
        fetches: &AtomicU32,
        outcome: Result<u32, AttestationError>,
    ) -> Result<u32, AttestationError> {
        let deadline = Deadline::after(Duration::from_secs(5));
        cell.get((&Clock::system(), HOUR), ("fetching", &deadline), || async {
            fetches.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            outcome
        })
        .await
    }

    #[tokio::test]
    async fn tasks_that_ask_at_once_share_one_fetch_or_one_failure() {
        for outcome in [Ok(7), Err(failure())] {
            let (cell, fetches) = (Arc::new(Cell::default()), Arc::new(AtomicU32::new(0)));
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    let (cell, fetches, outcome) = (Arc::clone(&cell), Arc::clone(&fetches), outcome.clone());
                    tokio::spawn(async move { get(&cell, &fetches, outcome).await })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), outcome);
            }
            assert_eq!(fetches.load(Ordering::SeqCst), 1);
        }
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_a_value_is() {
        let (cell, fetches) = (Cell::default(), AtomicU32::new(0));
        assert_eq!(get(&cell, &fetches, Err(failure())).await, Err(failure()));
        assert_eq!(get(&cell, &fetches, Ok(1)).await, Ok(1));
        assert_eq!(get(&cell, &fetches, Ok(2)).await, Ok(1));
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn the_fetch_of_a_task_that_gave_up_is_taken_over() {
        let (cell, fetches) = (Arc::new(Cell::default()), Arc::new(AtomicU32::new(0)));
        let leader = tokio::spawn({
            let (cell, fetches) = (Arc::clone(&cell), Arc::clone(&fetches));
            async move { get(&cell, &fetches, Ok(1)).await }
        });
        while fetches.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        leader.abort();
        assert_eq!(get(&cell, &fetches, Ok(2)).await, Ok(2));
        assert_eq!(fetches.load(Ordering::SeqCst), 2);
    }
}
