//! Requests and responses of every shape, which a front end passes on and does not read.

use bytes::Bytes;
use http_body::Frame;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use blindbox_attestation::emulator::{Application, HttpVersions, IncomingBody};
use blindbox_attestation::{AttestationError, Channel, ChannelNotAllowed};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use super::Behind;
use crate::lab::hello;

#[tokio::test]
async fn a_front_end_sees_sealed_messages_only() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    assert_eq!(session.channel(), Channel::BoundMessage);
    let request = session.post("/generate").query("secret", "in-the-query").header("x-secret", "in-a-header");
    let response = request.json(&serde_json::json!({ "prompt": "in-the-body" })).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.json::<serde_json::Value>().await.unwrap()["text"], "a response to: in-the-body");
    let record = behind.lab.blindbox.traffic().requests().into_iter().find(|seen| seen.path == "/generate").unwrap();
    assert_eq!(record.header("x-secret"), Some("in-a-header"));
    assert_eq!(record.header("blindbox-message"), None);
    for text in ["in-the-query", "in-a-header", "in-the-body", "/generate", "a response to"] {
        assert_eq!(behind.front_end.count_seen(text), 0, "{text}");
    }
    assert_ne!(behind.front_end.count_seen("/attest/message"), 0, "the search finds nothing");
    // The request for evidence names the form.
    let asked = behind.lab.blindbox.traffic().requests().remove(0).json().unwrap();
    let members: Vec<_> = asked.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["maa_endpoint", "nonce", "protocol"]);
    assert_eq!(asked["protocol"], "blindbox-bound-message/1");
}

#[tokio::test]
async fn a_megabyte_goes_both_ways_over_both_versions_of_http() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let lab = crate::lab::Lab::start().await;
        let front_end =
            blindbox_attestation::emulator::FrontEnd::builder().http(http).start([&lab.blindbox]).await.unwrap();
        let behind = Behind { lab, front_end };
        let session = behind.connect().await.unwrap();
        let body: Vec<u8> = (0..1_048_576_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        let response = session.post("/echo").body(body.clone()).send().await.unwrap();
        assert!(response.bytes().await.unwrap() == body);
        let stream = futures::stream::iter(
            body.chunks(70_000).map(Bytes::copy_from_slice).map(Ok::<_, Infallible>).collect::<Vec<_>>(),
        );
        let mut response = session.post("/echo").body_stream(stream).send().await.unwrap();
        let mut received = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            received.extend_from_slice(&chunk);
        }
        assert!(received == body);
        // Many at once, over whatever connections there are.
        let all: Vec<_> = (0..20)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { hello(&session).await.unwrap() })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), "hello from a BlindBox");
        }
        assert_eq!(behind.attestations(), 1);
    }
}

/// Responds with the status of the path, and with trailers.
#[derive(Clone)]
struct Statuses;

impl tower_service::Service<Request<IncomingBody>> for Statuses {
    type Response = Response<WithTrailers>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<IncomingBody>) -> Self::Future {
        let status: u16 = request.uri().path().trim_start_matches('/').parse().unwrap();
        let is_empty = matches!(status, 204 | 304) || request.method() == Method::HEAD;
        let body = WithTrailers(if is_empty { None } else { Some(Bytes::from_static(b"content")) }, !is_empty);
        ready(Ok(Response::builder().status(status).header("x-method", request.method().as_str()).body(body).unwrap()))
    }
}

struct WithTrailers(Option<Bytes>, bool);

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(content) = self.0.take() {
            return Poll::Ready(Some(Ok(Frame::data(content))));
        }
        let trailers = || HeaderMap::from_iter([("x-trailer".parse().unwrap(), HeaderValue::from_static("last"))]);
        Poll::Ready(std::mem::take(&mut self.1).then(|| Ok(Frame::trailers(trailers()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none() && !self.1
    }
}

#[tokio::test]
async fn responses_without_content_and_with_trailers() {
    let behind = Behind::with(|blindbox| blindbox.application(Application::service(Statuses))).await;
    let session = behind.connect().await.unwrap();
    for (method, status, content) in [
        (Method::GET, 200, "content"),
        (Method::HEAD, 200, ""),
        (Method::GET, 204, ""),
        (Method::GET, 304, ""),
        (Method::POST, 404, "content"),
        (Method::PUT, 500, "content"),
    ] {
        let mut response = session.request(method.clone(), format!("/{status}")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["x-method"], method.as_str());
        let mut received = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            received.extend_from_slice(&chunk);
        }
        assert_eq!(received, content.as_bytes(), "{method} {status}");
        let trailer = response.trailers().map(|trailers| trailers["x-trailer"].clone());
        assert_eq!(trailer.is_some(), !content.is_empty(), "{method} {status}");
    }
}

#[tokio::test]
async fn what_cannot_be_sealed_is_refused_before_anything_is_sent() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let refused = AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::StreamNotSealed };
    assert_eq!(session.stream().open().await.unwrap_err(), refused);
    assert_eq!(session.get("/").upgrade("websocket").send().await.unwrap_err(), refused);
    let error = session.get("/").header("blindbox-message", "x").send().await.unwrap_err();
    assert_eq!(error.code(), "invalid-request");
    let many: HeaderMap =
        (0..300).map(|at| (format!("x-{at}").parse().unwrap(), HeaderValue::from_static("v"))).collect();
    assert_eq!(session.get("/").headers(many).send().await.unwrap_err().code(), "invalid-request");
    assert_eq!(behind.front_end.traffic().count("/attest/message"), 0);
}

