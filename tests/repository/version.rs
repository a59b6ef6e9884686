//! The version: one for the crate and for every package of another language.

use std::fs;
use std::path::Path;

/// Where it is stated, and how.
const PLACES: [(&str, &str); 11] = [
    ("bindings/Cargo.toml", "\nversion = \"{}\"\n"),
    ("bindings/c/include/blindbox.h", "\n#define BB_VERSION \"{}\"\n"),
    ("bindings/emulator/node/package.json", "\n  \"version\": \"{}\",\n"),
    ("bindings/emulator/python/blindbox_emulator/__init__.py", "\n__version__ = \"{}\"\n"),
    ("bindings/emulator/python/pyproject.toml", "\nversion = \"{}\"\n"),
    ("bindings/go/blindbox.go", "\nconst Version = \"{}\"\n"),
    ("bindings/kotlin/main/Library.kt", "\ninternal const val VERSION: String = \"{}\"\n"),
    ("bindings/node/package.json", "\n  \"version\": \"{}\",\n"),
    ("bindings/python/python/blindbox_attestation/_version.py", "\n__version__ = \"{}\"\n"),
    ("bindings/wasm/Cargo.toml", "\nversion = \"{}\"\n"),
    ("bindings/wasm/blindbox.js", "\nconst VERSION = '{}';\n"),
];

/// A package that is released with the version of another one would refuse its native part.
#[test]
fn every_package_states_the_version_of_the_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The published crate has no bindings.
    if root.join("Cargo.toml.orig").exists() {
        return;
    }
    for (file, line) in PLACES {
        let content = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let line = line.replace("{}", env!("CARGO_PKG_VERSION"));
        assert!(content.contains(&line), "{file}: expected the line {:?}", line.trim());
    }
}
