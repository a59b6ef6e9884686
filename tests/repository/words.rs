//! The vocabulary of `CONTRIBUTING.md`: words that documents, comments and messages do not use.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Words and phrases, in lower case, and what to write instead.
const BANNED: &[(&str, &str)] = &[
    ("anew", "again, re-"),
    ("answer", "response"),
    ("answered", "responded, had a response"),
    ("answers", "responses, responds"),
    ("anybody", "anyone"),
    ("at hand", "available, cached"),
    ("came along", "was provided"),
    ("came by", "obtained"),
    ("come along", "are provided"),
    ("come by", "obtained"),
    ("comes along", "is provided"),
    ("folder", "directory"),
    ("folders", "directories"),
    ("he", "they, or name the subject"),
    ("him", "them, or name the object"),
    ("himself", "themselves"),
    ("his", "their"),
    ("meanwhile", "at the same time, until then"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("mends", "fixes"),
    ("nobody", "no one, or name the subject"),
    ("she", "they, or name the subject"),
    ("somebody", "someone, an attacker"),
    ("taken apart", "parsed"),
    ("told", "reported, logged"),
    ("whoever", "anyone who"),
];

/// Words that a frozen name consists of, by file: a member of the JSON that `fetch` prints.
const FROZEN: &[(&str, &str)] = &[("src/bin/blindbox-attest/fetch.rs", "folder")];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a directory with this extension, in a fixed order.
pub fn files(directory: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// The prose of a Markdown document, line by line: without code blocks, code spans and targets of links.
fn prose(document: &str) -> Vec<String> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for line in document.lines() {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        let is_definition = line.starts_with('[') && line.contains("]: ");
        let text: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" x ");
        lines.push(if in_block || is_fence || is_definition { String::new() } else { text });
    }
    lines
}

/// Comments and string literals of Rust, line by line. Code spans in comments are names, and left out.
fn comments_and_strings(source: &str) -> Vec<String> {
    #[derive(PartialEq)]
    enum State {
        Code,
        Comment,
        Text,
        Raw(usize),
    }
    let mut lines = Vec::new();
    let mut state = State::Code;
    for line in source.lines() {
        if state == State::Comment {
            state = State::Code;
        }
        let mut kept = String::new();
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let mut length = c.len_utf8();
            match state {
                State::Code if rest.starts_with("//") => state = State::Comment,
                State::Code if rest.starts_with("r\"") || rest.starts_with("r#") => {
                    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
                    if rest[1 + hashes..].starts_with('"') {
                        state = State::Raw(hashes);
                        length = hashes + 2;
                    }
                }
                State::Code if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") => {
                    length = rest[1..].find('\'').unwrap() + 2;
                }
                State::Code if c == '"' => state = State::Text,
                State::Text if c == '\\' => length += rest[1..].chars().next().map_or(0, char::len_utf8),
                State::Text if c == '"' => {
                    state = State::Code;
                    kept.push(' ');
                }
                State::Raw(hashes) if c == '"' && rest[1..].starts_with(&"#".repeat(hashes)) => {
                    state = State::Code;
                    length += hashes;
                    kept.push(' ');
                }
                State::Comment | State::Text | State::Raw(_) => kept.push(c),
                State::Code => {}
            }
            rest = &rest[length..];
        }
        lines.push(kept.split('`').step_by(2).collect::<Vec<_>>().join(" x "));
    }
    lines
}

/// Comments of scripts and of TOML, and the texts between three quotes that document Python, line by line.
fn comments_of_scripts(source: &str) -> Vec<String> {
    let mut in_text = false;
    let mut lines = Vec::new();
    for line in source.lines() {
        let text = line.trim_start();
        let quotes = line.matches("\"\"\"").count();
        let is_prose = in_text || text.starts_with("\"\"\"") || text.starts_with('#');
        in_text ^= quotes % 2 == 1;
        let kept = if is_prose { line } else { line.split_once("  # ").map_or("", |(_, comment)| comment) };
        lines.push(kept.split('`').step_by(2).collect::<Vec<_>>().join(" x "));
    }
    lines
}

