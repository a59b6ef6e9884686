//! The documents in `docs/` say what the code does: codes, fields, checks, test vectors and files are compared with it.

mod cited;
mod errors;
mod links;
mod policy;
mod protocol;

use std::collections::BTreeSet;
use std::path::Path;

const ERRORS: &str = include_str!("../../../docs/errors.md");
const POLICY: &str = include_str!("../../../docs/policy.md");
const REQUIREMENTS: &str = include_str!("../../../docs/policy-requirements.md");
const POLICY_EXAMPLES: &str = include_str!("../../../docs/policy-examples.md");
const CHECKS: &str = include_str!("../../../docs/checks.md");
const HARDWARE_CHECKS: &str = include_str!("../../../docs/checks-hardware.md");
const APPRAISAL_CHECKS: &str = include_str!("../../../docs/checks-appraisal.md");
const PROTOCOL: &str = include_str!("../../../docs/protocol.md");
const PROTOCOL_VECTORS: &str = include_str!("../../../docs/protocol-vectors.md");
const PROTOCOL_MESSAGE: &str = include_str!("../../../docs/protocol-message.md");
const COOKBOOK: &str = include_str!("../../../docs/cookbook.md");
const THREATS: &str = include_str!("../../../docs/threat-model.md");
const PLATFORMS: &str = include_str!("../../../docs/platforms.md");
const TRUST: &str = include_str!("../../../docs/trust.md");
const PROXY: &str = include_str!("../../../docs/proxy.md");
const README: &str = include_str!("../../../README.md");
/// Where links lead in the documentation of the crate.
const LINKS: &str = include_str!("../../../src/manual/links.md");

const ASSURANCE: &str = include_str!("../../../docs/assurance.md");

const DOCUMENTS: [(&str, &str); 29] = [
    ("errors.md", ERRORS),
    ("policy.md", POLICY),
    ("policy-requirements.md", REQUIREMENTS),
    ("policy-examples.md", POLICY_EXAMPLES),
    ("cce-policy.md", include_str!("../../../docs/cce-policy.md")),
    ("checks.md", CHECKS),
    ("checks-hardware.md", HARDWARE_CHECKS),
    ("checks-appraisal.md", APPRAISAL_CHECKS),
    ("protocol.md", PROTOCOL),
    ("protocol-message.md", PROTOCOL_MESSAGE),
    ("protocol-vectors.md", PROTOCOL_VECTORS),
    ("glossary.md", include_str!("../../../docs/glossary.md")),
    ("cookbook.md", COOKBOOK),
    ("front-ends.md", include_str!("../../../docs/front-ends.md")),
    ("threat-model.md", THREATS),
    ("platforms.md", PLATFORMS),
    ("trust.md", TRUST),
    ("faults.md", include_str!("../../../docs/faults.md")),
    ("session.md", include_str!("../../../docs/session.md")),
    ("observability.md", include_str!("../../../docs/observability.md")),
    ("performance.md", include_str!("../../../docs/performance.md")),
    ("cli.md", include_str!("../../../docs/cli.md")),
    ("proxy.md", PROXY),
    ("knobs.md", include_str!("../../../docs/knobs.md")),
    ("languages.md", include_str!("../../../docs/languages.md")),
    ("clients.md", include_str!("../../../docs/clients.md")),
    ("troubleshooting.md", include_str!("../../../docs/troubleshooting.md")),
    ("python-client.md", include_str!("../../../docs/python-client.md")),
    ("assurance.md", ASSURANCE),
];

/// The cells of every table row.
fn rows(document: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = document.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

/// The text between backticks, if that is all.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|inner| !inner.contains('`'))
}

/// Every text between single backticks.
fn codes(document: &str) -> BTreeSet<&str> {
    document.split('\n').flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Fenced blocks whose first line begins like this: the rest of that line, and the text.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    let mut fences = document.split("\n```");
    fences.next();
    while let (Some(block), after) = (fences.next(), fences.next()) {
        assert!(after.is_some(), "a block has no end");
        let (first, text) = block.split_once('\n').unwrap();
        let (name, info) = first.split_once(' ').unwrap_or((first, ""));
        if name == language {
            found.push((info, text));
        }
    }
    found
}

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// From this line to the first line that is `}` with the same indentation.
fn body<'a>(source: &'a str, start: &str) -> &'a str {
    let (before, rest) = source.split_once(start).unwrap_or_else(|| panic!("no {start:?} in the source"));
    let line = before.rsplit('\n').next().unwrap();
    let indentation = &line[..line.len() - line.trim_start().len()];
    rest.split(&format!("\n{indentation}}}")).next().unwrap()
}

/// The variants of a public enum.
fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let body = body(source, &format!("pub enum {name} {{"));
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap()).collect()
}

/// The fields of a struct, as they stand in a policy file.
/// The fields that a file can have.
fn fields(source: &str, name: &str) -> Vec<String> {
    let body = body(source, &format!("struct {name} {{"));
    let lines: Vec<_> = body.lines().collect();
    let body: String = lines
        .iter()
        .enumerate()
        .filter(|(at, _)| *at == 0 || lines[at - 1].trim() != "#[serde(skip)]")
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let lines = body.lines().filter_map(|line| line.trim().strip_prefix("pub(")?.split_once(") "));
    lines.map(|(_, field)| field.split(':').next().unwrap().replace('_', "-")).collect()
}
