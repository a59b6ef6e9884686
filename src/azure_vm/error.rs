//! The reasons why the evidence of an Azure confidential VM is refused.

use crate::json::{JsonError, JsonType, MemberError, MemberErrorReason};
use crate::types::{ReportData, Sha256Digest, any_of};
use crate::x509::CertificateError;

/// The reason why a report of the paravisor ("HCL report") is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HclReportError {
    /// The hardware report that was verified is not the one in the blob.
    #[error("the hardware report in it is not the one that was verified")]
    AnotherReport,
    /// The hardware report was requested at another privilege level than the paravisor's.
    #[error("expected a hardware report of VMPL 0, where the paravisor runs, found one of VMPL {vmpl}")]
    NotOfParavisor {
        /// `VMPL` of the report.
        vmpl: u32,
    },
    /// The hardware report is of TDX.
    #[error("expected a SEV-SNP report in it, found one of TDX, which this crate does not verify")]
    NotSevSnp,
    /// A byte that must be zero is not.
    #[error("the byte at offset {offset:#x} is not zero")]
    NotZero {
        /// Its offset from the start of the blob.
        offset: usize,
    },
    /// The runtime claims cannot be read.
    #[error("its runtime claims are refused: {0}")]
    RuntimeClaims(RuntimeClaimsError),
    /// It is longer than any genuine one.
    #[error("expected at most {limit} bytes, found {actual}")]
    TooLarge {
        /// The most that is read.
        limit: usize,
        /// The bytes that were received.
        actual: usize,
    },
    /// It ends before its last field.
    #[error("its {actual} bytes end before the last field")]
    Truncated {
        /// The bytes that were received.
        actual: usize,
    },
    /// A field of the header does not have the value that it must have.
    #[error("expected its {field} to be {}, found {actual:#x}", accepted(.expected))]
    WrongField {
        /// The field.
        field: &'static str,
        /// The accepted values. Empty for a size that follows from a length of the claims which no blob can have.
        expected: Vec<u32>,
        /// Its value.
        actual: u32,
    },
    /// The hardware report does not cover the runtime claims.
    #[error("the hardware report does not cover the runtime claims: expected report data {expected}, found {actual}")]
    WrongReportData {
        /// SHA-256 of the runtime claims, then 32 zero bytes.
        expected: Box<ReportData>,
        /// `REPORT_DATA` of the hardware report.
        actual: Box<ReportData>,
    },
}

fn accepted(values: &[u32]) -> String {
    let texts: Vec<_> = values.iter().map(|value| format!("{value:#x}")).collect();
    if texts.is_empty() { "that of shorter claims".to_owned() } else { any_of(&texts) }
}

/// The reason why the runtime claims of a confidential VM are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeClaimsError {
    /// There are two attestation keys, so that it is ambiguous which one is meant.
    #[error("they have more than one attestation key (HCLAkPub)")]
    DuplicateAttestationKey,
    /// A member has the right type and a value that it cannot have.
    #[error("the member {name} is not {expected}")]
    InvalidMember {
        /// The member.
        name: &'static str,
        /// The form that it must have.
        expected: &'static str,
    },
    /// They name no attestation key.
    #[error("they have no attestation key (HCLAkPub)")]
    MissingAttestationKey,
    /// A member is missing.
    #[error("the member {name} is missing")]
    MissingMember {
        /// The member.
        name: &'static str,
    },
    /// They are not JSON, or ambiguous.
    #[error("{0}")]
    NotJson(JsonError),
    /// The document is not an object.
    #[error("expected an object, found {found}")]
    NotAnObject {
        /// What it is.
        found: JsonType,
    },
    /// The attestation key is not of the kind that virtual TPMs have.
    #[error("expected an attestation key of RSA with 2048 bits and the exponent 65537, found another")]
    UnsupportedKey,
    /// The attestation key can be factored (ROCA, CVE-2017-15361).
    #[error("the attestation key has the fingerprint of keys that can be factored (ROCA)")]
    WeakKey,
    /// A member has the wrong type.
    #[error("the member {name} is {found}, expected {expected}")]
    WrongType {
        /// The member.
        name: &'static str,
        /// The type that it must have.
        expected: JsonType,
        /// The type that it has.
        found: JsonType,
    },
}

