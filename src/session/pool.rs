//! The attested peers of a session, by key. Who may be asked for evidence, who is removed, and when the session is poisoned.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::lock;
use super::peer::{Checkout, Lease, Peer};
use super::peer_id::PeerId;
use crate::attestation::Attestation;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::telemetry;
use crate::transport::Connection;

/// The most attested keys of a session: replicas of one deployment, and those that restarts left over. Beyond it the key that
/// was of no use for the longest time makes room.
const MAX_KEYS: usize = 64;

/// How many keys that are not attested yet a session may meet within [`NEW_KEY_WINDOW`]: stops an attacker on the path who shows
/// a new key each time and has us ask for evidence without end.
const MAX_NEW_KEYS: usize = 120;
const NEW_KEY_WINDOW: Duration = Duration::from_secs(60);

/// The pool of a session. Its lock is taken before a peer's, never after.
pub(super) struct Pool {
    clock: Clock,
    state: Mutex<State>,
    /// A connection has become free, or a peer has another one.
    freed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Those whose attestation is valid, as far as was looked; the one that responded last is first.
    peers: Vec<Arc<Peer>>,
    /// Those that left without a refusal while something is under way with them: a refusal may come yet, or a new attestation.
    evicted: Vec<Weak<Peer>>,
    latest: Option<Arc<Attestation>>,
    recent: Vec<(PeerId, Instant)>,
    /// The code of the refusal after which no peer was left.
    poisoned: Option<&'static str>,
}

impl State {
    fn evict(&mut self, peer: &Arc<Peer>) {
        peer.close_idle();
        self.evicted.retain(|peer| peer.strong_count() > 0);
        self.evicted.push(Arc::downgrade(peer));
    }

    fn evict_expired(&mut self) -> usize {
        // One that is a single connection ends with it. Nothing is allocated where all are valid.
        self.peers.retain(|peer| !peer.is_gone());
        let expired: Vec<_> = self.peers.extract_if(.., |peer| !peer.is_valid()).collect();
        expired.iter().for_each(|peer| self.evict(peer));
        expired.len()
    }

    /// Evicts the peer that was of no use for the longest time; false if all of them are in use.
    fn evict_least_recently_used(&mut self) -> bool {
        let unused = self.peers.iter().enumerate().filter(|(_, peer)| !peer.is_in_use());
        let Some(at) = unused.min_by_key(|(_, peer)| peer.last_used()).map(|(at, _)| at) else { return false };
        let peer = self.peers.swap_remove(at);
        self.evict(&peer);
        true
    }

    /// The peer of a key, in the pool or evicted with something under way: there is one object for a key, so that its
    /// revocation is seen by all that it has begun.
    fn find(&self, id: PeerId) -> Option<Arc<Peer>> {
        let evicted = || self.evicted.iter().filter_map(Weak::upgrade).find(|peer| peer.id() == id);
        self.peers.iter().find(|peer| peer.id() == id).cloned().or_else(evicted)
    }
}

/// What an attestation does to a poisoned session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Poison {
    /// It is what the caller asked for to open the session again.
    Clears,
    /// It was begun by a request, and the session was poisoned since.
    Stays,
}

