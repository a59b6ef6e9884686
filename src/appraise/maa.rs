//! Checks of the claims that only an MAA token carries.

use std::time::Duration;

use super::AppraisalBuilder;
use crate::claims::{MaaClaims, TokenShape};
use crate::error::Violation;
use crate::policy::{COMPLIANT_CVM, Kind, Policy, Requirement};
use crate::types::{UnixTime, any_of, shorten};

/// Checks the claims that only MAA makes.
pub(super) fn appraise(checks: &mut AppraisalBuilder, maa: &MaaClaims, now: UnixTime, policy: &Policy) {
    kind_of_tee(checks, maa, policy);
    compliance(checks, maa, policy);
    policy_hash(checks, maa, policy);
    key_id(checks, maa, policy);
    age(checks, maa, now, policy);
}

/// Checks the TEE kind. It takes both the token's layout and the compliance status: a direct token of a confidential VM has
/// the layout of a container's token.
fn kind_of_tee(checks: &mut AppraisalBuilder, maa: &MaaClaims, policy: &Policy) {
    const NAME: &str = "kind of tee";
    const CONTAINER: &str = "a confidential container";
    const VM: &str = "a confidential VM";
    const GUEST: &str = "an SNP guest without MAA";
    const DIRECT: &str = "a confidential VM, attested directly";
    const TDX_VM: &str = "a confidential VM with Intel TDX";
    let actual = match (maa.shape, maa.compliance_status.as_deref()) {
        (TokenShape::AzureVm, _) => VM,
        (TokenShape::SevSnpVm, Some(COMPLIANT_CVM)) => DIRECT,
        (TokenShape::SevSnpVm, _) => CONTAINER,
        // Which kinds of TEE a VM may have is `require.tee`.
        (TokenShape::TdxVm, _) if policy.kind() == Kind::ConfidentialVm => VM,
        (TokenShape::TdxVm, _) => TDX_VM,
    };
    let expected = match policy.kind() {
        Kind::ConfidentialContainer => CONTAINER,
        Kind::ConfidentialVm => VM,
        // Its policy accepts no token.
        Kind::SnpGuest => GUEST,
    };
    if expected == VM && actual == DIRECT && policy.allowances().direct_vm_token {
        return checks.allowed(NAME, expected, actual);
    }
    checks.require(NAME, expected == actual, expected, actual, Violation::WrongTeeKind { expected, actual });
}

/// A status that the policy accepts in place of the usual one is shown as its relaxation.
fn compliance(checks: &mut AppraisalBuilder, maa: &MaaClaims, policy: &Policy) {
    const NAME: &str = "compliance";
    let own = policy.requirements().compliance_status.as_deref();
    let status = maa.compliance_status.as_deref();
    let shown = status.map(|status| shorten(status, 64));
    let text = shown.clone().unwrap_or_else(|| "none".to_owned());
    let (expected, holds) = match (own, policy.usual_compliance_status()) {
        (Some(own), usual) => {
            let accepted = own.iter().any(|accepted| Some(accepted.as_str()) == status);
            if let Some(usual) = usual.filter(|usual| accepted && status != Some(usual)) {
                let actual = format!("{text}, which require.compliance-status accepts");
                return checks.of(Requirement::ComplianceStatus).allowed(NAME, usual, actual);
            }
            (any_of(own), accepted)
        }
        (None, Some(usual)) => (usual.to_owned(), status == Some(usual)),
        (None, None) => {
            return checks.not_evaluated(NAME, "the policy pins the launch measurement instead", text);
        }
    };
    let checks = &mut checks.of(Requirement::ComplianceStatus);
    checks.require_text(NAME, holds, expected, text, |expected, _| Violation::NonCompliantUvm {
        expected,
        status: shown,
    });
}

fn policy_hash(checks: &mut AppraisalBuilder, maa: &MaaClaims, policy: &Policy) {
    const NAME: &str = "maa policy hash";
    let actual = maa.policy_hash;
    match policy.maa().and_then(|trust| trust.policy_hash) {
        Some(expected) => {
            let checks = &mut checks.of(Requirement::MaaPolicyHash);
            checks.require(
                NAME,
                expected == actual,
                expected.to_string(),
                actual.to_string(),
                Violation::WrongMaaPolicy { expected, actual },
            );
        }
        None if maa.issuer.is_shared() => {
            let reason = "not pinned; a shared instance applies Microsoft's default policy";
            checks.not_evaluated(NAME, reason, actual.to_string());
        }
        None => {
            let any = format!("ANY: the owner of the instance decides what is compliant, here by {actual}");
            checks.allowed(NAME, "pinned", any);
        }
    }
}

/// Records the pinned key, which the verification of the token has already checked.
fn key_id(checks: &mut AppraisalBuilder, maa: &MaaClaims, policy: &Policy) {
    let Some(expected) = policy.maa().and_then(|trust| trust.key_id.as_ref()) else { return };
    let shown = shorten(&maa.key_id, 64);
    let checks = &mut checks.of(Requirement::MaaKeyId);
    let violation = Violation::NotReported { claim: "maa key id" };
    checks.require("maa key id", *expected == maa.key_id, shorten(expected, 64), shown, violation);
}

fn age(checks: &mut AppraisalBuilder, maa: &MaaClaims, now: UnixTime, policy: &Policy) {
    let Some(maximum) = policy.requirements().max_token_age_seconds else { return };
    let age = now.as_secs().saturating_sub(maa.issued_at.as_secs());
    let expected = format!("at most {maximum} s");
    let violation = Violation::TokenTooOld { maximum: Duration::from_secs(maximum), actual: Duration::from_secs(age) };
    let checks = &mut checks.of(Requirement::MaxTokenAge);
    checks.require("token age", age <= maximum, expected, format!("{age} s"), violation);
}
