//! [`Trust`]: the trusted verifier (MAA, this crate down to AMD's root, or both), and its settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::PolicyError;
use super::attested_key::AttestedKeyRequirement;
use super::require_table::{check_names, check_number, check_text, give_once};
use super::requirement::Requirement;
use super::strict_serde::strict;
use crate::types::{MaaIssuer, Product, Revocation, Sha256Digest};

strict! {
    /// The trusted verifier: Microsoft (MAA), this crate down to AMD's root, or both, which must agree.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    pub struct Trust {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) maa: Option<MaaTrust>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub(crate) amd: Option<AmdTrust>,
    }
}

/// The trusted MAA instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MaaTrust {
    #[serde(deserialize_with = "issuer")]
    pub(crate) issuer: MaaIssuer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy_hash: Option<Sha256Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_any_policy: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_test_attester: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) require_attested_key: Option<AttestedKeyRequirement>,
}

/// How hardware reports are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AmdTrust {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) products: Option<Vec<Product>>,
    #[serde(default, skip_serializing_if = "is_required")]
    pub(super) revocation: RevocationRule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_crl_age_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) waived_advisories: Option<Vec<String>>,
}

/// What happens if AMD's CRL is not available, as a policy file states it. [`AmdTrust::revocation`] returns what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RevocationRule {
    /// A current CRL is required; otherwise the report is refused.
    #[default]
    Required,
    /// A missing CRL is reported in the result.
    AllowBestEffort,
    /// CRLs are ignored.
    AllowOff,
}

impl RevocationRule {
    /// Returns what the setting means for the verification of a report.
    pub(super) fn to_revocation(self, max_crl_age_seconds: Option<u64>) -> Revocation {
        match (self, max_crl_age_seconds) {
            (Self::Required, None) => Revocation::Require,
            (Self::Required, Some(age)) => Revocation::RequireIssuedWithin(Duration::from_secs(age)),
            (Self::AllowBestEffort, _) => Revocation::BestEffort,
            (Self::AllowOff, _) => Revocation::Off,
        }
    }
}

pub(super) fn is_required(rule: &RevocationRule) -> bool {
    *rule == RevocationRule::Required
}

