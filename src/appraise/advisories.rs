//! Checks of AMD's advisories: which fixes the evidence shows.

use super::AppraisalBuilder;
use crate::claims::{HardwareClaims, SnpClaims};
use crate::error::Violation;
use crate::policy::{
    Advisory, AdvisoryStatus, BitRequirement, Platform, Policy, RequiredBy, Requirement, Unmet, advisories,
};

/// Checks all advisories against a report; against a token, which lacks most of the values, only those that the policy requires.
pub(super) fn appraise(
    checks: &mut AppraisalBuilder,
    snp: &SnpClaims,
    hardware: Option<&HardwareClaims>,
    policy: &Policy,
) {
    let platform = Platform::new(snp, hardware);
    if let Some(day) = policy.requirements().advisories_until.as_deref().filter(|day| *day > Advisory::AS_OF) {
        let known = format!("NOT KNOWN after {}, the day of the table of this release", Advisory::AS_OF);
        checks.allowed("advisories", format!("the fixes of all advisories until {day}"), known);
    }
    for advisory in advisories::all() {
        match policy.requires_advisory(advisory) {
            Some(by) => required(checks, advisory, advisory.status(&platform), by, &platform),
            None if hardware.is_some() => advice(checks, advisory, advisory.status(&platform), &platform),
            None => {}
        }
    }
}

fn required(
    checks: &mut AppraisalBuilder,
    advisory: &Advisory,
    status: AdvisoryStatus,
    by: RequiredBy,
    platform: &Platform<'_>,
) {
    let (name, expected) = (advisory.name, expected(advisory));
    let checks = &mut checks.of(Requirement::Advisory(name));
    match (status, by) {
        (AdvisoryStatus::Fixed, _) => checks.passed(name, expected, advisory.shown_by(platform)),
        (AdvisoryStatus::NotFixed(unmet), _) => {
            checks.failed(name, unmet.to_string(), unmet.found(platform), violation(name, unmet));
        }
        (AdvisoryStatus::NotReported { claim }, _) => checks.claim_not_reported(name, claim, expected),
        (AdvisoryStatus::NothingKnown, RequiredBy::Name) => {
            checks.claim_not_reported(name, "a fix for this processor", expected);
        }
        // AMD trust and a date require only those fixes that this release can see on the processor.
        (AdvisoryStatus::NothingKnown, RequiredBy::Day | RequiredBy::Trust) => {
            checks.allowed(name, expected, "NOT KNOWN: no source says what shows the fix on this processor");
        }
    }
}

fn advice(checks: &mut AppraisalBuilder, advisory: &Advisory, status: AdvisoryStatus, platform: &Platform<'_>) {
    let (name, expected) = (advisory.name, expected(advisory));
    match status {
        AdvisoryStatus::Fixed => checks.passed(name, expected, advisory.shown_by(platform)),
        AdvisoryStatus::NotFixed(unmet) => {
            checks.allowed(
                name,
                expected,
                format!("NOT FIXED: {}, and {unmet} is needed; {}", unmet.found(platform), advisory.about),
            );
        }
        AdvisoryStatus::NotReported { claim } => {
            let reason = "not required, and the evidence does not carry what would show the fix";
            checks.not_evaluated(name, reason, format!("{claim} not reported"));
        }
        AdvisoryStatus::NothingKnown => {
            checks.not_evaluated(name, "no source says what shows the fix on this processor", "unknown");
        }
    }
}

fn expected(advisory: &Advisory) -> String {
    let attack = advisory.attack.map(|attack| format!(" ({attack})")).unwrap_or_default();
    format!("the fix of {}{attack}", advisory.cves.join(", "))
}

fn violation(advisory: &'static str, unmet: Unmet) -> Violation {
    match unmet {
        Unmet::Tcb { part, minimum, actual } => {
            let advisory = Some(advisory.to_owned());
            Violation::TcbTooOld { tcb: "reported", part, minimum, actual, advisory }
        }
        Unmet::Mitigation { vector, expected, actual } => Violation::MissingMitigations { vector, expected, actual },
        Unmet::PlatformInfo { bit } => Violation::WrongPlatformInfo { bit, must: BitRequirement::Set },
    }
}
