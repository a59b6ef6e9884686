//! [`UvmRequirement`]: which utility VM of a confidential container is accepted.

use serde::Serialize;

use super::PolicyError;
use super::require_table::{check_issuer, check_number, check_text};
use super::requirement::Requirement;
use super::strict_serde::strict;
use crate::claims::UvmClaims;

const UVM_ISSUER: &str = Requirement::UvmIssuer.field();
const UVM_FEED: &str = Requirement::UvmFeed.field();

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
        check_number(Requirement::UvmMinimumSvn.field(), Some(self.minimum_svn))?;
        check_text(UVM_ISSUER, self.issuer.as_deref())?;
        check_text(UVM_FEED, self.feed.as_deref())
    }

    /// Checks that the issuer can be resolved. Under MAA trust alone it is only compared with what MAA states.
    pub(super) fn validate_issuer(&self) -> Result<(), PolicyError> {
        check_issuer(UVM_ISSUER, self.issuer.as_deref())
    }
}
