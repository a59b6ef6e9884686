//! Readers for files of evidence: they recognize the kind of a file by its parsers, in each usual encoding, with one reader for each
//! kind, so that one file is the same thing to every command.
//!
//! | kind | forms |
//! |---|---|
//! | certificates | PEM with any text around it, DER, `{"vcekCert", "certificateChain"}` of the THIM service |
//! | CRL | DER, PEM |
//! | hardware report | its 1184 bytes |
//! | endorsement of a utility VM | COSE_Sign1 |
//! | token | a JWS in compact form, `{"token"}` of MAA or an agent |
//! | key set | a JWK set in JSON |
//! | report of the paravisor of a confidential VM | the blob of NV index 0x01400001 |
//! | quote of a virtual TPM | `TPMS_ATTEST`; its signature as 256 bytes or `TPMT_SIGNATURE` |
//! | PCR values | a JSON array of digests in hexadecimal |
//!
//! Each of them also as base64 (in either alphabet, padded or not, on several lines) or hexadecimal, and taken out of an agent's
//! response. Text may begin with the byte order mark of UTF-8 and have line ends of either kind; UTF-16 is refused by name.
//! A file that no parser recognizes is returned unchanged, so that the verification reports its fault.

mod azure_vm;

pub use azure_vm::{read_hcl_report, read_pcrs, read_tpm_quote, read_tpm_signature};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::json::{self, Object, Value};
use crate::snp::{REPORT_LEN, UnverifiedCrl, certificates_from_pem};
use crate::types::Sha256Digest;
use crate::{uvm, x509};

/// The largest file that is looked into, in bytes. A key set is the largest, with at most 512 KiB; base64 takes four bytes for
/// three.
const MAX_LEN: usize = 1 << 20;

/// The largest certificate in DER that is recognised, in bytes: those of MAA have 31 kB with its own evidence in them.
const MAX_CERTIFICATE_LEN: usize = 64 << 10;

/// How often encodings are taken off: base64 of JSON whose members are base64 of PEM.
const MAX_DEPTH: u8 = 4;

const BOM: &str = "\u{feff}";

/// The reason why a file cannot be read as the requested kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is recognised as something else.
    #[error("expected {expected}, found {found}")]
    AnotherKind {
        /// The requested kind.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// It is no list of PCR values.
    #[error("expected a JSON array of 1 to 24 SHA-256 digests in hexadecimal")]
    NotPcrs,
    /// It has none or several certificates where one is expected.
    #[error("expected one certificate, found {found}")]
    NotOneCertificate {
        /// How many there are.
        found: usize,
    },
    /// It is text in another encoding than UTF-8.
    #[error("expected text in UTF-8, found {found}")]
    NotUtf8 {
        /// What was found.
        found: &'static str,
    },
}

/// The kind of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// PEM, or one certificate in DER.
    Certificates(Vec<u8>),
    /// DER.
    RevocationList(Vec<u8>),
    Report(Vec<u8>),
    Endorsement(Vec<u8>),
    Token(String),
    KeySet(Vec<u8>),
    HclReport(Vec<u8>),
    TpmQuote(Vec<u8>),
    TpmSignature(Vec<u8>),
    Pcrs(Vec<Sha256Digest>),
    /// The response of an agent or of the THIM service: its members, by name.
    Response(Vec<(&'static str, Content)>),
    /// A CCE policy in Rego, which is no evidence.
    CcePolicy,
}

impl Content {
    /// Returns its name for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Certificates(_) => "X.509 certificates".to_owned(),
            Self::RevocationList(_) => "a certificate revocation list".to_owned(),
            Self::Report(_) => "a hardware report".to_owned(),
            Self::Endorsement(_) => "the endorsement of a utility VM (COSE_Sign1)".to_owned(),
            Self::Token(_) => "a token (JWT)".to_owned(),
            Self::KeySet(_) => "a key set".to_owned(),
            Self::HclReport(_) => azure_vm::HCL_REPORT.to_owned(),
            Self::TpmQuote(_) => azure_vm::TPM_QUOTE.to_owned(),
            Self::TpmSignature(_) => azure_vm::TPM_SIGNATURE.to_owned(),
            Self::Pcrs(_) => azure_vm::PCRS.to_owned(),
            Self::Response(parts) => {
                let names: Vec<_> = parts.iter().map(|(name, _)| *name).collect();
                format!("a response with {}", names.join(", "))
            }
            Self::CcePolicy => "a CCE policy (see `host-data`)".to_owned(),
        }
    }
}

