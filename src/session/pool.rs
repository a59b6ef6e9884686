//! The attested peers of a session by key: which are used, added, evicted and revoked, and when the session is poisoned.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::checkout::Checkout;
use super::peer::Peer;
use super::rate::AttestRate;
use crate::attest::{Lease, PeerId};
use crate::attestation::Attestation;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::sync::lock;
use crate::telemetry;
use crate::transport::{Connection, Security};

/// The most attested keys of a session: the replicas of one deployment, and keys from before restarts. A further one evicts the
/// least recently used.
const MAX_KEYS: usize = 64;

/// The pool of a session. Lock order: the pool before a peer, to avoid deadlocks.
pub(super) struct Pool {
    clock: Clock,
    state: Mutex<State>,
    /// Signals that a connection is free.
    freed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Peers whose attestation was valid when last checked; the one that responded last is first.
    peers: Vec<Arc<Peer>>,
    /// Evicted peers with exchanges under way: a refusal must still reach those, and a new attestation restores the peer.
    evicted: Vec<Weak<Peer>>,
    latest: Option<Arc<Attestation>>,
    rate: AttestRate,
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
        // A peer that is a single connection ends with it. Runs for each request, and allocates nothing if all are valid.
        self.peers.retain(|peer| !peer.is_gone());
        self.evict_all(|peer| !peer.is_usable())
    }

    /// Evicts all peers for which this holds, and returns how many.
    fn evict_all(&mut self, holds: impl Fn(&Peer) -> bool) -> usize {
        let evicted: Vec<_> = self.peers.extract_if(.., |peer| holds(peer)).collect();
        evicted.iter().for_each(|peer| self.evict(peer));
        evicted.len()
    }

    /// Evicts the least recently used peer; false if all of them are in use.
    fn evict_least_recently_used(&mut self) -> bool {
        let unused = self.peers.iter().enumerate().filter(|(_, peer)| !peer.is_in_use());
        let Some(at) = unused.min_by_key(|(_, peer)| peer.last_used()).map(|(at, _)| at) else { return false };
        let peer = self.peers.swap_remove(at);
        self.evict(&peer);
        true
    }

    /// A peer in the pool or evicted. There is one object for each key, so that a revocation reaches all of its exchanges.
    fn find(&self, is_it: impl Fn(&Peer) -> bool) -> Option<Arc<Peer>> {
        let evicted = || self.evicted.iter().filter_map(Weak::upgrade).find(|peer| is_it(peer));
        self.peers.iter().find(|peer| is_it(peer)).cloned().or_else(evicted)
    }

    /// Evicts the instance behind a front end that another one takes the place of. What is sealed to it ends with its own attestation.
    fn evict_other_instance(&mut self, id: PeerId) {
        self.evict_all(|peer| peer.id() == id);
    }
}

/// What an attestation does to a poisoned session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Poison {
    /// The caller requested it to open the session again.
    Clears,
    /// It belongs to a request: a session that was poisoned since stays so.
    Stays,
}

