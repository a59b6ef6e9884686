//! Sessions as tower services, as clients of other protocols use them.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use blindbox_attestation::emulator::{Application, HttpVersions, IncomingBody, Knob, OpenConnections};
use blindbox_attestation::{AttestationError, Body, Session};
use bytes::Bytes;
use http_body::{Body as _, Frame};
use tower_service::Service;

use crate::lab::{Lab, noticed};

/// A unary method of gRPC: length-prefixed messages, and the status in trailers.
#[derive(Clone)]
pub(crate) struct Grpc;

impl Service<http::Request<IncomingBody>> for Grpc {
    type Response = http::Response<Message>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<IncomingBody>) -> Self::Future {
        let is_grpc = request.headers()["content-type"] == "application/grpc" && request.headers()["te"] == "trailers";
        let status = if is_grpc { "0" } else { "3" };
        let trailers = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
        let body = Message { data: Some(request.into_body()), trailers: Some(trailers) };
        ready(Ok(http::Response::builder().header("content-type", "application/grpc").body(body).unwrap()))
    }
}

/// The data of another body, then trailers.
pub(crate) struct Message {
    data: Option<IncomingBody>,
    trailers: Option<http::HeaderMap>,
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(data) = &mut self.data {
            match std::task::ready!(Pin::new(data).poll_frame(cx)) {
                Some(frame) => return Poll::Ready(Some(frame)),
                None => self.data = None,
            }
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

/// Bytes of known size.
struct Whole(Option<Bytes>);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// As a client does that knows of no session: any service will do.
async fn call<S>(service: &mut S, request: http::Request<Whole>) -> Result<http::Response<Body>, AttestationError>
where
    S: Service<http::Request<Whole>, Response = http::Response<Body>, Error = AttestationError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

async fn read(mut body: Body) -> (Vec<u8>, Option<http::HeaderMap>) {
    let (mut data, mut trailers) = (Vec::new(), None);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.unwrap().into_data() {
            Ok(bytes) => data.extend_from_slice(&bytes),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    (data, trailers)
}

#[tokio::test]
async fn a_call_of_grpc_goes_over_a_session() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http2).application(Application::service(Grpc))).await;
    call_grpc(&lab, lab.connect().await.unwrap()).await;
    call_grpc(&lab, lab.verifier().managed_session(lab.blindbox.url(), &lab.policy()).unwrap()).await;
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2);
}

async fn call_grpc<S>(lab: &Lab, mut session: S)
where
    S: Service<http::Request<Whole>, Response = http::Response<Body>, Error = AttestationError>,
{
    for uri in ["/package.Service/Method".to_owned(), format!("{}/package.Service/Method", lab.blindbox.url())] {
        let message = Bytes::from_static(b"\0\0\0\0\x02hi");
        let request = http::Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
        let response = call(&mut session, request.body(Whole(Some(message.clone()))).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        let (data, trailers) = read(response.into_body()).await;
        assert_eq!((data, trailers.unwrap()["grpc-status"].as_bytes()), (message.to_vec(), &b"0"[..]));
        assert_eq!(lab.blindbox.traffic().requests().pop().unwrap().path, "/package.Service/Method");
    }
}

async fn send(session: &mut Session, request: http::request::Builder) -> Result<Vec<u8>, AttestationError> {
    let request = request.body(Whole(Some(Bytes::from_static(b"body")))).unwrap();
    Ok(read(call(session, request).await?.into_body()).await.0)
}

#[tokio::test]
async fn a_request_stays_within_the_origin_and_its_frame() {
    let lab = Lab::start().await;
    let url = lab.blindbox.url();
    let mut session = lab.verifier().connect(format!("{url}/base"), &lab.policy()).await.unwrap();
    let authority = url.strip_prefix("https://").unwrap();
    let post = |uri: &str| http::Request::post(uri);
    // Below the base path, whichever form the URI has.
    for uri in ["/echo?x=1".to_owned(), format!("{url}/base/echo?x=1")] {
        let request = post(&uri).header("host", authority).header("content-length", "4");
        send(&mut session, request).await.unwrap();
        let sent = lab.blindbox.traffic().requests().pop().unwrap();
        assert_eq!((sent.path.as_str(), sent.header("content-length")), ("/base/echo", Some("4")));
    }
    let before = lab.blindbox.traffic().application_requests();
    for (request, reason) in [
        (post("https://evil.example/base/echo"), "expected a URL within the session's origin and base path"),
        (post(&format!("{url}/echo")), "expected a URL within the session's origin and base path"),
        (post(&format!("{url}/basement")), "expected a URL within the session's origin and base path"),
        (post(&format!("http://{authority}/base/echo")), "expected a URL within the session's origin and base path"),
        (post("/../echo"), "expected a target without the segments . and .."),
        (post("/echo").header("host", "evil.example"), "expected no Host header, or that of the session's origin"),
        (post("/echo").header("content-length", "3"), "expected no Content-Length header, or the size of the body"),
        (post("/echo").header("content-length", "+4"), "expected no Content-Length header, or the size of the body"),
        (
            post("/echo").header("transfer-encoding", "chunked"),
            "expected no header that belongs to the connection, such as Host or Content-Length",
        ),
        (
            post("/echo").header("te", "gzip"),
            "expected no header that belongs to the connection, such as Host or Content-Length",
        ),
        (http::Request::trace("/echo"), "expected a method other than CONNECT and TRACE"),
    ] {
        let error = send(&mut session, request).await.unwrap_err();
        assert_eq!(error, AttestationError::InvalidRequest { reason });
    }
    assert_eq!(lab.blindbox.traffic().application_requests(), before);
}

#[tokio::test]
async fn a_wrong_peer_gets_nothing_through_a_service_either() {
    let lab = Lab::start().await;
    let mut session = lab.connect().await.unwrap();
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    lab.blindbox.set(Knob::Debug);
    noticed().await;
    let error = send(&mut session, http::Request::post("/echo")).await.unwrap_err();
    assert_eq!((error.code(), error.request_sent()), ("debug-mode", false));
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}
