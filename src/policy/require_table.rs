//! The table `require` of a policy: its fields and the checks of their values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PolicyError;
use super::advisories::{self, Mitigation};
use super::requirement::{CarriedBy, Requirement};
use super::strict_serde::strict;
use super::tcb::TcbMinima;
use crate::types::{
    ChipId, FamilyId, FirmwareVersion, ImageId, KeyDigest, Measurement, Product, ReportId, SigningKey, TeeKind, VmId,
};

/// The requirements beyond the constructor's arguments. Every field that is set is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Requirements {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measurements: Option<Vec<Measurement>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compliance_status: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tee: Option<Vec<TeeKind>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tcb_status: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vmpl: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_report_guest_svn: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id_keys: Option<Vec<KeyDigest>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) author_keys: Option<Vec<KeyDigest>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) family_ids: Option<Vec<FamilyId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_ids: Option<Vec<ImageId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chip_ids: Option<Vec<ChipId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) products: Option<Vec<Product>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) report_ids: Option<Vec<ReportId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vm_ids: Option<Vec<VmId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vm_configuration: Option<BTreeMap<VmConfigurationBit, BitRequirement>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ak_certificate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reported_tcb: Option<TcbMinima>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) committed_tcb: Option<TcbMinima>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current_tcb: Option<TcbMinima>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) launch_tcb: Option<TcbMinima>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advisories: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advisories_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mitigations: Option<Vec<Mitigation>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) csp_ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) guest_policy: Option<BTreeMap<GuestPolicyBit, BitRequirement>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_guest_abi: Option<AbiVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform_info: Option<BTreeMap<PlatformInfoBit, BitRequirement>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_firmware: Option<FirmwareVersion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_committed_firmware: Option<FirmwareVersion>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) committed_firmware_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signing_keys: Option<Vec<SigningKey>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) author_key: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) launch_mitigations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current_mitigations: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_token_age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_session_age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) post_quantum: bool,
}

/// Which evidence a policy requests.
pub(super) struct Requested {
    pub(super) amd: bool,
    pub(super) maa: bool,
    /// The report of the paravisor of a confidential VM.
    pub(super) paravisor: bool,
}

impl Requirements {
    pub(super) fn validate(&self, Requested { amd, maa, paravisor }: Requested) -> Result<(), PolicyError> {
        check_values(Requirement::Measurements, self.measurements.as_deref(), Measurement::is_zero)?;
        check_values(Requirement::IdKeys, self.id_keys.as_deref(), KeyDigest::is_zero)?;
        check_values(Requirement::AuthorKeys, self.author_keys.as_deref(), KeyDigest::is_zero)?;
        check_values(Requirement::FamilyIds, self.family_ids.as_deref(), FamilyId::is_zero)?;
        check_values(Requirement::ImageIds, self.image_ids.as_deref(), ImageId::is_zero)?;
        check_values(Requirement::ChipIds, self.chip_ids.as_deref(), ChipId::is_zero)?;
        check_values(Requirement::ReportIds, self.report_ids.as_deref(), ReportId::is_zero)?;
        check_values(Requirement::VmIds, self.vm_ids.as_deref(), |id| id.as_bytes() == &[0; 16])?;
        check_values(Requirement::ComplianceStatus, self.compliance_status.as_deref(), String::is_empty)?;
        check_values(Requirement::Tee, self.tee.as_deref(), |_| false)?;
        check_values(Requirement::TcbStatus, self.tcb_status.as_deref(), String::is_empty)?;
        check_values(Requirement::Vmpl, self.vmpl.as_deref(), |_| false)?;
        check_values(Requirement::Products, self.products.as_deref(), |_| false)?;
        check_values(Requirement::SigningKeys, self.signing_keys.as_deref(), |_| false)?;
        check_values(Requirement::Mitigations, self.mitigations.as_deref(), |_| false)?;
        check_values(Requirement::CspIds, self.csp_ids.as_deref(), String::is_empty)?;
        check_names("require.advisories", self.advisories.as_deref(), |_| false)?;
        self.advisories.iter().flatten().try_for_each(|name| advisories::check_known(name))?;
        advisories::check_day(self.advisories_until.as_deref())?;
        if self.vmpl.iter().flatten().any(|vmpl| *vmpl > 3) {
            let reason = "there are the levels 0, 1, 2 and 3 only";
            return Err(PolicyError::UnusableValue { requirement: Requirement::Vmpl.field(), reason });
        }
        for (requirement, number) in [
            (Requirement::MaxTokenAge, self.max_token_age_seconds),
            (Requirement::MaxSessionAge, self.max_session_age_seconds),
            (Requirement::LaunchMitigations, self.launch_mitigations),
            (Requirement::CurrentMitigations, self.current_mitigations),
            (Requirement::MinimumReportGuestSvn, self.minimum_report_guest_svn.map(u64::from)),
            (Requirement::MinimumGuestAbi, self.minimum_guest_abi.map(|abi| u64::from(abi.major | abi.minor))),
            (Requirement::MinimumFirmware, self.minimum_firmware.map(any_part)),
            (Requirement::MinimumCommittedFirmware, self.minimum_committed_firmware.map(any_part)),
        ] {
            check_number(requirement.field(), number)?;
        }
        for (requirement, minima) in [
            (Requirement::ReportedTcb, &self.reported_tcb),
            (Requirement::CommittedTcb, &self.committed_tcb),
            (Requirement::CurrentTcb, &self.current_tcb),
            (Requirement::LaunchTcb, &self.launch_tcb),
        ] {
            minima.as_ref().map_or(Ok(()), |minima| minima.validate(requirement.field()))?;
        }
        for (requirement, bits) in [
            ("require.guest-policy", self.guest_policy.as_ref().map(BTreeMap::len)),
            ("require.platform-info", self.platform_info.as_ref().map(BTreeMap::len)),
            ("require.vm-configuration", self.vm_configuration.as_ref().map(BTreeMap::len)),
        ] {
            check_given(requirement, bits == Some(0))?;
        }
        for requirement in self.given() {
            let (asked, needs) = match requirement.carried_by() {
                CarriedBy::Either | CarriedBy::Connection => continue,
                CarriedBy::Amd => (amd, "AMD"),
                CarriedBy::Maa => (maa, "MAA"),
                CarriedBy::MaaOrParavisor => (maa || paravisor, "MAA"),
                CarriedBy::Paravisor => (paravisor, "AMD"),
            };
            if !asked {
                return Err(PolicyError::NotCoveredByTrust { requirement: requirement.field(), needs });
            }
        }
        Ok(())
    }
}

