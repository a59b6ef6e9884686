//! One attested peer: its attestation, its revocation if there was one, and its open connections.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, Notify, watch};
use tokio::task::AbortHandle;

use super::checkout::Checkout;
use super::renewal::Renewal;
use crate::attest::{Lease, PeerId};
use crate::clock::{Clock, Order};
use crate::error::AttestationError;
use crate::http::Cancelled;
use crate::sync::lock;
use crate::transport::{Connection, Security};

/// The most idle connections of one peer, and how long one stays open without a request. Servers close idle connections after
/// one to two minutes, and a request that is sent while the server closes fails.
const MAX_IDLE: usize = 64;
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How often exchanges check the wall clock, which can be set forward.
const WALL_CLOCK_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// An attested key, an attested connection, or the one peer of an unbound session. The pool and every exchange hold it: a revocation
/// reaches all of its exchanges, also after the pool has evicted it.
pub(super) struct Peer {
    id: PeerId,
    security: Security,
    clock: Clock,
    /// The only copy of the attestation. Renewals replace it.
    lease: Mutex<Lease>,
    /// Set when the peer is refused, and never cleared.
    revoked: watch::Sender<Option<AttestationError>>,
    connections: Mutex<Connections>,
    /// The number of requests, responses and streams under way.
    under_way: AtomicUsize,
    last_used: Mutex<Order>,
    /// Held by the task that renews.
    pub(super) renewal: AsyncMutex<Renewal>,
    /// The pool's signal that a connection is free.
    freed: Arc<Notify>,
}

#[derive(Default)]
struct Connections {
    /// HTTP/1.1 connections without an exchange; the one that was used last is at the back.
    idle: VecDeque<(Instant, Connection)>,
    /// The HTTP/2 connection that takes all requests.
    shared: Option<Connection>,
    /// Closes each connection that is still open, in use or not.
    sockets: Vec<AbortHandle>,
}

impl Peer {
    pub(super) fn new(id: PeerId, security: Security, lease: Lease, clock: Clock, freed: Arc<Notify>) -> Self {
        Self {
            id,
            security,
            clock,
            lease: Mutex::new(lease),
            revoked: watch::Sender::new(None),
            connections: Mutex::default(),
            under_way: AtomicUsize::new(0),
            last_used: Mutex::new(Order::next()),
            renewal: AsyncMutex::default(),
            freed,
        }
    }

    pub(super) fn id(&self) -> PeerId {
        self.id
    }

    /// Whether nothing can be sent to it any more: it is one connection, and that is closed.
    pub(super) fn is_gone(&self) -> bool {
        self.id.is_one_connection()
            && !self.is_in_use()
            && lock(&self.connections).sockets.iter().all(AbortHandle::is_finished)
    }

    pub(super) fn security(&self) -> Security {
        self.security
    }

    pub(super) fn lease(&self) -> Lease {
        lock(&self.lease).clone()
    }

    pub(super) fn renew(&self, lease: Lease) {
        *lock(&self.lease) = lease;
    }

    /// Whether an attestation is about this peer: of the same id and, behind a front end, of the same instance.
    pub(super) fn is_renewed_by(&self, id: PeerId, lease: &Lease) -> bool {
        self.id == id && lock(&self.lease).is_of_same_instance(lease)
    }

    pub(super) fn is_valid(&self) -> bool {
        lock(&self.lease).is_valid(&self.clock)
    }

    /// Whether another request can be begun. What is under way when messages get lost was sealed before, and goes on.
    pub(super) fn is_usable(&self) -> bool {
        let lease = lock(&self.lease);
        lease.is_valid(&self.clock) && !lease.is_lost()
    }

    pub(super) fn needs_renewal(&self) -> bool {
        lock(&self.lease).needs_renewal(&self.clock)
    }

    pub(super) fn last_used(&self) -> Order {
        *lock(&self.last_used)
    }

    pub(super) fn mark_used(&self) {
        *lock(&self.last_used) = Order::next();
    }

