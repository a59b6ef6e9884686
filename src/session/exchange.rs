//! One exchange on one connection: the request is built for its peer, sent, and ends with the attestation of the peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use url::Url;

use super::checkout::{Checkout, Exchange};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::http::{CHUNK_SIZE, Parts, Response};
use crate::transport::{Io, TransportError, TransportErrorKind, upgraded};

/// What became of a request on one connection.
pub(super) enum Outcome {
    Response(Response),
    /// The peer has switched to the requested protocol.
    Upgraded(Box<http::Response<Incoming>>, Box<dyn Io>, Checkout),
    /// The request certainly was not processed.
    NotProcessed(TransportError),
}

/// Sends a request over a connection. It is cancelled when the peer is refused or its attestation ends.
///
/// `sent` is set while bytes of the request may have reached the peer: the caller's deadline can end this at any point.
pub(super) async fn exchange(
    mut checkout: Checkout,
    parts: &Parts,
    url: &Url,
    deadline: &Deadline,
    sent: &AtomicBool,
) -> Result<Outcome, AttestationError> {
    let peer = Arc::clone(checkout.peer());
    peer.check()?;
    let guarded = Arc::clone(&peer);
    let (request, progress) = parts.request(url, CHUNK_SIZE, move || guarded.check())?;
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
        error = peer.until_cancelled(Duration::ZERO) => return Err(ended(error, sent)),
        outcome = exchange => outcome,
    };
    let mut response = match outcome {
        None => return Ok(closed()),
        Some(Ok(response)) => response,
        Some(Err(failure)) if failure.kind == TransportErrorKind::NotProcessed => {
            sent.store(false, Ordering::Relaxed);
            peer.check()?;
            if progress.has_begun() && parts.has_stream() {
                let more = "; it was not processed, and has a body that can be read only once";
                return Err(failure.and(more).of_application(url));
            }
            return Ok(Outcome::NotProcessed(failure));
        }
        // A revocation closes the sockets, which the transport reports as an error of its own: the revocation is the reason.
        Some(Err(failure)) => {
            let of_body = || progress.failure().map(|reason| AttestationError::RequestBodyFailed { reason });
            let error = peer.check().err().or_else(of_body).unwrap_or_else(|| failed(failure, url, deadline));
            return Err(error.after_request_was_sent());
        }
    };
    if response.status().is_informational() {
        parts.check_switch(&response)?;
        let io = tokio::select! {
            biased;
            error = peer.until_cancelled(Duration::ZERO) => return Err(error.after_request_was_sent()),
            io = upgraded(&mut response) => io,
        };
        let io = io.map_err(|failure| failed(failure, url, deadline).after_request_was_sent())?;
        return Ok(Outcome::Upgraded(Box::new(response), io, checkout));
    }
    checkout.advance(Exchange::Responding(progress));
    Ok(Outcome::Response(Response::new(response, checkout, url, parts.timeout.map(|_| *deadline))))
}

/// The error that ends a request, of which bytes may have reached a peer if `sent` is set.
pub(super) fn ended(error: AttestationError, sent: &AtomicBool) -> AttestationError {
    if sent.load(Ordering::Relaxed) { error.after_request_was_sent() } else { error }
}

/// The error of a request that may have arrived.
pub(super) fn failed(failure: TransportError, url: &Url, deadline: &Deadline) -> AttestationError {
    match failure.kind {
        TransportErrorKind::Timeout => deadline.timeout_error("the request"),
        TransportErrorKind::Unreadable => failure.of_application(url),
        _ => {
            let failure = TransportError { kind: TransportErrorKind::Broken, ..failure };
            failure.and("; the request may have arrived, and is not sent again").of_application(url)
        }
    }
}
