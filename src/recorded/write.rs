//! Writes collected evidence into the files that [`EvidenceFiles`] reads.

use std::collections::BTreeMap;

use super::{
    AK_CHAIN, CERTIFICATES, EvidenceFiles, HCL_REPORT, KEY_SET, PCRS, QUOTE_MESSAGE, QUOTE_SIGNATURE, REPORT,
    REVOCATION_LISTS, RUNTIME_DATA, TOKEN, UVM_ENDORSEMENT, VCEK,
};
use crate::evidence::Evidence;
use crate::snp::{certificate_pem, certificates_from_pem};
use crate::types::Sha256Digest;

/// What was collected, apart from the evidence: each document as received.
#[derive(Debug)]
pub(crate) struct CollectedDocuments<'a> {
    pub(crate) certificates: Option<&'a [u8]>,
    /// Of the report's kind of key, of the other kind, of the processor that MAA runs on.
    pub(crate) revocation_lists: [Option<&'a [u8]>; 3],
    pub(crate) key_set: Option<&'a [u8]>,
}

/// Writes evidence and endorsements into files.
pub(crate) fn files_of(evidence: &Evidence, collected: &CollectedDocuments<'_>) -> EvidenceFiles {
    let quote = evidence.quote.as_ref();
    let pem = collected.certificates.is_some_and(|bytes| certificates_from_pem(bytes).is_ok());
    let ak_chain: String = evidence.ak_chain.iter().map(|der| certificate_pem(der)).collect();
    let documents = [
        (TOKEN, evidence.token.as_deref().map(str::as_bytes)),
        (RUNTIME_DATA, evidence.runtime_data.as_deref()),
        (REPORT, evidence.report.as_deref()),
        (UVM_ENDORSEMENT, evidence.uvm_endorsement.as_deref()),
        (HCL_REPORT, evidence.hcl_report.as_deref()),
        (QUOTE_MESSAGE, quote.map(|quote| quote.message.as_slice())),
        (QUOTE_SIGNATURE, quote.map(|quote| bare_signature(&quote.signature))),
        (PCRS, None),
        (AK_CHAIN, Some(ak_chain.as_bytes()).filter(|pem| !pem.is_empty())),
        (if pem { CERTIFICATES } else { VCEK }, collected.certificates),
        (KEY_SET, collected.key_set),
    ];
    let documents = documents.into_iter().chain(REVOCATION_LISTS.into_iter().zip(collected.revocation_lists));
    let mut files: BTreeMap<_, _> = documents.filter_map(|(name, bytes)| Some((name, bytes?.to_vec()))).collect();
    if let Some(quote) = quote {
        files.insert(PCRS, pcrs_json(&quote.pcrs).into_bytes());
    }
    EvidenceFiles(files)
}

/// The 256 bytes of a quote's signature, also of one that is a `TPMT_SIGNATURE` (RSASSA with SHA-256: 6 bytes before them).
fn bare_signature(signature: &[u8]) -> &[u8] {
    const HEADER: [u8; 6] = [0x00, 0x14, 0x00, 0x0b, 0x01, 0x00];
    match signature.strip_prefix(&HEADER[..]) {
        Some(bare) if bare.len() == 256 => bare,
        _ => signature,
    }
}

/// An array of digests in hexadecimal, one a line.
fn pcrs_json(pcrs: &[Sha256Digest]) -> String {
    format!("{:#}\n", serde_json::json!(pcrs))
}
