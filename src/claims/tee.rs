//! [`TeeClaims`]: the state of a TEE, by its kind.

use serde::Serialize;

use super::{SnpClaims, TdxClaims};
use crate::types::{ReportData, TeeKind};

/// The state of a TEE, according to MAA or the hardware. Each kind of TEE has claims of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
// There is one for each evidence, and never a list of them: a box would save nothing.
#[allow(clippy::large_enum_variant)]
pub enum TeeClaims {
    /// A guest of AMD SEV-SNP.
    Snp(SnpClaims),
    /// A guest of Intel TDX.
    Tdx(TdxClaims),
}

impl TeeClaims {
    /// Returns the kind of TEE.
    #[must_use]
    pub const fn kind(&self) -> TeeKind {
        match self {
            Self::Snp(_) => TeeKind::Snp,
            Self::Tdx(_) => TeeKind::Tdx,
        }
    }

    /// Returns the claims of a SEV-SNP guest, if it is one.
    #[must_use]
    pub const fn snp(&self) -> Option<&SnpClaims> {
        match self {
            Self::Snp(snp) => Some(snp),
            Self::Tdx(_) => None,
        }
    }

    /// Returns the claims of a TDX guest, if it is one.
    #[must_use]
    pub const fn tdx(&self) -> Option<&TdxClaims> {
        match self {
            Self::Tdx(tdx) => Some(tdx),
            Self::Snp(_) => None,
        }
    }

    /// Returns the 64 bytes that were chosen inside the TEE and that its evidence covers.
    #[must_use]
    pub const fn report_data(&self) -> &ReportData {
        match self {
            Self::Snp(snp) => &snp.report_data,
            Self::Tdx(tdx) => &tdx.report_data,
        }
    }
}
