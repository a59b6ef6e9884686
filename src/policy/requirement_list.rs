//! The list of all requirements of a policy: which are set, which evidence can show each, and which must be evaluated.

use super::advisories::{Advisory, Grade, advisories};
use super::attested_key::AttestedKeyRequirement;
use super::pcrs::{self, PcrIndex};
use super::require_table::{GuestPolicyBit, PlatformInfoBit, Requirements, VmConfigurationBit};
use super::schema::Document;
use super::trust::{AmdTrust, MaaTrust, Trust};
use super::workload::{GuestIdentity, UvmRequirement, Workload};

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

/// The setting that requires the fix of an advisory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequiredBy {
    /// The policy, by the advisory's name. On a processor without a known fix it cannot be met.
    Name,
    /// The policy, by the day of publication.
    Day,
    /// AMD trust, by the advisory's grade.
    Trust,
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
            Self::VmIds => CarriedBy::MaaOrParavisor,
            Self::Pcr(_) | Self::VmConfiguration(_) | Self::AkCertificate => CarriedBy::Paravisor,
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

impl Document {
    /// Returns all requirements of the policy.
    ///
    /// Each table is destructured without `..`: a field that is added to one of them must be listed here to compile.
    pub(super) fn given(&self) -> Vec<Requirement> {
        // Not listed: version and kind, which say how to read the rest; the binding, which is checked before any request and
        // again in step 4; and allowances, which require nothing.
        let Self { version: _, kind: _, binding: _, trust, workload, guest, uvm, require, allow: _ } = self;
        let mut given = Vec::new();
        trust.list(&mut given);
        if let Some(Workload { binding: _, host_data: _, allow_permissive: _ }) = workload {
            given.push(Requirement::HostData);
        }
        if let Some(GuestIdentity { measurements, id_keys, mrtd, allow_any_azure_cvm: _, pcrs, given_twice: _ }) = guest
        {
            given.extend(pcrs.iter().flatten().map(|(index, _)| Requirement::Pcr(*index)));
            given.extend(measurements.is_some().then_some(Requirement::Measurements));
            given.extend(id_keys.is_some().then_some(Requirement::IdKeys));
            given.extend(mrtd.is_some().then_some(Requirement::Mrtd));
        }
        if let Some(UvmRequirement { minimum_svn: _, issuer: _, feed: _, given_twice: _ }) = uvm {
            given.extend([Requirement::UvmMinimumSvn, Requirement::UvmIssuer, Requirement::UvmFeed]);
        }
        given.extend(require.given());
        given.extend(self.required_advisories().map(|(advisory, _)| Requirement::Advisory(advisory.name)));
        given
    }

    /// Whether some advisory is not required although the evidence could show its fix.
    pub(super) fn leaves_advice_open(&self) -> bool {
        self.trust.amd.is_some()
            && advisories().iter().filter(|advisory| advisory.grade == Grade::Advice).any(|advisory| {
                // A waived advisory has a lint of its own.
                advisory.name != "AMD-SB-3015"
                    && self.required_advisories().all(|(required, _)| required.name != advisory.name)
            })
    }

