//! How long an attestation is valid: until its evidence ends, and no longer than the policy's session age.

use crate::azure_vm::VerifiedAkCertificate;
use crate::cross_check::ConsistentEvidence;
use crate::error::AttestationError;
use crate::maa_key::AttestedMaaKey;
use crate::policy::Policy;
use crate::snp::VerifiedReport;
use crate::types::UnixTime;

/// The longest lifetime of an attestation in seconds, unless the policy sets another.
const DEFAULT_SESSION_AGE_SECONDS: u64 = 60 * 60;

/// Returns when an attestation ends: with its evidence, and when the policy's session age has passed since the challenge. The evidence
/// says nothing of what the peer did after it responded, however late it is verified.
///
/// # Errors
///
/// [`AttestationError::AttestationExpired`] if that age has passed already.
pub(super) fn of_attestation(
    policy: &Policy,
    tee: &ConsistentEvidence,
    maa_key: Option<&AttestedMaaKey>,
    challenged_at: UnixTime,
    now: UnixTime,
) -> Result<UnixTime, AttestationError> {
    let age = policy.requirements().max_session_age_seconds.unwrap_or(DEFAULT_SESSION_AGE_SECONDS);
    // A clock that was set back in between extends nothing.
    let end = challenged_at.min(now).plus(age);
    if end <= now {
        return Err(AttestationError::AttestationExpired);
    }
    Ok(end.min(of_evidence(tee, maa_key)))
}

/// Returns the earliest expiry of the evidence and its endorsements.
pub(super) fn of_evidence(tee: &ConsistentEvidence, maa_key: Option<&AttestedMaaKey>) -> UnixTime {
    let token = tee.token.as_ref().map(|token| token.maa().expires_at);
    let report = tee.report.as_ref().map(VerifiedReport::expires_at);
    let maa_key = maa_key.map(|key| key.report.expires_at());
    let ak_certificate = tee.vm.as_ref().and_then(|vm| vm.ak_certificate.as_ref());
    let ak_certificate = ak_certificate.map(VerifiedAkCertificate::expires_at);
    [token, report, maa_key, ak_certificate].into_iter().flatten().fold(UnixTime::from_secs(u64::MAX), UnixTime::min)
}
