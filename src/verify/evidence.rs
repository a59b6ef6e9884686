//! Steps 2 and 3 of the pipeline: verifies the signatures and certificates of the evidence that a policy needs, each down to its root,
//! and that all of it is about the same TEE.

use super::azure_vm;
use crate::cross_check::ConsistentEvidence;
use crate::error::AttestationError;
use crate::evidence::{Endorsements, Evidence, KeySetSource};
use crate::maa::{self, TokenExpectations, VerifiedToken};
use crate::maa_key::AttestedMaaKey;
use crate::policy::Policy;
use crate::snp::{self, CertificateBundle, Revocation, Vek, VerifiedReport};
use crate::types::UnixTime;
use crate::uvm::{self, EndorsementExpectations, VerifiedEndorsement};

/// Verifies the evidence that a policy needs, and the evidence of the key that signed its token.
pub(super) fn verify_evidence_for(
    policy: &Policy,
    evidence: &Evidence,
    endorsements: &Endorsements,
    now: UnixTime,
) -> Result<(ConsistentEvidence, Option<AttestedMaaKey>), AttestationError> {
    // Step 2: the token, down to the key set of the MAA instance.
    let token = verify_token_for(policy, evidence, endorsements, now)?;
    let maa_key = verify_maa_key_for(policy, token.as_ref(), endorsements, now)?;
    // Step 3: the report, down to AMD's root; the endorsement of the utility VM, down to its issuer; and of a confidential VM, the
    // report of the paravisor and the quote of the virtual TPM, down to that report.
    let report = verify_report_for(policy, evidence, endorsements, now)?;
    let endorsement = verify_endorsement_for(policy, evidence)?;
    let vm = azure_vm::verify_azure_vm_for(policy, evidence, endorsements, report.as_ref(), now)?;
    let tee = ConsistentEvidence::new(token, report, endorsement)?.with_vm(vm)?;
    Ok((tee, maa_key))
}

/// Verifies the token, if the policy trusts MAA.
fn verify_token_for(
    policy: &Policy,
    evidence: &Evidence,
    endorsements: &Endorsements,
    now: UnixTime,
) -> Result<Option<VerifiedToken>, AttestationError> {
    let Some(trust) = policy.maa() else { return Ok(None) };
    let mut expected = TokenExpectations::new(&trust.issuer);
    if let Some(key_id) = &trust.key_id {
        expected = expected.key_id(key_id);
    }
    verify_token(evidence, endorsements, &expected, now).map(Some)
}

pub(super) fn verify_token(
    evidence: &Evidence,
    endorsements: &Endorsements,
    expected: &TokenExpectations<'_>,
    now: UnixTime,
) -> Result<VerifiedToken, AttestationError> {
    let token = evidence.token.as_deref().ok_or(missing("an MAA token"))?;
    let keys = endorsements.key_set.as_ref().ok_or(missing("the key set of the MAA instance"))?;
    let verified = maa::verify(token, keys, expected, now)?;
    // After the verification, so that forgeries are reported as such. Only the key set says whose key signed the token.
    if endorsements.key_set_source == KeySetSource::BesideEvidence && !expected.pins_key_by_digest() {
        return Err(AttestationError::KeySetNotAuthenticated { issuer: expected.issuer().clone() });
    }
    Ok(verified)
}

/// Verifies the evidence of the key that signed the token, if the policy requires it.
fn verify_maa_key_for(
    policy: &Policy,
    token: Option<&VerifiedToken>,
    endorsements: &Endorsements,
    now: UnixTime,
) -> Result<Option<AttestedMaaKey>, AttestationError> {
    let (Some(token), Some(required)) = (token, policy.attested_maa_key()) else { return Ok(None) };
    let expected = EndorsementExpectations::new(required.uvm_issuer(), uvm::PRODUCTION_FEED);
    AttestedMaaKey::verify(token, endorsements, &expected, required.revocation(), now).map(Some)
}

/// Verifies the report, if the policy trusts AMD.
fn verify_report_for(
    policy: &Policy,
    evidence: &Evidence,
    endorsements: &Endorsements,
    now: UnixTime,
) -> Result<Option<VerifiedReport>, AttestationError> {
    let Some(trust) = policy.amd() else { return Ok(None) };
    let report =
        if policy.needs_azure_vm_evidence() { evidence.hardware_report()? } else { evidence.report.as_deref() };
    let report = report.ok_or(missing("a hardware report"))?;
    verify_report(report, evidence, endorsements, trust.revocation(), now).map(Some)
}

pub(super) fn verify_report(
    report: &[u8],
    evidence: &Evidence,
    endorsements: &Endorsements,
    revocation: Revocation,
    now: UnixTime,
) -> Result<VerifiedReport, AttestationError> {
    let provided;
    let vek = match (&endorsements.vek, &evidence.certificates) {
        (Some(vek), _) => vek,
        (None, Some(pem)) => {
            provided = read_provided_certificates(pem)?;
            &provided
        }
        (None, None) => return Err(missing("the certificate of the key that signed the report")),
    };
    Ok(snp::verify_with(report, vek, &endorsements.crls, &endorsements.amd_anchors, revocation, now)?)
}

fn read_provided_certificates(pem: &[u8]) -> Result<Vek, AttestationError> {
    let bundle = CertificateBundle::from_pem(pem).map_err(|error| {
        let reason = format!("expected certificates as PEM with the report: {error}");
        AttestationError::InvalidAgentAnswer { reason }
    })?;
    Ok(Vek::Bundle(bundle))
}

pub(super) const fn missing(what: &'static str) -> AttestationError {
    AttestationError::MissingEvidence { what }
}

/// Verifies the endorsement document, if the policy trusts AMD. Under MAA trust alone MAA has verified it, and its claims say so.
fn verify_endorsement_for(
    policy: &Policy,
    evidence: &Evidence,
) -> Result<Option<VerifiedEndorsement>, AttestationError> {
    let (Some(_), Some(uvm)) = (policy.amd(), policy.uvm()) else { return Ok(None) };
    let document = evidence.uvm_endorsement.as_deref();
    let document = document.ok_or(missing("the endorsement of the utility VM"))?;
    let expected = EndorsementExpectations::new(uvm.issuer(), uvm.feed());
    Ok(Some(uvm::verify(document, &expected)?))
}
