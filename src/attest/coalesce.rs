//! One attestation of a peer at a time, shared by all tasks that wait for it; and the negative cache: which keys were refused in the
//! last 30 seconds.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::lease::Lease;
use super::peer_id::PeerId;
use crate::clock::{Clock, Moment};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::fetch::{Outcome, SingleFlight};
use crate::sync::lock;
use crate::types::Sha256Digest;

/// The most peers that are remembered. It limits the memory that an attacker on the path can fill by showing new keys.
const MAX_ENTRIES: usize = 1_024;

/// How long a refused key is refused from memory.
const NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// The most attempts without a verdict for the tasks that wait for one. More than one, because a connection may break by chance;
/// few, because a thousand tasks must not try a server that is down one after the other.
const ATTEMPTS: u32 = 2;

/// How old an attestation may be that a call shares with an overlapping one: of a thousand tasks that start together, some run
/// only after the first of them has its verdict.
const COALESCE_WINDOW: Duration = Duration::from_secs(5);

/// What a verdict depends on and what differs between sessions of one verifier. Roots, anchors, key sets and the agent's address
/// are the same for all of them: verdicts are not shared between verifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct VerdictKey {
    pub(crate) peer: PeerId,
    pub(crate) scope: Scope,
    pub(crate) policy: Sha256Digest,
    /// The key exchange, if the policy requires a post-quantum one.
    pub(crate) key_exchange: Option<&'static str>,
}

/// What a URL leads to, and an attestation is shared for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// All paths of an origin: they lead to the peer of the connection.
    Origin(String),
    /// One path of a front end, with the origin: another path may lead to another workload.
    Path(String),
}

/// The attestations and refusals of one peer.
#[derive(Debug, Default)]
struct Entry {
    attestations: SingleFlight<Lease>,
    /// The only copy of a refusal. A running attestation keeps the entry alive, however long it takes: evidence from before a
    /// refusal that an attacker delays never overrides it.
    refusal: Mutex<Option<Refusal>>,
}

#[derive(Clone, Debug)]
struct Refusal {
    at: Moment,
    error: AttestationError,
}

impl Refusal {
    /// Whether it is newer than the evidence of an attestation.
    fn outweighs(&self, lease: &Lease) -> bool {
        self.at.not_before(lease.requested_at())
    }
}

impl Entry {
    /// A refusal that is newer than the evidence of an attestation.
    fn outweighs(&self, lease: &Lease) -> Option<AttestationError> {
        lock(&self.refusal).as_ref().filter(|refusal| refusal.outweighs(lease)).map(|refusal| refusal.error.clone())
    }

