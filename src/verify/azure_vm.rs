//! Step 3 for confidential VMs: from the verified hardware report to the quote of the virtual TPM.

use super::evidence::missing;
use crate::azure_vm::{AzureVmClaims, HclReport, VerifiedAkCertificate};
use crate::error::AttestationError;
use crate::evidence::{Endorsements, Evidence};
use crate::policy::Policy;
use crate::snp::VerifiedReport;
use crate::types::UnixTime;

/// Verifies the report of the paravisor and a quote, which a policy for confidential VMs requires if it trusts AMD.
pub(super) fn verify_azure_vm_for(
    policy: &Policy,
    evidence: &Evidence,
    endorsements: &Endorsements,
    report: Option<&VerifiedReport>,
    now: UnixTime,
) -> Result<Option<AzureVmClaims>, AttestationError> {
    if !policy.needs_azure_vm_evidence() {
        return Ok(None);
    }
    if evidence.hcl_report.is_none() {
        return Err(missing("the report of the paravisor (HCL report)"));
    }
    if evidence.quote.is_none() {
        return Err(missing("a quote of the virtual TPM"));
    }
    verify_azure_vm(evidence, endorsements, report, now)
}

/// Verifies what belongs to the report of a paravisor: its runtime claims, a quote by the key that they name, and the certificate of
/// that key.
///
/// A quote or a certificate without a report of the paravisor is refused: which key it must be of is not known.
pub(super) fn verify_azure_vm(
    evidence: &Evidence,
    endorsements: &Endorsements,
    report: Option<&VerifiedReport>,
    now: UnixTime,
) -> Result<Option<AzureVmClaims>, AttestationError> {
    let Some(blob) = &evidence.hcl_report else {
        return match evidence.quote.is_some() || !evidence.ak_chain.is_empty() {
            true => Err(missing("the report of the paravisor, which names the attestation key")),
            false => Ok(None),
        };
    };
    let report = report.ok_or(missing("a hardware report"))?;
    let runtime_claims = HclReport::read(blob)?.verify_with(report)?;
    let key = &runtime_claims.attestation_key;
    let quote = evidence.quote.as_ref().map(|quote| quote.verify(key)).transpose()?;
    let ak_certificate = match evidence.ak_chain.as_slice() {
        [] => None,
        chain => Some(VerifiedAkCertificate::verify(chain, key, &endorsements.ak_anchors, now)?),
    };
    Ok(Some(AzureVmClaims::new(runtime_claims, quote, ak_certificate)))
}
