//! [`Rejection`]: genuine evidence that violates the policy, with every [`Violation`] and the whole appraisal.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::format::{advisory_suffix, bit_value, or_none, redact};
use crate::appraisal::Appraisal;
use crate::policy::{BitRequirement, GuestPolicyBit, PlatformInfoBit, VmConfigurationBit};
use crate::types::{HostData, Measurement, Sha256Digest, any_of, printable};

/// The rejection of genuine evidence: at least one violation of the policy, and every check of the appraisal.
///
/// [`fmt::Display`] prints the most severe violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    most_severe: Arc<Violation>,
    others: Arc<[Violation]>,
    appraisal: Appraisal,
}

impl Rejection {
    /// Returns the rejection by the violations; `None` if there are none.
    pub(crate) fn new(mut violations: Vec<Violation>, appraisal: Appraisal) -> Option<Self> {
        // Stable: of two violations of the same severity, the one that was checked first becomes the error.
        violations.sort_by_key(Violation::severity);
        let mut violations = violations.into_iter();
        let most_severe = Arc::new(violations.next()?);
        Some(Self { most_severe, others: violations.collect(), appraisal })
    }

    /// Returns the most severe violation: the one with the lowest number, except that [`Violation::WrongTeeKind`] comes right
    /// after [`Violation::MigrationAllowed`], because it causes other violations.
    #[must_use]
    pub fn violation(&self) -> &Violation {
        &self.most_severe
    }

    /// Returns all violations, the most severe one first.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        std::iter::once(&*self.most_severe).chain(self.others.iter())
    }

    /// Returns every check, including those that passed.
    #[must_use]
    pub fn appraisal(&self) -> &Appraisal {
        &self.appraisal
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.most_severe.fmt(f)
    }
}