impl Pool {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), freed: Arc::default() }
    }

    /// An error if the session sends nothing until a [`Poison::Clears`] attestation is inserted.
    pub(super) fn check_not_poisoned(&self) -> Result<(), AttestationError> {
        lock(&self.state).poisoned.map_or(Ok(()), |cause| Err(AttestationError::SessionPoisoned { cause }))
    }

    pub(super) fn latest(&self) -> Option<Arc<Attestation>> {
        lock(&self.state).latest.clone()
    }

    /// Resolves when a connection may be free; registered once it was polled or enabled.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// A free connection to a peer whose attestation is valid.
    pub(super) fn checkout(&self) -> Option<Checkout> {
        let mut state = lock(&self.state);
        let expired = state.evict_expired();
        let checkout = state.peers.iter().find_map(Peer::checkout);
        let keys = state.peers.len();
        drop(state);
        telemetry::expired(expired, keys);
        checkout
    }

    /// Those whose attestation is about to end.
    pub(super) fn expiring(&self) -> Vec<Arc<Peer>> {
        lock(&self.state).peers.iter().filter(|peer| peer.is_valid() && peer.needs_renewal()).cloned().collect()
    }

    pub(super) fn has_valid_peer(&self) -> bool {
        lock(&self.state).peers.iter().any(|peer| peer.is_valid())
    }

    /// The peer of a key whose attestation is valid.
    pub(super) fn get(&self, id: PeerId) -> Option<Arc<Peer>> {
        let mut state = lock(&self.state);
        let expired = state.evict_expired();
        let peer = state.peers.iter().find(|peer| peer.id() == id).cloned();
        let keys = state.peers.len();
        drop(state);
        telemetry::expired(expired, keys);
        peer
    }

    /// A peer has responded: it is tried first next time.
    pub(super) fn mark_used(&self, peer: &Arc<Peer>) {
        peer.mark_used();
        let mut state = lock(&self.state);
        if let Some(at) = state.peers.iter().position(|other| Arc::ptr_eq(other, peer)) {
            state.peers.swap(0, at);
        }
    }

    /// A peer has been attested over a connection: it joins, or goes on with its new attestation.
    ///
    /// `outweighed` is asked under the pool's lock for a refusal that is newer than the evidence: one that is recorded later
    /// finds the peer here and revokes it.
    pub(super) fn insert(
        &self,
        id: PeerId,
        lease: &Lease,
        connection: Connection,
        poison: Poison,
        outweighed: impl FnOnce() -> Option<AttestationError>,
    ) -> Result<Checkout, AttestationError> {
        let mut state = lock(&self.state);
        if let (Some(cause), Poison::Stays) = (state.poisoned, poison) {
            return Err(AttestationError::SessionPoisoned { cause });
        }
        if let Some(error) = outweighed() {
            return Err(error);
        }
        let (peer, joined) = match state.find(id) {
            // What it has begun before goes on: it is the same peer, and attested.
            Some(peer) => {
                peer.renew(lease.clone());
                let is_back = !state.peers.iter().any(|other| Arc::ptr_eq(other, &peer));
                (peer, is_back)
            }
            None => {
                let (clock, freed) = (self.clock.clone(), Arc::clone(&self.freed));
                (Arc::new(Peer::new(id, connection.security(), lease.clone(), clock, freed)), true)
            }
        };
        if joined {
            if state.peers.len() >= MAX_KEYS && !state.evict_least_recently_used() {
                return Err(AttestationError::TooManyUnattestedPeers {
                    reason: "the session has 64 attested keys in use",
                });
            }
            state.peers.push(Arc::clone(&peer));
            state.evicted.retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&peer)));
        }
        state.poisoned = None;
        state.latest = Some(Arc::clone(lease.attested()));
        let keys = state.peers.len();
        // Under the pool's lock, or a revocation between the two would miss this connection.
        let checkout = peer.attach(connection);
        drop(state);
        if joined {
            telemetry::joined(id.key(), keys);
        }
        Ok(checkout)
    }

    /// A peer goes on with its new attestation, unless it was refused since.
    pub(super) fn renew(&self, peer: &Peer, lease: Lease) {
        let mut state = lock(&self.state);
        if peer.revocation().is_none() {
            state.latest = Some(Arc::clone(lease.attested()));
            peer.renew(lease);
        }
    }

    /// The evidence of a key was refused: its peer is removed and revoked, and a session without any other is poisoned.
    pub(super) fn revoke(&self, id: PeerId, error: &AttestationError) {
        let mut state = lock(&self.state);
        let was_here = state.peers.iter().any(|peer| peer.id() == id);
        while let Some(peer) = state.find(id) {
            peer.revoke(error);
            state.peers.retain(|other| !Arc::ptr_eq(other, &peer));
            state.evicted.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&peer)));
        }
        if was_here && state.peers.is_empty() {
            state.poisoned = Some(error.code());
        }
        let keys = state.peers.len();
        drop(state);
        // Those who wait for a connection of it look again.
        self.freed.notify_waiters();
        telemetry::refused(id.key(), error, was_here, keys);
    }

    /// Whether a key, or a connection, that is not attested may be asked for evidence.
    pub(super) fn check_attest_rate(&self, id: PeerId) -> Result<(), AttestationError> {
        let mut state = lock(&self.state);
        state.recent.retain(|(_, since)| since.elapsed() < NEW_KEY_WINDOW);
        // Requests that meet the same key count once, or an outage of its agent would outlast itself.
        if state.recent.iter().any(|(recent, _)| *recent == id) {
            return Ok(());
        }
        if state.recent.len() >= MAX_NEW_KEYS {
            let reason = match id.is_one_connection() {
                true => "more than 120 connections needed an attestation within a minute",
                false => "more than 120 keys that are not attested were shown within a minute",
            };
            return Err(AttestationError::TooManyUnattestedPeers { reason });
        }
        state.recent.push((id, Instant::now()));
        Ok(())
    }

    /// Whether another connection would be a peer beyond the limit, while `opening` are on their way: a request then waits for one of
    /// those that are in use. Only where each connection is a peer; of keys that are in use 64 are enough.
    pub(super) fn is_full(&self, opening: usize) -> bool {
        let state = lock(&self.state);
        let single = state.peers.iter().filter(|peer| peer.id().is_one_connection() && peer.is_in_use()).count();
        single.saturating_add(opening) >= MAX_KEYS
    }

    /// Another connection of an attested key.
    pub(super) fn attach(&self, peer: &Arc<Peer>, connection: Connection) -> Checkout {
        let _state = lock(&self.state);
        peer.attach(connection)
    }
}