/// Comments of Rust and of other languages with its form of them, line by line: the strings of tests are what programs print, with names
/// of variables in them.
fn comments(source: &str) -> Vec<String> {
    let is_comment = |line: &&str| ["//", "/*", "* "].iter().any(|start| line.trim_start().starts_with(start));
    let lines = source.lines().map(|line| Some(line).filter(is_comment).unwrap_or_default());
    lines.map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join(" x ")).collect()
}

/// Banned words of a text, each with its line and what to write instead. A phrase may run over the end of a line.
fn banned(lines: &[String]) -> Vec<(usize, &'static str, &'static str)> {
    let mut words = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        // A hyphen, an underscore or a digit makes a name of it: `answer-refused`, `max_answer`.
        let of_line = line.split(|c: char| !(c.is_alphanumeric() || "-_'’/.".contains(c)));
        let of_line = of_line.map(|word| word.trim_matches(['.', '\'', '’', '-', '/']).to_lowercase());
        // What is behind an apostrophe inside a word is an ending: `anybody's`, `he'd`.
        let of_line = of_line.map(|word| word.split(['\'', '’']).next().unwrap().to_owned());
        words.extend(of_line.filter(|word| !word.is_empty()).map(|word| (number + 1, word)));
    }
    let mut found = Vec::new();
    for (at, (line, word)) in words.iter().enumerate() {
        for (phrase, instead) in BANNED {
            let is_it = match phrase.split_once(' ') {
                Some((first, second)) => word == first && words.get(at + 1).is_some_and(|(_, next)| next == second),
                None => word == phrase,
            };
            if is_it {
                found.push((*line, *phrase, *instead));
            }
        }
    }
    found
}

