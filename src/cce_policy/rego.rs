//! A reader for the plain data of Rego source: `name := value` at the top level, with a literal value.
//!
//! No evaluation. A rule with a body, a value that is computed, a name that is assigned twice: each of these is a
//! statement that is not read, and is returned as such, so that what is read is what the text says and what is not
//! read is known. Nothing here fails or panics. One pass: the work grows with the length of the text.

use std::collections::BTreeSet;

use crate::parser_steps;
use crate::types::shorten;

/// Deeper nesting than any policy has; bounds the recursion.
const MAX_DEPTH: u8 = 32;

/// A value that is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Object(Vec<(String, Data)>),
    Array(Vec<Data>),
    Text(String),
    Bool(bool),
    /// As written.
    Number(String),
    Null,
    /// A reference such as `data.framework.mount_device`.
    Path(String),
}

impl Data {
    /// A member of an object, if it is there exactly once.
    pub(super) fn member(&self, name: &str) -> Option<&Data> {
        let Self::Object(members) = self else { return None };
        let mut found = members.iter().filter(|(member, _)| {
            parser_steps::step();
            member == name
        });
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> Option<&[Data]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The texts of a list of texts.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        self.items()?.iter().map(Self::text).collect()
    }
}

/// A statement that is no plain assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotRead {
    /// Its first line, from 1.
    pub(super) line: usize,
    /// Its beginning, shortened and escaped.
    pub(super) text: String,
}

/// The statements of a policy at its top level, in order.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Names that are assigned exactly once, without condition, a value that is written out.
    pub(super) assignments: Vec<(String, Data)>,
    /// Everything else but the package clause and the imports of keywords.
    pub(super) not_read: Vec<NotRead>,
}

impl Module {
    pub(super) fn get(&self, name: &str) -> Option<&Data> {
        self.assignments.iter().find(|(assigned, _)| assigned == name).map(|(_, value)| value)
    }
}

pub(super) fn read(text: &str) -> Module {
    let mut reader = RegoReader { text, at: 0 };
    let mut module = Module::default();
    // Names that something else than one plain assignment defines: what is assigned to them is not what they are.
    let (mut seen, mut unusable) = (BTreeSet::new(), BTreeSet::new());
    let (mut line, mut counted) = (1_usize, 0_usize);
    loop {
        parser_steps::step();
        reader.skip_blank();
        if reader.rest().is_empty() {
            break;
        }
        let start = reader.at;
        let breaks = text.get(counted..start).unwrap_or_default().bytes().filter(|byte| *byte == b'\n').count();
        (line, counted) = (line.saturating_add(breaks), start);
        match reader.assignment() {
            Some((name, value)) if seen.insert(name.clone()) => module.assignments.push((name, value)),
            Some((name, _)) => {
                module.not_read.push(NotRead { line, text: format!("{name} := (assigned twice)") });
                unusable.insert(name);
            }
            None => {
                reader.at = start;
                let word = reader.word().unwrap_or_default();
                reader.at = start;
                reader.skip_statement();
                let statement = text.get(start..reader.at).unwrap_or_default();
                if !is_preamble(word, statement) {
                    module.not_read.push(NotRead { line, text: shorten(statement, 300) });
                    unusable.insert(word.to_owned());
                }
            }
        }
    }
    module.assignments.retain(|(name, _)| !unusable.contains(name));
    module
}

/// The package clause, and imports that bring keywords of the language only.
fn is_preamble(word: &str, statement: &str) -> bool {
    let statement = statement.split('#').next().unwrap_or_default();
    let mut words = statement.split_ascii_whitespace();
    words.next();
    let operand = words.next().unwrap_or_default();
    if words.next().is_some() {
        return false;
    }
    match word {
        "package" => operand == "policy",
        "import" => operand == "rego.v1" || operand == "future.keywords" || operand.starts_with("future.keywords."),
        _ => false,
    }
}

