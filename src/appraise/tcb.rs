use super::Recorder;
use crate::appraisal::Appraisal;
use crate::claims::{HardwareClaims, SnpClaims};
use crate::error::AttestationError;
use crate::policy::{Policy, Requirement, TcbMinima, advisories};
use crate::types::{Product, Tcb};

/// The TCB that every evidence carries.
pub(super) fn reported(checks: &mut Recorder, snp: &SnpClaims, policy: &Policy) {
    let minima = policy.requirements().reported_tcb.as_ref();
    let which = Which { requirement: Requirement::ReportedTcb, tcb: "reported", name: "reported tcb" };
    tcb(checks, which, &snp.reported_tcb, snp.product, minima);
}

/// The TCBs that only a report carries.
pub(super) fn of_hardware(checks: &mut Recorder, hardware: &HardwareClaims, product: Product, policy: &Policy) {
    let require = policy.requirements();
    for (requirement, tcb_name, name, actual, minima) in [
        (Requirement::CommittedTcb, "committed", "committed tcb", &hardware.committed_tcb, &require.committed_tcb),
        (Requirement::CurrentTcb, "current", "current tcb", &hardware.current_tcb, &require.current_tcb),
        (Requirement::LaunchTcb, "launch", "launch tcb", &hardware.launch_tcb, &require.launch_tcb),
    ] {
        let which = Which { requirement, tcb: tcb_name, name };
        tcb(checks, which, actual, Some(product), minima.as_ref());
    }
}

/// Which TCB of the report, and what its check is called.
#[derive(Clone, Copy)]
struct Which {
    requirement: Requirement,
    tcb: &'static str,
    name: &'static str,
}

/// The floors of AMD's advisories.
pub(super) fn floors(checks: &mut Recorder, reported: &Tcb, product: Product, policy: &Policy) {
    for advisory in advisories().iter().filter(|advisory| advisory.product == product) {
        let name = advisory.name;
        let floor = advisory.floor.to_string();
        match advisory.floor.first_unmet(reported) {
            None => checks.passed(name, floor, reported.to_string()),
            Some(_) if policy.waives(name) => {
                checks.allowed(name, floor, format!("BELOW: {reported}; {}", advisory.about));
            }
            Some(unmet) => {
                checks.failed(name, floor, reported.to_string(), too_old("reported", unmet, Some(name)));
            }
        }
    }
}

/// One TCB against the minimum for the product.
fn tcb(checks: &mut Recorder, which: Which, actual: &Tcb, product: Option<Product>, minima: Option<&TcbMinima>) {
    let Which { requirement, tcb, name } = which;
    let Some(minima) = minima else {
        return checks.not_evaluated(name, "no minimum in the policy", actual.to_string());
    };
    let checks = &mut checks.of(requirement);
    let expected = "a product that the policy has a minimum for";
    let minimum = match (minima.for_product(product), product) {
        (Some(minimum), _) => minimum,
        (None, None) => return checks.claim_not_reported(name, "product", expected),
        (None, Some(product)) => {
            return checks.failed(name, expected, product.to_string(), move |appraisal| AttestationError::WrongChip {
                field: "product",
                expected: expected.to_owned(),
                actual: product.to_string(),
                appraisal,
            });
        }
    };
    match minimum.first_unmet(actual) {
        None => checks.passed(name, minimum.to_string(), actual.to_string()),
        Some(unmet) => checks.failed(name, minimum.to_string(), actual.to_string(), too_old(tcb, unmet, None)),
    }
}

fn too_old(
    tcb: &'static str,
    (part, minimum, actual): (&'static str, u8, Option<u8>),
    advisory: Option<&'static str>,
) -> impl FnOnce(Appraisal) -> AttestationError + 'static {
    move |appraisal| {
        let advisory = advisory.map(str::to_owned);
        AttestationError::TcbTooOld { tcb, part, minimum, actual, advisory, appraisal }
    }
}
