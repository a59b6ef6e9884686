//! Policies in YAML, line by line: the two keys whose value is a policy, each value in one of the ways that tools write it.
//!
//! A reader of all of YAML is not needed, since a value that is understood wrongly is no base64 of a policy. A line that has
//! one of the keys in a form that is not read is an error in its place, never passed over.

use super::{ANNOTATION, CcePolicySourceError, FoundCcePolicy, MEMBER, value};
use crate::types::shorten;

pub(super) fn policies(text: &str) -> Result<Vec<FoundCcePolicy>, CcePolicySourceError> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found: Vec<FoundCcePolicy> = Vec::new();
    // Looked for once in each document: one may hold many policies.
    let mut document_name = name(&lines);
    for (at, line) in lines.iter().enumerate() {
        if line.trim_end() == "---" {
            document_name = name(lines.get(at..).unwrap_or_default());
        }
        let behind = || lines.get(at.saturating_add(1)..).unwrap_or_default();
        if !has_key(line) && !begins_split_key(line, behind()) {
            continue;
        }
        super::check_count(&found)?;
        let number = at.saturating_add(1);
        let policy = match key_value(line) {
            Some(rest) => scalar(rest, indentation(line), lines.get(number..).unwrap_or_default(), number)
                .and_then(|text| value(&text)),
            None => Err(CcePolicySourceError::YamlForm { line: number }),
        };
        found.push(FoundCcePolicy {
            name: document_name.clone(),
            place: format!("line {number}"),
            notes: Vec::new(),
            policy,
        });
    }
    Ok(found)
}

fn indentation(line: &str) -> usize {
    line.len().saturating_sub(line.trim_start_matches([' ', '-']).len())
}

/// Whether the line gives one of the two keys a value, in whatever form. Comments do not.
fn has_key(line: &str) -> bool {
    let is_explicit = line.trim_start_matches([' ', '-', '\t']).starts_with('?');
    any_key(line, |behind| is_explicit || behind.starts_with(':'))
}

/// Whether the line ends with one of the two keys, and the next one that says something gives it a value.
fn begins_split_key(line: &str, below: &[&str]) -> bool {
    any_key(line, |behind| behind.is_empty() || behind.starts_with('#'))
        && below
            .iter()
            .map(|next| next.trim_start())
            .find(|next| !next.is_empty() && !next.starts_with('#'))
            .is_some_and(|next| next.starts_with(':'))
}

/// Whether the text behind one of the two keys on a line is such: in any case of letters, and also where escapes write them.
fn any_key(line: &str, is_such: impl Fn(&str) -> bool) -> bool {
    if line.trim_start().starts_with('#') {
        return false;
    }
    let line = unescaped(line).to_ascii_lowercase();
    [ANNOTATION, MEMBER].into_iter().any(|key| {
        line.match_indices(&key.to_ascii_lowercase()).any(|(at, _)| {
            let before = line.get(..at).and_then(|before| before.chars().next_back());
            let behind = line.get(at.saturating_add(key.len())..).unwrap_or_default();
            let behind = behind.trim_start_matches(['"', '\'']).trim_start();
            !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-')) && is_such(behind)
        })
    })
}

/// The line with the characters that `\x`, `\u` and `\U` stand for between double quotes.
fn unescaped(line: &str) -> String {
    let mut pieces = line.split('\\');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits: usize = match piece.chars().next() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        let end = digits.saturating_add(1);
        let character = piece.get(1..end).filter(|_| digits > 0);
        let character = character.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        match character {
            Some(character) => {
                text.push(character);
                text.push_str(piece.get(end..).unwrap_or_default());
            }
            None => {
                text.push('\\');
                text.push_str(piece);
            }
        }
    }
    text
}

/// What stands behind `key:` on a line that begins with the key.
fn key_value(line: &str) -> Option<&str> {
    let line = line.trim_start_matches([' ', '-']);
    let quote = ['"', '\''].into_iter().find(|quote| line.starts_with(*quote));
    let bare = quote.map_or(Some(line), |quote| line.strip_prefix(quote))?;
    let rest = [ANNOTATION, MEMBER].into_iter().find_map(|key| {
        let (start, rest) = bare.split_at_checked(key.len())?;
        start.eq_ignore_ascii_case(key).then_some(rest)
    })?;
    let rest = quote.map_or(Some(rest), |quote| rest.strip_prefix(quote))?;
    let rest = rest.trim_start().strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some(rest)
}

/// A value behind a key: plain, in quotes, as a block of one line, or plain on the next line.
fn scalar(rest: &str, indent: usize, below: &[&str], line: usize) -> Result<String, CcePolicySourceError> {
    let unreadable = CcePolicySourceError::YamlForm { line };
    let rest = without_comment(rest.trim());
    let inner: Vec<&str> = below
        .iter()
        .take_while(|next| next.trim().is_empty() || indentation(next) > indent)
        .map(|next| next.trim())
        .filter(|next| !next.is_empty())
        .take(2)
        .collect();
    match (rest.chars().next(), inner.as_slice()) {
        (Some('|' | '>'), [only]) if rest.get(1..).is_some_and(|rest| matches!(rest, "" | "-" | "+")) => {
            Ok((*only).to_owned())
        }
        (None, [only]) if !only.contains(": ") && !only.ends_with(':') => scalar(only, indent, &[], line),
        (None, []) => Ok(String::new()),
        (Some(quote @ ('"' | '\'')), []) => {
            let text = rest.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).ok_or(unreadable.clone())?;
            if text.contains(['\\', '"', '\'']) { Err(unreadable) } else { Ok(text.to_owned()) }
        }
        // A plain value; a line below that is indented more would continue it.
        (Some(first), []) if !"&*!|>%@`{[,?".contains(first) => Ok(rest.to_owned()),
        _ => Err(unreadable),
    }
}

fn without_comment(rest: &str) -> &str {
    if rest.starts_with('#') {
        return "";
    }
    rest.split_once(" #").map_or(rest, |(value, _)| value.trim_end())
}

/// `metadata.name` of a Kubernetes object, or `name` of a container group, at the top of the document.
fn name(document: &[&str]) -> Option<String> {
    let begins = document.first().is_some_and(|line| line.trim_end() == "---");
    let lines = document.iter().skip(usize::from(begins));
    let mut in_metadata = false;
    let mut found = None;
    for line in lines.take_while(|line| line.trim_end() != "---") {
        let bare = line.trim();
        if !line.starts_with([' ', '\t', '#']) && !bare.is_empty() {
            in_metadata = bare == "metadata:";
        }
        let named =
            bare.strip_prefix("name:").filter(|_| in_metadata && indentation(line) <= 4 || !line.starts_with(' '));
        if let (Some(name), None) = (named, &found) {
            found = Some(shorten(super::unquoted(name.trim()), 100));
        }
    }
    found
}
