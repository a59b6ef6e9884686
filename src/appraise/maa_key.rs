//! Checks of the container that holds the key of the MAA instance.

use super::builder::Required;
use super::{AppraisalBuilder, hardware, tcb};
use crate::error::Violation;
use crate::maa_key::AttestedMaaKey;
use crate::policy::{AdvisoryStatus, AttestedKeyRequirement, Grade, Platform, Requirement, advisories};
use crate::types::{SigningKey, any_of};

/// Checks the container that holds the key. Its report, its endorsement and that both are about the key were verified before.
pub(super) fn appraise(checks: &mut AppraisalBuilder, key: &AttestedMaaKey, required: &AttestedKeyRequirement) {
    holder(checks, key);
    signing_key(checks, key);
    let host_data = key.report.snp().host_data;
    require(
        &mut checks.of(Requirement::MaaKeyHostData),
        "maa key host data",
        required.host_data.contains(&host_data),
        any_of(&required.host_data),
        host_data.to_string(),
    );
    let (svn, minimum) = (key.endorsement.claims().svn, required.minimum_uvm_svn);
    require(
        &mut checks.of(Requirement::MaaKeyUvmSvn),
        "maa key uvm",
        svn >= minimum,
        format!("security version {minimum} or later"),
        format!("security version {svn}"),
    );
    reported_tcb(checks, key, required);
    advised_fixes(checks, key);
    hardware::revocation(
        &mut checks.of(Requirement::MaaKeyRevocation),
        "maa key revocation",
        &key.report,
        Some(required.revocation()),
    );
}

/// Checks that the container is one that neither its host nor a component at a lower privilege level can read or move.
fn holder(checks: &mut AppraisalBuilder, key: &AttestedMaaKey) {
    let (snp, hardware) = (key.report.snp(), key.report.hardware());
    let faults = [
        (snp.policy.debug, "debugging allowed"),
        (snp.policy.migrate_ma || hardware.has_migration_agent(), "migration allowed"),
        (snp.vmpl != 0, "another privilege level than 0"),
    ];
    let faults: Vec<_> = faults.into_iter().filter_map(|(found, fault)| found.then_some(fault)).collect();
    let product = key.report.product();
    let actual = if faults.is_empty() {
        format!("held by a container on {product}, as its report proves")
    } else {
        faults.join(", ")
    };
    require(
        &mut checks.of(Requirement::MaaKeyHolder),
        "maa key",
        faults.is_empty(),
        "no debugging, no migration, vmpl 0".to_owned(),
        actual,
    );
}

/// Checks that the report is signed by the key of one chip: Azure's machines have VCEKs. A VLEK is shared by many chips of a cloud
/// provider, and would let each of them prove any key.
fn signing_key(checks: &mut AppraisalBuilder, key: &AttestedMaaKey) {
    let (expected, actual) = (SigningKey::Vcek, key.report.hardware().signing_key);
    require(
        &mut checks.of(Requirement::MaaKeyHolder),
        "maa key signing key",
        actual == expected,
        expected.to_string(),
        actual.to_string(),
    );
}

fn reported_tcb(checks: &mut AppraisalBuilder, key: &AttestedMaaKey, required: &AttestedKeyRequirement) {
    const NAME: &str = "maa key tcb";
    let actual = &key.report.snp().reported_tcb;
    let Some(minima) = &required.reported_tcb else {
        return checks.not_evaluated(NAME, "no minimum in the policy", actual.to_string());
    };
    let checks = &mut checks.of(Requirement::MaaKeyReportedTcb);
    let (product, cpuid) = (Some(key.report.product()), key.report.hardware().cpuid);
    let no_minimum = |expected, actual| Violation::WrongMaaKey { field: "tcb", expected, actual };
    if let Some(minimum) = tcb::minimum_for(checks, NAME, minima, product, cpuid, no_minimum) {
        require(checks, NAME, minimum.first_unmet(actual).is_none(), minimum.to_string(), actual.to_string());
    }
}

/// Checks the fixes that AMD trust requires by default: without them reports of the processor can be forged.
fn advised_fixes(checks: &mut AppraisalBuilder, key: &AttestedMaaKey) {
    const NAME: &str = "maa key advisories";
    let platform = Platform::new(key.report.snp(), Some(key.report.hardware()));
    let (mut names, mut open, mut not_reported, mut unknown) = (Vec::new(), Vec::new(), None, false);
    for advisory in advisories::all().iter().filter(|advisory| advisory.grade == Grade::Required) {
        names.push(advisory.name);
        match advisory.status(&platform) {
            AdvisoryStatus::Fixed => {}
            AdvisoryStatus::NotFixed(_) => open.push(advisory.name),
            AdvisoryStatus::NotReported { claim } => not_reported = not_reported.or(Some(claim)),
            AdvisoryStatus::NothingKnown => unknown = true,
        }
    }
    let expected = format!("the fixes of {}", names.join(", "));
    let checks = &mut checks.of(Requirement::MaaKeyAdvisories);
    if !open.is_empty() {
        return require(checks, NAME, false, expected, format!("not fixed: {}", open.join(", ")));
    }
    match (not_reported, unknown) {
        (Some(claim), _) => checks.claim_not_reported(NAME, claim, expected),
        (None, true) => {
            checks.allowed(NAME, expected, "NOT KNOWN: no source says what shows the fix on this processor");
        }
        (None, false) => require(checks, NAME, true, expected, "fixed".to_owned()),
    }
}

fn require(checks: &mut Required<'_>, name: &'static str, holds: bool, expected: String, actual: String) {
    let field = name.strip_prefix("maa key ").unwrap_or("guest policy");
    checks.require_text(name, holds, expected, actual, |expected, actual| Violation::WrongMaaKey {
        field,
        expected,
        actual,
    });
}