    /// Whether a request, the body of a response or a stream is under way.
    pub(super) fn is_in_use(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) > 0
    }

    /// Ends all exchanges with this peer. The reason is set before the sockets are closed, so that exchanges that fail because of
    /// the closed sockets report the reason.
    pub(super) fn revoke(&self, error: &AttestationError) {
        self.revoked.send_replace(Some(error.clone()));
        let connections = std::mem::take(&mut *lock(&self.connections));
        connections.sockets.iter().for_each(AbortHandle::abort);
    }

    /// The refusal of the peer, if there was one.
    pub(super) fn revocation(&self) -> Option<AttestationError> {
        self.revoked.borrow().clone()
    }

    /// Returns an error if nothing more may be sent.
    pub(super) fn check(&self) -> Result<(), AttestationError> {
        self.cancelled(Duration::ZERO).map_or(Ok(()), Err)
    }

    /// The reason why nothing more may be exchanged, if there is one now. [`Peer::until_cancelled`] waits for it.
    pub(super) fn cancelled(&self, grace: Duration) -> Option<AttestationError> {
        let expired = || lock(&self.lease).remaining(&self.clock, grace).is_zero();
        self.revocation().or_else(|| expired().then_some(AttestationError::AttestationExpired))
    }

    /// Waits until an exchange has to end: when the peer is refused, or when its attestation ended this long ago. A renewal extends
    /// it.
    pub(super) fn until_cancelled(self: &Arc<Self>, grace: Duration) -> Cancelled {
        let (peer, mut revoked) = (Arc::clone(self), self.revoked.subscribe());
        Box::pin(async move {
            tokio::select! {
                biased;
                revocation = revoked.wait_for(Option::is_some) => match revocation.ok().and_then(|error| error.clone()) {
                    Some(error) => error,
                    // The sender is in `peer`: it is not dropped.
                    None => AttestationError::AttestationExpired,
                },
                () = peer.expired(grace) => AttestationError::AttestationExpired,
            }
        })
    }

    async fn expired(&self, grace: Duration) {
        loop {
            let remaining = self.lease().remaining(&self.clock, grace);
            if remaining.is_zero() {
                return;
            }
            // A clock that is set forward is noticed within this interval.
            tokio::time::sleep(remaining.min(WALL_CLOCK_POLL_INTERVAL)).await;
        }
    }

    /// Adds a connection with the key of this peer, and checks it out.
    pub(super) fn attach(self: &Arc<Self>, connection: Connection) -> Checkout {
        let mut connections = lock(&self.connections);
        connections.sockets.retain(|socket| !socket.is_finished());
        connections.sockets.push(connection.socket());
        // The newest one is known to work. Exchanges on the older one continue there.
        if let Some(shared) = connection.share() {
            connections.shared = Some(shared);
        }
        let is_shared = connections.shared.is_some();
        drop(connections);
        // A revocation since the attestation did not close this socket.
        if self.revocation().is_some() {
            connection.socket().abort();
        }
        if is_shared {
            self.freed.notify_waiters();
        }
        Checkout::new(self, connection)
    }

    /// A connection for a request, if one is open and free.
    pub(super) fn checkout(self: &Arc<Self>) -> Option<Checkout> {
        let mut connections = lock(&self.connections);
        if let Some(shared) = &connections.shared {
            if !shared.is_closed()
                && let Some(connection) = shared.share()
            {
                drop(connections);
                return Some(Checkout::new(self, connection));
            }
            connections.shared = None;
        }
        let too_old = |since: &Instant| self.clock.elapsed(*since) >= IDLE_TIMEOUT;
        while connections.idle.front().is_some_and(|(since, idle)| too_old(since) || idle.is_closed()) {
            connections.idle.pop_front();
        }
        // A connection that is not ready has ended its exchange, but its task has not processed that yet.
        let ready = connections.idle.iter().rposition(|(_, idle)| idle.is_ready());
        let at = ready.or_else(|| connections.idle.iter().rposition(|(_, idle)| !idle.is_closed()))?;
        let (_, connection) = connections.idle.remove(at)?;
        drop(connections);
        Some(Checkout::new(self, connection))
    }

    /// Closes the connections without an exchange.
    pub(super) fn close_idle(&self) {
        let mut connections = lock(&self.connections);
        connections.idle.clear();
        connections.shared = None;
    }

    /// Counts an exchange that begins.
    pub(super) fn exchange_begins(&self) {
        self.under_way.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts an exchange that has ended, and keeps its connection if another exchange can follow.
    pub(super) fn exchange_ended(&self, reusable: Option<Connection>) {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        if let Some(connection) = reusable {
            self.put_back(connection);
        }
        // Even where the connection is not used again: its place is free.
        if self.id.is_one_connection() {
            self.freed.notify_one();
        }
    }

    fn put_back(&self, connection: Connection) {
        if connection.is_closed() || self.check().is_err() {
            return;
        }
        let mut connections = lock(&self.connections);
        connections.idle.push_back((self.clock.monotonic(), connection));
        let closed = if connections.idle.len() > MAX_IDLE { connections.idle.pop_front() } else { None };
        drop(connections);
        drop(closed);
        self.freed.notify_one();
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({:?})", self.id)
    }
}
