//! Inspection of files of evidence: their kind and content, for display only, never for decisions.

mod authorities;
mod azure_vm;
mod maa_key;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::azure_vm::{HclReportError, QuoteError};
use crate::files::{self, Content, FileError};
use crate::json::{self, JsonError};
use crate::maa::{KeySet, KeySetError};
use crate::snp::{
    AmdAnchors, CertificateError, CrlError, ReportError, UnverifiedCrl, UnverifiedReport, VekCertificate, VekIdentity,
    VerifiedCrl, VerifiedVek, certificates_from_pem,
};
use crate::types::{Product, printable_json};
use crate::uvm::{self, EndorsementError, EndorsementExpectations};
use crate::x509;

/// The reason why a file cannot be inspected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// Text in another encoding than UTF-8.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something that is known, and no evidence.
    #[error("it is {found}, which is no evidence")]
    NoEvidence {
        /// What it is.
        found: String,
    },
    /// Recognised and not readable: a key set.
    #[error("it is JSON with `keys`, and no key set: {0}")]
    KeySet(#[from] KeySetError),
    /// Recognised and not readable: a part of a token.
    #[error("it is a token whose {part} is not JSON in base64url")]
    Token {
        /// `header` or `claims`.
        part: &'static str,
    },
    /// Recognised and not readable: a report.
    #[error("it has the length of a report and cannot be read as such: {0}")]
    Report(#[from] ReportError),
    /// Recognised and not readable: a revocation list.
    #[error("its revocation list cannot be read: {0}")]
    Crl(#[from] CrlError),
    /// Recognised and not readable: certificates.
    #[error("its certificates cannot be read: {0}")]
    Certificate(#[from] CertificateError),
    /// Recognised and not readable: the report of a paravisor.
    #[error("it begins as the report of a paravisor and cannot be read as such: {0}")]
    HclReport(#[from] HclReportError),
    /// Recognised and not readable: the quote of a TPM.
    #[error("it begins as the quote of a TPM and cannot be read as such: {0}")]
    TpmQuote(#[from] QuoteError),
    /// Nothing that is known.
    #[error(
        "it is no token, hardware report, key set, certificate, revocation list, endorsement or agent's response, report of a paravisor, quote or list of PCR values, as it is, in PEM, in base64 or in hexadecimal; as an endorsement it is refused because {0}"
    )]
    Unknown(#[from] EndorsementError),
}

/// One document in a file: its kind, whether it could be verified from the file alone, and its content.
///
/// Serialised it is one object with `kind`, `verified`, `why` and the contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Inspection {
    kind: EvidenceKind,
    verified: bool,
    // The member has had this name from the first.
    #[serde(rename = "why")]
    reason: String,
    #[serde(flatten)]
    contents: Map<String, Value>,
}

/// Kinds of evidence, and of what vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EvidenceKind {
    /// A certificate, of a signing key or anything else.
    Certificate,
    /// The endorsement of a utility VM (COSE_Sign1).
    Endorsement,
    /// The report of the paravisor of a confidential VM, with a hardware report and runtime claims.
    HclReport,
    /// The key set of an MAA instance.
    KeySet,
    /// Values of PCRs.
    PcrValues,
    /// A hardware report.
    Report,
    /// A CRL of AMD.
    RevocationList,
    /// An MAA token (JWT).
    Token,
    /// The message of a TPM's quote.
    TpmQuote,
    /// The signature of a TPM's quote.
    TpmSignature,
}

/// Returns what the bytes of a file are, shown in full; a bundle in PEM and an agent's response have several things in them.
///
/// Evidence is recognised by its parsers, in each form that [`crate::files`] lists.
///
/// Only what the file alone can show is verified: certificates and CRLs against AMD's built-in roots,
/// endorsements against Microsoft's production issuer. A token needs a key set and a report its certificate: see
/// [`crate::verify_unappraised`].
///
/// # Errors
///
/// [`InspectError`] for bytes that are none of [`EvidenceKind`].
pub fn inspect(bytes: &[u8]) -> Result<Vec<Inspection>, InspectError> {
    match files::content(bytes)? {
        Some(content) => show(content),
        None => Err(uvm::read_unverified(bytes).map_or_else(InspectError::Unknown, |_| InspectError::NoEvidence {
            found: "larger than any evidence".to_owned(),
        })),
    }
}

fn show(content: Content) -> Result<Vec<Inspection>, InspectError> {
    let one = match content {
        Content::Certificates(bytes) => {
            let der = match certificates_from_pem(&bytes) {
                Ok(certificates) => certificates,
                Err(_) => vec![bytes],
            };
            return der.iter().map(|der| certificate(der)).collect();
        }
        Content::Response(parts) => {
            let mut shown = Vec::new();
            for (name, part) in parts {
                shown.extend(show(part)?.into_iter().map(|found| found.of_part(name)));
            }
            return Ok(shown);
        }
        Content::RevocationList(der) => revocation_list(&der),
        Content::Report(bytes) => report(&bytes),
        Content::Endorsement(bytes) => endorsement(&bytes),
        Content::Token(token) => self::token(token.as_bytes()),
        Content::KeySet(json) => key_set(&json),
        Content::HclReport(blob) => azure_vm::hcl_report(&blob),
        Content::TpmQuote(message) => azure_vm::tpm_quote(&message),
        Content::TpmSignature(signature) => Ok(azure_vm::tpm_signature(&signature)),
        Content::Pcrs(values) => Ok(azure_vm::pcrs(&values)),
        Content::CcePolicy => Err(InspectError::NoEvidence { found: content.describe() }),
    };
    Ok(vec![one?])
}

impl Inspection {
    fn new(kind: EvidenceKind, outcome: Result<String, String>, contents: Value) -> Self {
        let verified = outcome.is_ok();
        let contents = match contents {
            Value::Object(members) => members,
            other => Map::from_iter([("contents".to_owned(), other)]),
        };
        Self { kind, verified, reason: outcome.unwrap_or_else(|reason| reason), contents }
    }

    /// Says in which member of a response it was.
    fn of_part(mut self, name: &str) -> Self {
        self.contents.insert("part".to_owned(), name.into());
        self
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> EvidenceKind {
        self.kind
    }

    /// Whether its signatures were verified. No policy was applied in any case.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Down to what it was verified, or why it was not.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// As JSON over several lines, with characters that terminals obey escaped ([`printable_json`]).
impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable_json(&serde_json::to_string_pretty(self).unwrap_or_default()))
    }
}

fn report(bytes: &[u8]) -> Result<Inspection, InspectError> {
    let report = UnverifiedReport::read(bytes)?;
    let reason = "a report alone cannot be verified: it takes the certificate of the key that signed it".to_owned();
    Ok(Inspection::new(EvidenceKind::Report, Err(reason), json!({ "report": report })))
}

fn token(bytes: &[u8]) -> Result<Inspection, InspectError> {
    let mut parts = bytes.split(|byte| *byte == b'.');
    let (header, first) = token_part("header", parts.next())?;
    let (claims, second) = token_part("claims", parts.next())?;
    let mut reason = "a token alone cannot be verified: it takes the key set of its issuer".to_owned();
    if let Some(refusal) = first.or(second) {
        // The displayed value would then be incomplete, for example without the first of two duplicate members.
        reason = format!("{reason}; it would be refused in any case: {refusal}");
    }
    Ok(Inspection::new(EvidenceKind::Token, Err(reason), json!({ "header": header, "claims": claims })))
}

fn token_part(part: &'static str, text: Option<&[u8]>) -> Result<(Value, Option<JsonError>), InspectError> {
    let unreadable = InspectError::Token { part };
    let text = URL_SAFE_NO_PAD.decode(text.unwrap_or_default()).map_err(|_| unreadable.clone())?;
    let shown = serde_json::from_slice(&text).map_err(|_| unreadable)?;
    Ok((shown, json::parse(&text).err()))
}

fn key_set(bytes: &[u8]) -> Result<Inspection, InspectError> {
    let keys = KeySet::from_json(bytes)?;
    let unusable = keys.unusable().map(|(id, reason)| json!({ "kid": id, "why": reason.to_string() }));
    let contents = json!({
        "usable": keys.key_ids().collect::<Vec<_>>(),
        "unusable": unusable.collect::<Vec<_>>(),
        "evidence": keys.key_ids().map(|id| maa_key::evidence(&keys, id)).collect::<Vec<_>>(),
        "sha256": keys.digest(),
    });
    let reason =
        "a key set has no signature: it is as trustworthy as the connection that it was fetched over".to_owned();
    Ok(Inspection::new(EvidenceKind::KeySet, Err(reason), contents))
}

fn certificate(der: &[u8]) -> Result<Inspection, InspectError> {
    let vek = match VekCertificate::from_der(der) {
        Ok(vek) => vek,
        Err(error) => return other_certificate(der, &error),
    };
    let outcome = match VerifiedVek::verify(der, None, &AmdAnchors::builtin()) {
        Ok(_) => Ok("signed down to AMD's built-in root; dates and revocation were not looked at".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let (chip_id, cloud_provider) = match vek.identity() {
        VekIdentity::Chip(chip) => (Some(chip), None),
        VekIdentity::CloudProvider(name) => (None, Some(name)),
    };
    let contents = json!({
        "signing_key": vek.kind(),
        "product": vek.product(),
        "product_name": vek.product_name(),
        "chip_id": chip_id,
        "cloud_provider": cloud_provider,
        "tcb": vek.tcb(),
        "not_before": vek.not_before(),
        "not_after": vek.not_after(),
        "sha256": vek.digest(),
    });
    Ok(Inspection::new(EvidenceKind::Certificate, outcome, contents))
}

fn revocation_list(der: &[u8]) -> Result<Inspection, InspectError> {
    let anchors = AmdAnchors::builtin();
    let lists = Product::ALL.into_iter().map(|product| VerifiedCrl::verify(der, product, &anchors));
    if let Some(list) = lists.into_iter().find_map(Result::ok) {
        let contents = json!({
            "product": list.product(),
            "this_update": list.this_update(),
            "next_update": list.next_update(),
            "sha256": list.digest(),
        });
        return Ok(Inspection::new(
            EvidenceKind::RevocationList,
            Ok("signed by AMD's built-in root; dates were not looked at".to_owned()),
            contents,
        ));
    }
    let crl = UnverifiedCrl::read(der)?;
    let contents = json!({
        "issuer": crl.issuer,
        "last_update": crl.this_update,
        "next_update": crl.next_update,
        "revoked": crl.revoked,
        "sha256": crate::crypto::sha256_digest(der),
    });
    let reason = "it is of none of AMD's built-in authorities".to_owned();
    Ok(Inspection::new(EvidenceKind::RevocationList, Err(reason), contents))
}

/// Not of a signing key: an authority that is known by its digest, or anything else.
fn other_certificate(der: &[u8], refusal: &CertificateError) -> Result<Inspection, InspectError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let extensions = certificate.extensions().iter().map(|extension| extension.oid.to_id_string());
    let authority = authorities::name(der);
    let contents = json!({
        "authority": authority,
        "subject": certificate.subject().to_string(),
        "issuer": certificate.issuer().to_string(),
        "serial": certificate.raw_serial_as_string(),
        "not_before": certificate.validity().not_before.timestamp(),
        "not_after": certificate.validity().not_after.timestamp(),
        "signature_algorithm": certificate.signature_algorithm.algorithm.to_id_string(),
        "extensions": extensions.collect::<Vec<_>>(),
        "sha256": crate::crypto::sha256_digest(der),
    });
    let uses = x509::Certificate::read(der).map(|read| read.extensions().key_uses()).unwrap_or_default();
    let outcome = match (&authority, azure_vm::attestation_key_certificate(der, &uses)) {
        (Some(name), _) => Ok(format!("it is {name}, byte for byte; dates and revocation were not looked at")),
        (None, Some(outcome)) => outcome,
        (None, None) => Err(format!("as the certificate of a VCEK or VLEK it is refused: {refusal}")),
    };
    Ok(Inspection::new(EvidenceKind::Certificate, outcome, contents))
}

fn endorsement(bytes: &[u8]) -> Result<Inspection, InspectError> {
    let document = uvm::read_unverified(bytes)?;
    let (outcome, claims) = match uvm::verify(bytes, &EndorsementExpectations::production()) {
        Ok(verified) => (Ok("signed by Microsoft's production issuer".to_owned()), Some(verified.claims().clone())),
        Err(error) => (Err(error.to_string()), None),
    };
    Ok(Inspection::new(EvidenceKind::Endorsement, outcome, json!({ "claims": claims, "document": document })))
}
