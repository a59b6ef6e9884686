//! The kinds of key that sign hardware reports.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::strict_enum::strict_enum;

/// Which kind of key signed a report (`SIGNING_KEY`, AMD 56860 table 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SigningKey {
    /// The versioned chip endorsement key: one chip's own.
    Vcek,
    /// The versioned loaded endorsement key: a cloud provider's, the same on many chips.
    Vlek,
}

impl<'de> Deserialize<'de> for SigningKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        strict_enum(deserializer, &["vcek", "vlek"], [Self::Vcek, Self::Vlek])
    }
}

impl SigningKey {
    #[cfg_attr(not(any(feature = "client", feature = "emulator", feature = "crypto-rust")), allow(dead_code))]
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Vcek => Self::Vlek,
            Self::Vlek => Self::Vcek,
        }
    }
}

impl fmt::Display for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        })
    }
}
