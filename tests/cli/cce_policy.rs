//! CCE policies in files, as commands take them: one reader for all.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::tool::{Emulator, Outcome, Serving, command, run};

const TEXT: &str = "package policy\n\napi_version := \"0.10.0\"\nframework_version := \"0.2.3\"\ncontainers := [{\"name\": \"app\"}]\n";

/// A file for each of the commands that take a CCE policy.
struct File {
    folder: TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn new_policy(file: &str) -> Outcome {
    run(&["policy", "new", "--amd", "--binding", "own-key", "--uvm-svn", "101", "--cce-policy", file])
}

fn annotated(name: &str, policy: &str) -> String {
    format!(
        "kind: Pod\nmetadata:\n  name: {name}\n  annotations:\n    microsoft.containerinstance.virtualnode.ccepolicy: {policy}\n"
    )
}

#[test]
fn every_command_reads_every_form() {
    let files = File::new();
    let base64 = STANDARD.encode(TEXT);
    let digest = run(&["host-data", &files.write("text.rego", TEXT)]).out;
    assert_eq!(digest.len(), 65);
    let arm = format!(r#"{{"resources": [{{"name": "g", "properties": {{"ccePolicy": "{base64}"}}}}]}}"#);
    for (name, content) in [
        ("line", format!("{base64}\n\n\n")),
        ("quoted", format!("\"{base64}\"")),
        ("warned", format!("WARNING: Using local image\n{base64}\n")),
        ("arm.json", arm),
        ("pod.yaml", annotated("pod", &base64)),
    ] {
        let file = files.write(name, content);
        let outcome = run(&["host-data", &file, "--deny-findings"]);
        assert_eq!((outcome.exit, outcome.out.as_str()), (0, digest.as_str()), "{name}: {}", outcome.err);
        let outcome = new_policy(&file);
        assert_eq!(outcome.exit, 0, "{name}: {}", outcome.err);
        assert!(outcome.out.contains(digest.trim()), "{name}: {}", outcome.out);
        let mut emulate = command();
        emulate.args(["emulate", "--cce-policy", &file]);
        assert_eq!(Serving::start(emulate).text("host_data"), digest.trim(), "{name}");
    }
}

#[test]
fn a_file_without_a_cce_policy_is_refused_by_every_command() {
    let files = File::new();
    let base64 = STANDARD.encode(TEXT);
    let wrapped: Vec<_> = base64.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(TEXT.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (content, reason) in [
        (
            wrapped.join("\n").into_bytes(),
            "expected a CCE policy in base64 (standard alphabet with padding, on one line)",
        ),
        (base64.as_bytes()[..base64.len() - 1].to_vec(), "expected a CCE policy in base64"),
        (b"Pz8_Pz8-".to_vec(), "expected a CCE policy in base64"),
        (b"AAAA".to_vec(), "is no CCE policy: its first statement is not `package policy`"),
        (b"package policy1 {}\n".to_vec(), "holds no CCE policy"),
        (b"# package policy\n".to_vec(), "holds no CCE policy"),
        (b"{}".to_vec(), "holds no CCE policy"),
        (b" \n".to_vec(), "expected a CCE policy, found an empty text"),
        (format!("\u{feff}{TEXT}").into_bytes(), "begins with a byte order mark"),
        (utf16, "is UTF-16"),
        (format!("WARNING: x\n{TEXT}").into_bytes(), "line 1 stands before `package policy`"),
        (br#"{"ccePolicy": "[parameters('p')]"}"#.to_vec(), "ccePolicy: the template takes the policy from"),
        (annotated("pod", "''").into_bytes(), "line 5: the place for the policy is empty"),
    ] {
        let file = files.write("policy", content);
        let err = format!("error[misconfigured]: {file}: {reason}");
        for outcome in [
            run(&["host-data", &file]),
            run(&["host-data", &file, "--check", &file]),
            new_policy(&file),
            run(&["emulate", "--cce-policy", &file]),
        ] {
            assert_eq!((outcome.exit, outcome.out.as_str()), (4, ""), "{reason}: {}", outcome.err);
            let said = outcome.err.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(&err), "{err}\n{said}");
        }
    }
}

#[test]
fn of_several_policies_one_is_chosen() {
    let files = File::new();
    let other = STANDARD.encode("package policy\nx := 1\n");
    let both = annotated("a", &STANDARD.encode(TEXT)) + "---\n" + &annotated("b", &other);
    let file = files.write("pods.yaml", both);
    let outcome = run(&["host-data", &file]);
    assert_eq!((outcome.exit, outcome.out.as_str()), (4, ""));
    for part in
        ["holds 2 CCE policies; choose one with --cce-policy-name", "\"a\", line 5: host data", "\"b\", line 11"]
    {
        assert!(outcome.err.contains(part), "{}", outcome.err);
    }
    let digest = |name: &str| run(&["host-data", &file, "--cce-policy-name", name]).out;
    assert_eq!(digest("a"), run(&["host-data", &files.write("text.rego", TEXT)]).out);
    assert_eq!(digest("b"), digest("line 11"));
    assert_ne!(digest("a"), digest("b"));
    let outcome = run(&["host-data", &file, "--cce-policy-name", "c"]);
    assert_eq!(outcome.exit, 4);
    assert!(outcome.err.contains("holds no CCE policy named \"c\""), "{}", outcome.err);
    // One policy in two places is one policy.
    let same = annotated("a", &other) + "---\n" + &annotated("b", &other);
    assert_eq!(run(&["host-data", &files.write("same.yaml", same)]).out, digest("b"));
}

#[test]
fn two_policies_are_compared() {
    let files = File::new();
    let first = files.write("first.rego", TEXT);
    let other = files.write("other.rego", format!("{TEXT}allow_dump_stacks := true\n"));
    let spelled = files.write("spelled.rego", format!("# the same\n{TEXT}"));
    let same = run(&["host-data", &first, "--check", &files.write("b64", STANDARD.encode(TEXT))]);
    assert_eq!(same.exit, 0);
    assert!(same.err.contains("check: the same host data"), "{}", same.err);
    let outcome = run(&["host-data", &first, "--check", &other]);
    assert_eq!((outcome.exit, outcome.out.len()), (1, 65));
    assert!(
        outcome.err.contains("check: other host data (") && outcome.err.contains("+ allow_dump_stacks: true"),
        "{}",
        outcome.err
    );
    let json = run(&["host-data", &other, "--check", &first, "--json"]);
    assert_eq!(json.exit, 1);
    assert_eq!(json.json()["check"]["same"], false);
    assert_eq!(json.json()["check"]["differences"][0], "- allow_dump_stacks: true");
    let outcome = run(&["host-data", &first, "--check", &spelled]);
    assert_eq!(outcome.exit, 1);
    assert!(outcome.err.contains("though nothing that was read differs"), "{}", outcome.err);
}

#[test]
fn a_new_policy_shows_what_its_cce_policy_leaves_to_others() {
    let files = File::new();
    let file =
        files.write("allow-all.rego", "package policy\ncreate_container := {\"allowed\": true}\nallow_x := true\n");
    let outcome = new_policy(&file);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    for part in ["note: CCE policy: any container may be created", "note: CCE policy: allow_x: a switch that is on"] {
        assert!(outcome.err.contains(part), "{}", outcome.err);
    }
    // What the emulator serves by default has no finding.
    let emulator = Emulator::start(&[]);
    assert_eq!(run(&["host-data", &emulator.path("cce-policy.base64"), "--deny-findings"]).exit, 0);
}
