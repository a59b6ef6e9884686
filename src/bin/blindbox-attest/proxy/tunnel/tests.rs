//! A WebSocket through the proxy, to an application in an emulated BlindBox.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tests; clippy does not see that, since they need a feature besides"
)]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use blindbox_attestation::emulator::{Application, BlindBox, EmulatedClock, IncomingBody, Knob, Maa};
use blindbox_attestation::{Policy, Trust, UvmRequirement, Verifier, Workload};
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::Semaphore;

use super::*;
use crate::proxy::access::Guard;
use crate::proxy::admission::Client;
use crate::proxy::body_buffer::Bodies;
use crate::proxy::forward::Forwarder;
use crate::proxy::origins::Origins;
use crate::proxy::redirects::Redirects;
use crate::proxy::relaxations::AttestationLog;
use crate::proxy::response::Answers;
use crate::proxy::session::{ProxySession, Start};
use crate::proxy::{exchange, shutdown};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Blindbox-Token: secret\r\n";

/// An application that switches to WebSocket at `/socket`, and sends back what it gets, as bytes.
#[derive(Clone)]
struct Echo;

impl tower_service::Service<hyper::Request<IncomingBody>> for Echo {
    type Response = Response<Empty>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: hyper::Request<IncomingBody>) -> Self::Future {
        let headers = request.headers();
        let key = headers.get("sec-websocket-key").is_some_and(|key| key == "dGhlIHNhbXBsZSBub25jZQ==");
        let is_secret_kept = headers.get("x-blindbox-token").is_none();
        if request.uri().path() != "/socket" || !key || !is_secret_kept {
            return ready(Ok(Response::builder().status(426).body(Empty).unwrap()));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
        // The accept value is the example of RFC 6455 section 1.3.
        let response = Response::builder().status(101).header("upgrade", "websocket");
        let response = response.header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        ready(Ok(response.header("location", "https://evil.example/").body(Empty).unwrap()))
    }
}

struct Empty;

impl hyper::body::Body for Empty {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

struct Scene {
    blindbox: BlindBox,
    forwarder: Arc<Forwarder>,
    signal: shutdown::Signal,
    ending: shutdown::Ending,
}

async fn scene() -> Scene {
    let maa = Maa::builder().clock(&EmulatedClock::stopped()).start().await.unwrap();
    let blindbox = BlindBox::builder(&maa).application(Application::service(Echo)).start().await.unwrap();
    let issuer = blindbox.maa_issuer();
    let trust = Trust::maa(issuer.as_str()).unwrap().require_maa_policy_hash(blindbox.maa_policy_hash()).unwrap();
    let workload = Workload::binds_its_own_key(blindbox.host_data());
    let policy = Policy::confidential_container(trust, workload, UvmRequirement::at_least(100)).unwrap();
    let verifier = Verifier::builder().clock(blindbox.clock().clone()).only_application_roots(blindbox.tls_root_pem());
    let verifier = verifier.collateral_roots(maa.tls_root_pem()).build().unwrap();
    let peer = ProxySession::open(verifier, &blindbox.url(), policy, Start::Attested, Duration::ZERO).await;
    let peer = Arc::new(peer.unwrap_or_else(|_| panic!("the emulated BlindBox is refused")));
    let forwarder = Forwarder {
        guard: Guard::new(vec!["proxy".to_owned()], "", Some("secret".to_owned()), Origins::new(Vec::new())),
        peer,
        bodies: Bodies::new(0, 0, Duration::ZERO, Duration::ZERO),
        answers: Answers { redirects: Redirects::new(&blindbox.url(), false).unwrap(), most: 1000 },
        attestations: Arc::new(AttestationLog::new(None)),
    };
    let (signal, ending) = shutdown::ending(Arc::new(Semaphore::new(128)));
    Scene { blindbox, forwarder: Arc::new(forwarder), signal, ending }
}

impl Scene {
    /// A connection of a client, and the headers of the response to its handshake.
    async fn connect(&self, path: &str, more: &str) -> (DuplexStream, String) {
        let (mut client, server) = tokio::io::duplex(4096);
        let (forwarder, ending) = (Arc::clone(&self.forwarder), self.ending.clone());
        tokio::spawn(async move { exchange(server, &forwarder, &Client::default(), ending).await });
        let request = format!("GET {path} HTTP/1.1\r\nHost: proxy\r\n{HANDSHAKE}{more}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(bounded(client.read_u8()).await.unwrap());
        }
        (client, String::from_utf8(head).unwrap())
    }
}

/// At most a minute, which only a test that hangs takes.
async fn bounded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.unwrap()
}

async fn echo(client: &mut DuplexStream, bytes: &[u8]) {
    client.write_all(bytes).await.unwrap();
    let mut echoed = vec![0; bytes.len()];
    bounded(client.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(echoed, bytes);
}

/// The end of a connection, however it comes.
async fn ended(client: &mut DuplexStream) {
    let mut left = Vec::new();
    let _ = bounded(client.read_to_end(&mut left)).await;
    assert_eq!(left, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_goes_through_where_the_application_takes_it() {
    let scene = scene().await;
    let (mut client, head) = scene.connect("/socket", "").await;
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("HTTP/1.1 101 Switching Protocols"));
    let mut found: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("date: ")).collect();
    found.sort_unstable();
    let expected = ["connection: upgrade", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "upgrade: websocket"];
    assert_eq!(found, expected);
    echo(&mut client, b"\x81\x05hello").await;
    echo(&mut client, &[7; 4000]).await;
    client.shutdown().await.unwrap();
    ended(&mut client).await;

    // Where it does not, the client gets its response, and the connection has more requests.
    let (mut client, head) = scene.connect("/", "").await;
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    client.write_all(b"GET / HTTP/1.1\r\nHost: proxy\r\nX-Blindbox-Token: secret\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    bounded(client.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 426");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_ends_with_the_attestation_and_with_the_proxy() {
    let scene = scene().await;
    let (mut client, _) = scene.connect("/socket", "").await;
    let (mut other, _) = scene.connect("/socket", "").await;
    echo(&mut client, b"before").await;
    let attested = scene.forwarder.peer.session().unwrap().attestation();
    scene.blindbox.set(Knob::Debug);
    scene.blindbox.clock().advance((attested.expires_at().as_secs() - attested.issued_at().as_secs()) * 9 / 10);
    ended(&mut client).await;
    ended(&mut other).await;

    scene.blindbox.reset();
    scene.forwarder.peer.session().unwrap().reattest().await.unwrap();
    let (mut client, _) = scene.connect("/socket", "").await;
    echo(&mut client, b"again").await;
    let mut stop = crate::signals::Stop::listen().unwrap_or_else(|_| panic!("no signals"));
    scene.signal.end(&mut stop, Duration::ZERO, Duration::ZERO).await;
    ended(&mut client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_complete_offer_of_websocket_alone_is_taken() {
    let scene = scene().await;
    let before = scene.blindbox.traffic().application_requests();
    for more in ["Upgrade: other\r\n", "Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (_, head) = scene.connect("/socket", more).await;
        assert!(head.starts_with("HTTP/1.1 501 ") && head.contains("x-blindbox-error: upgrade-refused"), "{head}");
    }
    // A page of another site that opens a WebSocket.
    let (_, head) = scene.connect("/socket", "Origin: https://evil.example\r\n").await;
    assert!(head.contains("x-blindbox-error: cross-site"), "{head}");
    assert_eq!(scene.blindbox.traffic().application_requests(), before);
}
