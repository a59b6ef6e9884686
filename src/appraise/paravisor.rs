//! The check of the paravisor of an Azure confidential VM (CVE-2025-49707).

use super::AppraisalBuilder;
use crate::claims::SnpClaims;
use crate::error::Violation;
use crate::policy::{Kind, PARAVISOR_FLOORS, PARAVISOR_ID_KEY, Policy};

const NAME: &str = "paravisor";

/// Checks that the paravisor is one that does not let the administrator of the VM replace the attestation key.
pub(super) fn appraise(checks: &mut AppraisalBuilder, snp: &SnpClaims, policy: &Policy) {
    if policy.kind() != Kind::ConfidentialVm {
        return;
    }
    let found = format!("guest svn {} of family {}", snp.report_guest_svn, snp.family_id);
    if policy.measurements().is_some() {
        return checks.not_evaluated(NAME, "the policy pins the launch measurement", found);
    }
    let by_policy = policy.id_keys().is_some_and(|keys| keys.contains(&snp.id_key_digest));
    if by_policy && snp.id_key_digest != PARAVISOR_ID_KEY && policy.requirements().minimum_report_guest_svn.is_some() {
        return checks.not_evaluated(NAME, "the policy names another ID key and its minimum guest svn", found);
    }
    let (expected, found, violation) = match violation(snp) {
        None => return checks.passed(NAME, "no known weakness (CVE-2025-49707)", found),
        Some(unmet) => unmet,
    };
    if policy.allowances().old_paravisor {
        let actual = format!("{found}: the VM's administrator may have replaced the attestation key");
        return checks.allowed(NAME, expected, actual);
    }
    checks.failed(NAME, expected, found, violation);
}

/// Returns what was expected, what was found, and the violation, unless the paravisor is a known one with the fix.
fn violation(snp: &SnpClaims) -> Option<(String, String, Violation)> {
    let wrong = |field: &'static str, expected: String, actual: String| {
        let violation = Violation::WrongGuestIdentity { field, expected: expected.clone(), actual: actual.clone() };
        Some((format!("{field} {expected}"), actual, violation))
    };
    // The ID key comes first: without it the other two are the host's word.
    if snp.id_key_digest != PARAVISOR_ID_KEY {
        return wrong("id key", PARAVISOR_ID_KEY.to_string(), snp.id_key_digest.to_string());
    }
    let Some(floor) = PARAVISOR_FLOORS.iter().find(|floor| floor.family_id == snp.family_id) else {
        let families = PARAVISOR_FLOORS.map(|floor| floor.family_id.to_string());
        return wrong("family id", families.join(" or "), snp.family_id.to_string());
    };
    let (minimum, actual) = (floor.minimum_guest_svn, snp.report_guest_svn);
    (actual < minimum).then(|| {
        let violation = Violation::GuestSvnTooOld { minimum, actual };
        (format!("guest svn {minimum} or later"), actual.to_string(), violation)
    })
}
