//! What the relying party requires.
//!
//! What must be expected is a constructor argument; what may be required besides is a `require_*` method, and given
//! means required; a relaxation is an `allow_*` method and shows in the result. A policy is checked when it is built or
//! loaded, so a [`Policy`] that exists can be used.
//!
//! Per-connection facts (the nonce, the peer's key) never enter a policy: they are a [`crate::Challenge`].

mod advice;
mod advisories;
mod builder;
mod error;
mod lint;
mod requirement;
mod requirements;
mod schema;
mod strict_serde;
mod tcb;
mod trust;
mod workload;

pub use advice::{AdvisoryStatus, Unmet};
pub use advisories::{Advisory, Fix, Grade, Mitigation, advisories};
pub use error::PolicyError;
pub use lint::Lint;
pub use requirements::{AbiVersion, BitRequirement, GuestPolicyBit, PlatformInfoBit};
pub use tcb::{TcbMinima, TcbMinimum};
pub use trust::Trust;
pub use workload::{Binding, GuestIdentity, UvmRequirement, Workload};

pub(crate) use advice::Platform;
pub(crate) use requirement::{CarriedBy, RequiredBy, Requirement};
pub(crate) use requirements::Requirements;
pub(crate) use schema::{Allowances, Kind};
pub(crate) use trust::{AmdTrust, MaaTrust, RevocationRule};

use std::str::FromStr;

use schema::Document;

use crate::types::{Issuer, KeyDigest, Measurement, Product, Sha256Digest};

/// The appraisal policy: who may judge, what must run, and how strict to be about the rest.
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
}

/// The constructors: one for each kind of TEE and way to anchor what runs in it.
impl Policy {
    /// A confidential container (Azure Container Instances and alike): the workload by its CCE policy, under a utility VM
    /// that its vendor endorses and that is not older than allowed.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when the arguments cannot be used or do not go together.
    pub fn confidential_container(trust: Trust, workload: Workload, uvm: UvmRequirement) -> Result<Self, PolicyError> {
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

    /// A confidential VM, through MAA. Its evidence shows a genuine, non-debug Azure CVM of a given configuration, not
    /// which operating system or application runs in it: the result says so.
    ///
    /// # Errors
    ///
    /// As [`Policy::confidential_container`]; and [`PolicyError::Contradiction`] when AMD is to judge: a CVM's report is
    /// made at boot by the paravisor, so without the vTPM's quote it is neither fresh nor bound.
    pub fn confidential_vm(trust: Trust, guest: GuestIdentity, binding: Binding) -> Result<Self, PolicyError> {
        let mut document = Document::new(Kind::ConfidentialVm, trust);
        document.guest = Some(guest);
        document.binding = Some(binding);
        Self::checked(document)
    }

    fn checked(document: Document) -> Result<Self, PolicyError> {
        document.validate()?;
        Ok(Self { document })
    }

    fn with(mut self, change: impl FnOnce(&mut Document)) -> Result<Self, PolicyError> {
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
    /// [`PolicyError::Malformed`] with the place, or what the policy's constructors give.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        Self::checked(Document::from_toml(text)?)
    }

    /// Reads a policy in JSON. Unknown and duplicate fields are refused.
    ///
    /// # Errors
    ///
    /// As [`Policy::from_toml`].
    pub fn from_json(text: &str) -> Result<Self, PolicyError> {
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

/// A policy file in JSON if it begins with a brace, else in TOML: for programs that take either.
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

    pub(crate) fn uvm(&self) -> Option<&UvmRequirement> {
        self.document.uvm.as_ref()
    }

    /// Every requirement that is given: each must leave a check in the appraisal.
    pub(crate) fn given(&self) -> Vec<Requirement> {
        self.document.given()
    }

    /// Who requires that this advisory is fixed, if anybody does.
    pub(crate) fn requires_advisory(&self, advisory: &Advisory) -> Option<RequiredBy> {
        let mut required = self.document.required_advisories();
        required.find(|(required, _)| required.name == advisory.name).map(|(_, by)| by)
    }

    pub(crate) fn requirements(&self) -> &Requirements {
        &self.document.require
    }

    pub(crate) fn allowances(&self) -> &Allowances {
        &self.document.allow
    }

    /// The accepted launch measurements: the constructor's or the requirement's, never both.
    pub(crate) fn measurements(&self) -> Option<&[Measurement]> {
        self.document.measurements()
    }

    /// The accepted ID keys: the constructor's or the requirement's, never both.
    pub(crate) fn id_keys(&self) -> Option<&[KeyDigest]> {
        self.document.id_keys()
    }

    /// The accepted products: the trust's or the requirement's, never both.
    pub(crate) fn products(&self) -> Option<&[Product]> {
        self.document.products()
    }

    /// Whether the channel must be bound to the evidence, which follows from what the caller knows of the workload.
    pub(crate) fn binding(&self) -> Binding {
        self.document.binding()
    }
}
