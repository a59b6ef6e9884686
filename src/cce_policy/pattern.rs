//! How much a regular expression (RE2) fixes of what it matches: read by its shape, not by known spellings.

use crate::parser_steps;

/// Groups within groups; more are taken for what matches anything.
const MAX_DEPTH: u8 = 16;

/// What a pattern does not restrict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Openness {
    /// Nothing: it matches one string.
    Literal,
    /// Several texts, each of which contains some fixed characters.
    Partial,
    /// Not one character is fixed.
    Anything,
}

/// What a pattern for a variable does not restrict: its name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: Openness,
    pub(super) value: Openness,
}

/// Reads a pattern.
pub(super) fn openness(pattern: &str) -> Openness {
    alternatives(pattern, MAX_DEPTH)
}

/// Reads a pattern for `NAME=VALUE`, as the older rules for variables have it. The loosest of its alternatives counts.
pub(super) fn variable(pattern: &str) -> Variable {
    let mut loosest = Variable { name: Openness::Literal, value: Openness::Literal };
    for alternative in split(pattern, '|') {
        let parts = split(alternative, '=');
        let found = match parts.split_first() {
            Some((name, [])) => {
                // No equals sign that is written out: what matches it decides where the name ends.
                let open = sequence(name, MAX_DEPTH);
                Variable { name: open, value: open }
            }
            Some((name, values)) => Variable {
                name: sequence(name, MAX_DEPTH),
                value: values.iter().map(|value| sequence(value, MAX_DEPTH)).fold(Openness::Literal, Openness::max),
            },
            None => Variable { name: Openness::Anything, value: Openness::Anything },
        };
        loosest = Variable { name: loosest.name.max(found.name), value: loosest.value.max(found.value) };
    }
    loosest
}

/// Whether every alternative of a pattern is anchored at beginning and end.
pub(super) fn is_anchored(pattern: &str) -> bool {
    let anchored = |part: &&str| part.starts_with('^') && part.ends_with('$') && !part.ends_with("\\$");
    split(pattern, '|').iter().all(anchored)
}

/// The parts of a pattern between a character that stands outside of groups, classes and escapes.
fn split(pattern: &str, at: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut place, mut depth) = (0_usize, 0_usize, 0_usize);
    while let Some(lexeme) = pattern.get(place..).and_then(lexeme) {
        let end = place.saturating_add(lexeme.len());
        match lexeme {
            "(" => depth = depth.saturating_add(1),
            ")" => depth = depth.saturating_sub(1),
            found if depth == 0 && found.starts_with(at) => {
                parts.extend(pattern.get(start..place));
                start = end;
            }
            _ => {}
        }
        place = end;
    }
    parts.extend(pattern.get(start..));
    parts
}

/// The first escape, class or character.
fn lexeme(rest: &str) -> Option<&str> {
    parser_steps::step();
    let first = rest.chars().next()?;
    let behind = rest.get(first.len_utf8()..).unwrap_or_default();
    let after = match first {
        '\\' => behind.get(behind.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default(),
        '[' => class_end(behind),
        _ => behind,
    };
    rest.get(..rest.len().saturating_sub(after.len()))
}

/// Reads a pattern without alternatives at its top level.
fn sequence(pattern: &str, depth: u8) -> Openness {
    let Some(depth) = depth.checked_sub(1) else { return Openness::Anything };
    let (mut fixed, mut open) = (false, false);
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        parser_steps::step();
        let behind = rest.get(first.len_utf8()..).unwrap_or_default();
        let (atom, after) = match first {
            '^' | '$' => {
                rest = behind;
                continue;
            }
            '(' => {
                let (group, after) = group(behind);
                match flags(group) {
                    // Flags alone, which match nothing; with them, letters match in both cases.
                    Some("") => {
                        open = true;
                        rest = after;
                        continue;
                    }
                    inner => (alternatives(inner.unwrap_or(group), depth), after),
                }
            }
            '[' => (Openness::Anything, class_end(behind)),
            '.' => (Openness::Anything, behind),
            '\\' => escape(behind),
            _ => (Openness::Literal, behind),
        };
        let (quantified, after) = quantifier(after);
        match quantified {
            Quantifier::None => {}
            Quantifier::AtLeastOnce => open = true,
            Quantifier::Optional => {
                open = true;
                rest = after;
                continue;
            }
        }
        fixed |= atom != Openness::Anything;
        open |= atom != Openness::Literal;
        rest = after;
    }
    match (fixed, open) {
        (_, false) => Openness::Literal,
        (true, true) => Openness::Partial,
        (false, true) => Openness::Anything,
    }
}

