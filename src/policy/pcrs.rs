//! The table `guest.pcrs`: which values the platform configuration registers of a virtual TPM must have.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::PolicyError;
use super::require_table::{check_given, check_list};
use crate::types::Sha256Digest;

pub(crate) const PCRS: &str = "guest.pcrs";

/// The accepted values of each PCR that is required.
pub(crate) type PcrRequirements = BTreeMap<PcrIndex, Vec<Sha256Digest>>;

/// The index of a PCR, which is a string in a file, as every name of a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PcrIndex(pub(crate) u8);

impl PcrIndex {
    /// The EFI applications that were started: boot loader, kernel with its stub, unified kernel image.
    pub(crate) const BOOT_LOADER: Self = Self(4);
    /// Secure Boot: its state, keys and the authorities of what was started.
    pub(crate) const SECURE_BOOT: Self = Self(7);
    /// The commands of GRUB, with the command line of the kernel.
    pub(crate) const GRUB_COMMANDS: Self = Self(8);
    /// The files that GRUB read, or the initial file system that the stub of the kernel read.
    pub(crate) const INITIAL_FILES: Self = Self(9);
    /// The sections of a unified kernel image.
    pub(crate) const KERNEL_IMAGE: Self = Self(11);
    /// What the stub of a kernel gets beside its image: command line, credentials, configuration extensions.
    pub(crate) const OVERRIDES: Self = Self(12);

    /// System extensions, which the stub of a kernel loads from the boot partition.
    pub(crate) const EXTENSIONS: Self = Self(13);

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

/// The PCRs that identify a system together with the boot loader, one row for each way to start a kernel. The second element of each
/// pair says whether zeros are a value of it: zeros in a PCR that this way always extends mean that the system was not started so.
const WAYS_TO_START: [&[(PcrIndex, Zeros)]; 3] = [
    // GRUB starts the kernel. If that has a stub, the stub takes credentials from the boot partition, which the host can write, and
    // measures them in PCR 12 only; zeros mean that there are none.
    &[
        (PcrIndex::GRUB_COMMANDS, Zeros::Refused),
        (PcrIndex::INITIAL_FILES, Zeros::Refused),
        (PcrIndex::OVERRIDES, Zeros::Accepted),
    ],
    // A kernel with its stub, such as in Ubuntu's images for confidential VMs.
    &[(PcrIndex::INITIAL_FILES, Zeros::Refused), (PcrIndex::OVERRIDES, Zeros::Refused)],
    // A unified kernel image. Zeros in PCR 12 mean that nothing was given to it.
    &[(PcrIndex::KERNEL_IMAGE, Zeros::Refused), (PcrIndex::OVERRIDES, Zeros::Accepted)],
];

/// Whether zeros in a PCR are evidence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zeros {
    Accepted,
    Refused,
}

/// Returns which PCRs are missing so that those that are required identify the operating system; `None` if they do.
///
/// PCR 4 measures the EFI applications alone. The command line and the initial file system, which decide what a kernel runs, are in 8
/// and 9 (GRUB, with 12 for a stub that it starts), 9 and 12 (the stub of a kernel), or 11 and 12 (a unified kernel image).
pub(crate) fn missing_for_system(pcrs: &PcrRequirements) -> Option<&'static str> {
    let pins = |(index, zeros): &(PcrIndex, Zeros)| {
        pcrs.get(index).is_some_and(|values| *zeros == Zeros::Accepted || !values.iter().any(Sha256Digest::is_zero))
    };
    if !pins(&(PcrIndex::BOOT_LOADER, Zeros::Refused)) {
        return Some(
            "Azure CVM: the policy requires no value of PCR 4, the boot loader, so that any operating system could have been started",
        );
    }
    if WAYS_TO_START.iter().any(|way| way.iter().all(pins)) {
        return None;
    }
    let given = |index| pcrs.contains_key(&index);
    let has =
        [PcrIndex::GRUB_COMMANDS, PcrIndex::INITIAL_FILES, PcrIndex::KERNEL_IMAGE, PcrIndex::OVERRIDES].map(given);
    Some(match has {
        [false, false, true, false] => {
            "Azure CVM: PCR 12 is not required, which has what overrides the command line of a unified kernel image (PCR 4 and 11)"
        }
        [true, false, false, _] | [true, false, true, false] => {
            "Azure CVM: PCR 9 is not required, which has kernel and initial file system that GRUB (PCR 4 and 8) reads"
        }
        [false, true, _, false] => {
            "Azure CVM: the command line of the kernel is not required: PCR 12, and 8 with GRUB, beside 4 and 9"
        }
        [true, true, _, false] => {
            "Azure CVM: PCR 12 is not required, which has what a kernel with a stub gets from the boot partition when GRUB (PCR 4, 8 and 9) \
             starts it; zeros if it gets nothing"
        }
        [false, false, false, _] => {
            "Azure CVM: PCR 4 alone is the boot loader; its command line and initial file system are in PCR 8, 9 and 12 (GRUB), 9 and 12 \
             (a kernel with its stub) or 11 and 12 (a unified kernel image)"
        }
        _ => {
            "Azure CVM: a PCR of zeros shows that it was not used; values that are not zero are needed of PCR 8 and 9 (GRUB), 9 and 12 \
             (a kernel with its stub) or 11 (a unified kernel image, with 12)"
        }
    })
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
