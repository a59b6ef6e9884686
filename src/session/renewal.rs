//! Renews attestations that end soon: when, and over which connection.

use std::sync::Arc;
use std::time::Instant;

use super::SessionInner;
use super::checkout::{Checkout, Exchange};
use super::peer::Peer;
use crate::attest::Lease;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::telemetry;

/// The part of the time for renewals below which no other renewal is begun.
const MIN_RENEWAL_SHARE: u32 = 16;

/// The state of the renewal of one attestation.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// When the next attempt may be made.
    paused_until: Option<Instant>,
    /// The last attempt had no connection: the next one that is opened for a request is used.
    awaits_connection: bool,
}

/// Why an attestation was not renewed.
enum NoRenewal {
    /// The peer was refused.
    Verdict(AttestationError),
    /// There is no verdict on the peer; the code of the reason.
    NotNow(&'static str),
}

/// There is no connection to the peer, and none is opened.
const NO_CONNECTION: NoRenewal = NoRenewal::NotNow("no-connection");
/// The connection that was opened leads to another peer, or has another key exchange where that counts.
const ANOTHER_PEER: NoRenewal = NoRenewal::NotNow("another-peer");

impl NoRenewal {
    fn code(&self) -> &'static str {
        match self {
            Self::Verdict(error) => error.code(),
            Self::NotNow(code) => code,
        }
    }
}

impl From<AttestationError> for NoRenewal {
    fn from(error: AttestationError) -> Self {
        if error.is_verdict() { Self::Verdict(error) } else { Self::NotNow(error.code()) }
    }
}

impl SessionInner {
    /// Renews attestations that end soon, in the task of the first request that finds them; other requests continue. Without a
    /// verdict, the old attestation remains valid until its end. All renewals together take at most the verifier's deadline and half
    /// of the request's time; each takes at most half of what remains.
    pub(super) async fn renew_expiring(&self, deadline: &Deadline) -> Result<(), AttestationError> {
        let expiring = self.pool.expiring();
        if expiring.is_empty() {
            return Ok(());
        }
        let all = self.challenger.verifier.deadline.min(deadline.half_remaining());
        let clock = &self.challenger.verifier.clock;
        let (least, all) = (all.checked_div(MIN_RENEWAL_SHARE).unwrap_or_default(), Deadline::after(all));
        for peer in expiring {
            let Ok(mut renewal) = peer.renewal.try_lock() else { continue };
            if renewal.paused_until.is_some_and(|until| clock.monotonic() < until) {
                continue;
            }
            // Agents that do not respond have used it up. The next request renews the rest.
            if all.remaining() < least {
                break;
            }
            // Set before the attempt: a cancelled request does not get beyond the next await.
            renewal.paused_until = peer.lease().retry_at(clock);
            let share = Deadline::after(all.half_remaining());
            let outcome = telemetry::renewal(self.reattest_peer(&peer, &mut renewal, &share), NoRenewal::code).await;
            self.finish_renewal(&peer, &mut renewal, outcome)?;
        }
        Ok(())
    }

    /// Renews an attestation over a connection that was opened for a request, if the last attempt had no connection.
    ///
    /// Without a verdict, no other attestation is renewed in this way before its next attempt: where several agents do not respond,
    /// requests that open connections would wait for one after the other.
    pub(super) async fn renew_on_new_connection(
        &self,
        checkout: &mut Checkout,
        deadline: &Deadline,
    ) -> Result<(), AttestationError> {
        let peer = Arc::clone(checkout.peer());
        let Ok(mut renewal) = peer.renewal.try_lock() else { return Ok(()) };
        if !renewal.awaits_connection {
            return Ok(());
        }
        let share = Deadline::after(deadline.half_remaining());
        renewal.awaits_connection = false;
        let outcome = telemetry::renewal(self.reattest_over(&peer, checkout, &share), NoRenewal::code).await;
        if matches!(outcome, Err(NoRenewal::NotNow(_))) {
            // A peer whose renewal is locked is being renewed by another task.
            for other in self.pool.expiring() {
                if let Ok(mut renewal) = other.renewal.try_lock() {
                    renewal.awaits_connection = false;
                }
            }
        }
        self.finish_renewal(&peer, &mut renewal, outcome)
    }

    fn finish_renewal(
        &self,
        peer: &Arc<Peer>,
        renewal: &mut Renewal,
        outcome: Result<Lease, NoRenewal>,
    ) -> Result<(), AttestationError> {
        match outcome {
            Ok(lease) => {
                *renewal = Renewal::default();
                self.pool.renew(peer, lease);
                Ok(())
            }
            Err(NoRenewal::Verdict(error)) => {
                self.refuse(peer.security(), &error);
                Err(error)
            }
            Err(NoRenewal::NotNow(_)) => Ok(()),
        }
    }

    async fn reattest_peer(
        &self,
        peer: &Arc<Peer>,
        renewal: &mut Renewal,
        deadline: &Deadline,
    ) -> Result<Lease, NoRenewal> {
        renewal.awaits_connection = false;
        if let Some(mut checkout) = peer.checkout() {
            return self.reattest_over(peer, &mut checkout, deadline).await;
        }
        if self.challenger.mode.agent_is_separate() {
            let outcome = self.challenger.attest_again(peer.security(), None, None, deadline).await;
            return outcome.map_err(NoRenewal::from);
        }
        renewal.awaits_connection = true;
        // There is no free connection. If none is in use either, the peer may be gone: its key may not exist any more. Another
        // connection says nothing of a peer that is one connection.
        if !peer.is_in_use() || peer.id().is_one_connection() {
            return Err(NO_CONNECTION);
        }
        self.reattest_on_another(peer, renewal, deadline).await
    }

    /// Attests a peer over a new connection, if it has the same key. A load balancer may lead it to another replica.
    async fn reattest_on_another(
        &self,
        peer: &Arc<Peer>,
        renewal: &mut Renewal,
        deadline: &Deadline,
    ) -> Result<Lease, NoRenewal> {
        // A connection that cannot be opened is no verdict on this peer, whatever is the reason.
        let opened = self.challenger.open(deadline).await;
        let connection = opened.map_err(|error| NoRenewal::NotNow(error.code()))?;
        if self.challenger.mode.peer_id(connection.security()) != peer.id() {
            if let Some(other) = self.peer_to_join(connection.security()) {
                drop(self.pool.attach(&other, connection));
            }
            return Err(ANOTHER_PEER);
        }
        // Requests may share a connection as soon as it has joined, and a policy can be about the key exchange of each connection.
        if !self.challenger.joins_unasked(connection.security(), peer.security()) {
            return Err(ANOTHER_PEER);
        }
        renewal.awaits_connection = false;
        let mut checkout = self.pool.attach(peer, connection);
        self.reattest_over(peer, &mut checkout, deadline).await
    }

    async fn reattest_over(
        &self,
        peer: &Arc<Peer>,
        checkout: &mut Checkout,
        deadline: &Deadline,
    ) -> Result<Lease, NoRenewal> {
        let connection = checkout.begin();
        let security = connection.as_ref().map_or(peer.security(), |connection| connection.security());
        let instance = peer.lease().recipient();
        let outcome = self.challenger.attest_again(security, connection, instance.as_deref(), deadline).await;
        let outcome = outcome.map_err(NoRenewal::from);
        // After a verdict the connection is not free for another request: the peer is revoked only after this.
        if !matches!(outcome, Err(NoRenewal::Verdict(_))) {
            checkout.advance(Exchange::Over);
        }
        outcome
    }
}
