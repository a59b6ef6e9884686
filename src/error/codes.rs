//! Codes, numbers and categories of errors, which are frozen, and whether a retry can help.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{AttestationError, Rejection, Violation};
use crate::appraisal::Appraisal;
#[cfg(any(feature = "client", feature = "crypto-rust"))]
use crate::snp::ReportError;

/// The category of an error, which says who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Category {
    /// The evidence is genuine, but the policy does not accept it.
    Rejected,
    /// The evidence is not genuine or not about this peer. Assume an attack.
    Untrusted,
    /// Attestation could not be completed; nothing is known about the peer.
    Unavailable,
    /// The caller's settings or arguments are wrong.
    Misconfigured,
}

/// The frozen facts about one kind of error. [`AttestationError::codes`] lists all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct ErrorCode {
    /// The name of the variant of [`AttestationError`] or [`Violation`], such as `DebugMode`. Bindings can use it as the name of an
    /// exception class.
    pub name: &'static str,
    /// The code, such as `debug-mode`.
    pub code: &'static str,
    /// The number, for interfaces without strings.
    pub number: u16,
    /// The category, which says who has to act.
    pub category: Category,
    /// Whether the same call may succeed later without any change of settings or deployment.
    pub retryable: bool,
}

/// Generates the table of codes of an error type, and the function that returns the row of a value. A variant without a row
/// does not compile.
macro_rules! codes {
    ($table:ident of $type:ty $(, with $($nested:pat => $inner:expr),+)?; $($name:ident => $code:literal, $number:literal, $category:ident, $retryable:literal;)*) => {
        const $table: &[ErrorCode] = &[$(row(stringify!($name), $code, $number, Category::$category, $retryable)),*];

        impl $type {
            /// Returns the code, number and category.
            #[must_use]
            pub fn error_code(&self) -> ErrorCode {
                match self {
                    $(Self::$name { .. } => row(stringify!($name), $code, $number, Category::$category, $retryable),)*
                    $($($nested => $inner.error_code(),)+)?
                }
            }
        }
    };
}

const fn row(name: &'static str, code: &'static str, number: u16, category: Category, retryable: bool) -> ErrorCode {
    ErrorCode { name, code, number, category, retryable }
}

// The number of a removed variant is never used again.
codes! { VIOLATIONS of Violation;
    DebugMode => "debug-mode", 101, Rejected, false;
    MigrationAllowed => "migration-allowed", 102, Rejected, false;
    NonCompliantUvm => "non-compliant-uvm", 103, Rejected, false;
    InvalidEnclaveCode => "invalid-enclave-code", 104, Rejected, false;
    WrongMeasurement => "wrong-measurement", 105, Rejected, false;
    WrongUvm => "wrong-uvm", 106, Rejected, false;
    UvmTooOld => "uvm-too-old", 107, Rejected, false;
    WrongMaaPolicy => "wrong-maa-policy", 108, Rejected, false;
    WrongTeeKind => "wrong-tee-kind", 109, Rejected, false;
    WrongVmpl => "wrong-vmpl", 110, Rejected, false;
    WrongGuestIdentity => "wrong-guest-identity", 111, Rejected, false;
    TcbTooOld => "tcb-too-old", 112, Rejected, false;
    FirmwareTooOld => "firmware-too-old", 113, Rejected, false;
    GuestSvnTooOld => "guest-svn-too-old", 114, Rejected, false;
    WrongGuestPolicy => "wrong-guest-policy", 115, Rejected, false;
    WrongPlatformInfo => "wrong-platform-info", 116, Rejected, false;
    MissingMitigations => "missing-mitigations", 117, Rejected, false;
    WrongChip => "wrong-chip", 118, Rejected, false;
    NotReported => "not-reported", 119, Rejected, false;
    TokenTooOld => "token-too-old", 120, Rejected, false;
    NotPostQuantum => "not-post-quantum", 121, Rejected, false;
    WrongMaaKey => "wrong-maa-key", 122, Rejected, false;
    KeyNotInReport => "key-not-in-report", 123, Rejected, false;
    WrongTcbStatus => "wrong-tcb-status", 124, Rejected, false;
    WrongPcr => "wrong-pcr", 125, Rejected, false;
    PcrNotQuoted => "pcr-not-quoted", 126, Rejected, false;
    WrongVmConfiguration => "wrong-vm-configuration", 127, Rejected, false;
}

