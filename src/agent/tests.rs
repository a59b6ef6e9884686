//! Sealed requests as bodies of HTTP, opened and responded to; the other end is the client's, without I/O.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame};

use super::*;
use crate::message::binary_http::{Control, Field, Head, Part};
use crate::message::exchange::client::{Recipient, ResponseError, ResponseReader};
use crate::message::exchange::keys::Offer;
use crate::message::exchange::replay::SessionId;
use crate::message::exchange::stream::Ending;
use crate::message::key_config::KeyConfig;
use crate::types::Nonce;

const START: Duration = Duration::ZERO;

/// A body in pieces, which may end with an error.
struct Pieces(VecDeque<Result<Frame<Bytes>, io::Error>>);

impl Pieces {
    fn of(bytes: &[u8], size: usize) -> Self {
        Self(bytes.chunks(size).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.pop_front())
    }
}

fn attested(keys: &MessageKeys) -> Recipient {
    let offer = keys.offer(&Nonce::new([7; 32]), START).unwrap();
    let config = KeyConfig::from_bytes(&offer.key_config).unwrap();
    Recipient::new(Offer { config, session: SessionId::from_hex(&offer.session).unwrap() })
}

fn keys() -> MessageKeys {
    MessageKeys::new(MessageKem::X25519, KeySchedule::default())
}

fn head(method: &str, path: &str) -> Head {
    let [method, path, scheme] = [method, path, "https"].map(str::to_owned);
    let field = Field { name: "x-field".to_owned(), value: b"value".to_vec() };
    Head {
        control: Control::Request { method, scheme, authority: "app.example".to_owned(), path },
        fields: vec![field],
    }
}

fn sealed(recipient: &Recipient, head: Head, content: &[u8]) -> (Vec<u8>, ResponseReader) {
    let (mut writer, mut sealed, reader) = recipient.seal(head).unwrap();
    sealed.extend(writer.content(content).unwrap());
    let trailer = Field { name: "x-trailer".to_owned(), value: b"t".to_vec() };
    sealed.extend(writer.finish(&[trailer]).unwrap());
    (sealed, reader)
}

async fn opened(keys: &MessageKeys, sealed: &[u8], size: usize) -> Box<SealedExchange<Pieces>> {
    match open(keys, Pieces::of(sealed, size), START).await.unwrap() {
        Opened::Admitted(exchange) => exchange,
        Opened::Answered(_) => panic!("not admitted"),
    }
}

async fn frames<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Result<(Vec<u8>, Option<HeaderMap>), B::Error> {
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((data, trailers))
}

/// The response of the application: its status and content, and its trailers.
fn received(mut reader: ResponseReader, sealed: &[u8]) -> Result<(Head, Vec<u8>, Vec<Field>), ResponseError> {
    let (mut head, mut content) = (None, Vec::new());
    let mut take = |part| match part {
        Part::Head(found) => head = Some(found),
        Part::Content(bytes) => content.extend(bytes),
    };
    reader.push(sealed);
    while let Some(part) = reader.next()? {
        take(part);
    }
    let Ending { parts, trailers } = reader.finish()?;
    parts.into_iter().for_each(&mut take);
    Ok((head.unwrap(), content, trailers))
}

#[tokio::test]
async fn a_request_is_given_out_as_the_client_wrote_it_and_its_response_sealed() {
    for size in [1, 100, usize::MAX] {
        let keys = keys();
        let (request, reader) = sealed(&attested(&keys), head("POST", "/echo?q=1"), &[b'x'; 40_000]);
        let (request, responder) = opened(&keys, &request, size).await.accept();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "/echo?q=1");
        let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("host", b"app.example".as_slice()), ("x-field", b"value")]);
        let (content, trailers) = frames(request.into_body()).await.unwrap();
        assert_eq!((content.len(), trailers.unwrap()["x-trailer"].as_bytes()), (40_000, b"t".as_slice()));

        let mut of_response = HeaderMap::new();
        of_response.insert("x-trailer", "r".parse().unwrap());
        of_response.insert("content-length", "3".parse().unwrap());
        let body = Pieces(VecDeque::from([
            Ok(Frame::data(Bytes::from_static(b"first "))),
            Ok(Frame::data(Bytes::new())),
            Ok(Frame::data(Bytes::from_static(b"second"))),
            Ok(Frame::trailers(of_response)),
        ]));
        let response = Response::builder().status(201).header("x-mine", "1").header("connection", "close");
        let outer = responder.seal(response.header("blindbox-message", "declined").body(body).unwrap()).unwrap();
        assert_eq!(outer.status(), StatusCode::OK);
        assert_eq!(outer.headers()["content-type"], "message/ohttp-chunked-res");
        assert_eq!(outer.headers().len(), 2, "{:?}", outer.headers());
        let (bytes, _) = frames(outer.into_body()).await.unwrap();
        let (head, content, trailers) = received(reader, &bytes).unwrap();
        assert_eq!((head.control, content), (Control::Response { status: 201 }, b"first second".to_vec()));
        assert_eq!(head.fields, [Field { name: "x-mine".to_owned(), value: b"1".to_vec() }]);
        assert_eq!(trailers, [Field { name: "x-trailer".to_owned(), value: b"r".to_vec() }]);
    }
}

