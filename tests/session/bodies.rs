//! Request bodies that are read while they are sent, and what else a request carries.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use blindbox_attestation::emulator::{Application, Fault, HttpVersions, IncomingBody, Knob, TcpProxy};
use blindbox_attestation::multipart::{Form, Part};
use blindbox_attestation::{AttestationError, HeaderMap, Session};
use bytes::Bytes;
use http_body::Body as _;

use crate::lab::{Lab, hello, interrupted, until};

const BOTH_VERSIONS: [HttpVersions; 2] = [HttpVersions::Http1, HttpVersions::Http2];

/// 256 MiB in pieces that are larger than what the session passes on at a time.
const PIECE: usize = 1 << 20;
const PIECES: usize = 256;

/// Counts its pieces. It fails after `fails_after` of them.
struct Pieces {
    made: Arc<AtomicUsize>,
    fails_after: usize,
}

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let made = self.made.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(match made {
            made if made == self.fails_after => Some(Err(io::Error::other("the disk is gone"))),
            made if made >= PIECES => None,
            made => Some(Ok(Bytes::from(vec![u8::try_from(made).unwrap(); PIECE]))),
        })
    }
}

fn pieces(fails_after: usize) -> (Pieces, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    (Pieces { made: Arc::clone(&made), fails_after }, made)
}

/// Sends back what it gets, as it comes.
#[derive(Clone)]
struct Echo;

impl tower_service::Service<http::Request<IncomingBody>> for Echo {
    type Response = http::Response<IncomingBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<IncomingBody>) -> Self::Future {
        let (head, body) = request.into_parts();
        let mut response = http::Response::new(body);
        for name in ["trailer", "content-type"] {
            for value in head.headers.get_all(name) {
                response.headers_mut().append(name, value.clone());
            }
        }
        ready(Ok(response))
    }
}

async fn echoing(http: HttpVersions) -> (Lab, Session) {
    let lab = Lab::with(|blindbox| blindbox.http(http).application(Application::service(Echo))).await;
    let session = lab.connect().await.unwrap();
    (lab, session)
}

/// Over HTTP/1.1 the HTTP library left it out, and the response was to a request without it.
#[tokio::test]
async fn a_body_of_unknown_size_is_sent_with_every_method() {
    for http in BOTH_VERSIONS {
        let (_lab, session) = echoing(http).await;
        let response = session.get("/").body_reader(&b"a filter"[..]).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "a filter", "{http:?}");
        let response = session.get("/").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "", "{http:?}");
    }
}

