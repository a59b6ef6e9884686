//! A client that writes its requests byte by byte, and verifies nothing: it only looks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::lab::{moment, soon};

pub struct Client {
    stream: TlsStream<TcpStream>,
    /// What of a response has come: a read that is given up loses nothing of it.
    received: Vec<u8>,
    pub chain: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::with(address, |_| {}).await.unwrap()
    }

    pub async fn with(address: SocketAddr, change: impl FnOnce(&mut ClientConfig)) -> std::io::Result<Self> {
        Self::speaking(rustls::ALL_VERSIONS, address, change).await
    }

    pub async fn speaking(
        versions: &[&'static rustls::SupportedProtocolVersion],
        address: SocketAddr,
        change: impl FnOnce(&mut ClientConfig),
    ) -> std::io::Result<Self> {
        let mut config = Self::config(versions);
        change(&mut config);
        Self::over(TcpStream::connect(address).await?, config).await
    }

    /// With the key exchange groups of a provider.
    pub async fn offering(provider: CryptoProvider, address: SocketAddr) -> Self {
        let config = Self::config_with(provider, rustls::ALL_VERSIONS);
        Self::over(TcpStream::connect(address).await.unwrap(), config).await.unwrap()
    }

    /// From an address of the caller's choice.
    pub async fn from(local: IpAddr, address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((local, 0).into())?;
        Self::over(socket.connect(address).await?, Self::config(rustls::ALL_VERSIONS)).await
    }

    fn config(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        Self::config_with(default_provider(), versions)
    }

    fn config_with(provider: CryptoProvider, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Looks))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    async fn over(stream: TcpStream, config: ClientConfig) -> std::io::Result<Self> {
        // Otherwise a request waits for the acknowledgement of the handshake's end, which is delayed.
        stream.set_nodelay(true)?;
        let name = ServerName::from(stream.peer_addr()?.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = certificates.iter().map(|certificate| certificate.to_vec()).collect();
        Ok(Self { stream, received: Vec::new(), chain })
    }

    /// SHA-256 of the `SubjectPublicKeyInfo` as it stands in the certificate of this connection.
    pub fn spki_digest(&self) -> String {
        let (_, certificate) = X509Certificate::from_der(&self.chain[0]).unwrap();
        hex::encode(digest(&SHA256, certificate.public_key().raw))
    }

    /// The exporter of this connection (RFC 9266).
    pub fn exporter(&self) -> [u8; 32] {
        self.tls().export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).unwrap()
    }

    /// The connection, for another version of HTTP.
    pub fn into_stream(self) -> TlsStream<TcpStream> {
        self.stream
    }

    pub fn tls(&self) -> &rustls::ClientConnection {
        self.stream.get_ref().1
    }

    pub async fn write(&mut self, request: &str) {
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    pub async fn send(&mut self, request: &str) -> Answer {
        // The response may come before all of it is written.
        let _ = self.try_write(request).await;
        self.read().await.expect("an answer")
    }

    /// The same where the other end may have closed the connection.
    pub async fn try_write(&mut self, request: &str) -> std::io::Result<()> {
        self.stream.write_all(request.as_bytes()).await
    }

    /// One byte.
    pub async fn byte(&mut self) -> u8 {
        self.stream.read_u8().await.unwrap()
    }

    /// Whether there was a response; a connection may end in between.
    pub async fn try_send(&mut self, request: &str) -> bool {
        self.try_write(request).await.is_ok() && self.read().await.is_some()
    }

    pub async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(&post(path, body)).await
    }

    /// One response; none when the connection ends before it.
    pub async fn read(&mut self) -> Option<Answer> {
        let length_of_head = loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        };
        let head = String::from_utf8(self.received[..length_of_head].to_vec()).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let length: usize = length.parse().unwrap();
        while self.received.len() < length_of_head + length {
            assert_ne!(self.stream.read_buf(&mut self.received).await.unwrap(), 0);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = std::mem::take(&mut self.received).split_off(length_of_head);
        Some(Answer { status, head, body: String::from_utf8(body).unwrap() })
    }

    /// Everything until the other end closes or cuts.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut received = Vec::new();
        while self.stream.read_buf(&mut received).await.unwrap_or(0) > 0 {}
        received
    }

    /// Whether the other end has closed, and nothing came before.
    pub async fn closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Holds a place with a request that does not arrive whole, until `found` finds it taken. Where the request comes while another one has
/// the place, it is refused itself, and comes again.
pub async fn holding<T>(
    connect: impl AsyncFn() -> Client,
    request: &str,
    mut found: impl AsyncFnMut() -> Option<T>,
) -> (Client, T) {
    soon(async {
        loop {
            let mut held = connect().await;
            held.write(request).await;
            let refusal = loop {
                tokio::select! {
                    biased;
                    refusal = held.read() => break refusal,
                    () = moment() => {}
                }
                if let Some(found) = found().await {
                    return (held, found);
                }
            };
            assert_eq!(refusal.unwrap().status, 429);
        }
    })
    .await
}

/// A client of HTTP/2: what requests are sent with, and the connection, which goes on by itself.
pub async fn http2(address: SocketAddr) -> (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let client = Client::with(address, |config| config.alpn_protocols = vec![b"h2".to_vec()]).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(client.into_stream())).await.unwrap();
    (sender, tokio::spawn(connection))
}

pub fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: agent\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: agent\r\n\r\n")
}

/// Looks at certificates without an opinion, but has the peer prove that it holds the key.
#[derive(Debug)]
struct Looks;

impl ServerCertVerifier for Looks {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