codes! { OTHERS of AttestationError,
    with Self::Rejected(rejection) => rejection.violation(), Self::RequestInterrupted { reason } => reason;
    NotAnEnclave => "not-an-enclave", 201, Untrusted, false;
    WrongAttester => "wrong-attester", 202, Untrusted, false;
    ChannelMismatch => "channel-mismatch", 203, Untrusted, false;
    ChannelNotBound => "channel-not-bound", 204, Untrusted, false;
    FalseAttestationReport => "false-attestation-report", 205, Untrusted, false;
    EvidenceMismatch => "evidence-mismatch", 206, Untrusted, false;
    InvalidToken => "invalid-token", 207, Untrusted, false;
    InvalidKeySet => "invalid-key-set", 208, Untrusted, false;
    InvalidReport => "invalid-report", 209, Untrusted, false;
    InvalidUvmEndorsement => "invalid-uvm-endorsement", 210, Untrusted, false;
    MissingEvidence => "missing-evidence", 211, Untrusted, false;
    InvalidAgentAnswer => "invalid-agent-answer", 212, Untrusted, false;
    ServerNameNotValidated => "server-name-not-validated", 213, Untrusted, false;
    InvalidHclReport => "invalid-hcl-report", 214, Untrusted, false;
    InvalidTpmQuote => "invalid-tpm-quote", 215, Untrusted, false;
    InvalidAkCertificate => "invalid-ak-certificate", 216, Untrusted, false;
    ConnectionMismatch => "connection-mismatch", 217, Untrusted, false;
    UnattestedMaaKey => "unattested-maa-key", 218, Untrusted, false;
    MaaTokenNotFound => "maa-token-not-found", 301, Unavailable, false;
    AgentUnreachable => "agent-unreachable", 302, Unavailable, true;
    MaaUnreachable => "maa-unreachable", 303, Unavailable, true;
    KdsUnreachable => "kds-unreachable", 304, Unavailable, true;
    ApplicationUnreachable => "application-unreachable", 305, Unavailable, true;
    Timeout => "timeout", 306, Unavailable, true;
    TooLarge => "too-large", 307, Unavailable, false;
    AttestationExpired => "attestation-expired", 308, Unavailable, false;
    SessionPoisoned => "session-poisoned", 309, Unavailable, false;
    TooManyUnattestedPeers => "too-many-unattested-peers", 310, Unavailable, true;
    RevocationUnavailable => "revocation-unavailable", 311, Unavailable, true;
    KeySetNotAuthenticated => "key-set-not-authenticated", 312, Unavailable, false;
    InvalidResponse => "invalid-response", 313, Unavailable, false;
    InvalidPolicy => "invalid-policy", 401, Misconfigured, false;
    InvalidUrl => "invalid-url", 402, Misconfigured, false;
    InvalidRequest => "invalid-request", 403, Misconfigured, false;
    Misconfigured => "misconfigured", 404, Misconfigured, false;
    ChannelNotAllowed => "channel-not-allowed", 405, Misconfigured, false;
    RequestBodyFailed => "request-body-failed", 406, Misconfigured, false;
}

impl Violation {
    /// Returns the frozen code, such as `debug-mode`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.error_code().code
    }

    /// Returns the frozen number, for interfaces without strings.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.error_code().number
    }
}

