//! Inspection of the evidence of confidential VMs.

use serde_json::json;

use super::{EvidenceKind, InspectError, Inspection};
use crate::azure_vm::{HclReport, HclTee, UnverifiedQuote, check_issued_by_azure};
use crate::snp::UnverifiedReport;
use crate::types::Sha256Digest;

pub(super) fn hcl_report(blob: &[u8]) -> Result<Inspection, InspectError> {
    let hcl = HclReport::read(blob)?;
    let claims = hcl.unverified_runtime_claims();
    let covered = match &claims {
        Ok(_) => "the hardware report in it covers its runtime claims".to_owned(),
        Err(error) => format!("it would be refused in any case: {error}"),
    };
    let (tee, report, needed) = match hcl.tee() {
        HclTee::SevSnp(report) => (
            "sev-snp",
            Some(UnverifiedReport::read(report)?),
            "it takes the certificate of the key that signed the report",
        ),
        HclTee::Tdx(_) => ("tdx", None, "this program does not verify reports of TDX"),
    };
    let reason = format!("the report of a paravisor alone cannot be verified: {needed}; {covered}");
    let contents = json!({
        "version": hcl.version(),
        "tee": tee,
        "report": report,
        "runtime_claims": claims.ok(),
        "runtime_claims_json": String::from_utf8_lossy(hcl.runtime_claims_json()),
    });
    Ok(Inspection::new(EvidenceKind::HclReport, Err(reason), contents))
}

pub(super) fn tpm_quote(message: &[u8]) -> Result<Inspection, InspectError> {
    let quote = UnverifiedQuote::read(message)?;
    let reason =
        "the message of a quote alone cannot be verified: it takes the signature, the PCR values and the attestation \
                  key, which runtime claims name"
            .to_owned();
    Ok(Inspection::new(EvidenceKind::TpmQuote, Err(reason), json!({ "quote": quote })))
}

pub(super) fn tpm_signature(signature: &[u8]) -> Inspection {
    let reason = "a signature alone cannot be verified: it takes the message and the attestation key".to_owned();
    let contents = json!({ "algorithm": "RSASSA with SHA-256", "signature": hex::encode(signature) });
    Inspection::new(EvidenceKind::TpmSignature, Err(reason), contents)
}

pub(super) fn pcrs(values: &[Sha256Digest]) -> Inspection {
    let reason = "PCR values have no signature: the quote that covers them says which PCRs they are of".to_owned();
    Inspection::new(EvidenceKind::PcrValues, Err(reason), json!({ "values": values }))
}

/// Whether a certificate is one of an attestation key: `None` if it does not claim to be.
pub(super) fn attestation_key_certificate(der: &[u8], uses: &[String]) -> Option<Result<String, String>> {
    const ATTESTATION_KEY_USE: &str = "2.23.133.8.3";
    if !uses.iter().any(|found| found == ATTESTATION_KEY_USE) {
        return None;
    }
    Some(match check_issued_by_azure(der) {
        Ok(()) => Ok("certifies the attestation key of a confidential VM, signed down to Azure's built-in root of virtual TPMs; \
                      dates were not looked at"
            .to_owned()),
        Err(error) => Err(format!("as the certificate of an attestation key it is refused: {error}")),
    })
}
