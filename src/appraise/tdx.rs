//! Checks of a guest of Intel TDX, and of the kind of TEE.

use super::AppraisalBuilder;
use crate::claims::{TdxClaims, TeeClaims};
use crate::error::Violation;
use crate::policy::{Kind, Policy, Requirement, UP_TO_DATE};
use crate::types::{TeeKind, any_of, shorten};

/// Checks that the policy accepts the kind of TEE. TDX is accepted only where the policy names it.
pub(super) fn kind_of_tee(checks: &mut AppraisalBuilder, tee: &TeeClaims, policy: &Policy) {
    const NAME: &str = "tee";
    let (accepted, actual) = (policy.accepted_tees(), tee.kind());
    if policy.requirements().tee.is_none() && actual == TeeKind::Snp {
        return;
    }
    let expected = match accepted {
        [TeeKind::Tdx] => TeeKind::Tdx.as_str(),
        [_, _, ..] => "SEV-SNP or Intel TDX",
        _ => TeeKind::Snp.as_str(),
    };
    let actual_name = actual.as_str();
    checks.of(Requirement::Tee).require(
        NAME,
        accepted.contains(&actual),
        expected,
        actual_name,
        Violation::WrongTeeKind { expected, actual: actual_name },
    );
}

/// Checks a TDX guest.
pub(super) fn appraise(checks: &mut AppraisalBuilder, tdx: &TdxClaims, policy: &Policy) {
    let found = format!("mrtd {}", tdx.mrtd);
    if policy.kind() == Kind::ConfidentialVm {
        let reason = "Azure CVM: the evidence does not show which operating system or application runs";
        checks.not_evaluated("workload", reason, found);
    }
    isolation(checks, tdx, policy);
    mrtd(checks, tdx, policy);
    module(checks, tdx);
    tcb_status(checks, tdx, policy);
    paravisor(checks, tdx, policy);
    for requirement in policy.given_for(TeeKind::Tdx).into_iter().filter(|one| one.is_of_snp()) {
        checks.of(requirement).not_reported(requirement.field(), "evidence of SEV-SNP");
    }
}

/// Refuses an SNP guest where the policy requires what only evidence of TDX carries.
pub(super) fn refuse_absent(checks: &mut AppraisalBuilder, policy: &Policy) {
    for requirement in policy.given_for(TeeKind::Snp).into_iter().filter(|one| one.is_of_tdx()) {
        checks.of(requirement).not_reported(requirement.field(), "evidence of Intel TDX");
    }
}

/// Checks that nothing can look into the TD or move it.
fn isolation(checks: &mut AppraisalBuilder, tdx: &TdxClaims, policy: &Policy) {
    let allow = policy.allowances();
    checks.require_off(
        "debug",
        tdx.attributes.is_under_debug() || tdx.debug_enabled,
        allow.debug,
        "the host can look into the guest",
        Violation::DebugMode,
    );
    checks.require_off(
        "migration",
        tdx.attributes.is_migratable(),
        allow.migration,
        "a migration TD can move the guest",
        Violation::MigrationAllowed,
    );
    attributes(checks, tdx);
}

/// Checks that the host cannot inject exceptions (`SEPT_VE_DISABLE`), and that no attribute is set that may affect the security of the
/// TD and whose meaning is not known here.
fn attributes(checks: &mut AppraisalBuilder, tdx: &TdxClaims) {
    const NAME: &str = "td attributes";
    let unknown = tdx.attributes.unknown_security_bits();
    let disables_ve = tdx.attributes.disables_sept_ve();
    let expected = "SEPT_VE_DISABLE, and no unknown bit that may affect security (8 to 31)".to_owned();
    let mut actual = format!("{:#018x}", tdx.attributes.bits());
    if !disables_ve {
        actual.push_str(", without SEPT_VE_DISABLE");
    }
    if unknown != 0 {
        actual.push_str(&format!(", of which {unknown:#010x} are unknown"));
    }
    checks.require_text(NAME, disables_ve && unknown == 0, expected, actual, |expected, actual| {
        Violation::WrongGuestIdentity { field: NAME, expected, actual }
    });
}

/// Checks the launch measurement, which is that of paravisor and firmware.
fn mrtd(checks: &mut AppraisalBuilder, tdx: &TdxClaims, policy: &Policy) {
    const NAME: &str = "mrtd";
    let actual = tdx.mrtd;
    let Some(expected) = policy.guest().and_then(|guest| guest.mrtd.clone()) else {
        return checks.allowed(NAME, "a known one", format!("ANY Azure CVM: {actual}"));
    };
    checks.of(Requirement::Mrtd).require(
        NAME,
        expected.contains(&actual),
        any_of(&expected),
        actual.to_string(),
        Violation::WrongMeasurement { expected, actual },
    );
}

/// Checks that the TDX module is a production module that Intel signed (Intel TDX module ABI: both fields are zero then).
fn module(checks: &mut AppraisalBuilder, tdx: &TdxClaims) {
    const NAME: &str = "tdx module";
    let expected = "signed by Intel, without attributes".to_owned();
    let holds = tdx.mrsignerseam.is_zero() && tdx.seam_attributes == 0;
    let actual = if holds {
        format!("signed by Intel, version {}", tdx.seamsvn)
    } else {
        format!("signer {}, attributes {:#018x}", tdx.mrsignerseam, tdx.seam_attributes)
    };
    checks.require_text(NAME, holds, expected, actual, |expected, actual| Violation::WrongGuestIdentity {
        field: NAME,
        expected,
        actual,
    });
}

/// Checks Intel's verdict on the TCB, as MAA found it.
fn tcb_status(checks: &mut AppraisalBuilder, tdx: &TdxClaims, policy: &Policy) {
    const NAME: &str = "tcb status";
    let actual = shorten(&tdx.tcb_status, 64);
    let own = policy.requirements().tcb_status.as_deref();
    let accepted = own.map_or(tdx.tcb_status == UP_TO_DATE, |own| own.contains(&tdx.tcb_status));
    let checks = &mut checks.of(Requirement::TcbStatus);
    if accepted && tdx.tcb_status != UP_TO_DATE {
        return checks.allowed(NAME, UP_TO_DATE, format!("{actual}, which require.tcb-status accepts"));
    }
    let expected = own.map_or_else(|| UP_TO_DATE.to_owned(), any_of);
    checks.require_text(NAME, accepted, expected, actual, |expected, actual| Violation::WrongTcbStatus {
        expected,
        actual,
    });
}

/// Records what a token of TDX shows of the paravisor: nothing but the launch measurement.
fn paravisor(checks: &mut AppraisalBuilder, tdx: &TdxClaims, policy: &Policy) {
    let reason = match policy.guest().and_then(|guest| guest.mrtd.as_ref()) {
        Some(_) => "the policy pins the launch measurement",
        None => "a token of TDX states no version of the paravisor; pin guest.mrtd",
    };
    checks.not_evaluated("paravisor", reason, format!("mrtd {}", tdx.mrtd));
}
