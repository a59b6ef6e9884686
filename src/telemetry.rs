//! What is told while connections are attested: spans and events for `tracing`, counters for `metrics` (a feature).
//!
//! Nobody hears of it unless the application installs a subscriber or a recorder. `docs/observability.md` lists the names;
//! they are frozen as error codes are. At [`Level::INFO`] and above nothing is told that evidence says or that identifies a
//! machine, a key or a token: codes, durations, numbers of things and the origin that the caller gave. Of the application's
//! requests nothing is told at any level.

#[cfg(feature = "metrics")]
mod metrics;
/// Without the feature nothing is counted.
#[cfg(not(feature = "metrics"))]
mod metrics {
    use std::time::Duration;

    pub(super) fn describe() {}
    pub(super) fn attestation(_: &'static str, _: &'static str, _: Duration) {}
    pub(super) fn session_keys(_: usize) {}
    pub(super) fn fetch(_: &'static str, _: &'static str, _: &'static str) {}
    pub(super) fn renewal(_: &'static str) {}
    pub(super) fn refused_peer(_: &'static str, _: &'static str) {}
}

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{Instrument as _, Span, debug, debug_span, info, info_span, warn};

use crate::error::{AttestationError, Category};
use crate::types::SpkiDigest;

/// Work under way. In a box: a future holds what it waits for, and each layer around it would double what is not small to begin
/// with, until a caller's stack is too small for it.
pub(crate) type Work<'w, T> = Pin<Box<dyn Future<Output = Result<T, AttestationError>> + Send + 'w>>;

/// What the events of this crate are filtered by.
const TARGET: &str = "blindbox_attestation";

/// The `outcome` where nothing went wrong.
const ACCEPTED: &str = "accepted";
const OK: &str = "ok";

/// A part of an attestation that takes time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Dial,
    Agent,
    KeySet,
    Certificates,
    Verify,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::Agent => "agent",
            Self::KeySet => "key-set",
            Self::Certificates => "certificates",
            Self::Verify => "verify",
        }
    }

    fn span(self) -> Span {
        match self {
            Self::Dial => debug_span!(target: TARGET, "dial"),
            Self::Agent => debug_span!(target: TARGET, "agent"),
            Self::KeySet => debug_span!(target: TARGET, "key-set"),
            Self::Certificates => debug_span!(target: TARGET, "certificates"),
            Self::Verify => debug_span!(target: TARGET, "verify"),
        }
    }

    fn ended(self, error: Option<&AttestationError>, duration: Duration) {
        let (step, outcome, duration_ms) = (self.name(), code(error, OK), milliseconds(duration));
        match error {
            // Without a connection there is no attestation that would tell of it.
            Some(error) if matches!(self, Self::Dial) => {
                warn!(target: TARGET, step, outcome, duration_ms, "no connection");
                debug!(target: TARGET, outcome, %error, "reason");
            }
            _ => debug!(target: TARGET, step, outcome, duration_ms, "step"),
        }
    }
}

/// Tells the recorder what the counters mean.
pub(crate) fn describe() {
    metrics::describe();
}

/// Does work within a span, and tells how it ended.
fn observed<'w, T: 'w>(
    span: Span,
    work: impl Future<Output = Result<T, AttestationError>> + Send + 'w,
    ended: impl FnOnce(Option<&AttestationError>, Duration) + Send + 'w,
) -> Work<'w, T> {
    let work: Work<'w, T> = Box::pin(work);
    let begun = Instant::now();
    let told = async move {
        let outcome = work.await;
        ended(outcome.as_ref().err(), begun.elapsed());
        outcome
    };
    Box::pin(told.instrument(span))
}

/// Does a step.
pub(crate) fn step<'w, T: 'w>(
    step: Step,
    work: impl Future<Output = Result<T, AttestationError>> + Send + 'w,
) -> Work<'w, T> {
    observed(step.span(), work, move |error, duration| step.ended(error, duration))
}

/// Does a step that waits for nothing.
pub(crate) fn step_now<T>(
    step: Step,
    work: impl FnOnce() -> Result<T, AttestationError>,
) -> Result<T, AttestationError> {
    let begun = Instant::now();
    step.span().in_scope(|| {
        let outcome = work();
        step.ended(outcome.as_ref().err(), begun.elapsed());
        outcome
    })
}

/// Opens a session.
pub(crate) fn connect<'w, T: 'w>(
    origin: &str,
    work: impl Future<Output = Result<T, AttestationError>> + Send + 'w,
) -> Work<'w, T> {
    observed(info_span!(target: TARGET, "connect", origin), work, |error, duration| {
        let (outcome, duration_ms) = (code(error, OK), milliseconds(duration));
        debug!(target: TARGET, outcome, duration_ms, "connect");
    })
}

