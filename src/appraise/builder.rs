//! [`AppraisalBuilder`]: collects the checks, and makes sure that every requirement has one.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::appraisal::{Appraisal, Check, Verdict};
use crate::error::{Rejection, Violation};
use crate::policy::Requirement;

/// Collects the checks of an appraisal and the violations.
///
/// It also tracks the policy's requirements: a requirement without a check is a violation, so that evidence is refused, not
/// accepted, if the code forgets to evaluate a requirement.
#[derive(Default)]
pub(super) struct AppraisalBuilder {
    checks: Vec<Check>,
    violations: Vec<Violation>,
    evaluated: BTreeSet<Requirement>,
}

/// Records checks on behalf of one or more requirements, and marks these as evaluated.
pub(super) struct Required<'a, const N: usize = 1> {
    builder: &'a mut AppraisalBuilder,
    requirements: [Requirement; N],
}

type Text = Cow<'static, str>;

/// Checks that apply to every policy.
impl AppraisalBuilder {
    /// Returns the recorder for checks of a requirement.
    pub(super) const fn of(&mut self, requirement: Requirement) -> Required<'_> {
        self.of_each([requirement])
    }

    /// Returns the recorder for checks of several requirements at once.
    pub(super) const fn of_each<const N: usize>(&mut self, requirements: [Requirement; N]) -> Required<'_, N> {
        Required { builder: self, requirements }
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
        violation: Violation,
    ) {
        self.record(name, expected.into(), actual.into(), Verdict::Failed);
        self.violations.push(violation);
    }

    /// Records a check that passes if the condition holds.
    pub(super) fn require(
        &mut self,
        name: &'static str,
        holds: bool,
        expected: impl Into<Text>,
        actual: impl Into<Text>,
        violation: Violation,
    ) {
        if holds { self.passed(name, expected, actual) } else { self.failed(name, expected, actual, violation) }
    }

    /// Records a check as [`AppraisalBuilder::require`] does, whose violation states what was expected and found.
    pub(super) fn require_text(
        &mut self,
        name: &'static str,
        holds: bool,
        expected: String,
        actual: String,
        violation: impl FnOnce(String, String) -> Violation,
    ) {
        if holds {
            return self.passed(name, expected, actual);
        }
        let violation = violation(expected.clone(), actual.clone());
        self.failed(name, expected, actual, violation);
    }

    /// Records the failure of a check that needs a claim which the evidence does not carry.
    pub(super) fn claim_not_reported(&mut self, name: &'static str, claim: &'static str, expected: impl Into<Text>) {
        let actual = if claim == name { Text::from("not reported") } else { format!("{claim} not reported").into() };
        self.failed(name, expected, actual, Violation::NotReported { claim });
    }

    /// Records a check that passes if a feature is off, and is otherwise allowed by the policy or fails.
    pub(super) fn require_off(
        &mut self,
        name: &'static str,
        on: bool,
        allowed: bool,
        meaning: &'static str,
        violation: Violation,
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

    /// Returns all checks if none failed and each of the `required` requirements was evaluated, otherwise the
    /// rejection.
    pub(super) fn finish(mut self, required: &[Requirement]) -> Result<Appraisal, Rejection> {
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
        Rejection::new(self.violations, appraisal.clone()).map_or(Ok(appraisal), Err)
    }
}

/// The methods of [`AppraisalBuilder`], which also mark the requirement as evaluated. `not_evaluated` is missing on purpose.
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
        violation: Violation,
    ) {
        self.evaluated().failed(name, expected, actual, violation);
    }

    pub(super) fn require(
        &mut self,
        name: &'static str,
        holds: bool,
        expected: impl Into<Text>,
        actual: impl Into<Text>,
        violation: Violation,
    ) {
        self.evaluated().require(name, holds, expected, actual, violation);
    }

    pub(super) fn require_text(
        &mut self,
        name: &'static str,
        holds: bool,
        expected: String,
        actual: String,
        violation: impl FnOnce(String, String) -> Violation,
    ) {
        self.evaluated().require_text(name, holds, expected, actual, violation);
    }

    /// Records the failure of a check whose own claim the evidence does not carry.
    pub(super) fn not_reported(&mut self, name: &'static str, expected: impl Into<Text>) {
        self.claim_not_reported(name, name, expected);
    }

    pub(super) fn claim_not_reported(&mut self, name: &'static str, claim: &'static str, expected: impl Into<Text>) {
        self.evaluated().claim_not_reported(name, claim, expected);
    }

    fn evaluated(&mut self) -> &mut AppraisalBuilder {
        self.builder.evaluated.extend(self.requirements);
        self.builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    /// Policies that set every requirement together.
    const POLICIES: [&str; 3] = [
        include_str!("every_requirement.toml"),
        include_str!("every_requirement_of_a_vm.toml"),
        include_str!("every_requirement_of_a_quote.toml"),
    ];

    fn given() -> Vec<Requirement> {
        let all = POLICIES.map(|text| Policy::from_toml(text).unwrap().given());
        let mut given = all.concat();
        given.sort_unstable();
        given.dedup();
        given
    }

    /// Evidence is refused if any requirement of the policy is not evaluated, and the error names that requirement.
    #[test]
    fn a_requirement_that_leaves_no_check_is_refused() {
        let given = given();
        for forgotten in &given {
            let mut checks = AppraisalBuilder::default();
            for requirement in given.iter().filter(|requirement| *requirement != forgotten) {
                checks.of(*requirement).passed("check", "expected", "actual");
            }
            // A check of the same name that is not recorded for the requirement does not count.
            checks.passed(forgotten.field(), "expected", "actual");
            checks.not_evaluated(forgotten.field(), "why", "actual");
            let error = checks.finish(&given).unwrap_err();
            let violations: Vec<_> = error.violations().cloned().collect();
            assert_eq!(violations, [Violation::NotReported { claim: forgotten.field() }]);
            let failed = error.appraisal().checks().iter().filter(|check| check.verdict == Verdict::Failed);
            assert_eq!(failed.map(|check| check.name).collect::<Vec<_>>(), [forgotten.field()]);
        }
        let mut checks = AppraisalBuilder::default();
        given.iter().for_each(|requirement| checks.of(*requirement).passed("check", "expected", "actual"));
        assert_eq!(checks.finish(&given).unwrap().checks().len(), given.len());
    }

    /// The policy of these tests sets every requirement, so that the tests cover all of them.
    #[test]
    fn the_policy_of_the_test_gives_every_requirement() {
        let given = given();
        let source = include_str!("../policy/requirement.rs");
        let variants = source.split("pub(crate) enum Requirement {").nth(1).unwrap().split('}').next().unwrap();
        let variants = variants.split(',').map(str::trim).filter(|variant| !variant.is_empty());
        let names: BTreeSet<_> = given.iter().map(|requirement| format!("{requirement:?}")).collect();
        for variant in variants {
            let variant = variant.split('(').next().unwrap();
            assert!(names.iter().any(|name| name.split('(').next() == Some(variant)), "{variant} is not in the policy");
        }
        // Advisories and bits occur several times, each as a requirement of its own.
        let distinct: BTreeSet<_> = given.iter().collect();
        assert_eq!(distinct.len(), given.len());
        let single = given.iter().filter(|one| !format!("{one:?}").contains('('));
        let fields: BTreeSet<_> = single.clone().map(|one| one.field()).collect();
        assert_eq!(fields.len(), single.count(), "a field is named twice");
    }
}
