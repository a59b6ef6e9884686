//! [`Workload`], [`GuestIdentity`] and [`UvmRequirement`]: which workload, VM and utility VM are accepted.

use serde::Serialize;

use super::PolicyError;
use super::pcrs::{self, PcrIndex, PcrRequirements};
use super::require_table::{check_list, check_names, check_number, check_text};
use super::strict_serde::strict;
use crate::claims::UvmClaims;
use crate::types::{HostData, KeyDigest, Measurement, Sha256Digest, TeeKind};

strict! {
    /// Whether the measured configuration attests only its own TLS key, its own connections or its own message key. Evidence cannot show this; the
    /// caller asserts it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
    #[serde(rename_all = "kebab-case")]
    pub enum Binding {
        /// Nothing in this configuration attests runtime data chosen by a caller, and its TLS key is made inside the TEE
        /// after launch and never exists outside.
        ///
        /// If this assertion is wrong, anyone on the path can get the workload to attest *their* key, and this crate cannot
        /// detect it.
        OwnKey,
        /// As [`Binding::OwnKey`]; and the agent names the TLS connection too, by its exporter (RFC 9266), so that each connection
        /// is attested by itself. A key that was stolen from the workload is of no use to a relay.
        ///
        /// It needs an agent with `blindbox-bound-connection/1`, on the application's own connections.
        OwnConnection,
        /// Nothing in this configuration attests runtime data chosen by a caller; the key that messages are sealed to is made inside
        /// the TEE after launch, by each instance for itself, and never exists outside; and the application gets no requests but
        /// those from sealed messages. TLS may end at a front end.
        ///
        /// It needs an agent with `blindbox-bound-message/1`. If this assertion is wrong, a front end can read messages or send its own,
        /// and this crate cannot detect it.
        OwnMessageKey,
        /// The workload attests any data it is given: BlindBox as first released, Microsoft's SKR container on a reachable port.
        None,
    }
}

strict! {
    /// The application that must run in a confidential container.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub struct Workload {
        pub(crate) binding: Binding,
        pub(crate) host_data: Vec<HostData>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub(crate) allow_permissive: bool,
    }
}

impl Workload {
    /// Expects a workload with this CCE policy, which the caller asserts to bind its own key ([`Binding::OwnKey`]).
    #[must_use]
    pub fn binds_its_own_key(host_data: HostData) -> Self {
        Self { binding: Binding::OwnKey, host_data: vec![host_data], allow_permissive: false }
    }

    /// Expects a workload with this CCE policy, which the caller asserts to bind its own key and connections
    /// ([`Binding::OwnConnection`]).
    #[must_use]
    pub fn binds_its_own_connection(host_data: HostData) -> Self {
        Self { binding: Binding::OwnConnection, host_data: vec![host_data], allow_permissive: false }
    }

    /// Expects a workload with this CCE policy, which the caller asserts to bind the key that messages are sealed to
    /// ([`Binding::OwnMessageKey`]).
    #[must_use]
    pub fn binds_its_own_message_key(host_data: HostData) -> Self {
        Self { binding: Binding::OwnMessageKey, host_data: vec![host_data], allow_permissive: false }
    }

    /// Expects a workload with this CCE policy that attests any data ([`Binding::None`]). It never gives a bound session.
    #[must_use]
    pub fn attests_any_data(host_data: HostData) -> Self {
        Self { binding: Binding::None, host_data: vec![host_data], allow_permissive: false }
    }

    /// Accepts another CCE policy too, such as during a rolling update. The same binding applies to it.
    #[must_use]
    pub fn also_accept(mut self, host_data: HostData) -> Self {
        self.host_data.push(host_data);
        self
    }

    /// Accepts the known allow-all CCE policies, with which the host can run any code in the TEE. For development only.
    #[must_use]
    pub fn allow_permissive(mut self) -> Self {
        self.allow_permissive = true;
        self
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        const REQUIREMENT: &str = "workload.host-data";
        check_list(REQUIREMENT, &self.host_data)?;
        for digest in &self.host_data {
            if digest.is_zero() {
                let reason = "is all zero, which means that no CCE policy was set";
                return Err(PolicyError::UnusableValue { requirement: REQUIREMENT, reason });
            }
            if digest.is_known_allow_all() && !self.allow_permissive {
                return Err(PolicyError::PermissiveWorkload { digest: *digest });
            }
        }
        Ok(())
    }
}

