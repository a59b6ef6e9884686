//! The record of an appraisal: every check, what it expected, what it found, what followed.
//!
//! Below the errors and the steps, since an error carries the whole record; [`crate::appraise`] writes it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::types::printable;

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
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        Self { checks: checks.into() }
    }

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
            let whole = self.full || !is_identifying(check.name);
            let show = |value| if whole { Cow::Borrowed(value) } else { abbreviate(value) };
            let actual = show(&check.actual);
            let (verdict, detail) = match check.verdict {
                Verdict::Passed => ("passed", actual),
                Verdict::Allowed => ("ALLOWED", actual),
                Verdict::Failed => ("FAILED", Cow::from(format!("expected {}, found {actual}", show(&check.expected)))),
                Verdict::NotEvaluated(reason) => ("not evaluated", Cow::from(reason)),
            };
            // One line for each check, whatever the evidence says.
            writeln!(f, "{verdict:<13}  {:<24}  {}", check.name, printable(&detail))?;
        }
        Ok(())
    }
}

/// Whether the values of a check or field identify a machine or a guest, so that logs should not carry them whole.
pub(crate) fn is_identifying(name: &str) -> bool {
    matches!(name, "chip id" | "report id")
}

/// The first characters of each long word: enough to tell two apart in a log, not enough to recognise one.
pub(crate) fn abbreviate(value: &str) -> Cow<'_, str> {
    const KEPT: usize = 8;
    let shorten = |word: &str| match word.char_indices().nth(KEPT) {
        Some((at, _)) => format!("{}…", word.get(..at).unwrap_or_default()),
        None => word.to_owned(),
    };
    let words: Vec<_> = value.split(' ').map(shorten).collect();
    Cow::from(words.join(" "))
}
