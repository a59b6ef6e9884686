//! [`Requirement`]: everything that a policy can require; the field of each in a policy file, and which evidence can show it.

use super::pcrs::{self, PcrIndex};
use super::require_table::{GuestPolicyBit, PlatformInfoBit, VmConfigurationBit};

/// A requirement of a policy, named after its field in a policy file.
///
/// An appraisal succeeds only if every requirement of the policy produced a check of its own: see
/// [`crate::appraise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Requirement {
    MaaIssuer,
    MaaPolicyHash,
    MaaKeyId,
    MaaKeyHolder,
    MaaKeyHostData,
    MaaKeyUvmSvn,
    MaaKeyRevocation,
    MaaKeyReportedTcb,
    MaaKeyAdvisories,
    Revocation,
    MaxCrlAge,
    HostData,
    UvmMinimumSvn,
    UvmIssuer,
    UvmFeed,
    Measurements,
    ComplianceStatus,
    Tee,
    Mrtd,
    TcbStatus,
    Vmpl,
    MinimumReportGuestSvn,
    IdKeys,
    AuthorKeys,
    FamilyIds,
    ImageIds,
    ChipIds,
    Products,
    ReportIds,
    VmIds,
    Pcr(PcrIndex),
    VmConfiguration(VmConfigurationBit),
    AkCertificate,
    ReportedTcb,
    CommittedTcb,
    CurrentTcb,
    LaunchTcb,
    Advisory(&'static str),
    Mitigations,
    CspIds,
    GuestPolicy(GuestPolicyBit),
    MinimumGuestAbi,
    PlatformInfo(PlatformInfoBit),
    MinimumFirmware,
    MinimumCommittedFirmware,
    CommittedFirmwareOnly,
    SigningKeys,
    AuthorKey,
    LaunchMitigations,
    CurrentMitigations,
    MaxTokenAge,
    MaxSessionAge,
    PostQuantum,
}

/// The evidence that can show a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CarriedBy {
    /// Both a token and a report.
    Either,
    /// A token only.
    Maa,
    /// A hardware report only.
    Amd,
    /// A token, or the report of the paravisor of a confidential VM.
    MaaOrParavisor,
    /// The report of the paravisor of a confidential VM, and what belongs to it, only.
    Paravisor,
    /// No evidence: the requirement is about the connection, which recorded evidence does not have.
    Connection,
}