#[tokio::test]
async fn a_response_that_has_no_content_is_sealed_without_any() {
    for (method, status, expected) in
        [("GET", 200, b"content".as_slice()), ("HEAD", 200, b""), ("GET", 204, b""), ("GET", 304, b"")]
    {
        let keys = keys();
        let (request, reader) = sealed(&attested(&keys), head(method, "/"), b"");
        let (_, responder) = opened(&keys, &request, usize::MAX).await.accept();
        let response =
            Response::builder().status(status).header("x-mine", "1").body(Pieces::of(b"content", 3)).unwrap();
        let (bytes, _) = frames(responder.seal(response).unwrap().into_body()).await.unwrap();
        let (head, content, _) = received(reader, &bytes).unwrap();
        assert_eq!((head.control, content.as_slice()), (Control::Response { status }, expected), "{method}");
        assert_eq!(head.fields.len(), 1, "{method} {status}");
    }
}

#[tokio::test]
async fn a_get_without_content_is_known_to_have_none() {
    let keys = keys();
    let recipient = attested(&keys);
    let (writer, mut request, _) = recipient.seal(head("GET", "/")).unwrap();
    request.extend(writer.finish(&[]).unwrap());
    assert!(opened(&keys, &request, 50).await.request().body().is_end_stream());
    let (request, _) = sealed(&recipient, head("GET", "/"), b"content");
    let (request, _) = opened(&keys, &request, 50).await.accept();
    assert!(!request.body().is_end_stream());
    assert_eq!(frames(request.into_body()).await.unwrap().0, b"content");
}

