//! Everything that can go wrong, summed: one variant per cause, a frozen code and number for each.

mod channel;
mod codes;
mod convert;
mod format;

use std::time::Duration;

pub use channel::{ChannelNotAllowed, ChannelNotBound};
pub use codes::Category;
pub(crate) use format::any_of;

use format::{be, because, in_logs, or_none};

use crate::appraisal::Appraisal;
use crate::maa::{KeySetError, TokenError};
use crate::policy::{BitRequirement, GuestPolicyBit, PlatformInfoBit, PolicyError};
use crate::snp::{CrlError, ReportError};
use crate::types::{HostData, Issuer, Measurement, Sha256Digest, SpkiDigest, printable};
use crate::uvm::EndorsementError;

/// Why there is no attested connection.
///
/// Where a policy was not met, the variant is the gravest of its violations (in the order in which the variants stand
/// here) and [`AttestationError::appraisal`] lists every check. `code` and `number` never change between releases and are
/// never reused; new variants get new ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    // --- Rejected: the evidence is genuine, and is not what the policy requires -----------------------------------
    /// The guest policy allows the host to debug the guest: nothing in it is confidential.
    #[error(
        "attestation validation failed (enclave is in debug mode): expected a guest policy without debugging, found debugging allowed; deploy without debugging, or use `allow_debug` in development"
    )]
    DebugMode {
        /// Every check.
        appraisal: Appraisal,
    },
    /// The guest policy allows a migration agent to move the guest.
    #[error(
        "attestation validation failed (migration is allowed): expected a guest policy without migration, found migration allowed"
    )]
    MigrationAllowed {
        /// Every check.
        appraisal: Appraisal,
    },
    /// The token has the layout of another kind of TEE than the policy is for.
    #[error("attestation validation failed (wrong kind of tee): expected {expected}, found {actual}")]
    WrongTeeKind {
        /// The kind that the policy is for.
        expected: &'static str,
        /// The kind of the evidence.
        actual: &'static str,
        /// Every check.
        appraisal: Appraisal,
    },
    /// MAA did not find the utility VM (or the confidential VM) compliant.
    #[error("attestation validation failed (non-compliant uvm): expected {expected}, found {}", or_none(.status.as_deref()))]
    NonCompliantUvm {
        /// The accepted values of `x-ms-compliance-status`.
        expected: String,
        /// The value in the token; `None` when MAA gave no verdict.
        status: Option<String>,
        /// Every check.
        appraisal: Appraisal,
    },
    /// The host data is not the digest of an expected CCE policy: other code runs in the TEE.
    #[error("attestation validation failed (invalid enclave code): expected host data {}, found {actual}; is this the CCE policy that is deployed?", any_of(.expected))]
    InvalidEnclaveCode {
        /// The accepted digests.
        expected: Vec<HostData>,
        /// The digest in the evidence.
        actual: HostData,
        /// Every check.
        appraisal: Appraisal,
    },
    /// The launch measurement is not among the reference values.
    #[error("attestation validation failed (wrong launch measurement): expected {}, found {actual}", any_of(.expected))]
    WrongMeasurement {
        /// The accepted measurements.
        expected: Vec<Measurement>,
        /// The measurement in the evidence.
        actual: Measurement,
        /// Every check.
        appraisal: Appraisal,
    },
    /// The utility VM's endorsement comes from somebody else or is about something else.
    #[error("attestation validation failed (wrong uvm endorsement): expected {field} {expected}, found {}", printable(.actual))]
    WrongUvm {
        /// `issuer` or `feed`.
        field: &'static str,
        /// The required value.
        expected: String,
        /// The value in the endorsement, shortened.
        actual: String,
        /// Every check.
        appraisal: Appraisal,
    },
    /// The utility VM is older than allowed.
    #[error(
        "attestation validation failed (uvm too old): expected security version {minimum} or later, found {actual}"
    )]
    UvmTooOld {
        /// The least version.
        minimum: u64,
        /// The version in the endorsement.
        actual: u64,
        /// Every check.
        appraisal: Appraisal,
    },
    /// The MAA instance applied another attestation policy than the one that is pinned.
    #[error("attestation validation failed (wrong maa policy): expected policy hash {expected}, found {actual}")]
    WrongMaaPolicy {
        /// The pinned hash.
        expected: Sha256Digest,
        /// The hash in the token.
        actual: Sha256Digest,
        /// Every check.
        appraisal: Appraisal,
    },
    /// The report was asked for from a privilege level that is not accepted.
    #[error("attestation validation failed (wrong vmpl): expected {}, found {actual}", any_of(.expected))]
    WrongVmpl {
        /// The accepted levels.
        expected: Vec<u32>,
        /// The level in the evidence.
        actual: u32,
        /// Every check.
        appraisal: Appraisal,
    },
    /// An identity of the guest (ID or author key, family, image, report id) is not an expected one.
    #[error("attestation validation failed (wrong {field}): expected {}, found {}", in_logs(.field, .expected), in_logs(.field, .actual))]
    WrongGuestIdentity {
        /// Which identity.
        field: &'static str,
        /// The accepted values.
        expected: String,
        /// The value in the evidence.
        actual: String,
        /// Every check.
        appraisal: Appraisal,
    },
    /// A part of a TCB is older than allowed.
    #[error("attestation validation failed (tcb too old): expected {tcb} {part} {minimum} or later{}, found {}", because(.advisory.as_deref()), or_none(.actual.as_ref()))]
    TcbTooOld {
        /// `reported`, `committed`, `current` or `launch`.
        tcb: &'static str,
        /// The part, such as `snp` or `microcode`.
        part: &'static str,
        /// The least version.
        minimum: u8,
        /// The version in the evidence; `None` where the product has no such part.
        actual: Option<u8>,
        /// The advisory that set the floor, where it was not the caller.
        advisory: Option<String>,
        /// Every check.
        appraisal: Appraisal,
    },
    /// The SNP firmware is older than allowed, or provisional.
    #[error(
        "attestation validation failed (firmware too old): expected {firmware} firmware {expected}, found {actual}"
    )]
    FirmwareTooOld {
        /// `running` or `committed`.
        firmware: &'static str,
        /// What was required.
        expected: String,
        /// The version in the report.
        actual: String,
        /// Every check.
        appraisal: Appraisal,
    },
    /// `GUEST_SVN` of the report is lower than required.
    #[error("attestation validation failed (guest svn too old): expected {minimum} or later, found {actual}")]
    GuestSvnTooOld {
        /// The least value.
        minimum: u32,
        /// The value in the evidence.
        actual: u32,
        /// Every check.
        appraisal: Appraisal,
    },
    /// A bit of the guest policy, or its ABI version, is not as required.
    #[error("attestation validation failed (wrong guest policy): expected {expected}, found {actual}")]
    WrongGuestPolicy {
        /// The bit; `None` for the ABI version.
        bit: Option<GuestPolicyBit>,
        /// What was required, in words.
        expected: String,
        /// What the evidence says, in words.
        actual: String,
        /// Every check.
        appraisal: Appraisal,
    },
    /// A bit of `PLATFORM_INFO` is not as required.
    #[error("attestation validation failed (wrong platform info): expected {bit:?} to {}, found otherwise", be(.must))]
    WrongPlatformInfo {
        /// The bit.
        bit: PlatformInfoBit,
        /// What it must be.
        must: BitRequirement,
        /// Every check.
        appraisal: Appraisal,
    },
    /// A mitigation that was required is not in place.
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
        /// Every check.
        appraisal: Appraisal,
    },
    /// The chip or its product is not an accepted one.
    #[error("attestation validation failed (wrong chip): expected {field} {}, found {}", in_logs(.field, .expected), in_logs(.field, .actual))]
    WrongChip {
        /// `chip id` or `product`.
        field: &'static str,
        /// The accepted values.
        expected: String,
        /// The value in the evidence.
        actual: String,
        /// Every check.
        appraisal: Appraisal,
    },
    /// Something that is required is not in evidence of this kind or version. Not reported is not passed.
    #[error(
        "attestation validation failed (not reported): the policy requires {claim}, which this evidence does not carry"
    )]
    NotReported {
        /// The claim.
        claim: &'static str,
        /// Every check.
        appraisal: Appraisal,
    },
    /// The token is older than the policy allows.
    #[error("attestation validation failed (token too old): expected an age of at most {} s, found {} s", .maximum.as_secs(), .actual.as_secs())]
    TokenTooOld {
        /// The greatest age.
        maximum: Duration,
        /// The age.
        actual: Duration,
        /// Every check.
        appraisal: Appraisal,
    },

    /// The key exchange of the connection does not withstand quantum computers, and the policy requires one that does.
    #[error("attestation validation failed (not post-quantum): expected a post-quantum key exchange, found {actual}")]
    NotPostQuantum {
        /// The negotiated group.
        actual: String,
        /// Every check.
        appraisal: Appraisal,
    },

    // --- Untrusted: the evidence is not genuine, not about this peer, or not evidence at all ------------------------
    /// The evidence is not of a SEV-SNP TEE.
    #[error(
        "attestation validation failed (not an enclave): expected evidence of a SEV-SNP TEE, found attestation type {attestation_type:?}"
    )]
    NotAnEnclave {
        /// What the token says it is about, shortened.
        attestation_type: String,
    },
    /// The token was not issued by the MAA instance that the policy names.
    #[error("attestation validation failed (wrong attester): expected a token of {expected}, found {actual:?}")]
    WrongAttester {
        /// The instance that the policy names.
        expected: Issuer,
        /// The issuer in the token, shortened.
        actual: String,
    },
    /// The TLS key of the connection is another than the attested one: somebody is in between.
    #[error(
        "attestation validation failed (channel mismatch): the evidence names the TLS key {attested}, the connection has {connected}; somebody terminates TLS in between"
    )]
    ChannelMismatch {
        /// SHA-256 of the key that the evidence names.
        attested: SpkiDigest,
        /// SHA-256 of the key of the connection.
        connected: SpkiDigest,
    },
    /// The evidence names no TLS key, so it says nothing of the connection.
    #[error("attestation validation failed (channel not bound): {reason}")]
    ChannelNotBound {
        /// What is missing and what to do.
        reason: ChannelNotBound,
    },
    /// Nonce, runtime data and report data do not agree: the evidence was not made for this challenge.
    #[error("attestation validation failed (false attestation report): expected {what} {expected}, found {}", printable(.actual))]
    FalseAttestationReport {
        /// What does not agree.
        what: &'static str,
        /// The expected value.
        expected: String,
        /// The value in the evidence, shortened.
        actual: String,
    },
    /// Two pieces of evidence that should be about the same TEE disagree.
    #[error(
        "attestation validation failed (evidence mismatch): {field} is {} in the {left_source} and {} in the {right_source}",
        in_logs(.field, .left), in_logs(.field, .right)
    )]
    EvidenceMismatch {
        /// The field.
        field: &'static str,
        /// Where the first value stands.
        left_source: &'static str,
        /// The first value.
        left: String,
        /// Where the second value stands.
        right_source: &'static str,
        /// The second value.
        right: String,
    },
    /// The MAA token is malformed, not signed by the instance's key, or outside its life.
    #[error("attestation validation failed (invalid token): {0}")]
    InvalidToken(TokenError),
    /// The MAA key set cannot be used.
    #[error("attestation validation failed (invalid key set): {0}")]
    InvalidKeySet(KeySetError),
    /// The hardware report or its certificates do not verify.
    #[error("attestation validation failed (invalid report): {0}")]
    InvalidReport(ReportError),
    /// The utility VM's endorsement does not verify.
    #[error("attestation validation failed (invalid uvm endorsement): {0}")]
    InvalidUvmEndorsement(EndorsementError),
    /// Evidence that the policy's trust needs was not given.
    #[error("attestation validation failed (missing evidence): the policy needs {what}")]
    MissingEvidence {
        /// What is missing.
        what: &'static str,
    },
    /// The agent answered something that is not an answer.
    #[error("the attestation agent gave an invalid answer: {reason}")]
    InvalidAgentAnswer {
        /// What was expected and what came.
        reason: String,
    },
    /// The server's certificate does not carry the name of the URL, or no trusted authority vouches for it.
    #[error("the server's name could not be validated: {reason}")]
    ServerNameNotValidated {
        /// What the validation said.
        reason: String,
    },

    // --- Unavailable: no verdict; trying again may help where `is_retryable` says so --------------------------------
    /// The agent has no token to give (no `/attest/maa`, or it refused).
    #[error("the attestation agent has no MAA token to give (status {status}): {message}")]
    MaaTokenNotFound {
        /// The HTTP status.
        status: u16,
        /// What the agent said, shortened.
        message: String,
    },
    /// The agent cannot be reached or failed.
    #[error("the attestation agent cannot be reached: {reason}")]
    AgentUnreachable {
        /// What happened.
        reason: String,
    },
    /// MAA's key set cannot be fetched.
    #[error("the key set of {issuer} cannot be fetched: {reason}")]
    MaaUnreachable {
        /// The instance.
        issuer: Issuer,
        /// What happened.
        reason: String,
    },
    /// AMD's key distribution service gave no certificate or revocation list.
    #[error("AMD's certificates cannot be fetched: {reason}")]
    KdsUnreachable {
        /// What happened.
        reason: String,
    },
    /// The application cannot be reached, or the connection broke.
    #[error("the application cannot be reached: {reason}")]
    ApplicationUnreachable {
        /// What happened.
        reason: String,
    },
    /// The application sent something that is not a response of HTTP, or more headers than are read. Sending the request again
    /// would bring the same, and the application may have processed it.
    #[error("the application gave a response that cannot be read: {reason}")]
    InvalidResponse {
        /// What was expected and what came.
        reason: String,
    },
    /// A deadline passed.
    #[error("{what} took longer than {} ms", .after.as_millis())]
    Timeout {
        /// What was being done.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// An answer was larger than any genuine one.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What it was.
        what: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The attestation has ended and could not be renewed in time.
    #[error("the attestation has ended; call `reattest()` or connect again")]
    AttestationExpired,
    /// The session has no attested key left after a refusal, and sends nothing until `reattest()` succeeds.
    #[error("the session was closed after a refused attestation ({cause}); call `reattest()` or connect again")]
    SessionPoisoned {
        /// The code of the refusal.
        cause: &'static str,
    },
    /// More unattested keys were presented than a deployment has.
    #[error("too many unattested peers: {reason}")]
    TooManyUnattestedPeers {
        /// Which limit.
        reason: &'static str,
    },
    /// AMD's CRL must be looked at, and none is available that is current. Anyone who controls the network can cause this, and
    /// gains nothing by it.
    #[error("whether AMD has revoked the signing authority cannot be told: {reason}")]
    RevocationUnavailable {
        /// [`CrlError::Missing`], [`CrlError::Stale`] or [`CrlError::TooOld`]; what else is wrong with a CRL is
        /// [`ReportError::Crl`].
        reason: CrlError,
    },
    /// The token verifies only under a key set that was kept in one place with it. Who wrote the token could have written the
    /// key set, so nothing is proven by it.
    #[error(
        "no verdict: the token verifies under a key set that was kept with it, and who wrote the token could have written that; expected the key set of {issuer} from elsewhere (`--key-set`: its /certs, fetched over TLS), the digest of its key in the policy (`trust.maa.key-id`), or your own word for this key set (`--trust-saved-key-set`)"
    )]
    KeySetNotAuthenticated {
        /// The instance that the key set would have to be from.
        issuer: Issuer,
    },

    // --- Misconfigured: the caller's to mend -------------------------------------------------------------------------
    /// The policy cannot be used.
    #[error("invalid policy: {0}")]
    InvalidPolicy(PolicyError),
    /// The URL cannot be used.
    #[error("invalid url: {reason}")]
    InvalidUrl {
        /// What was expected.
        reason: &'static str,
    },
    /// The request cannot be sent over an attested session.
    #[error("invalid request: {reason}")]
    InvalidRequest {
        /// What was expected.
        reason: &'static str,
    },
    /// A setting of the verifier cannot be used.
    #[error("misconfigured: {reason}")]
    Misconfigured {
        /// Which, why, and what to do.
        reason: String,
    },
    /// The policy and the channel do not go together, whoever the peer is: found before a session asks anybody.
    #[error("channel not allowed: {reason}")]
    ChannelNotAllowed {
        /// What does not go together and what to do.
        reason: ChannelNotAllowed,
    },
}
