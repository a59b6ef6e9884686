//! What the relying party requires.
//!
//! What must be expected is a constructor argument; what may be required besides is a `require_*` method, and given
//! means required; a relaxation is an `allow_*` method and shows in the result. A policy is checked when it is built or
//! loaded, so a [`Policy`] that exists can be used.
//!
//! Per-connection facts (the nonce, the peer's key) never enter a policy: they are a [`crate::Challenge`].

mod advisories;
mod document;
mod invalid;
mod lint;
mod require;
mod trust;
mod workload;

pub use advisories::{Advisory, advisories};
pub use invalid::InvalidPolicy;
pub use lint::Lint;
pub use require::{AbiVersion, GuestPolicyBit, Must, PlatformInfoBit, TcbMinima, TcbMinimum};
pub use trust::Trust;
pub use workload::{Binding, GuestIdentity, UvmSvn, Workload};

pub(crate) use document::{Allowances, Kind};
pub(crate) use require::Requirements;
pub(crate) use trust::{AmdTrust, MaaTrust, RevocationRule};

use document::Document;

use crate::claims::{FirmwareVersion, SigningKey};
use crate::types::{ChipId, FamilyId, ImageId, Issuer, KeyDigest, Measurement, Product, ReportId, Sha256Digest};

/// The appraisal policy: who may judge, what must run, and how strict to be about the rest.
///
/// Safe by default: no debugging, no migration, VMPL 0, MAA's compliance verdict required, a bound channel, TLS.
///
/// ```
/// # use blindbox_attestation::{HostData, Policy, Trust, UvmSvn, Workload};
/// # let digest = HostData::from_hex(&"5a".repeat(32))?;
/// let policy = Policy::confidential_container(
///     Trust::maa("https://sharedneu.neu.attest.azure.net")?,
///     Workload::binds_its_own_key(digest),
///     UvmSvn::at_least(101),
/// )?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    document: Document,
}

/// The constructors: one for each kind of TEE and way to anchor what runs in it.
impl Policy {
    /// A confidential container (Azure Container Instances and alike): the workload by its CCE policy, under a utility VM
    /// that its vendor endorses and that is not older than allowed.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] when the arguments cannot be used or do not go together.
    pub fn confidential_container(trust: Trust, workload: Workload, uvm: UvmSvn) -> Result<Self, InvalidPolicy> {
        let mut document = Document::new(Kind::ConfidentialContainer, trust);
        document.workload = Some(workload);
        document.uvm = Some(uvm);
        Self::checked(document)
    }

    /// A confidential container whose utility VM is pinned by its launch measurements instead of its endorsement. Every
    /// new utility VM then needs a new policy.
    ///
    /// # Errors
    ///
    /// As [`Policy::confidential_container`].
    pub fn confidential_container_measured(
        trust: Trust,
        workload: Workload,
        measurements: impl IntoIterator<Item = Measurement>,
    ) -> Result<Self, InvalidPolicy> {
        let mut document = Document::new(Kind::ConfidentialContainer, trust);
        document.workload = Some(workload);
        document.require.measurements = Some(measurements.into_iter().collect());
        Self::checked(document)
    }

    /// A confidential VM, through MAA. Its evidence shows a genuine, non-debug Azure CVM of a given configuration, not
    /// which operating system or application runs in it: the result says so first.
    ///
    /// # Errors
    ///
    /// As [`Policy::confidential_container`]; and [`InvalidPolicy::Contradiction`] when AMD is to judge: a CVM's report is
    /// made at boot by the paravisor, so without the vTPM's quote it is neither fresh nor bound.
    pub fn confidential_vm(trust: Trust, guest: GuestIdentity, binding: Binding) -> Result<Self, InvalidPolicy> {
        let mut document = Document::new(Kind::ConfidentialVm, trust);
        document.guest = Some(guest);
        document.binding = Some(binding);
        Self::checked(document)
    }

    fn checked(document: Document) -> Result<Self, InvalidPolicy> {
        document.validate()?;
        Ok(Self { document })
    }

    fn with(mut self, change: impl FnOnce(&mut Document)) -> Result<Self, InvalidPolicy> {
        change(&mut self.document);
        Self::checked(self.document)
    }
}

/// Files.
impl Policy {
    /// Reads a policy file in TOML. Unknown fields are refused.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy::Malformed`] with the place, or what the policy's constructors give.
    pub fn from_toml(text: &str) -> Result<Self, InvalidPolicy> {
        Self::checked(Document::from_toml(text)?)
    }

