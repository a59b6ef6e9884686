//! Which connections a session accepts: those of an attested key, and those whose peer is attested now. A refusal reaches every session.

use std::sync::Arc;

use super::SessionInner;
use super::checkout::Checkout;
use super::peer::Peer;
use super::pool::Poison;
use crate::attest::{Freshness, PeerId, RefusalObserver, VerdictKey};
use crate::attestation::Attestation;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::telemetry;
use crate::transport::{Connection, Security};

impl SessionInner {
    /// A new connection, whose peer is attested unless it is already.
    pub(super) async fn checkout_new(
        &self,
        opening: impl Future<Output = Result<Connection, AttestationError>>,
        freshness: Freshness,
        deadline: &Deadline,
    ) -> Result<Checkout, AttestationError> {
        let _permit = deadline.run("waiting for another connection", self.attest_permits.acquire()).await?.ok();
        self.admit(opening.await?, freshness, deadline).await
    }

    /// Takes over an open connection, and attests its peer unless its key is attested already.
    pub(super) async fn admit(
        &self,
        connection: Connection,
        freshness: Freshness,
        deadline: &Deadline,
    ) -> Result<Checkout, AttestationError> {
        let security = connection.security();
        if let Some(peer) = self.peer_to_join(security) {
            let mut checkout = self.pool.attach(&peer, connection);
            self.renew_on_new_connection(&mut checkout, deadline).await?;
            return Ok(checkout);
        }
        let id = self.challenger.mode.peer_id(security);
        if id != PeerId::Unbound {
            let recent = || {
                let about = self.challenger.verdict_key(security);
                self.challenger.coalesce.recent_refusal(&about, &self.challenger.verifier.clock)
            };
            // Behind a front end a refusal is of one instance: it closes the session that attested it, and no other one from memory.
            let refused = id.key().and_then(|_| recent());
            let allowed = refused.map_or_else(|| self.pool.check_attest_rate(id), Err);
            allowed.inspect_err(|error| telemetry::rejected_without_attestation(id.key(), error))?;
        }
        self.attest_and_insert(connection, freshness, Poison::Stays, deadline).await
    }

    /// The attested peer that a connection with this security joins unasked.
    pub(super) fn peer_to_join(&self, security: Security) -> Option<Arc<Peer>> {
        let challenger = &self.challenger;
        let peer = self.pool.get(challenger.mode.peer_id(security))?;
        challenger.joins_unasked(security, peer.security()).then_some(peer)
    }

    /// Opens a connection and attests its peer, even if its key is attested already.
    pub(super) async fn connect_and_attest(
        &self,
        freshness: Freshness,
        poison: Poison,
        deadline: &Deadline,
    ) -> Result<Arc<Attestation>, AttestationError> {
        let connection = self.challenger.open(deadline).await?;
        let checkout = self.attest_and_insert(connection, freshness, poison, deadline).await?;
        Ok(Arc::clone(checkout.peer().lease().attested()))
    }

    async fn attest_and_insert(
        &self,
        mut connection: Connection,
        freshness: Freshness,
        poison: Poison,
        deadline: &Deadline,
    ) -> Result<Checkout, AttestationError> {
        let challenger = &self.challenger;
        let id = challenger.mode.peer_id(connection.security());
        let about = challenger.verdict_key(connection.security());
        // What the caller asks for is not limited.
        let count = || {
            if poison == Poison::Stays {
                self.pool.count_attestation(id)
            }
        };
        match challenger.attest(&mut connection, freshness, deadline, count).await {
            Ok(lease) => {
                self.pool.insert(id, &lease, connection, poison, || challenger.coalesce.outweighs(&about, &lease))
            }
            Err(error) => {
                if error.is_verdict() {
                    self.refuse(connection.security(), &error);
                }
                Err(error)
            }
        }
    }

    /// Revokes the peer of a connection that was refused, in every session of the verifier that would refuse it too.
    pub(super) fn refuse(&self, security: Security, error: &AttestationError) {
        let about = self.challenger.verdict_key(security);
        self.pool.revoke(about.peer, error);
        // Behind a front end a refusal is of one instance, which another session need not have.
        if about.peer.key().is_some() {
            self.challenger.coalesce.report(&about, error);
        }
    }
}

impl RefusalObserver for SessionInner {
    fn refused(&self, peer: &VerdictKey, error: &AttestationError) {
        let Some(known) = self.pool.find(peer.peer) else { return };
        let is_same = self.challenger.verdict_key(known.security()) == *peer;
        // The report may come late, when the peer has been attested again.
        if is_same && !self.challenger.coalesce.is_newer_than_refusals(peer, &known.lease()) {
            self.pool.revoke(peer.peer, error);
        }
    }
}
