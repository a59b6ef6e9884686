//! Sends a sealed request through a front end, and opens the response. What is sent again, and when, `message::exchange::resending`
//! decides: nothing that a front end says is a reason to send a request again that may not be processed twice.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};
use http_body::Body as _;
use hyper::body::Incoming;
use url::Url;

use super::checkout::{Checkout, Exchange};
use super::exchange::{Call, Transmitted, transmit};
use super::{MAX_ATTEMPTS, SessionInner};
use crate::attest::{Freshness, MessageRecipient};
use crate::base_url::BaseUrl;
use crate::deadline::Deadline;
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::http::sealed_request::{self, SealedRequest};
use crate::http::sealed_response::{OpeningError, SealedBody};
use crate::http::{Parts, Response, new_request};
use crate::message::exchange::client::ResponseReader;
use crate::message::exchange::not_sealed::NotSealed;
use crate::message::exchange::outer;
use crate::message::exchange::resending::{Failure, Repetition, Resending};
use crate::message::exchange::stream::MAX_PIECE;
use crate::transport::{TransportError, TransportErrorKind};

/// The most bytes of an error of the front end that are read, and how long.
const MAX_PROBLEM: usize = 4_096;
const PROBLEM_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request was sealed under none of several attestations.
const NO_NUMBER: &str =
    "1023 later requests were sealed under the same attestation as one whose response has not begun";

/// Why the report that a request was not processed is not believed.
const UNAUTHENTICATED_REPORT: &str =
    "the front end reports that it did not process the request, and nothing authenticates that";

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
        let url = self.challenger.base.resolve(&parts.target, &parts.query)?;
        let clock = &self.challenger.verifier.clock;
        let mut freshness = Freshness::now(clock);
        self.renew_expiring(deadline).await?;
        let call = Call { url: &url, deadline, sent };
        let resending = resending(parts);
        let (mut left, mut repetitions) = (MAX_ATTEMPTS, 0);
        loop {
            left = left.saturating_sub(1);
            let checkout = self.checkout(freshness, deadline).await?;
            let peer = Arc::clone(checkout.peer());
            // A session of this kind sends nothing that is not sealed.
            let recipient = peer.lease().recipient().ok_or(AttestationError::AttestationExpired)?;
            let sent_before = sent.load(Ordering::Relaxed);
            let outcome = exchange(checkout, parts, &recipient, &self.challenger.base, call).await?;
            let (failure, error) = match outcome {
                Outcome::Response(response) => {
                    self.pool.mark_used(&peer);
                    return Ok(response);
                }
                Outcome::NotSent(_) if left > 0 => continue,
                Outcome::NotSent(failure) => return Err(not_sent(failure, call)),
                Outcome::Failed(failure, error) => (failure, error),
            };
            if failure == Failure::Declined {
                // A sealed decline says that the request was not processed and never will be.
                sent.store(sent_before, Ordering::Relaxed);
            } else {
                // Unauthenticated or caused by the front end: it costs an attestation, and no more.
                recipient.mark_lost();
                // Others that lost the same instance share one attestation, also one that has begun since.
                freshness = Freshness::now(clock);
            }
            let Some(wait) = resending.wait(failure, repetitions).filter(|_| left > 0) else { return Err(error) };
            repetitions = repetitions.saturating_add(1);
            if !wait.is_zero() {
                deadline.run("waiting for an instance that is busy", tokio::time::sleep(wait)).await?;
            }
        }
    }
}

/// The error of a request whose last attempt was not sent.
fn not_sent(failure: TransportError, call: Call<'_>) -> AttestationError {
    let more = match call.sent.load(Ordering::Relaxed) {
        true => "; an earlier attempt of the request was sent, and may have been processed",
        false => "; nothing of the request was sent, and it may be sent again",
    };
    failure.and(more).of_application(call.url)
}

fn resending(parts: &Parts) -> Resending {
    let repetition = Repetition::of(parts.method.as_str(), parts.idempotent);
    Resending { repetition, whole_body: !parts.has_stream() }
}

