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

    /// When the peer was asked.
    pub(super) fn begun(&self) -> Moment {
        self.begun
    }

    /// How much of it and of a time of grace after it is left; nothing at the end of that and after.
    pub(super) fn left(&self, clock: &Clock, grace: Duration) -> Duration {
        let end = Duration::from_secs(self.attested.expires_at().as_secs()).saturating_add(grace);
        let by_wall = end.saturating_sub(Duration::from_secs(clock.now().as_secs()));
        by_wall.min(self.span.saturating_add(grace).saturating_sub(clock.since(self.begun)))
    }

    pub(super) fn holds(&self, clock: &Clock) -> bool {
        !self.left(clock, Duration::ZERO).is_zero()
    }

    /// Whether the last fifth has begun, in which a request renews it.
    pub(super) fn is_late(&self, clock: &Clock) -> bool {
        self.span.checked_div(5).is_some_and(|fifth| self.left(clock, Duration::ZERO) <= fifth)
    }

    /// When an unsuccessful renewal is tried again: not with every request.
    pub(super) fn pause(&self) -> Option<Instant> {
        Instant::now().checked_add(self.span.checked_div(50)?)
    }
}
