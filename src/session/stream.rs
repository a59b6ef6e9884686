//! Opens attested streams, and renews the attestation of their peer while they are open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::checkout::Checkout;
use super::peer::Peer;
use super::{MAX_ATTEMPTS, Session, SessionInner};
use crate::attest::Freshness;
use crate::challenge::Channel;
use crate::deadline::Deadline;
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::http::AttestedStream;
use crate::transport::Io;

/// How often an open stream looks whether its attestation has to be renewed.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// A stream to be opened, from [`Session::stream`].
#[derive(Clone, Debug)]
#[must_use = "a stream is not opened until `open` is called"]
pub struct StreamBuilder {
    session: Session,
    port: Option<u16>,
    alpn: Vec<Vec<u8>>,
}

impl StreamBuilder {
    pub(super) fn new(session: Session) -> Self {
        Self { session, port: None, alpn: Vec::new() }
    }

    /// Connects to another port of the session's host, such as the one of a database in the same TEE. It must show a key that is
    /// attested on the session's own port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Offers these protocols in the TLS handshake (ALPN, RFC 7301), the preferred one first. None are offered by default.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Opens the stream, within the verifier's deadline. If it shows a key that is not attested yet, nothing is sent on it until
    /// the key is attested over a connection of the session.
    ///
    /// # Errors
    ///
    /// [`AttestationError::ChannelNotAllowed`] if the policy requires evidence about each connection, which a stream cannot carry
    /// ([`Request::upgrade`](crate::Request::upgrade) can), or sealed messages, under which there are neither streams nor upgrades.
    /// [`AttestationError::TooManyUnattestedPeers`] if no attempt led to an attested key. Others as
    /// [`Request::send`](crate::Request::send).
    pub async fn open(&self) -> Result<AttestedStream, AttestationError> {
        let deadline = Deadline::after(self.session.inner.challenger.verifier.deadline);
        deadline.run("opening a stream", self.session.inner.open_stream(self, &deadline)).await?
    }
}

impl SessionInner {
    /// Returns the stream of a peer. It is cut off with its peer, and renews the attestation: there may be no requests that would.
    pub(super) fn attested_stream(self: &Arc<Self>, io: Box<dyn Io>, checkout: Checkout) -> AttestedStream {
        let (session, peer) = (Arc::clone(self), Arc::clone(checkout.peer()));
        AttestedStream::new(io, checkout, async move {
            let mut cancelled = peer.until_cancelled(Duration::ZERO);
            tokio::select! {
                biased;
                error = &mut cancelled => error,
                never = session.keep_renewed(&peer) => match never {},
            }
        })
    }

    async fn keep_renewed(&self, peer: &Peer) -> Infallible {
        loop {
            tokio::time::sleep(RENEWAL_INTERVAL).await;
            if peer.is_valid() && peer.needs_renewal() {
                // A refusal revokes the peer, which ends the stream; otherwise the old attestation is valid until its end.
                let _ = self.renew_expiring(&Deadline::after(self.challenger.verifier.deadline)).await;
            }
        }
    }

    async fn open_stream(
        self: &Arc<Self>,
        options: &StreamBuilder,
        deadline: &Deadline,
    ) -> Result<AttestedStream, AttestationError> {
        self.pool.check_not_poisoned()?;
        let refused = match self.challenger.mode.kind() {
            Channel::BoundConnection => Some(ChannelNotAllowed::StreamNotAttested),
            Channel::BoundMessage => Some(ChannelNotAllowed::StreamNotSealed),
            _ => None,
        };
        if let Some(reason) = refused {
            return Err(AttestationError::ChannelNotAllowed { reason });
        }
        self.renew_expiring(deadline).await?;
        let freshness = Freshness::now(&self.challenger.verifier.clock);
        for _ in 0..MAX_ATTEMPTS {
            let (io, security) = self.challenger.open_stream(options.port, &options.alpn, deadline).await?;
            if let Some(peer) = self.peer_to_join(security) {
                return Ok(self.attested_stream(io, Checkout::of_stream(&peer)));
            }
            // Nothing was sent on it. What is asked for evidence speaks HTTP; a load balancer may lead it to another replica, and
            // the next stream as well.
            drop(io);
            drop(self.checkout_new(self.challenger.open(deadline), freshness, deadline).await?);
        }
        Err(AttestationError::TooManyUnattestedPeers {
            reason: "none of 8 streams led to a key that is attested on the session's port",
        })
    }
}
