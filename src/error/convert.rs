//! Conversions of the error of each step into [`AttestationError`].

use super::AttestationError;
use crate::azure_vm::{AkCertificateError, HclReportError, QuoteError};
use crate::maa::{KeySetError, TokenError};
use crate::policy::PolicyError;
use crate::snp::{CrlError, ReportError};
use crate::uvm::EndorsementError;

impl From<TokenError> for AttestationError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotAnEnclave { attestation_type } => Self::NotAnEnclave { attestation_type },
            TokenError::WrongIssuer { expected, actual } => Self::WrongAttester { expected, actual },
            error => Self::InvalidToken(error),
        }
    }
}

impl From<KeySetError> for AttestationError {
    fn from(error: KeySetError) -> Self {
        Self::InvalidKeySet(error)
    }
}

impl From<ReportError> for AttestationError {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Crl(reason @ (CrlError::Missing | CrlError::Stale { .. } | CrlError::TooOld { .. })) => {
                Self::RevocationUnavailable { reason }
            }
            error => Self::InvalidReport(error),
        }
    }
}

impl From<EndorsementError> for AttestationError {
    fn from(error: EndorsementError) -> Self {
        Self::InvalidUvmEndorsement(error)
    }
}

impl From<HclReportError> for AttestationError {
    fn from(error: HclReportError) -> Self {
        Self::InvalidHclReport(error)
    }
}

impl From<QuoteError> for AttestationError {
    fn from(error: QuoteError) -> Self {
        Self::InvalidTpmQuote(error)
    }
}

impl From<AkCertificateError> for AttestationError {
    fn from(error: AkCertificateError) -> Self {
        Self::InvalidAkCertificate(error)
    }
}

impl From<PolicyError> for AttestationError {
    fn from(error: PolicyError) -> Self {
        Self::InvalidPolicy(error)
    }
}
