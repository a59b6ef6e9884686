//! [`AttestedKeyRequirement`]: which container must hold the key of the MAA instance.

use serde::Serialize;

use super::PolicyError;
use super::require_table::{check_issuer, check_names, check_number, check_text};
use super::requirement::Requirement;
use super::strict_serde::strict;
use super::tcb::TcbMinima;
use super::trust::{RevocationRule, is_required};
use crate::claims::UvmClaims;
use crate::types::{HostData, Revocation};

strict! {
    /// The confidential container that must hold the key that signed a token: MAA's own service, as the certificate of the key
    /// proves by a hardware report.
    ///
    /// The report must be genuine and of a guest at VMPL 0 without debugging and migration, its utility VM endorsed, and its
    /// report data the digest of the key. Keys with a chain of certificates, and those of instances on SGX, carry no such
    /// evidence and are refused.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub struct AttestedKeyRequirement {
        pub(crate) host_data: Vec<HostData>,
        pub(crate) minimum_uvm_svn: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) uvm_issuer: Option<String>,
        #[serde(default, skip_serializing_if = "is_required")]
        pub(super) revocation: RevocationRule,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) reported_tcb: Option<TcbMinima>,
        /// The first field that a method set a second time: see [`AttestedKeyRequirement::validate`].
        #[serde(skip)]
        pub(super) given_twice: Option<&'static str>,
    }
}

const UVM_ISSUER: &str = "trust.maa.require-attested-key.uvm-issuer";
const REPORTED_TCB: &str = Requirement::MaaKeyReportedTcb.field();

impl AttestedKeyRequirement {
    /// Requires a container with one of these host data (the digests of the CCE policies of MAA's service), on an endorsed
    /// utility VM of at least this security version.
    #[must_use]
    pub fn new(host_data: impl IntoIterator<Item = HostData>, minimum_uvm_svn: u64) -> Self {
        Self {
            host_data: host_data.into_iter().collect(),
            minimum_uvm_svn,
            uvm_issuer: None,
            revocation: RevocationRule::Required,
            reported_tcb: None,
            given_twice: None,
        }
    }

    /// Requires minimum versions of `REPORTED_TCB` of the machine that MAA runs on.
    ///
    /// With a second call no policy can be made ([`PolicyError::GivenTwice`]).
    #[must_use]
    pub fn with_reported_tcb(mut self, minima: TcbMinima) -> Self {
        let replaced = self.reported_tcb.replace(minima);
        self.given_twice = self.given_twice.or(replaced.map(|_| REPORTED_TCB));
        self
    }

    /// Requires another issuer of the endorsement (a `did:x509`) than
    /// [`UvmRequirement::PRODUCTION_ISSUER`](super::UvmRequirement::PRODUCTION_ISSUER), byte for byte.
    ///
    /// With a second issuer no policy can be made ([`PolicyError::GivenTwice`]).
    #[must_use]
    pub fn with_uvm_issuer(mut self, issuer: impl Into<String>) -> Self {
        let replaced = self.uvm_issuer.replace(issuer.into());
        self.given_twice = self.given_twice.or(replaced.map(|_| UVM_ISSUER));
        self
    }

    /// Accepts that AMD's CRL for the product that MAA runs on is not available; the result then reports it.
    #[must_use]
    pub fn allow_best_effort_revocation(self) -> Self {
        Self { revocation: RevocationRule::AllowBestEffort, ..self }
    }

    /// Ignores AMD's CRL for the product that MAA runs on; the result reports it.
    #[must_use]
    pub fn allow_no_revocation_check(self) -> Self {
        Self { revocation: RevocationRule::AllowOff, ..self }
    }

    pub(crate) fn revocation(&self) -> Revocation {
        self.revocation.to_revocation(None)
    }

    pub(crate) fn uvm_issuer(&self) -> &str {
        self.uvm_issuer.as_deref().unwrap_or(UvmClaims::PRODUCTION_ISSUER)
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        if let Some(requirement) = self.given_twice {
            return Err(PolicyError::GivenTwice { requirement });
        }
        const HOST_DATA: &str = Requirement::MaaKeyHostData.field();
        check_names(HOST_DATA, Some(&self.host_data), HostData::is_zero)?;
        if self.host_data.iter().any(HostData::is_known_allow_all) {
            let reason = "is the digest of an allow-all CCE policy, with which any code could hold the key";
            return Err(PolicyError::UnusableValue { requirement: HOST_DATA, reason });
        }
        check_number(Requirement::MaaKeyUvmSvn.field(), Some(self.minimum_uvm_svn))?;
        check_text(UVM_ISSUER, self.uvm_issuer.as_deref())?;
        check_issuer(UVM_ISSUER, self.uvm_issuer.as_deref())?;
        let minima = self.reported_tcb.as_ref();
        minima.map_or(Ok(()), |minima| minima.validate(REPORTED_TCB))
    }
}
