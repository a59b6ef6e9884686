//! The builder of a request: its parts are checked when they are set, and only its session can send it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::io::AsyncRead;

use super::headers;
use super::multipart::Form;
use super::parts::Parts;
use super::request_body::{BoxBody, ChunksBody, ReaderBody, RequestBody, StreamedBody, boxed};
use super::response::Response;
use crate::deadline::BoxFuture;
use crate::error::{AttestationError, BoxError};

/// Sends requests to attested peers: a session.
pub(crate) trait Sender: Send + Sync {
    fn send(self: Arc<Self>, parts: &Parts) -> BoxFuture<'_, Response>;
}

/// A request to the attested peer, from [`Session::get`](crate::Session::get) and its siblings.
///
/// It has no connection. A part that is not valid is reported by [`Request::send`].
///
/// There is no access to an HTTP client, so that the checks cannot be bypassed:
///
/// ```compile_fail,E0599
/// # async fn f(session: blindbox_attestation::Session) {
/// session.get("/").client();
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    sender: Arc<dyn Sender>,
    pub(crate) parts: Parts,
    invalid: Option<AttestationError>,
}

impl Request {
    pub(crate) fn new(sender: Arc<impl Sender + 'static>, parts: Parts) -> Self {
        let mut request = Self { sender, parts, invalid: None };
        if matches!(request.parts.method, Method::CONNECT | Method::TRACE) {
            request.refuse("expected a method other than CONNECT and TRACE");
        }
        request
    }