async fn exchange(
    mut checkout: Checkout,
    parts: &Parts,
    recipient: &MessageRecipient,
    base: &BaseUrl,
    call: Call<'_>,
) -> Result<Outcome, AttestationError> {
    let peer = Arc::clone(checkout.peer());
    peer.check()?;
    // Before the body is taken, which may be there to be read once.
    let Some(number) = recipient.recipient().number() else {
        // The session with the agent goes on for what waits, and the next attempt begins another one: a request whose response takes
        // long holds up no others.
        recipient.mark_lost();
        return Ok(Outcome::NotSent(TransportError::new(TransportErrorKind::NotProcessed, NO_NUMBER)));
    };
    let (url, guarded) = (call.url, Arc::clone(&peer));
    let (request, progress) = parts.request(url, MAX_PIECE, move || guarded.check())?;
    let SealedRequest { body, handed_out, response } =
        sealed_request::seal(request, url, base, progress.clone(), number)?;
    let mut request = new_request(Method::POST, recipient.url(), body)?;
    request.headers_mut().clone_from(recipient.headers());
    // Whatever the front end says of a request that was handed out, it may have delivered it.
    let doubt = || handed_out.has_begun().then_some(UNAUTHENTICATED_REPORT);
    let received = match transmit(&mut checkout, request, &progress, call, doubt).await? {
        Transmitted::Response(received) => received,
        Transmitted::NotProcessed(failure) => return Ok(Outcome::NotSent(failure)),
    };
    checkout.advance(Exchange::Responding(progress));
    let opening = async {
        let is_sealed = outer::is_sealed(received.status().as_u16(), content_type(received.headers()));
        if is_sealed { open(received, response, url).await } else { refuse(received, recipient, url).await }
    };
    let opened = tokio::select! {
        biased;
        error = peer.until_cancelled(Duration::ZERO) => return Err(error),
        opened = opening => opened,
    };
    // Nothing of a response is given out that was opened while its peer was refused.
    peer.check()?;
    Ok(match opened {
        Ok(opened) => Outcome::Response(Response::sealed(opened, checkout, url, parts.timeout.map(|_| *call.deadline))),
        Err((Some(failure), error)) => Outcome::Failed(failure, error),
        Err((None, error)) => return Err(error),
    })
}

/// A failure to open a response, if another attempt may have one; and the error for the caller.
type NotOpened = (Option<Failure>, AttestationError);

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn open(
    outer: http::Response<Incoming>,
    reader: ResponseReader,
    url: &Url,
) -> Result<http::Response<SealedBody>, NotOpened> {
    SealedBody::open(outer.into_body(), reader).await.map_err(|error| {
        let failure = match &error {
            OpeningError::Response(error) => error.failure(),
            OpeningError::Transport(_) => None,
        };
        (failure, error.of_application(url))
    })
}

/// The error for a response that is not sealed.
async fn refuse(
    outer: http::Response<Incoming>,
    recipient: &MessageRecipient,
    url: &Url,
) -> Result<http::Response<SealedBody>, NotOpened> {
    let (head, content) = outer.into_parts();
    let (status, content_type) = (head.status.as_u16(), content_type(&head.headers));
    let content = if NotSealed::is_problem(status, content_type) { problem(content).await } else { Vec::new() };
    let found = NotSealed::of(status, content_type, &content);
    if found.is_of_absent_instance() {
        recipient.mark_lost();
    }
    Err((found.failure(), TransportError::new(TransportErrorKind::Broken, found.to_string()).of_application(url)))
}

/// The content of a problem; nothing of one that is too long or too late.
async fn problem(mut content: Incoming) -> Vec<u8> {
    let reading = async {
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut content).poll_frame(cx)).await {
            bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
            if bytes.len() > MAX_PROBLEM {
                return Vec::new();
            }
        }
        bytes
    };
    tokio::time::timeout(PROBLEM_TIMEOUT, reading).await.unwrap_or_default()
}
