//! The appraisal policy: what the relying party requires.
//!
//! Mandatory expectations are constructor arguments; optional requirements are `require_*` methods; relaxations are
//! `allow_*` methods, and the result reports them. A policy is validated when it is built or loaded, so that every
//! [`Policy`] can be used.
//!
//! Per-connection facts (the nonce, the peer's key) never enter a policy: they are a [`crate::Challenge`].

mod advice;
pub(crate) mod advisories;
mod allow_methods;
mod attested_key;
mod error;
mod guest;
mod lint;
mod paravisor;
mod pcrs;
mod require_methods;
mod require_table;
mod requirement;
mod requirement_list;
mod schema;
mod strict_serde;
mod tcb;
mod tee;
mod trust;
mod uvm;
mod workload;

pub use advice::{AdvisoryStatus, Unmet};
pub use advisories::{Advisory, Grade};
pub use attested_key::AttestedKeyRequirement;
pub use error::PolicyError;
pub use guest::{GuestIdentity, ReportSigner};
pub use lint::Lint;
pub use require_table::{AbiVersion, BitRequirement, GuestPolicyBit, PlatformInfoBit, VmConfigurationBit};
pub use tcb::{TcbMinima, TcbMinimum};
pub use trust::Trust;
pub use uvm::UvmRequirement;
pub use workload::{Binding, Workload};

pub(crate) use advice::Platform;
pub use paravisor::ParavisorFix;
pub(crate) use paravisor::{PARAVISOR_FLOORS, PARAVISOR_ID_KEY, UnmetFloor};
pub(crate) use pcrs::{PcrIndex, missing_for_system};
pub(crate) use require_table::Requirements;
pub(crate) use requirement::{CarriedBy, Requirement};
pub(crate) use requirement_list::RequiredBy;
pub(crate) use schema::{Allowances, COMPLIANT_CVM, Kind};
pub(crate) use tee::UP_TO_DATE;
pub(crate) use trust::{AmdTrust, MaaTrust};

use std::str::FromStr;

use schema::Document;

use crate::types::{KeyDigest, MaaIssuer, Measurement, Product, Sha256Digest, SigningKey, TeeKind};

/// The appraisal policy: which verifier is trusted, which workload is expected, and which additional requirements apply.
///
/// Safe by default: no debugging, no migration, VMPL 0, MAA's compliance verdict required, a bound channel, TLS.
///
/// ```
/// # use blindbox_attestation::{HostData, Policy, Trust, UvmRequirement, Workload};
/// # let digest = HostData::from_hex(&"5a".repeat(32))?;
/// let policy = Policy::confidential_container(
///     Trust::maa("https://sharedneu.neu.attest.azure.net")?,
///     Workload::binds_its_own_key(digest),
///     UvmRequirement::at_least(101),
/// )?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    document: Document,
    /// Each connection is attested under it.
    digest: Sha256Digest,
}

/// Constructors, one for each kind of TEE and way to identify what runs in it.
impl Policy {
    /// Creates a policy for a confidential container (such as Azure Container Instances). The workload is identified by its
    /// CCE policy, and the utility VM must be endorsed by its vendor and have the minimum security version.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] if an argument cannot be used or two contradict each other.
    pub fn confidential_container(trust: Trust, workload: Workload, uvm: UvmRequirement) -> Result<Self, PolicyError> {
        let mut document = Document::new(Kind::ConfidentialContainer, trust);
        document.workload = Some(workload);
        document.uvm = Some(uvm);
        Self::checked(document)
    }

    /// Creates a policy for a confidential container whose utility VM is pinned by launch measurements instead of an
    /// endorsement. Every new utility VM then needs a new policy.
    ///
    /// # Errors
    ///
    /// As [`Policy::confidential_container`].
    pub fn confidential_container_by_measurement(
        trust: Trust,
        workload: Workload,
        measurements: impl IntoIterator<Item = Measurement>,
    ) -> Result<Self, PolicyError> {
        let mut document = Document::new(Kind::ConfidentialContainer, trust);
        document.workload = Some(workload);
        document.require.measurements = Some(measurements.into_iter().collect());
        Self::checked(document)
    }

