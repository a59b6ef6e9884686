//! The examples that are programs to use: how they end, with every reader of their output.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::tool::{Emulator, run, skipped};

/// An example, which `cargo test` builds beside the program.
fn example(name: &str) -> Option<PathBuf> {
    let programs = Path::new(env!("CARGO_BIN_EXE_blindbox-attest")).parent().unwrap();
    let path = programs.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    if !path.exists() {
        skipped("the examples are not built: `cargo build --examples`");
        return None;
    }
    Some(path)
}

/// Exit code and standard error, with standard output a pipe that no one reads.
fn unheard(example: &Path, arguments: &[&str]) -> (i32, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(example).args(arguments).stdout(writer).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn evidence(emulator: &Emulator, to: &Path) {
    let mut arguments = vec!["fetch".to_owned(), emulator.url().to_owned(), "--json".to_owned()];
    arguments.extend(["--out".to_owned(), to.to_str().unwrap().to_owned()]);
    arguments.extend(emulator.trusting());
    assert_eq!(run(&arguments).exit, 0);
}

#[test]
fn inspect_with_no_one_to_read_it() {
    let Some(inspect) = example("inspect") else { return };
    let folder = TempDir::new().unwrap();
    evidence(&Emulator::start(&[]), folder.path());
    let token = folder.path().join("token.jwt");
    let token = token.to_str().unwrap();
    assert_eq!(unheard(&inspect, &[token]), (0, String::new()));
    let (exit, err) = unheard(&inspect, &["/none", token]);
    assert_eq!(exit, 4);
    assert!(err.starts_with("error[unreadable]: /none: ") && err.lines().count() == 1, "{err}");
    assert_eq!(unheard(&inspect, &[]).0, 64);
}

#[test]
fn offline_ends_with_the_exit_codes_of_the_command() {
    let Some(offline) = example("offline") else { return };
    let folder = TempDir::new().unwrap();
    let emulator = Emulator::start(&[]);
    evidence(&emulator, folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let about: serde_json::Value = serde_json::from_slice(&std::fs::read(file("about.json")).unwrap()).unwrap();
    let (at, token, jwks, policy) =
        (about["asked_at"].to_string(), file("token.jwt"), file("key-set.json"), file("policy.toml"));
    let token = ["--token", &token, "--jwks", &jwks, "--at", &at];
    let with = |more: &[&'static str]| [&token[..], more].concat();
    assert_eq!(unheard(&offline, &[&token[..], &["--policy", &policy]].concat()), (0, String::new()));
    let (exit, err) = unheard(&offline, &with(&["--issuer", "https://sharedeus.eus.attest.azure.net"]));
    assert_eq!((exit, err.starts_with("error[wrong-attester]: ")), (2, true), "{err}");
    let (exit, err) = unheard(&offline, &with(&[]));
    let expected = "error[usage]: --issuer: is needed with --token where no --policy says who may have issued it\n";
    assert_eq!((exit, err.as_str()), (64, expected));
    for usage in [&[][..], &["--at", "x"], &["--token", "x", "--at", "1"], &["--none"]] {
        let (exit, err) = unheard(&offline, usage);
        assert_eq!((exit, err.contains("Usage") || err.contains("--help")), (64, true), "{usage:?}: {err}");
    }
    assert_eq!(unheard(&offline, &["--help"]), (0, String::new()));
}

#[test]
fn connect_reads_a_policy_in_json_too() {
    let Some(connect) = example("connect") else { return };
    let emulator = Emulator::start(&[]);
    let json = run(&["policy", "show", &emulator.path("policy.toml"), "--json"]).out;
    std::fs::write(emulator.file("policy.json"), json).unwrap();
    // The emulated authorities are no one's: it comes as far as asking, and no farther.
    for policy in ["policy.json", "policy.toml"] {
        let (exit, err) = unheard(&connect, &[emulator.url(), &emulator.path(policy)]);
        assert_eq!((exit, err.contains("error[maa-unreachable]: ")), (3, true), "{policy}: {err}");
    }
    std::fs::write(emulator.file("policy.json"), "{").unwrap();
    let (exit, err) = unheard(&connect, &[emulator.url(), &emulator.path("policy.json")]);
    assert_eq!((exit, err.contains("error[invalid-policy]: ")), (4, true), "{err}");
    assert_eq!(unheard(&connect, &[emulator.url()]), (64, "usage: connect URL POLICY_FILE [TARGET]\n".to_owned()));
}
