//! What a request can carry, and how its response is read.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use blindbox_attestation::emulator::{Fault, HttpVersions, OpenConnections};
use blindbox_attestation::{AttestationError, Body, BodyError, BodyJsonError, Session, StatusCode};
use http_body::Body as _;
use serde_json::{Value, json};

use crate::lab::{Lab, interrupted, interrupted_reason, long_enough, noticed, unreachable_reason};

#[tokio::test]
async fn forms_and_bearer_tokens_are_written_as_servers_read_them() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let form = session.post("/echo").form([("a b", "c&d"), ("\u{e9}", "")]).bearer_auth("one").bearer_auth("two");
    let answer = form.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(answer.text().await.unwrap(), "a+b=c%26d&%C3%A9=");
    let request = lab.blindbox.traffic().requests().pop().unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer two"));
    // One of each, the one that was said last; and what a body is of itself only where nothing else was said.
    let post = || session.post("/echo");
    for (request, content_type, authorization) in [
        (post().json(&1).form([("a", "b")]), Some("application/x-www-form-urlencoded"), None),
        (post().form([("a", "b")]).body("x"), None, None),
        (post().form([("a", "b")]).header("content-type", "text/plain"), Some("text/plain"), None),
        (post().header("content-type", "text/plain").json(&1), Some("text/plain"), None),
        (post().bearer_auth("t").header("authorization", "Basic x"), None, Some("Basic x")),
        (post().header("authorization", "Basic x").bearer_auth("t"), None, Some("Bearer t")),
    ] {
        request.send().await.unwrap();
        let sent = lab.blindbox.traffic().requests().pop().unwrap();
        let all = |name: &'static str| {
            sent.headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(all("content-type").collect::<Vec<_>>(), Vec::from_iter(content_type));
        assert_eq!(all("authorization").collect::<Vec<_>>(), Vec::from_iter(authorization));
    }
    let error = session.get("/").bearer_auth("one\r\nx: y").send().await.unwrap_err();
    assert_eq!(error, AttestationError::InvalidRequest { reason: "expected a token without line breaks" });
}

