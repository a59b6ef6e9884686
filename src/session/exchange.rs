//! One exchange on one connection: the request is built for its peer, sent, and ends with the attestation of the peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRAILER, UPGRADE};
use http::{Method, StatusCode};
use hyper::body::Incoming;
use url::Url;

use super::Response;
use super::checkout::{Checkout, Exchange};
use super::peer::Peer;
use super::request_body::{GuardedBody, Progress, RequestBody};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::transport::{Io, OutgoingBody, TransportError, TransportErrorKind, upgraded};

/// What a request is made of, wherever it is sent.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    /// Headers of the session, which give way to those of the request.
    pub(super) default_headers: Arc<HeaderMap>,
    pub(super) body: Option<RequestBody>,
    /// The content type of the body, unless a header sets another.
    pub(super) content_type: Option<HeaderValue>,
    pub(super) trailers: Option<HeaderMap>,
    /// The protocol to switch to.
    pub(super) upgrade: Option<HeaderValue>,
    pub(super) timeout: Option<Duration>,
}

/// What became of a request on one connection.
pub(super) enum Outcome {
    Response(Response),
    /// The peer has switched to the requested protocol.
    Upgraded(Box<http::Response<Incoming>>, Box<dyn Io>, Checkout),
    /// The request certainly was not processed.
    NotProcessed(TransportError),
}

/// Sends a request over a connection. It is cancelled when the peer is refused or its attestation ends.
///
/// `sent` is set while bytes of the request may have reached the peer: the caller's deadline can end this at any point.
pub(super) async fn exchange(
    mut checkout: Checkout,
    parts: &Parts,
    url: &Url,
    deadline: &Deadline,
    sent: &AtomicBool,
) -> Result<Outcome, AttestationError> {
    let peer = Arc::clone(checkout.peer());
    peer.check()?;
    let (request, progress) = parts.for_peer(&peer, url)?;
    let closed = || {
        let reason = "the connection was closed before the request was sent";
        Outcome::NotProcessed(TransportError::new(TransportErrorKind::NotProcessed, reason))
    };
    let Some(connection) = checkout.begin() else { return Ok(closed()) };
    let exchange = async {
        if !connection.ready().await {
            return None;
        }
        sent.store(true, Ordering::Relaxed);
        Some(connection.send(request).await)
    };
    let outcome = tokio::select! {
        biased;
        error = peer.until_revoked_or_expired(Duration::ZERO) => {
            return Err(if sent.load(Ordering::Relaxed) { error.after_request_was_sent() } else { error });
        }
        outcome = exchange => outcome,
    };
    let mut response = match outcome {
        None => return Ok(closed()),
        Some(Ok(response)) => response,
        Some(Err(failure)) if failure.kind == TransportErrorKind::NotProcessed => {
            sent.store(false, Ordering::Relaxed);
            peer.check()?;
            if progress.has_begun() && matches!(parts.body, Some(RequestBody::Stream(_))) {
                let more = "; it was not processed, and has a body that can be read only once";
                return Err(failure.and(more).of_application(url));
            }
            return Ok(Outcome::NotProcessed(failure));
        }
        // A revocation closes the sockets, which the transport reports as an error of its own: the revocation is the reason.
        Some(Err(failure)) => {
            let of_body = || progress.failure().map(|reason| AttestationError::RequestBodyFailed { reason });
            let error = peer.check().err().or_else(of_body).unwrap_or_else(|| failed(failure, url, deadline));
            return Err(error.after_request_was_sent());
        }
    };
    if response.status().is_informational() {
        check_switch(&response, parts.upgrade.as_ref())?;
        let io = tokio::select! {
            biased;
            error = peer.until_revoked_or_expired(Duration::ZERO) => return Err(error.after_request_was_sent()),
            io = upgraded(&mut response) => io,
        };
        let io = io.map_err(|failure| failed(failure, url, deadline).after_request_was_sent())?;
        return Ok(Outcome::Upgraded(Box::new(response), io, checkout));
    }
    checkout.advance(Exchange::Responding(progress));
    Ok(Outcome::Response(Response::new(response, checkout, url, parts.timeout.map(|_| *deadline))))
}

/// Returns an error unless the peer switches to the requested protocol (RFC 9110 section 7.8).
fn check_switch(response: &http::Response<Incoming>, requested: Option<&HeaderValue>) -> Result<(), AttestationError> {
    let chosen = response.headers().get(UPGRADE).map(HeaderValue::as_bytes);
    let reason = match requested.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        Some(requested) if chosen.is_some_and(|chosen| chosen.eq_ignore_ascii_case(requested.as_bytes())) => {
            return Ok(());
        }
        Some(_) => "it switches to another protocol than the requested one",
        None => "it switches to another protocol, which was not requested",
    };
    Err(AttestationError::InvalidResponse { reason: reason.to_owned(), source: None })
}

/// The error of a request that may have arrived.
fn failed(failure: TransportError, url: &Url, deadline: &Deadline) -> AttestationError {
    match failure.kind {
        TransportErrorKind::Timeout => deadline.timeout_error("the request"),
        TransportErrorKind::Unreadable => failure.of_application(url),
        _ => {
            let failure = TransportError { kind: TransportErrorKind::Broken, ..failure };
            failure.and("; the request may have arrived, and is not sent again").of_application(url)
        }
    }
}

impl Parts {
    fn for_peer(
        &self,
        peer: &Arc<Peer>,
        url: &Url,
    ) -> Result<(http::Request<OutgoingBody>, Progress), AttestationError> {
        if matches!(&self.body, Some(RequestBody::Stream(body)) if body.is_taken()) {
            let reason = "expected a body that was not sent before: a stream can be read only once";
            return Err(AttestationError::InvalidRequest { reason });
        }
        let is_empty = matches!(&self.body, Some(RequestBody::Bytes(bytes)) if bytes.is_empty());
        let (body, progress) = match &self.body {
            Some(body) if !is_empty || self.trailers.is_some() => {
                let (body, progress) = GuardedBody::new(body.clone(), self.trailers.clone(), peer);
                (OutgoingBody::new(body), progress)
            }
            _ => (OutgoingBody::empty(), Progress::over()),
        };
        let unusable = |_| AttestationError::InvalidRequest { reason: "expected a target that HTTP can carry" };
        let mut request =
            http::Request::builder().method(self.method.clone()).uri(url.as_str()).body(body).map_err(unusable)?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        if let Some(content_type) = &self.content_type {
            headers.entry(CONTENT_TYPE).or_insert_with(|| content_type.clone());
        }
        for name in self.default_headers.keys() {
            if headers.contains_key(name) {
                continue;
            }
            for value in self.default_headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if let Some(protocol) = &self.upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol.clone());
        }
        // HTTP/1.1 sends only trailers that were announced (RFC 9110 section 6.6.2).
        for name in self.trailers.iter().flat_map(HeaderMap::keys) {
            headers.append(TRAILER, name.clone().into());
        }
        // The HTTP library sends no Content-Length for an empty body, and some servers require it (RFC 9110 section 8.6).
        if is_empty && self.trailers.is_none() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok((request, progress))
    }
}
