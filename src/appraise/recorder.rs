use std::borrow::Cow;

use crate::appraisal::{Appraisal, Check, Verdict};
use crate::error::AttestationError;

/// Collects checks; the gravest violation becomes the error.
#[derive(Default)]
pub(super) struct Recorder {
    checks: Vec<Check>,
    violations: Vec<Violation>,
}

type Violation = Box<dyn FnOnce(Appraisal) -> AttestationError>;
type Text = Cow<'static, str>;

impl Recorder {
    pub(super) fn passed(&mut self, name: &'static str, expected: impl Into<Text>, actual: impl Into<Text>) {
        self.record(name, expected.into(), actual.into(), Verdict::Passed);
    }

    pub(super) fn allowed(&mut self, name: &'static str, expected: impl Into<Text>, actual: impl Into<Text>) {
        self.record(name, expected.into(), actual.into(), Verdict::Allowed);
    }

    pub(super) fn not_evaluated(&mut self, name: &'static str, why: &'static str, actual: impl Into<Text>) {
        self.record(name, Cow::from("anything"), actual.into(), Verdict::NotEvaluated(why));
    }

    pub(super) fn failed(
        &mut self,
        name: &'static str,
        expected: impl Into<Text>,
        actual: impl Into<Text>,
        violation: impl FnOnce(Appraisal) -> AttestationError + 'static,
    ) {
        self.record(name, expected.into(), actual.into(), Verdict::Failed);
        self.violations.push(Box::new(violation));
    }

    /// Passed or failed, by a condition.
    pub(super) fn require(
        &mut self,
        name: &'static str,
        holds: bool,
        expected: impl Into<Text>,
        actual: impl Into<Text>,
        violation: impl FnOnce(Appraisal) -> AttestationError + 'static,
    ) {
        if holds { self.passed(name, expected, actual) } else { self.failed(name, expected, actual, violation) }
    }

    /// Something required that evidence of this kind does not carry.
    pub(super) fn not_reported(&mut self, name: &'static str, expected: impl Into<Text>) {
        self.claim_not_reported(name, name, expected);
    }

    /// A check that needs a claim of another name, which evidence of this kind does not carry.
    pub(super) fn claim_not_reported(&mut self, name: &'static str, claim: &'static str, expected: impl Into<Text>) {
        let actual = if claim == name { Text::from("not reported") } else { format!("{claim} not reported").into() };
        self.failed(name, expected, actual, move |appraisal| AttestationError::NotReported { claim, appraisal });
    }

    /// Passed if off, else allowed by the policy or failed.
    pub(super) fn off(
        &mut self,
        name: &'static str,
        on: bool,
        allowed: bool,
        meaning: &'static str,
        violation: impl FnOnce(Appraisal) -> AttestationError + 'static,
    ) {
        match (on, allowed) {
            (false, _) => self.passed(name, "off", "off"),
            (true, true) => self.allowed(name, "off", format!("ON: {meaning}")),
            (true, false) => self.failed(name, "off", "on", violation),
        }
    }

    fn record(&mut self, name: &'static str, expected: Text, actual: Text, verdict: Verdict) {
        self.checks.push(Check { name, expected, actual, verdict });
    }

    /// All checks, if none failed; else the gravest violation.
    pub(super) fn finish(self) -> Result<Appraisal, AttestationError> {
        let appraisal = Appraisal::new(self.checks);
        let violations = self.violations.into_iter().map(|violation| violation(appraisal.clone()));
        violations.min_by_key(AttestationError::gravity).map_or(Ok(appraisal), Err)
    }
}