    /// Reads a policy in JSON. Unknown and duplicate fields are refused.
    ///
    /// # Errors
    ///
    /// As [`Policy::from_toml`].
    pub fn from_json(text: &str) -> Result<Self, InvalidPolicy> {
        Self::checked(Document::from_json(text)?)
    }

    /// The policy as TOML, such that [`Policy::from_toml`] gives it back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.document.to_toml()
    }

    /// The policy as JSON, such that [`Policy::from_json`] gives it back.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.document.to_json()
    }

    /// SHA-256 over the whole policy in its canonical JSON: equal exactly for policies that require the same.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        crate::crypto::sha256_digest(self.to_json().as_bytes())
    }

    /// The MAA instance that the policy names, where MAA is to judge.
    #[must_use]
    pub fn attester(&self) -> Option<&Issuer> {
        self.maa().map(|maa| &maa.issuer)
    }

    /// What this policy leaves open, in words, gravest first. An empty answer is rare and fine.
    #[must_use]
    pub fn lint(&self) -> Vec<Lint> {
        lint::lint(&self.document)
    }
}

/// What may be required besides. Each fails with [`InvalidPolicy`] when the value cannot be used, or when the evidence of
/// the policy's trust can never show it.
impl Policy {
    /// The launch measurement must be one of these, beside the utility VM's endorsement.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`]; as for every method of this block.
    pub fn require_measurements(self, any_of: impl IntoIterator<Item = Measurement>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.measurements = Some(any_of.into_iter().collect()))
    }

    /// MAA's `x-ms-compliance-status` must be one of these instead of the usual one of the kind
    /// (`azure-compliant-uvm` for containers, `azure-compliant-cvm` for VMs).
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_compliance_status<S: Into<String>>(
        self,
        any_of: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.compliance_status = Some(any_of.into_iter().map(Into::into).collect()))
    }

    /// The report must have been asked for from one of these privilege levels instead of level 0.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_vmpl(self, any_of: impl IntoIterator<Item = u32>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.vmpl = Some(any_of.into_iter().collect()))
    }

    /// `GUEST_SVN` of the report must be at least this. It comes from the ID block, so pin the ID key with it.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_report_guest_svn(self, at_least: u32) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.minimum_report_guest_svn = Some(at_least))
    }

    /// The ID block must be signed by one of these keys (SHA-384 digests).
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_id_keys(self, any_of: impl IntoIterator<Item = KeyDigest>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.id_keys = Some(any_of.into_iter().collect()))
    }

    /// The ID key must be signed by one of these author keys (SHA-384 digests).
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_author_keys(self, any_of: impl IntoIterator<Item = KeyDigest>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.author_keys = Some(any_of.into_iter().collect()))
    }

    /// An author key must have been used (`AUTHOR_KEY_EN`), whichever it was. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_author_key(self) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.author_key = true)
    }

    /// `FAMILY_ID` must be one of these.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_family_ids(self, any_of: impl IntoIterator<Item = FamilyId>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.family_ids = Some(any_of.into_iter().collect()))
    }

    /// `IMAGE_ID` must be one of these.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_image_ids(self, any_of: impl IntoIterator<Item = ImageId>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.image_ids = Some(any_of.into_iter().collect()))
    }

    /// The chip must be one of these. Evidence that does not say is refused.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_chip_ids(self, any_of: impl IntoIterator<Item = ChipId>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.chip_ids = Some(any_of.into_iter().collect()))
    }

    /// The processor must be of one of these families. Evidence that does not say is refused.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_products(self, any_of: impl IntoIterator<Item = Product>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.products = Some(any_of.into_iter().collect()))
    }

    /// The guest must be one of these running guests (`REPORT_ID`).
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_report_ids(self, any_of: impl IntoIterator<Item = ReportId>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.report_ids = Some(any_of.into_iter().collect()))
    }

    /// The report must be signed by one of these kinds of key, such as a chip's own VCEK. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_signing_keys(self, any_of: impl IntoIterator<Item = SigningKey>) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.signing_keys = Some(any_of.into_iter().collect()))
    }

    /// Least versions of `REPORTED_TCB`, the TCB that the signing key stands for.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_reported_tcb(self, minima: TcbMinima) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.reported_tcb = minima)
    }

    /// Least versions of `COMMITTED_TCB`, below which the platform can no longer go back. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_committed_tcb(self, minima: TcbMinima) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.committed_tcb = minima)
    }

    /// Least versions of `CURRENT_TCB`, what runs now. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_current_tcb(self, minima: TcbMinima) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.current_tcb = minima)
    }

    /// Least versions of `LAUNCH_TCB`, what ran when the guest was launched or imported. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_launch_tcb(self, minima: TcbMinima) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.launch_tcb = minima)
    }

    /// A bit of the guest policy must be set or clear. Evidence that does not carry the bit is refused.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_guest_policy(self, bit: GuestPolicyBit, must: Must) -> Result<Self, InvalidPolicy> {
        self.with(|d| {
            d.require.guest_policy.insert(bit, must);
        })
    }

    /// The guest policy must ask for at least this version of the guest ABI. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_guest_abi(self, at_least: AbiVersion) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.minimum_guest_abi = Some(at_least))
    }

    /// A bit of `PLATFORM_INFO` must be set or clear. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_platform_info(self, bit: PlatformInfoBit, must: Must) -> Result<Self, InvalidPolicy> {
        self.with(|d| {
            d.require.platform_info.insert(bit, must);
        })
    }

    /// The running SNP firmware must be at least this. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_firmware(self, at_least: FirmwareVersion) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.minimum_firmware = Some(at_least))
    }

    /// The committed SNP firmware must be at least this. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_committed_firmware_version(self, at_least: FirmwareVersion) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.minimum_committed_firmware = Some(at_least))
    }

    /// The running firmware and TCB must be the committed ones: no provisional firmware. Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_committed_firmware_only(self) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.committed_firmware_only = true)
    }

    /// All these bits of `LAUNCH_MIT_VECTOR` must be set (reports of version 5 and later). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_launch_mitigations(self, mask: u64) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.launch_mitigations = Some(mask))
    }

    /// All these bits of `CURRENT_MIT_VECTOR` must be set (reports of version 5 and later). Needs AMD trust.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_current_mitigations(self, mask: u64) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.current_mitigations = Some(mask))
    }

    /// The token must be younger than this when it is verified.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_token_younger_than(self, seconds: u64) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.max_token_age_seconds = Some(seconds))
    }

    /// The attestation of a session ends at the latest this long after it was made (default: one hour).
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn require_session_age(self, at_most_seconds: u64) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.require.max_session_age_seconds = Some(at_most_seconds))
    }
}

