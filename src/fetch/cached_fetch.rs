//! Values that are fetched by one task while others wait for them, and cached.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::single_flight::{Outcome, SingleFlight};
use crate::clock::{Clock, Moment};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::sync::lock;

/// One cached value. The first caller that finds it too old fetches a new one while the others wait.
#[derive(Debug)]
pub(super) struct CachedFetch<T> {
    /// Outlives fetches that fail.
    value: Mutex<Option<(Moment, T)>>,
    fetches: SingleFlight<T>,
}

impl<T> Default for CachedFetch<T> {
    fn default() -> Self {
        Self { value: Mutex::default(), fetches: SingleFlight::default() }
    }
}

impl<T: Clone> CachedFetch<T> {
    /// Returns the cached value if it is younger than `max_age`, otherwise fetches a new one.
    ///
    /// `activity` names the fetch in the error if `deadline` passes while another task is fetching.
    pub(super) async fn get<F: Future<Output = Result<T, AttestationError>>>(
        &self,
        clock: &Clock,
        max_age: Duration,
        activity: &'static str,
        deadline: &Deadline,
        fetch: impl FnOnce() -> F,
    ) -> Result<T, AttestationError> {
        if let Some(value) = self.value_younger_than(clock, max_age) {
            return Ok(value);
        }
        let requested_at = clock.moment();
        let fetching = async {
            let value = fetch().await?;
            *lock(&self.value) = Some((clock.moment(), value.clone()));
            Ok(value)
        };
        // A result that arrives while this task waits counts for it too, also a failure: a thousand tasks that wait for a
        // server that is down must not try it one after the other.
        let shares = |outcome: &Outcome<T>| outcome.at.not_before(requested_at);
        self.fetches.run(requested_at, clock, activity, deadline, shares, fetching).await
    }

    fn value_younger_than(&self, clock: &Clock, max_age: Duration) -> Option<T> {
        let value = lock(&self.value);
        let (fetched, value) = value.as_ref()?;
        (clock.since(*fetched) < max_age).then(|| value.clone())
    }
}

/// The most entries of one cache. Bounds the memory that peers can use by claiming a new chip id each time.
const MAX_ENTRIES: usize = 256;

/// A cache with one [`CachedFetch`] for each key.
#[derive(Debug)]
pub(super) struct CachedFetches<K, T>(Mutex<HashMap<K, Arc<CachedFetch<T>>>>);

impl<K, T> Default for CachedFetches<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> CachedFetches<K, T> {
    /// Returns the entry for a key, made empty if there is none.
    pub(super) fn entry(&self, key: K) -> Arc<CachedFetch<T>> {
        let mut entries = lock(&self.0);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            // Entries in use stay: dropping one would let a second fetch for its key start.
            entries.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        Arc::clone(entries.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn failure() -> AttestationError {
        AttestationError::KdsUnreachable { reason: "down".to_owned(), source: None }
    }

    #[derive(Default)]
    struct Calls {
        cell: CachedFetch<u32>,
        /// How many tasks have asked for the value.
        begun: AtomicU32,
        fetches: AtomicU32,
    }

    impl Calls {
        /// Gets the value; the fetch ends when this many tasks have asked for it.
        async fn get(&self, tasks: u32, outcome: Result<u32, AttestationError>) -> Result<u32, AttestationError> {
            let deadline = Deadline::after(Duration::from_secs(600));
            let fetch = || async {
                self.fetches.fetch_add(1, Ordering::SeqCst);
                while self.begun.load(Ordering::SeqCst) < tasks {
                    tokio::task::yield_now().await;
                }
                outcome
            };
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.cell.get(&Clock::system(), HOUR, "fetching", &deadline, fetch).await
        }

        fn fetches(&self) -> u32 {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn concurrent_tasks_share_one_fetch_or_one_failure() {
        for outcome in [Ok(7), Err(failure())] {
            let calls = Arc::<Calls>::default();
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    let (calls, outcome) = (Arc::clone(&calls), outcome.clone());
                    tokio::spawn(async move { calls.get(100, outcome).await })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), outcome);
            }
            assert_eq!(calls.fetches(), 1);
        }
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_a_value_is() {
        let calls = Calls::default();
        assert_eq!(calls.get(0, Err(failure())).await, Err(failure()));
        assert_eq!(calls.get(0, Ok(1)).await, Ok(1));
        assert_eq!(calls.get(0, Ok(2)).await, Ok(1));
        assert_eq!(calls.fetches(), 2);
    }

    #[tokio::test]
    async fn a_cancelled_fetch_is_started_again_by_the_next_task() {
        let calls = Arc::<Calls>::default();
        let leader = tokio::spawn({
            let calls = Arc::clone(&calls);
            async move { calls.get(u32::MAX, Ok(1)).await }
        });
        while calls.fetches() == 0 {
            tokio::task::yield_now().await;
        }
        leader.abort();
        assert_eq!(calls.get(0, Ok(2)).await, Ok(2));
        assert_eq!(calls.fetches(), 2);
    }
}