impl Requirement {
    /// Returns the field in a policy file. If a requirement can be set in two places, the one in `require`.
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::MaaIssuer => "trust.maa.issuer",
            Self::MaaPolicyHash => "trust.maa.policy-hash",
            Self::MaaKeyId => "trust.maa.key-id",
            Self::MaaKeyHolder => "trust.maa.require-attested-key",
            Self::MaaKeyHostData => "trust.maa.require-attested-key.host-data",
            Self::MaaKeyUvmSvn => "trust.maa.require-attested-key.minimum-uvm-svn",
            Self::MaaKeyRevocation => "trust.maa.require-attested-key.revocation",
            Self::MaaKeyReportedTcb => "trust.maa.require-attested-key.reported-tcb",
            // It has no field of its own: a key that must be attested must be attested by a platform with these fixes.
            Self::MaaKeyAdvisories => "maa key advisories",
            Self::Revocation => "trust.amd.revocation",
            Self::MaxCrlAge => "trust.amd.max-crl-age-seconds",
            Self::HostData => "workload.host-data",
            Self::UvmMinimumSvn => "uvm.minimum-svn",
            Self::UvmIssuer => "uvm.issuer",
            Self::UvmFeed => "uvm.feed",
            Self::Measurements => "require.measurements",
            Self::ComplianceStatus => "require.compliance-status",
            Self::Tee => "require.tee",
            Self::Mrtd => "guest.mrtd",
            Self::TcbStatus => "require.tcb-status",
            Self::Vmpl => "require.vmpl",
            Self::MinimumReportGuestSvn => "require.minimum-report-guest-svn",
            Self::IdKeys => "require.id-keys",
            Self::AuthorKeys => "require.author-keys",
            Self::FamilyIds => "require.family-ids",
            Self::ImageIds => "require.image-ids",
            Self::ChipIds => "require.chip-ids",
            Self::Products => "require.products",
            Self::ReportIds => "require.report-ids",
            Self::VmIds => "require.vm-ids",
            Self::Pcr(_) => pcrs::PCRS,
            Self::VmConfiguration(_) => "require.vm-configuration",
            Self::AkCertificate => "require.ak-certificate",
            Self::ReportedTcb => "require.reported-tcb",
            Self::CommittedTcb => "require.committed-tcb",
            Self::CurrentTcb => "require.current-tcb",
            Self::LaunchTcb => "require.launch-tcb",
            Self::Advisory(_) => "require.advisories",
            Self::Mitigations => "require.mitigations",
            Self::CspIds => "require.csp-ids",
            Self::GuestPolicy(_) => "require.guest-policy",
            Self::MinimumGuestAbi => "require.minimum-guest-abi",
            Self::PlatformInfo(_) => "require.platform-info",
            Self::MinimumFirmware => "require.minimum-firmware",
            Self::MinimumCommittedFirmware => "require.minimum-committed-firmware",
            Self::CommittedFirmwareOnly => "require.committed-firmware-only",
            Self::SigningKeys => "require.signing-keys",
            Self::AuthorKey => "require.author-key",
            Self::LaunchMitigations => "require.launch-mitigations",
            Self::CurrentMitigations => "require.current-mitigations",
            Self::MaxTokenAge => "require.max-token-age-seconds",
            Self::MaxSessionAge => "require.max-session-age-seconds",
            Self::PostQuantum => "require.post-quantum",
        }
    }

    /// Returns which evidence can show the requirement. A policy that does not request that evidence is refused when it is built.
    pub(crate) const fn carried_by(self) -> CarriedBy {
        match self {
            Self::MaaIssuer
            | Self::MaaPolicyHash
            | Self::MaaKeyId
            | Self::MaaKeyHolder
            | Self::MaaKeyHostData
            | Self::MaaKeyUvmSvn
            | Self::MaaKeyRevocation
            | Self::MaaKeyReportedTcb
            | Self::MaaKeyAdvisories
            | Self::ComplianceStatus
            | Self::Mrtd
            | Self::TcbStatus
            | Self::MaxTokenAge => CarriedBy::Maa,
            Self::VmIds | Self::VmConfiguration(_) => CarriedBy::MaaOrParavisor,
            Self::Pcr(_) | Self::AkCertificate => CarriedBy::Paravisor,
            Self::Revocation
            | Self::MaxCrlAge
            | Self::CommittedTcb
            | Self::CurrentTcb
            | Self::LaunchTcb
            | Self::Mitigations
            | Self::CspIds
            | Self::MinimumGuestAbi
            | Self::PlatformInfo(_)
            | Self::MinimumFirmware
            | Self::MinimumCommittedFirmware
            | Self::CommittedFirmwareOnly
            | Self::SigningKeys
            | Self::AuthorKey
            | Self::LaunchMitigations
            | Self::CurrentMitigations => CarriedBy::Amd,
            Self::HostData
            | Self::UvmMinimumSvn
            | Self::UvmIssuer
            | Self::UvmFeed
            | Self::Measurements
            | Self::Tee
            | Self::Vmpl
            | Self::MinimumReportGuestSvn
            | Self::IdKeys
            | Self::AuthorKeys
            | Self::FamilyIds
            | Self::ImageIds
            | Self::ChipIds
            | Self::Products
            | Self::ReportIds
            | Self::ReportedTcb
            | Self::Advisory(_)
            | Self::GuestPolicy(_) => CarriedBy::Either,
            Self::MaxSessionAge | Self::PostQuantum => CarriedBy::Connection,
        }
    }
}

impl Requirement {
    /// Whether only evidence of Intel TDX carries the value.
    pub(crate) const fn is_of_tdx(self) -> bool {
        matches!(self, Self::Mrtd | Self::TcbStatus)
    }

    /// Whether only evidence of SEV-SNP carries the value.
    pub(crate) const fn is_of_snp(self) -> bool {
        match self {
            Self::HostData
            | Self::Measurements
            | Self::Vmpl
            | Self::MinimumReportGuestSvn
            | Self::IdKeys
            | Self::AuthorKeys
            | Self::FamilyIds
            | Self::ImageIds
            | Self::ChipIds
            | Self::Products
            | Self::ReportIds
            | Self::ReportedTcb
            | Self::Advisory(_)
            | Self::GuestPolicy(_) => true,
            // AMD trust carries the others; of MAA or the connection they apply to each kind.
            other => matches!(other.carried_by(), CarriedBy::Amd),
        }
    }
}