/// Relaxations. Each shows in the result.
impl Policy {
    /// Accepts guests whose memory the host may read and write. For development only.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`]; as for every method of this block.
    pub fn allow_debug(self) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.allow.debug = true)
    }

    /// Accepts guests that a migration agent may move.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn allow_migration(self) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.allow.migration = true)
    }

    /// Accepts a channel whose key the evidence does not name, over TLS with a validated server name. The evidence then
    /// shows that *some* genuine BlindBox answered, not that it is the peer: whoever holds the server's certificate, or
    /// sits behind it, can relay. Only for workloads that attest any data ([`Binding::None`]).
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn allow_unbound_channel(self) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.allow.unbound_channel = true)
    }

    /// Accepts plain HTTP for an unbound channel: anyone on the path reads and changes everything.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn allow_plain_http(self) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.allow.plain_http = true)
    }

    /// For a URL with a DNS name, goes by the attested key alone and does not validate the server's name: it is then
    /// proven what runs, not whose instance it is.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn allow_unverified_name(self) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.allow.unverified_name = true)
    }

    /// Accepts a confidential VM's token in the layout of MAA's `SevSnpVm` endpoint (claims at top level,
    /// `azure-compliant-cvm`), which direct attestation inside a VM gives.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`].
    pub fn allow_direct_vm_token(self) -> Result<Self, InvalidPolicy> {
        self.with(|d| d.allow.direct_vm_token = true)
    }
}

/// What the rest of the crate reads.
impl Policy {
    pub(crate) fn kind(&self) -> Kind {
        self.document.kind
    }

    pub(crate) fn maa(&self) -> Option<&MaaTrust> {
        self.document.trust.maa.as_ref()
    }

    pub(crate) fn amd(&self) -> Option<&AmdTrust> {
        self.document.trust.amd.as_ref()
    }

    pub(crate) fn workload(&self) -> Option<&Workload> {
        self.document.workload.as_ref()
    }

    pub(crate) fn guest(&self) -> Option<&GuestIdentity> {
        self.document.guest.as_ref()
    }

    pub(crate) fn uvm(&self) -> Option<&UvmSvn> {
        self.document.uvm.as_ref()
    }

    pub(crate) fn requirements(&self) -> &Requirements {
        &self.document.require
    }

    pub(crate) fn allowances(&self) -> &Allowances {
        &self.document.allow
    }

    pub(crate) fn advisories(&self) -> impl Iterator<Item = &'static Advisory> {
        self.document.advisories()
    }

    /// Whether the channel must be bound to the evidence, which follows from what the caller knows of the workload.
    pub(crate) fn binding(&self) -> Binding {
        self.document.binding()
    }
}
