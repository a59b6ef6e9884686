//! [`GuestIdentity`] and [`ReportSigner`]: which confidential VMs are accepted, and whose key signs the reports of an SNP guest.

use serde::Serialize;

use super::PolicyError;
use super::pcrs::{self, PcrIndex, PcrRequirements};
use super::require_table::check_names;
use super::requirement::Requirement;
use super::strict_serde::strict;
use crate::types::{KeyDigest, Measurement, Sha256Digest, TeeKind};

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

    /// Accepts any confidential VM, of any customer, that MAA reports as compliant; under AMD trust, any whose paravisor has the fix of
    /// CVE-2025-49707. With [`Policy::require_tee`](super::Policy::require_tee) also one of Intel TDX.
    #[must_use]
    pub fn allow_any_azure_cvm() -> Self {
        Self { allow_any_azure_cvm: true, ..Self::unspecified() }
    }

    /// Requires one of these values of a PCR of the virtual TPM (SHA-256; index 0 to 15), which identify what was started. Needs AMD
    /// trust.
    ///
    /// PCR 4 measures the boot loader or kernel image, 7 Secure Boot, 8 and 9 the command line and initial file system, 11 a unified
    /// kernel image, 12 what overrides its command line. The operating system extends 8 to 15, so they mean something only with 4, and
    /// 4 alone identifies the boot loader only: the result names the boot chain if the policy requires 4 with 8, 9 and 12 (GRUB), 9 and
    /// 12 (a kernel with its stub) or 11 and 12 (a unified kernel image).
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
        check_names("guest.measurements", self.measurements.as_deref(), Measurement::is_zero)?;
        check_names("guest.id-keys", self.id_keys.as_deref(), KeyDigest::is_zero)?;
        check_names(Requirement::Mrtd.field(), self.mrtd.as_deref(), Measurement::is_zero)?;
        let pinned = self.measurements.is_some() || self.id_keys.is_some() || self.mrtd.is_some();
        if !pinned && !self.allow_any_azure_cvm {
            return Err(PolicyError::Contradiction {
                reason: "`guest` says nothing of the VM; add `measurements`, `id-keys` or `mrtd`, or say `allow-any-azure-cvm`",
            });
        }
        Ok(())
    }
}

/// Which key must sign the reports of an SNP guest. It is the only evidence of whose cloud the guest runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportSigner {
    /// A chip's own key (VCEK). It names the chip and no cloud provider.
    Chip,
    /// The key (VLEK) that AMD issued to one of these cloud providers, by `CSP_ID` of its certificate, such as
    /// `CN=cc-us-east-2.amazonaws.com`.
    Provider(Vec<String>),
}
