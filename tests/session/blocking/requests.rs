//! Blocking requests and the bodies of their responses.

use std::io::{self, BufRead as _, ErrorKind, Read, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use blindbox_attestation::blocking::{BodyError, BodyJsonError};
use blindbox_attestation::emulator::{Application, Fault, HttpVersions, Knob};
use blindbox_attestation::multipart::Form;
use blindbox_attestation::{AttestationError, HeaderMap};
use serde_json::Value;

use super::{Bench, hello};
use crate::lab::{interrupted, long_enough};

#[test]
fn a_request_is_sent_as_it_was_made() {
    let bench = Bench::start();
    let session = bench.connect();
    let request = session.post("/echo?a=b").query("c", "d e").header("x-one", "1").body("bytes");
    assert_eq!(format!("{request:?}"), "blocking::Request(POST \"/echo\")");
    let answer = request.send().unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(5)));
    assert_eq!((answer.version(), answer.headers()["content-length"].as_bytes()), (http::Version::HTTP_2, &b"5"[..]));
    assert_eq!(answer.bytes().unwrap(), b"bytes");
    let sent = bench.lab.blindbox.traffic().requests().pop().unwrap();
    assert_eq!((sent.path.as_str(), sent.header("x-one")), ("/echo", Some("1")));
    for (request, answer) in [
        (session.get("/"), "hello from a BlindBox"),
        (session.put("/echo").body("put"), "put"),
        (session.patch("/echo").json("patch"), "\"patch\""),
        (session.delete("/echo"), "DELETE"),
        (session.options("/echo"), "OPTIONS"),
        (session.request(http::Method::DELETE, "/echo"), "DELETE"),
    ] {
        assert_eq!(request.send().unwrap().text().unwrap(), answer);
    }
    assert_eq!(session.head("/").send().unwrap().status().as_u16(), 200);
    let requests = bench.lab.blindbox.traffic().application_requests();
    for request in [session.get("//evil.example/"), session.get("/").header("host", "evil.example")] {
        assert!(matches!(request.send(), Err(AttestationError::InvalidRequest { .. })));
    }
    assert_eq!(bench.lab.blindbox.traffic().application_requests(), requests);
}

#[test]
fn a_body_comes_in_the_form_that_was_asked_for_or_not_at_all() {
    let bench = Bench::start();
    let session = bench.connect();
    let echo = |body: &[u8]| session.post("/echo").body(body).send().unwrap();
    assert_eq!(echo(b"a\xffb").text().unwrap(), "a\u{fffd}b");
    assert_eq!(echo(b"a\xffb").bytes().unwrap(), b"a\xffb");
    assert_eq!(echo(b"[1, 2]").json::<Vec<u8>>().unwrap(), [1, 2]);
    assert_eq!(
        echo(b"[1,\n x]").json::<Vec<u8>>(),
        Err(BodyError::Json { reason: BodyJsonError::Syntax, line: 2, column: 2 })
    );
    let not_it = echo(b"{}").json::<Vec<u8>>().unwrap_err();
    assert!(matches!(not_it, BodyError::Json { reason: BodyJsonError::AnotherForm, line: 1, .. }), "{not_it:?}");
    assert_eq!(session.get("/none").send().unwrap().status().as_u16(), 404);

    bench.lab.blindbox.fail("/", Fault::Truncated);
    let cut = || session.get("/").send().unwrap();
    let unreachable =
        |error: &AttestationError| matches!(error.reason(), AttestationError::ApplicationUnreachable { .. });
    assert!(unreachable(&cut().bytes().unwrap_err()));
    assert!(unreachable(&cut().text().unwrap_err()));
    assert!(matches!(cut().json::<Value>().unwrap_err(), BodyError::Read(error) if unreachable(&error)));
}

#[test]
fn a_reader_gives_what_has_arrived() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let bench =
            Bench::with(|blindbox| blindbox.http(http).page("/lines", "text/plain", b"one\ntwo\nthree".to_vec()));
        let session = bench.connect();
        let mut large = Vec::new();
        let read = session.get("/large?bytes=3000000").send().unwrap().reader().read_to_end(&mut large).unwrap();
        assert_eq!((read, large.iter().all(|byte| *byte == b'x')), (3_000_000, true));

        let mut reader = session.get("/lines").send().unwrap().reader();
        assert_eq!(format!("{reader:?}"), "blocking::BodyReader(open)");
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert_eq!(reader.fill_buf().unwrap()[0], b'o');
        reader.consume(usize::MAX);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!((reader.read(&mut [0; 8]).unwrap(), reader.fill_buf().unwrap().len()), (0, 0));
        assert_eq!(format!("{reader:?}"), "blocking::BodyReader(ended)");
    }
}

/// The application sends the second line when the first one has been read.
#[test]
fn a_reader_returns_a_line_before_the_next_one_is_sent() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (first_read, goes_on) = mpsc::channel();
        let application = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\none\n").unwrap();
            goes_on.recv().unwrap();
            stream.write_all(b"two\nthree").unwrap();
        });
        let bench = Bench::with(|blindbox| blindbox.http(http).application(Application::at(&url).unwrap()));
        let session = bench.connect();
        let mut lines = session.get("/lines").send().unwrap().reader().lines();
        assert_eq!(lines.next().unwrap().unwrap(), "one");
        first_read.send(()).unwrap();
        assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), ["two", "three"]);
        application.join().unwrap();
    }
}