#[tokio::test]
async fn requests_have_the_verifiers_timeout_unless_they_have_their_own() {
    let lab = Lab::start().await;
    let late = |after| interrupted(AttestationError::Timeout { what: "the request", after });
    let with_timeout = async |after| {
        let verifier = lab.builder().request_timeout(after).build().unwrap();
        verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap()
    };
    let short = long_enough(async |after| {
        let error = with_timeout(after).await.get("/slow?ms=600000").send().await.unwrap_err();
        assert!(
            matches!(error.reason(), AttestationError::Timeout { after: reported, .. } if *reported == after),
            "{error:?}"
        );
        error == late(after)
    });
    let short = short.await;
    let (session, late) = (with_timeout(short).await, late(short));
    lab.blindbox.fail("/", Fault::Drip(Duration::from_millis(50)));
    // On a busy machine the time may be over before the response begins.
    let response = loop {
        match session.get("/").send().await {
            Ok(response) => break response,
            Err(error) => assert_eq!(error, late),
        }
    };
    let error = response.bytes().await.unwrap_err();
    assert_eq!(error, late);
    let request = session.get("/").timeout(Duration::from_secs(60));
    assert_eq!(request.send().await.unwrap().bytes().await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn an_answer_is_read_in_the_form_that_is_asked_for() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let echo = async |body: &str| session.post("/echo").body(body).send().await.unwrap();
    assert_eq!(echo("{\"a\": [1]}").await.json::<Value>().await.unwrap(), json!({ "a": [1] }));
    let error = echo("{\n  no").await.json::<Value>().await.unwrap_err();
    assert_eq!(error, BodyError::Json { reason: BodyJsonError::Syntax, line: 2, column: 3 });
    let reason = "expected a response in JSON of the requested form; found what is not JSON at line 2, column 3";
    assert_eq!(error.to_string(), reason);
    let error = echo("{\"a\":\n [1").await.json::<Value>().await.unwrap_err();
    assert_eq!(error, BodyError::Json { reason: BodyJsonError::Truncated, line: 2, column: 3 });
    let error = echo("[true]").await.json::<Vec<u8>>().await.unwrap_err();
    assert_eq!(error, BodyError::Json { reason: BodyJsonError::AnotherForm, line: 1, column: 5 });
    lab.blindbox.fail("/echo", Fault::Truncated);
    let url = lab.blindbox.url();
    let reason = format!("{url}: the connection was closed before the response was complete");
    let error = echo("0123456789").await.json::<Value>().await.unwrap_err();
    let BodyError::Read(cut) = error else { panic!("{error:?}") };
    assert_eq!(unreachable_reason(interrupted_reason(&cut)), reason);
    let mut answer = echo("0123456789").await;
    while answer.chunk().await.is_ok() {}
    assert_eq!(answer.chunk().await, Err(cut));
    // As a stream, for whatever takes one.
    lab.blindbox.recover();
    let answer: http::Response<Body> = echo("whole").await.into();
    assert_eq!((answer.status(), answer.body().size_hint().exact()), (StatusCode::OK, Some(5)));
    let mut body = answer.into_body();
    let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
    assert_eq!((frame.into_data().unwrap(), body.is_end_stream()), ("whole".into(), true));
}

async fn echo(session: &Session) -> Result<String, AttestationError> {
    session.post("/echo").body("once").send().await?.text().await
}

/// RFC 9113 sections 6.8 and 8.7.
#[tokio::test]
async fn what_certainly_was_not_processed_is_sent_again_and_what_may_have_been_is_not() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http2)).await;
    let session = lab.connect().await.unwrap();
    let arrived = || lab.blindbox.traffic().count("/echo");
    for fault in [Fault::GoAway, Fault::RefuseStream] {
        let before = arrived();
        lab.blindbox.fail_times("/echo", 1, fault.clone());
        assert_eq!(echo(&session).await.as_deref(), Ok("once"), "{fault:?}");
        assert_eq!(arrived() - before, 2, "{fault:?}");
    }
    // Not without end, and then it is said.
    let before = arrived();
    lab.blindbox.fail("/echo", Fault::RefuseStream);
    let reason = format!(
        "{}: the server refused the stream (REFUSED_STREAM) before it processed the request; \
         it was not processed by any connection, and may be sent again",
        lab.blindbox.url()
    );
    let error = echo(&session).await.unwrap_err();
    assert!(!error.request_sent(), "{error}");
    assert_eq!(error.to_string(), format!("no response from the application: {reason}"));
    assert_eq!(unreachable_reason(&error), reason);
    assert_eq!(arrived() - before, 8);
    lab.blindbox.recover();
    for (http, fault, text) in [
        (HttpVersions::Http2, Fault::ResetStream, "reset the stream"),
        (HttpVersions::Http2, Fault::CloseEarly, "the connection was closed early"),
        (HttpVersions::Http1, Fault::CloseEarly, "the connection was closed early"),
    ] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        lab.blindbox.fail_times("/echo", 1, fault.clone());
        let error = echo(&session).await.unwrap_err();
        let reason = unreachable_reason(interrupted_reason(&error));
        assert_eq!(error.to_string(), format!("no complete response from the application: {reason}"));
        let json = serde_json::to_value(&error).unwrap();
        assert_eq!((&json["code"], &json["request_sent"]), (&json!("application-unreachable"), &json!(true)));
        assert!(reason.ends_with("; the request may have arrived, and is not sent again"), "{reason}");
        assert!(reason.contains(text), "{reason}");
        assert_eq!(lab.blindbox.traffic().count("/echo"), 1, "{http:?} {fault:?}");
        assert_eq!(echo(&session).await.as_deref(), Ok("once"));
    }
}

