//! An attestation and its validity: by the wall clock and by the monotonic clock; when it is renewed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::recipient::MessageRecipient;
use crate::attestation::Attestation;
use crate::clock::{Clock, Moment};

/// An attestation and its validity: from its challenge to its end, by the clock that counts more.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    attested: Arc<Attestation>,
    requested_at: Moment,
    /// From the challenge to the end of the attestation.
    span: Duration,
    /// Where messages are sealed.
    recipient: Option<Arc<MessageRecipient>>,
}

impl Lease {
    /// `requested_at` is the moment of the challenge, from which the lifetime counts.
    pub(crate) fn new(attested: Attestation, requested_at: Moment) -> Self {
        let span = attested.expires_at().as_secs().saturating_sub(requested_at.time_of_day().as_secs());
        Self { attested: Arc::new(attested), requested_at, span: Duration::from_secs(span), recipient: None }
    }

    /// Adds whom messages are sealed to.
    pub(super) fn sealing_to(self, recipient: Option<Arc<MessageRecipient>>) -> Self {
        Self { recipient, ..self }
    }

    pub(crate) fn recipient(&self) -> Option<Arc<MessageRecipient>> {
        self.recipient.clone()
    }

    /// Whether messages no longer reach whom they are sealed to: no further one is sealed for it.
    pub(crate) fn is_lost(&self) -> bool {
        self.recipient.as_ref().is_some_and(|recipient| recipient.is_lost())
    }

    /// Whether both name the same message key, or none: exchanges that are sealed to one instance are not prolonged by the
    /// attestation of another.
    pub(crate) fn is_of_same_instance(&self, other: &Self) -> bool {
        self.attested.message_key() == other.attested.message_key()
    }

    pub(crate) fn attested(&self) -> &Arc<Attestation> {
        &self.attested
    }

    /// When the evidence was requested. It does not cover what the peer did later.
    pub(crate) fn requested_at(&self) -> Moment {
        self.requested_at
    }

    /// The remaining validity, plus a grace period after it; zero when both are over.
    pub(crate) fn remaining(&self, clock: &Clock, grace: Duration) -> Duration {
        // By the clock that counts more: setting one back prolongs nothing.
        self.span.saturating_add(grace).saturating_sub(clock.since(self.requested_at))
    }

    pub(crate) fn is_valid(&self, clock: &Clock) -> bool {
        !self.remaining(clock, Duration::ZERO).is_zero()
    }

    /// Whether the last fifth has begun, in which a request renews it.
    pub(crate) fn needs_renewal(&self, clock: &Clock) -> bool {
        self.span.checked_div(5).is_some_and(|fifth| self.remaining(clock, Duration::ZERO) <= fifth)
    }

    /// When an unsuccessful renewal is tried again: every request would be too often.
    pub(crate) fn retry_at(&self, clock: &Clock) -> Option<Instant> {
        clock.monotonic().checked_add(self.span.checked_div(50)?)
    }
}
