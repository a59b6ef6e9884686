//! What a request is made of, and the request for one connection that is made from it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, TRAILER, UPGRADE};
use http::{Method, StatusCode};
use url::Url;

use super::guarded_body::{GuardedBody, Progress};
use super::request_body::RequestBody;
use crate::error::AttestationError;
use crate::transport::OutgoingBody;

/// What a request is made of, wherever it is sent.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    /// Headers of the session, which give way to those of the request.
    pub(crate) default_headers: Arc<HeaderMap>,
    pub(crate) body: Option<RequestBody>,
    /// The content type of the body, unless a header sets another.
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) trailers: Option<HeaderMap>,
    /// The protocol to switch to.
    pub(crate) upgrade: Option<HeaderValue>,
    pub(crate) timeout: Option<Duration>,
    /// The caller states that processing it twice has the effect of processing it once.
    pub(crate) idempotent: bool,
}

impl Parts {
    pub(crate) fn new(method: Method, target: &str, default_headers: &Arc<HeaderMap>) -> Self {
        Self {
            method,
            target: target.to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            default_headers: Arc::clone(default_headers),
            body: None,
            content_type: None,
            trailers: None,
            upgrade: None,
            timeout: None,
            idempotent: false,
        }
    }

    /// Whether the body can be read only once.
    pub(crate) fn has_stream(&self) -> bool {
        matches!(self.body, Some(RequestBody::Stream(_)))
    }

    /// Returns the request for a connection, and the progress of its body. `check` is called before each piece of the body, and
    /// returns an error if nothing more may be sent.
    pub(crate) fn request(
        &self,
        url: &Url,
        piece_size: usize,
        check: impl Fn() -> Result<(), AttestationError> + Send + Unpin + 'static,
    ) -> Result<(http::Request<OutgoingBody>, Progress), AttestationError> {
        if matches!(&self.body, Some(RequestBody::Stream(body)) if body.is_taken()) {
            let reason = "expected a body that was not sent before: a stream can be read only once";
            return Err(AttestationError::InvalidRequest { reason });
        }
        let is_empty = matches!(&self.body, Some(RequestBody::Bytes(bytes)) if bytes.is_empty());
        let (body, progress) = match &self.body {
            Some(body) if !is_empty || self.trailers.is_some() => {
                let (body, progress) = GuardedBody::new(body.clone(), self.trailers.clone(), piece_size, check);
                (OutgoingBody::new(body), progress)
            }
            _ => (OutgoingBody::empty(), Progress::over()),
        };
        let mut request = new_request(self.method.clone(), url, body)?;
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

    /// Returns an error unless an informational response switches to the requested protocol (RFC 9110 section 7.8).
    pub(crate) fn check_switch<B>(&self, response: &http::Response<B>) -> Result<(), AttestationError> {
        let chosen = response.headers().get(UPGRADE).map(HeaderValue::as_bytes);
        let reason = match self.upgrade.as_ref().filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
            Some(requested) if chosen.is_some_and(|chosen| chosen.eq_ignore_ascii_case(requested.as_bytes())) => {
                return Ok(());
            }
            Some(_) => "it switches to another protocol than the requested one",
            None => "it switches to another protocol, which was not requested",
        };
        Err(AttestationError::InvalidResponse { reason: reason.to_owned(), source: None })
    }
}

/// Returns a request without headers.
pub(crate) fn new_request(
    method: Method,
    url: &Url,
    body: OutgoingBody,
) -> Result<http::Request<OutgoingBody>, AttestationError> {
    let unusable = |_| AttestationError::InvalidRequest { reason: "expected a target that HTTP can carry" };
    http::Request::builder().method(method).uri(url.as_str()).body(body).map_err(unusable)
}