/// Attests one peer.
pub(crate) fn attestation<'w, T: 'w>(
    work: impl Future<Output = Result<T, AttestationError>> + Send + 'w,
) -> Work<'w, T> {
    observed(info_span!(target: TARGET, "attest"), work, |error, duration| {
        let (outcome, category) = (code(error, ACCEPTED), error.map_or(ACCEPTED, category));
        metrics::attestation(outcome, category, duration);
        let duration_ms = milliseconds(duration);
        let Some(error) = error else {
            info!(target: TARGET, outcome, duration_ms, "attested");
            return;
        };
        let (number, retryable) = (u64::from(error.number()), error.is_retryable());
        warn!(target: TARGET, outcome, number, category, retryable, duration_ms, "not attested");
        debug!(target: TARGET, outcome, %error, "reason");
    })
}

/// Renews the attestation of a peer.
pub(crate) fn renewal<'w, T: 'w>(work: impl Future<Output = Result<T, AttestationError>> + Send + 'w) -> Work<'w, T> {
    observed(info_span!(target: TARGET, "renew"), work, |error, duration| {
        let (outcome, duration_ms) = (code(error, ACCEPTED), milliseconds(duration));
        metrics::renewal(outcome);
        debug!(target: TARGET, outcome, duration_ms, "renew");
    })
}

/// An attested key came into a session that has so many now.
pub(crate) fn joined(key: Option<SpkiDigest>, keys: usize) {
    metrics::session_keys(keys);
    debug!(target: TARGET, key = key.map(tracing::field::display), keys, "join");
}

/// The attestations of some keys of a session ended, and so many are left.
pub(crate) fn expired(ended: usize, keys: usize) {
    if ended == 0 {
        return;
    }
    metrics::session_keys(keys);
    debug!(target: TARGET, ended, keys, "expire");
}

/// A peer was refused for what its evidence says. `out`: it was in the session, which has so many keys left.
pub(crate) fn refused(key: Option<SpkiDigest>, error: &AttestationError, out: bool, keys: usize) {
    let (outcome, category) = (error.code(), category(error));
    metrics::refused_peer(outcome, "evidence");
    if out {
        metrics::session_keys(keys);
        warn!(target: TARGET, outcome, category, keys, poisoned = keys == 0, "leave");
    }
    debug!(target: TARGET, key = key.map(tracing::field::display), outcome, "refuse");
}

/// A peer was refused without being asked: because it was refused a moment ago, or because there are too many.
pub(crate) fn refused_unasked(key: SpkiDigest, error: &AttestationError) {
    let by = if matches!(error, AttestationError::TooManyUnattestedPeers { .. }) { "limit" } else { "memory" };
    let outcome = error.code();
    metrics::refused_peer(outcome, by);
    debug!(target: TARGET, %key, outcome, by, "refuse unasked");
}

/// Where something was found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Memory,
    Disk,
    Network,
}

/// A search for something that is fetched or kept.
#[derive(Debug)]
pub(crate) struct Lookup {
    what: &'static str,
    asked: AtomicBool,
}

impl Lookup {
    /// `what`: `key-set`, `vcek` or `crl`.
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, asked: AtomicBool::new(false) }
    }

    /// Looks on the network.
    pub(crate) fn on_network<T>(
        &self,
        work: impl Future<Output = Result<T, AttestationError>>,
    ) -> impl Future<Output = Result<T, AttestationError>> {
        let (work, begun) = (Box::pin(work), Instant::now());
        async move {
            let outcome = work.await;
            self.looked(Source::Network, begun.elapsed(), outcome.as_ref().err());
            outcome
        }
    }

    /// It was on disk.
    pub(crate) fn on_disk(&self, begun: Instant) {
        self.looked(Source::Disk, begun.elapsed(), None);
    }

    /// The end: what was found nowhere else was in memory, or came from another task.
    pub(crate) fn ended<T>(&self, outcome: &Result<T, AttestationError>) {
        if !self.asked.load(Ordering::SeqCst) {
            self.looked(Source::Memory, Duration::ZERO, outcome.as_ref().err());
        }
    }

    fn looked(&self, source: Source, duration: Duration, error: Option<&AttestationError>) {
        self.asked.store(true, Ordering::SeqCst);
        let (what, outcome, duration_ms) = (self.what, code(error, OK), milliseconds(duration));
        let by = match source {
            Source::Memory => "memory",
            Source::Disk => "disk",
            Source::Network => "network",
        };
        metrics::fetch(what, by, outcome);
        match (source, error) {
            (Source::Network, Some(error)) => {
                warn!(target: TARGET, what, source = by, outcome, duration_ms, "not fetched");
                debug!(target: TARGET, outcome, %error, "reason");
            }
            _ => debug!(target: TARGET, what, source = by, outcome, duration_ms, "fetch"),
        }
    }
}

fn code(error: Option<&AttestationError>, otherwise: &'static str) -> &'static str {
    error.map_or(otherwise, AttestationError::code)
}

fn category(error: &AttestationError) -> &'static str {
    match error.category() {
        Category::Rejected => "rejected",
        Category::Untrusted => "untrusted",
        Category::Unavailable => "unavailable",
        Category::Misconfigured => "misconfigured",
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
