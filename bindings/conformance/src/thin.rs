//! Runners are thin, so that what is compared is a binding and not what was written around it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::scenario::Failure;

/// How many lines a language may have, in all files.
const LINES: usize = 150;
/// How long a line may be.
const WIDTH: usize = 140;

/// The sources below a directory, but for what states dependencies.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_none_or(|extension| extension != "mod") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn every_runner_is_thin() -> Result<(), Failure> {
    let runners = Path::new(env!("CARGO_MANIFEST_DIR")).join("runners");
    let mut paths = Vec::new();
    sources(&runners, &mut paths)?;
    let mut lines = BTreeMap::new();
    for path in paths {
        // A language is a file, or a directory of several.
        let language = path.strip_prefix(&runners)?.iter().next().ok_or("a path has a name")?;
        let language = Path::new(language).file_stem().unwrap_or_default().to_owned();
        let text = fs::read_to_string(&path)?;
        let sum: &mut usize = lines.entry(language).or_default();
        *sum = sum.saturating_add(text.lines().count());
        if let Some(line) = text.lines().find(|line| line.chars().count() > WIDTH) {
            return Err(format!("{}: expected at most {WIDTH} characters, found {line:?}", path.display()).into());
        }
    }
    assert_eq!(lines.keys().collect::<Vec<_>>(), ["c", "go", "kotlin", "node", "python", "wasm"]);
    for (language, lines) in lines {
        let advice = "move what is no use of the binding into src/";
        assert!(lines <= LINES, "{}: expected at most {LINES} lines, found {lines}; {advice}", language.display());
    }
    Ok(())
}
