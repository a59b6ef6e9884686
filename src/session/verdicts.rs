//! One attestation of a peer at a time, shared by all who wait for it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::life::Life;
use crate::clock::{Clock, Moment};
use crate::error::AttestationError;
use crate::fetch::Deadline;
use crate::types::{Sha256Digest, SpkiDigest};

/// The most peers that are remembered: stops someone on the path who shows a new key each time.
const MAX_PEERS: usize = 1_024;

/// Everything that a verdict depends on and that differs between sessions of one verifier. Roots, anchors, key sets and the
/// agent's address are the verifier's own: its verdicts are shared with no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct About {
    /// `None` where the channel is not bound.
    pub(super) key: Option<SpkiDigest>,
    pub(super) origin: String,
    pub(super) policy: Sha256Digest,
}

type Verdict = Option<(Moment, Result<Life, AttestationError>)>;

/// How old an attestation may be that a call shares with one that it overlaps: a thousand tasks that start together do not
/// all get to run before the first of them has its verdict.
const OVERLAP: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Verdicts {
    flights: Mutex<HashMap<About, Arc<AsyncMutex<Verdict>>>>,
    calls: Mutex<HashMap<(String, Sha256Digest), Calls>>,
}

/// Calls for the same origin and policy that overlap.
#[derive(Debug)]
struct Calls {
    under_way: usize,
    since: Moment,
}

/// One of them, while it lasts.
pub(super) struct Call<'v> {
    verdicts: &'v Verdicts,
    about: (String, Sha256Digest),
    pub(super) asked: Asked,
}

/// When a verdict was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Moment,
    /// When the first of the calls that overlap with it began.
    since: Moment,
}

impl Asked {
    pub(super) fn now(clock: &Clock) -> Self {
        let at = clock.moment();
        Self { at, since: at }
    }

    /// Whether a verdict of that time is an answer. A failure that was known before is not: who asks later may have more luck.
    fn is_answered_by(self, at: Moment, outcome: &Result<Life, AttestationError>, clock: &Clock) -> bool {
        at.is_since(self.at) || (outcome.is_ok() && at.is_since(self.since) && clock.since(at) <= OVERLAP)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut calls = lock(&self.verdicts.calls);
        if let Some(others) = calls.get_mut(&self.about) {
            others.under_way = others.under_way.saturating_sub(1);
            if others.under_way == 0 {
                calls.remove(&self.about);
            }
        }
    }
}

impl Verdicts {
    /// Begins a call that opens a session.
    pub(super) fn call(&self, origin: String, policy: Sha256Digest, clock: &Clock) -> Call<'_> {
        let about = (origin, policy);
        let now = clock.moment();
        let mut calls = lock(&self.calls);
        let others = calls.entry(about.clone()).or_insert(Calls { under_way: 0, since: now });
        others.under_way = others.under_way.saturating_add(1);
        Call { verdicts: self, about, asked: Asked { at: now, since: others.since } }
    }

    /// Attests a peer, unless another task has come to a verdict that answers `asked`: that one then holds for both.
    ///
    /// A task that is given up on the way leaves nothing behind, and the next one takes over.
    pub(super) async fn attest<F: Future<Output = Result<Life, AttestationError>>>(
        &self,
        about: About,
        asked: Asked,
        (clock, deadline): (&Clock, &Deadline),
        attestation: impl FnOnce() -> F,
    ) -> Result<Life, AttestationError> {
        let flight = self.flight(about);
        let mut verdict = deadline.run("waiting for an attestation that is under way", flight.lock()).await?;
        if let Some((_, outcome)) = verdict.as_ref().filter(|(at, outcome)| asked.is_answered_by(*at, outcome, clock)) {
            return outcome.clone();
        }
        let outcome = attestation().await;
        // A timeout was this task's own patience: the others may have more.
        if !matches!(outcome, Err(AttestationError::Timeout { .. })) {
            *verdict = Some((clock.moment(), outcome.clone()));
        }
        outcome
    }

    fn flight(&self, about: About) -> Arc<AsyncMutex<Verdict>> {
        let mut flights = lock(&self.flights);
        if flights.len() >= MAX_PEERS && !flights.contains_key(&about) {
            // Those under way are held by somebody.
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        Arc::clone(flights.entry(about).or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