    /// Adds a header. `Authorization` and `Content-Type` replace the one that was set before. The value is text or bytes.
    ///
    /// Headers that belong to the connection or frame the message (`Host`, `Connection`, `Content-Length`, `Proxy-*`, ...) make
    /// the request invalid. Of `TE`, only `trailers` is allowed.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        match headers::parse(name.as_ref(), value.as_ref()) {
            Ok((name, value)) => self.insert(name, value),
            Err(reason) => self.refuse(reason),
        }
        self
    }

    /// Adds headers, by the rules of [`Request::header`].
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        let mut last = None;
        for (name, value) in headers {
            // Of several values of one header, only the first comes with the name.
            last = name.or(last);
            let Some(name) = &last else { continue };
            match headers::check(name, &value) {
                Ok(()) => self.insert(name.clone(), value),
                Err(reason) => self.refuse(reason),
            }
        }
        self
    }

    /// Sends these fields after the body (trailers, RFC 9110 section 6.5), by the rules of [`Request::header`]. Over HTTP/1.1 the
    /// body is sent in chunks, and the fields are announced in `Trailer`.
    ///
    /// An agent may drop the trailers of requests, sealed or not, as the reference agent does. An application that needs them needs an
    /// agent that passes them on.
    ///
    /// Trailers that a body given to [`Request::http_body`] has itself are sent over HTTP/2 only.
    pub fn trailers(mut self, trailers: HeaderMap) -> Self {
        match headers::check_all(&trailers) {
            Ok(()) => {
                self.parts.trailers = Some(trailers);
                self.parts.body.get_or_insert(RequestBody::Bytes(Bytes::new()));
            }
            Err(reason) => self.refuse(reason),
        }
        self
    }

    /// Adds a parameter to the query, encoded as in forms.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.query.push((name.into(), value.into()));
        self
    }

    /// Sets the body to a value as JSON, with the content type of JSON unless another one is set.
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => {
                self.parts.body = Some(RequestBody::Bytes(body.into()));
                self.parts.content_type = Some(HeaderValue::from_static("application/json"));
            }
            Err(_) => self.refuse("expected a body that can be written as JSON"),
        }
        self
    }

    /// Sets the body to pairs, encoded like an HTML form, with that content type unless another one is set.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.parts.body = Some(RequestBody::Bytes(form.into()));
        self.parts.content_type = Some(HeaderValue::from_static("application/x-www-form-urlencoded"));
        self
    }

    /// Sets the body to a form of several parts (`multipart/form-data`, RFC 7578), with that content type unless another one is
    /// set.
    pub fn multipart(mut self, form: Form) -> Self {
        match form.into_body() {
            Ok((content_type, body)) => {
                self.parts.body = Some(body);
                self.parts.content_type = Some(content_type);
            }
            Err(reason) => self.refuse(reason),
        }
        self
    }

    /// Sets the header `Authorization: Bearer ...` (RFC 6750). It replaces another `Authorization`.
    pub fn bearer_auth(mut self, token: impl AsRef<str>) -> Self {
        match HeaderValue::try_from(format!("Bearer {}", token.as_ref())) {
            Ok(value) => self.authorize(value),
            Err(_) => self.refuse("expected a token without line breaks"),
        }
        self
    }

    /// Sets the header `Authorization: Basic ...` (RFC 7617). It replaces another `Authorization`. The user name has no colon.
    pub fn basic_auth(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let (user, password) = (user.as_ref(), password.as_ref());
        if user.contains(|c: char| c == ':' || c.is_control()) || password.contains(char::is_control) {
            self.refuse("expected a user name without a colon, and no control characters in name and password");
            return self;
        }
        match HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))) {
            Ok(value) => self.authorize(value),
            Err(_) => self.refuse("expected credentials that fit into a header"),
        }
        self
    }

    /// Sets the body to these bytes.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.parts.body = Some(RequestBody::Bytes(Bytes::from(body.into())));
        self.parts.content_type = None;
        self
    }

    /// Sets the body to a stream of chunks, which is read while it is sent: a body of any size takes the same memory.
    ///
    /// Before each piece of at most 16 KiB, the peer is checked like a body in memory is. A stream can be sent once: of clones of
    /// this request, the first that is sent has it. If the stream fails, the request fails with
    /// [`AttestationError::RequestBodyFailed`], and the peer sees an incomplete body.
    pub fn body_stream<S, E>(self, stream: S) -> Self
    where
        S: futures_core::Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.streamed(boxed(ChunksBody(Box::pin(stream))))
    }

    /// Sets the body to all that can be read from a file or another reader. As [`Request::body_stream`].
    pub fn body_reader(self, reader: impl AsyncRead + Send + 'static) -> Self {
        self.streamed(boxed(ReaderBody::new(reader)))
    }

    /// Sets the body to an [`http_body::Body`], such as the body of a request that is passed on. As [`Request::body_stream`]; a
    /// body that states its size is sent with `Content-Length`.
    pub fn http_body<B>(self, body: B) -> Self
    where
        B: http_body::Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.streamed(boxed(body))
    }

    fn streamed(mut self, body: BoxBody) -> Self {
        self.parts.body = Some(RequestBody::Stream(StreamedBody::new(body)));
        self.parts.content_type = None;
        self
    }

    fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        if self.parts.headers.len() >= headers::MAX_HEADERS {
            self.refuse("expected at most 1000 headers");
        } else if matches!(name, AUTHORIZATION | CONTENT_TYPE) {
            // A request has one of each.
            self.parts.headers.insert(name, value);
        } else {
            self.parts.headers.append(name, value);
        }
    }

    fn authorize(&mut self, mut value: HeaderValue) {
        value.set_sensitive(true);
        self.parts.headers.insert(AUTHORIZATION, value);
    }

    /// Limits the total time, to the end of the response body. It replaces [`crate::VerifierBuilder::request_timeout`]. Connecting
    /// and attesting are limited by the verifier's deadline in any case.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.parts.timeout = Some(timeout);
        self
    }

    /// States that to process this request twice has the same effect as to process it once, as of a request with a key by which the
    /// application recognises repetitions. `GET`, `HEAD` and `OPTIONS` are idempotent without it.
    ///
    /// It counts in sessions with sealed messages (`own-message-key`): there, a response that the instance does not know the message
    /// key, or has received the request before, may come from the front end after the request was processed. An idempotent request
    /// whose body is in memory is then sealed again for the instance that is attested next, at most twice. Nothing else sends a
    /// request again that may have been processed.
    pub fn idempotent(mut self) -> Self {
        self.parts.idempotent = true;
        self
    }

    /// Asks the peer to switch to another protocol, such as `websocket` (RFC 9110 section 7.8): over a new connection with HTTP/1.1,
    /// whose key is attested. Headers that the protocol requires, such as `Sec-WebSocket-Key`, are set by the caller.
    ///
    /// If the peer agrees, the response has the status 101, and [`Response::into_stream`] is the connection; else it is an
    /// ordinary response. The request's timeout ends with the headers of the response.
    pub fn upgrade(mut self, protocol: impl AsRef<str>) -> Self {
        // A protocol name is a token with an optional version, also a token (RFC 9110 section 7.8); a list is not possible.
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
        let protocol = protocol.as_ref();
        match HeaderValue::try_from(protocol) {
            Ok(value) if !protocol.is_empty() && protocol.chars().all(is_token) => self.parts.upgrade = Some(value),
            _ => self.refuse("expected the name of one protocol, such as websocket"),
        }
        self
    }

    /// Sends the request to an attested peer.
    ///
    /// The session first checks that it is not poisoned and that the target is within its origin and base path, renews attestations
    /// that end soon, and takes a connection whose key is attested. A request that may have been processed is never sent again, but for
    /// sealed ones that are safe or [idempotent](Self::idempotent). A request that certainly was not processed (it was not written, its
    /// stream is above the last one of a GOAWAY, or was reset with REFUSED_STREAM) is sent again over another connection. Redirects are
    /// not followed.
    ///
    /// The body of a response can continue for at most one minute after the attestation has ended. It is cut off when the peer is
    /// refused; reading it then fails with that error.
    ///
    /// # Errors
    ///
    /// [`AttestationError`]; [`AttestationError::request_sent`] reports whether the peer may have received the request.
    pub async fn send(self) -> Result<Response, AttestationError> {
        if let Some(error) = self.invalid {
            return Err(error);
        }
        self.sender.send(&self.parts).await
    }

    fn refuse(&mut self, reason: &'static str) {
        self.invalid.get_or_insert(AttestationError::InvalidRequest { reason });
    }
}

/// Omits headers, query and body, which may be secret.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} {:?})", self.parts.method, self.parts.target.split('?').next().unwrap_or_default())
    }
}
