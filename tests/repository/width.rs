//! Lines of prose, in documents and in comments, end where an editor still shows them whole.

use std::fs;
use std::path::Path;

use crate::words::{documents, files, is_built, root};

/// In characters. `rustfmt` wraps code earlier, and leaves comments as they are.
const MAX_WIDTH: usize = 155;

/// The wide lines of prose in a Markdown document, by number: rows of tables, code blocks and lines with an address are left out.
fn wide_in_document(document: &str) -> Vec<usize> {
    let mut in_block = false;
    let is_wide_prose = |line: &str| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        let is_row = line.trim_start().starts_with('|');
        !in_block && !is_fence && !is_row && !line.contains("https://") && line.chars().count() > MAX_WIDTH
    };
    numbers(document, is_wide_prose)
}

/// The wide lines of comments in Rust, by number, but for rows of tables.
fn wide_in_source(source: &str) -> Vec<usize> {
    let is_wide_comment = |line: &str| {
        let comment = line.trim_start().strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!', ' ']));
        comment.is_some_and(|text| !text.starts_with('|')) && line.chars().count() > MAX_WIDTH
    };
    numbers(source, is_wide_comment)
}

fn numbers(text: &str, mut is_wide: impl FnMut(&str) -> bool) -> Vec<usize> {
    (1..).zip(text.lines()).filter_map(|(number, line)| is_wide(line).then_some(number)).collect()
}

fn assert_narrow(path: &Path, wide: fn(&str) -> Vec<usize>) {
    let lines = wide(&fs::read_to_string(path).unwrap());
    assert!(lines.is_empty(), "{}: lines {lines:?} have more than {MAX_WIDTH} characters", path.display());
}

#[test]
fn lines_of_prose_are_wrapped() {
    for path in documents() {
        assert_narrow(&path, wide_in_document);
    }
    let mut sources = Vec::new();
    for directory in ["bindings", "examples", "fuzz", "models", "src", "tests"].map(|name| root().join(name)) {
        if directory.exists() {
            files(&directory, "rs", &mut sources);
        }
    }
    sources.retain(|path| !is_built(path));
    for path in sources {
        assert_narrow(&path, wide_in_source);
    }
}

#[test]
fn wide_lines_are_found() {
    let long = "word ".repeat(MAX_WIDTH / 4);
    let document = format!("{long}\n| {long} |\n```text\n{long}\n```\n- {long}\nhttps://host.example/ {long}\nshort\n");
    assert_eq!(wide_in_document(&document), [1, 6]);
    let source = format!("//! | {long} |\n/// {long}\nlet text = \"{long}\";\n    // {long}\n");
    assert_eq!(wide_in_source(&source), [2, 4]);
}
