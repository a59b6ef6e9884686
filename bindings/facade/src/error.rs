//! [`Error`]: what is reported to a host language, and the codes that its exception types are generated from.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use blindbox_attestation::{AttestationError, Category, ErrorCode};
use serde::Serialize;

/// A failure, as plain data. Its message and its JSON hold nothing that identifies a machine: the appraisal, which does, is
/// separate and must not be printed by a binding on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Error {
    /// The frozen code, such as `debug-mode`.
    pub code: &'static str,
    /// The frozen number, such as 101.
    pub number: u16,
    /// `rejected`, `untrusted`, `unavailable`, `misconfigured` or `internal`.
    pub category: &'static str,
    /// Whether the same call may succeed later without any change of settings or deployment. It does not say that a request may be
    /// repeated: that depends on `request_sent`.
    pub retryable: bool,
    /// Whether the peer may have received the request that failed. If so, repeat it only if processing it twice does no harm.
    pub request_sent: bool,
    /// The reason, for people.
    pub message: String,
    /// All checks as JSON, if the evidence was appraised.
    #[serde(skip)]
    pub appraisal: Option<String>,
}

/// The frozen facts about one kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Code {
    /// The code, such as `debug-mode`.
    pub code: &'static str,
    /// The number.
    pub number: u16,
    /// The category.
    pub category: &'static str,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// The name of an exception type, such as `DebugMode`.
    pub name: &'static str,
}

/// Errors of the facade. The core never uses the numbers from 901 on.
const OWN: [Code; 4] = [CANCELLED, INTERNAL, CLOSED, FORKED];

const CANCELLED: Code =
    Code { code: "cancelled", number: 901, category: "unavailable", retryable: true, name: "Cancelled" };
const INTERNAL: Code =
    Code { code: "internal", number: 902, category: "internal", retryable: false, name: "InternalError" };
const CLOSED: Code = Code { code: "closed", number: 903, category: "misconfigured", retryable: false, name: "Closed" };
const FORKED: Code = Code { code: "forked", number: 904, category: "misconfigured", retryable: false, name: "Forked" };

impl From<&ErrorCode> for Code {
    fn from(of_core: &ErrorCode) -> Self {
        let ErrorCode { code, number, retryable, name, .. } = *of_core;
        Self { code, number, category: name_of(of_core.category), retryable, name }
    }
}

/// Returns all codes: those of the core, in the order of their numbers, then those of the facade.
///
/// A binding that meets a code which it does not know uses the type of its category, so that glue also works with a newer core.
#[must_use]
pub fn codes() -> Vec<Code> {
    let mut codes: Vec<_> = AttestationError::codes().map(Code::from).collect();
    codes.sort_unstable_by_key(|code| code.number);
    codes.extend(OWN);
    codes
}

fn name_of(category: Category) -> &'static str {
    match category {
        Category::Rejected => "rejected",
        Category::Untrusted => "untrusted",
        Category::Unavailable => "unavailable",
        Category::Misconfigured => "misconfigured",
        // A category of a newer core.
        _ => "internal",
    }
}

impl Error {
    fn own(kind: Code, message: impl Into<String>) -> Self {
        let Code { code, number, category, retryable, .. } = kind;
        Self { code, number, category, retryable, request_sent: false, message: message.into(), appraisal: None }
    }

    /// Work that was cancelled. Whether the peer got its request is not known.
    #[must_use]
    pub fn cancelled() -> Self {
        let message = "cancelled; a request that was under way may have been received by the application";
        Self { request_sent: true, ..Self::own(CANCELLED, message) }
    }

    /// Work that was cancelled and has sent no request of the application.
    #[must_use]
    pub fn cancelled_unsent() -> Self {
        Self::own(CANCELLED, "cancelled")
    }

    /// A fault of this library.
    #[must_use]
    pub fn internal(reason: impl fmt::Display) -> Self {
        Self::own(INTERNAL, format!("internal error, nothing was verified: {reason}"))
    }

    /// An object that was closed before.
    #[must_use]
    pub fn closed(what: &str) -> Self {
        Self::own(CLOSED, format!("the {what} is closed"))
    }

    /// An object of another process.
    #[must_use]
    pub fn forked() -> Self {
        let message = "made in another process: a fork shares no connection with its parent; make it in the child, after the fork";
        Self::own(FORKED, message)
    }

    /// An argument of a call that cannot be used.
    #[must_use]
    pub fn argument(reason: impl fmt::Display) -> Self {
        AttestationError::Misconfigured { reason: reason.to_string() }.into()
    }

    /// A call that the host stopped because it took longer than `after`. Whether the peer got its request is not known.
    #[must_use]
    pub fn timeout(after: Duration) -> Self {
        Self { request_sent: true, ..AttestationError::Timeout { what: "the call", after }.into() }
    }

    /// A panic of the core. What it says is not repeated: it may hold anything. A request may have been sent before.
    #[must_use]
    pub fn panicked(_: &(dyn Any + Send)) -> Self {
        let mut error = Self::internal("it panicked; please report what standard error says");
        error.request_sent = true;
        error
    }

    /// Returns the error as JSON, without the appraisal.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<AttestationError> for Error {
    fn from(error: AttestationError) -> Self {
        Self {
            code: error.code(),
            number: error.number(),
            category: name_of(error.category()),
            retryable: error.is_retryable(),
            request_sent: error.request_sent(),
            message: error.to_string(),
            appraisal: error.appraisal().and_then(|appraisal| serde_json::to_string(appraisal).ok()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