fn issuer<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<MaaIssuer, D::Error> {
    MaaIssuer::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

impl Trust {
    /// Trusts the tokens of an MAA instance, such as `https://sharedneu.neu.attest.azure.net`.
    ///
    /// It proves that Microsoft's service checked the hardware report, the TCB and, for a container, the utility VM's
    /// endorsement. It gives no protection against MAA itself, nor against anyone who can publish keys in its name.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Issuer`] unless the string is an `https` origin. There is no default and no wildcard: any tenant
    /// can run an instance with its own policy.
    pub fn maa(issuer: impl AsRef<str>) -> Result<Self, PolicyError> {
        let issuer = MaaIssuer::new(issuer)?;
        let maa = MaaTrust {
            issuer,
            policy_hash: None,
            key_id: None,
            allow_any_policy: false,
            allow_test_attester: false,
            require_attested_key: None,
        };
        Ok(Self { maa: Some(maa), amd: None })
    }

    /// Trusts AMD alone: this crate verifies the hardware report down to AMD's pinned root, without MAA.
    #[must_use]
    pub fn amd() -> Self {
        Self { maa: None, amd: Some(AmdTrust::default()) }
    }

    /// Trusts MAA and AMD together: token and report must both verify and agree on everything that both carry.
    ///
    /// # Errors
    ///
    /// As [`Trust::maa`].
    pub fn maa_and_amd(issuer: impl AsRef<str>) -> Result<Self, PolicyError> {
        Ok(Self { amd: Some(AmdTrust::default()), ..Self::maa(issuer)? })
    }

    /// Requires this `x-ms-policy-hash`, the SHA-256 of the attestation policy that the MAA instance applied.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] without MAA trust, [`PolicyError::GivenTwice`].
    pub fn require_maa_policy_hash(mut self, hash: Sha256Digest) -> Result<Self, PolicyError> {
        const REQUIREMENT: &str = Requirement::MaaPolicyHash.field();
        give_once(REQUIREMENT, &mut self.maa_or_refuse(REQUIREMENT)?.policy_hash, hash)?;
        Ok(self)
    }

    /// Requires the token to be signed by the key of this id. An id of the form that MAA derives from its key (SHA-256
    /// of the public key, or SHA-1 of the certificate) also demands that the key in the key set hashes to it.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] without MAA trust, [`PolicyError::GivenTwice`].
    pub fn require_maa_key_id(mut self, key_id: impl Into<String>) -> Result<Self, PolicyError> {
        const REQUIREMENT: &str = Requirement::MaaKeyId.field();
        give_once(REQUIREMENT, &mut self.maa_or_refuse(REQUIREMENT)?.key_id, key_id.into())?;
        Ok(self)
    }

    /// Requires that the key that signed the token is in a confidential container that runs MAA's own service, proven by the
    /// evidence in the certificate of the key. Anyone who can serve the key set over TLS then cannot add a key of their own.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] without MAA trust, [`PolicyError::GivenTwice`], and [`PolicyError`] for a value that
    /// cannot be used.
    pub fn require_attested_maa_key(mut self, requirement: AttestedKeyRequirement) -> Result<Self, PolicyError> {
        requirement.validate()?;
        const REQUIREMENT: &str = Requirement::MaaKeyHolder.field();
        give_once(REQUIREMENT, &mut self.maa_or_refuse(REQUIREMENT)?.require_attested_key, requirement)?;
        Ok(self)
    }

    fn maa_or_refuse(&mut self, requirement: &'static str) -> Result<&mut MaaTrust, PolicyError> {
        self.maa.as_mut().ok_or(PolicyError::NotCoveredByTrust { requirement, needs: "MAA" })
    }

    fn amd_or_refuse(&mut self, requirement: &'static str) -> Result<&mut AmdTrust, PolicyError> {
        self.amd.as_mut().ok_or(PolicyError::NotCoveredByTrust { requirement, needs: "AMD" })
    }

    /// Accepts an instance that is not one of Microsoft's shared ones, with any attestation policy of its owner.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] without MAA trust.
    pub fn allow_any_maa_policy(mut self) -> Result<Self, PolicyError> {
        self.maa_or_refuse("trust.maa.allow-any-policy")?.allow_any_policy = true;
        Ok(self)
    }

    /// Accepts an instance of Azure's test ring (`*.test.attest.azure.net`).
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] without MAA trust.
    pub fn allow_test_attester(mut self) -> Result<Self, PolicyError> {
        self.maa_or_refuse("trust.maa.allow-test-attester")?.allow_test_attester = true;
        Ok(self)
    }

    /// Requires a processor of one of these products. Evidence that does not name its product is refused.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] under MAA alone (use
    /// [`Policy::require_products`](super::Policy::require_products) there), [`PolicyError::EmptyList`], [`PolicyError::GivenTwice`].
    pub fn require_products(mut self, products: impl IntoIterator<Item = Product>) -> Result<Self, PolicyError> {
        const REQUIREMENT: &str = "trust.amd.products";
        let amd = self.amd_or_refuse(REQUIREMENT)?;
        give_once(REQUIREMENT, &mut amd.products, products.into_iter().collect())?;
        amd.validate()?;
        Ok(self)
    }

    /// Requires AMD to have issued its CRL (`thisUpdate`) at most this long ago, in whole seconds.
    ///
    /// AMD issues one about once a year, and it is current for a little more than a year. So a bound below that refuses what AMD
    /// itself publishes towards the end of the year; it limits how old a CRL can be that hides a later revocation.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] under MAA alone, [`PolicyError::UnusableValue`] for less than a second,
    /// [`PolicyError::Contradiction`] where no CRL is required, [`PolicyError::GivenTwice`].
    pub fn require_max_crl_age(mut self, age: Duration) -> Result<Self, PolicyError> {
        let amd = self.amd_or_refuse(MAX_CRL_AGE)?;
        give_once(MAX_CRL_AGE, &mut amd.max_crl_age_seconds, age.as_secs())?;
        amd.validate()?;
        Ok(self)
    }

    /// Accepts that AMD's CRL is not available; the result then reports that it was not checked.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] under MAA alone, [`PolicyError::Contradiction`] with [`Trust::require_max_crl_age`].
    pub fn allow_best_effort_revocation(self) -> Result<Self, PolicyError> {
        self.with_revocation(RevocationRule::AllowBestEffort)
    }

    /// Ignores AMD's CRL; the result reports it.
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] under MAA alone, [`PolicyError::Contradiction`] with [`Trust::require_max_crl_age`].
    pub fn allow_no_revocation_check(self) -> Result<Self, PolicyError> {
        self.with_revocation(RevocationRule::AllowOff)
    }

    fn with_revocation(mut self, rule: RevocationRule) -> Result<Self, PolicyError> {
        let amd = self.amd_or_refuse(Requirement::Revocation.field())?;
        amd.revocation = rule;
        amd.validate()?;
        Ok(self)
    }

    /// Accepts a platform without the fix of this one advisory, named as in [`advisories::all`](crate::advisories::all).
    ///
    /// # Errors
    ///
    /// [`PolicyError::NotCoveredByTrust`] under MAA alone, [`PolicyError::UnusableValue`] for an advisory that this release does
    /// not require by itself, [`PolicyError::DuplicateValue`] for one that is waived already.
    pub fn allow_tcb_below(mut self, advisory: impl Into<String>) -> Result<Self, PolicyError> {
        let amd = self.amd_or_refuse("trust.amd.waived-advisories")?;
        amd.waived_advisories.get_or_insert_default().push(advisory.into());
        amd.validate()?;
        Ok(self)
    }

    pub(super) fn validate(&self) -> Result<(), PolicyError> {
        if self.maa.is_none() && self.amd.is_none() {
            return Err(PolicyError::Contradiction {
                reason: "`trust` names no verifier; add `trust.maa`, `trust.amd` or both",
            });
        }
        self.amd.as_ref().map_or(Ok(()), AmdTrust::validate)?;
        self.maa.as_ref().map_or(Ok(()), MaaTrust::validate)
    }
}