/// 256 MiB there and back. What is made of it and not received yet is bounded, however slowly it is read. Most of that is in the buffers of
/// sockets, four of them, which some systems let grow to 32 MiB each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_body_of_any_size_takes_the_same_memory() {
    for http in BOTH_VERSIONS {
        let (_lab, session) = echoing(http).await;
        let (stream, made) = pieces(usize::MAX);
        let mut response = session.post("/").body_stream(stream).send().await.unwrap();
        let (mut received, mut most) = (0, 0);
        while let Some(chunk) = response.chunk().await.unwrap() {
            let piece = u8::try_from(received / PIECE % PIECES).unwrap();
            assert_eq!(chunk.first().copied().unwrap_or(piece), piece, "{http:?} at {received}");
            received += chunk.len();
            most = most.max((made.load(Ordering::SeqCst) * PIECE).saturating_sub(received));
        }
        assert_eq!(received, PIECES * PIECE, "{http:?}");
        assert!(most < 160 << 20, "{most} bytes on the way, {http:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rest_of_a_stream_never_reaches_a_peer_that_was_refused_or_has_expired() {
    for http in BOTH_VERSIONS {
        for refused in [true, false] {
            let lab = Lab::with(|blindbox| blindbox.http(http).application(Application::service(Echo))).await;
            let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
            let session = lab.verifier().connect(network.url(), &lab.policy()).await.unwrap();
            hello(&session).await.unwrap();
            network.stall();
            let begun = network.bytes_from_clients();
            let (stream, made) = pieces(usize::MAX);
            let task = tokio::spawn({
                let request = session.post("/").body_stream(stream);
                async move { request.send().await.unwrap_err() }
            });
            let has_begun = || made.load(Ordering::SeqCst) > 0 && network.bytes_from_clients() > begun;
            until("the upload has begun", has_begun).await;
            let expected = if refused {
                lab.blindbox.set(Knob::Debug);
                session.reattest().await.unwrap_err()
            } else {
                lab.blindbox.clock().advance(3600);
                AttestationError::AttestationExpired
            };
            assert_eq!(task.await.unwrap(), interrupted(expected), "{http:?}");
            assert!(made.load(Ordering::SeqCst) < PIECES / 2, "{http:?}, refused: {refused}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_named_and_the_peer_gets_no_complete_body() {
    for http in BOTH_VERSIONS {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        let (stream, _) = pieces(2);
        let error = session.post("/echo").body_stream(stream).send().await.unwrap_err();
        let reason = "the disk is gone".to_owned();
        assert_eq!(error, interrupted(AttestationError::RequestBodyFailed { reason }), "{http:?}");
        // Nothing came back for it, and the session is as good as before.
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    }
}

#[tokio::test]
async fn a_stream_is_sent_once_and_what_can_be_sent_again_is() {
    let (lab, session) = echoing(HttpVersions::Http2).await;
    let request = session.post("/").body_reader(&b"once"[..]);
    let again = request.clone();
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "once");
    let reason = "expected a body that was not sent before: a stream can be read only once";
    assert_eq!(again.send().await.unwrap_err(), AttestationError::InvalidRequest { reason });
    assert_eq!(lab.blindbox.traffic().application_requests(), 1);
    // It was not processed, but its body has been read.
    lab.blindbox.fail_times("/", 1, Fault::RefuseStream);
    let error = session.post("/").body_reader(&b"once"[..]).send().await.unwrap_err();
    let reason = format!(
        "{}: the server refused the stream (REFUSED_STREAM) before it processed the request; \
         it was not processed, and has a body that can be read only once",
        lab.blindbox.url()
    );
    assert_eq!(error.to_string(), format!("no response from the application: {reason}"));
    assert!(!error.request_sent());
    assert_eq!(lab.blindbox.traffic().application_requests(), 2);
}

#[tokio::test]
async fn a_body_that_states_its_size_is_sent_with_it() {
    for http in BOTH_VERSIONS {
        let (lab, session) = echoing(http).await;
        let response = session.post("/").body("sized").send().await.unwrap();
        let body = http::Response::<blindbox_attestation::Body>::from(response).into_body();
        assert_eq!(body.size_hint().exact(), Some(5));
        let response = session.post("/").http_body(body).send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "sized");
        let request = lab.blindbox.traffic().requests().pop().unwrap();
        assert_eq!(request.header("content-length"), Some("5"), "{http:?}");
    }
}

#[tokio::test]
async fn trailers_go_both_ways() {
    for http in BOTH_VERSIONS {
        let (_lab, session) = echoing(http).await;
        let trailers = HeaderMap::from_iter([("x-checksum".parse().unwrap(), "42".parse().unwrap())]);
        let request = session.post("/").body("body").trailers(trailers.clone()).header("te", "trailers");
        let mut response = request.send().await.unwrap();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        assert_eq!((body.as_slice(), response.trailers()), (&b"body"[..], Some(&trailers)), "{http:?}");
        let bad = HeaderMap::from_iter([(http::header::HOST, "evil.example".parse().unwrap())]);
        let error = session.post("/").trailers(bad).send().await.unwrap_err();
        assert_eq!(error.code(), "invalid-request");
    }
}

#[tokio::test]
async fn headers_of_a_session_give_way_to_those_of_a_request() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let defaults = [("x-tenant", "one"), ("accept", "text/event-stream"), ("authorization", "Bearer session")];
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        HeaderMap::from_iter(pairs)
    };
    let with_defaults = session.with_default_headers(map(&defaults)).unwrap();
    let sent = || lab.blindbox.traffic().requests().pop().unwrap();
    with_defaults.get("/").send().await.unwrap();
    for (name, value) in defaults {
        assert_eq!(sent().header(name), Some(value));
    }
    let two = map(&[("x-tenant", "two"), ("x-many", "1")]);
    with_defaults.get("/").basic_auth("ann", "s:cret").headers(two).header("x-many", "2").send().await.unwrap();
    let all = |name: &str| -> Vec<String> {
        sent().headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(all("x-tenant"), ["two"]);
    assert_eq!(all("x-many"), ["1", "2"]);
    // RFC 7617: base64 of "ann:s:cret".
    assert_eq!(all("authorization"), ["Basic YW5uOnM6Y3JldA=="]);
    // The other handle is as it was, and what is not allowed for a request is not for a session.
    session.get("/").send().await.unwrap();
    assert_eq!(sent().header("x-tenant"), None);
    let error = session.with_default_headers(map(&[("host", "evil.example")])).unwrap_err();
    assert_eq!(error.code(), "invalid-request");
    for request in [session.get("/").headers(map(&[("host", "evil.example")])), session.get("/").basic_auth("a:b", "c")]
    {
        assert_eq!(request.send().await.unwrap_err().code(), "invalid-request");
    }
    // Bytes that are not ASCII (obs-text, RFC 9110 section 5.5).
    let response = session.get("/headers").header("x-bytes", [0xfc, b'x']).send().await.unwrap();
    assert!(response.text().await.unwrap().contains("\"x-bytes\",\"\u{fffd}x\""));
}

#[tokio::test]
async fn a_form_of_several_parts_is_written_as_servers_read_it() {
    for streamed in [false, true] {
        let (lab, session) = echoing(HttpVersions::Http1).await;
        let file = if streamed { Part::reader(&b"RIFF"[..]) } else { Part::bytes("RIFF") };
        let file = file.file_name("speech.wav").content_type("audio/wav");
        let form = Form::new().text("model", "small").part("file", file);
        let response = session.post("/").multipart(form).send().await.unwrap();
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        assert_eq!(boundary.len(), 32);
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nsmall\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"speech.wav\"\r\n\
             Content-Type: audio/wav\r\n\r\nRIFF\r\n--{boundary}--\r\n"
        );
        let length = lab.blindbox.traffic().requests().pop().unwrap().header("content-length").map(str::to_owned);
        assert_eq!(length, (!streamed).then(|| expected.len().to_string()));
        assert_eq!(response.text().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn the_status_of_an_error_is_an_error_where_that_is_asked_for() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    assert_eq!(session.get("/redirect").send().await.unwrap().error_for_status().unwrap().status().as_u16(), 302);
    let error = session.get("/none?secret=1").send().await.unwrap().error_for_status().unwrap_err();
    assert_eq!(error.to_string(), format!("{}/none responded with the status 404 Not Found", lab.blindbox.url()));
    assert_eq!(error.status().as_u16(), 404);
    assert_eq!(error.into_response().text().await.unwrap(), "404 page not found");
}

/// A body on which no one waits: pending until it is dropped.
struct Never;

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// The peer is refused while the body has nothing to send.
#[tokio::test]
async fn a_body_that_stands_still_is_cut_off_with_its_peer() {
    for http in BOTH_VERSIONS {
        let (lab, session) = echoing(http).await;
        // The response begins at once, and its body never does.
        let response = session.post("/").http_body(Never).send().await.unwrap();
        let reading = tokio::spawn(response.bytes());
        lab.blindbox.set(Knob::Debug);
        let refusal = session.reattest().await.unwrap_err();
        assert_eq!(reading.await.unwrap().unwrap_err(), interrupted(refusal), "{http:?}");
    }
}
