//! The evidence of MAA about itself, which the certificate of a key of its key set carries.
//!
//! An instance that runs in a confidential container puts the hardware report of that container into the self-signed
//! certificate of its key, with the certificates of the report and the endorsement of the utility VM. The report data is the
//! digest of the key. MAA documents neither the extensions nor their content: they are as observed in key sets of 2026.
//!
//! | extension | content |
//! |---|---|
//! | 1.3.6.1.4.1.311.105.1000.1 | `UTF8String` of JSON with `Endorsements`, `SnpReport`, `VcekCertChain`, each in base64url |
//! | 1.3.6.1.4.1.311.105.1000.2 | `UTF8String`, the kind of evidence: `acisevsnp` |
//!
//! `Endorsements` is JSON in turn: `{"Uvm": [COSE_Sign1 in base64url]}`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::shown;
use super::key_id;
use crate::der;
use crate::json::{self, Object, Read, Value};
use crate::types::{ReportData, Sha256Digest};
use crate::x509;

/// 1.3.6.1.4.1.311.105.1000.1, as DER content.
const EVIDENCE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x69, 0x87, 0x68, 0x01];
/// 1.3.6.1.4.1.311.105.1000.2, as DER content.
const EVIDENCE_KIND: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x69, 0x87, 0x68, 0x02];

/// The kind of evidence that is read: of a confidential container on SEV-SNP.
const CONTAINER: &str = "acisevsnp";

/// The evidence of the TEE that holds a key, decoded but not verified: anyone can put the evidence of another key there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyEvidence {
    /// The hardware report.
    pub(crate) report: Vec<u8>,
    /// The certificates of the key that signed it, in PEM.
    pub(crate) certificates: Vec<u8>,
    /// The endorsement of the utility VM.
    pub(crate) endorsement: Vec<u8>,
    /// The digest of the key.
    pub(crate) key_digest: Sha256Digest,
}

/// The reason why a key of a key set has no evidence that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyEvidenceError {
    /// The key has no certificate, or one without evidence: a key with a chain of certificates, or of an instance that runs
    /// outside of a confidential container.
    #[error("the key set has no evidence of a confidential container that holds the key")]
    NoEvidence,
    /// The evidence is of another kind of TEE.
    #[error("expected evidence of the kind acisevsnp, found {found:?}")]
    OtherKind {
        /// The kind, shortened.
        found: String,
    },
    /// A part cannot be read.
    #[error("the {part} of its evidence cannot be read")]
    Malformed {
        /// Which part.
        part: KeyEvidencePart,
    },
}

/// A part of the evidence in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyEvidencePart {
    /// The certificate with its extensions.
    Certificate,
    /// The extension that names the kind of evidence.
    Kind,
    /// The JSON document of the evidence.
    Document,
    /// `SnpReport`.
    Report,
    /// `VcekCertChain`.
    Certificates,
    /// `Endorsements`.
    Endorsements,
}

impl fmt::Display for KeyEvidencePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Kind => "kind",
            Self::Document => "JSON document",
            Self::Report => "SnpReport",
            Self::Certificates => "VcekCertChain",
            Self::Endorsements => "Endorsements",
        })
    }
}

impl KeyEvidence {
    /// Reads the evidence of a certificate about a key (the DER of its `SubjectPublicKeyInfo`).
    pub(super) fn read(certificate: Option<&[u8]>, spki: &[u8]) -> Result<Self, KeyEvidenceError> {
        let certificate = certificate.ok_or(KeyEvidenceError::NoEvidence)?;
        let extensions = x509::extensions_of(certificate, x509::MAX_KEY_CERTIFICATE_LEN);
        let extensions = extensions.ok_or_else(malformed(KeyEvidencePart::Certificate))?;
        let evidence = extensions.value_of(EVIDENCE).ok_or(KeyEvidenceError::NoEvidence)?;
        let kind = extensions.value_of(EVIDENCE_KIND).and_then(der::utf8_string);
        let kind = kind.ok_or_else(malformed(KeyEvidencePart::Kind))?;
        if kind != CONTAINER {
            return Err(KeyEvidenceError::OtherKind { found: shown(kind) });
        }
        let document = der::utf8_string(evidence).ok_or_else(malformed(KeyEvidencePart::Document))?;
        let document = json::parse(document.as_bytes()).ok();
        let Some(Value::Object(document)) = document else { return Err(malformed(KeyEvidencePart::Document)()) };
        let bytes = |name, part| {
            let text: Option<&str> = document.required(name).ok();
            text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(malformed(part))
        };
        let endorsements = bytes("Endorsements", KeyEvidencePart::Endorsements)?;
        Ok(Self {
            report: bytes("SnpReport", KeyEvidencePart::Report)?,
            certificates: bytes("VcekCertChain", KeyEvidencePart::Certificates)?,
            endorsement: uvm_endorsement(&endorsements).ok_or_else(malformed(KeyEvidencePart::Endorsements))?,
            key_digest: Sha256Digest::new(key_id::spki_digest(spki)),
        })
    }

    /// Returns the report data of a TEE that vouches for the key: the digest of the key, then 32 zero bytes.
    pub(crate) fn expected_report_data(&self) -> ReportData {
        ReportData::of_digest(self.key_digest.as_bytes())
    }
}

/// Returns the one endorsement of the document. Two would be ambiguous.
fn uvm_endorsement(document: &[u8]) -> Option<Vec<u8>> {
    let document = json::parse(document).ok()?;
    let all: &[Value<'_>] = <&Object<'_>>::read(&document)?.required("Uvm").ok()?;
    let [only] = all else { return None };
    URL_SAFE_NO_PAD.decode(<&str>::read(only)?).ok()
}

fn malformed(part: KeyEvidencePart) -> impl Fn() -> KeyEvidenceError {
    move || KeyEvidenceError::Malformed { part }
}