    /// Creates a policy for a confidential VM of Azure. Its evidence shows a genuine, non-debug CVM of a given configuration. Which
    /// operating system runs in it is shown by PCRs alone ([`GuestIdentity::pcr`]); without them the result states
    /// `workload: not evaluated`.
    ///
    /// With SEV-SNP, the paravisor must have the fix of CVE-2025-49707, without which the administrator of a VM can replace the
    /// attestation key of its virtual TPM. Exceptions: a policy that pins the launch measurement, and under MAA trust alone
    /// [`Policy::allow_old_paravisor`]. Under AMD trust, the report of the paravisor and a quote of the virtual TPM are verified down to
    /// AMD's root, and the report must be of this boot.
    ///
    /// # Errors
    ///
    /// As [`Policy::confidential_container`]; and [`PolicyError::Contradiction`] for [`Binding::None`] under AMD trust: agents of
    /// confidential VMs have the bound form only.
    pub fn confidential_vm(trust: Trust, guest: GuestIdentity, binding: Binding) -> Result<Self, PolicyError> {
        let mut document = Document::new(Kind::ConfidentialVm, trust);
        document.require.tee = guest.tees();
        document.guest = Some(guest);
        document.binding = Some(binding);
        Self::checked(document)
    }

    /// Creates a policy for any other SEV-SNP guest whose agent puts its own data into the hardware report, such as a VM on AWS or
    /// Google Cloud: the report is verified down to AMD's root, and must have one of these launch measurements.
    ///
    /// A measurement that a provider does not sign is the caller's to compute. It covers the firmware, and the kernel only where
    /// that firmware verifies a kernel (measured direct boot); a TPM outside of the guest shows nothing. The result states
    /// `workload: not evaluated`.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Contradiction`] with MAA trust; [`PolicyError`] for an argument that cannot be used.
    pub fn snp_guest(
        trust: Trust,
        measurements: impl IntoIterator<Item = Measurement>,
        signer: ReportSigner,
        binding: Binding,
    ) -> Result<Self, PolicyError> {
        let mut document = Document::new(Kind::SnpGuest, trust);
        document.guest = Some(GuestIdentity::by_measurement(measurements));
        document.binding = Some(binding);
        match signer {
            ReportSigner::Chip => document.require.signing_keys = Some(vec![SigningKey::Vcek]),
            ReportSigner::Provider(csp_ids) => document.require.csp_ids = Some(csp_ids),
        }
        Self::checked(document)
    }

    fn checked(document: Document) -> Result<Self, PolicyError> {
        document.validate()?;
        let digest = crate::crypto::sha256_digest(document.to_json().as_bytes());
        Ok(Self { document, digest })
    }

    fn with(mut self, change: impl FnOnce(&mut Document)) -> Result<Self, PolicyError> {
        change(&mut self.document);
        Self::checked(self.document)
    }
}

/// Policy files.
impl Policy {
    /// The largest policy file that is read, in bytes. The longest values are chip ids: 7,000 of them fit.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Parses a policy file in TOML of at most [`Policy::MAX_BYTES`]. Unknown fields are errors.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Malformed`] with line and column, [`PolicyError::TooLarge`], or an error of the policy's constructors.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        Self::checked(Document::from_toml(text)?)
    }

    /// Parses a policy file in JSON of at most [`Policy::MAX_BYTES`] and 16,384 values. Unknown and duplicate fields are errors.
    ///
    /// # Errors
    ///
    /// As [`Policy::from_toml`].
    pub fn from_json(text: &str) -> Result<Self, PolicyError> {
        Self::checked(Document::from_json(text)?)
    }

    /// Returns the policy as TOML, from which [`Policy::from_toml`] restores it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.document.to_toml()
    }

    /// Returns the policy as JSON, from which [`Policy::from_json`] restores it.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.document.to_json()
    }

    /// Returns the SHA-256 of the policy's canonical JSON. Policies with the same digest require the same.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Returns the trusted MAA instance; `None` under AMD trust alone.
    #[must_use]
    pub fn maa_issuer(&self) -> Option<&MaaIssuer> {
        self.maa().map(|maa| &maa.issuer)
    }

    /// Describes what this policy does not restrict, the most severe first.
    #[must_use]
    pub fn lint(&self) -> Vec<Lint> {
        lint::lint(&self.document)
    }
}

