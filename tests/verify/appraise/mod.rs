//! Step 5: every requirement and every relaxation of a policy, met and not met.

mod advisories;
mod any_evidence;
mod paravisor;
mod relaxations;
mod report;
mod tdx;

mod vm_id;

use blindbox_attestation::{Attestation, AttestationError, Verdict, Violation};

type Verdicts = Result<Attestation, AttestationError>;

/// A check that passed, with what it shows.
#[track_caller]
fn passed(verdict: Verdicts, name: &str, actual: &str) {
    shown(verdict, name, Verdict::Passed, actual);
}

/// A check of something that is not safe and that the policy allows.
#[track_caller]
fn allowed(verdict: Verdicts, name: &str, actual: &str) {
    shown(verdict, name, Verdict::Allowed, actual);
}

#[track_caller]
fn shown(verdict: Verdicts, name: &str, expected: Verdict, actual: &str) {
    let attested = verdict.unwrap_or_else(|error| panic!("{name}: {error}"));
    let check = attested.appraisal().check(name).unwrap_or_else(|| panic!("no {name} in\n{attested}"));
    assert_eq!((check.verdict, &*check.actual), (expected, actual), "{name}");
    assert!(attested.appraisal().checks().iter().all(|check| check.verdict != Verdict::Failed), "{attested}");
}

/// One check failed, and no other; and this is the violation.
#[track_caller]
fn failed(verdict: Verdicts, name: &str, expected: Violation) {
    let actual = verdict.map(|attested| panic!("{name} passed:\n{attested}")).unwrap_err();
    let appraisal = actual.appraisal().unwrap_or_else(|| panic!("{name}: {actual}"));
    let failed: Vec<_> =
        appraisal.checks().iter().filter(|check| check.verdict == Verdict::Failed).map(|check| check.name).collect();
    assert_eq!(failed, [name], "{appraisal}");
    assert_eq!(actual.violations().collect::<Vec<_>>(), [&expected], "{name}");
}

/// The evidence does not carry what is required.
#[track_caller]
fn not_reported(verdict: Verdicts, name: &str, claim: &'static str) {
    failed(verdict, name, Violation::NotReported { claim });
}
