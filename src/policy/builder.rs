use std::collections::BTreeMap;
use std::fmt;

use super::advisories::Mitigation;
use super::requirements::{AbiVersion, BitRequirement, GuestPolicyBit, PlatformInfoBit, Requirements, give_once};
use super::tcb::TcbMinima;
use super::{Policy, PolicyError};
use crate::claims::{FirmwareVersion, SigningKey};
use crate::types::{ChipId, FamilyId, ImageId, KeyDigest, Measurement, Product, ReportId};

/// What may be required besides. Each fails with [`PolicyError`] when the value cannot be used, when the evidence of the
/// policy's trust can never show it, or when it is given already ([`PolicyError::GivenTwice`]).
impl Policy {
    /// The launch measurement must be one of these, beside the utility VM's endorsement.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; as for every method of this block.
    pub fn require_measurements(self, any_of: impl IntoIterator<Item = Measurement>) -> Result<Self, PolicyError> {
        self.require_once("require.measurements", |require| &mut require.measurements, any_of.into_iter().collect())
    }

    /// MAA's `x-ms-compliance-status` must be one of these instead of the usual one of the kind
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
            "require.compliance-status",
            |require| &mut require.compliance_status,
            any_of.into_iter().map(Into::into).collect(),
        )
    }

    /// The report must have been asked for from one of these privilege levels instead of level 0.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_vmpl(self, any_of: impl IntoIterator<Item = u32>) -> Result<Self, PolicyError> {
        self.require_once("require.vmpl", |require| &mut require.vmpl, any_of.into_iter().collect())
    }

    /// `GUEST_SVN` of the report must be at least this. It comes from the ID block, so pin the ID key with it.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_report_guest_svn(self, at_least: u32) -> Result<Self, PolicyError> {
        self.require_once("require.minimum-report-guest-svn", |require| &mut require.minimum_report_guest_svn, at_least)
    }

    /// The ID block must be signed by one of these keys (SHA-384 digests).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_id_keys(self, any_of: impl IntoIterator<Item = KeyDigest>) -> Result<Self, PolicyError> {
        self.require_once("require.id-keys", |require| &mut require.id_keys, any_of.into_iter().collect())
    }

    /// The ID key must be signed by one of these author keys (SHA-384 digests).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_author_keys(self, any_of: impl IntoIterator<Item = KeyDigest>) -> Result<Self, PolicyError> {
        self.require_once("require.author-keys", |require| &mut require.author_keys, any_of.into_iter().collect())
    }

    /// An author key must have been used (`AUTHOR_KEY_EN`), whichever it was. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_author_key(self) -> Result<Self, PolicyError> {
        self.with(|d| d.require.author_key = true)
    }

    /// `FAMILY_ID` must be one of these.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_family_ids(self, any_of: impl IntoIterator<Item = FamilyId>) -> Result<Self, PolicyError> {
        self.require_once("require.family-ids", |require| &mut require.family_ids, any_of.into_iter().collect())
    }

    /// `IMAGE_ID` must be one of these.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_image_ids(self, any_of: impl IntoIterator<Item = ImageId>) -> Result<Self, PolicyError> {
        self.require_once("require.image-ids", |require| &mut require.image_ids, any_of.into_iter().collect())
    }

    /// The chip must be one of these. Evidence that does not say is refused.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_chip_ids(self, any_of: impl IntoIterator<Item = ChipId>) -> Result<Self, PolicyError> {
        self.require_once("require.chip-ids", |require| &mut require.chip_ids, any_of.into_iter().collect())
    }

    /// The processor must be of one of these families. Evidence that does not say is refused.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_products(self, any_of: impl IntoIterator<Item = Product>) -> Result<Self, PolicyError> {
        self.require_once("require.products", |require| &mut require.products, any_of.into_iter().collect())
    }

    /// The guest must be one of these running guests (`REPORT_ID`).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_report_ids(self, any_of: impl IntoIterator<Item = ReportId>) -> Result<Self, PolicyError> {
        self.require_once("require.report-ids", |require| &mut require.report_ids, any_of.into_iter().collect())
    }

    /// The report must be signed by one of these kinds of key, such as a chip's own VCEK. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_signing_keys(self, any_of: impl IntoIterator<Item = SigningKey>) -> Result<Self, PolicyError> {
        self.require_once("require.signing-keys", |require| &mut require.signing_keys, any_of.into_iter().collect())
    }

    /// Least versions of `REPORTED_TCB`, the TCB that the signing key stands for.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_reported_tcb(self, minima: TcbMinima) -> Result<Self, PolicyError> {
        self.require_once("require.reported-tcb", |require| &mut require.reported_tcb, minima)
    }

    /// Least versions of `COMMITTED_TCB`, below which the platform can no longer go back. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_committed_tcb(self, minima: TcbMinima) -> Result<Self, PolicyError> {
        self.require_once("require.committed-tcb", |require| &mut require.committed_tcb, minima)
    }

    /// Least versions of `CURRENT_TCB`, what runs now. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_current_tcb(self, minima: TcbMinima) -> Result<Self, PolicyError> {
        self.require_once("require.current-tcb", |require| &mut require.current_tcb, minima)
    }

    /// Least versions of `LAUNCH_TCB`, what ran when the guest was launched or imported. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_launch_tcb(self, minima: TcbMinima) -> Result<Self, PolicyError> {
        self.require_once("require.launch-tcb", |require| &mut require.launch_tcb, minima)
    }

    /// The fixes of these advisories must be in force, named as in [`advisories`](super::advisories). Evidence that does not
    /// carry what shows a fix is refused, and so is a processor for which this release knows nothing that shows it.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnusableValue`] for an advisory that this release does not know.
    pub fn require_advisories<S: Into<String>>(self, all_of: impl IntoIterator<Item = S>) -> Result<Self, PolicyError> {
        let names = all_of.into_iter().map(Into::into).collect();
        self.require_once("require.advisories", |require| &mut require.advisories, names)
    }

    /// The fixes of all advisories that AMD published until this day (`YYYY-MM-DD`, the day included) must be in force, as far
    /// as this release knows them and what shows their fix on the processor. Those that the trust waives are left out.
    ///
    /// # Errors
    ///
    /// [`PolicyError::UnusableValue`] for what is no day, or a day before the first advisory.
    pub fn require_advisories_until(self, day: impl Into<String>) -> Result<Self, PolicyError> {
        self.require_once("require.advisories-until", |require| &mut require.advisories_until, day.into())
    }

    /// These mitigations must have been in force at launch and be in force now (reports of version 5 and later). Needs AMD
    /// trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_mitigations(self, all_of: impl IntoIterator<Item = Mitigation>) -> Result<Self, PolicyError> {
        let bits = all_of.into_iter().collect();
        self.require_once("require.mitigations", |require| &mut require.mitigations, bits)
    }

    /// The report must be signed with the VLEK of one of these cloud providers (`CSP_ID` of its certificate). A VCEK names
    /// none and is refused. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_csp_ids<S: Into<String>>(self, any_of: impl IntoIterator<Item = S>) -> Result<Self, PolicyError> {
        self.require_once(
            "require.csp-ids",
            |require| &mut require.csp_ids,
            any_of.into_iter().map(Into::into).collect(),
        )
    }

    /// A bit of the guest policy must be set or clear. Evidence that does not carry the bit is refused.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; [`PolicyError::DuplicateValue`] for a bit that is required already.
    pub fn require_guest_policy(self, bit: GuestPolicyBit, must: BitRequirement) -> Result<Self, PolicyError> {
        self.with_bit("require.guest-policy", |require| &mut require.guest_policy, bit, must)
    }

    /// The guest policy must ask for at least this version of the guest ABI. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_guest_abi(self, at_least: AbiVersion) -> Result<Self, PolicyError> {
        self.require_once("require.minimum-guest-abi", |require| &mut require.minimum_guest_abi, at_least)
    }

    /// A bit of `PLATFORM_INFO` must be set or clear. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; [`PolicyError::DuplicateValue`] for a bit that is required already.
    pub fn require_platform_info(self, bit: PlatformInfoBit, must: BitRequirement) -> Result<Self, PolicyError> {
        self.with_bit("require.platform-info", |require| &mut require.platform_info, bit, must)
    }

    /// The running SNP firmware must be at least this. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_firmware(self, at_least: FirmwareVersion) -> Result<Self, PolicyError> {
        self.require_once("require.minimum-firmware", |require| &mut require.minimum_firmware, at_least)
    }

    /// The committed SNP firmware must be at least this. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_committed_firmware_version(self, at_least: FirmwareVersion) -> Result<Self, PolicyError> {
        self.require_once(
            "require.minimum-committed-firmware",
            |require| &mut require.minimum_committed_firmware,
            at_least,
        )
    }

    /// The running firmware and TCB must be the committed ones: no provisional firmware. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_committed_firmware_only(self) -> Result<Self, PolicyError> {
        self.with(|d| d.require.committed_firmware_only = true)
    }

    /// The key exchange of every connection must withstand quantum computers: a hybrid or pure ML-KEM group (FIPS 203), such as
    /// X25519MLKEM768. What is recorded today cannot be decrypted by one later.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_post_quantum(self) -> Result<Self, PolicyError> {
        self.with(|d| d.require.post_quantum = true)
    }

    /// All these bits of `LAUNCH_MIT_VECTOR` must be set (reports of version 5 and later). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_launch_mitigations(self, mask: u64) -> Result<Self, PolicyError> {
        self.require_once("require.launch-mitigations", |require| &mut require.launch_mitigations, mask)
    }

    /// All these bits of `CURRENT_MIT_VECTOR` must be set (reports of version 5 and later). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_current_mitigations(self, mask: u64) -> Result<Self, PolicyError> {
        self.require_once("require.current-mitigations", |require| &mut require.current_mitigations, mask)
    }

    /// The token must be younger than this when it is verified.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_token_younger_than(self, seconds: u64) -> Result<Self, PolicyError> {
        self.require_once("require.max-token-age-seconds", |require| &mut require.max_token_age_seconds, seconds)
    }

    /// The attestation of a session ends at the latest this long after it was made (default: one hour).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn require_session_age(self, at_most_seconds: u64) -> Result<Self, PolicyError> {
        self.require_once(
            "require.max-session-age-seconds",
            |require| &mut require.max_session_age_seconds,
            at_most_seconds,
        )
    }
}

