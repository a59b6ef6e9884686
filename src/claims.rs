//! One typed model of the state of a TEE, whichever evidence it came from.
//!
//! [`SnpClaims`] has the claims that an MAA token and a hardware report both carry, which are compared with each other and
//! appraised once. [`MaaClaims`] and [`HardwareClaims`] have the claims that only one of them carries.

mod silicon;
mod tdx;
mod tee;

pub use silicon::Silicon;
pub use tdx::{TdAttributes, TdxClaims};
pub use tee::TeeClaims;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::types::{
    ChipId, FamilyId, FirmwareVersion, HostData, ImageId, KeyDigest, MaaIssuer, Measurement, Product, ReportData,
    ReportId, Sha256Digest, SigningKey, Tcb, UnixTime, VmId,
};

/// The state of a SEV-SNP guest, according to MAA or the hardware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SnpClaims {
    /// SHA-384 of the guest's initial memory.
    pub measurement: Measurement,
    /// Set by the host at launch; the SHA-256 of the CCE policy in a confidential container.
    pub host_data: HostData,
    /// Chosen inside the guest.
    pub report_data: ReportData,
    /// Names this guest while it runs: equal in every evidence of the same guest, different in every other guest.
    pub report_id: ReportId,
    /// `GUEST_SVN` of the report. On Azure it is *not* the version of the utility VM (that is [`UvmClaims::svn`]).
    pub report_guest_svn: u32,
    /// The privilege level that requested the report: 0 (most privileged) to 3.
    pub vmpl: u32,
    /// The guest policy that the hardware enforces.
    pub policy: GuestPolicy,
    /// The TCB that the signing key stands for (`REPORTED_TCB`).
    pub reported_tcb: Tcb,
    /// SHA-384 of the key that signed the ID block; zero without one.
    pub id_key_digest: KeyDigest,
    /// SHA-384 of the key that signed the ID key; meaningful only where an author key was used.
    pub author_key_digest: KeyDigest,
    /// From the ID block.
    pub family_id: FamilyId,
    /// From the ID block.
    pub image_id: ImageId,
    /// The chip; absent from tokens before 2026 and from masked or VLEK-signed reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chip_id: Option<ChipId>,
    /// The product, if the evidence names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
}

/// The state of one bit that older evidence does not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bit {
    /// The bit is set.
    Set,
    /// The bit is clear.
    Clear,
    /// The evidence is of a version or kind that does not carry the bit.
    NotReported,
}

impl From<bool> for Bit {
    fn from(set: bool) -> Self {
        if set { Self::Set } else { Self::Clear }
    }
}

/// The guest policy (AMD 56860 table 10): what the guest's owner allows the platform to do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuestPolicy {
    /// Bit 19: the host may read and write the guest's memory. Secrets sent to such a guest are visible to the host.
    pub debug: bool,
    /// Bit 18: a migration agent may move the guest.
    pub migrate_ma: bool,
    /// Bit 16: the guest may run where simultaneous multithreading is on.
    pub smt: bool,
    /// Bit 20: the guest may run on one socket only.
    pub single_socket: Bit,
    /// Bit 21: CXL memory or devices may be populated.
    pub cxl_allow: Bit,
    /// Bit 22: memory encryption must be AES-256-XTS.
    pub mem_aes_256_xts: Bit,
    /// Bit 23: running average power limit must be off.
    pub rapl_dis: Bit,
    /// Bit 24: ciphertext hiding for DRAM must be on.
    pub ciphertext_hiding_dram: Bit,
    /// Bit 25: guest memory pages may not be swapped.
    pub page_swap_disable: Bit,
}

impl GuestPolicy {
    /// The three bits that every evidence carries; the newer ones start as not reported.
    #[must_use]
    pub const fn new(debug: bool, migrate_ma: bool, smt: bool) -> Self {
        Self {
            debug,
            migrate_ma,
            smt,
            single_socket: Bit::NotReported,
            cxl_allow: Bit::NotReported,
            mem_aes_256_xts: Bit::NotReported,
            rapl_dis: Bit::NotReported,
            ciphertext_hiding_dram: Bit::NotReported,
            page_swap_disable: Bit::NotReported,
        }
    }
}