#[tokio::test]
async fn a_request_that_is_cut_or_changed_has_no_end() {
    let keys = keys();
    let recipient = attested(&keys);
    let expected = "the content of the sealed request cannot be read to its end: ";
    let (whole, _) = sealed(&recipient, head("POST", "/"), b"content");
    let (request, _) = opened(&keys, &whole[..whole.len() - 1], 50).await.accept();
    let error = frames(request.into_body()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{expected}a chunk does not decrypt"));

    let (whole, _) = sealed(&recipient, head("POST", "/"), b"content");
    let mut pieces = Pieces::of(&whole[..whole.len() - 40], 50);
    pieces.0.push_back(Err(io::ErrorKind::ConnectionReset.into()));
    let Ok(Opened::Admitted(exchange)) = open(&keys, pieces, START).await else { panic!("not admitted") };
    let (mut request, _) = exchange.accept();
    let error = frames(request.body_mut()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{expected}the connection that it comes on failed: connection reset"));
    let error = frames(request.body_mut()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{expected}it has failed before"));

    // Of a method without content, it is not given out at all.
    let (whole, _) = sealed(&recipient, head("GET", "/"), b"");
    let cut = open(&keys, Pieces::of(&whole[..whole.len() - 1], 50), START).await;
    assert!(matches!(cut, Err(OpenError::NotOpened)));
}

#[tokio::test]
async fn what_is_not_sealed_to_these_keys_has_one_response() {
    let keys = keys();
    let (request, _) = sealed(&attested(&keys), head("GET", "/"), b"");
    let other = MessageKeys::new(MessageKem::X25519, KeySchedule::default());
    let mut changed = request.clone();
    changed[60] ^= 1;
    let times = KeySchedule::default();
    for (keys, bytes, now) in [
        (&other, request.as_slice(), START),
        (&keys, &changed, START),
        (&keys, &request[..30], START),
        (&keys, b"hello", START),
        (&keys, b"", START),
        (&keys, &request, times.lifetime + times.kept),
    ] {
        let refused = open(keys, Pieces::of(bytes, 50), now).await;
        assert!(matches!(refused, Err(OpenError::NotOpened)));
    }
    let response = not_opened();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#ohttp-key");

    let reset = Pieces(VecDeque::from([Err(io::ErrorKind::ConnectionReset.into())]));
    assert!(
        matches!(open(&keys, reset, START).await, Err(OpenError::Body(error)) if error.kind() == io::ErrorKind::ConnectionReset)
    );
}

#[tokio::test]
async fn a_request_is_admitted_once_or_declined() {
    let keys = keys();
    let recipient = attested(&keys);
    let (request, reader) = sealed(&recipient, head("POST", "/"), b"");
    let declined = opened(&keys, &request, 50).await.decline().unwrap();
    assert_eq!(received(reader, &declined), Err(ResponseError::Declined));
    let again = open(&keys, Pieces::of(&request, 50), START).await;
    assert!(matches!(again, Ok(Opened::Answered(_))), "declined, and processed later");

    let (request, reader) = sealed(&recipient, head("POST", "/"), b"");
    opened(&keys, &request, 50).await;
    let Ok(Opened::Answered(response)) = open(&keys, Pieces::of(&request, 50), START).await else { panic!("twice") };
    assert_eq!(received(reader, &response), Err(ResponseError::Refused));
}

#[tokio::test]
async fn a_request_that_http_does_not_have_is_answered_and_not_given_out() {
    let keys = keys();
    // Binary HTTP has more characters in a path than the type of URIs takes.
    let (request, reader) = sealed(&attested(&keys), head("GET", "/<>"), b"");
    let Ok(Opened::Answered(response)) = open(&keys, Pieces::of(&request, 50), START).await else {
        panic!("given out")
    };
    let (head, content, _) = received(reader, &response).unwrap();
    assert_eq!((head.control, content.len()), (Control::Response { status: 400 }, 0));
}

#[tokio::test]
async fn a_response_that_fails_has_no_final_chunk() {
    let keys = keys();
    let (request, mut reader) = sealed(&attested(&keys), head("GET", "/"), b"");
    let (_, responder) = opened(&keys, &request, 50).await.accept();
    let body = Pieces(VecDeque::from([
        Ok(Frame::data(Bytes::from_static(b"first"))),
        Err(io::ErrorKind::ConnectionReset.into()),
    ]));
    let mut body = responder.seal(Response::new(body)).unwrap().into_body();
    let mut bytes = Vec::new();
    let error = loop {
        match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap() {
            Ok(frame) => bytes.extend(frame.into_data().unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "the response of the application is cut: connection reset");
    assert!(body.is_end_stream());
    reader.push(&bytes);
    while reader.next().unwrap().is_some() {}
    let error = reader.finish().unwrap_err().to_string();
    assert!(error.ends_with("the message ends before its final chunk"), "{error}");
}

#[tokio::test]
async fn a_head_that_cannot_be_sealed_becomes_a_sealed_502() {
    let keys = keys();
    let (request, reader) = sealed(&attested(&keys), head("GET", "/"), b"");
    let (_, responder) = opened(&keys, &request, 50).await.accept();
    let mut response = Response::new(Pieces::of(b"content", 7));
    for number in 0..300 {
        response.headers_mut().append("x-many", number.into());
    }
    let (bytes, _) = frames(responder.seal(response).unwrap().into_body()).await.unwrap();
    let (head, content, _) = received(reader, &bytes).unwrap();
    assert_eq!((head.control, content.len()), (Control::Response { status: 502 }, 0));
}

#[test]
fn the_path_is_that_of_the_client() {
    assert_eq!(MESSAGE_PATH, format!("/{}", outer::PATH));
}

/// A body that never fails can be sealed as well.
#[test]
fn any_error_of_a_body_will_do() {
    fn is_body<B: Body>() {}
    is_body::<SealedBody<NeverFails>>();
    struct NeverFails;
    impl Body for NeverFails {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(None)
        }
    }
}