impl AttestationError {
    /// Returns all codes in the order of their numbers, for bindings that generate their exception types.
    ///
    /// ```
    /// # use blindbox_attestation::{AttestationError, Category};
    /// let rejected = AttestationError::codes().filter(|code| code.category == Category::Rejected);
    /// assert!(rejected.map(|code| code.name).any(|name| name == "NonCompliantUvm"));
    /// ```
    pub fn codes() -> impl Iterator<Item = &'static ErrorCode> {
        VIOLATIONS.iter().chain(OTHERS)
    }

    /// Returns the frozen code, such as `debug-mode`. For a rejection it is the code of the most severe violation.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.error_code().code
    }

    /// Returns the frozen number, for interfaces without strings.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.error_code().number
    }

    /// Returns the category, which says who has to act.
    #[must_use]
    pub fn category(&self) -> Category {
        self.error_code().category
    }

    /// Returns whether the peer may have received the request that failed, in part or as a whole.
    ///
    /// If false, no byte of the request was sent, or the peer certainly did not process it (RFC 9113 sections 6.8 and 8.7): it can
    /// be sent again without the risk that it is processed twice. Requests for evidence do not count. Errors that are not about a
    /// request, such as those of [`crate::verify`], return false.
    #[must_use]
    pub fn request_sent(&self) -> bool {
        matches!(self, Self::RequestInterrupted { .. } | Self::InvalidResponse { .. })
    }

    /// Returns the reason of [`AttestationError::RequestInterrupted`], or any other error itself: what to match on if it does not
    /// matter whether the request was sent.
    #[must_use]
    pub fn reason(&self) -> &Self {
        match self {
            Self::RequestInterrupted { reason } => reason,
            error => error,
        }
    }

    /// The error of a request that was under way when it failed.
    #[cfg(any(feature = "client", feature = "crypto-rust"))]
    pub(crate) fn after_request_was_sent(self) -> Self {
        if self.request_sent() { self } else { Self::RequestInterrupted { reason: Box::new(self) } }
    }

    /// Whether the same call may succeed later without any change of settings or deployment. This is about attestation and the
    /// network; whether a request may be sent again is [`AttestationError::request_sent`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.error_code().retryable
    }

    /// Returns the most severe violation, if the evidence was genuine but violates the policy.
    ///
    /// ```
    /// # use blindbox_attestation::{AttestationError, Violation};
    /// fn explain(error: &AttestationError) -> &'static str {
    ///     match error.violation() {
    ///         Some(Violation::DebugMode) => "the host can read the memory of this deployment",
    ///         Some(Violation::NonCompliantUvm { .. }) => "MAA did not accept the utility VM",
    ///         Some(_) => "another requirement of the policy is not met",
    ///         None => "nothing is known about the policy's requirements",
    ///     }
    /// }
    /// # explain(&AttestationError::AttestationExpired);
    /// ```
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.rejection().map(Rejection::violation)
    }

    /// Returns all violations, the most severe one first. There are none if the evidence was not appraised.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.rejection().into_iter().flat_map(Rejection::violations)
    }

    /// Returns all checks of the appraisal, if the evidence was genuine but violates the policy.
    #[must_use]
    pub fn appraisal(&self) -> Option<&Appraisal> {
        self.rejection().map(Rejection::appraisal)
    }

    fn rejection(&self) -> Option<&Rejection> {
        match self.reason() {
            Self::Rejected(rejection) => Some(rejection),
            _ => None,
        }
    }

    /// Whether an error is about the peer itself. A key set that cannot be parsed is a fault of the MAA instance, like one that
    /// cannot be fetched; and a bad CRL is a fault of AMD's service or its mirror.
    #[cfg(any(feature = "client", feature = "crypto-rust"))]
    pub(crate) fn is_verdict(&self) -> bool {
        !matches!(self.reason(), Self::InvalidKeySet(_) | Self::InvalidReport(ReportError::Crl(_)))
            && matches!(self.category(), Category::Rejected | Category::Untrusted)
    }
}

/// The machine-readable form, which the command prints too. It omits the checks of an appraisal, which contain values that
/// identify a machine or guest; [`AttestationError::appraisal`] can be serialized separately.
///
/// ```
/// # use blindbox_attestation::AttestationError;
/// let error = AttestationError::SessionPoisoned { cause: "debug-mode" };
/// let json = serde_json::to_value(&error)?;
/// assert_eq!(json["code"], "session-poisoned");
/// assert_eq!(json["number"], 309);
/// assert_eq!(json["category"], "unavailable");
/// assert_eq!(json["retryable"], false);
/// assert_eq!(json["request_sent"], false);
/// assert_eq!(json["message"], error.to_string());
/// # Ok::<(), serde_json::Error>(())
/// ```
impl Serialize for AttestationError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ErrorCode { code, number, category, retryable, .. } = self.error_code();
        let violations: Vec<_> = self.violations().collect();
        let fields = if violations.is_empty() { 6 } else { 7 };
        let mut object = serializer.serialize_struct("AttestationError", fields)?;
        object.serialize_field("code", code)?;
        object.serialize_field("number", &number)?;
        object.serialize_field("category", &category)?;
        object.serialize_field("retryable", &retryable)?;
        object.serialize_field("request_sent", &self.request_sent())?;
        object.serialize_field("message", &self.to_string())?;
        if violations.is_empty() {
            object.skip_field("violations")?;
        } else {
            object.serialize_field("violations", &violations)?;
        }
        object.end()
    }
}