fn assert_clean(paths: &[PathBuf], read: fn(&str) -> Vec<String>) {
    let mut report = String::new();
    for path in paths {
        let text = fs::read_to_string(path).unwrap();
        for (line, word, instead) in banned(&read(&text)) {
            let name = path.strip_prefix(root()).unwrap();
            if FROZEN.iter().any(|(file, frozen)| name == Path::new(file) && word == *frozen) {
                continue;
            }
            writeln!(report, "{}:{line}: {word:?}: write {instead}", name.display()).unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

/// The documents of the repository, in a fixed order.
pub fn documents() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    files(&root().join("docs"), "md", &mut paths);
    assert!(paths.len() >= 14, "{paths:?}");
    for name in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"] {
        paths.push(root().join(name));
    }
    // What has a workspace of its own is not part of the package.
    for directory in ["bindings", "examples", "models", "packaging", "src"] {
        let directory = root().join(directory);
        if directory.exists() {
            named(&directory, &["README.md"], &mut paths);
        }
    }
    paths.retain(|path| !is_built(path));
    paths
}

#[test]
fn the_documents_use_the_vocabulary() {
    let mut paths = documents();
    let pages = root().join("bindings/wasm");
    if pages.exists() {
        files(&pages, "html", &mut paths);
    }
    paths.retain(|path| !is_built(path));
    assert_clean(&paths, prose);
}

#[test]
fn the_source_uses_the_vocabulary() {
    let mut paths = Vec::new();
    files(&root().join("src"), "rs", &mut paths);
    for example in ["blocking", "connect", "inspect", "offline", "quickstart"] {
        paths.push(root().join("examples").join(example).with_extension("rs"));
    }
    assert_clean(&paths, comments_and_strings);
}

#[test]
fn the_tests_use_the_vocabulary_in_their_comments() {
    let mut paths = Vec::new();
    files(&root().join("tests"), "rs", &mut paths);
    // The example has a workspace of its own, which is not part of the package.
    let gateway = root().join("examples/gateway");
    for sources in ["src", "tests"].map(|name| gateway.join(name)).iter().filter(|path| path.exists()) {
        files(sources, "rs", &mut paths);
    }
    // It names the words.
    paths.retain(|path| !path.ends_with("repository/words.rs"));
    assert_clean(&paths, comments);
}

/// What is not part of the package, beside it in the repository: the agent, bindings, models, targets of the fuzzer, tools.
#[test]
fn sources_beside_the_package_use_the_vocabulary() {
    let mut agent = Vec::new();
    let mut others = Vec::new();
    let mut scripts = Vec::new();
    let sources = root().join("examples/agent/src");
    if sources.exists() {
        files(&sources, "rs", &mut agent);
    }
    for directory in ["benches", "bindings", "examples/agent/tests", "fuzz", "models", ".ci"] {
        let directory = root().join(directory);
        if !directory.exists() {
            continue;
        }
        for extension in ["c", "go", "h", "java", "js", "kt", "mjs", "mts", "rs", "ts"] {
            files(&directory, extension, &mut others);
        }
        for extension in ["py", "pyi"] {
            files(&directory, extension, &mut scripts);
        }
        named(&directory, &["build", "install", "run"], &mut scripts);
    }
    scripts.push(root().join("Cargo.toml"));
    for paths in [&mut others, &mut scripts] {
        paths.retain(|path| !is_built(path));
    }
    // The messages of the bindings, too. Those of tests are what programs print.
    let is_of_binding = |path: &PathBuf| {
        let path = path.strip_prefix(root()).unwrap();
        path.starts_with("bindings")
            && path.extension().is_some_and(|found| found == "rs")
            && path.iter().nth(2) == Some("src".as_ref())
    };
    let bindings: Vec<_> = others.extract_if(.., |path| is_of_binding(path)).collect();
    assert!(
        !root().join("bindings").exists() || bindings.iter().any(|path| path.ends_with("wasm/src/lib.rs")),
        "{bindings:?}"
    );
    assert_clean(&agent, comments_and_strings);
    assert_clean(&bindings, comments_and_strings);
    assert_clean(&others, comments);
    assert_clean(&scripts, comments_of_scripts);
}

/// Whether a file is what a build has written, or what a package manager has fetched.
pub fn is_built(path: &Path) -> bool {
    let parts = path.strip_prefix(root()).unwrap();
    parts.iter().any(|part| part == "target" || part == "node_modules" || part == "dist")
}

/// All files below a directory with one of these names, in a fixed order.
fn named(directory: &Path, names: &[&str], found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            named(&path, names, found);
        } else if path.file_name().is_some_and(|name| names.iter().any(|wanted| name == *wanted)) {
            found.push(path);
        }
    }
}

#[test]
fn the_readers_find_what_they_should() {
    let document = "Nobody\n```text\nnobody\n```\nis `nobody` at\nhand.\nAnybody's and anybody’s 'folder', don't.\n";
    assert_eq!(
        banned(&prose(document)),
        [
            (1, "nobody", "no one, or name the subject"),
            (5, "at hand", "available, cached"),
            (7, "anybody", "anyone"),
            (7, "anybody", "anyone"),
            (7, "folder", "directory")
        ]
    );

    let source = concat!(
        "let answer = 1; // his\n",
        "let c = '\"'; let s = \"an \\\"answer\\\" https://x\"; let answer = 2;\n",
        "let r = r#\"\" mend \"#; answer\n",
        "/// `answer` and answer-refused\n",
    );
    let script = "x = 1  # his\n\"\"\"A folder.\n\nNobody.\"\"\"\nfolder = 2\n    # told `him`\n";
    let words: Vec<_> = banned(&comments_of_scripts(script)).into_iter().map(|(line, word, _)| (line, word)).collect();
    assert_eq!(words, [(1, "his"), (2, "folder"), (4, "nobody"), (6, "told")]);
    let words: Vec<_> = banned(&comments("/** An answer.\n * Told.\n answer * 2 // his\n"))
        .into_iter()
        .map(|(line, word, _)| (line, word))
        .collect();
    assert_eq!(words, [(1, "answer"), (2, "told")]);

    let words: Vec<_> = banned(&comments_and_strings(source)).into_iter().map(|(line, word, _)| (line, word)).collect();
    assert_eq!(words, [(1, "his"), (2, "answer"), (3, "mend")]);
}
