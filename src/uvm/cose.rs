//! The `COSE_Sign1` document: its header parameters and its signature.

use coset::cbor::value::Value;
use coset::iana::EnumI64;
use coset::{ContentType, CoseSign1, Label, RegisteredLabelWithPrivate, TaggedCborSerializable};

use super::cbor;
use super::endorsement::{EndorsementForm, MAX_ENDORSEMENT_LEN};
use super::error::{CoseAlgorithm, CoseError, EndorsementError};
use crate::crypto::{Hash, PublicKey, Scheme, ecdsa_der_of_fixed, sha256, sha384, sha512};
use crate::types::{UnixTime, shorten};
use crate::x509::Certificate;

const CWT_CLAIMS: i64 = 15;
const X5CHAIN: i64 = 33;
const X5T: i64 = 34;
const PAYLOAD_HASH_ALG: i64 = 258;
const PREIMAGE_CONTENT_TYPE: i64 = 259;

/// A parsed document. Its signed part is strictly encoded, but not verified.
#[derive(Debug)]
pub(super) struct Document {
    sign1: CoseSign1,
    /// The map of the unprotected header, for display only.
    pub(super) unprotected_len: usize,
    pub(super) algorithm: Option<CoseAlgorithm>,
    pub(super) form: EndorsementForm,
    pub(super) issuer: Option<String>,
    pub(super) feed: Option<String>,
    /// The security version, if the header carries it.
    pub(super) svn: Option<u64>,
    pub(super) signed_at: Option<UnixTime>,
    /// The certificates, leaf first, each in DER.
    pub(super) chain: Vec<Vec<u8>>,
    /// Hash algorithm and hash of the leaf certificate.
    pub(super) thumbprint: Option<(i64, Vec<u8>)>,
    payload_hash: Option<i64>,
    has_preimage_type: bool,
}

impl Document {
    /// Parses a document of at most [`MAX_ENDORSEMENT_LEN`] bytes.
    pub(super) fn decode(document: &[u8]) -> Result<Self, EndorsementError> {
        if document.len() > MAX_ENDORSEMENT_LEN {
            return Err(EndorsementError::TooLarge { limit: MAX_ENDORSEMENT_LEN, actual: document.len() });
        }
        let parts = cbor::split(document).map_err(EndorsementError::Malformed)?;
        let sign1 = decode_signed_parts(&parts).ok_or(EndorsementError::Malformed(CoseError::InvalidHeader))?;
        let header = &sign1.protected.header;
        if !header.crit.is_empty() {
            return Err(EndorsementError::CriticalHeaders);
        }
        let algorithm = header.alg.as_ref().map(|alg| match alg {
            RegisteredLabelWithPrivate::Assigned(alg) => CoseAlgorithm::Number(alg.to_i64()),
            RegisteredLabelWithPrivate::PrivateUse(alg) => CoseAlgorithm::Number(*alg),
            RegisteredLabelWithPrivate::Text(_) => CoseAlgorithm::Text,
        });
        let fields = Fields { pairs: &header.rest };
        let mut read = Self {
            unprotected_len: parts.unprotected.len(),
            algorithm,
            form: EndorsementForm::TextHeaders,
            issuer: None,
            feed: None,
            svn: None,
            signed_at: None,
            chain: fields.chain()?,
            thumbprint: fields.thumbprint()?,
            payload_hash: fields.integer(PAYLOAD_HASH_ALG, "payload hash algorithm (258)")?,
            has_preimage_type: fields.number(PREIMAGE_CONTENT_TYPE).is_some(),
            sign1: CoseSign1::default(),
        };
        match fields.number(CWT_CLAIMS) {
            None => {
                read.issuer = fields.text("iss", "iss")?;
                read.feed = fields.text("feed", "feed")?;
                read.signed_at = fields.named("signingtime").map(|time| epoch(time, "signingtime")).transpose()?;
                for (label, header) in HASH_ENVELOPE {
                    if fields.number(label).is_some() {
                        return Err(EndorsementError::MixedForms { header });
                    }
                }
            }
            Some(claims) => {
                read.form = EndorsementForm::CwtHashEnvelope;
                read.read_cwt_claims(claims)?;
                for header in ["iss", "feed", "signingtime"] {
                    if fields.named(header).is_some() {
                        return Err(EndorsementError::MixedForms { header });
                    }
                }
                if header.content_type.is_some() {
                    return Err(EndorsementError::MixedForms { header: "content type (3)" });
                }
            }
        }
        read.sign1 = sign1;
        Ok(read)
    }

