//! One attestation of a peer at a time, shared by all who wait for it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

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

#[derive(Debug, Default)]
pub(super) struct Verdicts(Mutex<HashMap<About, Arc<AsyncMutex<Verdict>>>>);

impl Verdicts {
    /// Attests a peer, unless another task has come to a verdict since `asked`: that one then holds for both.
    ///
    /// A task that is given up on the way leaves nothing behind, and the next one takes over.
    pub(super) async fn attest<F: Future<Output = Result<Life, AttestationError>>>(
        &self,
        about: About,
        asked: Moment,
        (clock, deadline): (&Clock, &Deadline),
        attestation: impl FnOnce() -> F,
    ) -> Result<Life, AttestationError> {
        let flight = self.flight(about);
        let mut verdict = deadline.run("waiting for an attestation that is under way", flight.lock()).await?;
        if let Some((_, outcome)) = verdict.as_ref().filter(|(at, _)| at.is_since(asked)) {
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
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.len() >= MAX_PEERS && !flights.contains_key(&about) {
            // Those under way are held by somebody.
            flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        }
        Arc::clone(flights.entry(about).or_default())
    }
}