impl From<MemberError> for RuntimeClaimsError {
    fn from(MemberError { name, reason }: MemberError) -> Self {
        match reason {
            MemberErrorReason::Missing => Self::MissingMember { name },
            MemberErrorReason::WrongType { expected, found } => Self::WrongType { name, expected, found },
        }
    }
}

/// The reason why a quote of a virtual TPM is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// The signed structure does not have the layout of a quote.
    #[error("its message is not a TPMS_ATTEST of a quote: at offset {offset}, {expected} was expected")]
    Malformed {
        /// Where, from the start of the message.
        offset: usize,
        /// The expected value.
        expected: &'static str,
    },
    /// The signature is neither 256 bytes nor a `TPMT_SIGNATURE` of the one algorithm that is accepted.
    #[error(
        "expected an RSASSA signature with SHA-256 of 256 bytes, bare or as TPMT_SIGNATURE, found {actual} other bytes"
    )]
    MalformedSignature {
        /// The bytes that were received.
        actual: usize,
    },
    /// The message is longer than any quote.
    #[error("expected a message of at most {limit} bytes, found {actual}")]
    TooLarge {
        /// The most that is read.
        limit: usize,
        /// The bytes that were received.
        actual: usize,
    },
    /// There is not exactly one value for each PCR that the quote selects.
    #[error("expected {expected} PCR values, one for each PCR that the quote selects, found {actual}")]
    WrongPcrCount {
        /// How many PCRs are selected.
        expected: usize,
        /// How many values were provided.
        actual: usize,
    },
    /// The PCR values are not those that the quote covers.
    #[error("the PCR values are not those that were quoted: expected the digest {expected}, found {actual}")]
    WrongPcrs {
        /// The digest in the quote.
        expected: Sha256Digest,
        /// The digest of the provided values.
        actual: Sha256Digest,
    },
    /// The key that the runtime claims name did not sign the message.
    #[error(
        "its signature does not verify under the attestation key of the runtime claims: it was changed, forged, or is of another VM"
    )]
    WrongSignature,
    /// The quote names another key as its signer than the one that signed it.
    #[error(
        "expected {expected} as its qualified signer, found {actual}: the key is not a restricted signing key of the endorsement hierarchy"
    )]
    WrongSigner {
        /// The name of the attestation key with the attributes of the paravisor.
        expected: Sha256Digest,
        /// The name in the quote.
        actual: Sha256Digest,
    },
}

/// The reason why the certificate of an attestation key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AkCertificateError {
    /// It certifies another key than the one that the runtime claims name.
    #[error("it certifies another key than the attestation key of the runtime claims: it is of another VM")]
    AnotherKey,
    /// A certificate cannot be used.
    #[error("certificate {index} of the chain is refused: {cause}")]
    Certificate {
        /// Its index: the attestation key's is 0. The pinned root follows the last one.
        index: usize,
        /// Its fault.
        cause: CertificateError,
    },
    /// The chain is empty or longer than any genuine one.
    #[error("expected 1 to {max} certificates, found {actual}")]
    ChainLength {
        /// The most that are read.
        max: usize,
        /// How many there are.
        actual: usize,
    },
    /// The chain does not reach the pinned root: an authority is missing, or it is another hierarchy.
    #[error("expected a chain to {root}; certificate {index} was issued by {issuer:?}, whose certificate is not in it")]
    NotUnderRoot {
        /// The subject of the pinned root.
        root: String,
        /// The index of the last certificate.
        index: usize,
        /// Its issuer, shortened.
        issuer: String,
    },
    /// It is not for an attestation key.
    #[error("expected a certificate for attestation keys (extended key usage 2.23.133.8.3), found [{}]", found.join(", "))]
    NotForAttestation {
        /// The object identifiers of its uses, the first 8.
        found: Vec<String>,
    },
    /// It is not of a confidential VM. VMs with Trusted Launch have certificates of the same authorities and no TEE.
    #[error(
        "expected the certificate of a confidential VM (subject *.ConfidentialVM.Azure.windows.net), found {subject:?}: Trusted Launch is no TEE"
    )]
    NotAConfidentialVm {
        /// The common name of its subject, shortened.
        subject: String,
    },
}