    /// Returns each advisory whose fix is required, and the setting that requires it.
    pub(super) fn required_advisories(&self) -> impl Iterator<Item = (&'static Advisory, RequiredBy)> + '_ {
        advisories().iter().filter_map(|advisory| {
            let mut waived = self.trust.amd.iter().flat_map(|amd| amd.waived_advisories.iter().flatten());
            let is_waived = waived.any(|name| name == advisory.name);
            let until = self.require.advisories_until.as_deref();
            if self.require.advisories.iter().flatten().any(|name| name == advisory.name) {
                Some((advisory, RequiredBy::Name))
            } else if is_waived {
                None
            } else if until.is_some_and(|day| advisory.published <= day) {
                Some((advisory, RequiredBy::Day))
            } else if self.trust.amd.is_some() && advisory.grade == Grade::Required {
                Some((advisory, RequiredBy::Trust))
            } else {
                None
            }
        })
    }
}

impl Trust {
    fn list(&self, given: &mut Vec<Requirement>) {
        let Self { maa, amd } = self;
        if let Some(maa) = maa {
            maa.list(given);
        }
        if let Some(AmdTrust { products, revocation: _, max_crl_age_seconds, waived_advisories: _ }) = amd {
            given.push(Requirement::Revocation);
            given.extend(max_crl_age_seconds.is_some().then_some(Requirement::MaxCrlAge));
            given.extend(products.is_some().then_some(Requirement::Products));
        }
    }
}

impl MaaTrust {
    fn list(&self, given: &mut Vec<Requirement>) {
        let Self { issuer: _, policy_hash, key_id, allow_any_policy: _, allow_test_attester: _, require_attested_key } =
            self;
        given.push(Requirement::MaaIssuer);
        given.extend(policy_hash.is_some().then_some(Requirement::MaaPolicyHash));
        given.extend(key_id.is_some().then_some(Requirement::MaaKeyId));
        // The issuer of the endorsement is checked with its signature.
        if let Some(AttestedKeyRequirement {
            host_data: _,
            minimum_uvm_svn: _,
            uvm_issuer: _,
            revocation: _,
            reported_tcb,
        }) = require_attested_key
        {
            given.extend([
                Requirement::MaaKeyHolder,
                Requirement::MaaKeyHostData,
                Requirement::MaaKeyUvmSvn,
                Requirement::MaaKeyRevocation,
                Requirement::MaaKeyAdvisories,
            ]);
            given.extend(reported_tcb.is_some().then_some(Requirement::MaaKeyReportedTcb));
        }
    }
}

impl Requirements {
    /// Returns all requirements of the table `require`.
    pub(super) fn given(&self) -> Vec<Requirement> {
        let Self {
            measurements,
            compliance_status,
            tee,
            tcb_status,
            vmpl,
            minimum_report_guest_svn,
            id_keys,
            author_keys,
            family_ids,
            image_ids,
            chip_ids,
            products,
            report_ids,
            vm_ids,
            vm_configuration,
            ak_certificate,
            reported_tcb,
            committed_tcb,
            current_tcb,
            launch_tcb,
            // Listed with the advisories that the trust requires: see `Document::required_advisories`.
            advisories: _,
            advisories_until: _,
            mitigations,
            csp_ids,
            guest_policy,
            minimum_guest_abi,
            platform_info,
            minimum_firmware,
            minimum_committed_firmware,
            committed_firmware_only,
            signing_keys,
            author_key,
            launch_mitigations,
            current_mitigations,
            max_token_age_seconds,
            max_session_age_seconds,
            post_quantum,
        } = self;
        let single = [
            (measurements.is_some(), Requirement::Measurements),
            (compliance_status.is_some(), Requirement::ComplianceStatus),
            (tee.is_some(), Requirement::Tee),
            (tcb_status.is_some(), Requirement::TcbStatus),
            (vmpl.is_some(), Requirement::Vmpl),
            (minimum_report_guest_svn.is_some(), Requirement::MinimumReportGuestSvn),
            (id_keys.is_some(), Requirement::IdKeys),
            (author_keys.is_some(), Requirement::AuthorKeys),
            (family_ids.is_some(), Requirement::FamilyIds),
            (image_ids.is_some(), Requirement::ImageIds),
            (chip_ids.is_some(), Requirement::ChipIds),
            (products.is_some(), Requirement::Products),
            (report_ids.is_some(), Requirement::ReportIds),
            (vm_ids.is_some(), Requirement::VmIds),
            (*ak_certificate, Requirement::AkCertificate),
            (reported_tcb.is_some(), Requirement::ReportedTcb),
            (committed_tcb.is_some(), Requirement::CommittedTcb),
            (current_tcb.is_some(), Requirement::CurrentTcb),
            (launch_tcb.is_some(), Requirement::LaunchTcb),
            (mitigations.is_some(), Requirement::Mitigations),
            (csp_ids.is_some(), Requirement::CspIds),
            (minimum_guest_abi.is_some(), Requirement::MinimumGuestAbi),
            (minimum_firmware.is_some(), Requirement::MinimumFirmware),
            (minimum_committed_firmware.is_some(), Requirement::MinimumCommittedFirmware),
            (*committed_firmware_only, Requirement::CommittedFirmwareOnly),
            (signing_keys.is_some(), Requirement::SigningKeys),
            (*author_key, Requirement::AuthorKey),
            (launch_mitigations.is_some(), Requirement::LaunchMitigations),
            (current_mitigations.is_some(), Requirement::CurrentMitigations),
            (max_token_age_seconds.is_some(), Requirement::MaxTokenAge),
            (max_session_age_seconds.is_some(), Requirement::MaxSessionAge),
            (*post_quantum, Requirement::PostQuantum),
        ];
        let guest_policy = guest_policy.iter().flatten().map(|(bit, _)| Requirement::GuestPolicy(*bit));
        let platform_info = platform_info.iter().flatten().map(|(bit, _)| Requirement::PlatformInfo(*bit));
        let vm = vm_configuration.iter().flatten().map(|(bit, _)| Requirement::VmConfiguration(*bit));
        let single = single.into_iter().filter_map(|(given, requirement)| given.then_some(requirement));
        single.chain(guest_policy).chain(platform_info).chain(vm).collect()
    }
}
