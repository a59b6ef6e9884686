//! One attestation of a peer at a time, shared by all who wait for it; and the refusals of peers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::lock;
use super::peer::Lease;
use super::peer_id::PeerId;
use crate::clock::{Clock, Moment};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::types::Sha256Digest;

/// The most peers that are remembered: stops an attacker on the path who shows a new key each time.
const MAX_ENTRIES: usize = 1_024;

/// How long a refused key is refused from memory.
const NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// How many attempts that come to no verdict are made for tasks that wait for one: what broke one connection need not break
/// the next, and a thousand tasks do not try a server that is down one after the other.
const ATTEMPTS: u32 = 2;

/// How old an attestation may be that a call shares with one that it overlaps: a thousand tasks that start together do not
/// all get to run before the first of them has its verdict.
const COALESCE_WINDOW: Duration = Duration::from_secs(5);

/// Everything that a verdict depends on and that differs between sessions of one verifier. Roots, anchors, key sets and the
/// agent's address are the verifier's own: its verdicts are shared with no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AttestationKey {
    pub(super) peer: PeerId,
    pub(super) origin: String,
    pub(super) policy: Sha256Digest,
    /// Where the policy requires something of it.
    pub(super) key_exchange: Option<&'static str>,
}

/// What is known of one peer.
#[derive(Debug, Default)]
struct Entry {
    /// Held by the task that attests.
    latest: AsyncMutex<Option<Outcome>>,
    /// The one place of a refusal. It stays for as long as any attestation of the peer is under way, however long that takes:
    /// evidence from before a refusal, held back on its way, never outweighs it.
    refusal: Mutex<Option<Refusal>>,
}

#[derive(Debug)]
struct Outcome {
    at: Moment,
    result: Result<Lease, AttestationError>,
    /// How many attempts were made for tasks that waited for one, up to this.
    attempts: u32,
}

#[derive(Clone, Debug)]
struct Refusal {
    at: Moment,
    error: AttestationError,
}

impl Entry {
    /// A refusal that is newer than the evidence of an attestation.
    fn outweighs(&self, lease: &Lease) -> Option<AttestationError> {
        let refusal = lock(&self.refusal);
        refusal.as_ref().filter(|refusal| refusal.at.not_before(lease.requested_at())).map(|it| it.error.clone())
    }

    /// Records what an attestation came to, and returns what it is worth beside what is known already.
    fn record(&self, result: Result<Lease, AttestationError>, now: Moment) -> Result<Lease, AttestationError> {
        match result {
            Ok(lease) => match self.outweighs(&lease) {
                Some(error) => Err(error),
                None => {
                    *lock(&self.refusal) = None;
                    Ok(lease)
                }
            },
            Err(error) => {
                if error.is_verdict() {
                    *lock(&self.refusal) = Some(Refusal { at: now, error: error.clone() });
                }
                Err(error)
            }
        }
    }

    fn is_recently_refused(&self, clock: &Clock) -> bool {
        lock(&self.refusal).as_ref().is_some_and(|refusal| clock.since(refusal.at) < NEGATIVE_TTL)
    }
}

/// The attestations of a verifier.
#[derive(Debug, Default)]
pub(crate) struct Coalesce {
    entries: Mutex<HashMap<AttestationKey, Arc<Entry>>>,
    cohorts: Mutex<HashMap<Cohort, Overlap>>,
}

/// Calls that open sessions for the same origin and policy.
type Cohort = (String, Sha256Digest);

/// Those of them that overlap in time.
#[derive(Debug)]
struct Overlap {
    under_way: usize,
    since: Moment,
}

/// One of them, while it lasts.
pub(super) struct ConnectGuard<'c> {
    coalesce: &'c Coalesce,
    cohort: Cohort,
    pub(super) freshness: Freshness,
}

/// How new a verdict has to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Freshness {
    requested_at: Moment,
    /// When the first of the calls that overlap with it began.
    cohort_since: Moment,
    /// Whether the peer must have been asked after the request.
    evidence_after: bool,
}

impl Freshness {
    pub(super) fn now(clock: &Clock) -> Self {
        let now = clock.moment();
        Self { requested_at: now, cohort_since: now, evidence_after: false }
    }

    /// For evidence of what the peer is from now on.
    pub(super) fn evidence_from_now(clock: &Clock) -> Self {
        Self { evidence_after: true, ..Self::now(clock) }
    }

