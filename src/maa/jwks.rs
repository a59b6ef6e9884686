//! The key set of an MAA instance (JWKS, RFC 7517), as it is published under `/certs`.
//!
//! `JwkSet` of `jsonwebtoken` is not used: it reads `null` as absence, does not report which member had the wrong type, and does not support
//! entries with `x5c` alone, which MAA published for years. Neither is its verifier, which parses the key at each use and
//! cannot be shared between threads, nor its `decode`, which accepts tokens without `iss` and reads the clock itself.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::error::{KnownKeys, TokenError, shown};
use super::key_evidence::{KeyEvidence, KeyEvidenceError};
use super::{jose, key_id};
use crate::crypto::{self, PublicKey, Scheme};
use crate::json::{self, JsonError, JsonType, MemberError, MemberErrorReason, Object, Read, Value};
use crate::types::Sha256Digest;
use crate::x509::RsaNumbers;

/// The largest key set that is read, in bytes: bounds the work for one that is not genuine. Published ones have 2 to 21 kB; one key
/// with MAA's own evidence in its certificate takes 40 kB, so that ten of those fit.
pub(crate) const MAX_KEY_SET_LEN: usize = 512 << 10;

/// The most keys in a set: bounds the time to parse them. Genuine sets have 1 to 10.
const MAX_KEYS: usize = 64;

/// The shortest and longest RSA modulus that is used, in bits.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The longest exponent that is accepted, in bytes: keeps the key's DER below 64 KiB. The library itself refuses exponents that
/// take seconds per signature (more than 33 bits). Genuine ones have 3 bytes.
const MAX_EXPONENT_BYTES: usize = 8;

/// The keys of one MAA instance, parsed once. Cheap to clone and to share between threads.
///
/// A key set is not authenticated: it is as trustworthy as the connection that it was fetched over or the place where it was
/// pinned. Its certificates only carry keys; neither their chains nor their dates are checked.
#[derive(Clone, Debug)]
pub struct KeySet(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    usable: Vec<Key>,
    unusable: Vec<(String, UnusableKey)>,
    digest: Sha256Digest,
}

/// A key that may verify tokens.
#[derive(Debug)]
pub(super) struct Key {
    id: String,
    public: PublicKey,
    spki: Vec<u8>,
    certificate: Option<Vec<u8>>,
}

/// The reason why a document is not a usable key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// The document is not an object with an array `keys`.
    #[error("expected an object with an array `keys`, as an MAA instance publishes it under /certs")]
    Malformed,
    /// The document is not JSON as this crate reads it.
    #[error("the key set is refused: {0}")]
    NotJson(#[from] JsonError),
    /// No entry is a key that may verify tokens.
    #[error(
        "expected at least one usable RSA key, found none (entries: {entries}); is this the /certs of an MAA instance?"
    )]
    NoUsableKey {
        /// How many entries the set has.
        entries: usize,
    },
    /// The document is larger than any genuine one.
    #[error("the key set has {len} bytes, at most {max} are read")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The set has more entries than any genuine one.
    #[error("the key set has {found} keys, at most {max} are read")]
    TooManyKeys {
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
}

/// The reason why an entry of a key set is ignored. Other entries are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableKey {
    /// `x5c[0]` is not a certificate (base64 of DER, RFC 7517 section 4.7) with an RSA key.
    #[error("its x5c does not begin with a certificate of an RSA key")]
    BadCertificate,
    /// `n` or `e` is not base64url of a number without leading zeros (RFC 7518 section 6.3.1).
    #[error("its {name} is not a number in base64url")]
    BadNumber {
        /// The member.
        name: &'static str,
    },
    /// `n` and `e` are of one key, `x5c` of another.
    #[error("its certificate has another key than its n and e")]
    CertificateOfAnotherKey,
    /// The entry has neither `x5c` nor both `n` and `e`.
    #[error("it has neither x5c nor both n and e")]
    NoKey,
    /// The cryptographic library refuses the numbers.
    #[error("its numbers are no RSA key")]
    NotAKey,
    /// The key was made by a library whose keys can be factored (ROCA, CVE-2017-15361).
    #[error("its modulus has the fingerprint of keys that can be factored (ROCA)")]
    WeakKey,
    /// Another entry has the same id, so that the key is ambiguous.
    #[error("its id occurs twice")]
    RepeatedId,
    /// `alg` is not `RS256`.
    #[error("its alg is not RS256")]
    WrongAlgorithm,
    /// `kty` is not `RSA`.
    #[error("its kty is not RSA")]
    WrongKeyType,
    /// The modulus is too short to be secure, or too long to be verified quickly.
    #[error("its modulus has {bits} bits, expected 2048 to 8192")]
    WrongSize {
        /// Its length in bits.
        bits: usize,
    },
    /// A member has another JSON type.
    #[error("its {name} is {found}, expected {expected}")]
    WrongType {
        /// The member.
        name: &'static str,
        /// The type by RFC 7517.
        expected: JsonType,
        /// The type here.
        found: JsonType,
    },
    /// `use` is not `sig`, or `key_ops` does not have `verify`.
    #[error("its use or key_ops is not that of a key that verifies signatures")]
    WrongUse,
}

