//! [`TokenError`]: the reasons why a token is refused.

use std::fmt;

use super::jwks::UnusableKey;
use crate::claims::TokenShape;
use crate::json::{JsonError, JsonType, MemberError, MemberErrorReason};
use crate::types::{MaaIssuer, UnixTime, difference, shorten};

/// How many characters of a token's string are repeated in an error.
const SHOWN: usize = 120;

/// How many key ids are repeated in an error.
const SHOWN_KEYS: usize = 8;

/// The reason why a token is refused. Strings from the token are shortened and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The key that the header names did not make the signature over these bytes.
    #[error("the signature is not one that the key {key_id:?} made over this token")]
    BadSignature {
        /// The header's `kid`.
        key_id: String,
    },
    /// The header has critical extensions (`crit`, RFC 7515 section 4.1.11). MAA uses none.
    #[error("the header has `crit`: it demands extensions that this verifier does not know")]
    CriticalExtensions,
    /// An object has two members of one name.
    #[error("{name:?} occurs twice in one object of the {part}")]
    DuplicateMember {
        /// Where.
        part: TokenPart,
        /// The name.
        name: String,
    },
    /// The token has expired.
    #[error("the token expired at {expires_at}, and it is {now} now, {} later: compare the clocks, or get a new token", difference(.expires_at, .now))]
    Expired {
        /// `exp`.
        expires_at: UnixTime,
        /// The time of verification.
        now: UnixTime,
    },
    /// A claim has the right type and a value that it cannot have.
    #[error("the claim {name} is {found:?}, expected {expected}")]
    InvalidClaim {
        /// The claim.
        name: &'static str,
        /// The expected form.
        expected: &'static str,
        /// The actual value.
        found: String,
    },
    /// `exp` is not after `iat` and `nbf`: such a token was never valid.
    #[error("the token was issued at {issued_at}, is valid from {not_before} and expires at {expires_at}: never valid")]
    InvalidLifetime {
        /// `iat`.
        issued_at: UnixTime,
        /// `nbf`.
        not_before: UnixTime,
        /// `exp`.
        expires_at: UnixTime,
    },
    /// The token was issued in the future.
    #[error("the token was issued at {issued_at}, and it is only {now} now, {} earlier: compare the clocks", difference(.issued_at, .now))]
    IssuedInFuture {
        /// `iat`.
        issued_at: UnixTime,
        /// The time of verification.
        now: UnixTime,
    },
    /// The pinned key id is a digest of the key, and the key with this id in the key set has another digest.
    #[error("the pinned key id {key_id:?} is a digest, but not that of the key given under it")]
    KeyIdMismatch {
        /// The pinned id.
        key_id: String,
    },
    /// A claim that every token of this shape has is missing.
    #[error("the claim {name} is missing")]
    MissingClaim {
        /// The claim.
        name: &'static str,
    },
    /// A header parameter that every MAA token has is missing.
    #[error("the header parameter {name} is missing")]
    MissingHeader {
        /// The parameter.
        name: &'static str,
    },
    /// The token has claims of both shapes, so that its meaning would be ambiguous.
    #[error("a token of the type {shape} must not have the claim {claim:?}")]
    MixedShapes {
        /// The shape by `x-ms-attestation-type`.
        shape: TokenShape,
        /// The claim that belongs to the other one.
        claim: String,
    },
    /// MAA attests something that is not a TEE of SEV-SNP or TDX: another technology, or a VM without one.
    #[error(
        "expected a token about a TEE of SEV-SNP or Intel TDX in a supported form, found the attestation type {attestation_type:?}"
    )]
    NotAnEnclave {
        /// `x-ms-attestation-type`, the TEE's if there is one.
        attestation_type: String,
    },
    /// A part is JSON, but not an object.
    #[error("the {part} is {found}, expected an object")]
    NotAnObject {
        /// Which part.
        part: TokenPart,
        /// Its type.
        found: JsonType,
    },
    /// A part is not canonical base64url without padding (RFC 7515 section 2).
    #[error("the {part} is not base64url without padding")]
    NotBase64Url {
        /// Which part.
        part: TokenPart,
    },
    /// A part is not JSON that this crate accepts.
    #[error("the {part} is refused: {error}")]
    NotJson {
        /// Which part.
        part: TokenPart,
        /// Why.
        error: JsonError,
    },
    /// The token does not consist of three parts separated by dots (RFC 7515 section 7.1).
    #[error("expected a token of three parts between dots, found {found}")]
    PartCount {
        /// How many.
        found: usize,
    },
    /// The token is not valid yet.
    #[error("the token is not valid before {not_before}, and it is only {now} now, {} earlier: compare the clocks", difference(.not_before, .now))]
    NotYetValid {
        /// `nbf`.
        not_before: UnixTime,
        /// The time of verification.
        now: UnixTime,
    },
    /// The token is larger than any genuine one.
    #[error("the token has {len} bytes, at most {max} are read")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// No key of the set has the id that the header names. MAA may have changed its keys since the set was fetched.
    #[error(
        "no key of the key set has the id {key_id:?} (it has {known}); was the set fetched from this token's issuer, and lately?"
    )]
    UnknownKey {
        /// The header's `kid`.
        key_id: String,
        /// The ids in the set.
        known: KnownKeys,
    },
    /// The header names another signature algorithm than RS256, the only one of MAA.
    #[error("the header names the algorithm {found:?}, expected RS256")]
    UnsupportedAlgorithm {
        /// `alg`.
        found: String,
    },
    /// The header's `typ` is not `JWT`.
    #[error("the header names the type {found:?}, expected JWT")]
    UnsupportedTokenType {
        /// `typ`.
        found: String,
    },
    /// The key set has a key of this id that must not be used.
    #[error("the key {key_id:?} is in the key set and cannot be used: {reason}")]
    UnusableKey {
        /// The header's `kid`.
        key_id: String,
        /// Why.
        reason: UnusableKey,
    },
    /// A claim has another JSON type.
    #[error("the claim {name} is {found}, expected {expected}")]
    WrongClaimType {
        /// The claim.
        name: &'static str,
        /// The type it has in MAA's tokens.
        expected: JsonType,
        /// The type it has here.
        found: JsonType,
    },
    /// A header parameter has another JSON type.
    #[error("the header parameter {name} is {found}, expected {expected}")]
    WrongHeaderType {
        /// The parameter.
        name: &'static str,
        /// The type it has in MAA's tokens.
        expected: JsonType,
        /// The type it has here.
        found: JsonType,
    },
    /// Another MAA instance issued the token.
    #[error("expected a token issued by {expected}, found {actual:?}")]
    WrongIssuer {
        /// The expected instance.
        expected: MaaIssuer,
        /// `iss`.
        actual: String,
    },
    /// The token is signed with another key than the pinned one.
    #[error("expected a token signed with the key {expected:?}, found {actual:?}")]
    WrongKeyId {
        /// The pinned id.
        expected: String,
        /// The header's `kid`.
        actual: String,
    },
    /// The header's `jku` is not the address of the issuer's key set.
    #[error("the header names the key set {actual:?}, expected {expected:?}")]
    WrongKeySetUrl {
        /// The issuer's key set.
        expected: String,
        /// `jku`.
        actual: String,
    },
}