impl Pool {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default(), freed: Arc::default() }
    }

    /// Returns an error if the session is poisoned: it sends nothing until a [`Poison::Clears`] attestation is inserted.
    pub(super) fn check_not_poisoned(&self) -> Result<(), AttestationError> {
        lock(&self.state).poisoned.map_or(Ok(()), |cause| Err(AttestationError::SessionPoisoned { cause }))
    }

    pub(super) fn latest(&self) -> Option<Arc<Attestation>> {
        lock(&self.state).latest.clone()
    }

    /// Resolves when a connection may be free. It is registered when it is first polled or enabled.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// A free connection to a peer whose attestation is valid.
    pub(super) fn checkout(&self) -> Option<Checkout> {
        self.find_valid(Peer::checkout)
    }

    /// The peers whose attestation ends soon.
    pub(super) fn expiring(&self) -> Vec<Arc<Peer>> {
        lock(&self.state).peers.iter().filter(|peer| peer.is_usable() && peer.needs_renewal()).cloned().collect()
    }

    pub(super) fn has_valid_peer(&self) -> bool {
        lock(&self.state).peers.iter().any(|peer| peer.is_usable())
    }

    /// The peer of a key whose attestation is valid.
    pub(super) fn get(&self, id: PeerId) -> Option<Arc<Peer>> {
        self.find_valid(|peer| (peer.id() == id).then(|| Arc::clone(peer)))
    }

    /// The first that is found in the peers whose attestation is valid; the others are evicted.
    fn find_valid<T>(&self, find: impl FnMut(&Arc<Peer>) -> Option<T>) -> Option<T> {
        let mut state = lock(&self.state);
        let expired = state.evict_expired();
        let found = state.peers.iter().find_map(find);
        let keys = state.peers.len();
        drop(state);
        telemetry::expired(expired, keys);
        found
    }

    /// Records that a peer has responded: it is tried first next time.
    pub(super) fn mark_used(&self, peer: &Arc<Peer>) {
        peer.mark_used();
        let mut state = lock(&self.state);
        if let Some(at) = state.peers.iter().position(|other| Arc::ptr_eq(other, peer)) {
            state.peers.swap(0, at);
        }
    }

    /// Adds a peer that was attested over a connection, or replaces its attestation.
    ///
    /// `outweighed` returns a refusal that is newer than the evidence. It is called under the pool's lock: a refusal that is
    /// recorded later finds the peer in the pool and revokes it.
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
        let (peer, joined) = match state.find(|peer| peer.is_renewed_by(id, lease)) {
            // Exchanges from before continue: it is the same key, and attested.
            Some(peer) => {
                peer.renew(lease.clone());
                let is_back = !state.peers.iter().any(|other| Arc::ptr_eq(other, &peer));
                (peer, is_back)
            }
            None => (self.new_peer(id, connection.security(), lease.clone()), true),
        };
        if joined {
            state.evict_other_instance(id);
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
        // Under the pool's lock: a revocation between the two would not close this connection.
        let checkout = peer.attach(connection);
        drop(state);
        if joined {
            telemetry::joined(id.key(), keys);
        }
        Ok(checkout)
    }

    /// Replaces the attestation of a peer, unless it was refused since; or the peer, where a front end leads to another instance.
    pub(super) fn renew(&self, peer: &Peer, lease: Lease) {
        let mut state = lock(&self.state);
        if peer.revocation().is_some() {
            return;
        }
        let renewed = peer.is_renewed_by(peer.id(), &lease);
        // An instance that was given up since is attested for what is under way: nothing more is sent to it.
        if !renewed || state.peers.iter().any(|other| std::ptr::eq(Arc::as_ptr(other), peer)) {
            state.latest = Some(Arc::clone(lease.attested()));
        }
        if renewed {
            peer.renew(lease);
        } else {
            state.evict_other_instance(peer.id());
            state.peers.push(self.new_peer(peer.id(), peer.security(), lease));
        }
    }

    fn new_peer(&self, id: PeerId, security: Security, lease: Lease) -> Arc<Peer> {
        Arc::new(Peer::new(id, security, lease, self.clock.clone(), Arc::clone(&self.freed)))
    }

    /// A peer that is in the pool, or of which anything is under way.
    pub(super) fn find(&self, id: PeerId) -> Option<Arc<Peer>> {
        lock(&self.state).find(|peer| peer.id() == id)
    }

    /// Removes and revokes the peer of a key whose evidence was refused. If no other peer is left, the session is poisoned.
    pub(super) fn revoke(&self, id: PeerId, error: &AttestationError) {
        let mut state = lock(&self.state);
        let was_here = state.peers.iter().any(|peer| peer.id() == id);
        while let Some(peer) = state.find(|peer| peer.id() == id) {
            peer.revoke(error);
            state.peers.retain(|other| !Arc::ptr_eq(other, &peer));
            state.evicted.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&peer)));
        }
        // A new key without evidence closes nothing. A session that does not go by keys has one peer, which was refused, whether or not
        // its last attestation was still used: behind a front end that is the front end's choice.
        let closes = state.peers.is_empty() && (was_here || id.key().is_none());
        // Reported once, and of a session that was open: a connection that is refused at first opens none.
        let left = was_here || (closes && state.poisoned.is_none() && state.latest.is_some());
        if closes {
            state.poisoned = Some(error.code());
        }
        let keys = state.peers.len();
        drop(state);
        // Requests that wait for a connection of it check again.
        self.freed.notify_waiters();
        telemetry::refused(id.key(), error, left, keys);
    }

    /// Whether a key, or a connection, that is not attested may be asked for evidence; or an instance behind a front end.
    pub(super) fn check_attest_rate(&self, id: PeerId) -> Result<(), AttestationError> {
        lock(&self.state).rate.check(id, &self.clock)
    }

    /// Counts an attestation that a request caused.
    pub(super) fn count_attestation(&self, id: PeerId) {
        lock(&self.state).rate.count(id, &self.clock);
    }

    /// Whether another connection would be a peer beyond the limit, while `opening` are on their way: a request then waits for one of
    /// those that are in use. Only where each connection is a peer; of keys that are in use 64 are enough.
    pub(super) fn is_full(&self, opening: usize) -> bool {
        let state = lock(&self.state);
        let single = state.peers.iter().filter(|peer| peer.id().is_one_connection() && peer.is_in_use()).count();
        single.saturating_add(opening) >= MAX_KEYS
    }

    /// Adds a connection to an attested peer.
    pub(super) fn attach(&self, peer: &Arc<Peer>, connection: Connection) -> Checkout {
        let _state = lock(&self.state);
        peer.attach(connection)
    }
}
