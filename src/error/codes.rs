//! Codes, numbers and categories of errors, which are frozen, and whether a retry can help.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::AttestationError;
use crate::appraisal::Appraisal;
#[cfg(feature = "client")]
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
        let (code, number, category) = self.code_number_category();
        let mut object = serializer.serialize_struct("AttestationError", 6)?;
        object.serialize_field("code", code)?;
        object.serialize_field("number", &number)?;
        object.serialize_field("category", &category)?;
        object.serialize_field("retryable", &self.is_retryable())?;
        object.serialize_field("request_sent", &self.request_sent())?;
        object.serialize_field("message", &self.to_string())?;
        object.end()
    }
}

impl AttestationError {
    /// Returns the frozen code, such as `debug-mode`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code_number_category().0
    }

    /// Returns the frozen number, for interfaces without strings.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.code_number_category().1
    }

    /// Returns the severity: of several violations, the one with the lowest value becomes the error.
    pub(crate) fn severity(&self) -> u32 {
        match self {
            // First, because a VM's evidence under a policy for containers makes all other checks meaningless, and vice versa.
            Self::WrongTeeKind { .. } => 1025,
            error => u32::from(error.number()).saturating_mul(10),
        }
    }

    /// Returns the category, which says who has to act.
    #[must_use]
    pub fn category(&self) -> Category {
        self.code_number_category().2
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
    #[cfg(feature = "client")]
    pub(crate) fn after_request_was_sent(self) -> Self {
        if self.request_sent() { self } else { Self::RequestInterrupted { reason: Box::new(self) } }
    }

    /// Whether the same call may succeed later without any change of settings or deployment. This is about attestation and the
    /// network; whether a request may be sent again is [`AttestationError::request_sent`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.reason(),
            Self::AgentUnreachable { .. }
                | Self::MaaUnreachable { .. }
                | Self::KdsUnreachable { .. }
                | Self::ApplicationUnreachable { .. }
                | Self::Timeout { .. }
                | Self::TooManyUnattestedPeers { .. }
                | Self::RevocationUnavailable { .. }
        )
    }

    /// Whether an error is about the peer itself. A key set that cannot be parsed is a fault of the MAA instance, like one that
    /// cannot be fetched; and a bad CRL is a fault of AMD's service or its mirror.
    #[cfg(feature = "client")]
    pub(crate) fn is_verdict(&self) -> bool {
        !matches!(self.reason(), Self::InvalidKeySet(_) | Self::InvalidReport(ReportError::Crl(_)))
            && matches!(self.category(), Category::Rejected | Category::Untrusted)
    }

    /// Returns all checks of the appraisal, if the evidence was genuine but violates the policy.
    #[must_use]
    pub fn appraisal(&self) -> Option<&Appraisal> {
        match self.reason() {
            Self::DebugMode { appraisal }
            | Self::MigrationAllowed { appraisal }
            | Self::NonCompliantUvm { appraisal, .. }
            | Self::InvalidEnclaveCode { appraisal, .. }
            | Self::WrongMeasurement { appraisal, .. }
            | Self::WrongUvm { appraisal, .. }
            | Self::UvmTooOld { appraisal, .. }
            | Self::WrongMaaPolicy { appraisal, .. }
            | Self::WrongTeeKind { appraisal, .. }
            | Self::WrongVmpl { appraisal, .. }
            | Self::WrongGuestIdentity { appraisal, .. }
            | Self::TcbTooOld { appraisal, .. }
            | Self::FirmwareTooOld { appraisal, .. }
            | Self::GuestSvnTooOld { appraisal, .. }
            | Self::WrongGuestPolicy { appraisal, .. }
            | Self::WrongPlatformInfo { appraisal, .. }
            | Self::MissingMitigations { appraisal, .. }
            | Self::WrongChip { appraisal, .. }
            | Self::NotReported { appraisal, .. }
            | Self::TokenTooOld { appraisal, .. }
            | Self::NotPostQuantum { appraisal, .. } => Some(appraisal),
            _ => None,
        }
    }

    /// Returns code, number and category, which are frozen. The number of a removed variant is never used again.
    fn code_number_category(&self) -> (&'static str, u16, Category) {
        use Category::{Misconfigured, Rejected, Unavailable, Untrusted};
        match self {
            Self::DebugMode { .. } => ("debug-mode", 101, Rejected),
            Self::MigrationAllowed { .. } => ("migration-allowed", 102, Rejected),
            Self::NonCompliantUvm { .. } => ("non-compliant-uvm", 103, Rejected),
            Self::InvalidEnclaveCode { .. } => ("invalid-enclave-code", 104, Rejected),
            Self::WrongMeasurement { .. } => ("wrong-measurement", 105, Rejected),
            Self::WrongUvm { .. } => ("wrong-uvm", 106, Rejected),
            Self::UvmTooOld { .. } => ("uvm-too-old", 107, Rejected),
            Self::WrongMaaPolicy { .. } => ("wrong-maa-policy", 108, Rejected),
            Self::WrongTeeKind { .. } => ("wrong-tee-kind", 109, Rejected),
            Self::WrongVmpl { .. } => ("wrong-vmpl", 110, Rejected),
            Self::WrongGuestIdentity { .. } => ("wrong-guest-identity", 111, Rejected),
            Self::TcbTooOld { .. } => ("tcb-too-old", 112, Rejected),
            Self::FirmwareTooOld { .. } => ("firmware-too-old", 113, Rejected),
            Self::GuestSvnTooOld { .. } => ("guest-svn-too-old", 114, Rejected),
            Self::WrongGuestPolicy { .. } => ("wrong-guest-policy", 115, Rejected),
            Self::WrongPlatformInfo { .. } => ("wrong-platform-info", 116, Rejected),
            Self::MissingMitigations { .. } => ("missing-mitigations", 117, Rejected),
            Self::WrongChip { .. } => ("wrong-chip", 118, Rejected),
            Self::NotReported { .. } => ("not-reported", 119, Rejected),
            Self::TokenTooOld { .. } => ("token-too-old", 120, Rejected),
            Self::NotPostQuantum { .. } => ("not-post-quantum", 121, Rejected),
            Self::NotAnEnclave { .. } => ("not-an-enclave", 201, Untrusted),
            Self::WrongAttester { .. } => ("wrong-attester", 202, Untrusted),
            Self::ChannelMismatch { .. } => ("channel-mismatch", 203, Untrusted),
            Self::ChannelNotBound { .. } => ("channel-not-bound", 204, Untrusted),
            Self::FalseAttestationReport { .. } => ("false-attestation-report", 205, Untrusted),
            Self::EvidenceMismatch { .. } => ("evidence-mismatch", 206, Untrusted),
            Self::InvalidToken(_) => ("invalid-token", 207, Untrusted),
            Self::InvalidKeySet(_) => ("invalid-key-set", 208, Untrusted),
            Self::InvalidReport(_) => ("invalid-report", 209, Untrusted),
            Self::InvalidUvmEndorsement(_) => ("invalid-uvm-endorsement", 210, Untrusted),
            Self::MissingEvidence { .. } => ("missing-evidence", 211, Untrusted),
            Self::InvalidAgentAnswer { .. } => ("invalid-agent-answer", 212, Untrusted),
            Self::ServerNameNotValidated { .. } => ("server-name-not-validated", 213, Untrusted),
            Self::MaaTokenNotFound { .. } => ("maa-token-not-found", 301, Unavailable),
            Self::AgentUnreachable { .. } => ("agent-unreachable", 302, Unavailable),
            Self::MaaUnreachable { .. } => ("maa-unreachable", 303, Unavailable),
            Self::KdsUnreachable { .. } => ("kds-unreachable", 304, Unavailable),
            Self::ApplicationUnreachable { .. } => ("application-unreachable", 305, Unavailable),
            Self::Timeout { .. } => ("timeout", 306, Unavailable),
            Self::TooLarge { .. } => ("too-large", 307, Unavailable),
            Self::AttestationExpired => ("attestation-expired", 308, Unavailable),
            Self::SessionPoisoned { .. } => ("session-poisoned", 309, Unavailable),
            Self::TooManyUnattestedPeers { .. } => ("too-many-unattested-peers", 310, Unavailable),
            Self::RevocationUnavailable { .. } => ("revocation-unavailable", 311, Unavailable),
            Self::KeySetNotAuthenticated { .. } => ("key-set-not-authenticated", 312, Unavailable),
            Self::InvalidResponse { .. } => ("invalid-response", 313, Unavailable),
            Self::RequestInterrupted { reason } => reason.code_number_category(),
            Self::InvalidPolicy(_) => ("invalid-policy", 401, Misconfigured),
            Self::InvalidUrl { .. } => ("invalid-url", 402, Misconfigured),
            Self::InvalidRequest { .. } => ("invalid-request", 403, Misconfigured),
            Self::Misconfigured { .. } => ("misconfigured", 404, Misconfigured),
            Self::ChannelNotAllowed { .. } => ("channel-not-allowed", 405, Misconfigured),
        }
    }
}
