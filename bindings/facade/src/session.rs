//! [`Session`]: requests to the attested peer.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use blindbox_attestation::{Attestation, Method};
use url::Url;

use crate::error::Error;
use crate::process::Owned;
use crate::response::Response;
use crate::task;
use crate::upload::{Upload, UploadBody, UploadSender};

/// A session with an attested peer.
#[derive(Debug)]
pub struct Session(Owned<Inner>);

#[derive(Debug)]
struct Inner {
    /// None when closed.
    open: Mutex<Option<blindbox_attestation::Session>>,
    base: Url,
}

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// A target that begins with `/`, below the path of the session's URL; or an absolute URL on the session's origin and below
    /// that path.
    pub target: String,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Option<RequestBody>,
    /// The time limit, to the end of the response body, instead of the verifier's.
    pub timeout: Option<Duration>,
    /// The caller states that to process it twice has the same effect as to process it once:
    /// [`blindbox_attestation::Request::idempotent`]. Without effect on an upload, which can be read once.
    pub idempotent: bool,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum RequestBody {
    /// In memory.
    Bytes(Vec<u8>),
    /// Written while it is sent.
    Upload(Upload),
}

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Upload> for RequestBody {
    fn from(upload: Upload) -> Self {
        Self::Upload(upload)
    }
}

/// The body of the one request that has it.
enum Outgoing {
    Bytes(Vec<u8>),
    Upload(UploadBody),
}

impl Outgoing {
    fn new(body: RequestBody) -> Result<Self, Error> {
        Ok(match body {
            RequestBody::Bytes(bytes) => Self::Bytes(bytes),
            RequestBody::Upload(upload) => Self::Upload(upload.body()?),
        })
    }
}

impl Session {
    pub(crate) fn new(session: blindbox_attestation::Session, url: &str) -> Result<Self, Error> {
        // The core has parsed it.
        let base = Url::parse(url).map_err(Error::internal)?;
        Ok(Self(Owned::new(Inner { open: Mutex::new(Some(session)), base })))
    }

