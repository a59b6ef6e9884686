//! Checks of TCB versions.

use super::AppraisalBuilder;
use super::builder::Required;
use crate::claims::{Cpuid, HardwareClaims, SnpClaims};
use crate::error::Violation;
use crate::policy::{Policy, Requirement, TcbMinima, TcbMinimum};
use crate::types::{Product, Tcb};

/// Checks `REPORTED_TCB`, which all evidence carries. Only a report names the processor.
pub(super) fn reported(
    checks: &mut AppraisalBuilder,
    snp: &SnpClaims,
    hardware: Option<&HardwareClaims>,
    policy: &Policy,
) {
    let reported = Subject {
        requirement: Requirement::ReportedTcb,
        tcb: "reported",
        name: "reported tcb",
        actual: &snp.reported_tcb,
        product: snp.product,
        cpuid: hardware.and_then(|hardware| hardware.cpuid),
    };
    at_least(checks, reported, policy.requirements().reported_tcb.as_ref());
}

/// Checks the TCBs that only a report carries.
pub(super) fn of_hardware(checks: &mut AppraisalBuilder, hardware: &HardwareClaims, product: Product, policy: &Policy) {
    let require = policy.requirements();
    for (requirement, tcb, name, actual, minima) in [
        (Requirement::CommittedTcb, "committed", "committed tcb", &hardware.committed_tcb, &require.committed_tcb),
        (Requirement::CurrentTcb, "current", "current tcb", &hardware.current_tcb, &require.current_tcb),
        (Requirement::LaunchTcb, "launch", "launch tcb", &hardware.launch_tcb, &require.launch_tcb),
    ] {
        let subject = Subject { requirement, tcb, name, actual, product: Some(product), cpuid: hardware.cpuid };
        at_least(checks, subject, minima.as_ref());
    }
}

/// One TCB of the evidence, its processor, and the name of its check.
#[derive(Clone, Copy)]
struct Subject<'a> {
    requirement: Requirement,
    tcb: &'static str,
    name: &'static str,
    actual: &'a Tcb,
    product: Option<Product>,
    cpuid: Option<Cpuid>,
}

/// Checks a TCB against the minimum for its processor.
fn at_least(checks: &mut AppraisalBuilder, subject: Subject<'_>, minima: Option<&TcbMinima>) {
    let Subject { requirement, tcb, name, actual, product, cpuid } = subject;
    let Some(minima) = minima else {
        return checks.not_evaluated(name, "no minimum in the policy", actual.to_string());
    };
    let checks = &mut checks.of(requirement);
    let no_minimum = |expected, actual| Violation::WrongChip { field: "product", expected, actual };
    let Some(minimum) = minimum_for(checks, name, minima, product, cpuid, no_minimum) else { return };
    match minimum.first_unmet(actual) {
        None => checks.passed(name, minimum.to_string(), actual.to_string()),
        Some((part, least, found)) => {
            checks.failed(
                name,
                minimum.to_string(),
                actual.to_string(),
                Violation::TcbTooOld { tcb, part, minimum: least, actual: found, advisory: None },
            );
        }
    }
}

/// Returns the minimum for a processor, or records the failure of the check: for a product without a minimum with the violation that
/// `no_minimum` makes of what was expected and found.
pub(super) fn minimum_for(
    checks: &mut Required<'_>,
    name: &'static str,
    minima: &TcbMinima,
    product: Option<Product>,
    cpuid: Option<Cpuid>,
    no_minimum: impl FnOnce(String, String) -> Violation,
) -> Option<TcbMinimum> {
    const EXPECTED: &str = "a product that the policy has a minimum for";
    match (minima.for_processor(product, cpuid), product) {
        (Ok(Some(minimum)), _) => return Some(minimum),
        (Ok(None), Some(product)) => {
            checks.require_text(name, false, EXPECTED.to_owned(), product.to_string(), no_minimum);
        }
        (Ok(None), None) => checks.claim_not_reported(name, "product", EXPECTED),
        (Err(claim), _) => checks.claim_not_reported(name, claim, EXPECTED),
    }
    None
}
