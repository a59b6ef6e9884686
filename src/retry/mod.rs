//! Which requests are worth another attempt, and after how long. Without I/O.

mod retry_after;

use std::time::Duration;

pub(crate) use retry_after::retry_after;

/// The longest `Retry-After` that is obeyed. A server that asks for more would block the whole attestation.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The waits before the second and the third attempt, which is the last.
pub(crate) const BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(600)];

/// Whether a later attempt may have another response than one with this status (RFC 9110 section 15.6, RFC 6585 section 4).
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// Returns how long to wait before another attempt: `backoff`, or what the server asked for if that is more. `None` if there is no time.
pub(crate) fn pause(backoff: Duration, asked: Option<Duration>, remaining: Duration) -> Option<Duration> {
    let wait = asked.unwrap_or(backoff).max(backoff);
    (wait <= MAX_RETRY_AFTER && wait < remaining).then_some(wait)
}
