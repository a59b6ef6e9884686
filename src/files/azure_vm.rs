//! Readers for the evidence of confidential VMs.

use super::{Content, FileError, find, read_text};
use crate::azure_vm::PCR_COUNT;
use crate::json::{self, Read as _, Value};
use crate::types::Sha256Digest;

pub(super) const HCL_REPORT: &str = "the report of a paravisor (HCL report)";
pub(super) const TPM_QUOTE: &str = "the quote of a TPM (TPMS_ATTEST)";
pub(super) const TPM_SIGNATURE: &str = "the signature of a quote (TPMT_SIGNATURE)";
pub(super) const PCRS: &str = "PCR values";

/// `TPM_GENERATED_VALUE` and `TPM_ST_ATTEST_QUOTE`.
const QUOTE_BEGINS: [u8; 6] = [0xff, 0x54, 0x43, 0x47, 0x80, 0x18];
/// RSASSA, SHA-256 and a length of 256 bytes.
const SIGNATURE_BEGINS: [u8; 6] = [0x00, 0x14, 0x00, 0x0b, 0x01, 0x00];

/// By their outlines: [`crate::azure_vm`] reads what is found.
pub(super) fn recognise(bytes: &[u8]) -> Option<Content> {
    if bytes.starts_with(b"HCLA") && bytes.contains(&0) {
        return Some(Content::HclReport(bytes.to_vec()));
    }
    if bytes.starts_with(&QUOTE_BEGINS) {
        return Some(Content::TpmQuote(bytes.to_vec()));
    }
    let is_signature = bytes.starts_with(&SIGNATURE_BEGINS) && bytes.len() == 262;
    is_signature.then(|| Content::TpmSignature(bytes.to_vec()))
}

/// An array of digests, if it is one.
pub(super) fn pcrs_of(values: &[Value<'_>]) -> Option<Vec<Sha256Digest>> {
    if values.is_empty() || values.len() > usize::from(PCR_COUNT) {
        return None;
    }
    let digest = |value| Sha256Digest::from_hex(&<&str>::read(value)?.to_ascii_lowercase()).ok();
    values.iter().map(digest).collect()
}

/// Reads the report of a paravisor, for [`HclReport::read`](crate::azure_vm::HclReport::read).
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else.
pub fn read_hcl_report(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let blob = |content: Content| if let Content::HclReport(blob) = content { Some(blob) } else { None };
    Ok(find(bytes, HCL_REPORT, blob)?.unwrap_or_else(|| bytes.to_vec()))
}

/// Reads the message of a quote.
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else.
pub fn read_tpm_quote(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    let message = |content: Content| if let Content::TpmQuote(message) = content { Some(message) } else { None };
    Ok(find(bytes, TPM_QUOTE, message)?.unwrap_or_else(|| bytes.to_vec()))
}

/// Reads the signature of a quote: 256 bytes, or a `TPMT_SIGNATURE`.
///
/// # Errors
///
/// [`FileError`] for what is recognised as something else.
pub fn read_tpm_signature(bytes: &[u8]) -> Result<Vec<u8>, FileError> {
    // 256 bytes can be anything, so that nothing is looked for in them.
    if bytes.len() == 256 {
        return Ok(bytes.to_vec());
    }
    let signature = |content: Content| if let Content::TpmSignature(bytes) = content { Some(bytes) } else { None };
    Ok(find(bytes, TPM_SIGNATURE, signature)?.unwrap_or_else(|| bytes.to_vec()))
}

/// Reads the values of the PCRs that a quote selects, in ascending order of the PCRs: a JSON array of digests.
///
/// # Errors
///
/// [`FileError::NotPcrs`] for anything else.
pub fn read_pcrs(bytes: &[u8]) -> Result<Vec<Sha256Digest>, FileError> {
    match json::parse(read_text(bytes)?.as_bytes()) {
        Ok(Value::Array(values)) => pcrs_of(&values).ok_or(FileError::NotPcrs),
        _ => Err(FileError::NotPcrs),
    }
}
