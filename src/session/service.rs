//! Sessions as services of [tower]: for clients that are generic over how their requests are sent, such as those of gRPC.
//!
//! [tower]: https://docs.rs/tower-service

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, TRAILER};
use tower_service::Service;

use super::{ManagedSession, Session};
use crate::base_url::BaseUrl;
use crate::error::{AttestationError, BoxError};
use crate::http::{Body, Request, RequestBody};

/// Sends requests as [`Request::send`] does, with the same checks and errors. The service is always ready, and applies the
/// verifier's request timeout.
///
/// The URI is a path and query below the session's base path, or an absolute URL within the session's origin and base path.
/// `Host` and `Content-Length` have to agree with the URL and the body; other headers that belong to the connection are refused.
/// Bodies and their trailers are streamed in both directions (over HTTP/1.1, trailers have to be announced in `Trailer`).
impl<B> Service<http::Request<B>> for Session
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = AttestationError;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttestationError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let base = &self.inner.challenger.base;
        send(read_http(base, request, |method, target| self.request(method, target)))
    }
}

/// As the service of a [`Session`].
impl<B> Service<http::Request<B>> for ManagedSession
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = AttestationError;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttestationError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        send(read_http(self.base(), request, |method, target| self.request(method, target)))
    }
}

type Responding = Pin<Box<dyn Future<Output = Result<http::Response<Body>, AttestationError>> + Send>>;

fn send(request: Result<Request, AttestationError>) -> Responding {
    Box::pin(async move { Ok(request?.send().await?.into()) })
}

/// Reads a request of another library, down to plain parts.
fn read_http<B>(
    base: &BaseUrl,
    request: http::Request<B>,
    new: impl FnOnce(Method, String) -> Request,
) -> Result<Request, AttestationError>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let target = base.target(&head.uri)?;
    let mut headers = head.headers;
    check_host(base, &headers)?;
    check_length(&headers, body.size_hint().exact())?;
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    // Announces trailers, and nothing else: those of the body itself.
    let announced: Vec<_> = headers.get_all(TRAILER).iter().cloned().collect();
    headers.remove(TRAILER);
    let mut request = new(head.method.clone(), target).headers(headers);
    for names in announced {
        request.parts.headers.append(TRAILER, names);
    }
    if !body.is_end_stream() {
        return Ok(request.http_body(body));
    }
    if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) {
        request.parts.body = Some(RequestBody::Bytes(Bytes::new()));
    }
    Ok(request)
}

fn check_host(base: &BaseUrl, headers: &HeaderMap) -> Result<(), AttestationError> {
    let authority = base.authority();
    let is_it = |host: &http::HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
    if headers.get_all(HOST).iter().all(is_it) {
        return Ok(());
    }
    Err(AttestationError::InvalidRequest { reason: "expected no Host header, or that of the session's origin" })
}

/// The HTTP library frames the body by its size: a header that says otherwise could hide a second request.
fn check_length(headers: &HeaderMap, size: Option<u64>) -> Result<(), AttestationError> {
    let is_it = |value: &http::HeaderValue| {
        let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        text.and_then(|text| text.parse().ok()) == size && size.is_some()
    };
    if headers.get_all(CONTENT_LENGTH).iter().all(is_it) {
        return Ok(());
    }
    Err(AttestationError::InvalidRequest { reason: "expected no Content-Length header, or the size of the body" })
}
