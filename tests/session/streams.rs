//! Streams to an attested peer: the bytes of any protocol, with the checks of a request.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::ErrorKind;
use std::task::{Context, Poll};

use blindbox_attestation::emulator::{
    Application, BlindBox, HttpVersions, IncomingBody, Knob, OpenConnections, TcpProxy,
};
use blindbox_attestation::{AttestationError, AttestedStream, ChannelNotAllowed, Session, TlsExporter, Workload};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::lab::{Lab, soon, until};

/// Switches to the protocol `echo`, in which everything comes back, whatever was asked for.
#[derive(Clone)]
struct Upgrading;

impl tower_service::Service<http::Request<IncomingBody>> for Upgrading {
    type Response = http::Response<Whole>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<IncomingBody>) -> Self::Future {
        let asked = request.headers().get("upgrade").is_some();
        if !asked || request.uri().path() != "/echo" {
            return ready(Ok(http::Response::builder().status(404).body(Whole(Some(Bytes::from("none")))).unwrap()));
        }
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let stream = TokioIo::new(upgrade.await.unwrap());
            let (mut read, mut write) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
        let response = http::Response::builder().status(101).header("upgrade", "Echo").header("x-accept", "yes");
        ready(Ok(response.body(Whole(None)).unwrap()))
    }
}

struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

async fn upgrading(http: HttpVersions) -> (Lab, Session) {
    let lab = Lab::with(|blindbox| blindbox.http(http).application(Application::service(Upgrading))).await;
    let session = lab.connect().await.unwrap();
    (lab, session)
}

async fn echo_stream(session: &Session) -> AttestedStream {
    let response = session.get("/echo").upgrade("echo").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["x-accept"].to_str().unwrap()), (101, "yes"));
    response.into_stream().unwrap()
}

/// One request by hand, and the response up to the end of the connection.
async fn by_hand(stream: &mut AttestedStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: blindbox\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

fn inside(error: &std::io::Error) -> &AttestationError {
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    error.get_ref().unwrap().downcast_ref().unwrap()
}

/// Also where the session itself goes over HTTP/2.
#[tokio::test]
async fn a_request_switches_to_another_protocol() {
    for http in [HttpVersions::Http1, HttpVersions::Both] {
        let (lab, session) = upgrading(http).await;
        let mut stream = echo_stream(&session).await;
        let large: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let mut received = vec![0; large.len()];
        let (sent, got) = tokio::join!(write.write_all(&large), read.read_exact(&mut received));
        sent.unwrap();
        got.unwrap();
        assert_eq!(received, large);
        // The end goes through as well.
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
        let sent = lab.blindbox.traffic().requests().pop().unwrap();
        assert_eq!((sent.header("connection"), sent.header("upgrade")), (Some("upgrade"), Some("echo")));
    }
}

#[tokio::test]
async fn a_peer_that_does_not_switch_or_switches_to_something_else() {
    let (lab, session) = upgrading(HttpVersions::Both).await;
    let response = session.get("/none").upgrade("echo").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 404);
    assert!(response.into_stream().is_none());
    let response = session.get("/none").upgrade("echo").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "none");
    let error = session.get("/echo").upgrade("websocket").send().await.unwrap_err();
    let reason = "it switches to another protocol than the requested one".to_owned();
    assert_eq!(error, AttestationError::InvalidResponse { reason, source: None });
    let before = lab.blindbox.traffic().application_requests();
    for protocol in ["", "a, b", "web socket", "a\r\nb"] {
        let error = session.get("/echo").upgrade(protocol).send().await.unwrap_err();
        let reason = "expected the name of one protocol, such as websocket";
        assert_eq!(error, AttestationError::InvalidRequest { reason });
    }
    assert_eq!(lab.blindbox.traffic().application_requests(), before);
}

/// A new key is attested over the connection that is upgraded, before the request for it.
#[tokio::test]
async fn an_upgrade_goes_to_an_attested_key_only() {
    let (lab, session) = upgrading(HttpVersions::Both).await;
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    let mut stream = echo_stream(&session).await;
    stream.write_all(b"new").await.unwrap();
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2);
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    lab.blindbox.set(Knob::Debug);
    let before = (lab.blindbox.traffic().application_requests(), lab.blindbox.traffic().application_bytes());
    let error = session.get("/echo").upgrade("echo").send().await.unwrap_err();
    assert_eq!((error.code(), error.request_sent()), ("debug-mode", false));
    let after = (lab.blindbox.traffic().application_requests(), lab.blindbox.traffic().application_bytes());
    assert_eq!(before, after);
}

