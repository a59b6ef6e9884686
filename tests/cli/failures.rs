//! What a command says when it comes to no end, for people and for machines.

use std::fs;

use serde_json::Value;

use crate::tool::{Emulator, Outcome, run};

/// The one JSON object on standard output, and nothing else.
fn told(outcome: &Outcome) -> Value {
    assert_eq!(outcome.err, "");
    outcome.json()
}

#[test]
fn each_verdict_has_its_word() {
    let mut emulator = Emulator::start(&[]);
    let verdict = |emulator: &Emulator| {
        let outcome = emulator.verify(&["--json"]);
        (outcome.exit, told(&outcome)["verdict"].as_str().unwrap().to_owned())
    };
    assert_eq!(verdict(&emulator), (0, "accepted".to_owned()));
    emulator.order("knob debug");
    assert_eq!(verdict(&emulator), (1, "rejected".to_owned()));
    emulator.order("knob old-nonce");
    assert_eq!(verdict(&emulator), (2, "untrusted".to_owned()));
    emulator.order("stop");
    assert_eq!(verdict(&emulator), (3, "no-verdict".to_owned()));
    fs::write(emulator.file("policy.toml"), "version = 1\nx = 1\n").unwrap();
    assert_eq!(verdict(&emulator), (4, "misconfigured".to_owned()));
    fs::remove_file(emulator.file("policy.toml")).unwrap();
    assert_eq!(verdict(&emulator), (4, "misconfigured".to_owned()));
}

#[test]
fn every_failure_is_one_json_object() {
    let url = "https://my-app.example";
    for arguments in [
        &["verify", url, "--policy", "/none", "--json"][..],
        &["fetch", url, "--policy", "/none", "--out", "/none", "--json"],
        &["proxy", url, "--policy", "/none", "--json"],
        &["policy", "lint", "/none", "--json"],
        &["policy", "show", "/none", "--json"],
        &["policy", "new", "--amd", "--binding", "own-key", "--uvm-svn", "1", "--cce-policy", "/none", "--json"],
        &["host-data", "/none", "--json"],
        &["advisories", "/none", "--json"],
    ] {
        let outcome = run(arguments);
        assert_eq!(outcome.exit, 4, "{arguments:?}");
        let told = told(&outcome);
        assert_eq!(told["verdict"], "misconfigured", "{told}");
        assert_eq!(told["error"]["code"], "misconfigured");
        assert_eq!(told["error"]["category"], "misconfigured");
        assert_eq!(told["error"]["retryable"], false);
        assert!(told["error"]["message"].as_str().unwrap().starts_with("/none: "), "{told}");
    }
}

#[test]
fn a_policy_file_that_is_none_is_named_with_the_place() {
    let emulator = Emulator::start(&[]);
    let policy = emulator.path("policy.toml");
    let lint = |text: &str| {
        fs::write(&policy, text).unwrap();
        let outcome = run(&["policy", "lint", &policy]);
        assert_eq!((outcome.exit, outcome.out.as_str()), (4, ""));
        outcome.err
    };
    let err = lint("version = 1\nkind = \n");
    assert!(err.starts_with(&format!("error[invalid-policy]: {policy}: line 2, column 8: ")), "{err}");
    assert!(!err.contains("\\n"), "{err}");
    // What is in the file cannot write on the terminal, nor make a line look like one of the program.
    let err = lint("\"a\x1b[31m\\nerror[x]: y\" = 1\n");
    assert!(!err.contains('\x1b'), "{err:?}");
    assert_eq!(err.lines().count(), 1, "{err:?}");
    let err = lint("{\"version\": 1, \"x\": 1}");
    assert!(err.starts_with(&format!("error[invalid-policy]: {policy}: ")) && err.contains("column"), "{err}");
    // A policy that can be read and not be used.
    let err = lint("version = 2\nkind = \"confidential-vm\"\n[trust.amd]\n");
    assert!(err.starts_with(&format!("error[invalid-policy]: {policy}: ")), "{err}");
}

#[test]
fn no_error_says_its_name_twice() {
    let emulator = Emulator::start(&[]);
    let policy = emulator.path("policy.toml");
    for (url, more, begin) in [
        ("my-app.example", vec![], "error[invalid-url]: expected "),
        ("https://127.0.0.1:1", vec!["--kds", "x"], "error[invalid-url]: expected "),
        ("https://127.0.0.1:1", vec!["--amd-roots", &policy], &format!("error[misconfigured]: {policy}: ")),
    ] {
        let outcome = run(&[&["verify", url, "--policy", &policy][..], &more].concat());
        assert_eq!(outcome.exit, 4);
        assert!(outcome.err.starts_with(begin), "{}", outcome.err);
        assert!(!outcome.err.contains(": misconfigured: ") && !outcome.err.contains("invalid url"), "{}", outcome.err);
    }
}
