//! One HTTP server on loopback: TLS or clear, HTTP/1.1 and HTTP/2, every task owned by it.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::body::ResponseBody;
use super::port::Port;
use super::request::{Arrival, Handler, IncomingBody, Reply, ServerTls};
use super::tls::{KeyExchange, TlsIdentity, TlsVersions};
use super::traffic::{ConnectionState, Traffic};
use crate::emulator::lock;
use crate::types::{SpkiDigest, TlsExporter};

/// A client that connects and never shakes hands does not hold a task for longer.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(300);
/// A client that does not close a connection that has ended does not hold it for longer.
const CLOSING_LIMIT: Duration = Duration::from_secs(10);

/// Which protocols a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HttpVersions {
    /// HTTP/2 when the client offers it by ALPN, else HTTP/1.1.
    #[default]
    Both,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

impl HttpVersions {
    pub(crate) fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Self::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec()],
        }
    }
}

/// The protocols of one server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Protocols {
    pub(crate) http: HttpVersions,
    pub(crate) tls: TlsVersions,
    pub(crate) key_exchange: KeyExchange,
}

/// A running server; dropping it stops everything that it started.
pub(crate) struct Server {
    address: SocketAddr,
    port: Mutex<Port>,
    shared: Arc<Shared>,
    accepting: Tasks,
    cuts: Cuts,
}

/// How often the connections of a server were cut. Clones count the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cuts(Arc<AtomicU64>);

