//! A closed standard output changes no exit code: `verify ... | true` is not a verdict.

use std::fs;

use tempfile::TempDir;

use crate::tool::{Emulator, command};

/// The exit code, and what is said on standard error, with standard output a pipe that no one reads.
fn unheard(arguments: &[String]) -> (i32, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command().args(arguments).stdout(writer).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_verdict_that_no_one_reads() {
    let mut emulator = Emulator::start(&[]);
    let folder = TempDir::new().unwrap();
    for (order, exit, code) in
        [("knob vmpl=0", 0, ""), ("knob debug", 1, "debug-mode"), ("knob token-sgx", 2, "not-an-enclave")]
    {
        emulator.order("reset");
        emulator.order(order);
        for json in [false, true] {
            let options = [emulator.trusting(), words(if json { &["--json"] } else { &[] })].concat();
            let ended = unheard(&[words(&["verify", emulator.url()]), options.clone()].concat());
            assert_eq!(ended.0, exit, "{order}: {}", ended.1);
            assert!(if json { ended.1.is_empty() } else { ended.1.contains(code) }, "{order}: {}", ended.1);
            let out = folder.path().join(format!("{exit}{json}"));
            let fetch = words(&["fetch", emulator.url(), "--out", out.to_str().unwrap()]);
            let ended = unheard(&[fetch, options].concat());
            assert_eq!(ended.0, exit, "fetch, {order}: {}", ended.1);
            assert!(out.join("about.json").exists());
        }
    }
    // A verdict of none is one of none.
    emulator.order("stop");
    for json in ["--json", "--full"] {
        let verify = [words(&["verify", emulator.url(), json]), emulator.trusting()].concat();
        assert_eq!(unheard(&verify).0, 3);
    }
    let proxy = [words(&["proxy", emulator.url(), "--json", "--wait"]), emulator.trusting()].concat();
    assert_eq!(unheard(&proxy).0, 3);
}

#[test]
fn files_that_no_one_reads_about() {
    let emulator = Emulator::start(&[]);
    let (policy, token) = (emulator.path("policy.toml"), emulator.path("key-set.json"));
    let text = "package policy\ncreate_container := {\"allowed\": true}\n";
    fs::write(emulator.file("allow-all.rego"), text).unwrap();
    let rego = emulator.path("allow-all.rego");
    let new = ["policy", "new", "--amd", "--binding", "own-key", "--uvm-svn", "101"];
    for (arguments, exit) in [
        (words(&["policy", "lint", &policy]), 0),
        (words(&["policy", "lint", &policy, "--deny-open"]), 1),
        (words(&["policy", "lint", &policy, "--deny-open", "--json"]), 1),
        (words(&["policy", "lint", "/none", "--json"]), 4),
        (words(&["policy", "show", &policy]), 0),
        (words(&["policy", "show", "/none"]), 4),
        (words(&[&new[..], &["--host-data", &"5a".repeat(32)]].concat()), 0),
        (words(&[&new[..], &["--host-data", &"00".repeat(32), "--json"]].concat()), 4),
        (words(&["host-data", &rego]), 0),
        (words(&["host-data", &rego, "--deny-findings"]), 1),
        (words(&["host-data", &rego, "--deny-findings", "--json"]), 1),
        (words(&["inspect", &token]), 0),
        (words(&["inspect", &token, "/none", &token]), 4),
        (words(&["completions", "bash"]), 0),
        (words(&["--help"]), 0),
        (words(&["emulate"]), 0),
    ] {
        let ended = unheard(&arguments);
        assert_eq!(ended.0, exit, "{arguments:?}: {}", ended.1);
        assert!(!ended.1.contains("panicked") && !ended.1.contains("pipe"), "{arguments:?}: {}", ended.1);
    }
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else {
        return crate::tool::skipped("no /dev/full here");
    };
    let emulator = Emulator::start(&["--knob", "debug"]);
    for (arguments, exit) in [
        (words(&["policy", "lint", &emulator.path("policy.toml")]), 4),
        ([words(&["verify", emulator.url()]), emulator.trusting()].concat(), 1),
    ] {
        let output = command().args(&arguments).stdout(full.try_clone().unwrap()).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {err}");
        assert!(err.contains("standard output"), "{err}");
    }
}
