//! Request bodies that are written while they are sent.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use blindbox_attestation::emulator::{Application, Fault, HttpVersions};
use blindbox_facade::{Cancel, Error, Request, Upload, wait_writing};

use crate::common::{LONG, Scene, early_application, get, read, start, until, wait};

/// How long a test looks for what must not happen; how long a slow source takes.
const MOMENT: Duration = Duration::from_millis(100);

fn uploading(target: &str, upload: &Upload) -> Request {
    Request { method: "POST".to_owned(), body: Some(upload.clone().into()), ..get(target) }
}

/// Writes 64 KiB at a time, until no more is taken.
fn write_all(upload: &Upload, bytes: &[u8]) -> bool {
    bytes.chunks(64 << 10).all(|piece| wait(upload.write(piece.to_vec().into())).unwrap())
}

#[test]
fn a_body_is_written_while_it_is_sent() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for length in [None, Some(5_000_000)] {
        let upload = Upload::new(length);
        let (_, outcomes) = start(session.send(uploading("/echo", &upload)));
        assert!(wait(upload.ready()).unwrap());
        assert!(write_all(&upload, &body));
        upload.finish();
        let response = outcomes.recv_timeout(LONG).unwrap().unwrap();
        assert!(read(&response).0 == body);
        assert!(!wait(upload.ready()).unwrap(), "it has ended");
    }
}

#[test]
fn an_announced_length_is_sent_and_kept() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let upload = Upload::new(Some(3));
    let (_, outcomes) = start(session.send(Request { method: "GET".to_owned(), ..uploading("/headers", &upload) }));
    assert!(wait(upload.write("abc".into())).unwrap());
    upload.finish();
    let headers = read(&outcomes.recv_timeout(LONG).unwrap().unwrap()).0;
    assert!(String::from_utf8(headers).unwrap().contains(r#"["content-length","3"]"#));
    for (body, reason) in [
        (&b"ab"[..], "the source ended after 2 of the 3 bytes that were announced"),
        (b"abcd", "the source has more than the 3 bytes that were announced"),
    ] {
        let upload = Upload::new(Some(3));
        let (_, outcomes) = start(session.send(uploading("/echo", &upload)));
        wait(upload.write(body.into())).unwrap();
        upload.finish();
        let error = outcomes.recv_timeout(LONG).unwrap().unwrap_err();
        assert_eq!((error.code, error.number), ("request-body-failed", 406));
        assert!(error.message.contains(reason), "{error}");
    }
}

#[test]
fn a_source_that_fails_fails_its_request() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    for give_up in [
        Box::new(|upload: Upload| upload.fail("the disk is gone")) as Box<dyn Fn(Upload)>,
        Box::new(|upload: Upload| drop(upload)),
    ] {
        let upload = Upload::new(None);
        let (_, outcomes) = start(session.send(uploading("/echo", &upload)));
        assert!(wait(upload.write("half".into())).unwrap());
        give_up(upload);
        let error = outcomes.recv_timeout(LONG).unwrap().unwrap_err();
        assert_eq!((error.code, error.number, error.category), ("request-body-failed", 406, "misconfigured"));
        assert!(error.message.contains("the disk is gone") || error.message.contains("given up"), "{error}");
    }
    assert_eq!(wait(session.send(get("/"))).unwrap().status, 200);
}

#[test]
fn nothing_is_asked_of_a_source_that_is_not_sent() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let upload = Upload::new(None);
    let (_, asked) = start(upload.ready());
    assert_eq!(asked.recv_timeout(MOMENT).unwrap_err(), RecvTimeoutError::Timeout);
    let error = wait(session.send(uploading("https://evil.example/", &upload))).unwrap_err();
    assert_eq!(error.code, "invalid-request");
    assert!(!asked.recv_timeout(LONG).unwrap().unwrap());
}

#[test]
fn an_upload_is_sent_once() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let upload = Upload::new(None);
    let (_, outcomes) = start(session.send(uploading("/echo", &upload)));
    assert!(wait(upload.ready()).unwrap());
    let error = wait(session.send(uploading("/echo", &upload))).unwrap_err();
    assert_eq!((error.code, error.request_sent), ("invalid-request", false));
    assert!(wait(upload.write("once".into())).unwrap(), "the first one goes on");
    upload.finish();
    assert_eq!(read(&outcomes.recv_timeout(LONG).unwrap().unwrap()).0, b"once");
    assert_eq!(wait(session.send(uploading("/echo", &upload))).unwrap_err().code, "invalid-request");
}

#[test]
fn a_cancelled_request_takes_no_more() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let upload = Upload::new(None);
    let (cancel, outcomes) = start(session.send(uploading("/echo", &upload)));
    assert!(wait(upload.write("half".into())).unwrap());
    cancel.cancel();
    assert_eq!(outcomes.recv_timeout(LONG).unwrap().unwrap_err().code, "cancelled");
    assert!(!wait(upload.write("half".into())).unwrap());
}

