//! Sends a sealed request through a front end, and opens the response. What is sent again, and when: nothing that a front end says is
//! a reason to send a request again that may not be processed twice.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use url::Url;

use super::checkout::{Checkout, Exchange};
use super::exchange::failed;
use super::{MAX_ATTEMPTS, SessionInner};
use crate::attest::{Freshness, MessageRecipient};
use crate::base_url::BaseUrl;
use crate::deadline::Deadline;
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::http::sealed_request::{self, SealedRequest};
use crate::http::sealed_response::{OpeningError, SealedBody};
use crate::http::{Parts, Response};
use crate::json::{self, Value};
use crate::message::exchange::client::{Failure, Repetition, ResponseReader};
use crate::message::exchange::outer;
use crate::message::exchange::stream::MAX_PIECE;
use crate::transport::{TransportError, TransportErrorKind};

/// How often a request is sealed and sent again after the instance did not process it, or if it is idempotent.
const MAX_REPETITIONS: usize = 2;

/// The wait before a request is sent again that a busy instance has declined; doubled for the next one.
const DECLINED_WAIT: Duration = Duration::from_millis(100);

/// The most bytes of an error of the front end that are read, and how long.
const MAX_PROBLEM: usize = 4_096;
const PROBLEM_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a sealed request on one connection.
enum Outcome {
    Response(Response),
    /// Nothing of it was handed to the HTTP library.
    NotSent(TransportError),
    /// There is no response of the application, and perhaps another attempt has one.
    Failed(Failure, AttestationError),
}

impl SessionInner {
    /// Sends a request to the instance whose message key is attested. After an error, `sent` says whether any attempt may have been
    /// delivered.
    pub(super) async fn send_sealed(
        self: &Arc<Self>,
        parts: &Parts,
        deadline: &Deadline,
        sent: &AtomicBool,
    ) -> Result<Response, AttestationError> {
        self.pool.check_not_poisoned()?;
        if parts.upgrade.is_some() {
            return Err(AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::StreamNotSealed });
        }
        let url = self.attester.base.resolve(&parts.target, &parts.query)?;
        let clock = &self.attester.verifier.clock;
        let mut freshness = Freshness::now(clock);
        self.renew_expiring(deadline).await?;
        let (mut repetitions, mut wait, mut last) = (0, DECLINED_WAIT, None);
        for _ in 0..MAX_ATTEMPTS {
            let checkout = self.checkout(freshness, deadline).await?;
            let peer = Arc::clone(checkout.peer());
            // A session of this kind sends nothing that is not sealed.
            let recipient = peer.lease().recipient().ok_or(AttestationError::AttestationExpired)?;
            let sent_before = sent.load(Ordering::Relaxed);
            let target = Target { url: &url, base: &self.attester.base };
            let outcome = exchange(checkout, parts, &recipient, target, deadline, sent).await?;
            let (failure, error) = match outcome {
                Outcome::Response(response) => {
                    self.pool.mark_used(&peer);
                    return Ok(response);
                }
                Outcome::NotSent(failure) => {
                    last = Some(failure);
                    continue;
                }
                Outcome::Failed(failure, error) => (failure, error),
            };
            if failure == Failure::Declined {
                sent.store(sent_before, Ordering::Relaxed);
            } else {
                // Unauthenticated or caused by the front end: it costs an attestation, and no more.
                recipient.mark_lost();
                freshness = Freshness::evidence_from_now(clock);
            }
            if repetitions >= MAX_REPETITIONS || !parts.has_whole_body() || !failure.allows_resending(repetition(parts))
            {
                return Err(error);
            }
            repetitions = repetitions.saturating_add(1);
            if failure == Failure::Declined {
                deadline.run("waiting for an instance that is busy", tokio::time::sleep(wait)).await?;
                wait = wait.saturating_mul(2);
            }
        }
        let last =
            last.unwrap_or_else(|| TransportError::new(TransportErrorKind::NotProcessed, "no connection was free"));
        let outcome = match sent.load(Ordering::Relaxed) {
            true => "; an earlier attempt of the request was sent, and may have been processed",
            false => "; nothing of the request was sent, and it may be sent again",
        };
        Err(last.and(outcome).of_application(&url))
    }
}

/// Only methods that ask for nothing to be changed are repeated unless the caller permits it (RFC 9110 section 9.2.1): a `PUT` that is
/// processed late, after another one, is not what its caller meant.
fn repetition(parts: &Parts) -> Repetition {
    if parts.idempotent || parts.method.is_safe() { Repetition::Idempotent } else { Repetition::Unsafe }
}

/// The URL of a request, and the base of the session.
struct Target<'a> {
    url: &'a Url,
    base: &'a BaseUrl,
}

