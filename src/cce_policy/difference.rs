//! The difference of two CCE policies.

use std::collections::BTreeSet;
use std::fmt;

use super::CcePolicy;
use super::rego::{Data, Module};
use crate::types::shorten;

/// Characters of a value in a line.
const SHOWN: usize = 300;

/// A statement that only one of two policies has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CcePolicyDifference {
    /// Only in the first policy.
    OnlyFirst(String),
    /// Only in the second policy.
    OnlyOther(String),
}

impl fmt::Display for CcePolicyDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyFirst(line) => write!(f, "- {line}"),
            Self::OnlyOther(line) => write!(f, "+ {line}"),
        }
    }
}

pub(super) fn between(first: &CcePolicy, other: &CcePolicy) -> Vec<CcePolicyDifference> {
    let (first, other) = (lines(&first.module()), lines(&other.module()));
    // Sorted by what is said, so that a value and what it became stand together.
    let mut differences: Vec<(&Line, bool)> = Vec::new();
    differences.extend(first.difference(&other).map(|line| (line, false)));
    differences.extend(other.difference(&first).map(|line| (line, true)));
    differences.sort_unstable_by(|(left, left_other), (right, right_other)| {
        (&left.place, left_other, &left.value).cmp(&(&right.place, right_other, &right.value))
    });
    let shown = |line: &Line| format!("{}: {}", line.place, shorten(&line.value, SHOWN));
    differences
        .into_iter()
        .map(|(line, is_other)| match is_other {
            false => CcePolicyDifference::OnlyFirst(shown(line)),
            true => CcePolicyDifference::OnlyOther(shown(line)),
        })
        .collect()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    place: String,
    value: String,
}

fn lines(module: &Module) -> BTreeSet<Line> {
    let mut lines = BTreeSet::new();
    for (name, value) in &module.assignments {
        match (name.as_str(), value) {
            ("containers", Data::Array(containers)) => {
                for (place, container) in containers.iter().enumerate() {
                    let name = ["name", "id"].iter().find_map(|name| container.member(name)?.text());
                    let label = name.map_or_else(|| format!("containers[{place}]"), |name| shorten(name, 100));
                    object(&format!("container {label:?}"), container, &mut lines);
                }
            }
            (name, value) => flatten(name, value, &mut lines),
        }
    }
    for statement in &module.not_read {
        let value = format!("{} (not read)", statement.text);
        lines.insert(Line { place: "statement".to_owned(), value });
    }
    lines
}

/// One line for each member, and one for each entry of a member that is a list.
fn object(place: &str, value: &Data, lines: &mut BTreeSet<Line>) {
    match value {
        Data::Object(members) => {
            for (name, value) in members {
                flatten(&format!("{place} {}", shorten(name, 100)), value, lines);
            }
        }
        value => flatten(place, value, lines),
    }
}

fn flatten(place: &str, value: &Data, lines: &mut BTreeSet<Line>) {
    // The order counts in a command and in layers, so these are one value.
    let in_order = place.ends_with(" command") || place.ends_with(" layers");
    match value {
        Data::Array(items) if !in_order && !items.is_empty() => {
            for item in items {
                lines.insert(Line { place: place.to_owned(), value: written(item) });
            }
        }
        value => {
            lines.insert(Line { place: place.to_owned(), value: written(value) });
        }
    }
}

/// As JSON, with members in the order of their names.
fn written(value: &Data) -> String {
    match value {
        Data::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|(name, value)| format!("{name:?}: {}", written(value))).collect();
            members.sort_unstable();
            format!("{{{}}}", members.join(", "))
        }
        Data::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Data::Text(text) => format!("{text:?}"),
        Data::Bool(value) => value.to_string(),
        Data::Number(text) | Data::Path(text) => text.clone(),
        Data::Null => "null".to_owned(),
    }
}
