//! Policies, and the CCE policies whose digests they name.

use blindbox_attestation::cce_policy::CcePolicy;
use blindbox_attestation::{AttestationError, HostData};
use serde_json::json;

use crate::error::Error;

/// A policy: what must be proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(blindbox_attestation::Policy);

impl Policy {
    /// Parses a policy file: JSON if it begins with a brace, otherwise TOML.
    ///
    /// # Errors
    ///
    /// `invalid-policy`, with line and column where they are known.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self(text.parse().map_err(AttestationError::InvalidPolicy)?))
    }

    pub(crate) fn inner(&self) -> &blindbox_attestation::Policy {
        &self.0
    }

    /// Returns the policy as TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.0.to_toml()
    }

    /// Returns the policy as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// Returns the SHA-256 of the policy, in hexadecimal. Two policies have the same digest exactly if they require the same.
    #[must_use]
    pub fn digest(&self) -> String {
        self.0.digest().to_string()
    }

    /// Returns the trusted MAA instance; `None` under AMD trust alone.
    #[must_use]
    pub fn maa_issuer(&self) -> Option<String> {
        self.0.maa_issuer().map(ToString::to_string)
    }

    /// Returns what the policy does not restrict, the most severe first: `[{"code", "message"}]`.
    #[must_use]
    pub fn lint_json(&self) -> String {
        serde_json::to_string(&self.0.lint()).unwrap_or_default()
    }
}

/// Parses host data in hexadecimal, and returns `{"host_data", "known_allow_all"}`.
///
/// # Errors
///
/// `misconfigured` for anything but 64 hexadecimal digits.
pub fn host_data(hex: &str) -> Result<String, Error> {
    Ok(describe(HostData::from_hex(hex).map_err(Error::argument)?, None))
}

/// Reads a CCE policy in base64, as it is deployed, and returns `{"host_data", "known_allow_all", "findings"}`.
///
/// # Errors
///
/// `misconfigured` for anything else.
pub fn cce_policy(base64: &str) -> Result<String, Error> {
    let policy = CcePolicy::from_base64(base64.trim()).map_err(Error::argument)?;
    Ok(describe(policy.digest(), Some(&policy)))
}

fn describe(host_data: HostData, policy: Option<&CcePolicy>) -> String {
    let findings: Option<Vec<String>> =
        policy.map(|policy| policy.findings().iter().map(ToString::to_string).collect());
    json!({
        "host_data": host_data.to_string(),
        "known_allow_all": host_data.is_known_allow_all(),
        "findings": findings,
    })
    .to_string()
}