/// Each connection needs evidence about itself, which only one that speaks HTTP first can carry.
#[tokio::test]
async fn where_connections_are_attested_an_upgrade_is_and_a_stream_is_refused() {
    let lab = Lab::with(|blindbox| blindbox.application(Application::service(Upgrading))).await;
    let policy = lab.policy_for(Workload::binds_its_own_connection(lab.blindbox.host_data()));
    let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let error = session.stream().open().await.unwrap_err();
    assert_eq!(error, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::StreamNotAttested });
    assert_eq!(lab.blindbox.traffic().tls_connections(), 1);

    let mut stream = echo_stream(&session).await;
    stream.write_all(b"sealed").await.unwrap();
    let mut echoed = [0; 6];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"sealed");
    assert_eq!((lab.blindbox.traffic().tls_connections(), lab.blindbox.traffic().count("/attest/maa")), (2, 2));

    lab.blindbox.set(Knob::ForeignExporter(TlsExporter::new([7; 32])));
    let before = lab.blindbox.traffic().application_requests();
    let error = session.get("/echo").upgrade("echo").send().await.unwrap_err();
    assert_eq!((error.code(), error.request_sent()), ("connection-mismatch", false));
    assert_eq!(lab.blindbox.traffic().application_requests(), before);
}

#[tokio::test]
async fn a_stream_leads_to_an_attested_key() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let mut stream = session.stream().alpn(["http/1.1"]).open().await.unwrap();
    assert!(by_hand(&mut stream, "/").await.ends_with("hello from a BlindBox"));
    assert_eq!(stream.attestation(), session.attestation());
    // Without ALPN, on another port of the host, with a key that is new: attested beforehand.
    let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    let port = url::Url::parse(&network.url()).unwrap().port().unwrap();
    let mut stream = session.stream().port(port).open().await.unwrap();
    assert!(by_hand(&mut stream, "/").await.ends_with("hello from a BlindBox"));
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2);
}

#[tokio::test]
async fn a_stream_to_a_wrong_key_is_never_opened() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    // Another BlindBox, which is good itself: it is not the one behind the session's port.
    let other = BlindBox::builder(&lab.maa).start().await.unwrap();
    let error = session.stream().port(other.address().port()).open().await.unwrap_err();
    let reason = "none of 8 streams led to a key that is attested on the session's port";
    assert_eq!(error, AttestationError::TooManyUnattestedPeers { reason });
    assert_eq!(other.traffic().requests(), []);
    // A key that is refused.
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    lab.blindbox.set(Knob::Debug);
    assert_eq!(session.stream().open().await.unwrap_err().code(), "debug-mode");
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}

/// The socket is closed although no one reads or writes, and the error is the reason, not an end.
#[tokio::test]
async fn a_stream_is_cut_off_when_its_peer_is_refused_or_its_attestation_ends() {
    for refused in [true, false] {
        let lab = Lab::with(|blindbox| blindbox.application(Application::service(Upgrading))).await;
        let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
        let session = lab.verifier().connect(network.url(), &lab.policy()).await.unwrap();
        let mut idle = echo_stream(&session).await;
        let mut waiting = echo_stream(&session).await;
        let mut raw = session.stream().alpn(["http/1.1"]).open().await.unwrap();
        let reading = tokio::spawn(async move { waiting.read(&mut [0]).await.unwrap_err() });
        let expected = if refused {
            lab.blindbox.set(Knob::Debug);
            session.reattest().await.unwrap_err()
        } else {
            lab.blindbox.set(Knob::Debug);
            lab.blindbox.clock().advance(3600);
            AttestationError::AttestationExpired
        };
        let error = soon(reading).await.unwrap();
        assert_eq!(inside(&error), &expected);
        if refused {
            until("every connection is closed", || network.open_connections() == 0).await;
        }
        for _ in 0..2 {
            for stream in [&mut idle, &mut raw] {
                assert_eq!(inside(&stream.write(b"x").await.unwrap_err()), &expected);
                assert_eq!(inside(&stream.read(&mut [0]).await.unwrap_err()), &expected);
            }
        }
    }
}

/// There is no request that would renew the attestation.
#[tokio::test]
async fn an_open_stream_has_its_attestation_renewed() {
    let (lab, session) = upgrading(HttpVersions::Both).await;
    let mut stream = echo_stream(&session).await;
    let issued_at = stream.attestation().issued_at();
    lab.blindbox.clock().advance(2_900);
    until("the attestation is renewed", || stream.attestation().issued_at() > issued_at).await;
    lab.blindbox.clock().advance(800);
    stream.write_all(b"still").await.unwrap();
    let mut echoed = [0; 5];
    stream.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"still");
    // A renewal that is refused ends it.
    lab.blindbox.set(Knob::Debug);
    lab.blindbox.clock().advance(2_100);
    let error = soon(stream.read(&mut [0])).await.unwrap_err();
    assert_eq!(inside(&error).code(), "debug-mode");
}
