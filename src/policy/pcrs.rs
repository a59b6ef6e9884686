//! The table `guest.pcrs`: which values the platform configuration registers of a virtual TPM must have.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PolicyError;
use super::requirements::{check_given, check_list};
use crate::types::Sha256Digest;

pub(crate) const PCRS: &str = "guest.pcrs";

/// The accepted values of each PCR that is required.
pub(crate) type PcrRequirements = BTreeMap<PcrIndex, Vec<Sha256Digest>>;

/// The index of a PCR, which is a string in a file, as every name of a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PcrIndex(pub(crate) u8);

impl PcrIndex {
    /// Measured before the operating system: firmware (0 to 3), boot loader (4, 5), Secure Boot (7).
    pub(crate) const BOOT_LOADER: Self = Self(4);
    /// The sections of a unified kernel image.
    pub(crate) const KERNEL_IMAGE: Self = Self(11);
    /// What overrides them: command line, credentials, configuration extensions.
    pub(crate) const OVERRIDES: Self = Self(12);

    /// Whether the operating system extends it.
    pub(crate) const fn is_of_the_system(self) -> bool {
        self.0 >= 8
    }
}

impl fmt::Display for PcrIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for PcrIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PcrIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // In its one form: `parse` takes a sign and leading zeros too, so that one PCR had two names.
        let index = text.parse().ok().filter(|index: &u8| index.to_string() == text);
        index.map(Self).ok_or_else(|| D::Error::custom(format!("expected the index of a PCR, found {text:?}")))
    }
}

/// Checks the indices and the lists. A value of zeros is one that a PCR has until something is measured.
pub(super) fn validate(pcrs: Option<&PcrRequirements>) -> Result<(), PolicyError> {
    let Some(pcrs) = pcrs else { return Ok(()) };
    check_given(PCRS, pcrs.is_empty())?;
    for (index, accepted) in pcrs {
        let reason = match index.0 {
            0..=15 => None,
            16 | 23 => Some("names PCR 16 or 23, which the guest can reset, so that their values prove nothing"),
            17..=22 => Some("names one of the PCRs 17 to 22, which Azure's virtual TPMs do not extend"),
            _ => Some("names a PCR above 23, which a TPM does not have"),
        };
        if let Some(reason) = reason {
            return Err(PolicyError::UnusableValue { requirement: PCRS, reason });
        }
        check_list(PCRS, accepted)?;
    }
    Ok(())
}