    /// Records the outcome of an attestation. A newer refusal overrides an acceptance.
    fn record(&self, result: Result<Lease, AttestationError>, now: Moment) -> Result<Lease, AttestationError> {
        // Held over the comparison and the change: a renewal of the same peer may record a refusal at the same time.
        let mut refusal = lock(&self.refusal);
        match result {
            Ok(lease) => {
                if let Some(newer) = refusal.as_ref().filter(|refusal| refusal.outweighs(&lease)) {
                    return Err(newer.error.clone());
                }
                *refusal = None;
                Ok(lease)
            }
            Err(error) => {
                if error.is_verdict() {
                    *refusal = Some(Refusal { at: now, error: error.clone() });
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
#[derive(Default)]
pub(crate) struct Coalesce {
    entries: Mutex<HashMap<VerdictKey, Arc<Entry>>>,
    cohorts: Mutex<HashMap<Cohort, Overlap>>,
    sessions: Mutex<Vec<Weak<dyn RefusalObserver>>>,
}

/// A session, which may have a peer that another session of the verifier finds out about.
pub(crate) trait RefusalObserver: Send + Sync {
    /// Is called when a peer was refused.
    fn refused(&self, peer: &VerdictKey, error: &AttestationError);
}

/// Calls that open sessions for the same scope and policy.
type Cohort = (Scope, Sha256Digest);

/// Calls that overlap in time.
#[derive(Debug)]
struct Overlap {
    under_way: usize,
    since: Moment,
}

/// A call that opens a session, while it runs.
pub(crate) struct ConnectGuard<'c> {
    coalesce: &'c Coalesce,
    cohort: Cohort,
    pub(crate) freshness: Freshness,
}

/// How recent a verdict has to be to be shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    requested_at: Moment,
    /// When the first of the overlapping calls began.
    cohort_since: Moment,
    /// Whether the evidence must have been requested after this request.
    evidence_after: bool,
}

impl Freshness {
    pub(crate) fn now(clock: &Clock) -> Self {
        let now = clock.moment();
        Self { requested_at: now, cohort_since: now, evidence_after: false }
    }

    /// Requires evidence that is requested from now on.
    pub(crate) fn evidence_from_now(clock: &Clock) -> Self {
        Self { evidence_after: true, ..Self::now(clock) }
    }

    /// Whether an outcome can be shared. A failure from before the request cannot: another attempt may succeed.
    fn accepts(self, outcome: &Outcome<Lease>, entry: &Entry) -> bool {
        let came_later = outcome.at.not_before(self.requested_at);
        match &outcome.result {
            Ok(lease) => {
                let age = self.requested_at.elapsed_since(outcome.at);
                let overlaps = outcome.at.not_before(self.cohort_since) && age <= COALESCE_WINDOW;
                let is_new = !self.evidence_after || lease.requested_at().not_before(self.requested_at);
                (came_later || overlaps) && is_new && !lease.is_lost() && entry.outweighs(lease).is_none()
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

impl fmt::Debug for Coalesce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesce").finish_non_exhaustive()
    }
}

impl Coalesce {
    /// Adds a session, to which refusals are reported from now on.
    pub(crate) fn add(&self, session: Weak<dyn RefusalObserver>) {
        let mut sessions = lock(&self.sessions);
        sessions.retain(|other| other.strong_count() > 0);
        sessions.push(session);
    }

    /// Reports a refusal to every session. A session whose attestation ends later than this call is refused by [`Self::outweighs`].
    pub(crate) fn report(&self, peer: &VerdictKey, error: &AttestationError) {
        let sessions: Vec<_> = lock(&self.sessions).iter().filter_map(Weak::upgrade).collect();
        sessions.iter().for_each(|session| session.refused(peer, error));
    }

    /// Begins a call that opens a session.
    pub(crate) fn connect(&self, scope: Scope, policy: Sha256Digest, clock: &Clock) -> ConnectGuard<'_> {
        let cohort = (scope, policy);
        let now = clock.moment();
        let mut cohorts = lock(&self.cohorts);
        let overlap = cohorts.entry(cohort.clone()).or_insert(Overlap { under_way: 0, since: now });
        overlap.under_way = overlap.under_way.saturating_add(1);
        let freshness = Freshness { requested_at: now, cohort_since: overlap.since, evidence_after: false };
        ConnectGuard { coalesce: self, cohort, freshness }
    }

    /// Attests a peer, or returns the outcome of another task if it is recent enough.
    pub(crate) async fn attest(
        &self,
        key: VerdictKey,
        freshness: Freshness,
        clock: &Clock,
        deadline: &Deadline,
        attestation: impl Future<Output = Result<Lease, AttestationError>>,
    ) -> Result<Lease, AttestationError> {
        let entry = self.entry(key, clock);
        let activity = "waiting for an attestation that is under way";
        let attesting = async { entry.record(attestation.await, clock.moment()) };
        let shares = |outcome: &Outcome<Lease>| freshness.accepts(outcome, &entry);
        entry.attestations.run(freshness.requested_at, clock, activity, deadline, shares, attesting).await
    }

    /// Attests a peer for one task: a renewal, which has its own deadline.
    pub(crate) async fn attest_alone(
        &self,
        key: VerdictKey,
        clock: &Clock,
        attestation: impl Future<Output = Result<Lease, AttestationError>>,
    ) -> Result<Lease, AttestationError> {
        // Held until the end: it keeps a refusal that is recorded in between.
        let entry = self.entry(key, clock);
        let result = attestation.await;
        entry.record(result, clock.moment())
    }

    /// A refusal of the peer that is newer than the evidence of an attestation.
    pub(crate) fn outweighs(&self, key: &VerdictKey, lease: &Lease) -> Option<AttestationError> {
        lock(&self.entries).get(key).and_then(|entry| entry.outweighs(lease))
    }

    /// Whether an attestation is newer than every refusal of the peer; false where nothing is known of the peer any more.
    pub(crate) fn is_newer_than_refusals(&self, key: &VerdictKey, lease: &Lease) -> bool {
        lock(&self.entries).get(key).is_some_and(|entry| entry.outweighs(lease).is_none())
    }

    /// The refusal of a peer that was refused within the last 30 seconds.
    pub(crate) fn recent_refusal(&self, key: &VerdictKey, clock: &Clock) -> Option<AttestationError> {
        let entries = lock(&self.entries);
        let entry = entries.get(key).filter(|entry| entry.is_recently_refused(clock))?;
        lock(&entry.refusal).as_ref().map(|refusal| refusal.error.clone())
    }

    fn entry(&self, key: VerdictKey, clock: &Clock) -> Arc<Entry> {
        let mut entries = lock(&self.entries);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            // A running attestation holds its entry.
            entries.retain(|_, entry| Arc::strong_count(entry) > 1 || entry.is_recently_refused(clock));
            if entries.len() >= MAX_ENTRIES {
                entries.retain(|_, entry| Arc::strong_count(entry) > 1);
            }
        }
        Arc::clone(entries.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SpkiDigest;

    fn key(number: usize) -> VerdictKey {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        let (scope, policy) = (Scope::Origin("https://app.example".to_owned()), Sha256Digest::new([0; 32]));
        VerdictKey { peer: PeerId::Key(SpkiDigest::new(digest)), scope, policy, key_exchange: None }
    }

    /// An attacker on the path shows new keys, all of which are refused, while evidence that was requested before is delayed.
    #[test]
    fn entries_are_bounded_and_those_of_running_attestations_stay() {
        let (coalesce, clock) = (Coalesce::default(), Clock::system());
        let running = coalesce.entry(key(0), &clock);
        let refused = AttestationError::InvalidAgentAnswer { reason: "not genuine".to_owned() };
        for number in 1..3 * MAX_ENTRIES {
            let entry = coalesce.entry(key(number), &clock);
            assert_eq!(entry.record(Err(refused.clone()), clock.moment()).unwrap_err(), refused);
            assert!(lock(&coalesce.entries).len() <= MAX_ENTRIES);
            assert_eq!(coalesce.recent_refusal(&key(number), &clock), Some(refused.clone()));
        }
        assert!(Arc::ptr_eq(&running, &coalesce.entry(key(0), &clock)));
    }
}
