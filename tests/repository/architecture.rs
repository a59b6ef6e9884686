//! The floors of the house: a module imports only from below.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. Modules on one floor do not import each other.
const FLOORS: &[&[&str]] = &[
    // `vectors`: where recorded evidence is, for unit tests only.
    &["parser_steps", "sync", "types", "vectors"],
    &["der"],
    &["claims", "crypto", "json", "appraisal", "clock", "retry"],
    &["cce_policy", "message", "x509"],
    &["agent", "maa", "snp", "uvm"],
    &["policy"],
    &["azure_vm"],
    &["error"],
    &["challenge", "evidence", "deadline", "base_url"],
    &["agent_protocol", "cross_check", "files", "maa_key"],
    &["binding", "recorded"],
    &["appraise"],
    &["attestation"],
    &["advisories", "inspect", "verify"],
    &["tls", "telemetry", "message_client"],
    &["transport"],
    &["fetch"],
    &["verifier_state"],
    &["http"],
    &["attest"],
    &["session"],
    &["verifier"],
    &["blocking"],
    &["emulator"],
    &["manual"],
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a line names after `crate::`, those in a braced list too.
fn imports(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    // Unit tests may look up: they are outside of the house.
    let code = code.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').map(str::trim).collect(),
            None => vec![rest],
        };
        found.extend(
            names
                .into_iter()
                .map(|name| name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()),
        );
    }
    found
}

#[test]
fn a_module_imports_only_from_lower_floors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floor_of: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, modules)| modules.iter().map(move |module| (*module, floor)))
        .collect();
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut faults = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" || module == "bin" {
            continue;
        }
        let Some(own) = floor_of.get(module) else {
            faults.push(format!("{} has no floor: give it one in this test", relative.display()));
            continue;
        };
        for name in imports(&fs::read_to_string(&file).unwrap()) {
            // A name that is no module is the crate's public root, which stands above everything.
            let allowed = match floor_of.get(name.as_str()) {
                Some(floor) => floor < own || name == module,
                None => false,
            };
            if !allowed {
                faults.push(format!("{} imports crate::{name}", relative.display()));
            }
        }
    }
    assert!(faults.is_empty(), "upward imports:\n{}", faults.join("\n"));
}

/// A module that stood on two floors could import everything up to the higher one.
#[test]
fn every_module_stands_on_one_floor() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = BTreeMap::new();
    for (floor, module) in FLOORS.iter().enumerate().flat_map(|(floor, all)| all.iter().map(move |one| (floor, *one))) {
        if let Some(other) = seen.insert(module, floor) {
            panic!("{module} stands on the floors {other} and {floor}");
        }
        let is_there = src.join(module).is_dir() || src.join(format!("{module}.rs")).is_file() || module == "vectors";
        assert!(is_there, "{module} has a floor and no source");
    }
}

#[test]
fn one_module_names_the_crypto_libraries() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let named: Vec<_> = files
        .iter()
        .filter(|file| !file.starts_with(src.join("emulator")))
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            [
                "aws_lc_rs::",
                "p256::",
                "p384::",
                "p521::",
                "rsa::BoxedUint",
                "sha1::Sha1",
                "sha2::",
                "subtle::",
                "getrandom::",
                "aes_gcm::",
                "hkdf::Hkdf",
                "ml_kem::",
                "sha3::",
                "x25519_dalek::",
            ]
            .iter()
            .any(|library| text.contains(library))
        })
        .map(|file| file.strip_prefix(&src).unwrap().to_path_buf())
        .collect();
    // TLS names the provider of its own library, which is the same code.
    let allowed =
        ["crypto/aws_lc.rs", "crypto/rust.rs", "crypto/sealing/aws_lc.rs", "crypto/sealing/rust.rs", "tls.rs"]
            .map(Path::new);
    assert!(named.iter().all(|file| allowed.contains(&file.as_path())), "{named:?}");
}
