//! Step 5: each requirement of the policy against the bound evidence, all of them reported.
//!
//! Cryptographic steps stop at their first failure; this one runs every check, so that whoever reads the result sees all
//! that is wrong at once.

mod checks;
mod hardware;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::error::AttestationError;

pub(crate) use checks::{Facts, appraise};

/// Every check of one appraisal, in the order in which they are shown.
///
/// [`fmt::Display`] is a table. Values that identify a machine are shortened there; [`Appraisal::full`] shows them whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    checks: Arc<[Check]>,
}

/// One check: what was required, what the evidence says, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// What passes.
    pub expected: Cow<'static, str>,
    /// What the evidence says.
    pub actual: Cow<'static, str>,
    /// What follows.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Whether the values identify a machine or a guest, so that logs should not carry them.
    #[serde(skip)]
    identifying: bool,
}

/// What follows from a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// As required.
    Passed,
    /// Not as is safe, and the policy allows it.
    Allowed,
    /// Not as required. Only in the appraisal of an error.
    Failed,
    /// Nothing was required, or the evidence of this kind cannot say; and why.
    NotEvaluated(&'static str),
}

impl Appraisal {
    /// The checks.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The check of this name.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// As a table that shows every value whole, identifying ones too.
    #[must_use]
    pub fn full(&self) -> impl fmt::Display + '_ {
        Table { checks: &self.checks, full: true }
    }
}

impl Serialize for Appraisal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.checks.serialize(serializer)
    }
}

impl fmt::Display for Appraisal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Table { checks: &self.checks, full: false }.fmt(f)
    }
}

struct Table<'a> {
    checks: &'a [Check],
    full: bool,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in self.checks {
            let actual = if check.identifying && !self.full { abbreviate(&check.actual) } else { check.actual.clone() };
            let (verdict, detail) = match check.verdict {
                Verdict::Passed => ("passed", actual),
                Verdict::Allowed => ("ALLOWED", actual),
                Verdict::Failed => ("FAILED", Cow::from(format!("expected {}, found {actual}", check.expected))),
                Verdict::NotEvaluated(why) => ("not evaluated", Cow::from(why)),
            };
            writeln!(f, "{verdict:<13}  {:<24}  {detail}", check.name)?;
        }
        Ok(())
    }
}

/// The first characters of an identifying value: enough to tell two apart in a log, not enough to recognise one.
fn abbreviate(value: &str) -> Cow<'static, str> {
    let head: String = value.chars().take(8).collect();
    Cow::from(format!("{head}…"))
}

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
        let appraisal = Appraisal { checks: self.checks.into() };
        let violations = self.violations.into_iter().map(|violation| violation(appraisal.clone()));
        violations.min_by_key(AttestationError::number).map_or(Ok(appraisal), Err)
    }
}