impl Policy {
    /// The later of two values would take the place of the first without a word.
    fn require_once<T>(
        mut self,
        requirement: &'static str,
        field: impl FnOnce(&mut Requirements) -> &mut Option<T>,
        value: T,
    ) -> Result<Self, PolicyError> {
        give_once(requirement, field(&mut self.document.require), value)?;
        Self::checked(self.document)
    }

    /// The later of two values for a bit would take the place of the first without a word.
    fn with_bit<B: Copy + Ord + fmt::Display>(
        mut self,
        requirement: &'static str,
        bits: impl FnOnce(&mut Requirements) -> &mut Option<BTreeMap<B, BitRequirement>>,
        bit: B,
        must: BitRequirement,
    ) -> Result<Self, PolicyError> {
        match bits(&mut self.document.require).get_or_insert_default().insert(bit, must) {
            Some(_) => Err(PolicyError::DuplicateValue { requirement, value: bit.to_string() }),
            None => Self::checked(self.document),
        }
    }
}

/// Relaxations. Each shows in the result.
impl Policy {
    /// Accepts guests whose memory the host may read and write. For development only.
    ///
    /// # Errors
    ///
    /// [`PolicyError`]; as for every method of this block.
    pub fn allow_debug(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.debug = true)
    }

    /// Accepts guests that a migration agent may move.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_migration(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.migration = true)
    }

    /// Accepts a channel whose key the evidence does not name, over TLS with a validated server name. The evidence then
    /// shows that *some* genuine BlindBox answered, not that it is the peer: whoever holds the server's certificate, or
    /// sits behind it, can relay. Only for workloads that attest any data ([`Binding::None`](super::Binding::None)).
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_unbound_channel(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.unbound_channel = true)
    }

    /// Accepts plain HTTP for an unbound channel: anyone on the path reads and changes everything.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_plain_http(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.plain_http = true)
    }

    /// For a URL with a DNS name, goes by the attested key alone and does not validate the server's name: it is then
    /// proven what runs, not whose instance it is.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_unverified_name(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.unverified_name = true)
    }

    /// Accepts a confidential VM's token in the layout of MAA's `SevSnpVm` endpoint (claims at top level,
    /// `azure-compliant-cvm`), which direct attestation inside a VM gives.
    ///
    /// # Errors
    ///
    /// [`PolicyError`].
    pub fn allow_direct_vm_token(self) -> Result<Self, PolicyError> {
        self.with(|d| d.allow.direct_vm_token = true)
    }
}
