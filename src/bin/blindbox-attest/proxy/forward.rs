//! From a local request to one of the session, and back.

use std::time::{Duration, Instant};

use blindbox_attestation::{AttestationError, Request as SessionRequest, Response as SessionResponse, Session};
use hyper::body::Incoming;
use hyper::http::request;
use hyper::{Request, Response};
use url::Url;

use super::admission::Client;
use super::answer::{self, AnswerBody, Answers};
use super::bodies::Bodies;
use super::exceptions::ExceptionLog;
use super::guard::{Guard, Refusal};
use super::headers;
use super::origins;
use crate::log;

pub struct Forwarder {
    pub guard: Guard,
    pub session: Session,
    pub bodies: Bodies,
    pub answers: Answers,
    /// When a closed session was last tried again.
    pub renewal: tokio::sync::Mutex<Option<Instant>>,
    /// How long it is left alone before that.
    pub retry_pause: Duration,
    pub exceptions: ExceptionLog,
}

/// Why there is no answer of the application.
enum Failure {
    Refused(Refusal),
    Failed(AttestationError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<AttestationError> for Failure {
    fn from(error: AttestationError) -> Self {
        Self::Failed(error)
    }
}

impl Forwarder {
    pub async fn answer(&self, request: Request<Incoming>, client: &Client) -> Response<AnswerBody> {
        let origin = self.guard.origins.allowed(request.headers()).cloned();
        let mut answer = match self.forward(request, client).await {
            Ok(answer) => answer,
            Err(Failure::Refused(refusal)) => answer::of_refusal(&refusal),
            Err(Failure::Failed(error)) => {
                log::error(error.code(), &error.to_string());
                answer::of_error(&error)
            }
        };
        if let Some(origin) = origin {
            origins::share(origin, answer.headers_mut());
        }
        answer
    }

    async fn forward(&self, request: Request<Incoming>, client: &Client) -> Result<Response<AnswerBody>, Failure> {
        let (head, body) = request.into_parts();
        // Before anything of the body is read.
        self.guard.check_destination(&head)?;
        if let Some(answer) = self.guard.origins.preflight(&head) {
            return Ok(answer);
        }
        self.guard.check_access(&head)?;
        client.admit();
        let mut request = self.request(&head)?;
        let mut held = self.bodies.read(&head.headers, body).await?;
        if let Some(held) = &mut held {
            request = request.body(std::mem::take(&mut held.bytes));
        }
        let response = self.send(request).await?;
        self.exceptions.observe(&self.session.attestation());
        drop(held);
        let asked =
            Url::parse(response.url()).map_err(|_| AttestationError::InvalidRequest { reason: "expected a URL" })?;
        Ok(self.answers.pass_on(&head.method, &asked, response.into())?)
    }

    fn request(&self, head: &request::Parts) -> Result<SessionRequest, AttestationError> {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = self.session.request(head.method.clone(), target);
        for (name, value) in &head.headers {
            if headers::of_request(name, &head.headers) && !self.guard.is_access_token(name, value) {
                let reason = "expected the values of headers in ASCII";
                let value = value.to_str().map_err(|_| AttestationError::InvalidRequest { reason })?;
                request = request.header(name.as_str(), value);
            }
        }
        Ok(request)
    }

    async fn send(&self, request: SessionRequest) -> Result<SessionResponse, AttestationError> {
        // The copy shares the body.
        match request.clone().send().await {
            // Nothing was sent. The application may be in order again meanwhile: everything is checked anew.
            Err(error @ AttestationError::SessionPoisoned { .. }) => {
                self.reopen(error).await?;
                request.send().await
            }
            outcome => outcome,
        }
    }

    /// Tries a session again that was closed after a refusal: one caller at a time, and not all the time.
    async fn reopen(&self, closed: AttestationError) -> Result<(), AttestationError> {
        let asked = Instant::now();
        let mut tried = self.renewal.lock().await;
        // Others may have opened it while this one waited; if not, the session will say so.
        if tried.is_some_and(|tried| tried > asked) {
            return Ok(());
        }
        if tried.is_some_and(|tried| tried.elapsed() < self.retry_pause) {
            return Err(closed);
        }
        // Beforehand, since a client that hangs up ends this here.
        *tried = Some(Instant::now());
        let outcome = self.session.reattest().await;
        *tried = Some(Instant::now());
        outcome.map(drop)
    }
}