/// Returns the version, or zero if every part is zero, which every firmware meets.
fn any_part(version: FirmwareVersion) -> u64 {
    u64::from(version.major | version.minor | version.build)
}

/// Sets a requirement that is not set yet. A second value would replace the first, and drop what it required.
pub(super) fn give_once<T>(requirement: &'static str, field: &mut Option<T>, value: T) -> Result<(), PolicyError> {
    match field.replace(value) {
        Some(_) => Err(PolicyError::GivenTwice { requirement }),
        None => Ok(()),
    }
}

/// Checks that a list or table is not empty: it would silently require nothing.
pub(super) fn check_given(requirement: &'static str, is_empty: bool) -> Result<(), PolicyError> {
    if is_empty { Err(PolicyError::EmptyList { requirement }) } else { Ok(()) }
}

/// Checks that a string is not empty.
pub(super) fn check_text(requirement: &'static str, text: Option<&str>) -> Result<(), PolicyError> {
    match text {
        Some("") => Err(PolicyError::UnusableValue { requirement, reason: "is empty" }),
        _ => Ok(()),
    }
}

/// Checks that the issuer of an endorsement that this crate verifies can be resolved: no endorsement meets another one.
pub(super) fn check_issuer(requirement: &'static str, issuer: Option<&str>) -> Result<(), PolicyError> {
    match issuer.map(crate::uvm::check_issuer) {
        Some(Err(_)) => {
            let reason = "is no `did:x509:0:sha256:<fingerprint>` with policies of the kinds `eku` and `subject`";
            Err(PolicyError::UnusableValue { requirement, reason })
        }
        _ => Ok(()),
    }
}

/// Checks that a list has at least one value and no duplicates.
pub(super) fn check_list<T: Ord + fmt::Display>(requirement: &'static str, values: &[T]) -> Result<(), PolicyError> {
    check_given(requirement, values.is_empty())?;
    let mut seen = BTreeSet::new();
    match values.iter().find(|value| !seen.insert(*value)) {
        Some(twice) => Err(PolicyError::DuplicateValue { requirement, value: twice.to_string() }),
        None => Ok(()),
    }
}

