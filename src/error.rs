//! [`AttestationError`]: one variant for each cause, each with a frozen code and number.

mod channel;
mod codes;
mod convert;
mod format;
mod maa_key;
mod network;
mod rejection;

use std::time::Duration;

pub use channel::{ChannelNotAllowed, ChannelNotBound};
pub use codes::{Category, ErrorCode};
pub use maa_key::MaaKeyError;
pub use network::NetworkError;
pub use rejection::{Rejection, Violation};

use format::{interrupted, redact, requested_evidence};

use crate::azure_vm::{AkCertificateError, HclReportError, QuoteError};
use crate::maa::{KeySetError, TokenError};
use crate::policy::PolicyError;
use crate::snp::{CrlError, ReportError};
use crate::types::{MaaIssuer, SpkiDigest, TlsExporter, printable};
use crate::uvm::EndorsementError;

/// An error of a body, an application or a connection, of any kind: its cause is found by downcasting.
#[cfg(feature = "client")]
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why there is no attested connection.
///
/// Evidence that violates the policy is [`AttestationError::Rejected`], with every violation and every check. `code` and `number`
/// never change between releases and are never reused; new variants get new ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    // --- Rejected: the evidence is genuine but violates the policy --------------------------------------------------
    /// The evidence is genuine, but violates the policy. [`AttestationError::violation`] returns the most severe violation.
    #[error("{0}")]
    Rejected(Rejection),

    // --- Untrusted: the evidence is not genuine, not about this peer, or not evidence at all ------------------------
    /// The evidence is not of a TEE that this crate knows.
    #[error(
        "attestation validation failed (not an enclave): expected evidence of a TEE of SEV-SNP or Intel TDX in a supported form, found attestation type {attestation_type:?}"
    )]
    NotAnEnclave {
        /// The attestation type in the token, shortened.
        attestation_type: String,
    },
    /// The token was not issued by the MAA instance that the policy names.
    #[error("attestation validation failed (wrong attester): expected a token of {expected}, found {actual:?}")]
    WrongAttester {
        /// The instance that the policy names.
        expected: MaaIssuer,
        /// The issuer in the token, shortened.
        actual: String,
    },
    /// The TLS key of the connection is not the attested one: another party terminates TLS in between.
    #[error(
        "attestation validation failed (channel mismatch): the evidence names the TLS key {attested}, the connection has {connected}; another party terminates TLS in between"
    )]
    ChannelMismatch {
        /// SHA-256 of the key that the evidence names.
        attested: SpkiDigest,
        /// SHA-256 of the key of the connection.
        connected: SpkiDigest,
    },
    /// The evidence names this TLS key but another connection: another party holds the key and relays.
    #[error(
        "attestation validation failed (connection mismatch): the evidence names the connection with the exporter {attested}, this connection has {connected}; another party holds the TLS key of the TEE and relays"
    )]
    ConnectionMismatch {
        /// The exporter that the evidence names.
        attested: TlsExporter,
        /// The exporter of the connection.
        connected: TlsExporter,
    },
    /// The evidence names no TLS key, or not the connection where that is required, so that it does not cover the connection.
    #[error("attestation validation failed (channel not bound): {reason}")]
    ChannelNotBound {
        /// What is missing, and what to do.
        reason: ChannelNotBound,
    },
    /// Nonce, runtime data and report data do not match: the evidence was not made for this challenge.
    #[error("attestation validation failed (false attestation report): expected {what} {expected}, found {}", printable(.actual))]
    FalseAttestationReport {
        /// What does not match.
        what: &'static str,
        /// The expected value.
        expected: String,
        /// The value in the evidence, shortened.
        actual: String,
    },
    /// Two documents that should be about the same TEE disagree.
    #[error(
        "attestation validation failed (evidence mismatch): {field} is {} in the {left_source} and {} in the {right_source}",
        redact(.field, .left), redact(.field, .right)
    )]
    EvidenceMismatch {
        /// The field.
        field: &'static str,
        /// The document with the first value.
        left_source: &'static str,
        /// The first value.
        left: String,
        /// The document with the second value.
        right_source: &'static str,
        /// The second value.
        right: String,
    },
    /// The MAA token is malformed, not signed by the instance's key, or not valid now.
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
    /// The paravisor's report of a confidential VM does not verify.
    #[error("attestation validation failed (invalid hcl report): {0}")]
    InvalidHclReport(HclReportError),
    /// The quote of a virtual TPM does not verify.
    #[error("attestation validation failed (invalid tpm quote): {0}")]
    InvalidTpmQuote(QuoteError),
    /// The certificate of a virtual TPM's attestation key does not verify.
    #[error("attestation validation failed (invalid ak certificate): {0}")]
    InvalidAkCertificate(AkCertificateError),
    /// The key that signed the token is not proven to be in a confidential container, which the policy requires.
    #[error("attestation validation failed (unattested maa key): {0}")]
    UnattestedMaaKey(MaaKeyError),
    /// Evidence that the policy requires is missing.
    #[error("attestation validation failed (missing evidence): the policy needs {what}")]
    MissingEvidence {
        /// What is missing.
        what: &'static str,
    },
    /// The response of the agent is not valid.
    #[error("the attestation agent sent an invalid response: {reason}")]
    InvalidAgentAnswer {
        /// What was expected and what was received.
        reason: String,
    },
    /// The server's certificate does not carry the name of the URL, or no trusted authority vouches for it.
    #[error("the server's name could not be validated: {reason}")]
    ServerNameNotValidated {
        /// The result of the validation.
        reason: String,
        /// The error of the library below, if there is one.
        source: Option<NetworkError>,
    },

    // --- Unavailable: no result; a retry may help if `is_retryable` says so ------------------------------------------
    /// The agent provided no token (no `/attest/maa`, or it refused).
    #[error("the attestation agent provided no {} (status {status}): {message}", requested_evidence(.issuer.as_ref()))]
    MaaTokenNotFound {
        /// The instance whose token was requested; `None` if only a hardware report was.
        issuer: Option<MaaIssuer>,
        /// The HTTP status.
        status: u16,
        /// The agent's own message, shortened.
        message: String,
    },
    /// The agent cannot be reached or failed.
    #[error("no evidence from the attestation agent: {reason}")]
    AgentUnreachable {
        /// The cause.
        reason: String,
        /// The error of the library below, if there is one.
        source: Option<NetworkError>,
    },
    /// MAA's key set cannot be fetched.
    #[error("the key set of {issuer} cannot be fetched: {reason}")]
    MaaUnreachable {
        /// The instance.
        issuer: MaaIssuer,
        /// The cause.
        reason: String,
        /// The error of the library below, if there is one.
        source: Option<NetworkError>,
    },
    /// No source provided a usable certificate or CRL of AMD: agent, THIM, AMD's Key Distribution Service or a mirror of it.
    #[error("no source provided a usable certificate or CRL of AMD: {reason}")]
    KdsUnreachable {
        /// The cause.
        reason: String,
        /// The error of the library below, if there is one.
        source: Option<NetworkError>,
    },
    /// The application cannot be reached, or the connection broke.
    #[error("no response from the application: {reason}")]
    ApplicationUnreachable {
        /// The cause.
        reason: String,
        /// The error of the library below, if there is one.
        source: Option<NetworkError>,
    },
    /// The application sent a malformed HTTP response, or more headers than the limit. The application may have processed the
    /// request, and sending it again would probably have the same result.
    #[error("the application sent a response that cannot be read: {reason}")]
    InvalidResponse {
        /// What was expected and what was received.
        reason: String,
        /// The error of the library below, if there is one.
        source: Option<NetworkError>,
    },
    /// A request, or the reading of its response, failed after bytes of the request may have been sent to an attested peer. The
    /// reason is never this variant again.
    ///
    /// Code, number, category, appraisal and [`AttestationError::is_retryable`] are those of the reason.
    #[error("{}", interrupted(.reason))]
    RequestInterrupted {
        /// Why it failed: a broken connection, a timeout, the end of the attestation, or the refusal of the peer.
        #[source]
        reason: Box<AttestationError>,
    },
    /// A deadline passed.
    #[error("{what} took longer than {} ms", .after.as_millis())]
    Timeout {
        /// The activity.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A response was larger than the limit.
    #[error("expected {what} of at most {limit} bytes, found more; which service responds there?")]
    TooLarge {
        /// The response.
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
    /// More unattested keys appeared than a deployment should have.
    #[error("too many unattested peers: {reason}")]
    TooManyUnattestedPeers {
        /// The limit that was reached.
        reason: &'static str,
    },
    /// The policy requires AMD's CRL, and no current one is available. Anyone who controls the network can cause this, but gains
    /// nothing by it.
    #[error("it cannot be checked whether AMD has revoked the signing authority: {reason}")]
    RevocationUnavailable {
        /// [`CrlError::Missing`], [`CrlError::Stale`], [`CrlError::TooOld`] or [`CrlError::StoredUnreadable`]; other defects of a CRL are
        /// [`ReportError::Crl`].
        reason: CrlError,
    },
    /// The token verifies only under a key set that was stored with it. The author of the token could have written the key set,
    /// so that nothing is proven.
    #[error(
        "no verdict: the token verifies only under a key set that was stored with it, which its author could have written; give the key set of {issuer} from another source (`--key-set`: its /certs, fetched over TLS), pin its key by digest (`trust.maa.key-id`), or assert that the directory is authentic (`--trust-saved-key-set`)"
    )]
    KeySetNotAuthenticated {
        /// The instance that the key set must come from.
        issuer: MaaIssuer,
    },

    // --- Misconfigured: to be fixed by the caller ---------------------------------------------------------------------
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
    /// The body of a request could not be read from where the caller has it, such as a file or a stream.
    #[error("the body of the request could not be read: {reason}")]
    RequestBodyFailed {
        /// The error of the stream.
        reason: String,
    },
    /// A setting of the verifier cannot be used.
    #[error("misconfigured: {reason}")]
    Misconfigured {
        /// The setting, the fault, and what to do.
        reason: String,
    },
    /// The policy does not allow this kind of channel for any peer. Reported before any request is sent.
    #[error("channel not allowed: {reason}")]
    ChannelNotAllowed {
        /// Why it is not allowed, and what to do.
        reason: ChannelNotAllowed,
    },
}
