//! Verification of a token: a JWS in compact form (RFC 7515) over claims (RFC 7519).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::claims::{self, OtherClaims};
use super::error::{TokenError, TokenPart, shown};
use super::jwks::{Key, KeySet};
use super::key_id;
use super::times::Times;
use crate::claims::{MaaClaims, TeeClaims, UvmClaims};
use crate::json::{self, Object, Value};
use crate::types::{ChipId, MaaIssuer, UnixTime};

/// The largest token that is read, in bytes: bounds the work for a token that is not genuine. Genuine ones have 2 to 7 kB.
const MAX_BYTES: usize = 64 << 10;

/// Verifies a token and reads its claims. Pure: no network, no clock.
///
/// In this order, stopping at the first failure: size, structure, header, key, signature, JSON of the payload, kind of
/// TEE and shape, issuer, `jku`, times, claims. The signature is checked over the bytes received. The algorithm is RS256
/// or the token is refused, and no header parameter (`jwk`, `x5c`, `x5u`, `jku`) is ever a source of keys.
///
/// Times have a leeway of 60 seconds for clocks that disagree: a token is accepted from `nbf - 60` (inclusive) until
/// `exp + 60` (exclusive), with `iat` at most 60 seconds after `now`.
///
/// # Errors
///
/// [`TokenError`], one variant for each cause.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expected: &TokenExpectations<'_>,
    now: UnixTime,
) -> Result<VerifiedToken, TokenError> {
    let parts = Parts::split(token)?;
    let header = json::parse(&parts.header).map_err(|error| TokenError::json(TokenPart::Header, error))?;
    let header = Header::read(object(TokenPart::Header, &header)?)?;
    let key = expected_key(&header, keys, expected.key_id)?;
    key.verify(parts.signed, &parts.signature)
        .map_err(|_| TokenError::BadSignature { key_id: shown(header.key_id) })?;

    let payload = json::parse(&parts.payload).map_err(|error| TokenError::json(TokenPart::Payload, error))?;
    let payload = object(TokenPart::Payload, &payload)?;
    let (shape, tee) = claims::shape(payload)?;
    claims::check_issuer(payload, expected.issuer)?;
    header.check_key_set_url(expected.issuer)?;
    let times = Times::read(payload)?;
    times.check(now)?;
    let claims = claims::read(payload, tee, shape)?;
    let maa = MaaClaims {
        issuer: expected.issuer.clone(),
        key_id: header.key_id.to_owned(),
        shape,
        compliance_status: claims.compliance_status,
        vm_id: claims.vm_id,
        vm_settings: claims.vm_settings,
        policy_hash: claims.policy_hash,
        token_id: claims.token_id,
        issued_at: times.issued_at,
        not_before: times.not_before,
        expires_at: times.expires_at,
    };
    let OtherClaims { tee, stated_chip_id, uvm, runtime, client_nonce, .. } = claims;
    Ok(VerifiedToken { maa, tee, stated_chip_id, uvm, runtime, client_nonce })
}

/// The expectations of the relying party for a token.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct TokenExpectations<'a> {
    issuer: &'a MaaIssuer,
    key_id: Option<&'a str>,
}

impl<'a> TokenExpectations<'a> {
    /// Expects a token of this MAA instance.
    pub fn new(issuer: &'a MaaIssuer) -> Self {
        Self { issuer, key_id: None }
    }

    /// Expects a token signed by the key of this id.
    ///
    /// The id is compared as text. If it has one of the two forms in which MAA's ids are digests (base64 of 32 bytes,
    /// base64url of 20), then the key must have that digest: a forged key set cannot replace the key under the pinned id.
    pub fn key_id(self, key_id: &'a str) -> Self {
        Self { key_id: Some(key_id), ..self }
    }

    pub(crate) fn issuer(&self) -> &'a MaaIssuer {
        self.issuer
    }

    /// Whether the key id is a digest of the key, so that no key set can replace the key.
    pub(crate) fn pins_key_by_digest(&self) -> bool {
        self.key_id.is_some_and(key_id::is_digest)
    }
}

/// A token whose signature, issuer and times were verified, with claims of the right types.
#[derive(Clone, Debug)]
#[must_use = "a verified token attests nothing before its claims are bound to a challenge and appraised"]
pub struct VerifiedToken {
    maa: MaaClaims,
    tee: TeeClaims,
    stated_chip_id: Option<ChipId>,
    uvm: Option<UvmClaims>,
    runtime: Option<Box<str>>,
    client_nonce: Option<Vec<u8>>,
}

impl VerifiedToken {
    /// Returns MAA's claims about itself and its result.
    #[must_use]
    pub fn maa(&self) -> &MaaClaims {
        &self.maa
    }

    /// Returns the state of the TEE.
    #[must_use]
    pub fn tee(&self) -> &TeeClaims {
        &self.tee
    }

    /// Returns the chip id as the token states it, with the zeros of a masked one, which [`VerifiedToken::tee`] leaves out.
    pub(crate) fn stated_chip_id(&self) -> Option<ChipId> {
        self.stated_chip_id
    }

