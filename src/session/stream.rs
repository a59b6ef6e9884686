//! An attested stream: the bytes of any protocol, to and from an attested peer and no other.
//!
//! A stream has the checks of a request: it is opened to a key that is attested, and is cut off when the peer is refused or its
//! attestation ends. A task of its own closes the socket, so that this does not depend on anyone who reads or writes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;

use super::checkout::Checkout;
use super::coalesce::Freshness;
use super::peer::Peer;
use super::request_body::CHUNK_SIZE;
use super::{MAX_ATTEMPTS, Session, SessionInner, lock};
use crate::attestation::Attestation;
use crate::challenge::Channel;
use crate::deadline::Deadline;
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::transport::Io;

/// How often an open stream looks whether its attestation has to be renewed.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

/// A byte stream to an attested peer, from [`Session::stream`] or the response to an [upgrade](crate::Request::upgrade).
///
/// Every byte is sent to a peer that is attested at that time. The stream is cut off when the peer is refused or when its
/// attestation ends; then reading and writing fail with an [`io::Error`] that contains the [`AttestationError`], and the connection
/// is closed whether anyone uses it or not. While the stream is open, it renews the attestation. Data that were already passed to
/// TLS and the operating system may still be sent.
///
/// A stream that was cut off never looks like one that has ended. What was written before may have arrived: the error does not say so
/// ([`AttestationError::request_sent`] is about requests), so do not repeat it blindly.
pub struct AttestedStream {
    shared: Arc<Shared>,
    /// Counts as a use of the peer, and keeps what belongs to the connection.
    checkout: Checkout,
    watcher: AbortHandle,
}

struct Shared {
    peer: Arc<Peer>,
    state: Mutex<State>,
}

struct State {
    /// The connection, or why it was cut off.
    io: Result<Box<dyn Io>, AttestationError>,
    /// Those who wait: closing a socket wakes none.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    fn cut_off(&self, error: AttestationError) {
        let mut state = lock(&self.state);
        let (reader, writer) = (state.reader.take(), state.writer.take());
        let io = std::mem::replace(&mut state.io, Err(error));
        drop(state);
        drop(io);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    /// Runs an operation on the connection, unless it was cut off or has to be.
    fn poll<T>(
        &self,
        side: impl FnOnce(&mut State) -> &mut Option<Waker>,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut dyn Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        // Checked directly: the watcher may not have had its turn.
        if let Some(error) = self.peer.cancelled(Duration::ZERO) {
            self.cut_off(error);
        }
        let mut state = lock(&self.state);
        let polled = match &mut state.io {
            Ok(io) => operation(Pin::new(&mut **io), cx),
            Err(error) => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, error.clone()))),
        };
        *side(&mut state) = polled.is_pending().then(|| cx.waker().clone());
        polled
    }
}

impl AttestedStream {
    pub(super) fn new(io: Box<dyn Io>, checkout: Checkout, session: Arc<SessionInner>) -> Self {
        let peer = Arc::clone(checkout.peer());
        let shared = Arc::new(Shared {
            peer: Arc::clone(&peer),
            state: Mutex::new(State { io: Ok(io), reader: None, writer: None }),
        });
        let watched = Arc::clone(&shared);
        let watcher = tokio::spawn(async move {
            let mut cancelled = peer.until_revoked_or_expired(Duration::ZERO);
            let error = tokio::select! {
                biased;
                error = &mut cancelled => error,
                never = keep_renewed(&session, &peer) => match never {},
            };
            watched.cut_off(error);
        });
        Self { shared, checkout, watcher: watcher.abort_handle() }
    }

    /// Returns the latest attestation of the peer of this stream.
    #[must_use]
    pub fn attestation(&self) -> Arc<Attestation> {
        Arc::clone(self.checkout.peer().lease().attested())
    }
}

/// Renews the attestation of a peer while a stream to it is open: there may be no requests that would.
async fn keep_renewed(session: &SessionInner, peer: &Arc<Peer>) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        if peer.is_valid() && peer.needs_renewal() {
            // A refusal revokes the peer, which ends the stream; otherwise the old attestation is valid until its end.
            let _ = session.renew_expiring(&Deadline::after(session.attester.verifier.deadline)).await;
        }
    }
}

impl Drop for AttestedStream {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl AsyncRead for AttestedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.shared.poll(|state| &mut state.reader, cx, |io, cx| io.poll_read(cx, buf))
    }
}

impl AsyncWrite for AttestedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // The peer is checked before each piece, as with the body of a request.
        let piece = buf.get(..CHUNK_SIZE).unwrap_or(buf);
        self.shared.poll(|state| &mut state.writer, cx, |io, cx| io.poll_write(cx, piece))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.poll(|state| &mut state.writer, cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.poll(|state| &mut state.writer, cx, |io, cx| io.poll_shutdown(cx))
    }
}

impl fmt::Debug for AttestedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttestedStream({:?})", self.checkout.peer().id())
    }
}

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
    /// [`AttestationError::ChannelNotAllowed`] if the policy requires evidence about each connection, which a stream cannot carry: use
    /// [`Request::upgrade`](crate::Request::upgrade). As [`Request::send`](crate::Request::send); [`AttestationError::TooManyUnattestedPeers`] if no attempt led to an attested
    /// key.
    pub async fn open(&self) -> Result<AttestedStream, AttestationError> {
        let deadline = Deadline::after(self.session.inner.attester.verifier.deadline);
        deadline.run("opening a stream", self.session.inner.open_stream(self, &deadline)).await?
    }
}

impl SessionInner {
    async fn open_stream(
        self: &Arc<Self>,
        options: &StreamBuilder,
        deadline: &Deadline,
    ) -> Result<AttestedStream, AttestationError> {
        self.pool.check_not_poisoned()?;
        if self.attester.mode.kind() == Channel::BoundConnection {
            return Err(AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::StreamNotAttested });
        }
        self.renew_expiring(deadline).await?;
        let freshness = Freshness::now(&self.attester.verifier.clock);
        for _ in 0..MAX_ATTEMPTS {
            let (io, security) = self.attester.open_stream(options.port, &options.alpn, deadline).await?;
            let id = self.attester.mode.peer_id(security);
            if let Some(peer) = self.pool.get(id).filter(|peer| self.attester.joins_unasked(security, peer)) {
                return Ok(AttestedStream::new(io, Checkout::of_stream(&peer), Arc::clone(self)));
            }
            // Nothing was sent on it. What is asked for evidence speaks HTTP; a load balancer may lead it to another replica, and
            // the next stream as well.
            drop(io);
            drop(self.checkout_new(self.attester.open(deadline), freshness, deadline).await?);
        }
        Err(AttestationError::TooManyUnattestedPeers {
            reason: "none of 8 streams led to a key that is attested on the session's port",
        })
    }
}
