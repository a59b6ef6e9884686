//! One attestation of a peer at a time, shared by all who wait for it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::life::Life;
use super::members::is_verdict;
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

/// What is known of one peer.
#[derive(Debug, Default)]
struct Flight {
    /// Held by the task that attests.
    latest: AsyncMutex<Option<Verdict>>,
    /// When the peer was last refused elsewhere: what was asked before that is shared with nobody.
    refused: Mutex<Option<Moment>>,
}

#[derive(Debug)]
struct Verdict {
    at: Moment,
    outcome: Result<Life, AttestationError>,
    /// How many attempts were made for tasks that waited for one, up to this.
    attempts: u32,
}

/// How many attempts that come to no verdict are made for tasks that wait for one: what broke one connection need not break
/// the next, and a thousand tasks do not try a server that is down one after the other.
const ATTEMPTS: u32 = 2;

/// How old an attestation may be that a call shares with one that it overlaps: a thousand tasks that start together do not
/// all get to run before the first of them has its verdict.
const OVERLAP: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Verdicts {
    flights: Mutex<HashMap<About, Arc<Flight>>>,
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

/// When a verdict was asked for, and how new it has to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Moment,
    /// When the first of the calls that overlap with it began.
    since: Moment,
    /// Whether the peer must have been asked after that.
    anew: bool,
}

impl Asked {
    pub(super) fn now(clock: &Clock) -> Self {
        let at = clock.moment();
        Self { at, since: at, anew: false }
    }

    /// For evidence of what the peer is from now on.
    pub(super) fn anew(clock: &Clock) -> Self {
        Self { anew: true, ..Self::now(clock) }
    }

    /// Whether a verdict is an answer. A failure that was known before is not: who asks later may have more luck.
    fn is_answered_by(self, verdict: &Verdict, refused: Option<Moment>) -> bool {
        let came_later = verdict.at.is_since(self.at);
        match &verdict.outcome {
            Ok(life) => {
                let overlaps = verdict.at.is_since(self.since) && self.at.after(verdict.at) <= OVERLAP;
                let is_new = !self.anew || life.begun().is_since(self.at);
                let stands = refused.is_none_or(|refused| life.begun().is_since(refused));
                (came_later || overlaps) && is_new && stands
            }
            Err(error) if is_verdict(error) => came_later,
            Err(_) => came_later && verdict.attempts >= ATTEMPTS,
        }
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
        Call { verdicts: self, about, asked: Asked { at: now, since: others.since, anew: false } }
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
        let mut latest = deadline.run("waiting for an attestation that is under way", flight.latest.lock()).await?;
        let refused = *lock(&flight.refused);
        if let Some(verdict) = latest.as_ref().filter(|verdict| asked.is_answered_by(verdict, refused)) {
            return verdict.outcome.clone();
        }
        let outcome = attestation().await;
        // A timeout was this task's own patience: the others may have more.
        if !matches!(outcome, Err(AttestationError::Timeout { .. })) {
            let before = latest.as_ref().filter(|verdict| verdict.at.is_since(asked.at));
            let attempts = before.map_or(0, |verdict| verdict.attempts).saturating_add(1);
            *latest = Some(Verdict { at: clock.moment(), outcome: outcome.clone(), attempts });
        }
        outcome
    }

    /// A peer was refused elsewhere: at the renewal of an attestation.
    pub(super) fn refused(&self, about: &About, clock: &Clock) {
        if let Some(flight) = lock(&self.flights).get(about) {
            *lock(&flight.refused) = Some(clock.moment());
        }
    }

    fn flight(&self, about: About) -> Arc<Flight> {
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
