//! One request of a session: plain parts, checked as they come, and sent by the session alone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use url::Url;

use super::peer::{Checkout, Exchange, Peer};
use super::request_body::{GuardedBody, Progress};
use super::{Response, Session};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::transport::{OutgoingBody, TransportError, TransportErrorKind};

/// Headers that say where a message goes, how it is framed or what becomes of the connection: who could set them could send
/// the request to another host behind the peer, or a second request inside of it.
const RESERVED: &[&str] = &[
    "alt-used",
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The most headers of a request: a map of headers that is full panics. Servers take some hundred.
const MAX_HEADERS: usize = 1_000;

/// A request to the attested peer, from [`Session::get`] and its siblings.
///
/// It owns plain parts and no connection. What is wrong with it is said by [`Request::send`].
///
/// No HTTP client can be had from it, so that nothing goes around the checks:
///
/// ```compile_fail,E0599
/// # async fn f(session: blindbox_attestation::Session) {
/// session.get("/").client();
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    session: Session,
    parts: Parts,
    invalid: Option<AttestationError>,
}

#[derive(Clone)]
pub(super) struct Parts {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    /// Of the body, unless a header says another.
    pub(super) content_type: Option<&'static str>,
    pub(super) timeout: Option<Duration>,
}

impl Request {
    pub(super) fn new(session: Session, method: Method, target: &str) -> Self {
        let mut invalid = None;
        if matches!(method, Method::CONNECT | Method::TRACE) {
            invalid =
                Some(AttestationError::InvalidRequest { reason: "expected a method other than CONNECT and TRACE" });
        }
        let parts = Parts {
            method,
            target: target.to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            content_type: None,
            timeout: session.inner.attester.verifier.request_timeout,
        };
        Self { session, parts, invalid }
    }

    /// Adds a header; `Authorization` and `Content-Type` in place of what was said before.
    ///
    /// Those that belong to the connection or frame the message (`Host`, `Connection`, `Content-Length`, `Proxy-*`, ...) make
    /// the request invalid.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        match checked_header(name.as_ref(), value.as_ref()) {
            Ok(_) if self.parts.headers.len() >= MAX_HEADERS => self.refuse("expected at most 1000 headers"),
            // Of these a request has one.
            Ok((name @ (AUTHORIZATION | CONTENT_TYPE), value)) => drop(self.parts.headers.insert(name, value)),
            Ok((name, value)) => drop(self.parts.headers.append(name, value)),
            Err(reason) => self.refuse(reason),
        }
        self
    }

    /// Adds a parameter to the query, encoded as in forms.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.query.push((name.into(), value.into()));
        self
    }

    /// The body: a value as JSON, with the content type of JSON unless another one is set.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => {
                self.parts.body = Some(body.into());
                self.parts.content_type = Some("application/json");
            }
            Err(_) => self.refuse("expected a body that can be written as JSON"),
        }
        self
    }

    /// The body: pairs as an HTML form writes them, with that content type unless another one is set.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.parts.body = Some(form.into());
        self.parts.content_type = Some("application/x-www-form-urlencoded");
        self
    }

    /// The header `Authorization: Bearer ...` (RFC 6750), in place of another `Authorization`.
    pub fn bearer_auth(mut self, token: impl AsRef<str>) -> Self {
        match HeaderValue::try_from(format!("Bearer {}", token.as_ref())) {
            Ok(mut value) => {
                value.set_sensitive(true);
                self.parts.headers.insert(AUTHORIZATION, value);
            }
            Err(_) => self.refuse("expected a token without line breaks"),
        }
        self
    }

    /// The body, as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.parts.body = Some(Bytes::from(body.into()));
        self.parts.content_type = None;
        self
    }

    /// The most time that all of it may take, until the end of the answer's body, in place of
    /// [`crate::VerifierBuilder::request_timeout`]. Finding the peer and attesting it has the verifier's deadline in any case.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.parts.timeout = Some(timeout);
        self
    }

    /// Sends the request to an attested peer. The only place that touches the network.
    ///
    /// In this order: the session is not poisoned; its attestation holds, or is made anew; the target is within the session's
    /// origin; a connection whose key is attested. A request that may have been processed is never sent again; one that
    /// certainly was not (it was not written, its stream is above the last one of a GOAWAY or was refused with
    /// REFUSED_STREAM) is, over another connection. Redirects are given back as they are.
    ///
    /// The body of an answer goes on for a minute at most after the attestation has ended, and is cut off when the peer is
    /// refused: reading it then gives that error.
    ///
    /// # Errors
    ///
    /// [`AttestationError`]; one without a verdict on the peer leaves open whether the peer got the request.
    pub async fn send(self) -> Result<Response, AttestationError> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        self.session.send(&self.parts).await
    }

    fn refuse(&mut self, reason: &'static str) {
        self.invalid.get_or_insert(AttestationError::InvalidRequest { reason });
    }
}

/// What became of a request on one connection.
pub(super) enum Outcome {
    Response(Response),
    /// It certainly was not processed.
    NotProcessed(TransportError),
}

/// Sends a request over a connection. It ends with the attestation of the peer.
///
/// `sent` is set while bytes of the request may have reached the peer: the caller's deadline cuts this off anywhere.
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
    let response = match outcome {
        None => return Ok(closed()),
        Some(Ok(response)) => response,
        Some(Err(failure)) if failure.kind == TransportErrorKind::NotProcessed => {
            sent.store(false, Ordering::Relaxed);
            peer.check()?;
            return Ok(Outcome::NotProcessed(failure));
        }
        // Whatever the transport makes of it: where the peer was refused, or its attestation has ended, that is the reason.
        Some(Err(failure)) => {
            let error = peer.check().err().unwrap_or_else(|| failed(failure, url, deadline));
            return Err(error.after_request_was_sent());
        }
    };
    if response.status().is_informational() {
        let reason = "it switches to another protocol, which was not requested".to_owned();
        return Err(AttestationError::InvalidResponse { reason, source: None });
    }
    checkout.advance(Exchange::Responding(progress));
    Ok(Outcome::Response(Response::new(response, checkout, url, parts.timeout.map(|_| *deadline))))
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
        let (body, progress) = match &self.body {
            Some(body) if !body.is_empty() => {
                let (body, progress) = GuardedBody::new(body.clone(), peer);
                (OutgoingBody::new(body), progress)
            }
            _ => (OutgoingBody::empty(), Progress::over()),
        };
        let unusable = |_| AttestationError::InvalidRequest { reason: "expected a target that HTTP can carry" };
        let mut request =
            http::Request::builder().method(self.method.clone()).uri(url.as_str()).body(body).map_err(unusable)?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        if let Some(content_type) = self.content_type {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
        }
        // The HTTP library says nothing of an empty body, and some servers want to hear it (RFC 9110 section 8.6).
        if self.body.as_ref().is_some_and(Bytes::is_empty) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok((request, progress))
    }
}

fn checked_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = HeaderName::try_from(name).map_err(|_| "expected the name of a header")?;
    if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("proxy-") {
        return Err("expected no header that belongs to the connection, such as Host or Content-Length");
    }
    let value = HeaderValue::try_from(value).map_err(|_| "expected the value of a header, without line breaks")?;
    Ok((name, value))
}

/// Without headers, query and body, which may be secret.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {:?})", self.parts.method, self.parts.target.split('?').next().unwrap_or_default())
    }
}
