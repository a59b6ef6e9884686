//! One connection: TLS 1.3 with one key, then the version of HTTP that was agreed on, for as long as it is used.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::key::Identity;
use crate::open_connections::OpenConnection;
use crate::server::Shared;

/// How long what has begun may go on after its connection was asked to end: because its key retired, it reached its age, or
/// the caller takes nothing of a response.
const DRAIN: Duration = Duration::from_secs(60);

/// The same where nothing has begun: for the other end to say that it understood.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Streams of HTTP/2 at a time on one connection.
const STREAMS: u32 = 64;

/// Bytes of headers in a request.
const HEADERS: u16 = 32 * 1024;

/// Bytes that wait to be read or written, for a connection of HTTP/1.1 or a stream of HTTP/2.
pub(crate) const BUFFER: usize = 64 * 1024;

/// Serves a caller. It closes when it is asked to: at once within the handshake, then in good order.
pub(crate) async fn serve(
    stream: TcpStream,
    caller: IpAddr,
    identities: watch::Receiver<Arc<Identity>>,
    shared: Arc<Shared>,
    connection: Arc<OpenConnection>,
) {
    let _ = stream.set_nodelay(true);
    // This connection's for good, whatever key serves later: what is attested on it is the key it was opened with.
    let Identity { tls, spki_digest } = Identity::clone(&identities.borrow());
    let limit = Duration::from_secs(shared.limits.handshake_seconds);
    let handshake = TlsAcceptor::from(tls).accept(stream);
    let handshake = tokio::select! {
        done = tokio::time::timeout(limit, handshake) => done,
        () = connection.asked_to_close() => return,
    };
    connection.establish();
    // From here on no reference to the private key is left (`key`): the connection has keys of its own.
    let Ok(Ok(stream)) = handshake else { return };
    let Some(exporter) = exporter(stream.get_ref().1) else { return };
    let key = Arc::new(ConnectionKey { spki_digest, exporter, identities });

    let idle = Duration::from_secs(shared.limits.idle_seconds);
    let age = Duration::from_secs(shared.limits.connection_seconds);
    let tracker = Arc::clone(&connection.idle);
    let until = async {
        tokio::select! {
            () = key.retired() => DRAIN,
            () = tokio::time::sleep(age) => DRAIN,
            open = tracker.idle_for(idle) => if open { DRAIN } else { CLOSE_TIMEOUT },
            // A request may have come since it was chosen for being idle.
            () = connection.asked_to_close() => if tracker.quiet_since().is_some() { CLOSE_TIMEOUT } else { DRAIN },
        }
    };
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, key, exchange) = (Arc::clone(&shared), Arc::clone(&key), tracker.begin());
        async move {
            let answer: Response<_> = shared.answer(request, caller, &key).await;
            Ok::<_, std::convert::Infallible>(answer.map(|inner| exchange.answer(inner)))
        }
    });
    // By what was agreed on, not by the first bytes: who sends none would be waited for without a bound.
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    if h2 {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADERS.into())
            .max_send_buf_size(BUFFER)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        drive_to_completion(http.serve_connection(stream, service), until).await;
    } else {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(BUFFER).max_header_size(HEADERS.into());
        drive_to_completion(http.serve_connection(stream, service), until).await;
    }
}

/// Until it ends by itself, or is asked to and has had the time for it.
async fn drive_to_completion(connection: impl GracefulConnection, until: impl Future<Output = Duration>) {
    let mut connection = std::pin::pin!(connection);
    let drain = tokio::select! {
        _ = &mut connection => return,
        drain = until => drain,
    };
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(drain, connection).await;
}

/// The channel binding `tls-exporter` of the connection (RFC 9266), in hexadecimal. Every connection of TLS 1.3 has one.
fn exporter(connection: &rustls::ServerConnection) -> Option<String> {
    let value = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None);
    value.ok().map(hex::encode)
}

/// What names a connection: the key that it was opened with, and its exporter.
pub(crate) struct ConnectionKey {
    spki_digest: String,
    exporter: String,
    identities: watch::Receiver<Arc<Identity>>,
}

impl ConnectionKey {
    /// SHA-256 of the `SubjectPublicKeyInfo` as long as the key serves. A retired key is not attested: new evidence for it
    /// would be of use only to a thief.
    pub(crate) fn serving(&self) -> Option<&str> {
        let serves = self.identities.has_changed().is_ok() && self.identities.borrow().spki_digest == self.spki_digest;
        serves.then_some(&self.spki_digest)
    }

    /// The exporter, which the client of this connection has too and no one else.
    pub(crate) fn exporter(&self) -> &str {
        &self.exporter
    }

    /// Until new connections are opened with another key, or no key is made any more. A new certificate for the same one
    /// changes nothing.
    async fn retired(&self) {
        let _ = self.identities.clone().wait_for(|identity| identity.spki_digest != self.spki_digest).await;
    }
}
