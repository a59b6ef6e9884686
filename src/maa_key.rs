//! Step 2b: verifies that the key that signed a token is in a confidential container, by the evidence in its certificate.
//!
//! It does not show where the key was made, nor that it is nowhere else: the key may have been moved into the container by
//! code that no evidence shows. The report is as old as the certificate, whose signature and dates say nothing, because
//! anyone who has the key can write them; so neither is checked.

use crate::crypto;
use crate::error::{AttestationError, MaaKeyError};
use crate::evidence::{Endorsements, Evidence};
use crate::maa::{KeyEvidence, KeyEvidenceError, KeySet, VerifiedToken};
use crate::policy::Policy;
use crate::snp::{self, AmdAnchors, CertificateBundle, Crl, ReportError, Revocation, Vek, VerifiedReport, VerifiedVek};
use crate::types::UnixTime;
use crate::uvm::{self, EndorsementExpectations, VerifiedEndorsement};

/// A key of MAA, and the container that holds it.
#[derive(Clone, Debug)]
pub(crate) struct AttestedMaaKey {
    pub(crate) report: VerifiedReport,
    pub(crate) endorsement: VerifiedEndorsement,
}

impl AttestedMaaKey {
    /// Verifies the evidence of the key that signed this token. The endorsements must be those that the token was verified with.
    pub(crate) fn verify(
        token: &VerifiedToken,
        endorsements: &Endorsements,
        expected: &EndorsementExpectations<'_>,
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<Self, AttestationError> {
        let keys = endorsements.key_set.as_ref();
        let evidence = keys.map_or(Err(KeyEvidenceError::NoEvidence), |keys| keys.evidence(&token.maa().key_id));
        let evidence = evidence.map_err(|error| refuse(error.into()))?;
        let report = verify_report(&evidence, endorsements, revocation, now)?;
        let endorsement = uvm::verify(&evidence.endorsement, expected);
        let endorsement = endorsement.map_err(|error| refuse(MaaKeyError::Endorsement(error)))?;
        let (endorsed, actual) = (endorsement.claims().measurement, report.snp().measurement);
        if endorsed != actual {
            return Err(refuse(MaaKeyError::OtherMeasurement { endorsed, actual }));
        }
        Ok(Self { report, endorsement })
    }
}

fn verify_report(
    evidence: &KeyEvidence,
    endorsements: &Endorsements,
    revocation: Revocation,
    now: UnixTime,
) -> Result<VerifiedReport, AttestationError> {
    let anchors = &endorsements.amd_anchors;
    let vek = verify_vek(evidence, anchors)?;
    // MAA may run on another product than the application, and then one of the two has no use for a CRL of the other.
    let product = vek.certificate().product();
    let is_of_product = |crl: &&Crl| match crl {
        Crl::Verified(crl) => crl.product() == product,
        Crl::Received(der) => vek.verify_crl(der).is_ok(),
    };
    let crls: Vec<_> = endorsements.crls.iter().filter(is_of_product).cloned().collect();
    let vek = Vek::Verified(vek);
    let report = snp::verify_with(&evidence.report, &vek, &crls, anchors, revocation, now).map_err(refuse_report)?;
    let (expected, actual) = (evidence.expected_report_data(), report.snp().report_data);
    if !crypto::constant_time_eq(expected.as_bytes(), actual.as_bytes()) {
        return Err(refuse(MaaKeyError::OtherKey { expected: evidence.key_digest, actual }));
    }
    Ok(report)
}

/// Returns the certificate whose issuer's CRL the verification of the key needs, and how strictly; `None` if the policy needs no CRL.
/// A key without evidence, or with evidence that does not verify, needs none: the verification refuses it.
#[cfg_attr(not(any(feature = "client", feature = "crypto-rust")), allow(dead_code))]
pub(crate) fn crl_needed(
    policy: &Policy,
    evidence: &Evidence,
    key_set: Option<&KeySet>,
    anchors: &AmdAnchors,
) -> Option<(VerifiedVek, Revocation)> {
    let revocation = policy.attested_maa_key()?.revocation();
    if revocation == Revocation::Off {
        return None;
    }
    let of_key = key_set?.evidence(&evidence.claimed_key_id()?).ok()?;
    Some((verify_vek(&of_key, anchors).ok()?, revocation))
}

/// Verifies the certificate of the key that signed the report.
fn verify_vek(evidence: &KeyEvidence, anchors: &AmdAnchors) -> Result<VerifiedVek, AttestationError> {
    let bundle = CertificateBundle::from_pem(&evidence.certificates);
    let bundle = bundle.map_err(|error| refuse(MaaKeyError::Certificates(error)))?;
    VerifiedVek::from_bundle(&bundle, anchors).map_err(refuse_report)
}

fn refuse(error: MaaKeyError) -> AttestationError {
    AttestationError::UnattestedMaaKey(error)
}

/// A CRL that is missing or bad is a fault of AMD's service or its mirror, as for the report of the application.
fn refuse_report(error: ReportError) -> AttestationError {
    match error {
        error @ ReportError::Crl(_) => error.into(),
        error => refuse(MaaKeyError::Report(error)),
    }
}
