//! [`MaaKeyError`]: the reasons why a key of MAA is not attested.

use crate::maa::KeyEvidenceError;
use crate::snp::{CertificateError, ReportError};
use crate::types::{Measurement, ReportData, Sha256Digest};
use crate::uvm::EndorsementError;

/// The reason why the key that signed a token is not proven to be in a confidential container, which the policy requires.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaaKeyError {
    /// Its certificate carries no evidence that can be read.
    #[error(transparent)]
    Evidence(#[from] KeyEvidenceError),
    /// The certificates of the key that signed the report cannot be read.
    #[error("the certificates of its hardware report cannot be read: {0}")]
    Certificates(CertificateError),
    /// The hardware report does not verify.
    #[error("its hardware report is refused: {0}")]
    Report(ReportError),
    /// The endorsement of the utility VM does not verify.
    #[error("the endorsement of its utility VM is refused: {0}")]
    Endorsement(EndorsementError),
    /// The report is about another key.
    #[error(
        "expected a report with the digest of the key, {expected}, and zeros as report data, found {actual}: it is about another key"
    )]
    OtherKey {
        /// The digest of the key.
        expected: Sha256Digest,
        /// The report data.
        actual: ReportData,
    },
    /// The endorsement is of another launch measurement than that of the report.
    #[error("its utility VM is endorsed with the launch measurement {endorsed}, the report has {actual}")]
    OtherMeasurement {
        /// The endorsed measurement.
        endorsed: Measurement,
        /// The measurement of the report.
        actual: Measurement,
    },
}