    fn read_cwt_claims(&mut self, claims: &Value) -> Result<(), EndorsementError> {
        const ISS: i64 = 1;
        const SUB: i64 = 2;
        const IAT: i64 = 6;
        let claims = claims.as_map().ok_or(EndorsementError::WrongHeaderType { header: "CWT claims (15)" })?;
        for (key, value) in claims {
            let number = key.as_integer().and_then(|key| i64::try_from(key).ok());
            match (number, key.as_text()) {
                (Some(ISS), _) => self.issuer = Some(text(value, "CWT claim iss")?),
                (Some(SUB), _) => self.feed = Some(text(value, "CWT claim sub")?),
                (Some(IAT), _) => self.signed_at = Some(epoch(value, "CWT claim iat")?),
                (_, Some("svn")) => self.svn = Some(unsigned(value, "CWT claim svn")?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the payload as received.
    pub(super) fn payload(&self) -> &[u8] {
        self.sign1.payload.as_deref().unwrap_or_default()
    }

    /// Checks that the header's thumbprint is that of the leaf certificate. It may be absent, because the chain is in the same
    /// signed header.
    pub(super) fn check_thumbprint(&self, leaf: &[u8]) -> Result<(), EndorsementError> {
        let Some((algorithm, expected)) = &self.thumbprint else { return Ok(()) };
        let actual = match algorithm {
            -16 => sha256(leaf).to_vec(),
            -43 => sha384(leaf).to_vec(),
            -44 => sha512(leaf).to_vec(),
            other => return Err(EndorsementError::UnsupportedThumbprint { actual: *other }),
        };
        if *expected != actual {
            return Err(EndorsementError::ThumbprintMismatch {
                expected: shorten(&hex::encode(expected), 128),
                actual: hex::encode(actual),
            });
        }
        Ok(())
    }

    /// Checks that the header describes the payload as its form requires.
    pub(super) fn check_payload_type(&self) -> Result<(), EndorsementError> {
        const JSON: &str = "application/json";
        const SHA_384: i64 = -43;
        match self.form {
            EndorsementForm::TextHeaders => match &self.sign1.protected.header.content_type {
                Some(ContentType::Text(found)) if found == JSON => Ok(()),
                Some(ContentType::Text(found)) => {
                    Err(EndorsementError::WrongContentType { expected: JSON, actual: shorten(found, 100) })
                }
                Some(ContentType::Assigned(number)) => Err(EndorsementError::WrongContentType {
                    expected: JSON,
                    actual: format!("CoAP content format {}", number.to_i64()),
                }),
                None => Err(EndorsementError::MissingHeader { header: "content type (3)" }),
            },
            EndorsementForm::CwtHashEnvelope => {
                let found = self
                    .payload_hash
                    .ok_or(EndorsementError::MissingHeader { header: "payload hash algorithm (258)" })?;
                if found != SHA_384 {
                    return Err(EndorsementError::WrongPayloadHash { actual: found });
                }
                if !self.has_preimage_type {
                    return Err(EndorsementError::MissingHeader { header: "preimage content type (259)" });
                }
                Ok(())
            }
        }
    }

    /// Verifies the signature over the protected header and payload as received.
    pub(super) fn check_signature(&self, leaf: &Certificate<'_>) -> Result<(), EndorsementError> {
        let algorithm = self.algorithm.ok_or(EndorsementError::MissingHeader { header: "signature algorithm (1)" })?;
        let CoseAlgorithm::Number(number) = algorithm else {
            return Err(EndorsementError::UnsupportedAlgorithm { actual: algorithm });
        };
        let refuse_key = EndorsementError::KeyDoesNotFit { algorithm: number };
        // RS256, RS384 and RS512 are not accepted: RFC 8812 registers them for other uses than COSE messages.
        let scheme = match number {
            -37 => Scheme::RsaPssSha256,
            -38 => Scheme::RsaPssSha384,
            -39 => Scheme::RsaPssSha512,
            -7 | -35 | -36 => {
                let curve = leaf.curve().ok_or(refuse_key.clone())?;
                let hash = match number {
                    -7 => Hash::Sha256,
                    -35 => Hash::Sha384,
                    _ => Hash::Sha512,
                };
                Scheme::EcdsaDer(curve, hash)
            }
            _ => return Err(EndorsementError::UnsupportedAlgorithm { actual: algorithm }),
        };
        let key = PublicKey::from_der(scheme, leaf.public_key()).map_err(|_| refuse_key)?;
        let message = self.sign1.tbs_data(&[]);
        let verdict = match scheme {
            Scheme::EcdsaDer(curve, _) => {
                let signature =
                    ecdsa_der_of_fixed(curve, &self.sign1.signature).ok_or(EndorsementError::BadSignature)?;
                key.verify(&message, &signature)
            }
            _ => key.verify(&message, &self.sign1.signature),
        };
        verdict.map_err(|_| EndorsementError::BadSignature)
    }
}

/// The parameters that only a hash envelope has.
const HASH_ENVELOPE: [(i64, &str); 2] =
    [(PAYLOAD_HASH_ALG, "payload hash algorithm (258)"), (PREIMAGE_CONTENT_TYPE, "preimage content type (259)")];

/// Decodes everything except the unprotected header, which is replaced by an empty map: unsigned data is not even parsed.
fn decode_signed_parts(parts: &cbor::Sign1Parts<'_>) -> Option<CoseSign1> {
    let array = Value::Array(vec![
        Value::Bytes(parts.protected.to_vec()),
        Value::Map(Vec::new()),
        Value::Bytes(parts.payload.to_vec()),
        Value::Bytes(parts.signature.to_vec()),
    ]);
    let mut document = Vec::new();
    coset::cbor::ser::into_writer(&Value::Tag(18, Box::new(array)), &mut document).ok()?;
    CoseSign1::from_tagged_slice(&document).ok()
}

/// The header parameters that the COSE library does not parse.
struct Fields<'a> {
    pairs: &'a [(Label, Value)],
}

impl<'a> Fields<'a> {
    fn number(&self, number: i64) -> Option<&'a Value> {
        self.pairs.iter().find(|(label, _)| *label == Label::Int(number)).map(|(_, value)| value)
    }

    fn named(&self, name: &str) -> Option<&'a Value> {
        self.pairs.iter().find(|(label, _)| matches!(label, Label::Text(text) if text == name)).map(|(_, value)| value)
    }

    fn text(&self, name: &str, header: &'static str) -> Result<Option<String>, EndorsementError> {
        self.named(name).map(|value| text(value, header)).transpose()
    }

    fn integer(&self, number: i64, header: &'static str) -> Result<Option<i64>, EndorsementError> {
        let wrong = || EndorsementError::WrongHeaderType { header };
        self.number(number)
            .map(|value| value.as_integer().and_then(|value| i64::try_from(value).ok()).ok_or_else(wrong))
            .transpose()
    }

    /// RFC 9360: one certificate as a byte string, or an array of them.
    fn chain(&self) -> Result<Vec<Vec<u8>>, EndorsementError> {
        let wrong = || EndorsementError::WrongHeaderType { header: "x5chain (33)" };
        match self.number(X5CHAIN) {
            None => Err(EndorsementError::MissingHeader { header: "x5chain (33)" }),
            Some(Value::Bytes(one)) => Ok(vec![one.clone()]),
            Some(Value::Array(many)) => many.iter().map(|each| each.as_bytes().cloned().ok_or_else(wrong)).collect(),
            Some(_) => Err(wrong()),
        }
    }

    /// RFC 9360: `[hash algorithm, hash]`.
    fn thumbprint(&self) -> Result<Option<(i64, Vec<u8>)>, EndorsementError> {
        let wrong = EndorsementError::WrongHeaderType { header: "x5t (34)" };
        let Some(value) = self.number(X5T) else { return Ok(None) };
        let Some([Value::Integer(algorithm), Value::Bytes(hash)]) = value.as_array().map(Vec::as_slice) else {
            return Err(wrong);
        };
        let algorithm = i64::try_from(*algorithm).map_err(|_| wrong)?;
        Ok(Some((algorithm, hash.clone())))
    }
}

fn text(value: &Value, header: &'static str) -> Result<String, EndorsementError> {
    value.as_text().map(str::to_owned).ok_or(EndorsementError::WrongHeaderType { header })
}

fn unsigned(value: &Value, header: &'static str) -> Result<u64, EndorsementError> {
    value.as_integer().and_then(|value| u64::try_from(value).ok()).ok_or(EndorsementError::WrongHeaderType { header })
}

/// Reads a time in whole seconds, with or without its tag (RFC 8949 section 3.4.2, RFC 8392 section 2).
fn epoch(value: &Value, header: &'static str) -> Result<UnixTime, EndorsementError> {
    let value = match value {
        Value::Tag(1, inner) => inner,
        other => other,
    };
    unsigned(value, header).map(UnixTime::from_secs)
}