/// One violation of the policy by genuine evidence, with what was expected and what was found.
///
/// The order of the variants is the order of their numbers except for [`Self::WrongTeeKind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The guest policy allows the host to debug the guest: nothing in it is confidential.
    #[error(
        "attestation validation failed (enclave is in debug mode): expected a guest policy without debugging, found debugging allowed; deploy without debugging, or use `allow_debug` in development"
    )]
    DebugMode,
    /// The guest policy allows a migration agent to move the guest.
    #[error(
        "attestation validation failed (migration is allowed): expected a guest policy without migration, found migration allowed; deploy without migration, or use `allow_migration` if you know the migration agent"
    )]
    MigrationAllowed,
    /// The token has the layout of another kind of TEE than the policy is for.
    #[error("attestation validation failed (wrong kind of tee): expected {expected}, found {actual}")]
    WrongTeeKind {
        /// The kind that the policy is for.
        expected: &'static str,
        /// The kind of the evidence.
        actual: &'static str,
    },
    /// MAA did not find the utility VM (or the confidential VM) compliant.
    #[error("attestation validation failed (non-compliant uvm): expected {expected}, found {}", or_none(.status.as_deref()))]
    NonCompliantUvm {
        /// The accepted values of `x-ms-compliance-status`.
        expected: String,
        /// The value in the token; `None` if MAA made no statement.
        status: Option<String>,
    },
    /// The host data is not the digest of an expected CCE policy: other code runs in the TEE.
    #[error("attestation validation failed (invalid enclave code): expected host data {}, found {actual}; is this the CCE policy that is deployed?", any_of(.expected))]
    InvalidEnclaveCode {
        /// The accepted digests.
        expected: Vec<HostData>,
        /// The digest in the evidence.
        actual: HostData,
    },
    /// The launch measurement is not among the reference values.
    #[error("attestation validation failed (wrong launch measurement): expected {}, found {actual}", any_of(.expected))]
    WrongMeasurement {
        /// The accepted measurements.
        expected: Vec<Measurement>,
        /// The measurement in the evidence.
        actual: Measurement,
    },
    /// The utility VM's endorsement has another issuer or feed.
    #[error("attestation validation failed (wrong uvm endorsement): expected {field} {expected}, found {}", printable(.actual))]
    WrongUvm {
        /// `issuer` or `feed`.
        field: &'static str,
        /// The required value.
        expected: String,
        /// The value in the endorsement, shortened.
        actual: String,
    },
    /// The utility VM is older than allowed.
    #[error(
        "attestation validation failed (uvm too old): expected security version {minimum} or later, found {actual}; redeploy to get a newer utility VM"
    )]
    UvmTooOld {
        /// The minimum version.
        minimum: u64,
        /// The version in the endorsement.
        actual: u64,
    },
    /// The MAA instance applied another attestation policy than the pinned one.
    #[error("attestation validation failed (wrong maa policy): expected policy hash {expected}, found {actual}")]
    WrongMaaPolicy {
        /// The pinned hash.
        expected: Sha256Digest,
        /// The hash in the token.
        actual: Sha256Digest,
    },
    /// The report was requested from a privilege level that is not accepted.
    #[error("attestation validation failed (wrong vmpl): expected {}, found {actual}", any_of(.expected))]
    WrongVmpl {
        /// The accepted levels.
        expected: Vec<u32>,
        /// The level in the evidence.
        actual: u32,
    },
    /// An identity of the guest (ID or author key, family, image, report id) is not an expected one.
    #[error("attestation validation failed (wrong {field}): expected {}, found {}", redact(.field, .expected), redact(.field, .actual))]
    WrongGuestIdentity {
        /// Which identity.
        field: &'static str,
        /// The accepted values.
        expected: String,
        /// The value in the evidence.
        actual: String,
    },
    /// A component of a TCB is older than allowed.
    #[error("attestation validation failed (tcb too old): expected {tcb} {part} {minimum} or later{}, found {}", advisory_suffix(.advisory.as_deref()), or_none(.actual.as_ref()))]
    TcbTooOld {
        /// `reported`, `committed`, `current` or `launch`.
        tcb: &'static str,
        /// The component, such as `snp` or `microcode`.
        part: &'static str,
        /// The minimum version.
        minimum: u8,
        /// The version in the evidence; `None` if the product has no such component.
        actual: Option<u8>,
        /// The advisory that requires the version; `None` if the policy does.
        advisory: Option<String>,
    },
    /// The SNP firmware is older than allowed, or provisional.
    #[error(
        "attestation validation failed (firmware too old): expected {firmware} firmware {expected}, found {actual}"
    )]
    FirmwareTooOld {
        /// `running` or `committed`.
        firmware: &'static str,
        /// The required version.
        expected: String,
        /// The version in the report.
        actual: String,
    },
    /// `GUEST_SVN` of the report is lower than required.
    #[error("attestation validation failed (guest svn too old): expected {minimum} or later, found {actual}")]
    GuestSvnTooOld {
        /// The minimum value.
        minimum: u32,
        /// The value in the evidence.
        actual: u32,
    },
    /// A bit of the guest policy, or its ABI version, is not as required.
    #[error("attestation validation failed (wrong guest policy): expected {expected}, found {actual}")]
    WrongGuestPolicy {
        /// The bit; `None` for the ABI version.
        bit: Option<GuestPolicyBit>,
        /// The required value.
        expected: String,
        /// The actual value.
        actual: String,
    },
    /// A bit of `PLATFORM_INFO` is not as required.
    #[error("attestation validation failed (wrong platform info): expected {bit} to be {}, found otherwise", bit_value(.must))]
    WrongPlatformInfo {
        /// The bit.
        bit: PlatformInfoBit,
        /// The required value of the bit.
        must: BitRequirement,
    },
    /// A required mitigation is not active.
    #[error(
        "attestation validation failed (missing mitigations): expected all of {expected:#x} in the {vector} vector, found {actual:#x}"
    )]
    MissingMitigations {
        /// `launch` or `current`.
        vector: &'static str,
        /// The required bits.
        expected: u64,
        /// The bits in the report.
        actual: u64,
    },
    /// The chip or its product is not an accepted one.
    #[error("attestation validation failed (wrong chip): expected {field} {}, found {}", redact(.field, .expected), redact(.field, .actual))]
    WrongChip {
        /// `chip id` or `product`.
        field: &'static str,
        /// The accepted values.
        expected: String,
        /// The value in the evidence.
        actual: String,
    },
    /// The evidence does not carry a claim that the policy requires. A claim that is not reported does not pass.
    #[error(
        "attestation validation failed (not reported): the policy requires {claim}, which this evidence does not carry; use an agent, platform or trust whose evidence carries it"
    )]
    NotReported {
        /// The claim.
        claim: &'static str,
    },
    /// The token is older than the policy allows.
    #[error("attestation validation failed (token too old): expected an age of at most {} s, found {} s", .maximum.as_secs(), .actual.as_secs())]
    TokenTooOld {
        /// The maximum age.
        maximum: Duration,
        /// The age.
        actual: Duration,
    },

    /// The key exchange of the connection does not withstand quantum computers, and the policy requires one that does.
    #[error("attestation validation failed (not post-quantum): expected a post-quantum key exchange, found {actual}")]
    NotPostQuantum {
        /// The negotiated group.
        actual: String,
    },
    /// Intel's verdict on the TCB of a TDX guest is not an accepted one.
    #[error("attestation validation failed (wrong tcb status): expected {expected}, found {}", printable(.actual))]
    WrongTcbStatus {
        /// The accepted values of `attester_tcb_status`.
        expected: String,
        /// The value in the token, shortened.
        actual: String,
    },
    /// The container that holds the key of the MAA instance is not as required.
    #[error(
        "attestation validation failed (wrong maa key): expected a key held by a container with {field} {expected}, found {actual}"
    )]
    WrongMaaKey {
        /// What is not as required.
        field: &'static str,
        /// The accepted values.
        expected: String,
        /// The value in the evidence of the key.
        actual: String,
    },
    /// The report of a confidential VM's paravisor does not carry the statement about the TLS key: it may be of an earlier boot.
    #[error(
        "attestation validation failed (key not in report): expected user-data {expected}, which states the attested TLS key, found {}; is the report of an earlier boot, or does the agent not write the statement?", or_none(.actual.as_deref())
    )]
    KeyNotInReport {
        /// The digest of the statement, then 32 zero bytes, in hexadecimal.
        expected: String,
        /// `user-data` of the report; `None` if it has none.
        actual: Option<String>,
    },
    /// A PCR of the virtual TPM does not have an accepted value: something else was started.
    #[error("attestation validation failed (wrong pcr): expected PCR {index} to be {}, found {actual}; was the image or its boot configuration updated?", any_of(.expected))]
    WrongPcr {
        /// The index of the PCR.
        index: u8,
        /// The accepted values.
        expected: Vec<Sha256Digest>,
        /// The value that was quoted.
        actual: Sha256Digest,
    },
    /// The quote does not select a PCR that the policy requires, so that its value is not known.
    #[error(
        "attestation validation failed (pcr not quoted): expected a quote that selects PCR {index}, found one that does not"
    )]
    PcrNotQuoted {
        /// The index of the PCR.
        index: u8,
    },
    /// A setting of the confidential VM is not as required.
    #[error("attestation validation failed (wrong vm configuration): expected {setting} to be {}, found otherwise", bit_value(.must))]
    WrongVmConfiguration {
        /// The setting.
        setting: VmConfigurationBit,
        /// The required value.
        must: BitRequirement,
    },
}

impl Violation {
    /// Returns the severity. The lowest value is the most severe one.
    fn severity(&self) -> u32 {
        match self {
            // First, because a VM's evidence under a policy for containers makes all other checks meaningless, and vice versa.
            Self::WrongTeeKind { .. } => 1025,
            violation => u32::from(violation.number()).saturating_mul(10),
        }
    }
}

/// An object with `code`, `number` and `message`.
impl Serialize for Violation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Violation", 3)?;
        object.serialize_field("code", self.code())?;
        object.serialize_field("number", &self.number())?;
        object.serialize_field("message", &self.to_string())?;
        object.end()
    }
}