/// The source of a body fails: the instance never sees a complete request.
#[tokio::test]
async fn a_body_that_fails_is_an_incomplete_request() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let chunks = [Ok(Bytes::from_static(b"begun")), Err("no more")];
    let error = session.post("/echo").body_stream(futures::stream::iter(chunks)).send().await.unwrap_err();
    assert!(
        matches!(&error, AttestationError::RequestInterrupted { reason } if reason.code() == "request-body-failed"),
        "{error:?}"
    );
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

/// A trailer that no sealed message has: the error is about the caller's body, and says why.
#[tokio::test]
async fn a_trailer_that_cannot_be_sealed_is_an_error_of_the_body() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let trailers = HeaderMap::from_iter([("blindbox-message".parse().unwrap(), HeaderValue::from_static("refused"))]);
    let error = session.post("/echo").body("x").trailers(trailers).send().await.unwrap_err();
    let AttestationError::RequestInterrupted { reason } = &error else { panic!("{error:?}") };
    let expected = "it cannot be sealed: the field `blindbox-message` does not belong in a sealed message";
    assert_eq!(**reason, AttestationError::RequestBodyFailed { reason: expected.to_owned() });
}

/// A front end that leads to a service by a path: it is the path of the outer requests, and no part of those inside.
#[tokio::test]
async fn a_front_end_may_lead_to_the_service_by_a_path() {
    let lab = crate::lab::Lab::start().await;
    let builder = blindbox_attestation::emulator::FrontEnd::builder().path_prefix("/app/v1");
    let behind = Behind { front_end: builder.start([&lab.blindbox]).await.unwrap(), lab };
    assert!(behind.front_end.url().ends_with("/app/v1"));
    let session = behind.connect().await.unwrap();
    let response = session.post("/echo").query("a", "b").body("x").send().await.unwrap();
    assert_eq!(response.url(), format!("{}/echo?a=b", behind.front_end.url()));
    assert_eq!(response.text().await.unwrap(), "x");
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    let paths: Vec<_> = behind.front_end.traffic().requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/app/v1/attest/maa", "/app/v1/attest/message", "/app/v1/attest/message"]);
    assert_eq!((behind.processed("/echo"), behind.processed("/")), (1, 1));
}

/// The front end's own credential goes with requests for evidence and with messages, and not to the application.
#[tokio::test]
async fn a_header_for_the_front_end_reaches_the_front_end_alone() {
    let behind = Behind::start().await;
    let with = |name: &str| behind.lab.builder().front_end_header(name, "a-subscription").build();
    let verifier = with("ocp-apim-subscription-key").unwrap();
    let session = verifier.connect(behind.front_end.url(), &behind.policy()).await.unwrap();
    let response = session.get("/headers").header("x-inner", "1").send().await.unwrap();
    // Nor does anything else of the outer request, to which the front end added `x-forwarded-for`.
    let mut inner: Vec<(String, String)> = response.json().await.unwrap();
    inner.sort_unstable();
    let url = behind.front_end.url();
    let expected = [("accept", "*/*"), ("host", url.trim_start_matches("https://")), ("x-inner", "1")];
    assert_eq!(inner, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(behind.lab.blindbox.traffic().requests().iter().any(|request| request.header("x-forwarded-for").is_some()));
    let seen = behind.front_end.traffic().requests();
    let of = |path: &str| seen.iter().find(|request| request.path == path).unwrap().header("ocp-apim-subscription-key");
    assert_eq!((of("/attest/maa"), of("/attest/message")), (Some("a-subscription"), Some("a-subscription")));
    // Of what each request has already, nothing is replaced.
    let others = seen.iter().flat_map(|request| &request.headers).map(|(name, _)| name.as_str());
    let others: BTreeSet<_> = others.filter(|name| *name != "ocp-apim-subscription-key").collect();
    let own = ["accept", "blindbox-instance", "cache-control", "content-type", "cookie"];
    assert!(others.is_superset(&own.into()), "{others:?}");
    for name in others.into_iter().chain(["host"]) {
        assert_eq!(with(name).unwrap_err().code(), "misconfigured", "{name}");
    }
    // A session that is bound to a TLS key does not send it.
    let session = verifier.connect(behind.lab.blindbox.url(), &behind.lab.policy()).await.unwrap();
    let inner = session.get("/headers").send().await.unwrap().text().await.unwrap();
    assert!(!inner.contains("a-subscription"), "{inner}");
}

#[tokio::test]
async fn a_managed_session_follows_a_restart() {
    let behind = Behind::start().await;
    let managed = behind.lab.verifier().managed_session(behind.front_end.url(), &behind.policy()).unwrap();
    for attestations in 1..=2 {
        let response = managed.get("/").send().await.unwrap();
        assert_eq!(response.text().await.unwrap(), "hello from a BlindBox");
        assert_eq!(behind.attestations(), attestations);
        behind.lab.blindbox.restart().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_blocking_client_seals_too() {
    let behind = Behind::start().await;
    let (url, policy, verifier) = (behind.front_end.url(), behind.policy(), behind.lab.builder());
    let text = tokio::task::spawn_blocking(move || {
        let session = verifier.build_blocking().unwrap().connect(&url, &policy).unwrap();
        session.post("/echo").body("the secret").send().unwrap().text().unwrap()
    });
    assert_eq!(text.await.unwrap(), "the secret");
    assert_eq!(behind.front_end.count_seen("the secret"), 0);
}
