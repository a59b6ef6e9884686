//! A connection of the pool in use for one exchange: whether it goes back to the pool afterwards, or is closed.

use std::sync::Arc;
use std::time::Duration;

use super::peer::Peer;
use crate::attestation::Attestation;
use crate::error::AttestationError;
use crate::http::{Cancelled, Guard, Progress};
use crate::transport::Connection;

/// A connection for one exchange. When it is dropped, the connection is returned if another exchange can follow, else closed.
pub(super) struct Checkout {
    peer: Arc<Peer>,
    connection: Option<Connection>,
    exchange: Exchange,
}

/// How far the exchange on a connection has come.
#[derive(Clone)]
pub(super) enum Exchange {
    /// There was no exchange, or it is over as far as the session is concerned. [`Connection::ready`] waits until the HTTP library
    /// agrees; it drains an unread response or closes the connection.
    Over,
    /// The request is being sent.
    Sending,
    /// The response has begun. If it ends before the body of the request, the connection is closed: the next exchange would have
    /// to wait until the peer has read that body.
    Responding(Progress),
}

impl Checkout {
    pub(super) fn new(peer: &Arc<Peer>, connection: Connection) -> Self {
        peer.exchange_begins();
        Self { peer: Arc::clone(peer), connection: Some(connection), exchange: Exchange::Over }
    }

    /// A use of the peer without a connection of the pool.
    pub(super) fn of_stream(peer: &Arc<Peer>) -> Self {
        peer.exchange_begins();
        Self { peer: Arc::clone(peer), connection: None, exchange: Exchange::Sending }
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Begins an exchange, and returns the connection.
    pub(super) fn begin(&mut self) -> Option<&mut Connection> {
        self.exchange = Exchange::Sending;
        self.connection.as_mut()
    }

    pub(super) fn advance(&mut self, exchange: Exchange) {
        self.exchange = exchange;
    }
}

impl Guard for Checkout {
    fn cancelled(&self, grace: Duration) -> Option<AttestationError> {
        self.peer.cancelled(grace)
    }

    fn until_cancelled(&self, grace: Duration) -> Cancelled {
        self.peer.until_cancelled(grace)
    }

    fn attestation(&self) -> Arc<Attestation> {
        Arc::clone(self.peer.lease().attested())
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        // The peer keeps a handle of a shared connection.
        let own = self.connection.take().filter(|connection| connection.share().is_none());
        let is_reusable = match &self.exchange {
            Exchange::Over => true,
            Exchange::Responding(progress) => progress.is_over(),
            Exchange::Sending => false,
        };
        self.peer.exchange_ended(own.filter(|_| is_reusable));
    }
}
