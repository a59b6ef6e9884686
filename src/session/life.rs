use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attested::Attested;
use crate::clock::{Clock, Moment};

/// An attestation while it holds: until its end by the wall clock, and no longer than that took by the monotonic one.
#[derive(Clone, Debug)]
pub(super) struct Life {
    attested: Arc<Attested>,
    begun: Moment,
    span: Duration,
}

impl Life {
    pub(super) fn new(attested: Attested, begun: Moment) -> Self {
        let span = attested.expires_at().as_secs().saturating_sub(attested.issued_at().as_secs());
        Self { attested: Arc::new(attested), begun, span: Duration::from_secs(span) }
    }

    pub(super) fn attested(&self) -> &Arc<Attested> {
        &self.attested
    }

    /// Whether the peer was asked after that.
    pub(super) fn begun_after(&self, at: Instant) -> bool {
        self.begun.is_after(at)
    }

    /// How much of it is left; nothing at its end and after.
    pub(super) fn left(&self, clock: &Clock) -> Duration {
        let by_wall = self.attested.expires_at().as_secs().saturating_sub(clock.now().as_secs());
        Duration::from_secs(by_wall).min(self.span.saturating_sub(clock.since(self.begun)))
    }

    pub(super) fn holds(&self, clock: &Clock) -> bool {
        !self.left(clock).is_zero()
    }

    /// Whether the last fifth has begun, in which a request renews it.
    pub(super) fn is_late(&self, clock: &Clock) -> bool {
        self.span.checked_div(5).is_some_and(|fifth| self.left(clock) <= fifth)
    }

    /// When an unsuccessful renewal is tried again: not with every request.
    pub(super) fn pause(&self) -> Option<Instant> {
        Instant::now().checked_add(self.span.checked_div(50)?)
    }
}
