//! Checks of the workload: host data, launch measurement and utility VM.

use super::{AppraisalBuilder, azure_vm};
use crate::azure_vm::AzureVmClaims;
use crate::claims::{SnpClaims, UvmClaims};
use crate::error::Violation;
use crate::policy::{Kind, Policy, Requirement};
use crate::types::{any_of, shorten};

/// Checks the application by the digest of its CCE policy.
///
/// A confidential VM has no digest of an application: its PCRs show what was started, if the policy pins them.
pub(super) fn host_data(checks: &mut AppraisalBuilder, snp: &SnpClaims, vm: Option<&AzureVmClaims>, policy: &Policy) {
    let actual = snp.host_data;
    let Some(workload) = policy.workload() else {
        let reason = match policy.kind() {
            Kind::SnpGuest => "SNP guest: the report shows the measured firmware, and no digest of an application",
            _ => match azure_vm::proven_system(vm, snp, policy) {
                Ok(pcrs) => {
                    // Not the root file system: whether the initial file system verifies it is the image's matter.
                    let system = format!("boot chain up to the initial file system, by PCR {pcrs}");
                    return checks.passed("workload", system.clone(), system);
                }
                Err(reason) => reason,
            },
        };
        return checks.not_evaluated("workload", reason, format!("host data {actual}"));
    };
    let expected = workload.host_data.clone();
    checks.of(Requirement::HostData).require(
        "workload",
        expected.contains(&actual),
        format!("host data {}", any_of(&expected)),
        format!("host data {actual}"),
        Violation::InvalidEnclaveCode { expected, actual },
    );
    if workload.allow_permissive && actual.is_known_allow_all() {
        checks.allowed("cce policy", "not an allow-all policy", "ALLOWS ALL: the host can run any code in the TEE");
    }
}

/// Checks the launch measurement: of the utility VM, or of the paravisor of a confidential VM.
pub(super) fn measurement(checks: &mut AppraisalBuilder, snp: &SnpClaims, policy: &Policy) {
    const NAME: &str = "launch measurement";
    let actual = snp.measurement;
    if let Some(expected) = policy.measurements() {
        let expected = expected.to_vec();
        return checks.of(Requirement::Measurements).require(
            NAME,
            expected.contains(&actual),
            any_of(&expected),
            actual.to_string(),
            Violation::WrongMeasurement { expected, actual },
        );
    }
    if policy.guest().is_some_and(|guest| guest.id_keys.is_none()) {
        checks.allowed(NAME, "a known one", format!("ANY Azure CVM: {actual}"));
    } else if policy.uvm().is_some() {
        checks.not_evaluated(NAME, "no reference value: the endorsement vouches for it", actual.to_string());
    } else {
        checks.not_evaluated(NAME, "no reference value: the ID key vouches for it", actual.to_string());
    }
}

/// Checks the utility VM by its endorsement.
pub(super) fn uvm(checks: &mut AppraisalBuilder, endorsed: Option<&UvmClaims>, policy: &Policy) {
    const NAME: &str = "uvm endorsement";
    let Some(required) = policy.uvm() else {
        let reason = match policy.kind() {
            Kind::ConfidentialContainer => "the policy pins the launch measurement instead",
            Kind::ConfidentialVm => "a confidential VM has no utility VM",
            Kind::SnpGuest => "an SNP guest has no utility VM",
        };
        return checks.not_evaluated(NAME, reason, "any");
    };
    let minimum = required.minimum_svn;
    let expected = format!("security version {minimum} or later");
    let Some(endorsed) = endorsed else {
        let all = [Requirement::UvmIssuer, Requirement::UvmFeed, Requirement::UvmMinimumSvn];
        return checks.of_each(all).not_reported(NAME, expected);
    };
    for (requirement, name, field, expected, actual) in [
        (Requirement::UvmIssuer, "uvm issuer", "issuer", required.issuer(), endorsed.issuer.as_str()),
        (Requirement::UvmFeed, "uvm feed", "feed", required.feed(), endorsed.feed.as_str()),
    ] {
        let checks = &mut checks.of(requirement);
        let holds = expected == actual;
        checks.require_text(name, holds, expected.to_owned(), shorten(actual, 200), |expected, actual| {
            Violation::WrongUvm { field, expected, actual }
        });
    }
    let actual = endorsed.svn;
    let checks = &mut checks.of(Requirement::UvmMinimumSvn);
    checks.require(
        NAME,
        actual >= minimum,
        expected,
        format!("security version {actual}"),
        Violation::UvmTooOld { minimum, actual },
    );
}