async fn exchange(
    mut checkout: Checkout,
    parts: &Parts,
    recipient: &MessageRecipient,
    Target { url, base }: Target<'_>,
    deadline: &Deadline,
    sent: &AtomicBool,
) -> Result<Outcome, AttestationError> {
    let peer = Arc::clone(checkout.peer());
    peer.check()?;
    let guarded = Arc::clone(&peer);
    let (request, progress) = parts.request(url, MAX_PIECE, move || guarded.check())?;
    let SealedRequest { body, handed_out, response } =
        sealed_request::seal(request, url, base, progress.clone(), recipient.recipient())?;
    let unusable = |_| AttestationError::InvalidRequest { reason: "expected a target that HTTP can carry" };
    let mut request = http::Request::post(recipient.url().as_str()).body(body).map_err(unusable)?;
    request.headers_mut().clone_from(recipient.headers());
    let not_sent = || {
        let reason = "the connection was closed before the request was sent";
        TransportError::new(TransportErrorKind::NotProcessed, reason)
    };
    let Some(connection) = checkout.begin() else { return Ok(Outcome::NotSent(not_sent())) };
    let sent_before = sent.load(Ordering::Relaxed);
    let exchange = async {
        if !connection.ready().await {
            return Err(not_sent());
        }
        sent.store(true, Ordering::Relaxed);
        connection.send(request).await
    };
    let outcome = tokio::select! {
        biased;
        error = peer.until_cancelled(Duration::ZERO) => return Err(error),
        outcome = exchange => outcome,
    };
    let outer = match outcome {
        Ok(outer) => outer,
        // Whatever the front end says of a request that was handed out, it may have delivered it.
        Err(failure) if failure.kind == TransportErrorKind::NotProcessed && !handed_out.has_begun() => {
            sent.store(sent_before, Ordering::Relaxed);
            peer.check()?;
            return Ok(Outcome::NotSent(failure));
        }
        Err(mut failure) => {
            if failure.kind == TransportErrorKind::NotProcessed {
                failure.reason =
                    "the front end reports that it did not process the request, and nothing authenticates that".into();
            }
            let of_body = || progress.failure().map(|reason| AttestationError::RequestBodyFailed { reason });
            let error = peer.check().err().or_else(of_body).unwrap_or_else(|| failed(failure, url, deadline));
            return Err(error.after_request_was_sent());
        }
    };
    checkout.advance(Exchange::Responding(progress));
    let status = outer.status();
    let opening =
        async { Ok(if is_sealed(&outer) { open(outer, response, url).await } else { refuse(outer, url).await }) };
    let opened = tokio::select! {
        biased;
        error = peer.until_cancelled(Duration::ZERO) => Err(error.after_request_was_sent()),
        opened = opening => opened,
    };
    let opened = opened?;
    // Nothing of a response is given out that was opened while its peer was refused.
    peer.check().map_err(AttestationError::after_request_was_sent)?;
    Ok(match opened {
        Ok(opened) => Outcome::Response(Response::sealed(opened, checkout, url, parts.timeout.map(|_| *deadline))),
        Err((Some(failure), error)) => Outcome::Failed(failure, error),
        Err((None, error)) => {
            if is_of_absent_instance(status) {
                recipient.mark_lost();
            }
            return Err(error);
        }
    })
}

/// A failure to open a response, if another attempt may have one; and the error for the caller.
type NotOpened = (Option<Failure>, AttestationError);

fn is_sealed(outer: &http::Response<Incoming>) -> bool {
    outer.status() == StatusCode::OK && has_type(outer.headers(), outer::RESPONSE_TYPE)
}

/// Whether a front end uses this status where it cannot reach an instance. The next request attests one again: else a session would
/// fail until the attestation of an instance that is gone has ended.
fn is_of_absent_instance(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND
            | StatusCode::MISDIRECTED_REQUEST
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

fn has_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected)
}

async fn open(
    outer: http::Response<Incoming>,
    reader: ResponseReader,
    url: &Url,
) -> Result<http::Response<SealedBody>, NotOpened> {
    SealedBody::open(outer.into_body(), reader).await.map_err(|error| {
        let failure = match &error {
            OpeningError::Response(error) => Some(Failure::from(error)),
            OpeningError::Transport(_) => None,
        };
        // Of any other response, the application may have begun to process the request.
        let failure = failure.filter(|failure| *failure != Failure::Unauthenticated);
        let error = error.of_application(url);
        // A sealed decline says that the request was not processed and never will be.
        (failure, if failure == Some(Failure::Declined) { error } else { error.after_request_was_sent() })
    })
}

/// The error for a response that is not sealed: of the front end, or of an agent that cannot open the request. Neither is
/// authenticated.
async fn refuse(outer: http::Response<Incoming>, url: &Url) -> Result<http::Response<SealedBody>, NotOpened> {
    let status = outer.status();
    let is_problem = status.as_u16() == outer::NOT_OPENED_STATUS && has_type(outer.headers(), outer::PROBLEM_TYPE);
    let (failure, reason) = if is_problem && names_key(outer.into_body()).await {
        let reason = "no instance that was reached has the message key, as after a restart, or with several instances behind a \
                      front end without affinity";
        (Some(Failure::Unauthenticated), reason.to_owned())
    } else if status == StatusCode::OK {
        (None, "the front end responded with something else than a sealed message".to_owned())
    } else {
        (
            None,
            format!("the front end responded with the status {}, which the instance has not sealed", status.as_u16()),
        )
    };
    let error = TransportError::new(TransportErrorKind::Broken, reason).of_application(url);
    Err((failure, error.after_request_was_sent()))
}

/// Whether the content is the problem of RFC 9458 section 5.3.
async fn names_key(mut content: Incoming) -> bool {
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut content).poll_frame(cx)).await {
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
            if bytes.len() > MAX_PROBLEM {
                return None;
            }
        }
        let Ok(Value::Object(problem)) = json::parse(&bytes) else { return None };
        problem.required::<&str>("type").ok().map(|kind| kind == outer::KEY_PROBLEM)
    };
    tokio::time::timeout(PROBLEM_TIMEOUT, reading).await.ok().flatten().unwrap_or(false)
}
