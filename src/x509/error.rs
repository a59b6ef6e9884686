//! [`CertificateError`]: the reasons why a certificate is refused.

use std::fmt;

use crate::types::{Product, UnixTime, difference};

/// The reason why a certificate of AMD's hierarchy, of a UVM endorsement's chain or of a virtual TPM's key is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The signature algorithm outside the signed part is not the one inside.
    #[error("it names two different signature algorithms")]
    AlgorithmsDiffer,
    /// An extension occurs twice.
    #[error("extension {oid} occurs more than once")]
    DuplicateExtension {
        /// The object identifier, dotted.
        oid: String,
    },
    /// The extended key usage of a certificate authority excludes what the certificates below it are for.
    #[error(
        "its extended key usage allows [{}], which excludes the certificates below it (needed: {})",
        allowed.join(", "),
        if expected.is_empty() { "any use".to_owned() } else { expected.join(", ") }
    )]
    ExcludedUse {
        /// The object identifiers of the uses that must be allowed; empty where only `anyExtendedKeyUsage` allows them.
        expected: Vec<String>,
        /// The object identifiers of the extended key usage, the first 8.
        allowed: Vec<String>,
    },
    /// It has expired.
    #[error("it was valid until {not_after} and is used at {now}, {} later: if that is the time now, compare the clocks", difference(.not_after, .now))]
    Expired {
        /// Returns the last second of its validity.
        not_after: UnixTime,
        /// The time of the check: for the chain of a UVM endorsement the first second of the leaf's validity.
        now: UnixTime,
    },
    /// The signature algorithm does not fit the issuer's key.
    #[error("its signature algorithm does not fit its issuer's key")]
    IssuerKeyMismatch,
    /// It is not exactly one certificate in DER.
    #[error("expected exactly one X.509 certificate in DER (or PEM), found something else")]
    Malformed,
    /// An extension is not in the encoding it must have.
    #[error("extension {oid} is not encoded as it must be")]
    MalformedExtension {
        /// The object identifier, dotted.
        oid: String,
    },
    /// A time is not in the form of RFC 5280 section 4.1.2.5.
    #[error(
        "expected times as UTCTime YYMMDDHHMMSSZ until 2049 and GeneralizedTime YYYYMMDDHHMMSSZ from 2050 on, found another form"
    )]
    MalformedTime,
    /// An extension is missing.
    #[error("extension {oid} is missing")]
    MissingExtension {
        /// The object identifier, dotted.
        oid: String,
    },
    /// It does not say that its key may sign what it is to sign.
    #[error("it is not a CA certificate of the kind that its place in the chain demands")]
    NotACa,
    /// It is the certificate of an authority where one of a key that signs documents is expected.
    #[error("it is the certificate of an authority, where that of an end entity is expected")]
    NotAnEndEntity,
    /// Its key is not AMD's.
    #[error("its key is not the one pinned for {product}: it is forged, or of another hierarchy")]
    NotPinned {
        /// The processor family whose root was expected.
        product: Product,
    },
    /// It becomes valid later.
    #[error("it is valid from {not_before} on and is used at {now}, {} earlier: if that is the time now, compare the clocks", difference(.not_before, .now))]
    NotYetValid {
        /// Returns the first second of its validity.
        not_before: UnixTime,
        /// The time of the check: for the chain of a UVM endorsement the first second of the leaf's validity.
        now: UnixTime,
    },
    /// More certificate authorities stand below it than it allows.
    #[error("expected at most {allowed} certificate authorities below it, found {actual}")]
    PathTooLong {
        /// Its path length constraint.
        allowed: u32,
        /// How many there are.
        actual: u32,
    },
    /// It is longer than any genuine certificate.
    #[error("expected at most {limit} bytes, found {actual}")]
    TooLarge {
        /// The most that is read.
        limit: usize,
        /// The bytes that came.
        actual: usize,
    },
    /// A PEM text holds more certificates than any chain or file of roots.
    #[error("expected at most {limit} certificates in one PEM text, found more")]
    TooManyCertificates {
        /// The most that are read.
        limit: usize,
    },
    /// It has more extensions than any genuine certificate.
    #[error("expected at most {limit} extensions, found more")]
    TooManyExtensions {
        /// The most that are read.
        limit: usize,
    },
    /// An extension that such a certificate does not have, or a critical one that is not evaluated here.
    #[error("extension {oid} does not belong into it, or is critical and not known here")]
    UnexpectedExtension {
        /// The object identifier, dotted.
        oid: String,
    },
    /// The signature algorithm, or the encoding of its parameters, is not accepted.
    #[error("expected {expected} as signature algorithm, found another")]
    UnsupportedAlgorithm {
        /// What is accepted in this place.
        expected: &'static str,
    },
    /// The key is of the wrong kind.
    #[error("expected {expected} as its key, found another")]
    UnsupportedKey {
        /// The kind of key that this certificate must have.
        expected: &'static str,
    },
    /// The structure version of the extensions does not fit the processor family.
    #[error("expected structure version {expected} for {product}, found {actual}")]
    UnsupportedStructVersion {
        /// The processor family.
        product: Product,
        /// What its certificates carry.
        expected: u8,
        /// What this one carries.
        actual: u8,
    },
    /// It is not X.509 version 3.
    #[error("expected an X.509 certificate of version 3")]
    UnsupportedVersion,
    /// The issuer is not the one expected.
    #[error("expected {expected} as issuer, found {actual:?}")]
    WrongIssuer {
        /// The name expected: the common name for AMD's certificates, else the whole name, shortened.
        expected: String,
        /// The name found, shortened.
        actual: String,
    },
    /// The key usage forbids what the key is used for.
    #[error("its key usage does not allow its key to sign {0}")]
    WrongKeyUsage(KeyUse),
    /// The product name in the certificate is not of the family whose key issued it.
    #[error("expected {expected} as product name, found {actual:?}")]
    WrongProductName {
        /// The processor family.
        expected: Product,
        /// The name found, shortened.
        actual: String,
    },
    /// The signature does not verify under the issuer's key.
    #[error("its signature does not verify under its issuer's key: it was changed or forged")]
    WrongSignature,
    /// The subject is not the one expected.
    #[error("expected {expected} as subject, found {actual:?}")]
    WrongSubject {
        /// The common name expected.
        expected: String,
        /// The common name found, shortened.
        actual: String,
    },
}

/// The use of a key in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyUse {
    /// To sign certificates.
    Certificates,
    /// To sign documents, such as an endorsement.
    Documents,
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificates => "certificates",
            Self::Documents => "documents",
        })
    }
}