impl MaaTrust {
    fn validate(&self) -> Result<(), PolicyError> {
        if self.issuer.is_test_ring() && !self.allow_test_attester {
            return Err(PolicyError::TestAttester { issuer: self.issuer.clone() });
        }
        if !self.issuer.is_shared() && self.policy_hash.is_none() && !self.allow_any_policy {
            return Err(PolicyError::MaaPolicyNotPinned { issuer: self.issuer.clone() });
        }
        let policy_hash = self.policy_hash.as_ref().map(std::slice::from_ref);
        check_names(Requirement::MaaPolicyHash.field(), policy_hash, Sha256Digest::is_zero)?;
        check_text(Requirement::MaaKeyId.field(), self.key_id.as_deref())?;
        self.require_attested_key.as_ref().map_or(Ok(()), AttestedKeyRequirement::validate)
    }
}

const MAX_CRL_AGE: &str = Requirement::MaxCrlAge.field();

impl AmdTrust {
    /// Returns whether AMD's CRL must be available, and how recent it must be.
    pub(crate) fn revocation(&self) -> Revocation {
        self.revocation.to_revocation(self.max_crl_age_seconds)
    }

    fn validate(&self) -> Result<(), PolicyError> {
        check_number(MAX_CRL_AGE, self.max_crl_age_seconds)?;
        if self.max_crl_age_seconds.is_some() && self.revocation != RevocationRule::Required {
            return Err(PolicyError::Contradiction {
                reason: "`trust.amd.max-crl-age-seconds` needs `trust.amd.revocation = \"required\"`; drop one of them",
            });
        }
        check_names("trust.amd.products", self.products.as_deref(), |_| false)?;
        check_names("trust.amd.waived-advisories", self.waived_advisories.as_deref(), |_| false)?;
        self.waived_advisories.iter().flatten().try_for_each(|name| super::advisories::check_waivable(name))
    }
}
