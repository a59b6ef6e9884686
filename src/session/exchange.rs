//! One exchange on one connection: the request is built for its peer, sent, and ends with the attestation of the peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use url::Url;

use super::checkout::{Checkout, Exchange};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::http::{CHUNK_SIZE, Parts, Progress, Response};
use crate::transport::{Io, OutgoingBody, TransportError, TransportErrorKind, upgraded};

/// What became of a request on one connection.
pub(super) enum Outcome {
    Response(Response),
    /// The peer has switched to the requested protocol.
    Upgraded(Box<http::Response<Incoming>>, Box<dyn Io>, Checkout),
    /// The request certainly was not processed.
    NotProcessed(TransportError),
}

/// What is the same for each attempt of a request.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) url: &'a Url,
    pub(super) deadline: &'a Deadline,
    /// Set while bytes of the request may have reached the peer: the caller's deadline can end an attempt at any point.
    pub(super) sent: &'a AtomicBool,
}

/// Sends a request over a connection, and waits for the response.
pub(super) async fn exchange(
    mut checkout: Checkout,
    parts: &Parts,
    call: Call<'_>,
) -> Result<Outcome, AttestationError> {
    let peer = Arc::clone(checkout.peer());
    peer.check()?;
    let guarded = Arc::clone(&peer);
    let (request, progress) = parts.request(call.url, CHUNK_SIZE, move || guarded.check())?;
    let mut response = match transmit(&mut checkout, request, &progress, call, || None).await? {
        Transmitted::Response(response) => response,
        Transmitted::NotProcessed(failure) if progress.has_begun() && parts.has_stream() => {
            let more = "; it was not processed, and has a body that can be read only once";
            return Err(failure.and(more).of_application(call.url));
        }
        Transmitted::NotProcessed(failure) => return Ok(Outcome::NotProcessed(failure)),
    };
    if response.status().is_informational() {
        parts.check_switch(&response)?;
        let io = tokio::select! {
            biased;
            error = peer.until_cancelled(Duration::ZERO) => return Err(error),
            io = upgraded(&mut response) => io,
        };
        let io = io.map_err(|failure| failed(failure, call))?;
        return Ok(Outcome::Upgraded(Box::new(response), io, checkout));
    }
    checkout.advance(Exchange::Responding(progress));
    Ok(Outcome::Response(Response::new(response, checkout, call.url, parts.timeout.map(|_| *call.deadline))))
}

/// What became of a request that was given to the HTTP library.
pub(super) enum Transmitted {
    Response(http::Response<Incoming>),
    /// It certainly was not processed.
    NotProcessed(TransportError),
}

/// Sends a request, and waits for the headers of the response. It is cancelled when the peer is refused or its attestation ends.
///
/// `doubt` returns why it is not certain that the request was not processed, although the peer says so.
pub(super) async fn transmit(
    checkout: &mut Checkout,
    request: http::Request<OutgoingBody>,
    progress: &Progress,
    Call { url, deadline, sent }: Call<'_>,
    doubt: impl FnOnce() -> Option<&'static str>,
) -> Result<Transmitted, AttestationError> {
    let peer = Arc::clone(checkout.peer());
    let closed = || Ok(Transmitted::NotProcessed(TransportError::not_sent()));
    let Some(connection) = checkout.begin() else { return closed() };
    let sent_before = sent.load(Ordering::Relaxed);
    let sending = async {
        if !connection.ready().await {
            return None;
        }
        sent.store(true, Ordering::Relaxed);
        Some(connection.send(request).await)
    };
    let outcome = tokio::select! {
        biased;
        error = peer.until_cancelled(Duration::ZERO) => return Err(error),
        outcome = sending => outcome,
    };
    let mut failure = match outcome {
        None => return closed(),
        Some(Ok(response)) => return Ok(Transmitted::Response(response)),
        Some(Err(failure)) => failure,
    };
    if failure.kind == TransportErrorKind::NotProcessed {
        let Some(doubt) = doubt() else {
            sent.store(sent_before, Ordering::Relaxed);
            peer.check()?;
            return Ok(Transmitted::NotProcessed(failure));
        };
        failure.reason = doubt.to_owned();
    }
    // A revocation closes the sockets, which the transport reports as an error of its own: the revocation is the reason.
    let of_body = || progress.failure().map(|reason| AttestationError::RequestBodyFailed { reason });
    Err(peer.check().err().or_else(of_body).unwrap_or_else(|| failed(failure, Call { url, deadline, sent })))
}

/// The error of a request that may have arrived.
fn failed(failure: TransportError, call: Call<'_>) -> AttestationError {
    match failure.kind {
        TransportErrorKind::Timeout => call.deadline.timeout_error("the request"),
        TransportErrorKind::Unreadable => failure.of_application(call.url),
        _ => {
            let failure = TransportError { kind: TransportErrorKind::Broken, ..failure };
            failure.and("; the request may have arrived, and is not sent again").of_application(call.url)
        }
    }
}
