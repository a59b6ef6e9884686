//! The check of the paravisor of an Azure confidential VM (CVE-2025-49707).

use super::AppraisalBuilder;
use crate::claims::SnpClaims;
use crate::error::Violation;
use crate::policy::{Kind, PARAVISOR_FLOORS, PARAVISOR_ID_KEY, ParavisorFix, Policy, UnmetFloor};

const NAME: &str = "paravisor";

/// Checks that the paravisor is one that does not let the administrator of the VM replace the attestation key.
pub(super) fn appraise(checks: &mut AppraisalBuilder, snp: &SnpClaims, policy: &Policy) {
    if policy.kind() != Kind::ConfidentialVm {
        return;
    }
    let found = format!("guest svn {} of family {}", snp.report_guest_svn, snp.family_id);
    let fix = ParavisorFix::shown_by(snp);
    let Some(floor) = UnmetFloor::of(snp) else {
        return checks.passed(NAME, "no known weakness (CVE-2025-49707)", found);
    };
    let (expected, unmet, violation) = violation(floor, snp);
    if policy.measurements().is_some() {
        // A pin is the caller's explicit decision about this one image, which the floor does not overrule; it is shown.
        return match fix {
            ParavisorFix::Unknown => checks.not_evaluated(
                NAME,
                "the policy pins the launch measurement, of a paravisor that is not known",
                found,
            ),
            _ => checks.allowed(
                NAME,
                expected,
                format!("{found}: the measurement is pinned, and its paravisor is BELOW the floor of CVE-2025-49707"),
            ),
        };
    }
    let by_policy = policy.id_keys().is_some_and(|keys| keys.contains(&snp.id_key_digest));
    let has_minimum = policy.requirements().minimum_report_guest_svn.is_some();
    // Not for a known family of the known key, nor for a key of before the fix: what is known of them is not the policy's to decide.
    if by_policy && has_minimum && fix == ParavisorFix::Unknown && floor == UnmetFloor::IdKey {
        let actual =
            format!("{found}: NOT KNOWN, the policy names its ID key {} and a minimum guest svn", snp.id_key_digest);
        return checks.allowed(NAME, expected, actual);
    }
    if policy.allowances().old_paravisor {
        let actual = format!("{unmet}: the VM's administrator may have replaced the attestation key");
        return checks.allowed(NAME, expected, actual);
    }
    checks.failed(NAME, expected, unmet, violation);
}

/// Returns what was expected, what was found, and the violation.
fn violation(unmet: UnmetFloor, snp: &SnpClaims) -> (String, String, Violation) {
    let wrong = |field: &'static str, expected: String, actual: String| {
        let violation = Violation::WrongGuestIdentity { field, expected: expected.clone(), actual: actual.clone() };
        (format!("{field} {expected}"), actual, violation)
    };
    match unmet {
        UnmetFloor::IdKey => wrong("id key", PARAVISOR_ID_KEY.to_string(), snp.id_key_digest.to_string()),
        UnmetFloor::Family => {
            let families = PARAVISOR_FLOORS.map(|floor| floor.family_id.to_string());
            wrong("family id", families.join(" or "), snp.family_id.to_string())
        }
        UnmetFloor::GuestSvn { minimum } => {
            let actual = snp.report_guest_svn;
            let violation = Violation::GuestSvnTooOld { minimum, actual };
            (format!("guest svn {minimum} or later"), actual.to_string(), violation)
        }
    }
}
