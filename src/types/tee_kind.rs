//! The kinds of TEE.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::strict_enum::strict_enum;

/// A kind of TEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TeeKind {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl TeeKind {
    /// Returns the name for messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "SEV-SNP",
            Self::Tdx => "Intel TDX",
        }
    }
}

impl<'de> Deserialize<'de> for TeeKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strict_enum(deserializer, &["snp", "tdx"], [Self::Snp, Self::Tdx])
    }
}

impl fmt::Display for TeeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
