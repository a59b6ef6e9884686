//! [`TeeClaims`]: the state of a TEE, by its kind.

use serde::Serialize;

use super::SnpClaims;
use crate::types::ReportData;

/// The state of a TEE, according to MAA or the hardware. Each kind of TEE has claims of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TeeClaims {
    /// A guest of AMD SEV-SNP.
    Snp(SnpClaims),
}

impl TeeClaims {
    /// Returns the claims of a SEV-SNP guest, if it is one.
    #[must_use]
    pub const fn snp(&self) -> Option<&SnpClaims> {
        match self {
            Self::Snp(snp) => Some(snp),
        }
    }

    /// Returns the 64 bytes that were chosen inside the TEE and that its evidence covers.
    #[must_use]
    pub const fn report_data(&self) -> &ReportData {
        match self {
            Self::Snp(snp) => &snp.report_data,
        }
    }
}