/// The same deadline, before and after the first byte of the request.
#[tokio::test]
async fn a_timeout_states_whether_the_request_was_sent() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let slow = async |after| session.get("/slow?ms=600000").timeout(after).send().await.unwrap_err();
    let after = long_enough(async |after| {
        let error = slow(after).await;
        assert_eq!((error.code(), error.is_retryable()), ("timeout", true));
        error == interrupted(AttestationError::Timeout { what: "the request", after })
    });
    let after = after.await;
    let text =
        interrupted(AttestationError::Timeout { what: "the request", after: Duration::from_millis(300) }).to_string();
    assert_eq!(text, "the request took longer than 300 ms; the request was under way and may have been processed");
    // Another key, whose attestation does not come to an end: nothing was sent to it.
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    noticed().await;
    lab.blindbox.fail("/attest/", Fault::Hang);
    let before = lab.blindbox.traffic().application_requests();
    let error = slow(after).await;
    assert_eq!((error.request_sent(), lab.blindbox.traffic().application_requests()), (false, before));
    assert_eq!(error.code(), "timeout");
    assert_eq!(serde_json::to_value(&error).unwrap()["request_sent"], false);
}

#[tokio::test]
async fn a_response_that_cannot_be_read_is_not_worth_another_try() {
    for (http, fault, text) in [
        (HttpVersions::Http1, Fault::Headers(101), "more than 100"),
        (HttpVersions::Http2, Fault::Headers(600), "larger than 16 KiB"),
        (HttpVersions::Http1, Fault::BadStatusLine, "status line"),
    ] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        lab.blindbox.fail_times("/echo", 1, fault.clone());
        let error = echo(&session).await.unwrap_err();
        let AttestationError::InvalidResponse { reason, .. } = &error else { panic!("{fault:?}: {error:?}") };
        assert!(reason.contains(text), "{fault:?}: {reason}");
        assert!(!error.is_retryable());
        assert_eq!(lab.blindbox.traffic().count("/echo"), 1);
        assert_eq!(echo(&session).await.as_deref(), Ok("once"));
    }
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_made() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let request = session.post("/echo?a=b").query("c", "d e").header("x-one", "1").header("x-one", "2").body("bytes");
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "bytes"));
    let sent = lab.blindbox.traffic().requests().pop().unwrap();
    assert_eq!((sent.method.as_str(), sent.path.as_str(), sent.body.as_slice()), ("POST", "/echo", &b"bytes"[..]));
    let mut headers: Vec<_> = sent.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    headers.sort();
    // Nothing that could identify the caller, and nothing that the caller did not ask for.
    assert_eq!(headers, ["accept: */*", "content-length: 5", "x-one: 1", "x-one: 2"]);

    for (request, answer) in [
        (session.get("/"), "hello from a BlindBox"),
        (session.put("/echo").body("put"), "put"),
        (session.patch("/echo").json("patch"), "\"patch\""),
        (session.delete("/echo"), "DELETE"),
        (session.options("/echo"), "OPTIONS"),
        (session.request(http::Method::DELETE, "/echo"), "DELETE"),
    ] {
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), answer);
    }
    let response = session.head("/").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-length"], "21");
    assert_eq!(response.bytes().await.unwrap(), "");
}

#[tokio::test]
async fn a_base_path_is_kept() {
    let lab = Lab::start().await;
    let url = format!("{}/some/base/", lab.blindbox.url());
    let session = lab.verifier().connect(url, &lab.policy()).await.unwrap();
    assert_eq!(session.get("/x").send().await.unwrap().status().as_u16(), 404);
    assert_eq!(lab.blindbox.traffic().count("/some/base/x"), 1);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
}

#[tokio::test]
async fn redirects_and_encodings_are_given_back_as_they_are() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let answer = session.get("/redirect?to=https://evil.example/").send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
        (302, "https://evil.example/")
    );
    assert_eq!(lab.blindbox.traffic().application_requests(), 1);
    lab.blindbox.fail("/", Fault::Gzip);
    let answer = session.get("/").send().await.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert!(answer.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
}