impl Cuts {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// When no connection is left that was there before.
    fn note(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Shared {
    handler: Handler,
    traffic: Traffic,
    protocols: Protocols,
    /// `None` is plain HTTP.
    tls: Mutex<Option<Endpoint>>,
    tunnel: Mutex<Option<SocketAddr>>,
    connections: Tasks,
}

#[derive(Clone)]
struct Endpoint {
    acceptor: TlsAcceptor,
    key: SpkiDigest,
}

impl Server {
    pub(crate) async fn start(
        identity: Option<&TlsIdentity>,
        protocols: Protocols,
        traffic: Traffic,
        handler: Handler,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Self::serve(listener, identity, protocols, traffic, handler)
    }

    /// Serves on a socket that is bound already, for a server whose certificate names its own port.
    pub(crate) fn serve(
        listener: TcpListener,
        identity: Option<&TlsIdentity>,
        protocols: Protocols,
        traffic: Traffic,
        handler: Handler,
    ) -> io::Result<Self> {
        let server = Self {
            address: listener.local_addr()?,
            port: Mutex::default(),
            shared: Arc::new(Shared {
                handler,
                traffic,
                protocols,
                tls: Mutex::new(None),
                tunnel: Mutex::new(None),
                connections: Tasks::default(),
            }),
            accepting: Tasks::default(),
            cuts: Cuts::default(),
        };
        if let Some(identity) = identity {
            server.set_identity(identity);
        }
        server.accept_on(listener);
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key and certificate of later connections.
    pub(crate) fn set_identity(&self, identity: &TlsIdentity) {
        let config = identity.server_config(self.shared.protocols);
        let endpoint = Endpoint { acceptor: TlsAcceptor::from(Arc::new(config)), key: identity.spki_digest() };
        *lock(&self.shared.tls) = Some(endpoint);
    }

    /// Passes later connections on, byte by byte, instead of serving them.
    pub(crate) fn set_tunnel(&self, to: Option<SocketAddr>) {
        *lock(&self.shared.tunnel) = to;
    }

    /// Cuts every connection. What has arrived on one may be read before it ends.
    pub(crate) fn cut_connections(&self) {
        self.shared.connections.abort_all();
        self.cuts.note();
    }

    /// Cuts every connection, and waits for their ends: nothing is read from them after that.
    pub(crate) async fn drop_connections(&self) {
        self.shared.connections.end().await;
        self.cuts.note();
    }

    pub(crate) fn cuts(&self) -> Cuts {
        self.cuts.clone()
    }

    /// Stops listening and drops every connection: clients are refused until [`Self::listen_again`].
    pub(crate) async fn stop_listening(&self) {
        // First, so that no connection is accepted behind those that end.
        self.accepting.end().await;
        lock(&self.port).hold(self.address);
        self.drop_connections().await;
    }

    /// Listens again on the same port; without a stop before, after one.
    pub(crate) async fn listen_again(&self) -> io::Result<()> {
        self.stop_listening().await;
        let listener = lock(&self.port).listen(self.address)?;
        self.accept_on(listener);
        Ok(())
    }

    fn accept_on(&self, listener: TcpListener) {
        let (shared, listener) = (Arc::clone(&self.shared), Arc::new(listener));
        *lock(&self.port) = Port::Listening(Arc::clone(&listener));
        self.accepting.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let tasks = shared.connections.group();
                        tasks.spawn(Arc::clone(&shared).connection(stream, tasks.clone()));
                    }
                    // Out of file descriptors, most likely: wait for some to come back.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.close();
        self.shared.connections.close();
    }
}

impl Shared {
    async fn connection(self: Arc<Self>, mut stream: TcpStream, tasks: TaskGroup) {
        let (id, received) = self.traffic.accepted();
        let _ = stream.set_nodelay(true);
        let tunnel = *lock(&self.tunnel);
        if let Some(target) = tunnel {
            self.traffic.update(id, |record| record.state = ConnectionState::Tunnelled);
            if let Ok(mut onward) = TcpStream::connect(target).await {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
            }
            return;
        }
        let endpoint = lock(&self.tls).clone();
        let Some(Endpoint { acceptor, key }) = endpoint else {
            self.traffic.update(id, |record| record.state = ConnectionState::Cleartext);
            return self.http(Counted { inner: stream, received }, id, None, tasks).await;
        };
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await else {
            self.traffic.update(id, |record| record.state = ConnectionState::HandshakeFailed);
            return;
        };
        let (_, tls) = stream.get_ref();
        let name = tls.server_name().map(str::to_owned);
        let protocol = tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
        let group = tls.negotiated_key_exchange_group().and_then(|group| group.name().as_str());
        let exporter = (tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)).then(|| {
            let value = tls.export_keying_material([0; TlsExporter::LEN], b"EXPORTER-Channel-Binding", None);
            TlsExporter::new(value.expect("a connection after its handshake has an exporter"))
        });
        let resumed = tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        self.traffic.update(id, |record| {
            record.state = ConnectionState::Secured;
            record.server_name = name;
            record.protocol = protocol;
            record.key_exchange = group.map(str::to_owned);
            record.key = Some(key);
            record.resumed = resumed;
        });
        self.http(Counted { inner: stream, received }, id, Some(ServerTls { key, exporter }), tasks).await;
    }

    async fn http<S>(self: Arc<Self>, stream: Counted<S>, id: u64, tls: Option<ServerTls>, tasks: TaskGroup)
    where
        S: Transport,
    {
        let closing = Arc::new(Closing::default());
        let mut stream = SharedStream(Arc::new(Mutex::new(stream)));
        let service = service_fn(|request| {
            let (shared, closing) = (Arc::clone(&self), Arc::clone(&closing));
            async move { shared.answer(request, id, tls, &closing).await }
        });
        let mut builder = auto::Builder::new(tasks);
        builder = match self.protocols.http {
            HttpVersions::Both => builder,
            HttpVersions::Http1 => builder.http1_only(),
            HttpVersions::Http2 => builder.http2_only(),
        };
        builder.http1().timer(TokioTimer::new());
        tokio::select! {
            _ = builder.serve_connection_with_upgrades(TokioIo::new(stream.clone()), service) => {}
            () = closing.now.notified() => {}
        }
        let last_words = lock(&closing.last_words).take();
        if let Some(bytes) = last_words {
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        }
        // Another owner is a protocol that HTTP was upgraded to.
        if let Some(stream) = Arc::into_inner(stream.0) {
            let mut stream = stream.into_inner().unwrap_or_else(PoisonError::into_inner);
            let _ = tokio::time::timeout(CLOSING_LIMIT, end(stream.inner.tcp())).await;
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        id: u64,
        tls: Option<ServerTls>,
        closing: &Closing,
    ) -> Result<Response<ResponseBody>, h2::Error> {
        let (parts, incoming) = request.into_parts();
        let number = self.traffic.head(id, &parts);
        let head_only = parts.method == Method::HEAD;
        let body = IncomingBody::new(incoming, self.traffic.clone(), number);
        let arrival = Arrival { request: Request::from_parts(parts, body), tls };
        match (self.handler)(arrival).await {
            Reply::Response(response) if head_only => Ok(without_body(response)),
            Reply::Response(response) => Ok(response),
            // Without an end of the service: HTTP/2 would reset the stream first, or not, as the tasks happen to run.
            Reply::Close => {
                closing.now.notify_one();
                std::future::pending().await
            }
            Reply::Raw(bytes) => {
                *lock(&closing.last_words) = Some(bytes);
                closing.now.notify_one();
                std::future::pending().await
            }
            // The HTTP library takes the reason of a reset from the error of the service.
            Reply::Reset(reason) => Err(reason.into()),
        }
    }
}

/// What carries HTTP.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn tcp(&mut self) -> &mut TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&mut self) -> &mut TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&mut self) -> &mut TcpStream {
        self.get_mut().0
    }
}