/// Reads a token: a JWS in compact form, without white space around it.
///
/// # Errors
///
/// [`FileError`] if the file is recognized as another kind, or is not text.
pub fn read_token(bytes: &[u8]) -> Result<String, FileError> {
    let token = |content: Content| if let Content::Token(token) = content { Some(token) } else { None };
    match find(bytes, "a token (JWT)", token)? {
        Some(token) => Ok(token),
        None => read_text(bytes).map(|text| text.trim().to_owned()),
    }
}

/// Reads a hardware report: its 1184 bytes, unless they are nothing that is known.
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else.
pub fn read_report(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let report = |content: Content| if let Content::Report(report) = content { Some(report) } else { None };
    Ok(find(bytes, "a hardware report of 1184 bytes", report)?.unwrap_or_else(|| bytes.to_vec()))
}

/// Reads the endorsement of a utility VM: a COSE_Sign1 document.
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else.
pub fn read_uvm_endorsement(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let endorsement = |content: Content| if let Content::Endorsement(cose) = content { Some(cose) } else { None };
    let expected = "the endorsement of a utility VM (COSE_Sign1)";
    Ok(find(bytes, expected, endorsement)?.unwrap_or_else(|| bytes.to_vec()))
}

/// Reads a CRL, and returns its DER.
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else.
pub fn read_crl(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let list = |content: Content| if let Content::RevocationList(der) = content { Some(der) } else { None };
    Ok(find(bytes, "a certificate revocation list", list)?.unwrap_or_else(|| bytes.to_vec()))
}

/// Reads certificates, into PEM or one certificate in DER.
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else.
pub fn read_certificates(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let certificates = |content: Content| if let Content::Certificates(found) = content { Some(found) } else { None };
    Ok(find(bytes, "X.509 certificates", certificates)?.unwrap_or_else(|| bytes.to_vec()))
}

/// Reads one certificate, and returns its DER.
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else, and for none or several certificates.
pub fn read_certificate(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let read = read_certificates(bytes)?;
    if read.first() == Some(&0x30) {
        return Ok(read);
    }
    let mut certificates = certificates_from_pem(&read).unwrap_or_default();
    match (certificates.pop(), certificates.len()) {
        (Some(certificate), 0) => Ok(certificate),
        (None, _) => Err(FileError::NotOneCertificate { found: 0 }),
        (Some(_), others) => Err(FileError::NotOneCertificate { found: others.saturating_add(1) }),
    }
}

/// Reads the document of a key set, for [`KeySet::from_json`](crate::maa::KeySet::from_json).
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else.
pub fn read_key_set(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let key_set = |content: Content| if let Content::KeySet(json) = content { Some(json) } else { None };
    Ok(find(bytes, "a key set", key_set)?.unwrap_or_else(|| bytes.to_vec()))
}

/// Reads text, such as a policy: UTF-8, without a byte order mark.
///
/// # Errors
///
/// [`FileError::NotUtf8`], which names UTF-16.
pub fn read_text(bytes: &[u8]) -> Result<String, FileError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(FileError::NotUtf8 { found: "UTF-16: save it as UTF-8" });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| FileError::NotUtf8 { found: "other bytes" })?;
    Ok(text.strip_prefix(BOM).unwrap_or(text).to_owned())
}

/// The one thing of a kind in a file. `None` where nothing in it is recognised at all.
fn find<T>(bytes: &[u8], expected: &'static str, pick: impl Fn(Content) -> Option<T>) -> Result<Option<T>, FileError> {
    let Some(content) = content(bytes)? else { return Ok(None) };
    let found = content.describe();
    let mut picked = match content {
        Content::Response(parts) => parts.into_iter().filter_map(|(_, part)| pick(part)).collect::<Vec<_>>(),
        content => pick(content).into_iter().collect(),
    };
    match (picked.pop(), picked.is_empty()) {
        (Some(one), true) => Ok(Some(one)),
        _ => Err(FileError::AnotherKind { expected, found }),
    }
}

/// Returns the kind of a file; `None` if no parser recognizes it.
pub(crate) fn content(bytes: &[u8]) -> Result<Option<Content>, FileError> {
    if bytes.len() > MAX_LEN {
        return Ok(None);
    }
    recognise(bytes, MAX_DEPTH)
}

