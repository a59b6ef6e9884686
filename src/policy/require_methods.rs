//! The methods `require_*` of [`Policy`]: requirements beside those that every policy has.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::advisories::Mitigation;
use super::require_table::{
    AbiVersion, BitRequirement, GuestPolicyBit, PlatformInfoBit, Requirements, VmConfigurationBit, give_once,
};
use super::requirement::Requirement;
use super::tcb::TcbMinima;
use super::{Policy, PolicyError};
use crate::types::{
    ChipId, FamilyId, FirmwareVersion, ImageId, KeyDigest, Measurement, Product, ReportId, SigningKey, TeeKind, VmId,
};

/// Additional requirements. Each method fails with [`PolicyError`] if the value cannot be used, if the evidence of the
/// policy's trust can never show it, or if the requirement is set already ([`PolicyError::GivenTwice`]).
impl Policy {
    /// Requires one of these launch measurements, in addition to the utility VM's endorsement.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; as for every method of this block.
    pub fn require_measurements(self, any_of: impl IntoIterator<Item = Measurement>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::Measurements, |require| &mut require.measurements, any_of.into_iter().collect())
    }

    /// Requires MAA's `x-ms-compliance-status` to be one of these instead of the default of the TEE kind
    /// (`azure-compliant-uvm` for containers, `azure-compliant-cvm` for VMs).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_compliance_status<S: Into<String>>(
        self,
        any_of: impl IntoIterator<Item = S>,
    ) -> Result<Self, PolicyError> {
        self.require_once(
            Requirement::ComplianceStatus,
            |require| &mut require.compliance_status,
            any_of.into_iter().map(Into::into).collect(),
        )
    }

    /// Requires one of these kinds of TEE instead of SEV-SNP. For confidential VMs under MAA trust, which alone judges Intel TDX.
    ///
    /// Requirements that only evidence of SEV-SNP carries refuse a guest of TDX, and the other way round.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; [`PolicyError::GivenTwice`] if the policy was made with a list of `MRTD`, which names the kinds already.
    pub fn require_tee(self, any_of: impl IntoIterator<Item = TeeKind>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::Tee, |require| &mut require.tee, any_of.into_iter().collect())
    }

    /// Requires one of these TCB statuses (`attester_tcb_status`) of a guest of Intel TDX instead of `UpToDate`. Call
    /// [`Policy::require_tee`] first, unless the policy was made with a list of `MRTD`.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; [`PolicyError::UnusableValue`] for `Revoked`, [`PolicyError::Contradiction`] while the policy does not accept
    /// TDX.
    pub fn require_tcb_status<S: Into<String>>(self, any_of: impl IntoIterator<Item = S>) -> Result<Self, PolicyError> {
        let statuses = any_of.into_iter().map(Into::into).collect();
        self.require_once(Requirement::TcbStatus, |require| &mut require.tcb_status, statuses)
    }

    /// Requires the report to be requested from one of these privilege levels (0 to 3) instead of level 0.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_vmpl(self, any_of: impl IntoIterator<Item = u32>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::Vmpl, |require| &mut require.vmpl, any_of.into_iter().collect())
    }

    /// Requires at least this `GUEST_SVN` of the report. It comes from the ID block, so pin the ID key too.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_minimum_report_guest_svn(self, at_least: u32) -> Result<Self, PolicyError> {
        self.require_once(Requirement::MinimumReportGuestSvn, |require| &mut require.minimum_report_guest_svn, at_least)
    }

    /// Requires the ID block to be signed by one of these keys (SHA-384 digests).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_id_keys(self, any_of: impl IntoIterator<Item = KeyDigest>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::IdKeys, |require| &mut require.id_keys, any_of.into_iter().collect())
    }

    /// Requires the ID key to be signed by one of these author keys (SHA-384 digests).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_author_keys(self, any_of: impl IntoIterator<Item = KeyDigest>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::AuthorKeys, |require| &mut require.author_keys, any_of.into_iter().collect())
    }

    /// Requires that some author key was used (`AUTHOR_KEY_EN`). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_any_author_key(self) -> Result<Self, PolicyError> {
        self.with(|d| d.require.author_key = true)
    }

    /// Requires one of these values of `FAMILY_ID`.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_family_ids(self, any_of: impl IntoIterator<Item = FamilyId>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::FamilyIds, |require| &mut require.family_ids, any_of.into_iter().collect())
    }

    /// Requires one of these values of `IMAGE_ID`.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_image_ids(self, any_of: impl IntoIterator<Item = ImageId>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::ImageIds, |require| &mut require.image_ids, any_of.into_iter().collect())
    }

    /// Requires one of these chips. Evidence without a chip id is refused.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_chip_ids(self, any_of: impl IntoIterator<Item = ChipId>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::ChipIds, |require| &mut require.chip_ids, any_of.into_iter().collect())
    }

    /// Requires a processor of one of these products. Evidence that does not name its product is refused.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_products(self, any_of: impl IntoIterator<Item = Product>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::Products, |require| &mut require.products, any_of.into_iter().collect())
    }

    /// Requires one of these running guests (`REPORT_ID`).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_report_ids(self, any_of: impl IntoIterator<Item = ReportId>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::ReportIds, |require| &mut require.report_ids, any_of.into_iter().collect())
    }

    /// Requires one of these virtual machines (`vmUniqueId`, which is `vmId` of Azure's instance metadata). Only the evidence of
    /// confidential VMs carries it. The host chooses the id, so that it names a VM only where the host is Azure's.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_vm_ids(self, any_of: impl IntoIterator<Item = VmId>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::VmIds, |require| &mut require.vm_ids, any_of.into_iter().collect())
    }

    /// Accepts reports signed by one of these kinds of key, instead of a chip's own VCEK only. With [`SigningKey::Vlek`] name the
    /// providers too ([`Policy::require_csp_ids`]). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_signing_keys(self, any_of: impl IntoIterator<Item = SigningKey>) -> Result<Self, PolicyError> {
        self.require_once(Requirement::SigningKeys, |require| &mut require.signing_keys, any_of.into_iter().collect())
    }

    /// Requires minimum versions of `REPORTED_TCB`, the TCB that the signing key is derived from.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_reported_tcb(self, minima: TcbMinima) -> Result<Self, PolicyError> {
        self.require_once(Requirement::ReportedTcb, |require| &mut require.reported_tcb, minima)
    }

    /// Requires minimum versions of `COMMITTED_TCB`, below which the platform cannot be rolled back. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_committed_tcb(self, minima: TcbMinima) -> Result<Self, PolicyError> {
        self.require_once(Requirement::CommittedTcb, |require| &mut require.committed_tcb, minima)
    }

    /// Requires minimum versions of `CURRENT_TCB`, which runs now. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_current_tcb(self, minima: TcbMinima) -> Result<Self, PolicyError> {
        self.require_once(Requirement::CurrentTcb, |require| &mut require.current_tcb, minima)
    }

    /// Requires minimum versions of `LAUNCH_TCB`, which ran when the guest was launched or imported. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_launch_tcb(self, minima: TcbMinima) -> Result<Self, PolicyError> {
        self.require_once(Requirement::LaunchTcb, |require| &mut require.launch_tcb, minima)
    }

    /// Requires the fixes of these advisories, named as in [`advisories::all`](crate::advisories::all). Evidence that does not carry the
    /// values that show a fix is refused, and so is a processor for which this release knows no such values.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnusableValue`] for an advisory that this release does not know.
    pub fn require_advisories<S: Into<String>>(
        mut self,
        all_of: impl IntoIterator<Item = S>,
    ) -> Result<Self, PolicyError> {
        let names = all_of.into_iter().map(Into::into).collect();
        give_once("require.advisories", &mut self.document.require.advisories, names)?;
        Self::checked(self.document)
    }

    /// Requires the fixes of all advisories that AMD published until this day (`YYYY-MM-DD`, inclusive), as far as this release
    /// knows how to see their fix on the processor. Waived advisories are excluded.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnusableValue`] for an invalid date, or one before the first advisory.
    pub fn require_advisories_until(mut self, day: impl Into<String>) -> Result<Self, PolicyError> {
        give_once("require.advisories-until", &mut self.document.require.advisories_until, day.into())?;
        Self::checked(self.document)
    }

    /// Requires these mitigations to be active both at launch and now (reports of version 5 and later). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_mitigations(self, all_of: impl IntoIterator<Item = Mitigation>) -> Result<Self, PolicyError> {
        let bits = all_of.into_iter().collect();
        self.require_once(Requirement::Mitigations, |require| &mut require.mitigations, bits)
    }

    /// Requires a report signed with the VLEK of one of these cloud providers (`CSP_ID` of its certificate). A VCEK names no
    /// provider and is refused. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_csp_ids<S: Into<String>>(self, any_of: impl IntoIterator<Item = S>) -> Result<Self, PolicyError> {
        self.require_once(
            Requirement::CspIds,
            |require| &mut require.csp_ids,
            any_of.into_iter().map(Into::into).collect(),
        )
    }

    /// Requires a bit of the guest policy to be set or clear. Evidence that does not carry the bit is refused.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; [`PolicyError::DuplicateValue`] for a bit that is required already.
    pub fn require_guest_policy(self, bit: GuestPolicyBit, must: BitRequirement) -> Result<Self, PolicyError> {
        self.with_bit(Requirement::GuestPolicy(bit), |require| &mut require.guest_policy, bit, must)
    }

    /// Requires the guest policy to demand at least this version of the guest ABI. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_minimum_guest_abi(self, at_least: AbiVersion) -> Result<Self, PolicyError> {
        self.require_once(Requirement::MinimumGuestAbi, |require| &mut require.minimum_guest_abi, at_least)
    }

    /// Requires a bit of `PLATFORM_INFO` to be set or clear. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; [`PolicyError::DuplicateValue`] for a bit that is required already.
    pub fn require_platform_info(self, bit: PlatformInfoBit, must: BitRequirement) -> Result<Self, PolicyError> {
        self.with_bit(Requirement::PlatformInfo(bit), |require| &mut require.platform_info, bit, must)
    }

    /// Requires a setting of a confidential VM to be set or clear, as its paravisor states it, such as Secure Boot. A setting that the
    /// paravisor does not state is refused. For confidential VMs only.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; [`PolicyError::DuplicateValue`] for a setting that is required already.
    pub fn require_vm_configuration(self, bit: VmConfigurationBit, must: BitRequirement) -> Result<Self, PolicyError> {
        self.with_bit(Requirement::VmConfiguration(bit), |require| &mut require.vm_configuration, bit, must)
    }

    /// Requires Azure's certificate of the attestation key of a confidential VM. Azure's authority for
    /// virtual TPMs asserts by it that the machine stands in Azure, independently of AMD's keys. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_ak_certificate(self) -> Result<Self, PolicyError> {
        self.with(|d| d.require.ak_certificate = true)
    }

    /// Requires at least this running SNP firmware. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_minimum_firmware(self, at_least: FirmwareVersion) -> Result<Self, PolicyError> {
        self.require_once(Requirement::MinimumFirmware, |require| &mut require.minimum_firmware, at_least)
    }

    /// Requires at least this committed SNP firmware. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_minimum_committed_firmware(self, at_least: FirmwareVersion) -> Result<Self, PolicyError> {
        self.require_once(
            Requirement::MinimumCommittedFirmware,
            |require| &mut require.minimum_committed_firmware,
            at_least,
        )
    }

    /// Requires the running firmware and TCB to be the committed ones: no provisional firmware. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_committed_firmware_only(self) -> Result<Self, PolicyError> {
        self.with(|d| d.require.committed_firmware_only = true)
    }

    /// Requires a post-quantum key exchange on every connection: a hybrid or pure ML-KEM group (FIPS 203), such as
    /// X25519MLKEM768. Traffic that is recorded today then cannot be decrypted by a quantum computer later.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_post_quantum(self) -> Result<Self, PolicyError> {
        self.with(|d| d.require.post_quantum = true)
    }

    /// Requires all these bits of `LAUNCH_MIT_VECTOR` (reports of version 5 and later). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_launch_mitigations(self, mask: u64) -> Result<Self, PolicyError> {
        self.require_once(Requirement::LaunchMitigations, |require| &mut require.launch_mitigations, mask)
    }

    /// Requires all these bits of `CURRENT_MIT_VECTOR` (reports of version 5 and later). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_current_mitigations(self, mask: u64) -> Result<Self, PolicyError> {
        self.require_once(Requirement::CurrentMitigations, |require| &mut require.current_mitigations, mask)
    }

    /// Requires the token to have at most this age, in whole seconds, when it is verified.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_max_token_age(self, age: Duration) -> Result<Self, PolicyError> {
        self.require_once(Requirement::MaxTokenAge, |require| &mut require.max_token_age_seconds, age.as_secs())
    }

    /// Limits the lifetime of an attestation, in whole seconds (default: one hour).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_max_session_age(self, age: Duration) -> Result<Self, PolicyError> {
        self.require_once(Requirement::MaxSessionAge, |require| &mut require.max_session_age_seconds, age.as_secs())
    }
}

impl Policy {
    /// Sets a requirement that is not set yet. A second value would replace the first without notice.
    fn require_once<T>(
        mut self,
        requirement: Requirement,
        field: impl FnOnce(&mut Requirements) -> &mut Option<T>,
        value: T,
    ) -> Result<Self, PolicyError> {
        give_once(requirement.field(), field(&mut self.document.require), value)?;
        Self::checked(self.document)
    }

    /// Sets a bit that is not set yet. A second value would replace the first without notice.
    fn with_bit<B: Copy + Ord + fmt::Display>(
        mut self,
        requirement: Requirement,
        bits: impl FnOnce(&mut Requirements) -> &mut Option<BTreeMap<B, BitRequirement>>,
        bit: B,
        must: BitRequirement,
    ) -> Result<Self, PolicyError> {
        match bits(&mut self.document.require).get_or_insert_default().insert(bit, must) {
            Some(_) => Err(PolicyError::DuplicateValue { requirement: requirement.field(), value: bit.to_string() }),
            None => Self::checked(self.document),
        }
    }
}
