//! Sends a request: over a free connection, or over a new one that `admission` accepts. Sends again what was not processed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::checkout::Checkout;
use super::exchange::{self, Call, Outcome};
use super::{MAX_ATTEMPTS, MAX_CONCURRENT_ATTESTATIONS, SessionInner};
use crate::attest::Freshness;
use crate::challenge::Channel;
use crate::deadline::{BoxFuture, Deadline};
use crate::error::AttestationError;
use crate::http::{Parts, Response, Sender};

impl Sender for SessionInner {
    fn send(self: Arc<Self>, parts: &Parts) -> BoxFuture<'_, Response> {
        Box::pin(async move {
            let deadline = Deadline::after(parts.timeout.unwrap_or(Duration::MAX));
            self.send_before(parts, &deadline).await
        })
    }
}

impl SessionInner {
    /// Sends a request whose timeout is the deadline, if it has one.
    pub(super) async fn send_before(
        self: &Arc<Self>,
        parts: &Parts,
        deadline: &Deadline,
    ) -> Result<Response, AttestationError> {
        let sent = AtomicBool::new(false);
        let sending = self.send_within(parts, deadline, &sent);
        let outcome = match parts.timeout {
            None => sending.await,
            Some(_) => deadline.run("the request", sending).await.unwrap_or_else(Err),
        };
        // The only place that says so of the error: whatever ended the request, and in whichever attempt.
        outcome.map_err(|error| match sent.load(Ordering::Relaxed) {
            true => error.after_request_was_sent(),
            false => error,
        })
    }

    async fn send_within(
        self: &Arc<Self>,
        parts: &Parts,
        deadline: &Deadline,
        sent: &AtomicBool,
    ) -> Result<Response, AttestationError> {
        if self.challenger.mode.kind() == Channel::BoundMessage {
            return self.send_sealed(parts, deadline, sent).await;
        }
        self.pool.check_not_poisoned()?;
        let url = self.challenger.base.resolve(&parts.target, &parts.query)?;
        let freshness = Freshness::now(&self.challenger.verifier.clock);
        self.renew_expiring(deadline).await?;
        let call = Call { url: &url, deadline, sent };
        let mut left = MAX_ATTEMPTS;
        loop {
            left = left.saturating_sub(1);
            let checkout = match &parts.upgrade {
                None => self.checkout(freshness, deadline).await?,
                // Another protocol follows: no other request gets this connection.
                Some(_) => {
                    let attesting = self.attesting(deadline);
                    self.checkout_new(self.challenger.open_http1(&attesting), freshness, &attesting).await?
                }
            };
            let peer = Arc::clone(checkout.peer());
            match exchange::exchange(checkout, parts, call).await? {
                Outcome::Upgraded(response, io, checkout) => {
                    let stream = self.attested_stream(io, checkout);
                    return Ok(Response::switched(*response, stream, &url));
                }
                Outcome::Response(response) => {
                    self.pool.mark_used(&peer);
                    return Ok(response);
                }
                // It may be sent again, whatever its method.
                Outcome::NotProcessed(_) if left > 0 => {}
                Outcome::NotProcessed(failure) => {
                    let more = "; it was not processed by any connection, and may be sent again";
                    return Err(failure.and(more).of_application(&url));
                }
            }
        }
    }

    /// A connection for one request: a free one, or a new one whose peer is attested before it is used.
    pub(super) async fn checkout(
        &self,
        freshness: Freshness,
        deadline: &Deadline,
    ) -> Result<Checkout, AttestationError> {
        if let Some(checkout) = self.pool.checkout() {
            return Ok(checkout);
        }
        let attesting = self.attesting(deadline);
        loop {
            // Registered before the pool is checked: a connection that is freed in between is noticed.
            let mut freed = pin!(self.pool.freed());
            freed.as_mut().enable();
            if let Some(checkout) = self.pool.checkout() {
                return Ok(checkout);
            }
            if self.pool.is_full(self.opening()) {
                attesting.run("waiting for another connection", freed).await?;
                continue;
            }
            let waiting = async {
                tokio::select! {
                    biased;
                    () = freed => None,
                    permit = self.attest_permits.acquire() => permit.ok(),
                }
            };
            let Some(_permit) = attesting.run("waiting for another connection", waiting).await? else { continue };
            // Tasks that had the permits before may have opened a connection that takes all requests (HTTP/2).
            if let Some(checkout) = self.pool.checkout() {
                return Ok(checkout);
            }
            self.pool.check_not_poisoned()?;
            // Of those that are on their way, one is this task's.
            if self.pool.is_full(self.opening().saturating_sub(1)) {
                continue;
            }
            return self.admit(self.challenger.open(&attesting).await?, freshness, &attesting).await;
        }
    }

    /// How many connections are being opened for requests.
    fn opening(&self) -> usize {
        MAX_CONCURRENT_ATTESTATIONS.saturating_sub(self.attest_permits.available_permits())
    }

    /// The time for a connection and the attestation of its peer, within that of a request. Where the request's ends first, it is that
    /// deadline itself: an error states the time that was given, and not what was left of it.
    fn attesting(&self, request: &Deadline) -> Deadline {
        let whole = self.challenger.verifier.deadline;
        if request.remaining() < whole { *request } else { Deadline::after(whole) }
    }
}