fn recognise(bytes: &[u8], depth: u8) -> Result<Option<Content>, FileError> {
    if let Some(found) = binary(bytes) {
        return Ok(Some(found));
    }
    let text = match read_text(bytes) {
        Ok(text) => text,
        Err(FileError::NotUtf8 { found: "other bytes" }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let trimmed = text.trim();
    if let Some(found) = pem(&text).or_else(|| jwt(trimmed)) {
        return Ok(Some(found));
    }
    let Some(depth) = depth.checked_sub(1) else { return Ok(None) };
    match json::parse(trimmed.as_bytes()) {
        Ok(Value::Object(object)) => return object_of(&object, trimmed, depth),
        Ok(Value::Array(values)) => return Ok(azure_vm::pcrs_of(&values).map(Content::Pcrs)),
        _ => {}
    }
    if trimmed.lines().any(|line| line.trim_end() == "package policy") {
        return Ok(Some(Content::CcePolicy));
    }
    match decoded(trimmed) {
        Some(inner) => recognise(&inner, depth),
        None => Ok(None),
    }
}

fn binary(bytes: &[u8]) -> Option<Content> {
    if bytes.len() == REPORT_LEN && !bytes.is_ascii() || bytes.len() == REPORT_LEN && bytes.contains(&0) {
        return Some(Content::Report(bytes.to_vec()));
    }
    if let Some(found) = azure_vm::recognise(bytes) {
        return Some(found);
    }
    // By their outlines: anyone who uses what is found reads it whole, within the limits of its kind.
    if x509::public_key_of(bytes, MAX_CERTIFICATE_LEN).is_some() {
        return Some(Content::Certificates(bytes.to_vec()));
    }
    if UnverifiedCrl::is_crl(bytes) {
        return Some(Content::RevocationList(bytes.to_vec()));
    }
    uvm::read_unverified(bytes).is_ok().then(|| Content::Endorsement(bytes.to_vec()))
}

/// Reads certificates, or one CRL, in PEM (RFC 7468), after any other text.
fn pem(text: &str) -> Option<Content> {
    if certificates_from_pem(text.as_bytes()).is_ok() {
        return Some(Content::Certificates(text.as_bytes().to_vec()));
    }
    let (_, rest) = text.split_once("-----BEGIN X509 CRL-----")?;
    let (base64, _) = rest.split_once("-----END X509 CRL-----")?;
    match binary(&decoded(base64)?)? {
        list @ Content::RevocationList(_) => Some(list),
        _ => None,
    }
}

fn jwt(text: &str) -> Option<Content> {
    let mut parts = text.split('.');
    let (header, _, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let header = lenient(alphabet::URL_SAFE).decode(header).ok()?;
    let is_token = matches!(json::parse(&header), Ok(Value::Object(header)) if header.contains("alg"));
    is_token.then(|| Content::Token(text.to_owned()))
}

/// A key set, or the response of an agent or of the THIM service.
fn object_of(object: &Object<'_>, text: &str, depth: u8) -> Result<Option<Content>, FileError> {
    if object.contains("keys") {
        return Ok(Some(Content::KeySet(text.as_bytes().to_vec())));
    }
    let member = |name: &'static str| object.optional::<&str>(name).ok().flatten();
    if let Some(vcek) = member("vcekCert") {
        let bundle = format!("{}\n{}", vcek.trim(), member("certificateChain").unwrap_or_default());
        return Ok(pem(&bundle));
    }
    let mut parts = Vec::new();
    for name in ["token", "evidence", "report", "endorsements", "uvm_endorsements"] {
        let part = member(name).filter(|text| !text.is_empty());
        if let Some(part) = part.map(|text| recognise(text.as_bytes(), depth)).transpose()?.flatten() {
            parts.push((name, part));
        }
    }
    Ok((!parts.is_empty()).then_some(Content::Response(parts)))
}

/// The bytes of hexadecimal or base64, which may stand on several lines.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_ascii_whitespace().collect();
    // Hexadecimal is also valid base64 of other bytes, so it is tried first; no genuine base64 is hexadecimal by chance.
    let bytes = hex::decode(&text).ok();
    let bytes = bytes.or_else(|| lenient(alphabet::STANDARD).decode(&text).ok());
    bytes.or_else(|| lenient(alphabet::URL_SAFE).decode(&text).ok()).filter(|bytes| !bytes.is_empty())
}

const fn lenient(alphabet: alphabet::Alphabet) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet, config)
}