/// Ends a connection so that each client sees the same, whatever it still sends: a socket that is dropped with unread bytes, such as
/// the acknowledgement of HTTP/2 settings, is reset by the operating system, and what was sent before may be lost (RFC 9112 section 9.6).
async fn end(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(|_| ())
}

/// A response to `HEAD` has the headers of one to `GET`, and no body (RFC 9110 section 9.3.2): over HTTP/2, the library would send
/// it.
fn without_body(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
    response.map(|_| ResponseBody::whole(Vec::new()))
}

/// Tasks that end with their owner.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<TaskSet>>);

#[derive(Default)]
struct TaskSet {
    running: JoinSet<()>,
    /// How often all of them were ended.
    ends: u64,
    closed: bool,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.group().spawn(task);
    }

    /// Spawns tasks that end with those that run now.
    pub(crate) fn group(&self) -> TaskGroup {
        TaskGroup { tasks: self.clone(), ends: lock(&self.0).ends }
    }

    /// Ends every task, of which some may still be running when it returns.
    pub(crate) fn abort_all(&self) {
        let mut set = lock(&self.0);
        set.ends += 1;
        set.running.abort_all();
    }

    /// Ends every task and starts none any more. Needed because tasks of HTTP/2 hold this set that holds them.
    pub(crate) fn close(&self) {
        lock(&self.0).closed = true;
        self.abort_all();
    }

    /// Ends every task, and waits until they have let go of what they held, such as sockets.
    pub(crate) async fn end(&self) {
        let mut ending = {
            let mut set = lock(&self.0);
            set.ends += 1;
            std::mem::take(&mut set.running)
        };
        ending.shutdown().await;
    }
}

/// Spawns the tasks of a connection: the executor of HTTP/2, whose streams are tasks of their own. A connection that is being ended gets
/// no new ones, which would outlive it.
#[derive(Clone)]
pub(crate) struct TaskGroup {
    tasks: Tasks,
    ends: u64,
}

impl TaskGroup {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = lock(&self.tasks.0);
        while set.running.try_join_next().is_some() {}
        if !set.closed && set.ends == self.ends {
            set.running.spawn(task);
        }
    }
}

impl<F> hyper::rt::Executor<F> for TaskGroup
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        self.spawn(async move {
            task.await;
        });
    }
}

/// How a connection is to end.
#[derive(Default)]
struct Closing {
    now: Notify,
    last_words: Mutex<Option<&'static [u8]>>,
}

/// A stream that can still be written to when the HTTP library is gone.
struct SharedStream<S>(Arc<Mutex<S>>);

impl<S> Clone for SharedStream<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SharedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SharedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.0)).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_shutdown(cx)
    }
}

/// Counts what is read.
struct Counted<S> {
    inner: S,
    received: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        self.received.fetch_add(u64::try_from(read).unwrap_or(u64::MAX), Ordering::SeqCst);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
