//! Whether a sealed request may be sent again: by what came of it, its method and its body.

use std::time::Duration;

use super::client::ResponseError;

/// How often a request is sealed again after the instance did not process it, or if it is idempotent.
const MAX_REPETITIONS: u8 = 2;

/// The wait before a request is sealed again that a busy instance has declined; doubled for each attempt before.
const DECLINED_WAIT: Duration = Duration::from_millis(100);

/// What decides whether a request is sealed again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resending {
    pub(crate) repetition: Repetition,
    /// Whether all of the content is there to be sent again.
    pub(crate) whole_body: bool,
}

impl Resending {
    /// Returns after how long a request that failed is sealed again, under another number; `None` if it is not. `attempt` counts how often
    /// it was sealed again before.
    pub(crate) fn wait(self, failure: Failure, attempt: u8) -> Option<Duration> {
        let may = self.whole_body && attempt < MAX_REPETITIONS && failure.allows_resending(self.repetition);
        let wait = match failure {
            Failure::Declined => DECLINED_WAIT.saturating_mul(1_u32.checked_shl(attempt.into()).unwrap_or(u32::MAX)),
            Failure::Unauthenticated | Failure::Refused => Duration::ZERO,
        };
        may.then_some(wait)
    }
}

/// Whether to process a request twice has the same effect as to process it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    /// The method asks for nothing to be changed, or the caller says so.
    Idempotent,
    Unsafe,
}

impl Repetition {
    /// Of a request that its caller may state to be idempotent.
    pub(crate) fn of(method: &str, stated_idempotent: bool) -> Self {
        if stated_idempotent { Self::Idempotent } else { Self::of_method(method) }
    }

    /// Of a request of which the caller says nothing: only safe methods are repeated (RFC 9110 section 9.2.1). A `PUT` that is processed
    /// late, after another one, is not what its caller meant.
    pub(super) fn of_method(method: &str) -> Self {
        if matches!(method, "GET" | "HEAD" | "OPTIONS") { Self::Idempotent } else { Self::Unsafe }
    }
}

/// How a request ended without a response of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// An error of the front end or of the network, or a response that does not open. It is not authenticated: the front end may have
    /// delivered the request and withheld the response.
    Unauthenticated,
    /// As [`ResponseError::Refused`].
    Refused,
    /// As [`ResponseError::Declined`].
    Declined,
}

impl Failure {
    /// Whether the client may seal the request again, under another number, without having it processed twice.
    ///
    /// "Refused" is no permission: a front end makes it by delivering a request twice and withholding the first response.
    pub(super) fn allows_resending(self, request: Repetition) -> bool {
        match self {
            Self::Declined => true,
            Self::Unauthenticated | Self::Refused => request == Repetition::Idempotent,
        }
    }
}

impl From<&ResponseError> for Failure {
    fn from(error: &ResponseError) -> Self {
        match error {
            ResponseError::Declined => Self::Declined,
            ResponseError::Refused => Self::Refused,
            ResponseError::Message(_) | ResponseError::Malformed | ResponseError::Trailer => Self::Unauthenticated,
        }
    }
}

impl ResponseError {
    /// The failure of the request, if another attempt may have a response. Of a response that does not open, the application may have
    /// begun to process the request.
    pub(crate) fn failure(&self) -> Option<Failure> {
        Some(Failure::from(self)).filter(|failure| *failure != Failure::Unauthenticated)
    }
}