/// Which of MAA's token layouts carried the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TokenShape {
    /// `x-ms-attestation-type` is `sevsnpvm`: confidential containers, and direct attestation of a confidential VM.
    SevSnpVm,
    /// `x-ms-attestation-type` is `azurevm`, with the TEE's claims under `x-ms-isolation-tee`: the guest attestation of
    /// a confidential VM.
    AzureVm,
    /// `x-ms-attestation-type` is `tdxvm`: direct attestation of a confidential VM with Intel TDX.
    TdxVm,
}

/// The value of `x-ms-attestation-type`.
impl fmt::Display for TokenShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SevSnpVm => "sevsnpvm",
            Self::AzureVm => "azurevm",
            Self::TdxVm => "tdxvm",
        })
    }
}

/// The claims that only an MAA token carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MaaClaims {
    /// The MAA instance, from `iss`.
    pub issuer: MaaIssuer,
    /// The key that signed, from the header.
    pub key_id: String,
    /// The layout of the token.
    pub shape: TokenShape,
    /// `x-ms-compliance-status` (of the TEE's claims); absent when MAA was given no endorsement to judge by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compliance_status: Option<String>,
    /// `vmUniqueId` of the paravisor's claims: the id of a compliant confidential VM in Azure, which its host chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<VmId>,
    /// `vm-configuration` of the paravisor's claims: the settings of a compliant confidential VM in Azure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_settings: Option<VmSettings>,
    /// `x-ms-policy-hash`: SHA-256 of the attestation policy that this MAA instance applied.
    pub policy_hash: Sha256Digest,
    /// `jti`.
    pub token_id: String,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `nbf`.
    pub not_before: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
}

/// The settings of a confidential VM in Azure, as its paravisor states them. MAA repeats them in its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VmSettings {
    /// `secure-boot`; in a token of the VM's guest attestation, only if `secureboot` of MAA, from the log of the firmware, says so too.
    pub secure_boot: Bit,
    /// `tpm-enabled`.
    pub tpm: Bit,
    /// `console-enabled`.
    pub console: Bit,
    /// `interactive-console-enabled`.
    pub interactive_console: Bit,
    /// `filtered-vpci-devices-allowed`.
    pub filtered_vpci_devices: Bit,
}

/// The claims that only a hardware report (AMD 56860 table 23) and the certificate of its signing key carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HardwareClaims {
    /// The version of the report's layout: 2 to 5. It does not depend on the processor.
    pub version: u32,
    /// The guest policy as one number; [`SnpClaims::policy`] has its bits by name.
    #[serde(serialize_with = "hex_u64")]
    pub policy: u64,
    /// The firmware ABI that the guest policy asks for at least: major.
    pub policy_abi_major: u8,
    /// The firmware ABI that the guest policy asks for at least: minor.
    pub policy_abi_minor: u8,
    /// The TCB that runs at this moment (`CURRENT_TCB`).
    pub current_tcb: Tcb,
    /// The TCB below which the platform cannot go back (`COMMITTED_TCB`).
    pub committed_tcb: Tcb,
    /// The TCB that ran when the guest was launched or imported (`LAUNCH_TCB`).
    pub launch_tcb: Tcb,
    /// The firmware that runs at this moment.
    pub current_firmware: FirmwareVersion,
    /// The firmware below which the platform cannot go back.
    pub committed_firmware: FirmwareVersion,
    /// The configuration of the platform.
    pub platform_info: PlatformInfo,
    /// An author key certified the ID key (`AUTHOR_KEY_EN`). Without it the author key digest means nothing.
    pub author_key_en: bool,
    /// The host instructed the firmware not to sign with the chip's key (`MASK_CHIP_KEY`). Not the same as a masked chip id.
    pub mask_chip_key: bool,
    /// Which kind of key signed the report.
    pub signing_key: SigningKey,
    /// The [`ReportId`] of the guest's migration agent; all `ff` without one.
    pub report_id_ma: ReportId,
    /// Mitigations that were active when the guest was launched; since version 5 of the report.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_u64_if_some")]
    pub launch_mitigation_vector: Option<u64>,
    /// Mitigations that are active now; since version 5 of the report.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex_u64_if_some")]
    pub current_mitigation_vector: Option<u64>,
    /// The processor; since version 3 of the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuid: Option<Cpuid>,
    /// The cloud provider to whom AMD gave the signing key, from the certificate of a VLEK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csp_id: Option<String>,
}