#[test]
fn a_body_that_breaks_off_never_looks_like_one_that_has_ended() {
    let bench = Bench::start();
    let session = bench.connect();
    bench.lab.blindbox.fail("/", Fault::Truncated);
    let mut reader = session.get("/").send().unwrap().reader();
    let mut begun = Vec::new();
    let first = reader.read_to_end(&mut begun).unwrap_err();
    assert!(b"hello from a BlindBox".starts_with(&begun) && begun.len() < 21);
    for error in [first, reader.read(&mut [0; 8]).unwrap_err(), reader.fill_buf().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        let inside: &AttestationError = error.get_ref().unwrap().downcast_ref().unwrap();
        assert!(matches!(inside.reason(), AttestationError::ApplicationUnreachable { .. }), "{inside:?}");
    }
}

#[test]
fn a_body_of_a_refused_peer_ends_with_the_refusal() {
    let bench = Bench::start();
    let session = bench.connect();
    // Of its 21 bytes only the first comes.
    bench.lab.blindbox.fail("/", Fault::Drip(Duration::from_secs(3600)));
    let whole = session.get("/").send().unwrap();
    let mut read = session.get("/").send().unwrap().reader();
    read.read_exact(&mut [0]).unwrap();
    bench.lab.blindbox.recover();
    bench.lab.blindbox.set(Knob::Debug);
    let refusal = session.reattest().unwrap_err();
    assert_eq!(refusal.code(), "debug-mode");
    let refusal = interrupted(refusal);
    assert_eq!(whole.bytes().unwrap_err(), refusal);
    let error = read.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.get_ref().and_then(|error| error.downcast_ref()), Some(&refusal));
}

#[test]
fn waiting_has_an_end() {
    let bench = Bench::start();
    let session = bench.connect();
    let late = |after| interrupted(AttestationError::Timeout { what: "the request", after });
    let send = |after| session.get("/slow?ms=600000").timeout(after).send().unwrap_err();
    let after = bench.runtime.block_on(long_enough(async |after| {
        let error = std::thread::scope(|scope| scope.spawn(|| send(after)).join().unwrap());
        assert_eq!(error.code(), "timeout");
        error == late(after)
    }));
    let timeout = late(after);

    bench.lab.blindbox.fail("/", Fault::Drip(Duration::from_secs(3600)));
    // On a busy machine the time may be over before the response begins.
    let dripping = || loop {
        match session.get("/").timeout(after).send() {
            Ok(response) => break response,
            Err(error) => assert_eq!(error, timeout),
        }
    };
    assert_eq!(dripping().bytes().unwrap_err(), timeout);
    assert_eq!(dripping().json::<Value>().unwrap_err(), BodyError::Read(timeout.clone()));
    let error = dripping().reader().read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&timeout));
    bench.lab.blindbox.recover();

    bench.lab.blindbox.fail("/attest", Fault::Hang);
    let verifier = bench.lab.builder().deadline(Duration::from_millis(500)).build_blocking().unwrap();
    let error = verifier.connect(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap_err();
    assert!(
        matches!(error, AttestationError::Timeout { after, .. } if after == Duration::from_millis(500)),
        "{error:?}"
    );
    // Those that are left hanging there are in no one's way.
    assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");
}

#[test]
fn a_request_carries_what_an_asynchronous_one_does() {
    let bench = Bench::start();
    let header = |name: &str, value: &str| HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
    let session = bench.connect().with_default_headers(header("x-tenant", "one")).unwrap();
    let large: Vec<u8> = (0..=250).cycle().take(3 << 20).collect();
    let response = session.post("/echo").body_reader(io::Cursor::new(large.clone())).send().unwrap();
    assert_eq!(response.bytes().unwrap(), large);
    let sent = bench.lab.blindbox.traffic().requests().pop().unwrap();
    assert_eq!((sent.header("x-tenant"), sent.header("transfer-encoding")), (Some("one"), None));
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let error = session.post("/echo").body_reader(Fails).send().unwrap_err();
    let reason = "the disk is gone".to_owned();
    assert_eq!(error, interrupted(AttestationError::RequestBodyFailed { reason }));
    let form = Form::new().text("model", "small");
    let request = session.post("/echo").multipart(form).basic_auth("ann", "x").headers(header("x-tenant", "two"));
    let text = request.trailers(header("x-sum", "1")).send().unwrap().text().unwrap();
    assert!(text.contains("name=\"model\"\r\n\r\nsmall\r\n"), "{text}");
    // The record of the request that failed may come after it.
    let mut sent = bench.lab.blindbox.traffic().requests();
    sent.retain(|request| request.header("authorization") == Some("Basic YW5uOng="));
    assert_eq!(sent.iter().map(|request| request.header("x-tenant")).collect::<Vec<_>>(), [Some("two")]);
    let error = session.get("/none").send().unwrap().error_for_status().unwrap_err();
    assert_eq!((error.status().as_u16(), error.into_response().text().unwrap().as_str()), (404, "404 page not found"));
}

#[test]
fn trailers_can_be_read_after_the_body() {
    let bench = Bench::with(|blindbox| {
        blindbox.http(HttpVersions::Http2).application(Application::service(crate::service::Grpc))
    });
    let request = bench.connect().post("/").header("content-type", "application/grpc").header("te", "trailers");
    let mut reader = request.body("content").send().unwrap().reader();
    assert_eq!(reader.trailers(), None);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), reader.trailers().unwrap()["grpc-status"].as_bytes()), ("content", &b"0"[..]));
    // Also after it is read again.
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    assert!(reader.trailers().is_some());
}