struct RegoReader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> RegoReader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at = self.at.saturating_add(expected.len());
        }
        found
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at = self.at.saturating_add(len);
        rest.get(..len).unwrap_or_default()
    }

    /// White space and comments, over any number of lines.
    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if !self.rest().starts_with('#') {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn word(&mut self) -> Option<&'a str> {
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        (!word.is_empty()).then_some(word)
    }

    fn assignment(&mut self) -> Option<(String, Data)> {
        let name = self.word()?.to_owned();
        self.take_while(|c| c == ' ' || c == '\t');
        if !self.eat(":=") {
            return None;
        }
        self.skip_blank();
        let value = self.value(MAX_DEPTH)?;
        // Anything behind the value on its line would be a condition or an operator.
        self.take_while(|c| c == ' ' || c == '\t' || c == '\r');
        let ends = self.rest().is_empty() || self.rest().starts_with(['\n', '#']);
        ends.then_some((name, value))
    }

    fn value(&mut self, depth: u8) -> Option<Data> {
        parser_steps::step();
        let depth = depth.checked_sub(1)?;
        if self.eat("[") {
            return self.array(depth);
        }
        if self.eat("{") {
            return self.object(depth);
        }
        if self.rest().starts_with(['"', '`']) {
            return self.string().map(Data::Text);
        }
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+'));
        match word {
            "true" => Some(Data::Bool(true)),
            "false" => Some(Data::Bool(false)),
            "null" => Some(Data::Null),
            "" => None,
            _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') => Some(Data::Number(word.to_owned())),
            _ => Some(Data::Path(word.to_owned())),
        }
    }

    fn array(&mut self, depth: u8) -> Option<Data> {
        let mut items = Vec::new();
        loop {
            self.skip_blank();
            if self.eat("]") {
                return Some(Data::Array(items));
            }
            items.push(self.value(depth)?);
            self.skip_blank();
            if !self.eat(",") && !self.rest().starts_with(']') {
                return None;
            }
        }
    }

    fn object(&mut self, depth: u8) -> Option<Data> {
        let mut members = Vec::new();
        loop {
            self.skip_blank();
            if self.eat("}") {
                return Some(Data::Object(members));
            }
            let name = self.string()?;
            self.skip_blank();
            if !self.eat(":") {
                return None;
            }
            self.skip_blank();
            members.push((name, self.value(depth)?));
            self.skip_blank();
            if !self.eat(",") && !self.rest().starts_with('}') {
                return None;
            }
        }
    }

    /// A text in quotes with JSON's escapes, or a raw one in back quotes.
    fn string(&mut self) -> Option<String> {
        if self.rest().starts_with('`') {
            let raw = self.rest().get(1..)?;
            let len = raw.find('`')?;
            self.at = self.at.saturating_add(len).saturating_add(2);
            return raw.get(..len).map(str::to_owned);
        }
        if !self.rest().starts_with('"') {
            return None;
        }
        let mut texts = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        let text = texts.next()?.ok()?;
        self.at = self.at.saturating_add(texts.byte_offset());
        Some(text)
    }

    /// Everything up to the end of the first line that closes all brackets.
    fn skip_statement(&mut self) {
        let mut open: usize = 0;
        while let Some(next) = self.rest().chars().next() {
            parser_steps::step();
            match next {
                '"' | '`' => {
                    if self.string().is_some() {
                        continue;
                    }
                    // An unterminated string: the rest of the source belongs to it.
                    self.at = self.text.len();
                    return;
                }
                '#' => {
                    self.take_while(|c| c != '\n');
                    continue;
                }
                '[' | '{' | '(' => open = open.saturating_add(1),
                ']' | '}' | ')' => open = open.saturating_sub(1),
                '\n' if open == 0 => return,
                _ => {}
            }
            self.at = self.at.saturating_add(next.len_utf8());
        }
    }
}

#[cfg(test)]
#[path = "rego_tests.rs"]
mod tests;
