//! How often a session has a peer attested at an attacker's wish: one that shows new keys, or leads sealed requests to no instance.

use std::time::{Duration, Instant};

use crate::attest::PeerId;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::message::exchange::attest_limit::{MAX_ATTESTATIONS, TOO_MANY_ATTESTATIONS, WINDOW_SECONDS};
use crate::types::SpkiDigest;

/// The most keys that a session attests within [`WINDOW`], and the most attestations of single connections.
const MAX_NEW: usize = 120;
const WINDOW: Duration = Duration::from_secs(WINDOW_SECONDS);

/// What counts of the last minute.
#[derive(Default)]
pub(super) struct AttestRate {
    /// The keys that were shown and not attested. A key counts once: else retries during an outage of its agent would use up the limit.
    keys: Vec<(SpkiDigest, Instant)>,
    /// The attestations with a verdict of what has no key of its own: connections, and instances behind a front end. Each caller's
    /// request fails with an attestation that has none, so that an outage leads to no more of them, and uses up nothing.
    attestations: Vec<Instant>,
}

impl AttestRate {
    /// Returns an error if a peer may not be asked for evidence now.
    pub(super) fn check(&mut self, id: PeerId, clock: &Clock) -> Result<(), AttestationError> {
        let is_recent = |since: Instant| clock.elapsed(since) < WINDOW;
        self.keys.retain(|(_, since)| is_recent(*since));
        self.attestations.retain(|since| is_recent(*since));
        let limited = |reason| Err(AttestationError::TooManyUnattestedPeers { reason });
        match id {
            PeerId::FrontEnd if self.attestations.len() >= MAX_ATTESTATIONS => return limited(TOO_MANY_ATTESTATIONS),
            PeerId::Connection { .. } if self.attestations.len() >= MAX_NEW => {
                return limited("more than 120 connections needed an attestation within a minute");
            }
            _ => {}
        }
        let Some(key) = id.key().filter(|key| self.keys.iter().all(|(known, _)| known != key)) else { return Ok(()) };
        if self.keys.len() >= MAX_NEW {
            return limited("more than 120 keys that are not attested were shown within a minute");
        }
        self.keys.push((key, clock.monotonic()));
        Ok(())
    }

    /// Counts an attestation with a verdict, once for all that waited for it.
    pub(super) fn count(&mut self, id: PeerId, clock: &Clock) {
        if id == PeerId::FrontEnd || id.is_one_connection() {
            self.attestations.push(clock.monotonic());
        }
    }
}