/// Parses a policy file: JSON if it begins with a brace, otherwise TOML.
///
/// ```
/// # use blindbox_attestation::{HostData, PolicyError, Policy, Trust, UvmRequirement, Workload};
/// # let workload = Workload::binds_its_own_key(HostData::new([0x5a; 32]));
/// # let policy = Policy::confidential_container(Trust::amd(), workload, UvmRequirement::at_least(101))?;
/// assert_eq!(policy.to_toml().parse(), Ok(policy.clone()));
/// assert_eq!(policy.to_json().parse(), Ok(policy));
/// # Ok::<(), PolicyError>(())
/// ```
impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if text.trim_start().starts_with('{') { Self::from_json(text) } else { Self::from_toml(text) }
    }
}

/// Accessors for the rest of the crate.
impl Policy {
    pub(crate) fn kind(&self) -> Kind {
        self.document.kind
    }

    pub(crate) fn maa(&self) -> Option<&MaaTrust> {
        self.document.trust.maa.as_ref()
    }

    pub(crate) fn attested_maa_key(&self) -> Option<&AttestedKeyRequirement> {
        self.maa()?.require_attested_key.as_ref()
    }

    pub(crate) fn amd(&self) -> Option<&AmdTrust> {
        self.document.trust.amd.as_ref()
    }

    /// Whether the hardware report comes in the report of a paravisor, with a quote of the virtual TPM.
    pub(crate) fn needs_azure_vm_evidence(&self) -> bool {
        self.document.kind == Kind::ConfidentialVm && self.amd().is_some()
    }

    pub(crate) fn workload(&self) -> Option<&Workload> {
        self.document.workload.as_ref()
    }

    pub(crate) fn guest(&self) -> Option<&GuestIdentity> {
        self.document.guest.as_ref()
    }

    pub(crate) fn uvm(&self) -> Option<&UvmRequirement> {
        self.document.uvm.as_ref()
    }

    /// Returns all requirements, whichever kind of TEE they are for.
    #[cfg(test)]
    pub(crate) fn given(&self) -> Vec<Requirement> {
        self.document.given()
    }

    /// Returns the requirements that evidence of this kind of TEE must meet. Each must produce a check in the appraisal.
    pub(crate) fn given_for(&self, tee: TeeKind) -> Vec<Requirement> {
        self.document.given_for(tee)
    }

    /// Returns the accepted kinds of TEE.
    pub(crate) fn accepted_tees(&self) -> &[TeeKind] {
        self.document.accepted_tees()
    }

    /// Returns which setting requires the fix of an advisory, if one does.
    pub(crate) fn requires_advisory(&self, advisory: &Advisory) -> Option<RequiredBy> {
        let mut required = self.document.required_advisories();
        required.find(|(required, _)| required.name == advisory.name).map(|(_, by)| by)
    }

    /// The compliance status that MAA must give where the policy names none; `None` where it need not give any.
    pub(crate) fn usual_compliance_status(&self) -> Option<&'static str> {
        self.document.usual_compliance_status()
    }

    pub(crate) fn requirements(&self) -> &Requirements {
        &self.document.require
    }

    pub(crate) fn allowances(&self) -> &Allowances {
        &self.document.allow
    }

    /// Returns the accepted launch measurements: the constructor's or the requirement's, never both.
    pub(crate) fn measurements(&self) -> Option<&[Measurement]> {
        self.document.measurements()
    }

    /// Returns the accepted ID keys: the constructor's or the requirement's, never both.
    pub(crate) fn id_keys(&self) -> Option<&[KeyDigest]> {
        self.document.id_keys()
    }

    /// Returns the accepted products: the trust's or the requirement's, never both.
    pub(crate) fn products(&self) -> Option<&[Product]> {
        self.document.products()
    }

    /// Returns the accepted kinds of key that sign reports; `None` if the policy names the cloud providers instead.
    pub(crate) fn signing_keys(&self) -> Option<&[SigningKey]> {
        self.document.signing_keys()
    }

    /// Returns whether the channel must be bound to the evidence, which follows from the caller's assertion about the workload.
    pub(crate) fn binding(&self) -> Binding {
        self.document.binding()
    }
}
