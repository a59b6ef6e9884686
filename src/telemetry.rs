//! Telemetry: spans and events for `tracing`, and counters and histograms for `metrics` (a feature).
//!
//! Nothing is emitted unless the application installs a subscriber or a recorder. `docs/observability.md` lists the names,
//! which are as stable as error codes. At [`Level::INFO`] and above, events carry codes, durations, counts and the origin that
//! the caller gave, but nothing from evidence and nothing that identifies a machine, a key or a token. The application's own
//! requests are not reported at any level.

#[cfg(feature = "metrics")]
mod metrics;
/// Without the feature no metrics are recorded.
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{Instrument as _, Span, debug, debug_span, info, info_span, warn};

use crate::deadline::BoxFuture;
use crate::error::{AttestationError, Category};
use crate::types::SpkiDigest;

/// The target of all events of this crate, by which subscribers filter them.
const TARGET: &str = "blindbox_attestation";

/// The values of `outcome` for success.
const ACCEPTED: &str = "accepted";
const OK: &str = "ok";

/// A step of an attestation that has its own span.
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
            // Without a connection no attestation starts, whose event would report the failure.
            Some(error) if matches!(self, Self::Dial) => {
                warn!(target: TARGET, step, outcome, duration_ms, "no connection");
                debug!(target: TARGET, outcome, %error, "reason");
            }
            _ => debug!(target: TARGET, step, outcome, duration_ms, "step"),
        }
    }
}

/// Registers the descriptions of the metrics with the recorder.
pub(crate) fn describe() {
    metrics::describe();
}

/// Runs a future within a span, and reports its result.
fn instrument<'w, T: 'w, E: 'w>(
    span: Span,
    work: impl Future<Output = Result<T, E>> + Send + 'w,
    ended: impl FnOnce(Option<&E>, Duration) + Send + 'w,
) -> BoxFuture<'w, T, E> {
    let work: BoxFuture<'w, T, E> = Box::pin(work);
    let started = Instant::now();
    let reported = async move {
        let outcome = work.await;
        ended(outcome.as_ref().err(), started.elapsed());
        outcome
    };
    Box::pin(reported.instrument(span))
}

/// Runs a step within its span.
pub(crate) fn step<'w, T: 'w>(
    step: Step,
    work: impl Future<Output = Result<T, AttestationError>> + Send + 'w,
) -> BoxFuture<'w, T> {
    instrument(step.span(), work, move |error, duration| step.ended(error, duration))
}

/// Runs a synchronous step within its span.
pub(crate) fn step_now<T>(
    step: Step,
    work: impl FnOnce() -> Result<T, AttestationError>,
) -> Result<T, AttestationError> {
    let started = Instant::now();
    step.span().in_scope(|| {
        let outcome = work();
        step.ended(outcome.as_ref().err(), started.elapsed());
        outcome
    })
}

/// Instruments the opening of a session.
pub(crate) fn connect<'w, T: 'w>(
    origin: &str,
    work: impl Future<Output = Result<T, AttestationError>> + Send + 'w,
) -> BoxFuture<'w, T> {
    instrument(info_span!(target: TARGET, "connect", origin), work, |error, duration| {
        let (outcome, duration_ms) = (code(error, OK), milliseconds(duration));
        debug!(target: TARGET, outcome, duration_ms, "connect");
    })
}

/// Instruments the attestation of one peer.
pub(crate) fn attestation<'w, T: 'w>(
    work: impl Future<Output = Result<T, AttestationError>> + Send + 'w,
) -> BoxFuture<'w, T> {
    instrument(info_span!(target: TARGET, "attest"), work, |error, duration| {
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

/// Instruments the renewal of a peer's attestation. `code` is that of why there is none.
pub(crate) fn renewal<'w, T: 'w, E: 'w>(
    work: impl Future<Output = Result<T, E>> + Send + 'w,
    code: fn(&E) -> &'static str,
) -> BoxFuture<'w, T, E> {
    instrument(info_span!(target: TARGET, "renew"), work, move |error, duration| {
        let (outcome, duration_ms) = (error.map_or(ACCEPTED, code), milliseconds(duration));
        metrics::renewal(outcome);
        debug!(target: TARGET, outcome, duration_ms, "renew");
    })
}

/// Reports that an attested key was added to a session; `keys` is their number after that.
pub(crate) fn joined(key: Option<SpkiDigest>, keys: usize) {
    metrics::session_keys(keys);
    debug!(target: TARGET, key = key.map(tracing::field::display), keys, "join");
}

/// Reports that the attestations of `ended` keys of a session expired and `keys` are left.
pub(crate) fn expired(ended: usize, keys: usize) {
    if ended == 0 {
        return;
    }
    metrics::session_keys(keys);
    debug!(target: TARGET, ended, keys, "expire");
}

/// Reports that a peer's evidence was rejected. `out`: the peer was in the session, or was the only one that it can have. The session
/// has `keys` keys left.
pub(crate) fn refused(key: Option<SpkiDigest>, error: &AttestationError, out: bool, keys: usize) {
    let (outcome, category) = (error.code(), category(error));
    metrics::refused_peer(outcome, "evidence");
    if out {
        metrics::session_keys(keys);
        warn!(target: TARGET, outcome, category, keys, poisoned = keys == 0, "leave");
    }
    debug!(target: TARGET, key = key.map(tracing::field::display), outcome, "refuse");
}

/// Reports that a peer was refused without a new attestation: because it was rejected shortly before, or because too many new
/// keys appeared.
pub(crate) fn rejected_without_attestation(key: Option<SpkiDigest>, error: &AttestationError) {
    let by = if matches!(error, AttestationError::TooManyUnattestedPeers { .. }) { "limit" } else { "memory" };
    let outcome = error.code();
    metrics::refused_peer(outcome, by);
    let key = key.map(tracing::field::display);
    debug!(target: TARGET, key, outcome, by, "refuse unasked");
}

/// The place where an item was found.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Memory,
    Disk,
    Network,
}

/// The telemetry of one lookup of a cached or fetched item.
#[derive(Debug)]
pub(crate) struct Lookup {
    what: &'static str,
    reported: AtomicBool,
}

impl Lookup {
    /// Starts a lookup of `what`: `key-set`, `vcek` or `crl`.
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, reported: AtomicBool::new(false) }
    }

    /// Instruments a fetch from the network.
    pub(crate) fn on_network<T>(
        &self,
        work: impl Future<Output = Result<T, AttestationError>>,
    ) -> impl Future<Output = Result<T, AttestationError>> {
        let (work, started) = (Box::pin(work), Instant::now());
        async move {
            let outcome = work.await;
            self.record(Source::Network, started.elapsed(), outcome.as_ref().err());
            outcome
        }
    }

    /// Reports that the item was found on disk.
    pub(crate) fn found_on_disk(&self, started: Instant) {
        self.record(Source::Disk, started.elapsed(), None);
    }

    /// Ends the lookup. An item that was found in no other place was in memory, or came from another task's fetch.
    pub(crate) fn ended<T>(&self, outcome: &Result<T, AttestationError>) {
        if !self.reported.load(Ordering::SeqCst) {
            self.record(Source::Memory, Duration::ZERO, outcome.as_ref().err());
        }
    }

    fn record(&self, source: Source, duration: Duration, error: Option<&AttestationError>) {
        self.reported.store(true, Ordering::SeqCst);
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

/// In milliseconds with one decimal.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
