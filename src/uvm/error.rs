//! [`EndorsementError`]: the reasons why an endorsement of a utility VM is refused.

use crate::types::Sha256Digest;
use crate::x509::CertificateError;

/// The reason why an endorsement of a utility VM is refused.
///
/// Strings in the variants are from the document, shortened and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndorsementError {
    /// The signature does not verify with the key of the leaf certificate.
    #[error(
        "the endorsement's signature does not verify with the key of its leaf certificate: the document was changed or is forged"
    )]
    BadSignature,
    /// A certificate of the chain is unusable.
    #[error("certificate {index} of the endorsement's chain (0 is the leaf) is refused: {cause}")]
    Certificate {
        /// Its place in the chain, 0 for the leaf.
        index: usize,
        /// What is wrong with it.
        cause: CertificateError,
    },
    /// Fewer certificates than a `did:x509` needs, or more than the limit.
    #[error("expected a chain of {min} to {max} certificates in the endorsement, found {actual}")]
    ChainLength {
        /// A leaf and one certificate authority.
        min: usize,
        /// Each further certificate costs a signature check.
        max: usize,
        /// How many the document carries.
        actual: usize,
    },
    /// The document has critical header parameters that are not known here.
    #[error(
        "the endorsement marks header parameters as critical, none of which are known here; a newer version of this crate may be needed"
    )]
    CriticalHeaders,
    /// The issuer is the expected one, but it is not a `did:x509` of a kind that can be resolved.
    #[error("the issuer {issuer:?} {defect}")]
    Did {
        /// The issuer, shortened.
        issuer: String,
        /// Why it cannot be resolved.
        defect: DidX509Error,
    },
    /// No certificate authority of the chain has the fingerprint that the issuer names.
    #[error(
        "the issuer names the certificate authority with fingerprint {expected}, found {actual} as the root of the endorsement's chain"
    )]
    FingerprintNotInChain {
        /// SHA-256 of the certificate that the issuer names.
        expected: Sha256Digest,
        /// SHA-256 of the last certificate of the chain.
        actual: Sha256Digest,
    },
    /// The key of the leaf certificate does not fit the signature algorithm.
    #[error(
        "the key of the endorsement's leaf certificate does not fit its signature algorithm {algorithm}, or is too small"
    )]
    KeyDoesNotFit {
        /// The COSE algorithm number.
        algorithm: i64,
    },
    /// Not a `COSE_Sign1` that this crate accepts.
    #[error("not a usable COSE_Sign1 document: {0}")]
    Malformed(CoseError),
    /// A required header parameter is missing.
    #[error("the endorsement's protected header lacks {header}")]
    MissingHeader {
        /// The parameter.
        header: &'static str,
    },
    /// The header has parameters of both forms.
    #[error(
        "the endorsement mixes the text-key form with the CWT form ({header} stands beside the other form's parameters)"
    )]
    MixedForms {
        /// The parameter that belongs to the other form.
        header: &'static str,
    },
    /// The payload is signed but malformed.
    #[error("the endorsement's payload {0}")]
    Payload(PayloadError),
    /// The thumbprint in the header is not that of the leaf certificate.
    #[error("the endorsement's thumbprint header names certificate {expected}, its chain starts with {actual}")]
    ThumbprintMismatch {
        /// The hash in the header, hexadecimal.
        expected: String,
        /// The same hash of the leaf certificate, hexadecimal.
        actual: String,
    },
    /// The document is too large.
    #[error("expected an endorsement of at most {limit} bytes, found {actual}")]
    TooLarge {
        /// [`super::MAX_ENDORSEMENT_LEN`].
        limit: usize,
        /// The size of the document.
        actual: usize,
    },
    /// A signature algorithm that is not accepted for endorsements.
    #[error(
        "expected the signature algorithm PS256, PS384, PS512, ES256, ES384 or ES512, found COSE algorithm {actual}"
    )]
    UnsupportedAlgorithm {
        /// The algorithm in the header.
        actual: CoseAlgorithm,
    },
    /// The thumbprint in the header uses a hash that is not known here.
    #[error("expected a thumbprint by SHA-256 (-16), SHA-384 (-43) or SHA-512 (-44), found hash algorithm {actual}")]
    UnsupportedThumbprint {
        /// The COSE algorithm number.
        actual: i64,
    },
    /// Another content type than the form's.
    #[error("expected the content type {expected:?}, found {actual:?}")]
    WrongContentType {
        /// The one of the form.
        expected: &'static str,
        /// The one in the header, shortened.
        actual: String,
    },
    /// The issuer endorsed another feed.
    #[error("expected an endorsement of {expected:?}, found one of {actual:?}")]
    WrongFeed {
        /// The feed that the policy names.
        expected: String,
        /// The feed of the document, shortened.
        actual: String,
    },
    /// A header parameter has another type than it must have, or a value out of its range.
    #[error("the endorsement's {header} has the wrong type or is out of range")]
    WrongHeaderType {
        /// The parameter.
        header: &'static str,
    },
    /// Another issuer endorsed this.
    #[error("expected an endorsement issued by {expected:?}, found one issued by {actual:?}")]
    WrongIssuer {
        /// The issuer that the policy names.
        expected: String,
        /// The issuer of the document, shortened.
        actual: String,
    },
    /// The leaf certificate does not have the extended key usage that the issuer names.
    #[error("the issuer demands a leaf certificate for the use {expected}, found one for [{}]", actual.join(", "))]
    WrongLeafUse {
        /// The object identifier of the extended key usage.
        expected: String,
        /// Those of the leaf certificate.
        actual: Vec<String>,
    },
    /// The leaf certificate does not have the subject that the issuer names.
    #[error("the issuer demands a leaf certificate with the subject {attribute}={expected:?}, found [{}]", actual.join(", "))]
    WrongLeafSubject {
        /// The attribute of the subject.
        attribute: String,
        /// Its value as the issuer demands it, shortened.
        expected: String,
        /// Its values in the leaf certificate, shortened.
        actual: Vec<String>,
    },
    /// The hash envelope uses another hash than the launch measurement.
    #[error("expected a hash envelope of SHA-384 (-43), found hash algorithm {actual}")]
    WrongPayloadHash {
        /// The COSE algorithm number.
        actual: i64,
    },
}