/// Checks an optional list as [`check_list`] does, and that no value is all zeros, which means that nothing was set.
pub(super) fn check_names<T: Ord + fmt::Display>(
    requirement: &'static str,
    values: Option<&[T]>,
    is_unset: impl Fn(&T) -> bool,
) -> Result<(), PolicyError> {
    let Some(values) = values else { return Ok(()) };
    check_list(requirement, values)?;
    if values.iter().any(is_unset) {
        let reason = "is empty or all zero, which in evidence means that nothing was set";
        return Err(PolicyError::UnusableValue { requirement, reason });
    }
    Ok(())
}

/// Checks the values of a requirement as [`check_names`] does.
fn check_values<T: Ord + fmt::Display>(
    requirement: Requirement,
    values: Option<&[T]>,
    is_unset: impl Fn(&T) -> bool,
) -> Result<(), PolicyError> {
    check_names(requirement.field(), values, is_unset)
}

/// Checks a number: zero would require nothing, and a policy file cannot hold more than 2^63 - 1 (TOML 1.0).
pub(super) fn check_number(requirement: &'static str, number: Option<u64>) -> Result<(), PolicyError> {
    let reason = match number {
        Some(0) => "is zero, which requires nothing or what nothing can meet",
        Some(number) if i64::try_from(number).is_err() => "is beyond 2^63 - 1, which a policy file cannot hold",
        _ => return Ok(()),
    };
    Err(PolicyError::UnusableValue { requirement, reason })
}

strict! {
    /// The required value of a bit.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
    pub enum BitRequirement {
        /// One.
        #[serde(rename = "set")]
        Set,
        /// Zero.
        #[serde(rename = "clear")]
        Clear,
    }
}

strict! {
    /// Bits of the guest policy that can be required. Debugging and migration have their own settings.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    #[serde(rename_all = "kebab-case")]
    #[non_exhaustive]
    pub enum GuestPolicyBit {
        /// Bit 16: simultaneous multithreading allowed.
        Smt,
        /// Bit 20: one socket only.
        SingleSocket,
        /// Bit 21: CXL allowed.
        CxlAllow,
        /// Bit 22: AES-256-XTS required.
        #[serde(rename = "mem-aes-256-xts")]
        MemAes256Xts,
        /// Bit 23: RAPL must be off.
        RaplDis,
        /// Bit 24: ciphertext hiding for DRAM required.
        CiphertextHidingDram,
        /// Bit 25: no swapping of guest pages.
        PageSwapDisable,
    }
}

strict! {
    /// Bits of `PLATFORM_INFO` (AMD 56860 table 24) that can be required. Only a hardware report carries them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    #[serde(rename_all = "kebab-case")]
    #[non_exhaustive]
    pub enum PlatformInfoBit {
        /// Bit 0: simultaneous multithreading is on.
        SmtEn,
        /// Bit 1: transparent memory encryption is on.
        TsmeEn,
        /// Bit 2: the memory has error correction.
        EccEn,
        /// Bit 3: RAPL is off.
        RaplDis,
        /// Bit 4: ciphertext hiding is on.
        CiphertextHidingDramEn,
        /// Bit 5: no aliased memory was found since reset, the mitigation of BadRAM (AMD-SB-3015). Older firmware never sets it.
        AliasCheckComplete,
        /// Bit 6: writes of the IOMMU are checked (AMD-SB-3016); Turin and later.
        IommuWriteSafe,
        /// Bit 7: SEV-TIO is on.
        TioEn,
    }
}

strict! {
    /// Settings of a confidential VM that its paravisor states (`vm-configuration`) and that can be required.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    #[serde(rename_all = "kebab-case")]
    #[non_exhaustive]
    pub enum VmConfigurationBit {
        /// `secure-boot`: the firmware starts only what a trusted authority signed.
        SecureBoot,
        /// `tpm-enabled`.
        Tpm,
        /// `console-enabled`: the host can read the console. Set in every known VM of Azure.
        Console,
        /// `interactive-console-enabled`: the host can write to the console. Stated by paravisors since 2026.
        InteractiveConsole,
        /// `filtered-vpci-devices-allowed`: the host may offer devices. Stated by paravisors since 2026.
        FilteredVpciDevices,
    }
}

/// As in a policy file.
impl fmt::Display for VmConfigurationBit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// As in a policy file.
impl fmt::Display for GuestPolicyBit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// As in a policy file.
impl fmt::Display for PlatformInfoBit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

strict! {
    /// The version of the guest ABI that the guest policy asks for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    #[serde(deny_unknown_fields)]
    pub struct AbiVersion {
        /// Major.
        pub major: u8,
        /// Minor.
        pub minor: u8,
    }
}

impl fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