impl KeySet {
    /// Parses a JWK set.
    ///
    /// Entries with `n` and `e`, with `x5c` (then the key is that of the first certificate), or with both, which must
    /// then agree. What is not an RSA key of at least 2048 bits for RS256 signatures is skipped; ids that occur twice
    /// are not used at all.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] if the document is not a key set, is too large, or has no usable key.
    pub fn from_json(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > MAX_KEY_SET_LEN {
            return Err(KeySetError::TooLarge { len: document.len(), max: MAX_KEY_SET_LEN });
        }
        let Value::Object(set) = json::parse(document)? else { return Err(KeySetError::Malformed) };
        let entries: &[Value<'_>] = set.required("keys").map_err(|_| KeySetError::Malformed)?;
        if entries.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys { found: entries.len(), max: MAX_KEYS });
        }
        let (usable, unusable) = sort_out(entries);
        if usable.is_empty() {
            return Err(KeySetError::NoUsableKey { entries: entries.len() });
        }
        Ok(Self(Arc::new(Keys { usable, unusable, digest: crypto::sha256_digest(document) })))
    }

    /// Returns the ids of the usable keys.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.usable.iter().map(|key| &*key.id)
    }

    /// Returns the ids of the ignored entries, with the reasons.
    pub fn unusable(&self) -> impl Iterator<Item = (&str, &UnusableKey)> {
        self.0.unusable.iter().map(|(id, reason)| (&**id, reason))
    }

    /// Returns the SHA-256 of the document.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.0.digest
    }

    /// Returns the evidence of the TEE that holds the key of this id, as its certificate carries it. Nothing of it is verified.
    ///
    /// # Errors
    ///
    /// [`KeyEvidenceError`] if the certificate carries none, or none that can be read.
    pub(crate) fn evidence(&self, key_id: &str) -> Result<KeyEvidence, KeyEvidenceError> {
        let key = self.0.usable.iter().find(|key| key.id == key_id).ok_or(KeyEvidenceError::NoEvidence)?;
        KeyEvidence::read(key.certificate.as_deref(), &key.spki)
    }

    /// Returns the key of exactly this id. There is no other access on purpose: trying all keys would let any of them replace
    /// the one that the token names.
    pub(super) fn key(&self, id: &str) -> Result<&Key, TokenError> {
        if let Some(key) = self.0.usable.iter().find(|key| key.id == id) {
            return Ok(key);
        }
        let key_id = shown(id);
        match self.0.unusable.iter().find(|(unusable, _)| unusable == id) {
            Some((_, reason)) => Err(TokenError::UnusableKey { key_id, reason: reason.clone() }),
            None => Err(TokenError::UnknownKey { key_id, known: KnownKeys::new(self.key_ids()) }),
        }
    }
}

impl Key {
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Verifies RS256.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), crypto::BadSignature> {
        self.public.verify(message, signature)
    }

    /// Whether the id, if it has a form in which it is a digest, is that of this key.
    pub(super) fn matches_digest_id(&self) -> bool {
        !key_id::is_digest(&self.id) || key_id::is_digest_of(&self.id, &self.spki, self.certificate.as_deref())
    }
}

