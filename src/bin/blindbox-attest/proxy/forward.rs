//! From a local request to one of the session, and back.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::{Duration, Instant};

use blindbox_attestation::{AttestationError, Session};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Request, Response, StatusCode};
use url::Url;

use super::answer::{self, AnswerBody, ERROR_HEADER};
use super::guard::{Guard, Refusal, TOKEN_HEADER, tokens};
use crate::outcome::note;
use crate::terminal;

/// How long a client may take for the body of a request.
const BODY_TIME: Duration = Duration::from_secs(120);

/// How long a session that was closed after a refusal is left alone before it is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Headers between two hops (RFC 9110 section 7.6.1), and those of a request that the session writes itself.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub struct Forwarder {
    pub guard: Guard,
    pub session: Session,
    pub base: String,
    pub max_request: usize,
    pub max_answer: u64,
    /// When a closed session was last tried again.
    pub renewal: tokio::sync::Mutex<Option<Instant>>,
}

impl Forwarder {
    pub async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let body = match self.guard.check(&head) {
            Ok(()) => self.read(&head, body).await,
            Err(refusal) => Err(refusal),
        };
        let body = match body {
            Ok(body) => body,
            Err(refusal) => return answer::of_refusal(&refusal),
        };
        match self.send(&head, body).await {
            Ok(response) => self.pass_on(response),
            Err(error) => {
                note(&terminal::error(error.code(), &error.to_string()));
                answer::of_error(&error)
            }
        }
    }

    /// The whole body, or none where the request has none.
    async fn read(&self, head: &request::Parts, mut body: Incoming) -> Result<Option<Bytes>, Refusal> {
        let announced =
            head.headers.contains_key(header::CONTENT_LENGTH) || head.headers.contains_key(header::TRANSFER_ENCODING);
        if !announced {
            return Ok(None);
        }
        let too_large = || Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "request-too-large",
            message: "the body is larger than --max-request",
        };
        let most = u64::try_from(self.max_request).unwrap_or(u64::MAX);
        if body.size_hint().lower() > most {
            return Err(too_large());
        }
        let reading = async {
            let mut whole = BytesMut::new();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                let cut =
                    Refusal { status: StatusCode::BAD_REQUEST, code: "request-cut", message: "the body is cut off" };
                let Ok(data) = frame.map_err(|_| cut)?.into_data() else { continue };
                if whole.len().saturating_add(data.len()) > self.max_request {
                    return Err(too_large());
                }
                whole.extend_from_slice(&data);
            }
            Ok(Some(whole.freeze()))
        };
        let late = Refusal { status: StatusCode::REQUEST_TIMEOUT, code: "request-late", message: "the body is late" };
        tokio::time::timeout(BODY_TIME, reading).await.unwrap_or(Err(late))
    }

    async fn send(&self, head: &request::Parts, body: Option<Bytes>) -> Result<reqwest::Response, AttestationError> {
        match self.send_once(head, body.clone()).await {
            // Nothing was sent. The application may be in order again meanwhile: everything is checked anew.
            Err(error @ AttestationError::SessionPoisoned { .. }) => {
                self.reopen(error).await?;
                self.send_once(head, body).await
            }
            outcome => outcome,
        }
    }

    async fn send_once(
        &self,
        head: &request::Parts,
        body: Option<Bytes>,
    ) -> Result<reqwest::Response, AttestationError> {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = self.session.request(head.method.clone(), target);
        for (name, value) in &head.headers {
            if is_passed_on(name, &head.headers) {
                let why = "expected the values of headers in ASCII";
                let value = value.to_str().map_err(|_| AttestationError::InvalidRequest { why })?;
                request = request.header(name.as_str(), value);
            }
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        request.send().await
    }

    /// Tries a session again that was closed after a refusal: one caller at a time, and not all the time.
    async fn reopen(&self, closed: AttestationError) -> Result<(), AttestationError> {
        let asked = Instant::now();
        let mut tried = self.renewal.lock().await;
        // Others may have opened it while this one waited; if not, the session will say so.
        if tried.is_some_and(|tried| tried > asked) {
            return Ok(());
        }
        if tried.is_some_and(|tried| tried.elapsed() < PAUSE) {
            return Err(closed);
        }
        let outcome = self.session.reattest().await;
        *tried = Some(Instant::now());
        outcome.map(drop)
    }

    fn pass_on(&self, response: reqwest::Response) -> Response<AnswerBody> {
        let response = hyper::http::Response::<reqwest::Body>::from(response);
        let (mut head, body) = response.into_parts();
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            // `Alt-Svc` would lead clients around this proxy.
            let kept = is_hop_by_hop(name, &head.headers) || name == ERROR_HEADER || name == header::ALT_SVC;
            if !kept {
                headers.append(name, value.clone());
            }
        }
        if let Some(local) = headers.get(header::LOCATION).and_then(|location| self.local(location)) {
            headers.insert(header::LOCATION, local);
        }
        head.headers = headers;
        head.version = hyper::Version::HTTP_11;
        Response::from_parts(head, AnswerBody::Passed(Box::new(body), self.max_answer))
    }

    /// A redirect to the application's own origin, as a redirect within this proxy: a client that followed it to where it
    /// points would go there without any attestation.
    fn local(&self, location: &HeaderValue) -> Option<HeaderValue> {
        let base = Url::parse(&self.base).ok()?;
        let to = base.join(location.to_str().ok()?).ok()?;
        if to.origin() != base.origin() {
            return None;
        }
        let path = to.path().strip_prefix(base.path().trim_end_matches('/')).filter(|path| path.starts_with('/'))?;
        let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
        HeaderValue::try_from(format!("{path}{query}")).ok()
    }
}

fn is_passed_on(name: &HeaderName, headers: &HeaderMap) -> bool {
    // What a browser says of pages is about this proxy, not about the application; the token is nobody else's business.
    let about_here = name == header::HOST
        || name == header::CONTENT_LENGTH
        || name == header::EXPECT
        || name == header::ORIGIN
        || name.as_str().starts_with("sec-fetch-")
        || name.as_str().eq_ignore_ascii_case(TOKEN_HEADER);
    !about_here && !is_hop_by_hop(name, headers)
}

fn is_hop_by_hop(name: &HeaderName, headers: &HeaderMap) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
        || tokens(headers, header::CONNECTION).any(|token| token.eq_ignore_ascii_case(name.as_str()))
}
