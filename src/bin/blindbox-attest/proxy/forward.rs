//! From a local request to one of the session, and back.

use std::sync::Arc;

use blindbox_attestation::{AttestationError, Request as SessionRequest, Response as SessionResponse, Session};
use hyper::body::Incoming;
use hyper::http::request;
use hyper::{Request, Response, StatusCode};
use url::Url;

use super::access::{self, Guard, Refusal};
use super::admission::Client;
use super::body_buffer::Bodies;
use super::headers;
use super::origins;
use super::relaxations::AttestationLog;
use super::response::{self, AnswerBody, Answers};
use super::session::ProxySession;
use super::tunnel::{Switched, WEBSOCKET};
use crate::log;

pub struct Forwarder {
    pub guard: Guard,
    pub peer: Arc<ProxySession>,
    pub bodies: Bodies,
    pub answers: Answers,
    pub attestations: Arc<AttestationLog>,
}

/// Why there is no response of the application.
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
    pub async fn answer(
        &self,
        request: Request<Incoming>,
        client: &Client,
        switched: &Switched,
    ) -> Response<AnswerBody> {
        let origin = self.guard.origins.allowed(request.headers()).cloned();
        let mut answer = match self.forward(request, client, switched).await {
            Ok(answer) => answer,
            Err(Failure::Refused(refusal)) => response::of_refusal(&refusal),
            Err(Failure::Failed(error)) => {
                log::error(error.code(), &error.to_string());
                response::of_error(&error)
            }
        };
        if let Some(origin) = origin {
            origins::share(origin, answer.headers_mut());
        }
        answer
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        client: &Client,
        switched: &Switched,
    ) -> Result<Response<AnswerBody>, Failure> {
        let client_end = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        // Before anything of the body is read.
        self.guard.check_destination(&head)?;
        if let Some(answer) = self.guard.origins.preflight(&head) {
            return Ok(answer);
        }
        self.guard.check_access(&head)?;
        client.admit();
        let session = self.peer.session()?;
        let mut request = self.request(&session, &head)?;
        if access::is_websocket(&head) {
            request = request.upgrade(WEBSOCKET);
        }
        let mut held = self.bodies.read(&head.headers, body).await?;
        if let Some(held) = &mut held {
            request = request.body(std::mem::take(&mut held.bytes));
        }
        let response = self.send(request).await?;
        self.attestations.observe(&session.attestation());
        drop(held);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let message = "the application switched to another protocol, which was not requested";
            let refused = || access::refusal(StatusCode::BAD_GATEWAY, "answer-refused", message);
            return Ok(switched.open(client_end, response).ok_or_else(refused)?);
        }
        let asked =
            Url::parse(response.url()).map_err(|_| AttestationError::InvalidRequest { reason: "expected a URL" })?;
        Ok(self.answers.pass_on(&head.method, &asked, response.into())?)
    }

    fn request(&self, session: &Session, head: &request::Parts) -> Result<SessionRequest, AttestationError> {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = session.request(head.method.clone(), target);
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
            // Nothing was sent. The application may be in order again: everything is checked once more.
            Err(error @ AttestationError::SessionPoisoned { .. }) => {
                self.peer.reopen(error).await?;
                request.send().await
            }
            outcome => outcome,
        }
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests;
