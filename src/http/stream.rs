//! An attested stream: the bytes of any protocol, to and from an attested peer and no other.
//!
//! A stream has the checks of a request: it is opened to a key that is attested, and is cut off when the peer is refused or its
//! attestation ends. A task of its own closes the socket, so that this does not depend on anyone who reads or writes.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;

use super::guard::Guard;
use super::request_body::CHUNK_SIZE;
use crate::attestation::Attestation;
use crate::error::AttestationError;
use crate::sync::lock;
use crate::transport::Io;

/// A byte stream to an attested peer, from [`Session::stream`](crate::Session::stream) or the response to an [upgrade](crate::Request::upgrade).
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
    guard: Box<dyn Guard>,
    watcher: AbortHandle,
}

struct Shared(Mutex<State>);

struct State {
    /// The connection, or why it was cut off.
    io: Result<Box<dyn Io>, AttestationError>,
    /// Those who wait: closing a socket wakes none.
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    fn cut_off(&self, error: AttestationError) {
        let mut state = lock(&self.0);
        let (reader, writer) = (state.reader.take(), state.writer.take());
        let io = std::mem::replace(&mut state.io, Err(error));
        drop(state);
        drop(io);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    /// Runs an operation on the connection, unless it was cut off.
    fn poll<T>(
        &self,
        side: impl FnOnce(&mut State) -> &mut Option<Waker>,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut dyn Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut state = lock(&self.0);
        let polled = match &mut state.io {
            Ok(io) => operation(Pin::new(&mut **io), cx),
            Err(error) => Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, error.clone()))),
        };
        *side(&mut state) = polled.is_pending().then(|| cx.waker().clone());
        polled
    }
}

impl AttestedStream {
    /// `ended` resolves to the reason to cut the stream off, whether anyone reads or writes or not.
    pub(crate) fn new(
        io: Box<dyn Io>,
        guard: impl Guard,
        ended: impl Future<Output = AttestationError> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared(Mutex::new(State { io: Ok(io), reader: None, writer: None })));
        let watched = Arc::clone(&shared);
        let watcher = tokio::spawn(async move { watched.cut_off(ended.await) }).abort_handle();
        Self { shared, guard: Box::new(guard), watcher }
    }

    /// Runs an operation on the connection, unless it has to be cut off.
    fn poll<T>(
        &self,
        side: impl FnOnce(&mut State) -> &mut Option<Waker>,
        cx: &mut Context<'_>,
        operation: impl FnOnce(Pin<&mut dyn Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        // Checked directly: the watcher may not have had its turn.
        if let Some(error) = self.guard.cancelled(Duration::ZERO) {
            self.shared.cut_off(error);
        }
        self.shared.poll(side, cx, operation)
    }

    /// Returns the latest attestation of the peer of this stream.
    #[must_use]
    pub fn attestation(&self) -> Arc<Attestation> {
        self.guard.attestation()
    }
}

impl Drop for AttestedStream {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl AsyncRead for AttestedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(|state| &mut state.reader, cx, |io, cx| io.poll_read(cx, buf))
    }
}

impl AsyncWrite for AttestedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // The peer is checked before each piece, as with the body of a request.
        let piece = buf.get(..CHUNK_SIZE).unwrap_or(buf);
        self.poll(|state| &mut state.writer, cx, |io, cx| io.poll_write(cx, piece))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|state| &mut state.writer, cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|state| &mut state.writer, cx, |io, cx| io.poll_shutdown(cx))
    }
}

impl fmt::Debug for AttestedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttestedStream").finish_non_exhaustive()
    }
}
