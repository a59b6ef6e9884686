//! What is published: the targets of `Cargo.toml` and the features that they need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The manifest as it is written; in the package cargo has written another one in its place.
fn manifest() -> String {
    let original = Path::new("Cargo.toml.orig");
    if Path::new(env!("CARGO_MANIFEST_DIR")).join(original).exists() { read(original) } else { read("Cargo.toml") }
}

/// A table of the manifest about a target.
struct Stated {
    name: String,
    /// As it is written, without the brackets.
    required_features: Option<String>,
    /// Of a target that is not where cargo looks for it.
    path: Option<String>,
}

fn stated_targets(kind: &str) -> Vec<Stated> {
    let manifest = manifest();
    let tables = manifest.split("\n[").filter_map(|table| table.strip_prefix(&format!("[{kind}]]\n")));
    let field = |table: &str, field: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches(['"', '[', ']']).to_owned())
    };
    let stated = |table: &str| Stated {
        name: field(table, "name").unwrap(),
        required_features: field(table, "required-features"),
        path: field(table, "path"),
    };
    tables.map(stated).collect()
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The source of each target in a directory, with the name that cargo gives it.
fn targets(directory: &str) -> Vec<(String, String)> {
    let mut targets = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    for entry in fs::read_dir(&root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut sources = Vec::new();
        if path.join("main.rs").exists() {
            files(&path, &mut sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        } else {
            continue;
        }
        targets.push((name, sources.iter().map(read).collect()));
    }
    targets
}

/// Without it the published package does not compile: it has no dev-dependency on itself that turns features on.
#[test]
fn targets_that_use_a_feature_require_it() {
    let uses = |source: &str| {
        let shared = ["common/lab.rs", "common/scene.rs", "common/fleet.rs"];
        let emulator =
            source.contains("blindbox_attestation::emulator") || shared.iter().any(|file| source.contains(file));
        let blocking = source.contains("blindbox_attestation::blocking") || source.contains("build_blocking()");
        let command = source.contains("CARGO_BIN_EXE_blindbox-attest");
        [("emulator", emulator), ("blocking", blocking), ("cli", command)]
    };
    for (kind, directory, least) in [("example", "examples", 5), ("bench", "benches", 3), ("test", "tests", 6)] {
        let mut stated_targets = stated_targets(kind);
        let mut targets = targets(directory);
        assert!(targets.len() >= least, "{directory}: {}", targets.len());
        // Cargo leaves out of the package what is in none of its directories, such as the seeds of the fuzz targets.
        let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml.orig").exists();
        let is_there = |path: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
        stated_targets.retain(|stated| !(packaged && stated.path.as_deref().is_some_and(|path| !is_there(path))));
        let elsewhere =
            stated_targets.iter().filter_map(|stated| Some((stated.name.clone(), read(stated.path.as_ref()?))));
        targets.extend(elsewhere);
        let names: BTreeSet<_> = targets.iter().map(|(name, _)| name.as_str()).collect();
        for stated in &stated_targets {
            assert!(
                names.contains(stated.name.as_str()),
                "Cargo.toml names {kind} {}, which is not there",
                stated.name
            );
        }
        // This file names them all, and its binary runs without a feature.
        for (name, source) in targets.iter().filter(|(name, _)| name != "repository") {
            let stated = stated_targets.iter().find(|stated| stated.name == *name);
            let stated = stated.and_then(|stated| stated.required_features.as_deref()).unwrap_or("");
            for (feature, used) in uses(source) {
                assert!(
                    !used || stated.split(", ").any(|stated| stated.trim_matches('"') == feature),
                    "{directory}/{name} uses the feature {feature}: state it in `required-features` of [[{kind}]] in Cargo.toml"
                );
            }
        }
    }
}

/// `cargo test` of the published package leaves out in silence what needs a feature. This line says so.
#[test]
#[cfg_attr(
    not(all(
        feature = "agent",
        feature = "blocking",
        feature = "cli",
        feature = "crypto-aws-lc",
        feature = "crypto-rust",
        feature = "emulator",
        feature = "metrics"
    )),
    ignore = "most tests are left out: run `cargo test --all-features`"
)]
fn all_features_are_tested() {
    let manifest = manifest();
    let table = manifest.split("\n[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let stated = table.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let features: Vec<_> = stated.filter_map(|line| line.split_once(" = ").map(|(name, _)| name)).collect();
    assert_eq!(
        features,
        ["default", "client", "crypto-aws-lc", "crypto-rust", "blocking", "agent", "emulator", "metrics", "cli"],
        "also in the line above"
    );
}
