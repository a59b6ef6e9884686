use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::appraisal::{Appraisal, Check, Verdict};
use crate::error::AttestationError;
use crate::policy::Requirement;

/// Collects checks; the gravest violation becomes the error.
///
/// It also keeps account of the policy's requirements: what is required and has left no check is a violation, so that a
/// requirement which the steps forget refuses evidence instead of accepting it.
#[derive(Default)]
pub(super) struct AppraisalBuilder {
    checks: Vec<Check>,
    violations: Vec<Violation>,
    evaluated: BTreeSet<Requirement>,
}

/// The check of a requirement, or of several at once: whatever is recorded through it says that they were evaluated.
pub(super) struct Required<'a, const N: usize = 1> {
    recorder: &'a mut AppraisalBuilder,
    requirements: [Requirement; N],
}

type Violation = Box<dyn FnOnce(Appraisal) -> AttestationError>;
type Text = Cow<'static, str>;

/// Checks that no requirement of the policy asks for by itself.
impl AppraisalBuilder {
    /// Records the check of this requirement.
    pub(super) const fn of(&mut self, requirement: Requirement) -> Required<'_> {
        self.of_each([requirement])
    }

    /// Records one check of all these requirements.
    pub(super) const fn of_each<const N: usize>(&mut self, requirements: [Requirement; N]) -> Required<'_, N> {
        Required { recorder: self, requirements }
    }

    pub(super) fn passed(&mut self, name: &'static str, expected: impl Into<Text>, actual: impl Into<Text>) {
        self.record(name, expected.into(), actual.into(), Verdict::Passed);
    }

    pub(super) fn allowed(&mut self, name: &'static str, expected: impl Into<Text>, actual: impl Into<Text>) {
        self.record(name, expected.into(), actual.into(), Verdict::Allowed);
    }

    pub(super) fn not_evaluated(&mut self, name: &'static str, reason: &'static str, actual: impl Into<Text>) {
        self.record(name, Cow::from("anything"), actual.into(), Verdict::NotEvaluated(reason));
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

    /// A check that needs a claim, which evidence of this kind does not carry.
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

    /// All checks, if none failed and every requirement of the policy (`required`) left one; else the gravest violation.
    pub(super) fn finish(mut self, required: &[Requirement]) -> Result<Appraisal, AttestationError> {
        for requirement in required {
            if !self.evaluated.contains(requirement) {
                self.claim_not_reported(
                    requirement.field(),
                    requirement.field(),
                    "evaluated, since the policy requires it",
                );
            }
        }
        let appraisal = Appraisal::new(self.checks);
        let violations = self.violations.into_iter().map(|violation| violation(appraisal.clone()));
        violations.min_by_key(AttestationError::severity).map_or(Ok(appraisal), Err)
    }
}

/// As for [`AppraisalBuilder`], and the requirement counts as evaluated. There is no `not_evaluated`.
impl<const N: usize> Required<'_, N> {
    pub(super) fn passed(&mut self, name: &'static str, expected: impl Into<Text>, actual: impl Into<Text>) {
        self.evaluated().passed(name, expected, actual);
    }

    pub(super) fn allowed(&mut self, name: &'static str, expected: impl Into<Text>, actual: impl Into<Text>) {
        self.evaluated().allowed(name, expected, actual);
    }

    pub(super) fn failed(
        &mut self,
        name: &'static str,
        expected: impl Into<Text>,
        actual: impl Into<Text>,
        violation: impl FnOnce(Appraisal) -> AttestationError + 'static,
    ) {
        self.evaluated().failed(name, expected, actual, violation);
    }

    pub(super) fn require(
        &mut self,
        name: &'static str,
        holds: bool,
        expected: impl Into<Text>,
        actual: impl Into<Text>,
        violation: impl FnOnce(Appraisal) -> AttestationError + 'static,
    ) {
        self.evaluated().require(name, holds, expected, actual, violation);
    }

    /// Evidence of this kind does not carry what is required.
    pub(super) fn not_reported(&mut self, name: &'static str, expected: impl Into<Text>) {
        self.claim_not_reported(name, name, expected);
    }

    pub(super) fn claim_not_reported(&mut self, name: &'static str, claim: &'static str, expected: impl Into<Text>) {
        self.evaluated().claim_not_reported(name, claim, expected);
    }

    fn evaluated(&mut self) -> &mut AppraisalBuilder {
        self.recorder.evaluated.extend(self.requirements);
        self.recorder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    /// A policy that gives every requirement of its kind.
    const CONTAINER: &str = include_str!("every_requirement.toml");

    /// Whatever a policy requires, forgetting to evaluate it refuses the evidence, under the name of what was forgotten.
    #[test]
    fn a_requirement_that_leaves_no_check_is_refused() {
        let given = Policy::from_toml(CONTAINER).unwrap().given();
        for forgotten in &given {
            let mut checks = AppraisalBuilder::default();
            for requirement in given.iter().filter(|requirement| *requirement != forgotten) {
                checks.of(*requirement).passed("check", "expected", "actual");
            }
            // What is recorded beside the requirement does not stand for it.
            checks.passed(forgotten.field(), "expected", "actual");
            checks.not_evaluated(forgotten.field(), "why", "actual");
            let error = checks.finish(&given).unwrap_err();
            let AttestationError::NotReported { claim, appraisal } = error else { panic!("{forgotten:?}: {error}") };
            assert_eq!(claim, forgotten.field());
            let failed = appraisal.checks().iter().filter(|check| check.verdict == Verdict::Failed);
            assert_eq!(failed.map(|check| check.name).collect::<Vec<_>>(), [forgotten.field()]);
        }
        let mut checks = AppraisalBuilder::default();
        given.iter().for_each(|requirement| checks.of(*requirement).passed("check", "expected", "actual"));
        assert_eq!(checks.finish(&given).unwrap().checks().len(), given.len());
    }

    /// The policy of these tests gives every requirement there is, so that none is left out of them.
    #[test]
    fn the_policy_of_the_test_gives_every_requirement() {
        let given = Policy::from_toml(CONTAINER).unwrap().given();
        let source = include_str!("../policy/requirement.rs");
        let variants = source.split("pub(crate) enum Requirement {").nth(1).unwrap().split('}').next().unwrap();
        let variants = variants.split(',').map(str::trim).filter(|variant| !variant.is_empty());
        let names: BTreeSet<_> = given.iter().map(|requirement| format!("{requirement:?}")).collect();
        for variant in variants {
            let variant = variant.split('(').next().unwrap();
            assert!(names.iter().any(|name| name.split('(').next() == Some(variant)), "{variant} is not in the policy");
        }
        // Of an advisory, a bit of the guest policy or of the platform there may be more than one, each on its own.
        let distinct: BTreeSet<_> = given.iter().collect();
        assert_eq!(distinct.len(), given.len());
        let single = given.iter().filter(|one| !format!("{one:?}").contains('('));
        let fields: BTreeSet<_> = single.clone().map(|one| one.field()).collect();
        assert_eq!(fields.len(), single.count(), "a field is named twice");
    }
}
