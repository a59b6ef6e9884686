//! The plain data in a Rego text: `name := value` at the top level, where the value is written out.
//!
//! No evaluation. A rule with a body, a value that is computed, a name that is assigned twice: all of these are skipped,
//! so that what is read is what the text says. Nothing here fails or panics; what is not understood is not there.

use std::collections::BTreeMap;

/// Deeper nesting than any policy has; bounds the recursion.
const MAX_DEPTH: u8 = 32;

/// A value that is written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Object(Vec<(String, Data)>),
    Array(Vec<Data>),
    Text(String),
    Bool(bool),
    /// `null`, a number, or a path such as `data.framework.mount_device`.
    Other,
}

impl Data {
    /// A member of an object, if it is there exactly once.
    pub(super) fn member(&self, name: &str) -> Option<&Data> {
        let Self::Object(members) = self else { return None };
        let mut found = members.iter().filter(|(member, _)| member == name);
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
}

/// Every name that is assigned at the top level exactly once, without condition, a value that is written out.
pub(super) fn assignments(text: &str) -> BTreeMap<String, Data> {
    let mut found: BTreeMap<String, Option<Data>> = BTreeMap::new();
    let mut reader = Reader { rest: text };
    loop {
        reader.skip_blank();
        if reader.rest.is_empty() {
            break;
        }
        let start = reader.rest;
        let read = reader.assignment();
        let name = match read {
            Some((name, value)) => {
                found.entry(name.clone()).and_modify(|seen| *seen = None).or_insert(Some(value));
                continue;
            }
            None => Reader { rest: start }.word(),
        };
        // Whatever else defines this name makes the plain assignment untrue.
        if let Some(name) = name {
            found.insert(name.to_owned(), None);
        }
        reader.rest = start;
        reader.skip_statement();
    }
    found.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn eat(&mut self, expected: &str) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest.trim_start_matches(belongs);
        let taken = self.rest.strip_suffix(rest).unwrap_or_default();
        self.rest = rest;
        taken
    }

    /// White space and comments, over any number of lines.
    fn skip_blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.starts_with('#') {
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
        let ends = self.rest.is_empty() || self.rest.starts_with(['\n', '#']);
        ends.then_some((name, value))
    }

    fn value(&mut self, depth: u8) -> Option<Data> {
        let depth = depth.checked_sub(1)?;
        if self.eat("[") {
            return self.array(depth);
        }
        if self.eat("{") {
            return self.object(depth);
        }
        if self.rest.starts_with(['"', '`']) {
            return self.string().map(Data::Text);
        }
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '+'));
        match word {
            "true" => Some(Data::Bool(true)),
            "false" => Some(Data::Bool(false)),
            "" => None,
            _ => Some(Data::Other),
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
            if !self.eat(",") && !self.rest.starts_with(']') {
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
            if !self.eat(",") && !self.rest.starts_with('}') {
                return None;
            }
        }
    }

    /// A text in quotes with JSON's escapes, or a raw one in back quotes.
    fn string(&mut self) -> Option<String> {
        if self.eat("`") {
            let (raw, rest) = self.rest.split_once('`')?;
            self.rest = rest;
            return Some(raw.to_owned());
        }
        if !self.rest.starts_with('"') {
            return None;
        }
        let mut texts = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = texts.next()?.ok()?;
        self.rest = self.rest.get(texts.byte_offset()..)?;
        Some(text)
    }

    /// Everything up to the end of the first line that closes all brackets.
    fn skip_statement(&mut self) {
        let mut open: usize = 0;
        while let Some(next) = self.rest.chars().next() {
            match next {
                '"' | '`' => {
                    if self.string().is_some() {
                        continue;
                    }
                    // A text that does not end: nothing behind it can be told apart from it.
                    self.rest = "";
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
            self.rest = self.rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Data)> {
        assignments(text).into_iter().collect()
    }

    #[test]
    fn plain_data_is_read() {
        let text = "package policy\n\nimport future.keywords.in\n\na := true # yes\nb:=\"x\\n\\u0041\"\nc := `raw \"text\" \\d`\nd := [\n  {\"k\": [1, -2.5, null,], },\n  # a comment ]\n]\ne := data.framework.e\nf := { }\r\n";
        let object = |member: &str, value| Data::Object(vec![(member.to_owned(), value)]);
        assert_eq!(
            read(text),
            [
                ("a".to_owned(), Data::Bool(true)),
                ("b".to_owned(), Data::Text("x\nA".into())),
                ("c".to_owned(), Data::Text("raw \"text\" \\d".into())),
                ("d".to_owned(), Data::Array(vec![object("k", Data::Array(vec![Data::Other; 3]))])),
                ("e".to_owned(), Data::Other),
                ("f".to_owned(), Data::Object(vec![])),
            ]
        );
    }

    #[test]
    fn what_depends_on_something_is_not_read() {
        for text in [
            "a := true { input.x }",
            "a := true if input.x",
            "a := true; b := true",
            "a := true\na := false",
            "a := true\na { input.x }",
            "a { input.x }\na := true",
            "b { \n a := true\n }",
            "b = [x |\n x := true\n]",
            "default a := true",
            "a = true",
            "a := not b",
            "a := {\"x\", \"y\"}",
            "a := {\"x\": y | y := 1}",
            "a := f(\"x\")",
            "a := \"x\" + \"y\"",
            "a := \"never ends\n",
            "a := `never ends\n",
            "a := [1, 2\n",
            "# a := true",
            "x(\"\n a := true\n",
            "\"a := true\"",
            "a :=",
            "a",
            ":=",
        ] {
            assert_eq!(assignments(text).get("a"), None, "{text}");
        }
        let deep = format!("a := {}{}", "[".repeat(1000), "]".repeat(1000));
        assert_eq!(read(&deep), []);
        assert_eq!(assignments("x := f(1)\ny(a) := 1\na := true").get("a"), Some(&Data::Bool(true)));
    }

    #[test]
    fn a_member_that_stands_twice_is_not_there() {
        let found = assignments("a := {\"x\": true, \"x\": false, \"y\": true}");
        assert_eq!(found["a"].member("x"), None);
        assert_eq!(found["a"].member("y"), Some(&Data::Bool(true)));
    }
}
