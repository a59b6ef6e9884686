//! [`PolicyError`]: the reasons why a policy cannot be used.

use crate::types::{MaaIssuer, MaaIssuerError};

/// The reason why a policy cannot be used. Reported when the policy is built or loaded, never at the first connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A list or table is empty, which never means "any" or "nothing". To require nothing, omit the field.
    #[error("`{requirement}` is empty; {}", how_to_require_nothing(.requirement))]
    EmptyList {
        /// The requirement, as in a policy file.
        requirement: &'static str,
    },
    /// A list has the same value twice, which is probably a typo for another value.
    #[error("`{requirement}` names {value} twice")]
    DuplicateValue {
        /// The requirement, as in a policy file.
        requirement: &'static str,
        /// The value.
        value: String,
    },
    /// The file is larger than any policy.
    #[error("the policy has {found} bytes, at most {max} are read")]
    TooLarge {
        /// Its length, in bytes.
        found: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A requirement is set a second time in code; in a file that is [`PolicyError::Malformed`].
    #[error(
        "`{requirement}` is given already, and a second value would replace the first; give all that is required at once"
    )]
    GivenTwice {
        /// The requirement, as in a policy file.
        requirement: &'static str,
    },
    /// The value cannot be what the caller wants to require.
    #[error("`{requirement}`: {reason}")]
    UnusableValue {
        /// The requirement, as in a policy file.
        requirement: &'static str,
        /// The fault, and how to fix it.
        reason: &'static str,
    },
    /// The issuer is not the address of an MAA instance.
    #[error("`trust.maa.issuer`: {0}")]
    Issuer(#[from] MaaIssuerError),
    /// The MAA instance is not one of Microsoft's shared ones. It applies a policy that its owner can change.
    #[error(
        "`trust.maa`: {issuer} is not a shared instance: its owner writes the attestation policy that it applies; \
         require the hash of the policy you know (`policy-hash`), or say `trust.maa.allow-any-policy`"
    )]
    MaaPolicyNotPinned {
        /// The instance.
        issuer: MaaIssuer,
    },
    /// An instance of Azure's test ring.
    #[error(
        "`trust.maa`: {issuer} belongs to Azure's test ring; use a production instance, or say `trust.maa.allow-test-attester`"
    )]
    TestAttester {
        /// The instance.
        issuer: MaaIssuer,
    },
    /// The host data is the digest of a CCE policy that allows everything.
    #[error(
        "`workload.host-data`: {digest} is the digest of an allow-all CCE policy, which lets the host run any code; \
         generate a policy for your containers, or say `workload.allow-permissive`"
    )]
    PermissiveWorkload {
        /// The digest.
        digest: crate::types::HostData,
    },
    /// The policy requires host data but no known utility VM. The host sets the host data, and only the utility VM enforces it.
    #[error(
        "host data without an endorsed utility VM or a list of launch measurements proves nothing, since the host sets \
         it; add `uvm.minimum-svn` or `require.measurements`"
    )]
    HostDataNotAnchored,
    /// Two settings contradict each other, or one needs another that is missing.
    #[error("{reason}")]
    Contradiction {
        /// The settings, why they contradict each other, and how to fix it.
        reason: &'static str,
    },
    /// The policy requires or allows something that no evidence of the chosen trust carries.
    #[error("`{requirement}` needs {needs}, which `trust` does not include")]
    NotCoveredByTrust {
        /// The requirement or relaxation, as in a policy file.
        requirement: &'static str,
        /// The trust that could evaluate it.
        needs: &'static str,
    },
    /// The input is not a policy file.
    #[error("the policy file cannot be read: {reason}")]
    Malformed {
        /// The position and the fault, shortened.
        reason: String,
    },
    /// A policy file of a version that this release does not know.
    #[error("the policy file is of version {found}; this release reads version 1")]
    UnsupportedVersion {
        /// The version in the file.
        found: u32,
    },
}

/// Returns what to do about an empty list or table; the effect of omitting it depends on the field.
fn how_to_require_nothing(requirement: &str) -> &'static str {
    match requirement {
        "workload.host-data" => {
            "name the digest of each accepted CCE policy; it cannot be left out, since nothing else says what must run"
        }
        "guest.measurements" | "guest.id-keys" | "guest.mrtd" => {
            "name the accepted values, or leave it out and say in another way which VM: `measurements`, `id-keys`, `mrtd` or \
             `allow-any-azure-cvm`"
        }
        "require.measurements" => {
            "name the accepted values, or leave it out; a confidential container then needs `uvm.minimum-svn`"
        }
        "require.compliance-status" => {
            "name the accepted values, or leave it out to accept only the usual one of the kind"
        }
        "require.tee" => "name the accepted kinds, or leave it out to accept only SEV-SNP",
        "require.tcb-status" => "name the accepted values, or leave it out to accept only `UpToDate`",
        "require.vmpl" => "name the accepted levels, or leave it out to accept only level 0",
        "trust.amd.waived-advisories" => "name the advisories, or leave it out to waive none",
        "require.reported-tcb" | "require.committed-tcb" | "require.current-tcb" | "require.launch-tcb" => {
            "give at least one product (or `any`), and for each at least one part, such as `snp`; or leave it out to \
             require no least version"
        }
        "require.guest-policy" | "require.platform-info" => "say what a bit must be, or leave it out to require none",
        _ => "name the accepted values, or leave it out to accept any",
    }
}