    fn session(&self) -> Result<blindbox_attestation::Session, Error> {
        let open = self.0.get()?.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| Error::closed("session"))
    }

    /// Returns the URL that the session was opened with, without a slash at its end, so that a path can be appended.
    ///
    /// # Errors
    ///
    /// `forked` in another process.
    pub fn url(&self) -> Result<String, Error> {
        Ok(without_slash(&self.0.get()?.base).to_owned())
    }

    /// Sends a request, and returns when the head of the response is there; a small body is then often there too.
    ///
    /// Dropping the future (or [`crate::Cancel`]) cancels the request. Redirects are returned as responses.
    pub fn send(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send + use<> {
        let prepared = self.prepare(request);
        async move {
            let (request, upload) = prepared?;
            task::sends_a_request();
            let response = request.send().await?;
            Ok(Response::new(response, upload).await)
        }
    }

    fn prepare(&self, request: Request) -> Result<(blindbox_attestation::Request, Option<UploadSender>), Error> {
        // Taken first: a request that fails here ends its upload too.
        let body = request.body.map(Outgoing::new).transpose();
        let session = self.session()?;
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| invalid_request("expected the name of an HTTP method, such as GET"))?;
        let target = self.target(&request.target)?;
        let mut prepared = session.request(method, target);
        for (name, value) in &request.headers {
            prepared = prepared.header(name, value);
        }
        let mut sender = None;
        match body? {
            None => {}
            Some(Outgoing::Bytes(bytes)) => prepared = prepared.body(bytes),
            Some(Outgoing::Upload(upload)) => {
                sender = Some(upload.sender());
                prepared = prepared.http_body(upload);
            }
        }
        if let Some(timeout) = request.timeout {
            prepared = prepared.timeout(timeout);
        }
        if request.idempotent {
            prepared = prepared.idempotent();
        }
        Ok((prepared, sender))
    }

    /// The target of a request, relative to the base of the session. What the result may be, the core decides.
    fn target(&self, target: &str) -> Result<String, Error> {
        if target.starts_with('/') || target.is_empty() {
            return Ok(target.to_owned());
        }
        let base = &self.0.get()?.base;
        // As most hosts make it: the URL of the session and a path.
        if let Some(below) = target.strip_prefix(without_slash(base))
            && is_normal(below)
        {
            return Ok(below.to_owned());
        }
        let other = || {
            let origin = base.origin().ascii_serialization();
            invalid_request(&format!(
                "expected a target such as /generate, or a URL that begins with {origin}; nothing is sent to another origin"
            ))
        };
        let url = Url::parse(target).map_err(|_| other())?;
        let anonymous = url.username().is_empty() && url.password().is_none();
        if url.origin() != base.origin() || !url.origin().is_tuple() || !anonymous {
            return Err(other());
        }
        let path = base.path().trim_end_matches('/');
        let below = url.path().strip_prefix(path).filter(|below| below.starts_with('/'));
        let below = below.ok_or_else(|| invalid_request("expected a URL below the path of the session's URL"))?;
        Ok(match url.query() {
            Some(query) => format!("{below}?{query}"),
            None => below.to_owned(),
        })
    }

    /// Opens a new connection and attests its peer again. Returns the attestation as JSON.
    pub fn reattest(&self) -> impl Future<Output = Result<String, Error>> + Send + use<> {
        let session = self.session();
        async move { to_json(&*session?.reattest().await?) }
    }

    /// Returns the latest attestation as JSON: claims, checks, channel, times.
    ///
    /// # Errors
    ///
    /// `closed` or `forked`.
    pub fn attestation_json(&self) -> Result<String, Error> {
        to_json(&*self.attestation()?)
    }

    /// Returns the latest attestation as a table for people; values that identify a machine are shortened.
    ///
    /// # Errors
    ///
    /// `closed` or `forked`.
    pub fn attestation_text(&self) -> Result<String, Error> {
        Ok(self.attestation()?.to_string())
    }

    fn attestation(&self) -> Result<Arc<Attestation>, Error> {
        Ok(self.session()?.attestation())
    }

    /// Closes the session: further calls return `closed`. Responses that are being read are not cut off; connections are closed
    /// when the last of them has ended. In another process it does nothing.
    pub fn close(&self) {
        if let Ok(inner) = self.0.get() {
            drop(inner.open.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

fn without_slash(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}

/// Whether this is a path, with or without a query, that parsing leaves as it is.
fn is_normal(target: &str) -> bool {
    let stays = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/?=&:@,+;".contains(&byte);
    target.starts_with('/') && target.bytes().all(stays) && !target.contains("/.")
}

pub(crate) fn invalid_request(reason: &str) -> Error {
    let known = blindbox_attestation::AttestationError::InvalidRequest { reason: "" };
    let mut error = Error::from(known);
    error.message = format!("invalid request: {reason}");
    error
}

fn to_json(attestation: &Attestation) -> Result<String, Error> {
    serde_json::to_string(attestation).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_not_parsed_would_stay_as_it_is() {
        let normal =
            ["/", "/x", "/a/b.c/", "//x", "/a//b", "/?", "/x?", "/x?y=1&z=a,b;c", "/@evil:80", "/~a_b-c+d", "/x?a/b?c"];
        for target in normal {
            let url = Url::parse(&format!("https://app.example:8443{target}")).unwrap();
            assert!(is_normal(target), "{target}");
            assert_eq!(&url[url::Position::BeforePath..], target);
        }
        for other in [
            "",
            "x",
            "?x",
            ":80/",
            "@evil.example/",
            "/a b",
            "/./x",
            "/../x",
            "/x/..",
            "/%2e%2e/x",
            "/x#y",
            "/\\x",
            "/\"",
            "/ü",
            "/\n",
        ] {
            assert!(!is_normal(other), "{other}");
        }
    }
}