#[test]
fn an_upload_ends_with_the_response_that_is_given_up() {
    // Over either version: one connection has windows, the other a buffer.
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let scene =
            Scene::with(|blindbox| blindbox.http(http).application(Application::at(&early_application()).unwrap()));
        let session = scene.session().unwrap();
        for close in [true, false] {
            let upload = Upload::new(None);
            let (_, outcomes) = start(session.send(uploading("/", &upload)));
            let response = outcomes.recv_timeout(LONG).unwrap().unwrap();
            // Without an end: the peer leaves it no window.
            let piece = bytes::Bytes::from(vec![0; 1 << 20]);
            let writer = std::thread::spawn({
                let upload = upload.clone();
                move || while wait(upload.write(piece.clone())).unwrap() {}
            });
            if close {
                response.close();
            } else {
                drop(response);
            }
            until("the upload goes on", || writer.is_finished());
            assert!(!wait(upload.ready()).unwrap());
        }
    }
}

#[test]
fn a_cancellation_reports_whether_a_request_may_have_arrived() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let sent = |(cancel, outcomes): (Cancel, Receiver<Result<(), Error>>)| {
        cancel.cancel();
        let error = outcomes.recv_timeout(LONG).unwrap().unwrap_err();
        assert_eq!((error.code, error.message == "cancelled"), ("cancelled", !error.request_sent));
        error.request_sent
    };
    scene.blindbox.fail("/", Fault::Hang);
    let request = session.send(get("/"));
    let requesting = start(async move { request.await.map(drop) });
    until("the request did not arrive", || scene.blindbox.traffic().count("/") == 1);
    assert!(sent(requesting));
    scene.blindbox.recover();
    scene.blindbox.fail("/", Fault::Drip(Duration::from_secs(3600)));
    let response = wait(session.send(get("/"))).unwrap();
    if response.early().bytes.is_empty() {
        wait(response.chunk()).unwrap();
    }
    let (polled, is_polled) = channel();
    let chunk = response.chunk();
    let reading = start(async move {
        let mut chunk = std::pin::pin!(chunk);
        std::future::poll_fn(|cx| {
            let poll = chunk.as_mut().poll(cx);
            polled.send(()).unwrap();
            poll
        })
        .await
        .map(drop)
    });
    is_polled.recv_timeout(LONG).unwrap();
    assert!(sent(reading));
    // Cancelled before it is polled, or after: the request was sent in any case.
    for _ in 0..32 {
        let chunk = response.chunk();
        assert!(sent(start(async move { chunk.await.map(drop) })));
    }
    // Work that sends none.
    scene.blindbox.recover();
    scene.blindbox.fail("/attest", Fault::Hang);
    let before = scene.blindbox.agent_traffic().requests().len();
    let again = session.reattest();
    let attesting = start(async move { again.await.map(drop) });
    until("the attestation did not arrive", || scene.blindbox.agent_traffic().requests().len() > before);
    assert!(!sent(attesting));
    let upload = Upload::new(None);
    let ready = upload.ready();
    assert!(!sent(start(async move { ready.await.map(drop) })));
}

#[test]
fn a_source_that_always_has_a_piece_does_not_keep_the_caller_from_stopping() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let upload = Upload::new(None);
    let (_open, silence) = channel::<()>();
    let pieces = Cell::new(0);
    // A piece takes as long as the interval, and the next one is asked for at once: no interval is without an event.
    let source = || {
        assert_eq!(silence.recv_timeout(MOMENT), Err(RecvTimeoutError::Timeout));
        pieces.set(pieces.get() + 1);
        if pieces.get() < 20 { Ok(Some("piece".into())) } else { Err("never asked") }
    };
    // Before the first piece, the request waits for its connection.
    let proceed = || if pieces.get() == 0 { Ok(()) } else { Err("a signal") };
    let sent = wait_writing(session.send(uploading("/echo", &upload)), &upload, MOMENT, source, proceed);
    assert_eq!(sent.unwrap_err(), "a signal");
}

#[test]
fn a_blocking_call_writes_from_its_own_thread() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let thread = std::thread::current().id();
    let upload = Upload::new(None);
    let mut pieces = (0..100_u8).map(|n| vec![n; 10_000]);
    let source = || {
        assert_eq!(std::thread::current().id(), thread);
        Ok::<_, String>(pieces.next().map(Into::into))
    };
    let sent = wait_writing(session.send(uploading("/echo", &upload)), &upload, LONG, source, || Err(String::new()));
    assert_eq!(read(&sent.unwrap().unwrap()).0.len(), 1_000_000);

    let upload = Upload::new(None);
    let source = || Err("the disk is gone");
    let sent = wait_writing(session.send(uploading("/echo", &upload)), &upload, LONG, source, || Ok(()));
    assert_eq!(sent.unwrap_err(), "the disk is gone");

    // The caller can stop it while the peer is silent.
    scene.blindbox.fail("/echo", Fault::Hang);
    let upload = Upload::new(None);
    let mut pieces = vec![bytes::Bytes::from_static(b"all of it")];
    let source = || Ok(pieces.pop());
    let step = Duration::from_millis(10);
    let sent = wait_writing(session.send(uploading("/echo", &upload)), &upload, step, source, || Err("a signal"));
    assert_eq!(sent.unwrap_err(), "a signal");
    let refused: Result<_, Error> = wait(upload.ready());
    assert!(!refused.unwrap());
}
