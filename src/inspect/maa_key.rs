//! The evidence of MAA about itself, in the certificates of its key set.

use serde_json::{Value, json};

use crate::maa::{KeyEvidenceError, KeySet};
use crate::snp::{AmdAnchors, CertificateBundle, UnverifiedReport, VerifiedVek};
use crate::types::ReportData;
use crate::uvm::{self, EndorsementExpectations};

/// Shows the evidence of one key. The report itself is not verified here: that takes a time and the CRL.
pub(super) fn evidence(keys: &KeySet, id: &str) -> Value {
    let evidence = match keys.evidence(id) {
        Ok(evidence) => evidence,
        Err(KeyEvidenceError::NoEvidence) => return json!({ "kid": id, "held_by": Value::Null }),
        Err(error) => return json!({ "kid": id, "held_by": Value::Null, "why": error.to_string() }),
    };
    let report = UnverifiedReport::read(&evidence.report);
    let report_data = report.as_ref().ok().and_then(|report| report.report_data.parse::<ReportData>().ok());
    let bundle = CertificateBundle::from_pem(&evidence.certificates);
    let certificate = match bundle.as_ref().map(|bundle| VerifiedVek::from_bundle(bundle, &AmdAnchors::builtin())) {
        Ok(Ok(_)) => "signed down to AMD's built-in root; dates and revocation were not looked at".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let endorsement = uvm::verify(&evidence.endorsement, &EndorsementExpectations::production());
    json!({
        "kid": id,
        "held_by": {
            "names_this_key": report_data == Some(evidence.expected_report_data()),
            "report": report.as_ref().ok(),
            "report_error": report.as_ref().err().map(ToString::to_string),
            "certificate": certificate,
            "uvm_endorsement": endorsement.as_ref().ok().map(uvm::VerifiedEndorsement::claims),
            "uvm_endorsement_error": endorsement.as_ref().err().map(ToString::to_string),
        },
    })
}