    /// Whether an outcome will do. A failure that was known before will not: who asks later may have more luck.
    fn accepts(self, outcome: &Outcome, entry: &Entry) -> bool {
        let came_later = outcome.at.not_before(self.requested_at);
        match &outcome.result {
            Ok(lease) => {
                let age = self.requested_at.elapsed_since(outcome.at);
                let overlaps = outcome.at.not_before(self.cohort_since) && age <= COALESCE_WINDOW;
                let is_new = !self.evidence_after || lease.requested_at().not_before(self.requested_at);
                (came_later || overlaps) && is_new && entry.outweighs(lease).is_none()
            }
            Err(error) if error.is_verdict() => came_later,
            Err(_) => came_later && outcome.attempts >= ATTEMPTS,
        }
    }
}

impl Drop for ConnectGuard<'_> {
    fn drop(&mut self) {
        let mut cohorts = lock(&self.coalesce.cohorts);
        if let Some(overlap) = cohorts.get_mut(&self.cohort) {
            overlap.under_way = overlap.under_way.saturating_sub(1);
            if overlap.under_way == 0 {
                cohorts.remove(&self.cohort);
            }
        }
    }
}

impl Coalesce {
    /// Begins a call that opens a session.
    pub(super) fn connect(&self, origin: String, policy: Sha256Digest, clock: &Clock) -> ConnectGuard<'_> {
        let cohort = (origin, policy);
        let now = clock.moment();
        let mut cohorts = lock(&self.cohorts);
        let overlap = cohorts.entry(cohort.clone()).or_insert(Overlap { under_way: 0, since: now });
        overlap.under_way = overlap.under_way.saturating_add(1);
        let freshness = Freshness { requested_at: now, cohort_since: overlap.since, evidence_after: false };
        ConnectGuard { coalesce: self, cohort, freshness }
    }

    /// Attests a peer, unless another task has come to a verdict that is fresh enough: that one then holds for both.
    ///
    /// A task that is given up on the way leaves nothing behind, and the next one takes over.
    pub(super) async fn attest(
        &self,
        key: AttestationKey,
        freshness: Freshness,
        clock: &Clock,
        deadline: &Deadline,
        attestation: impl Future<Output = Result<Lease, AttestationError>>,
    ) -> Result<Lease, AttestationError> {
        let entry = self.entry(key, clock);
        let mut latest = deadline.run("waiting for an attestation that is under way", entry.latest.lock()).await?;
        if let Some(outcome) = latest.as_ref().filter(|outcome| freshness.accepts(outcome, &entry)) {
            return outcome.result.clone();
        }
        let result = attestation.await;
        let now = clock.moment();
        let result = entry.record(result, now);
        // A timeout is about this task's own deadline: the others may have more time.
        if !matches!(result, Err(AttestationError::Timeout { .. })) {
            let before = latest.as_ref().filter(|outcome| outcome.at.not_before(freshness.requested_at));
            let attempts = before.map_or(0, |outcome| outcome.attempts).saturating_add(1);
            *latest = Some(Outcome { at: now, result: result.clone(), attempts });
        }
        result
    }

    /// Attests a peer for one task alone: a renewal, which has a deadline of its own.
    pub(super) async fn attest_alone(
        &self,
        key: AttestationKey,
        clock: &Clock,
        attestation: impl Future<Output = Result<Lease, AttestationError>>,
    ) -> Result<Lease, AttestationError> {
        // Held to the end: a refusal that comes in between stays with it.
        let entry = self.entry(key, clock);
        let result = attestation.await;
        entry.record(result, clock.moment())
    }

    /// A refusal of the peer that is newer than the evidence of an attestation.
    pub(super) fn outweighs(&self, key: &AttestationKey, lease: &Lease) -> Option<AttestationError> {
        lock(&self.entries).get(key).and_then(|entry| entry.outweighs(lease))
    }

    /// The refusal of a peer that was refused a moment ago.
    pub(super) fn recent_refusal(&self, key: &AttestationKey, clock: &Clock) -> Option<AttestationError> {
        let entries = lock(&self.entries);
        let entry = entries.get(key).filter(|entry| entry.is_recently_refused(clock))?;
        lock(&entry.refusal).as_ref().map(|refusal| refusal.error.clone())
    }

    fn entry(&self, key: AttestationKey, clock: &Clock) -> Arc<Entry> {
        let mut entries = lock(&self.entries);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            // Those under way are held by a task.
            entries.retain(|_, entry| Arc::strong_count(entry) > 1 || entry.is_recently_refused(clock));
            if entries.len() >= MAX_ENTRIES {
                entries.retain(|_, entry| Arc::strong_count(entry) > 1);
            }
        }
        Arc::clone(entries.entry(key).or_default())
    }
}