    /// Returns the endorsement of the utility VM, if MAA verified one.
    #[must_use]
    pub fn uvm(&self) -> Option<&UvmClaims> {
        self.uvm.as_ref()
    }

    /// Whether the runtime data whose hash MAA found in the report (`x-ms-runtime`) is this JSON value.
    ///
    /// The order of members and white space do not matter, because MAA serializes the value again. Always false for tokens of the
    /// shape [`TokenShape::AzureVm`](crate::claims::TokenShape::AzureVm).
    #[must_use]
    pub fn runtime_is(&self, expected: &[u8]) -> bool {
        let Some(runtime) = &self.runtime else { return false };
        match (json::parse(runtime.as_bytes()), json::parse(expected)) {
            (Ok(runtime), Ok(expected)) => runtime == expected,
            _ => false,
        }
    }

    /// Returns the JSON of `x-ms-runtime`, which the hardware report covers. `None` without it, and for tokens of the shape
    /// [`TokenShape::AzureVm`](crate::claims::TokenShape::AzureVm).
    pub(crate) fn runtime(&self) -> Option<&str> {
        self.runtime.as_deref()
    }

    /// Returns the data that the guest attestation of a confidential VM covers: the decoded `nonce` of
    /// `x-ms-runtime.client-payload`.
    ///
    /// `None` unless the token has the shape [`TokenShape::AzureVm`](crate::claims::TokenShape::AzureVm), the client payload has this
    /// one member and no other, and it is not empty: any other payload binds nothing.
    #[must_use]
    pub fn client_nonce(&self) -> Option<&[u8]> {
        self.client_nonce.as_deref()
    }
}

/// The three parts, decoded.
struct Parts<'t> {
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
    /// The signed bytes: the first two parts as received, with the dot between them.
    signed: &'t [u8],
}

impl<'t> Parts<'t> {
    fn split(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::TooLarge { len: token.len(), max: MAX_BYTES });
        }
        let not_three = || TokenError::PartCount { found: token.split('.').count() };
        let (signed, signature) = token.rsplit_once('.').ok_or_else(not_three)?;
        let (header, payload) = signed.split_once('.').ok_or_else(not_three)?;
        let decode = |part, text| {
            URL_SAFE_NO_PAD.decode(text).map_err(|_| match payload.contains('.') {
                // Not decodable in any case: a dot is no character of base64url.
                true => not_three(),
                false => TokenError::NotBase64Url { part },
            })
        };
        Ok(Self {
            header: decode(TokenPart::Header, header)?,
            payload: decode(TokenPart::Payload, payload)?,
            signature: decode(TokenPart::Signature, signature)?,
            signed: signed.as_bytes(),
        })
    }
}

struct Header<'h> {
    key_id: &'h str,
    key_set_url: Option<&'h str>,
}

impl<'h> Header<'h> {
    /// Reads `alg`, `jku`, `kid` and `typ`, the parameters of every MAA token. Others are ignored, except that `crit` is refused.
    fn read(header: &'h Object<'_>) -> Result<Self, TokenError> {
        let algorithm: &str = header.required("alg").map_err(TokenError::header)?;
        if algorithm != "RS256" {
            return Err(TokenError::UnsupportedAlgorithm { found: shown(algorithm) });
        }
        let token_type: &str = header.required("typ").map_err(TokenError::header)?;
        if token_type != "JWT" {
            return Err(TokenError::UnsupportedTokenType { found: shown(token_type) });
        }
        if header.contains("crit") {
            return Err(TokenError::CriticalExtensions);
        }
        let key_id = header.required("kid").map_err(TokenError::header)?;
        Ok(Self { key_id, key_set_url: header.optional("jku").map_err(TokenError::header)? })
    }

    /// Checks `jku`, after the issuer, so that a token of another instance is reported as such. Nothing is ever fetched from it.
    fn check_key_set_url(&self, issuer: &MaaIssuer) -> Result<(), TokenError> {
        match self.key_set_url {
            Some(actual) if actual.strip_prefix(issuer.as_str()) != Some("/certs") => {
                Err(TokenError::WrongKeySetUrl { expected: issuer.key_set_url(), actual: shown(actual) })
            }
            _ => Ok(()),
        }
    }
}

fn expected_key<'k>(header: &Header<'_>, keys: &'k KeySet, pinned: Option<&str>) -> Result<&'k Key, TokenError> {
    if let Some(pinned) = pinned
        && pinned != header.key_id
    {
        return Err(TokenError::WrongKeyId { expected: shown(pinned), actual: shown(header.key_id) });
    }
    let key = keys.key(header.key_id)?;
    if pinned.is_some() && !key.matches_digest_id() {
        return Err(TokenError::KeyIdMismatch { key_id: shown(key.id()) });
    }
    Ok(key)
}

fn object<'v>(part: TokenPart, value: &'v Value<'v>) -> Result<&'v Object<'v>, TokenError> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(TokenError::NotAnObject { part, found: other.json_type() }),
    }
}

#[cfg(test)]
mod wycheproof;
