//! Which processor made a report, as far as microcode numbers tell processors apart.

use std::fmt;

use serde::Serialize;

use super::Cpuid;
use crate::types::Product;

/// A processor with a microcode of its own.
///
/// The microcode part of a TCB is the low byte of the patch level, and each of these counts its patches by itself: 84 is
/// older than the fix of an advisory on one and newer on another. SNP firmware, boot loader and TEE are of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Silicon {
    /// EPYC 7003: family 0x19, model 0x01, stepping 1; patch levels 0x0a0011xx.
    Milan,
    /// EPYC 7003 with 3D V-Cache: family 0x19, model 0x01, stepping 2; patch levels 0x0a0012xx.
    MilanX,
    /// EPYC 9004: family 0x19, model 0x11, stepping 1; patch levels 0x0a1011xx.
    Genoa,
    /// EPYC 9004 with 3D V-Cache: family 0x19, model 0x11, stepping 2; patch levels 0x0a1012xx.
    GenoaX,
    /// EPYC 97x4 (Bergamo) and 8004 (Siena): family 0x19, model 0xa0, stepping 2; patch levels 0x0aa002xx.
    Bergamo,
    /// EPYC 9005: family 0x1a, model 0x02, stepping 1; patch levels 0x0b0021xx.
    Turin,
    /// EPYC 9005 with dense cores: family 0x1a, model 0x11, stepping 0; patch levels 0x0b1010xx.
    TurinDense,
}

impl Silicon {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Milan, Self::MilanX, Self::Genoa, Self::GenoaX, Self::Bergamo, Self::Turin, Self::TurinDense];

    /// The product that it belongs to, whose keys sign its reports.
    #[must_use]
    pub const fn product(self) -> Product {
        match self {
            Self::Milan | Self::MilanX => Product::Milan,
            Self::Genoa | Self::GenoaX | Self::Bergamo => Product::Genoa,
            Self::Turin | Self::TurinDense => Product::Turin,
        }
    }
}

impl Cpuid {
    /// The processor, where it is one of those whose microcode numbers are known: engineering samples and steppings that
    /// no source names are not guessed.
    #[must_use]
    pub const fn silicon(self) -> Option<Silicon> {
        Some(match (self.family, self.model, self.stepping) {
            (0x19, 0x01, 1) => Silicon::Milan,
            (0x19, 0x01, 2) => Silicon::MilanX,
            (0x19, 0x11, 1) => Silicon::Genoa,
            (0x19, 0x11, 2) => Silicon::GenoaX,
            (0x19, 0xa0, 2) => Silicon::Bergamo,
            (0x1a, 0x02, 1) => Silicon::Turin,
            (0x1a, 0x11, 0) => Silicon::TurinDense,
            _ => return None,
        })
    }
}

impl fmt::Display for Silicon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milan => "Milan",
            Self::MilanX => "Milan-X",
            Self::Genoa => "Genoa",
            Self::GenoaX => "Genoa-X",
            Self::Bergamo => "Bergamo or Siena",
            Self::Turin => "Turin",
            Self::TurinDense => "Turin Dense",
        })
    }
}