strict! {
    /// The accepted confidential VMs. Only PCRs show which operating system runs in them.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub struct GuestIdentity {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) measurements: Option<Vec<Measurement>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) id_keys: Option<Vec<KeyDigest>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) mrtd: Option<Vec<Measurement>>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub(crate) allow_any_azure_cvm: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) pcrs: Option<PcrRequirements>,
        /// The first field that a method set a second time: see [`GuestIdentity::validate`].
        #[serde(skip)]
        pub(super) given_twice: Option<&'static str>,
    }
}

impl GuestIdentity {
    /// Accepts VMs with one of these launch measurements, which on Azure identify the paravisor and firmware.
    #[must_use]
    pub fn by_measurement(measurements: impl IntoIterator<Item = Measurement>) -> Self {
        let measurements = Some(measurements.into_iter().collect());
        Self { measurements, ..Self::unspecified() }
    }

    /// Accepts VMs whose ID block is signed by one of these keys, which on Azure are Microsoft's keys for its paravisor.
    #[must_use]
    pub fn by_id_key(id_keys: impl IntoIterator<Item = KeyDigest>) -> Self {
        let id_keys = Some(id_keys.into_iter().collect());
        Self { id_keys, ..Self::unspecified() }
    }

    /// Accepts guests of Intel TDX with one of these values of `MRTD`, which on Azure identify the paravisor and firmware. A policy of
    /// this guest accepts TDX, and no SEV-SNP.
    #[must_use]
    pub fn measured_tdx(mrtd: impl IntoIterator<Item = Measurement>) -> Self {
        let mrtd = Some(mrtd.into_iter().collect());
        Self { mrtd, ..Self::unspecified() }
    }

    /// Accepts these guests of Intel TDX too, beside all guests that are accepted already.
    #[must_use]
    pub fn also_measured_tdx(mut self, mrtd: impl IntoIterator<Item = Measurement>) -> Self {
        self.mrtd.get_or_insert_default().extend(mrtd);
        self
    }

    /// Returns the kinds of TEE that the lists are about, if they are not about SEV-SNP alone.
    pub(super) fn tees(&self) -> Option<Vec<TeeKind>> {
        self.mrtd.as_ref()?;
        let of_snp = self.measurements.is_some() || self.id_keys.is_some();
        Some(if of_snp { vec![TeeKind::Snp, TeeKind::Tdx] } else { vec![TeeKind::Tdx] })
    }

    /// Accepts any confidential VM that MAA calls compliant; under AMD trust, any whose paravisor has the fix of CVE-2025-49707.
    /// With [`Policy::require_tee`](super::Policy::require_tee) also one of Intel TDX.
    #[must_use]
    pub fn allow_any_azure_cvm() -> Self {
        Self { allow_any_azure_cvm: true, ..Self::unspecified() }
    }

    /// Requires one of these values of a PCR of the virtual TPM (SHA-256; index 0 to 15), which identify what was started. Needs AMD
    /// trust.
    ///
    /// PCR 4 is the boot loader or kernel image, 7 Secure Boot, 8 and 9 the command line and initial file system, 11 the sections of a
    /// unified kernel image and 12 what overrides them. The operating system extends 8 to 15, so that they are worth nothing without 4,
    /// and 4 alone is the boot loader only: the result says which boot chain was started if the policy requires 4 with 8, 9 and 12 (GRUB), 9 and 12
    /// (a kernel with its stub) or 11 and 12 (a unified kernel image).
    ///
    /// The values of one PCR are accepted in any combination with those of another: give each image a policy of its own.
    ///
    /// A second call for one PCR makes a policy fail ([`PolicyError::GivenTwice`]).
    #[must_use]
    pub fn pcr(mut self, index: u8, any_of: impl IntoIterator<Item = Sha256Digest>) -> Self {
        let pcrs = self.pcrs.get_or_insert_default();
        let replaced = pcrs.insert(PcrIndex(index), any_of.into_iter().collect());
        self.given_twice = self.given_twice.or(replaced.map(|_| pcrs::PCRS));
        self
    }

