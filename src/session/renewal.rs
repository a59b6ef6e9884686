//! Renews attestations that end soon.

use std::sync::Arc;
use std::time::Instant;

use super::SessionInner;
use super::peer::{Checkout, Exchange, Lease, Peer};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::telemetry;

/// The part of the time for renewals that is too little to begin another one in.
const MIN_RENEWAL_SHARE: u32 = 16;

/// What came of the last attempt to renew an attestation.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// When the next one may be made.
    paused_until: Option<Instant>,
    /// There was no connection to ask over. The next one that is opened will do.
    not_sent: bool,
}

impl SessionInner {
    /// Renews attestations that end soon, over connections that are open: in the task of the request that finds it out, and of
    /// no other. Where no verdict can be had, the old one is valid to its end. All of it takes at most the verifier's deadline
    /// and half of the request's time, and each key half of what is left of that.
    pub(super) async fn renew_expiring(&self, deadline: &Deadline) -> Result<(), AttestationError> {
        let expiring = self.pool.expiring();
        if expiring.is_empty() {
            return Ok(());
        }
        let all = self.attester.verifier.deadline.min(deadline.half_remaining());
        let (least, all) = (all.checked_div(MIN_RENEWAL_SHARE).unwrap_or_default(), Deadline::after(all));
        for peer in expiring {
            let Ok(mut renewal) = peer.renewal.try_lock() else { continue };
            if renewal.paused_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            // Agents that hang have used it up: the next request goes on here.
            if all.remaining() < least {
                break;
            }
            // Set beforehand, since a request that is given up goes no further than this.
            renewal.paused_until = peer.lease().retry_at();
            let share = Deadline::after(all.half_remaining());
            let outcome = telemetry::renewal(self.reattest_peer(&peer, &mut renewal, &share)).await;
            self.finish_renewal(&peer, &mut renewal, outcome)?;
        }
        Ok(())
    }

    /// Renews an attestation over a connection that was opened for a request, where there was none to do it over before.
    pub(super) async fn renew_on_new_connection(
        &self,
        checkout: &mut Checkout,
        deadline: &Deadline,
    ) -> Result<(), AttestationError> {
        let peer = Arc::clone(checkout.peer());
        let Ok(mut renewal) = peer.renewal.try_lock() else { return Ok(()) };
        if !renewal.not_sent {
            return Ok(());
        }
        let share = Deadline::after(deadline.half_remaining());
        renewal.not_sent = false;
        let outcome = telemetry::renewal(self.reattest_over(&peer, Some(checkout), &share)).await;
        self.finish_renewal(&peer, &mut renewal, outcome)
    }

    fn finish_renewal(
        &self,
        peer: &Arc<Peer>,
        renewal: &mut Renewal,
        outcome: Result<Lease, AttestationError>,
    ) -> Result<(), AttestationError> {
        match outcome {
            Ok(lease) => {
                *renewal = Renewal::default();
                self.pool.renew(peer, lease);
                Ok(())
            }
            Err(error) if error.is_verdict() => {
                self.pool.revoke(peer.id(), &error);
                Err(error)
            }
            Err(_) => Ok(()),
        }
    }

    async fn reattest_peer(
        &self,
        peer: &Arc<Peer>,
        renewal: &mut Renewal,
        deadline: &Deadline,
    ) -> Result<Lease, AttestationError> {
        renewal.not_sent = false;
        if let Some(mut checkout) = peer.checkout() {
            return self.reattest_over(peer, Some(&mut checkout), deadline).await;
        }
        if self.attester.mode.agent_is_separate() {
            return self.reattest_over(peer, None, deadline).await;
        }
        renewal.not_sent = true;
        // Every connection is in use. Of a key that is not used they are gone, and so may its peer be. Another connection says nothing
        // of a peer that is one connection.
        if !peer.is_in_use() || peer.id().is_one_connection() {
            return Err(AttestationError::AttestationExpired);
        }
        self.reattest_on_another(peer, renewal, deadline).await
    }

    /// Attests a peer over a new connection, if that one is to the same key; a balancer may lead it to another.
    async fn reattest_on_another(
        &self,
        peer: &Arc<Peer>,
        renewal: &mut Renewal,
        deadline: &Deadline,
    ) -> Result<Lease, AttestationError> {
        // What is wrong with another connection says nothing of this peer.
        let opened = self.attester.open(deadline).await;
        let connection = opened.map_err(|_| AttestationError::AttestationExpired)?;
        let id = self.attester.mode.peer_id(connection.security());
        if id != peer.id() {
            if let Some(other) =
                self.pool.get(id).filter(|other| self.attester.joins_unasked(connection.security(), other))
            {
                drop(self.pool.attach(&other, connection));
            }
            return Err(AttestationError::AttestationExpired);
        }
        renewal.not_sent = false;
        let mut checkout = self.pool.attach(peer, connection);
        self.reattest_over(peer, Some(&mut checkout), deadline).await
    }

    async fn reattest_over(
        &self,
        peer: &Arc<Peer>,
        checkout: Option<&mut Checkout>,
        deadline: &Deadline,
    ) -> Result<Lease, AttestationError> {
        let Some(checkout) = checkout else {
            return self.attester.attest_again(peer.security(), None, deadline).await;
        };
        let connection = checkout.begin();
        let security = connection.as_ref().map_or(peer.security(), |connection| connection.security());
        let outcome = self.attester.attest_again(security, connection, deadline).await;
        checkout.advance(Exchange::Over);
        outcome
    }
}
