//! The appraisal result: every check with its expected value, actual value and verdict.
//!
//! On a lower floor than errors, because an error carries the whole appraisal; [`crate::appraise`] fills it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::types::printable;

/// All checks of one appraisal, in display order.
///
/// [`fmt::Display`] prints a table in which values that identify a machine are shortened; [`Appraisal::full`] shows them whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    checks: Arc<[Check]>,
}

/// One check: the expected value, the actual value and the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// The name of the check.
    pub name: &'static str,
    /// The values that pass.
    pub expected: Cow<'static, str>,
    /// The value in the evidence.
    pub actual: Cow<'static, str>,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// The value is as required.
    Passed,
    /// The value is not safe, but the policy allows it.
    Allowed,
    /// The value is not as required. Only in the appraisal of an error.
    Failed,
    /// Nothing was required, or this kind of evidence does not carry the value; with the reason.
    NotEvaluated(&'static str),
}

impl Appraisal {
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        Self { checks: checks.into() }
    }

    /// Returns the checks.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Returns the check with a name.
    #[must_use]
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// Returns a table that shows every value whole, including those that identify a machine.
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
            let whole = self.full || !is_identifying(check.name);
            let show = |value| if whole { Cow::Borrowed(value) } else { abbreviate(value) };
            let actual = show(&check.actual);
            let (verdict, detail) = match check.verdict {
                Verdict::Passed => ("passed", actual),
                Verdict::Allowed => ("ALLOWED", actual),
                Verdict::Failed => ("FAILED", Cow::from(format!("expected {}, found {actual}", show(&check.expected)))),
                Verdict::NotEvaluated(reason) => ("not evaluated", Cow::from(reason)),
            };
            // Escaped, so that untrusted values cannot add lines.
            writeln!(f, "{verdict:<13}  {:<24}  {}", check.name, printable(&detail))?;
        }
        Ok(())
    }
}

/// Whether a check's or field's values identify a machine or a guest and should be shortened in logs.
pub(crate) fn is_identifying(name: &str) -> bool {
    matches!(name, "chip id" | "report id" | "vm id")
}

/// Shortens each long word to its first characters: enough to distinguish two values in a log, not enough to identify one.
pub(crate) fn abbreviate(value: &str) -> Cow<'_, str> {
    const KEPT: usize = 8;
    let shorten = |word: &str| match word.char_indices().nth(KEPT) {
        Some((at, _)) => format!("{}…", word.get(..at).unwrap_or_default()),
        None => word.to_owned(),
    };
    let words: Vec<_> = value.split(' ').map(shorten).collect();
    Cow::from(words.join(" "))
}
