//! Opens connections: DNS, TCP with happy eyeballs, a tunnel through an HTTP proxy, TLS, HTTP.

use std::collections::HashMap;
use std::future::Future;
use std::io::Cursor;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::uri::Authority;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;
use url::Url;

use super::connection::{Connection, Io, Protocol, Security};
use super::error::{Stage, TransportError, classify, find};
use super::proxy::{Proxy, ProxyError};
use crate::error::{AttestationError, BoxError};
use crate::tls;

/// TCP keep-alive: the idle time before a probe, and the number of unacknowledged probes after which the connection is closed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_RETRIES: u32 = 3;

/// How long sent data may remain unacknowledged before the connection is closed.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How hosts are reached; the same for all connections of a verifier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    pub(crate) proxy: Option<Proxy>,
    /// Addresses of hosts, which replace name resolution.
    pub(crate) addresses: HashMap<String, SocketAddr>,
}

/// Opens connections to one origin.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    url: Url,
    uri: Uri,
    authority: Authority,
    /// `None` for plain HTTP.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    tcp: HttpConnector<Resolver>,
    proxy: Option<Proxy>,
    /// Whether connections have an exporter.
    exports: bool,
}

impl Connector {
    /// `tls` is for origins of the scheme `https`.
    pub(crate) fn new(network: &Network, origin: &Url, tls: &Arc<ClientConfig>) -> Result<Self, AttestationError> {
        let unusable = || AttestationError::InvalidUrl { reason: "expected a host that connections can be opened to" };
        let host = origin.host_str().ok_or_else(unusable)?;
        let port = origin.port_or_known_default().ok_or_else(unusable)?;
        let authority: Authority = format!("{host}:{port}").parse().map_err(|_| unusable())?;
        // A port in it replaces that of an address which the caller gave for the host: the scheme's own is left out.
        let stated = origin.port().map(|port| format!(":{port}")).unwrap_or_default();
        let uri = format!("{}://{host}{stated}/", origin.scheme()).parse().map_err(|_| unusable())?;
        let tls = if origin.scheme() == "https" {
            let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Some((Arc::clone(tls), ServerName::try_from(name).map_err(|_| unusable())?))
        } else {
            None
        };
        let resolver = Resolver { addresses: Arc::new(network.addresses.clone()), system: GaiResolver::new() };
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(KEEP_ALIVE));
        tcp.set_keepalive_retries(Some(KEEP_ALIVE_RETRIES));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Ok(Self { url: origin.clone(), uri, authority, tls, tcp, proxy: network.proxy.clone(), exports: false })
    }

    /// Returns a connector whose connections have an exporter. Only evidence that names a connection needs it, and each costs its
    /// derivation.
    pub(crate) fn with_exporter(self) -> Self {
        Self { exports: true, ..self }
    }

    #[cfg(test)]
    pub(super) fn proxy_address(&self) -> &str {
        self.proxy.as_ref().map_or("", |proxy| &proxy.address)
    }

    /// Opens a connection. Nothing but the handshakes of TLS and HTTP/2 is exchanged.
    pub(crate) async fn connect(&self) -> Result<Connection, TransportError> {
        self.open().await.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: BoxError) -> TransportError {
        // Its error names the proxy.
        let of_proxy = find::<ProxyError>(&*error).is_some();
        let failure = classify(&*error, Stage::OPENING).caused_by(error);
        match &self.proxy {
            Some(proxy) if !of_proxy => failure.and(&format!(" (through the proxy {})", proxy.address)),
            _ => failure,
        }
    }

    /// Opens a connection to the application.
    pub(crate) async fn connect_to_application(&self) -> Result<Connection, AttestationError> {
        self.connect().await.map_err(|failure| failure.of_application(&self.url))
    }

    /// Opens a connection for HTTP/1.1 alone, which can be upgraded to another protocol.
    pub(crate) async fn connect_http1_to_application(&self) -> Result<Connection, AttestationError> {
        self.offering(&[b"http/1.1".to_vec()]).connect_to_application().await
    }

    /// Opens a stream for another protocol than HTTP, on this port or another one of the same host.
    pub(crate) async fn open_stream(
        &self,
        port: Option<u16>,
        alpn: &[Vec<u8>],
    ) -> Result<(Box<dyn Io>, Security), AttestationError> {
        let connector = self.offering(alpn);
        let connector = match port {
            Some(port) => connector.on_port(port)?,
            None => connector,
        };
        let opened = connector.open_stream_here().await;
        opened.map_err(|error| connector.failure(error).of_application(&connector.url))
    }

    /// Returns a connector that offers these protocols in the TLS handshake (ALPN).
    fn offering(&self, alpn: &[Vec<u8>]) -> Self {
        let mut other = self.clone();
        if let Some((config, _)) = &mut other.tls {
            Arc::make_mut(config).alpn_protocols = alpn.to_vec();
        }
        other
    }

    fn on_port(mut self, port: u16) -> Result<Self, AttestationError> {
        let unusable = || AttestationError::InvalidUrl { reason: "expected a port that connections can be opened to" };
        self.url.set_port(Some(port)).map_err(|()| unusable())?;
        self.authority = format!("{}:{port}", self.authority.host()).parse().map_err(|_| unusable())?;
        self.uri = format!("{}://{}/", self.url.scheme(), self.authority).parse().map_err(|_| unusable())?;
        Ok(self)
    }

    async fn open_stream_here(&self) -> Result<(Box<dyn Io>, Security), BoxError> {
        let Some((config, name)) = &self.tls else {
            // A proxy cannot forward other protocols than HTTP: it is asked for a tunnel, with or without TLS.
            return Ok((self.open_cleartext().await?, Security::default()));
        };
        let (tls, security) = self.open_tls(config, name).await?;
        Ok((Box::new(tls), security))
    }

    /// Opens a stream in cleartext. A server that sends first may do so before the proxy has forwarded its own response.
    async fn open_cleartext(&self) -> Result<Box<dyn Io>, BoxError> {
        let (tcp, early) = self.open_tunnel().await?;
        if early.is_empty() {
            return Ok(Box::new(tcp));
        }
        let (from_server, to_server) = tcp.into_split();
        Ok(Box::new(tokio::io::join(Cursor::new(early).chain(from_server), to_server)))
    }

    /// Opens a TLS connection, through the proxy if there is one.
    async fn open_tls(
        &self,
        config: &Arc<ClientConfig>,
        name: &ServerName<'static>,
    ) -> Result<(TlsStream<TcpStream>, Security), BoxError> {
        let (tcp, early) = Box::pin(self.open_tunnel()).await?;
        if let Some(proxy) = self.proxy.as_ref().filter(|_| !early.is_empty()) {
            // Servers do not send before the client in TLS: these bytes would be from the proxy.
            return Err(proxy.unreadable().into());
        }
        let tls = TlsConnector::from(Arc::clone(config)).connect(name.clone(), tcp).await?;
        let security = self.security_of(&tls)?;
        Ok((tls, security))
    }

    /// Opens a TCP connection, through the proxy if there is one, with what the proxy has sent after its response.
    async fn open_tunnel(&self) -> Result<(TcpStream, Bytes), BoxError> {
        let tcp = self.open_tcp().await?;
        match &self.proxy {
            Some(proxy) => proxy.tunnel(tcp, &self.authority).await,
            None => Ok((tcp, Bytes::new())),
        }
    }

    /// Opens a TCP connection to the host, or to the proxy if there is one.
    async fn open_tcp(&self) -> Result<TcpStream, BoxError> {
        let mut tcp = self.tcp.clone();
        let first_hop = self.proxy.as_ref().map_or(&self.uri, |proxy| &proxy.uri);
        std::future::poll_fn(|cx| tcp.poll_ready(cx)).await?;
        Ok(tcp.call(first_hop.clone()).await?.into_inner())
    }

    async fn open(&self) -> Result<Connection, BoxError> {
        let Some((config, name)) = &self.tls else {
            // A proxy forwards requests in cleartext; it gets the whole URL.
            let (tcp, security) = (self.open_tcp().await?, Security::default());
            return Connection::start(tcp, Protocol::Http1, security, self.proxy.clone()).await;
        };
        let (tls, security) = self.open_tls(config, name).await?;
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        Connection::start(tls, protocol, security, None).await
    }

    fn security_of(&self, tls: &TlsStream<TcpStream>) -> Result<Security, BoxError> {
        let (_, session) = tls.get_ref();
        // The handshake has shown that the peer holds the key of this certificate.
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let key = leaf.map(tls::key_of).transpose()?;
        let exporter = if self.exports { tls::exporter(session)? } else { None };
        let key_exchange = session.negotiated_key_exchange_group().map(|group| tls::group_name(group.name()));
        Ok(Security { key, exporter, key_exchange })
    }
}

/// Resolves names by the addresses that the caller gave, then by the system.
#[derive(Clone, Debug)]
struct Resolver {
    addresses: Arc<HashMap<String, SocketAddr>>,
    system: GaiResolver,
}

/// A host name cannot be resolved.
#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub(super) struct ResolveError(#[source] std::io::Error);

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        self.system.poll_ready(cx).map_err(ResolveError)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if let Some(address) = self.addresses.get(name.as_str()) {
            let addresses = vec![*address].into_iter();
            return Box::pin(async move { Ok(addresses) });
        }
        let resolving = self.system.call(name);
        Box::pin(async move { Ok(resolving.await.map_err(ResolveError)?.collect::<Vec<_>>().into_iter()) })
    }
}
