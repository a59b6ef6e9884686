//! The unverified content of an endorsement, for tools that display it.

use serde::{Serialize, Serializer};

use super::chain;
use super::cose::Document;
use super::endorsement::EndorsementForm;
use super::error::{CoseAlgorithm, EndorsementError};
use crate::types::{Sha256Digest, UnixTime};
use crate::x509::Certificate;

/// The unverified content of an endorsement: anyone can have written it.
///
/// It cannot be turned into a [`super::VerifiedEndorsement`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnverifiedEndorsement {
    /// The layout.
    pub form: EndorsementForm,
    /// The issuer, if it names one.
    pub issuer: Option<String>,
    /// The feed, if it names one.
    pub feed: Option<String>,
    /// The security version, if the header carries it (CWT form); else it is in the payload.
    pub header_svn: Option<u64>,
    /// When it says it was signed.
    pub signed_at: Option<UnixTime>,
    /// The COSE algorithm number as text.
    pub algorithm: Option<String>,
    /// Its certificates, leaf first.
    pub chain: Vec<UnverifiedCertificate>,
    /// The payload, as received: JSON text or 48 bytes. Serialised as text, or as hexadecimal where it is not text.
    #[serde(serialize_with = "text_or_hex")]
    pub payload: Vec<u8>,
    /// The size of the unprotected header in bytes.
    pub unprotected_header_len: usize,
}

/// An unverified certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnverifiedCertificate {
    /// SHA-256 of the certificate.
    pub fingerprint: Sha256Digest,
    /// The subject; `None` where the certificate cannot be read.
    pub subject: Option<String>,
    /// The issuer; `None` where the certificate cannot be read.
    pub issuer: Option<String>,
    /// First and last second of its validity; `None` where the certificate cannot be read.
    pub validity: Option<(UnixTime, UnixTime)>,
    /// The object identifiers of its extended key usage.
    pub uses: Vec<String>,
}

/// Parses an endorsement without verifying it.
///
/// # Errors
///
/// [`EndorsementError`] if the document is not strictly encoded.
pub fn read_unverified(cose: &[u8]) -> Result<UnverifiedEndorsement, EndorsementError> {
    let document = Document::decode(cose)?;
    Ok(UnverifiedEndorsement {
        form: document.form,
        issuer: document.issuer.clone(),
        feed: document.feed.clone(),
        header_svn: document.svn,
        signed_at: document.signed_at,
        algorithm: document.algorithm.as_ref().map(CoseAlgorithm::to_string),
        chain: document.chain.iter().map(|der| describe(der)).collect(),
        payload: document.payload().to_vec(),
        unprotected_header_len: document.unprotected_len,
    })
}

fn describe(der: &[u8]) -> UnverifiedCertificate {
    let read = chain::read(der).ok();
    UnverifiedCertificate {
        fingerprint: crate::crypto::sha256_digest(der),
        subject: read.as_ref().map(Certificate::subject_text),
        issuer: read.as_ref().map(Certificate::issuer_text),
        validity: read.as_ref().map(Certificate::validity).map(|both| (both.not_before, both.not_after)),
        uses: read.as_ref().map(|certificate| certificate.extensions().key_uses()).unwrap_or_default(),
    }
}

fn text_or_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.serialize_str(&hex::encode(bytes)),
    }
}
