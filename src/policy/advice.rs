//! Whether evidence shows that an advisory is fixed.

use std::fmt;

use serde::Serialize;

use super::advisories::{Advisory, Fix, Mitigation};
use super::requirements::PlatformInfoBit;
use crate::claims::{Bit, Cpuid, HardwareClaims, PlatformInfo, Silicon, SnpClaims};
use crate::types::{Product, Tcb};

/// What evidence says of the platform: a report all of it, a token less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Platform<'a> {
    pub(crate) product: Option<Product>,
    pub(crate) cpuid: Option<Cpuid>,
    pub(crate) reported_tcb: &'a Tcb,
    pub(crate) hardware: Option<&'a HardwareClaims>,
}

/// What evidence shows of an advisory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdvisoryStatus {
    /// All that shows the fix is there.
    Fixed,
    /// The fix is not in force, or its predecessor is.
    NotFixed(Unmet),
    /// The evidence does not carry what would show it.
    NotReported {
        /// What it would have to say.
        claim: &'static str,
    },
    /// No source that this release cites says what shows the fix on this processor, or that it needs one.
    NothingKnown,
}

/// What a fix asks for and evidence does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "unmet", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unmet {
    /// A part of `REPORTED_TCB` is too old.
    Tcb {
        /// Its name in a policy file.
        part: &'static str,
        /// The least version.
        minimum: u8,
        /// The version; absent where the processor has no such part.
        #[serde(skip_serializing_if = "Option::is_none")]
        actual: Option<u8>,
    },
    /// A bit of a mitigation vector is not set.
    Mitigation {
        /// The vector: `launch` or `current`.
        vector: &'static str,
        /// The bit.
        expected: u64,
        /// The vector's value.
        actual: u64,
    },
    /// A bit of `PLATFORM_INFO` is not set.
    PlatformInfo {
        /// The bit.
        bit: PlatformInfoBit,
    },
}

/// What is needed.
impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcb { part, minimum, .. } => write!(f, "{part} {minimum} or later"),
            Self::Mitigation { vector, expected, .. } => write!(f, "bit {expected:#x} of the {vector} mitigations"),
            Self::PlatformInfo { bit } => write!(f, "platform info {bit} set"),
        }
    }
}

impl Unmet {
    /// What there is instead.
    pub(crate) fn found(&self, platform: &Platform<'_>) -> String {
        match self {
            Self::Tcb { .. } => platform.reported_tcb.to_string(),
            Self::Mitigation { actual, .. } => format!("{actual:#x}"),
            Self::PlatformInfo { .. } => "clear".to_owned(),
        }
    }
}

impl<'a> Platform<'a> {
    pub(crate) const fn new(snp: &'a SnpClaims, hardware: Option<&'a HardwareClaims>) -> Self {
        let cpuid = match hardware {
            Some(hardware) => hardware.cpuid,
            None => None,
        };
        Self { product: snp.product, cpuid, reported_tcb: &snp.reported_tcb, hardware }
    }
}

impl Advisory {
    /// What this evidence shows of the advisory.
    pub(crate) fn status(&self, platform: &Platform<'_>) -> AdvisoryStatus {
        let Some(product) = platform.product else {
            return self.of_any(None, platform, Microcode::Unknown { claim: "product" });
        };
        match platform.cpuid.map(|cpuid| (cpuid, cpuid.silicon())) {
            Some((_, Some(silicon))) => match self.fix(silicon) {
                Some(fix) => fix.status(platform, Microcode::Known),
                None => AdvisoryStatus::NothingKnown,
            },
            Some((_, None)) => self.of_any(Some(product), platform, Microcode::Unknown { claim: "a known stepping" }),
            None => self.of_any(Some(product), platform, Microcode::Unknown { claim: "cpuid" }),
        }
    }

    /// What shows the fix on this processor.
    #[must_use]
    pub fn fix(&self, silicon: Silicon) -> Option<&'static Fix> {
        self.fixes.iter().find(|fix| fix.silicon.contains(&silicon))
    }

    /// Some processor of this product, or of any: what holds for each of them holds for it.
    fn of_any(&self, product: Option<Product>, platform: &Platform<'_>, microcode: Microcode) -> AdvisoryStatus {
        let each =
            Silicon::ALL.into_iter().filter(|silicon| product.is_none_or(|product| silicon.product() == product));
        let statuses: Vec<_> = each
            .map(|silicon| {
                self.fix(silicon).map_or(AdvisoryStatus::NothingKnown, |fix| fix.status(platform, microcode))
            })
            .collect();
        let all = |is: fn(&AdvisoryStatus) -> bool| statuses.iter().all(is);
        match statuses.first() {
            // Too old for one of them is too old for it, by whichever number.
            Some(first) if all(|status| matches!(status, AdvisoryStatus::NotFixed(_))) => *first,
            Some(first) if statuses.iter().all(|status| status == first) => *first,
            _ => AdvisoryStatus::NotReported { claim: microcode.claim() },
        }
    }
}