    fn unspecified() -> Self {
        Self {
            measurements: None,
            id_keys: None,
            mrtd: None,
            allow_any_azure_cvm: false,
            pcrs: None,
            given_twice: None,
        }
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        if let Some(requirement) = self.given_twice {
            return Err(PolicyError::GivenTwice { requirement });
        }
        pcrs::validate(self.pcrs.as_ref())?;
        check_names("guest.measurements", self.measurements.as_deref(), |_| false)?;
        check_names("guest.id-keys", self.id_keys.as_deref(), KeyDigest::is_zero)?;
        check_names("guest.mrtd", self.mrtd.as_deref(), Measurement::is_zero)?;
        let pinned = self.measurements.is_some() || self.id_keys.is_some() || self.mrtd.is_some();
        if !pinned && !self.allow_any_azure_cvm {
            return Err(PolicyError::Contradiction {
                reason: "`guest` says nothing of the VM; add `measurements`, `id-keys` or `mrtd`, or say `allow-any-azure-cvm`",
            });
        }
        Ok(())
    }
}

const UVM_ISSUER: &str = "uvm.issuer";
const UVM_FEED: &str = "uvm.feed";

/// Which key must sign the reports of an SNP guest. It is the only evidence of whose cloud the guest runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportSigner {
    /// A chip's own key (VCEK). It names the chip and no cloud provider.
    Chip,
    /// The key (VLEK) that AMD issued to one of these cloud providers, by `CSP_ID` of its certificate, such as
    /// `CN=cc-us-east-2.amazonaws.com`.
    Provider(Vec<String>),
}

strict! {
    /// The required utility VM of a confidential container: endorsed by its vendor, with a minimum security version.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub struct UvmRequirement {
        pub(crate) minimum_svn: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) issuer: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) feed: Option<String>,
        /// The first field that a method set a second time: see [`UvmRequirement::validate`].
        #[serde(skip)]
        pub(super) given_twice: Option<&'static str>,
    }
}

impl UvmRequirement {
    /// The issuer of the endorsements of Azure's utility VMs: Microsoft's supply-chain root, and the EKU of the team
    /// that signs them.
    pub const PRODUCTION_ISSUER: &str = UvmClaims::PRODUCTION_ISSUER;
    /// The feed of the utility VM of Azure Container Instances.
    pub const PRODUCTION_FEED: &str = UvmClaims::PRODUCTION_FEED;

    /// Requires an endorsed utility VM of at least this security version. Prefer a recent version: the host can choose any
    /// older one that is accepted, with its known vulnerabilities.
    #[must_use]
    pub fn at_least(minimum_svn: u64) -> Self {
        Self { minimum_svn, issuer: None, feed: None, given_twice: None }
    }

    /// Requires another issuer (a `did:x509`) than [`UvmRequirement::PRODUCTION_ISSUER`], byte for byte.
    ///
    /// With a second issuer no policy can be made ([`PolicyError::GivenTwice`]).
    #[must_use]
    pub fn issued_by(mut self, issuer: impl Into<String>) -> Self {
        let replaced = self.issuer.replace(issuer.into());
        self.given_twice = self.given_twice.or(replaced.map(|_| UVM_ISSUER));
        self
    }

    /// Requires another feed than [`UvmRequirement::PRODUCTION_FEED`].
    ///
    /// With a second feed no policy can be made ([`PolicyError::GivenTwice`]).
    #[must_use]
    pub fn of_feed(mut self, feed: impl Into<String>) -> Self {
        let replaced = self.feed.replace(feed.into());
        self.given_twice = self.given_twice.or(replaced.map(|_| UVM_FEED));
        self
    }

    pub(crate) fn issuer(&self) -> &str {
        self.issuer.as_deref().unwrap_or(Self::PRODUCTION_ISSUER)
    }

    pub(crate) fn feed(&self) -> &str {
        self.feed.as_deref().unwrap_or(Self::PRODUCTION_FEED)
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        if let Some(requirement) = self.given_twice {
            return Err(PolicyError::GivenTwice { requirement });
        }
        check_number("uvm.minimum-svn", Some(self.minimum_svn))?;
        check_text(UVM_ISSUER, self.issuer.as_deref())?;
        check_text(UVM_FEED, self.feed.as_deref())
    }
}
