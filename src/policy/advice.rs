//! Advice on AMD's advisories: whether evidence shows that one is fixed.

use std::fmt;

use serde::Serialize;

use super::advisories::{Advisory, Fix, Mitigation};
use super::require_table::PlatformInfoBit;
use crate::claims::{Bit, Cpuid, HardwareClaims, PlatformInfo, Silicon, SnpClaims};
use crate::types::{Product, Tcb};

/// The platform's state in evidence. A report has all fields, a token some.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Platform<'a> {
    pub(crate) product: Option<Product>,
    pub(crate) cpuid: Option<Cpuid>,
    pub(crate) reported_tcb: &'a Tcb,
    pub(crate) hardware: Option<&'a HardwareClaims>,
}

/// The status of an advisory according to the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AdvisoryStatus {
    /// The evidence shows that the fix is active.
    Fixed,
    /// The fix is not active, or an older version of it is.
    NotFixed(Unmet),
    /// The evidence does not carry the claim that would show the fix.
    NotReported {
        /// The missing claim.
        claim: &'static str,
    },
    /// No source of this release says what shows the fix on this processor, or whether it needs one.
    NothingKnown,
}

/// A condition of a fix that the evidence does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "unmet", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unmet {
    /// A component of `REPORTED_TCB` is too old.
    Tcb {
        /// Its name in a policy file.
        part: &'static str,
        /// The minimum version.
        minimum: u8,
        /// The reported version; absent if the processor has no such component.
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

/// Formats the expected value.
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
    /// Returns the reported value.
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
    /// Returns the status of the advisory on a platform.
    pub(crate) fn status(&self, platform: &Platform<'_>) -> AdvisoryStatus {
        let Some(product) = platform.product else {
            return self.of_any(None, platform, Microcode::Unknown { claim: "product" });
        };
        match platform.cpuid.map(|cpuid| (cpuid, cpuid.silicon())) {
            // A report whose certificate is of another product does not verify. If one did, nothing would be known of it.
            Some((_, Some(silicon))) if silicon.product() != product => {
                AdvisoryStatus::NotReported { claim: "a cpuid of the certificate's product" }
            }
            Some((_, Some(silicon))) => match self.fix(silicon) {
                Some(fix) => fix.status(platform, Microcode::Known),
                None => AdvisoryStatus::NothingKnown,
            },
            Some((_, None)) => self.of_any(Some(product), platform, Microcode::Unknown { claim: "a known stepping" }),
            None => self.of_any(Some(product), platform, Microcode::Unknown { claim: "cpuid" }),
        }
    }

    /// Returns what showed the fix, if its status is [`AdvisoryStatus::Fixed`]: the values that its conditions read.
    pub(crate) fn shown_by(&self, platform: &Platform<'_>) -> String {
        let known = platform.cpuid.and_then(|cpuid| cpuid.silicon());
        let may_be = |silicon: &Silicon| match known {
            Some(known) => known == *silicon,
            None => platform.product.is_none_or(|product| silicon.product() == product),
        };
        let fixes = || self.fixes.iter().filter(|fix| fix.silicon.iter().any(may_be));
        let mut shown = Vec::new();
        if fixes().any(|fix| fix.tcb != super::TcbMinimum::default()) {
            shown.push(platform.reported_tcb.to_string());
        }
        shown.extend(fixes().find_map(|fix| fix.mitigation).map(|bit| format!("mitigation of {bit} set")));
        shown.extend(fixes().find_map(|fix| fix.platform_info).map(|bit| format!("platform {bit} set")));
        shown.join(", ")
    }

    /// Returns the conditions that show the fix on a processor.
    #[must_use]
    pub fn fix(&self, silicon: Silicon) -> Option<&'static Fix> {
        self.fixes.iter().find(|fix| fix.silicon.contains(&silicon))
    }

    /// Returns the status on an unknown processor of a product, or of any product: only a status that all of them share.
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
            // A version below the minimum of every candidate is too old, whichever processor it is.
            Some(first) if all(|status| matches!(status, AdvisoryStatus::NotFixed(_))) => *first,
            Some(first) if statuses.iter().all(|status| status == first) => *first,
            _ => AdvisoryStatus::NotReported { claim: microcode.claim() },
        }
    }
}

/// Whether microcode versions can be compared, which requires a known processor.
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
    /// Combines two statuses: not fixed before not reported, not reported before fixed.
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

/// Checks that a mitigation was active when the guest was launched and still is.
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
    /// Returns the name of the bit's check in an appraisal.
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

    /// Returns the bit's value in a report.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::advisories;

    #[test]
    fn a_cpuid_of_another_product_shows_no_fix_and_no_absence_of_figures() {
        let reported_tcb = &Tcb::new(None, 4, 0, 255, 255);
        let cpuid = Some(Cpuid { family: 0x1a, model: 2, stepping: 1 });
        for product in [Product::Milan, Product::Genoa] {
            let platform = Platform { product: Some(product), cpuid, reported_tcb, hardware: None };
            for advisory in advisories::all() {
                let expected = AdvisoryStatus::NotReported { claim: "a cpuid of the certificate's product" };
                assert_eq!(advisory.status(&platform), expected, "{}", advisory.name);
            }
        }
    }
}