impl TokenError {
    pub(super) fn header(error: MemberError) -> Self {
        let name = error.name;
        match error.reason {
            MemberErrorReason::Missing => Self::MissingHeader { name },
            MemberErrorReason::WrongType { expected, found } => Self::WrongHeaderType { name, expected, found },
        }
    }

    pub(super) fn claim(error: MemberError) -> Self {
        let name = error.name;
        match error.reason {
            MemberErrorReason::Missing => Self::MissingClaim { name },
            MemberErrorReason::WrongType { expected, found } => Self::WrongClaimType { name, expected, found },
        }
    }

    pub(super) fn invalid(name: &'static str, expected: &'static str, found: &str) -> Self {
        Self::InvalidClaim { name, expected, found: shown(found) }
    }

    pub(super) fn json(part: TokenPart, error: JsonError) -> Self {
        match error {
            JsonError::DuplicateMember { name } => Self::DuplicateMember { part, name },
            error => Self::NotJson { part, error },
        }
    }
}

/// Shortens and escapes a token's string for an error.
pub(super) fn shown(text: &str) -> String {
    shorten(text, SHOWN)
}

/// One of the three parts of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenPart {
    /// The first part: the header, with algorithm and key id.
    Header,
    /// The second part: the claims.
    Payload,
    /// The third part: the signature.
    Signature,
}

impl fmt::Display for TokenPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "token's header",
            Self::Payload => "token's payload",
            Self::Signature => "token's signature",
        })
    }
}

/// The ids of the usable keys of a set, the first eight of them, shortened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownKeys {
    /// At most 8 of them.
    pub ids: Vec<String>,
    /// The number of further ids.
    pub more: usize,
}

impl KnownKeys {
    pub(super) fn new<'a>(mut ids: impl Iterator<Item = &'a str>) -> Self {
        let shown = ids.by_ref().take(SHOWN_KEYS).map(shown).collect();
        Self { ids: shown, more: ids.count() }
    }
}

impl fmt::Display for KnownKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, id) in self.ids.iter().enumerate() {
            write!(f, "{}{id:?}", if at == 0 { "" } else { ", " })?;
        }
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}