fn alternatives(pattern: &str, depth: u8) -> Openness {
    let alternatives = split(pattern, '|');
    // Several texts are no literal, however fixed each of them is.
    let several = if alternatives.len() > 1 { Openness::Partial } else { Openness::Literal };
    alternatives.into_iter().map(|alternative| sequence(alternative, depth)).fold(several, Openness::max)
}

/// The content of a group, and what follows it.
fn group(rest: &str) -> (&str, &str) {
    let (mut place, mut depth) = (0_usize, 1_usize);
    while let Some(lexeme) = rest.get(place..).and_then(lexeme) {
        let end = place.saturating_add(lexeme.len());
        match lexeme {
            "(" => depth = depth.saturating_add(1),
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return (rest.get(..place).unwrap_or_default(), rest.get(end..).unwrap_or_default());
        }
        place = end;
    }
    (rest, "")
}

/// What is matched of a group that begins with `?`: `(?i)`, `(?i:x)`, `(?P<name>x)`. None for a plain group.
fn flags(group: &str) -> Option<&str> {
    let inner = group.strip_prefix('?')?;
    match inner.find([':', '>']) {
        Some(place) => inner.get(place.saturating_add(1)..),
        None => Some(""),
    }
}

/// What follows a class. A `]` that comes first is part of it, and so is that of a class within it, such as `[:alpha:]`.
fn class_end(rest: &str) -> &str {
    let body = rest.strip_prefix('^').unwrap_or(rest);
    let mut body = body.strip_prefix(']').unwrap_or(body);
    loop {
        parser_steps::step();
        // No further than a name goes: with a search for its end a class full of `[:` would be read to the end for each.
        let named = body.strip_prefix("[:").and_then(|name| {
            let end = name.bytes().position(|byte| !byte.is_ascii_lowercase() && byte != b'^')?;
            Some((name.get(..end)?, name.get(end..)?.strip_prefix(":]")?))
        });
        let mut characters = body.chars();
        body = match (named, characters.next()) {
            (Some((_, after)), _) => after,
            (None, None) => return "",
            (None, Some(']')) => return characters.as_str(),
            (None, Some('\\')) => {
                characters.next();
                characters.as_str()
            }
            (None, Some(_)) => characters.as_str(),
        };
    }
}

/// An escape: punctuation for itself, a letter or digit for a class, a boundary or a code, which fix nothing that is read here.
fn escape(rest: &str) -> (Openness, &str) {
    let Some(escaped) = rest.chars().next() else { return (Openness::Anything, "") };
    let behind = rest.get(escaped.len_utf8()..).unwrap_or_default();
    if escaped.is_ascii_punctuation() { (Openness::Literal, behind) } else { (Openness::Anything, behind) }
}

enum Quantifier {
    None,
    AtLeastOnce,
    Optional,
}

fn quantifier(rest: &str) -> (Quantifier, &str) {
    let Some(first) = rest.chars().next() else { return (Quantifier::None, rest) };
    let behind = rest.get(1..).unwrap_or_default();
    let (found, after) = match first {
        '*' | '?' => (Quantifier::Optional, behind),
        '+' => (Quantifier::AtLeastOnce, behind),
        '{' => match behind.split_once('}') {
            Some((least, after)) if least.starts_with(|c: char| c.is_ascii_digit() && c != '0') => {
                (Quantifier::AtLeastOnce, after)
            }
            Some((_, after)) => (Quantifier::Optional, after),
            None => (Quantifier::Optional, ""),
        },
        _ => return (Quantifier::None, rest),
    };
    (found, after.strip_prefix('?').unwrap_or(after))
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