/// A signature algorithm as the header names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoseAlgorithm {
    /// A number of the IANA registry "COSE Algorithms".
    Number(i64),
    /// A private one, by text.
    Text,
}

impl std::fmt::Display for CoseAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text => f.write_str("given as text"),
        }
    }
}

/// The reason why bytes are not a usable `COSE_Sign1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoseError {
    /// A map of the signed part has the same key twice.
    #[error("a header has the same key twice")]
    DuplicateKey,
    /// A signed string, array or map comes in pieces.
    #[error("a signed item has an indefinite length")]
    IndefiniteLength,
    /// A well-known header parameter has a type that COSE does not allow.
    #[error("a header parameter is not as RFC 9052 defines it")]
    InvalidHeader,
    /// Protected header, payload or signature is not a byte string, such as a detached payload.
    #[error("the protected header, payload or signature is not a byte string")]
    NotAByteString,
    /// The tag does not hold an array of four items.
    #[error("expected an array of four items")]
    NotFourItems,
    /// The document does not begin with tag 18.
    #[error("expected a document that begins with tag 18 (COSE_Sign1)")]
    NotTagged,
    /// Not CBOR.
    #[error("not well-formed CBOR")]
    NotWellFormed,
    /// The protected header does not hold a map.
    #[error("the protected header is not a map")]
    ProtectedNotAMap,
    /// Nested deeper than any header needs.
    #[error("nested too deep")]
    TooDeep,
    /// Bytes follow the document, or the protected header's map.
    #[error("bytes follow where the document should end")]
    TrailingBytes,
    /// The document ends before its last item does.
    #[error("the document is cut off")]
    Truncated,
    /// The unprotected header is not a map.
    #[error("the unprotected header is not a map")]
    UnprotectedNotAMap,
    /// A map of the signed part has a key that is neither an integer nor text.
    #[error("a header key is neither an integer nor text")]
    UnusableKey,
}

/// The reason why an issuer cannot be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DidX509Error {
    /// Not of the form `did:x509:0:sha256:<43 characters>::<policy>`.
    #[error("is not a did:x509 of version 0 with a SHA-256 fingerprint")]
    NotDidX509,
    /// A policy without a value, with one value too many, or with a wrong percent-encoding.
    #[error("has a policy that cannot be read")]
    MalformedPolicy,
    /// Longer than any genuine one.
    #[error("has {actual} characters, at most {max} are read")]
    TooLong {
        /// The limit, in bytes.
        max: usize,
        /// Its length, in bytes.
        actual: usize,
    },
    /// A policy other than `eku` and `subject`.
    #[error("has a policy other than eku and subject")]
    UnsupportedPolicy,
}

/// The reason why a payload is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// A member occurs twice, at any depth.
    #[error("has the member {member:?} twice")]
    DuplicateMember {
        /// Its name, shortened.
        member: String,
    },
    /// A required member is missing.
    #[error("lacks the member {member}")]
    MissingMember {
        /// Its name.
        member: &'static str,
    },
    /// Not a JSON object.
    #[error("is not a JSON object")]
    NotAnObject,
    /// The two members for the security version have different values.
    #[error("says svn {text} in one member and {number} in another")]
    SvnDisagrees {
        /// `x-ms-sevsnpvm-guestsvn`.
        text: u64,
        /// `x-ms-sevsnpvm-guestsvn-int`.
        number: u64,
    },
    /// A hash envelope whose payload has another size than a launch measurement.
    #[error("should be a launch measurement of {expected} bytes, found {actual} bytes")]
    WrongLength {
        /// 48.
        expected: usize,
        /// The size of the payload.
        actual: usize,
    },
    /// A member has the wrong type, or is not in canonical form.
    #[error("has a member {member} of the wrong type or spelling")]
    WrongMemberType {
        /// Its name.
        member: &'static str,
    },
}