/// Whether microcode numbers mean anything: they do where the processor is known.
#[derive(Clone, Copy)]
enum Microcode {
    Known,
    Unknown { claim: &'static str },
}

impl Microcode {
    const fn claim(self) -> &'static str {
        match self {
            Self::Known => "microcode",
            Self::Unknown { claim } => claim,
        }
    }
}

impl Fix {
    /// Something that is not met weighs more than something that is not said, and that more than all that is met.
    fn status(&self, platform: &Platform<'_>, microcode: Microcode) -> AdvisoryStatus {
        let conditions = [
            self.tcb_status(platform, microcode),
            self.mitigation.map_or(AdvisoryStatus::Fixed, |bit| mitigation_status(bit, platform)),
            self.platform_info.map_or(AdvisoryStatus::Fixed, |bit| platform_info_status(bit, platform)),
        ];
        let find = |is: fn(&AdvisoryStatus) -> bool| conditions.into_iter().find(is);
        find(|status| matches!(status, AdvisoryStatus::NotFixed(_)))
            .or_else(|| find(|status| matches!(status, AdvisoryStatus::NotReported { .. })))
            .unwrap_or(AdvisoryStatus::Fixed)
    }

    fn tcb_status(&self, platform: &Platform<'_>, microcode: Microcode) -> AdvisoryStatus {
        let mut floor = self.tcb;
        let unknown = match (microcode, floor.microcode) {
            (Microcode::Unknown { claim }, Some(_)) => {
                floor.microcode = None;
                Some(claim)
            }
            _ => None,
        };
        match (floor.first_unmet(platform.reported_tcb), unknown) {
            (Some((part, minimum, actual)), _) => AdvisoryStatus::NotFixed(Unmet::Tcb { part, minimum, actual }),
            (None, Some(claim)) => AdvisoryStatus::NotReported { claim },
            (None, None) => AdvisoryStatus::Fixed,
        }
    }
}

/// A mitigation must have been in force when the guest was launched, and still be.
fn mitigation_status(bit: Mitigation, platform: &Platform<'_>) -> AdvisoryStatus {
    let vectors = |hardware: &HardwareClaims| {
        [
            ("launch", "launch mitigations", hardware.launch_mitigation_vector),
            ("current", "current mitigations", hardware.current_mitigation_vector),
        ]
    };
    let Some(hardware) = platform.hardware else { return AdvisoryStatus::NotReported { claim: "launch mitigations" } };
    let expected = bit.mask();
    for (vector, claim, actual) in vectors(hardware) {
        match actual {
            None => return AdvisoryStatus::NotReported { claim },
            Some(actual) if actual & expected == 0 => {
                return AdvisoryStatus::NotFixed(Unmet::Mitigation { vector, expected, actual });
            }
            Some(_) => {}
        }
    }
    AdvisoryStatus::Fixed
}

fn platform_info_status(bit: PlatformInfoBit, platform: &Platform<'_>) -> AdvisoryStatus {
    match platform.hardware.map_or(Bit::NotReported, |hardware| bit.of(&hardware.platform_info)) {
        Bit::Set => AdvisoryStatus::Fixed,
        Bit::Clear => AdvisoryStatus::NotFixed(Unmet::PlatformInfo { bit }),
        Bit::NotReported => AdvisoryStatus::NotReported { claim: bit.check_name() },
    }
}

impl PlatformInfoBit {
    /// The name of its check in an appraisal.
    pub(crate) const fn check_name(self) -> &'static str {
        match self {
            Self::SmtEn => "platform smt-en",
            Self::TsmeEn => "platform tsme-en",
            Self::EccEn => "platform ecc-en",
            Self::RaplDis => "platform rapl-dis",
            Self::CiphertextHidingDramEn => "platform ciphertext-hiding",
            Self::AliasCheckComplete => "platform alias-check",
            Self::IommuWriteSafe => "platform iommu-write-safe",
            Self::TioEn => "platform tio-en",
        }
    }

    /// What a report says of it.
    pub(crate) fn of(self, info: &PlatformInfo) -> Bit {
        match self {
            Self::SmtEn => info.smt_en.into(),
            Self::TsmeEn => info.tsme_en.into(),
            Self::EccEn => info.ecc_en,
            Self::RaplDis => info.rapl_dis,
            Self::CiphertextHidingDramEn => info.ciphertext_hiding_dram_en,
            Self::AliasCheckComplete => info.alias_check_complete,
            Self::IommuWriteSafe => info.iommu_write_safe,
            Self::TioEn => info.tio_en,
        }
    }
}
