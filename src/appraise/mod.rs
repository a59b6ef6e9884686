//! Step 5: each requirement of the policy against the bound evidence, all of them reported.
//!
//! Cryptographic steps stop at their first failure; this one runs every check, so that whoever reads the result sees all
//! that is wrong at once.

mod checks;
mod hardware;

use std::borrow::Cow;

use crate::appraisal::{Appraisal, Check, Verdict};
use crate::error::AttestationError;

pub(crate) use checks::{Facts, appraise};

/// Collects checks; the gravest violation becomes the error.
#[derive(Default)]
pub(crate) struct Recorder {
    checks: Vec<Check>,
    violations: Vec<Violation>,
}

type Violation = Box<dyn FnOnce(Appraisal) -> AttestationError>;
type Text = Cow<'static, str>;

impl Recorder {
    pub(crate) fn passed(&mut self, name: &'static str, expected: impl Into<Text>, actual: impl Into<Text>) {
        self.record(name, expected.into(), actual.into(), Verdict::Passed);
    }

    pub(crate) fn allowed(&mut self, name: &'static str, expected: impl Into<Text>, actual: impl Into<Text>) {
        self.record(name, expected.into(), actual.into(), Verdict::Allowed);
    }

    pub(crate) fn not_evaluated(&mut self, name: &'static str, why: &'static str, actual: impl Into<Text>) {
        self.record(name, Cow::from("anything"), actual.into(), Verdict::NotEvaluated(why));
    }

    pub(crate) fn failed(
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
    pub(crate) fn require(
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
    pub(crate) fn not_reported(&mut self, name: &'static str, expected: impl Into<Text>) {
        self.failed(name, expected, "not reported", move |appraisal| AttestationError::NotReported {
            claim: name,
            appraisal,
        });
    }

    /// Marks the last check's values as identifying a machine or guest.
    pub(crate) fn identifying(&mut self) {
        if let Some(check) = self.checks.last_mut() {
            check.identifying = true;
        }
    }

    fn record(&mut self, name: &'static str, expected: Text, actual: Text, verdict: Verdict) {
        self.checks.push(Check { name, expected, actual, verdict, identifying: false });
    }

    /// All checks, if none failed; else the gravest violation, which is the one with the lowest number.
    pub(crate) fn finish(self) -> Result<Appraisal, AttestationError> {
        let appraisal = Appraisal::new(self.checks);
        let violations = self.violations.into_iter().map(|violation| violation(appraisal.clone()));
        violations.min_by_key(AttestationError::number).map_or(Ok(appraisal), Err)
    }
}
