use super::Recorder;
use crate::claims::{HardwareClaims, SnpClaims};
use crate::error::AttestationError;
use crate::policy::{Policy, TcbMinima, TcbMinimum, advisories};
use crate::types::{Product, Tcb};

/// The TCB that every evidence carries.
pub(super) fn reported(checks: &mut Recorder, snp: &SnpClaims, policy: &Policy) {
    let minima = policy.requirements().reported_tcb.as_ref();
    tcb(checks, ("reported", "reported tcb"), &snp.reported_tcb, snp.product, minima);
}

/// The TCBs that only a report carries.
pub(super) fn of_hardware(checks: &mut Recorder, hardware: &HardwareClaims, product: Product, policy: &Policy) {
    let require = policy.requirements();
    for (names, actual, minima) in [
        (("committed", "committed tcb"), &hardware.committed_tcb, &require.committed_tcb),
        (("current", "current tcb"), &hardware.current_tcb, &require.current_tcb),
        (("launch", "launch tcb"), &hardware.launch_tcb, &require.launch_tcb),
    ] {
        tcb(checks, names, actual, Some(product), minima.as_ref());
    }
}

/// The floors of AMD's advisories.
pub(super) fn floors(checks: &mut Recorder, reported: &Tcb, product: Product, policy: &Policy) {
    for advisory in advisories().iter().filter(|advisory| advisory.product == product) {
        let name = advisory.name;
        if advisory.floor.first_unmet(reported).is_some() && policy.waives(name) {
            checks.allowed(name, advisory.floor.to_string(), format!("BELOW: {reported}; {}", advisory.about));
        } else {
            at_least(checks, ("reported", name), reported, &advisory.floor, Some(name));
        }
    }
}

/// One TCB against the minimum for the product.
fn tcb(
    checks: &mut Recorder,
    (tcb, name): (&'static str, &'static str),
    actual: &Tcb,
    product: Option<Product>,
    minima: Option<&TcbMinima>,
) {
    let Some(minima) = minima else {
        return checks.not_evaluated(name, "no minimum in the policy", actual.to_string());
    };
    match (minima.for_product(product), product) {
        (Some(minimum), _) => at_least(checks, (tcb, name), actual, &minimum, None),
        (None, None) => checks.claim_not_reported(name, "product", "a product that the policy has a minimum for"),
        (None, Some(product)) => {
            let expected = "a product that the policy has a minimum for";
            checks.failed(name, expected, product.to_string(), move |appraisal| AttestationError::WrongChip {
                field: "product",
                expected: expected.to_owned(),
                actual: product.to_string(),
                appraisal,
            });
        }
    }
}

fn at_least(
    checks: &mut Recorder,
    (tcb, name): (&'static str, &'static str),
    actual: &Tcb,
    minimum: &TcbMinimum,
    advisory: Option<&'static str>,
) {
    let expected = minimum.to_string();
    let Some((part, minimum, found)) = minimum.first_unmet(actual) else {
        return checks.passed(name, expected, actual.to_string());
    };
    checks.failed(name, expected, actual.to_string(), move |appraisal| AttestationError::TcbTooOld {
        tcb,
        part,
        minimum,
        actual: found,
        advisory: advisory.map(str::to_owned),
        appraisal,
    });
}
