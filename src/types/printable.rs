//! Escaping of untrusted text for terminals and logs.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns `text` with every character escaped that a terminal obeys instead of showing: control characters (C0 with line
/// breaks, DEL, C1), bidirectional and other format characters, private and unassigned ones. They become `\u{202e}` and the
/// like (or `\n`, `\r`, `\t`, `\0`).
///
/// Evidence, responses and files are written by others. An escape sequence in them could move the cursor and write `passed` over
/// `FAILED`; a line break could add a line of its own to a log.
///
/// ```
/// use blindbox_attestation::printable;
/// assert_eq!(printable("feed\u{202e}\u{9b}2J"), "feed\\u{202e}\\u{9b}2J");
/// ```
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, is_unprintable, |c, shown| shown.extend(c.escape_debug()))
}

/// Returns JSON with the same characters escaped as `\u202e` and the like. It remains the same JSON value: outside of strings
/// there are none of them, except for the line breaks and spaces that it is laid out with.
#[must_use]
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let escape = |c: char, shown: &mut String| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    };
    escaped(json, |c| is_unprintable(c) && !matches!(c, '\n' | '\t' | '\r'), escape)
}

fn escaped(text: &str, unfit: impl Fn(char) -> bool, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.chars().any(&unfit) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if unfit(c) { escape(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// Whether a character must be escaped: those of Rust's `escape_debug`, except the ones special only in Rust literals. Nearly all text
/// is of visible ASCII characters, none of which is.
fn is_unprintable(c: char) -> bool {
    !matches!(c, ' '..='~') && c.escape_debug().ne(std::iter::once(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every control character and every format character of the Unicode blocks that have them.
    fn hostile() -> impl Iterator<Item = char> {
        let ranges = [
            ('\0', '\u{1f}'),
            ('\u{7f}', '\u{9f}'),
            ('\u{ad}', '\u{ad}'),
            ('\u{61c}', '\u{61c}'),
            ('\u{200b}', '\u{200f}'),
            ('\u{2028}', '\u{202e}'),
            ('\u{2060}', '\u{206f}'),
            ('\u{feff}', '\u{feff}'),
            ('\u{fff9}', '\u{fffb}'),
            ('\u{e0001}', '\u{e007f}'),
            ('\u{f0000}', '\u{f0010}'),
        ];
        ranges.into_iter().flat_map(|(first, last)| first..=last)
    }

    #[test]
    fn characters_that_a_terminal_obeys_are_escaped_and_all_others_stay() {
        for c in hostile() {
            let shown = printable(&format!("a{c}b")).into_owned();
            assert!(shown.starts_with("a\\") && shown.ends_with('b') && !shown.contains(c), "{c:?}: {shown:?}");
        }
        let plain = r#"C:\path "quoted" 'it' é 日本語 … ✓ 🦀 ä"#;
        assert!(matches!(printable(plain), Cow::Borrowed(text) if text == plain));
    }

    #[test]
    fn json_stays_the_same_value() {
        let hostile: String = hostile().chain("plain 🦀".chars()).collect();
        let value = serde_json::json!({ "text": hostile, "of": ["\u{9b}31m", 1] });
        for json in [value.to_string(), format!("{value:#}")] {
            let shown = printable_json(&json);
            assert!(shown.chars().all(|c| c == '\n' || !is_unprintable(c)), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