impl HardwareClaims {
    /// Whether the platform runs firmware that it can still take back: current and committed differ.
    #[must_use]
    pub fn is_firmware_provisional(&self) -> bool {
        self.current_firmware != self.committed_firmware || self.current_tcb != self.committed_tcb
    }

    /// Whether the guest has a migration agent, which can move it whatever its guest policy says.
    #[must_use]
    pub fn has_migration_agent(&self) -> bool {
        self.report_id_ma.as_bytes().iter().any(|byte| *byte != 0xff)
    }
}

/// The configuration of the platform (`PLATFORM_INFO`, AMD 56860 table 24).
///
/// A bit that a version of the report does not define is [`Bit::NotReported`], whatever stands there. Bits without a
/// name are kept in `raw`: real platforms set bits that no published table names ([`PlatformInfo::unnamed`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlatformInfo {
    /// The whole field.
    #[serde(serialize_with = "hex_u64")]
    pub raw: u64,
    /// Bit 0: simultaneous multithreading is on.
    pub smt_en: bool,
    /// Bit 1: transparent memory encryption is on.
    pub tsme_en: bool,
    /// Bit 2: the memory has error correction. Not reported by older version 2 firmware.
    pub ecc_en: Bit,
    /// Bit 3: running average power limit is off. Not reported by older version 2 firmware.
    pub rapl_dis: Bit,
    /// Bit 4: ciphertext hiding for DRAM is on. Not reported by older version 2 firmware.
    pub ciphertext_hiding_dram_en: Bit,
    /// Bit 5: the memory was checked for aliases since the last reset (the mitigation of BadRAM). Since version 3.
    pub alias_check_complete: Bit,
    /// Bit 6: writes of the IOMMU are checked (AMD-SB-3016). Since version 5; only Turin and later set it.
    pub iommu_write_safe: Bit,
    /// Bit 7: trusted I/O is on. Since version 5.
    pub tio_en: Bit,
}

impl PlatformInfo {
    /// The bits that are set and that no table known to this release names: 8 and above.
    #[must_use]
    pub const fn unnamed(&self) -> u64 {
        self.raw & !0xff
    }
}

/// The processor that made a report, as `CPUID` counts (extended and base fields combined).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Cpuid {
    /// Family.
    pub family: u8,
    /// Model.
    pub model: u8,
    /// Stepping.
    pub stepping: u8,
}

impl fmt::Display for Cpuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "family {:#04x} model {:#04x} stepping {:#04x}", self.family, self.model, self.stepping)
    }
}

fn hex_u64<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#018x}"))
}

fn hex_u64_if_some<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => hex_u64(value, serializer),
        None => serializer.serialize_none(),
    }
}

/// The claims of the utility VM's endorsement: from the token, or from the COSE document itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UvmClaims {
    /// The `did:x509` issuer.
    pub issuer: String,
    /// The endorsed feed, such as `ContainerPlat-AMD-UVM`.
    pub feed: String,
    /// The security version of the utility VM: higher is newer.
    pub svn: u64,
    /// The launch measurement that is endorsed.
    pub measurement: Measurement,
}

impl UvmClaims {
    pub(crate) const PRODUCTION_ISSUER: &str =
        "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2";
    pub(crate) const PRODUCTION_FEED: &str = "ContainerPlat-AMD-UVM";
}