/// Sorts entries into usable and ignored ones. Entries without an id are dropped, since no token can name them.
fn sort_out(entries: &[Value<'_>]) -> (Vec<Key>, Vec<(String, UnusableKey)>) {
    let named = || {
        entries.iter().filter_map(|entry| {
            let entry = <&Object<'_>>::read(entry)?;
            Some((entry.required::<&str>("kid").ok()?, entry))
        })
    };
    let (mut usable, mut unusable) = (Vec::new(), Vec::new());
    for (id, entry) in named() {
        let key = match named().filter(|(other, _)| *other == id).count() {
            1 => read_key(id, entry),
            _ => Err(UnusableKey::RepeatedId),
        };
        match key {
            Ok(key) => usable.push(key),
            Err(reason) => unusable.push((id.to_owned(), reason)),
        }
    }
    (usable, unusable)
}

fn read_key(id: &str, entry: &Object<'_>) -> Result<Key, UnusableKey> {
    check_purpose(entry)?;
    let certificate = first_certificate(entry)?;
    let of_certificate = match &certificate {
        Some(der) => Some(RsaNumbers::of_certificate(der).ok_or(UnusableKey::BadCertificate)?),
        None => None,
    };
    let numbers = match (stated_numbers(entry)?, of_certificate) {
        (Some(stated), Some(certified)) if stated != certified => return Err(UnusableKey::CertificateOfAnotherKey),
        (Some(numbers), _) | (None, Some(numbers)) => numbers,
        (None, None) => return Err(UnusableKey::NoKey),
    };
    if !MODULUS_BITS.contains(&numbers.bits()) {
        return Err(UnusableKey::WrongSize { bits: numbers.bits() });
    }
    if numbers.e.len() > MAX_EXPONENT_BYTES {
        return Err(UnusableKey::NotAKey);
    }
    if numbers.is_roca() {
        return Err(UnusableKey::WeakKey);
    }
    let spki = numbers.spki();
    let public = PublicKey::from_der(Scheme::RsaPkcs1Sha256, &spki).map_err(|_| UnusableKey::NotAKey)?;
    Ok(Key { id: id.to_owned(), public, spki, certificate })
}

/// Checks `alg`, `use` and `key_ops`, which were absent until 2023; if present they must match.
fn check_purpose(entry: &Object<'_>) -> Result<(), UnusableKey> {
    if member::<&str>(entry, "kty")? != Some("RSA") {
        return Err(UnusableKey::WrongKeyType);
    }
    if let Some(algorithm) = member::<&str>(entry, "alg")?
        && !jose::is_rs256(algorithm)
    {
        return Err(UnusableKey::WrongAlgorithm);
    }
    if let Some(usage) = member::<&str>(entry, "use")?
        && !jose::is_use_of_signatures(usage)
    {
        return Err(UnusableKey::WrongUse);
    }
    if let Some(operations) = member::<&[Value<'_>]>(entry, "key_ops")?
        && !operations.iter().filter_map(<&str>::read).any(jose::is_operation_verify)
    {
        return Err(UnusableKey::WrongUse);
    }
    Ok(())
}

fn first_certificate(entry: &Object<'_>) -> Result<Option<Vec<u8>>, UnusableKey> {
    let Some(chain) = member::<&[Value<'_>]>(entry, "x5c")? else { return Ok(None) };
    let first = chain.first().and_then(<&str>::read).ok_or(UnusableKey::BadCertificate)?;
    STANDARD.decode(first).map(Some).map_err(|_| UnusableKey::BadCertificate)
}

fn stated_numbers(entry: &Object<'_>) -> Result<Option<RsaNumbers>, UnusableKey> {
    match (number(entry, "n")?, number(entry, "e")?) {
        (Some(n), Some(e)) => Ok(Some(RsaNumbers { n, e })),
        (None, None) => Ok(None),
        _ => Err(UnusableKey::NoKey),
    }
}

fn number(entry: &Object<'_>, name: &'static str) -> Result<Option<Vec<u8>>, UnusableKey> {
    let Some(text) = member::<&str>(entry, name)? else { return Ok(None) };
    let number = URL_SAFE_NO_PAD.decode(text).map_err(|_| UnusableKey::BadNumber { name })?;
    match number.first() {
        Some(1..) => Ok(Some(number)),
        _ => Err(UnusableKey::BadNumber { name }),
    }
}

fn member<'o, T: Read<'o>>(entry: &'o Object<'_>, name: &'static str) -> Result<Option<T>, UnusableKey> {
    entry.optional(name).map_err(|MemberError { name, reason }| match reason {
        MemberErrorReason::WrongType { expected, found } => UnusableKey::WrongType { name, expected, found },
        MemberErrorReason::Missing => UnusableKey::NoKey,
    })
}
