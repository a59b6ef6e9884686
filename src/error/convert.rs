//! Conversions of the error of each step into [`AttestationError`].

use super::AttestationError;
use crate::azure_vm::{AkCertificateError, HclReportError, QuoteError};
use crate::maa::{KeySetError, TokenError};
use crate::message::binary_http::BinaryHttpError;
use crate::message::exchange::stream::MessageError;
use crate::policy::PolicyError;
use crate::snp::{CrlError, ReportError};
use crate::uvm::EndorsementError;

/// The error of a request that cannot be sealed.
impl From<MessageError> for AttestationError {
    fn from(error: MessageError) -> Self {
        let reason = match error {
            MessageError::BinaryHttp(BinaryHttpError::TooLarge) => {
                "expected at most 256 headers and 64 KiB of them in a sealed request"
            }
            MessageError::BinaryHttp(_) => "expected a method, a target and headers that a sealed request can carry",
            MessageError::Reserved(_) => {
                "expected no header that the protocol of sealed messages writes, or that belongs to a connection"
            }
            MessageError::TooManyUnderWay => {
                let reason = "1023 sealed requests follow one of the same attestation whose response has not begun; nothing of this one was sent";
                return Self::ApplicationUnreachable { reason: reason.to_owned(), source: None };
            }
            // Of all keys with the right length, the algorithms refuse only those that decrypt nothing.
            MessageError::Chunk(_) => {
                let reason = "expected a message key that can be sealed to".to_owned();
                return Self::InvalidAgentAnswer { reason };
            }
        };
        Self::InvalidRequest { reason }
    }
}

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
