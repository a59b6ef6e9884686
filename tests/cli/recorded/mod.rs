//! The way back from `fetch`: `verify --evidence`, and `inspect` of all that a directory holds.

mod untrusted_directory;

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::tool::{Emulator, Outcome, command, run, steady};

fn fetched(emulator: &Emulator, to: &Path) {
    let mut arguments = vec!["fetch".to_owned(), emulator.url().to_owned()];
    arguments.extend(["--out".to_owned(), to.to_str().unwrap().to_owned(), "--json".to_owned()]);
    arguments.extend(emulator.trusting());
    run(&arguments).json();
}

fn verify(folder: &Path, more: &[&str]) -> Outcome {
    let policy = folder.join("policy.toml");
    let evidence = ["verify", "--evidence", folder.to_str().unwrap(), "--policy", policy.to_str().unwrap()];
    run(&[&evidence[..], more].concat())
}

#[test]
fn what_was_fetched_is_verified_without_a_network() {
    let mut emulator = Emulator::start(&["--product", "milan"]);
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("evidence");
    fetched(&emulator, &to);
    let roots = emulator.path("amd-roots.pem");
    emulator.order("stop");
    let keys = emulator.path("key-set.json");
    let outcome = verify(&to, &["--amd-roots", &roots, "--key-set", &keys]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    let begin = format!("recorded: neither fresh nor bound\n{} is accepted as of ", to.display());
    assert!(outcome.out.starts_with(&begin), "{}", outcome.out);
    let unproven = "Z\ntaken from the directory without proof: the time (about.json; else --at), the nonce (at most about.json \
                    says which one was sent), the policy (else a --policy of your own)\n\n";
    assert!(outcome.out.contains(unproven), "{}", outcome.out);
    assert!(outcome.out.contains("passed         workload"), "{}", outcome.out);

    let outcome = verify(&to, &["--amd-roots", &roots, "--key-set", &keys, "--json"]);
    let json = outcome.json();
    assert_eq!((outcome.exit, &json["verdict"]), (0, &"accepted".into()), "{json}");
    assert_eq!(json["recorded"], "neither fresh nor bound");
    let about: serde_json::Value = serde_json::from_slice(&fs::read(to.join("about.json")).unwrap()).unwrap();
    assert_eq!(json["attestation"]["verified_for"], about["received_at"]);
    assert_eq!(json["unproven"], serde_json::json!(["time", "nonce", "policy"]));

    // AMD's own roots know nothing of an emulated AMD.
    let outcome = verify(&to, &["--key-set", &keys, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "invalid-report"), "{}", outcome.out);
    // For a time at which the token is of no use any more.
    let outcome = verify(&to, &["--amd-roots", &roots, "--key-set", &keys, "--at", "4000000000", "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "invalid-token"), "{}", outcome.out);
    // What vouched for it is gone.
    fs::remove_file(to.join("certificates.pem")).unwrap();
    let outcome = verify(&to, &["--amd-roots", &roots, "--key-set", &keys, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "missing-evidence"), "{}", outcome.out);
}

#[test]
fn recorded_evidence_that_is_refused() {
    let emulator = Emulator::start(&["--knob", "debug"]);
    let folder = TempDir::new().unwrap();
    let to = folder.path();
    fetched(&emulator, to);
    let keys = emulator.path("key-set.json");
    let outcome = verify(to, &["--key-set", &keys]);
    assert_eq!(outcome.exit, 1);
    let begin = format!("recorded: neither fresh nor bound\n{} is REFUSED\n\n", to.display());
    assert!(outcome.out.starts_with(&begin), "{}", outcome.out);
    assert!(outcome.out.contains("FAILED         debug                     expected off, found on"), "{}", outcome.out);
    assert!(outcome.err.starts_with("error[debug-mode]: "), "{}", outcome.err);
    let json = verify(to, &["--key-set", &keys, "--json"]).json();
    assert_eq!((&json["verdict"], &json["recorded"]), (&"rejected".into(), &"neither fresh nor bound".into()));
    assert_eq!(json["error"]["code"], "debug-mode");
    assert!(json["appraisal"].as_array().unwrap().iter().any(|check| check["verdict"] == "failed"));

    // Evidence that someone has changed.
    let token = fs::read_to_string(to.join("token.jwt")).unwrap();
    fs::write(to.join("token.jwt"), token.replacen('.', ".A", 1)).unwrap();
    assert_eq!(verify(to, &["--key-set", &keys, "--json"]).code(), "invalid-token");
    fs::write(to.join("token.jwt"), token).unwrap();
    fs::write(to.join("runtime-data.json"), "{}").unwrap();
    assert_eq!(verify(to, &["--key-set", &keys, "--json"]).code(), "false-attestation-report");
    fs::write(to.join("key-set.json"), "{}").unwrap();
    let outcome = verify(to, &[]);
    let begin = format!("error[invalid-key-set]: {}: ", to.join("key-set.json").display());
    assert_eq!((outcome.exit, outcome.err.starts_with(&begin)), (2, true), "{}", outcome.err);
}

/// Standard input is there once: the policy that decides is the one that the result is about.
#[test]
fn a_policy_from_standard_input_is_read_once() {
    let emulator = Emulator::start(&[]);
    let directory = TempDir::new().unwrap();
    let to = directory.path();
    fetched(&emulator, to);
    let mut command = command();
    command.args(["verify", "--json", "--evidence", to.to_str().unwrap(), "--policy", "-", "--trust-saved-key-set"]);
    let output = command.stdin(fs::File::open(emulator.path("policy.toml")).unwrap()).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["verdict"], &json["unproven"]),
        (&"accepted".into(), &serde_json::json!(["time", "nonce", "key-set"]))
    );
}

/// The time that `fetch` noted.
fn at(directory: &Path) -> String {
    let about: serde_json::Value = serde_json::from_slice(&fs::read(directory.join("about.json")).unwrap()).unwrap();
    about["asked_at"].to_string()
}

#[test]
fn evidence_for_another_nonce_than_was_sent() {
    let emulator = Emulator::start(&[]);
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fetched(&emulator, first.path());
    fetched(&emulator, second.path());
    let (to, keys) = (second.path(), emulator.path("key-set.json"));
    for name in ["token.jwt", "runtime-data.json"] {
        fs::copy(first.path().join(name), to.join(name)).unwrap();
    }
    let outcome = verify(to, &["--key-set", &keys, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "false-attestation-report"), "{}", outcome.out);
    assert!(outcome.out.contains("the nonce of about.json, which was sent, "), "{}", outcome.out);
    fs::remove_file(to.join("runtime-data.json")).unwrap();
    assert_eq!(verify(to, &["--key-set", &keys, "--json"]).code(), "missing-evidence");
}

/// The nonce that was sent is compared where `about.json` names it. That is the word of who wrote the directory, as is its absence.
#[test]
fn a_nonce_that_is_null_is_refused_and_any_other_is_unproven() {
    let emulator = Emulator::start(&[]);
    let directory = TempDir::new().unwrap();
    let to = directory.path();
    fetched(&emulator, to);
    let (keys, policy, at) = (emulator.path("key-set.json"), emulator.path("policy.toml"), at(to));
    let verify = |more: &[&str]| {
        let options = ["verify", "--json", "--evidence", to.to_str().unwrap(), "--policy", &policy, "--key-set", &keys];
        run(&[&options[..], more].concat())
    };
    assert_eq!(verify(&[]).json()["unproven"], serde_json::json!(["time", "nonce"]));

    fs::write(to.join("about.json"), format!("{{\"asked_at\": {at}, \"nonce\": null}}")).unwrap();
    for more in [&[][..], &["--at", &at]] {
        let outcome = verify(more);
        assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{}", outcome.out);
        let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
        let begin = format!("{}: invalid type: null, expected a string", to.join("about.json").display());
        assert!(message.starts_with(&begin), "{message}");
    }
    fs::write(to.join("about.json"), format!("[{at}]")).unwrap();
    let outcome = verify(&[]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{}", outcome.out);
    assert!(outcome.out.contains("about.json: expected a JSON object"), "{}", outcome.out);
    fs::write(to.join("about.json"), format!("{{\"asked_at\": {at}}}")).unwrap();
    assert_eq!(verify(&[]).json()["unproven"], serde_json::json!(["time", "nonce"]));
    assert_eq!(verify(&["--at", &at]).json()["unproven"], serde_json::json!(["nonce"]));
    fs::remove_file(to.join("about.json")).unwrap();
    assert_eq!(verify(&["--at", &at]).json()["unproven"], serde_json::json!(["nonce"]));
}

#[test]
fn a_pinned_key_set_stands_in_for_the_recorded_one() {
    let mut emulator = Emulator::start(&[]);
    let folder = TempDir::new().unwrap();
    fetched(&emulator, folder.path());
    let key_set = emulator.path("key-set.json");
    let outcome = verify(folder.path(), &["--key-set", &key_set]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(steady(&outcome.out).contains("key set                   pinned"), "{}", outcome.out);
    emulator.order("rotate-maa-key");
    let other = TempDir::new().unwrap();
    fetched(&emulator, other.path());
    assert_eq!(verify(other.path(), &["--key-set", &key_set, "--json"]).code(), "invalid-token");
}

#[test]
fn a_folder_without_evidence() {
    let emulator = Emulator::start(&[]);
    let folder = TempDir::new().unwrap();
    let to = folder.path();
    let policy = emulator.path("policy.toml");
    let verify =
        |more: &[&str]| run(&[&["verify", "--evidence", to.to_str().unwrap(), "--policy", &policy][..], more].concat());
    let outcome = verify(&["--at", "1"]);
    assert_eq!(
        (outcome.exit, outcome.err.contains("expected at least one of token.jwt, report.bin and hcl-report.bin")),
        (4, true),
        "{}",
        outcome.err
    );
    fs::write(to.join("token.jwt"), "x").unwrap();
    let outcome = verify(&[]);
    assert_eq!((outcome.exit, outcome.err.contains("say with --at")), (4, true), "{}", outcome.err);
    for about in ["{}", "{\"asked_at\": \"1\"}", "{\"asked_at\": 1, \"asked_at\": 2}", "x"] {
        fs::write(to.join("about.json"), about).unwrap();
        let outcome = verify(&[]);
        assert_eq!((outcome.exit, outcome.err.contains("about.json: ")), (4, true), "{about}: {}", outcome.err);
    }
    assert_eq!(verify(&["--at", "1", "--json"]).code(), "misconfigured");
    fs::remove_file(to.join("about.json")).unwrap();
    assert_eq!(verify(&["--at", "1", "--json"]).code(), "missing-evidence");
    fs::write(to.join("report.bin"), "x").unwrap();
    for name in ["certificates.pem", "vcek.der"] {
        fs::write(to.join(name), "x").unwrap();
    }
    let outcome = verify(&["--at", "1"]);
    assert_eq!(
        (outcome.exit, outcome.err.contains("expected either certificates.pem or vcek.der, found both")),
        (4, true),
        "{}",
        outcome.err
    );
    // For a directory nothing is fetched.
    for (more, what) in [
        (&["https://my-app.example"][..], "cannot be used with"),
        (&["--kds", "http://127.0.0.1:1"], "cannot be used with"),
        (&["--agent", "http://127.0.0.1:1"], "cannot be used with"),
        (&["--at", "x"], "invalid value"),
    ] {
        let outcome = verify(more);
        assert_eq!((outcome.exit, outcome.err.contains(what)), (64, true), "{more:?}: {}", outcome.err);
    }
    let outcome = run(&["verify", "https://my-app.example", "--policy", &policy, "--at", "1"]);
    assert_eq!(outcome.exit, 64, "{}", outcome.err);
}

#[test]
fn all_of_a_folder_can_be_looked_at() {
    let folder = TempDir::new().unwrap();
    fetched(&Emulator::start(&["--product", "milan"]), folder.path());
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let arguments: Vec<_> = ["inspect"].into_iter().chain(files.iter().map(|file| file.to_str().unwrap())).collect();
    let outcome = run(&arguments);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    let found: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&outcome.out).into_iter().map(Result::unwrap).collect();
    let kinds: std::collections::BTreeSet<_> = found.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    let expected = [
        "about",
        "certificate",
        "endorsement",
        "key-set",
        "policy",
        "report",
        "revocation-list",
        "runtime-data",
        "token",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
    assert!(found.iter().all(|one| one["verified"] == false), "{}", outcome.out);
    // Under another name these are what they look like.
    for name in ["about.json", "policy.toml", "runtime-data.json"] {
        let other = folder.path().join(format!("x-{name}"));
        fs::rename(folder.path().join(name), &other).unwrap();
        assert_eq!(run(&["inspect", other.to_str().unwrap()]).exit, 4, "{name}");
        // And what only has the name is nothing.
        let bad = folder.path().join(name);
        fs::write(&bad, "hello").unwrap();
        assert_eq!(run(&["inspect", bad.to_str().unwrap()]).exit, 4, "{name}");
    }
}

/// The evidence of a confidential VM has files of its own, each of which is refused with its own error.
#[test]
fn a_confidential_vm_is_verified_from_its_files() {
    let mut emulator = Emulator::start(&["--guest", "vm", "--product", "milan", "--trust", "amd"]);
    assert_eq!(emulator.verify(&[]).exit, 0, "{}", emulator.verify(&[]).err);
    let folder = TempDir::new().unwrap();
    let to = folder.path().join("evidence");
    fetched(&emulator, &to);
    let (roots, ak_root) = (emulator.path("amd-roots.pem"), emulator.path("ak-root.pem"));
    emulator.order("stop");
    let read = |name: &str| fs::read(to.join(name)).unwrap();
    assert_eq!(read("hcl-report.bin").len(), 2600);
    assert_eq!(read("tpm-quote.sig").len(), 256);
    let pcrs: Vec<String> = serde_json::from_slice(&read("pcrs.json")).unwrap();
    assert_eq!((pcrs.len(), pcrs.iter().all(|value| value.len() == 64)), (24, true));
    let trusting = ["--amd-roots", roots.as_str(), "--ak-root", ak_root.as_str()];
    let outcome = verify(&to, &trusting);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    for check in ["tpm quote", "report of this boot", "ak certificate", "paravisor"] {
        assert!(outcome.out.contains(&format!("  {check:<24}  ")), "{check}: {}", outcome.out);
    }

    // Azure's own root knows nothing of an emulated one.
    let outcome = verify(&to, &["--amd-roots", &roots, "--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "invalid-ak-certificate"), "{}", outcome.out);
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: [(&str, Change, &str); 6] = [
        ("hcl-report.bin", Box::new(flip(0x600)), "invalid-hcl-report"),
        ("hcl-report.bin", Box::new(flip(0x20 + 0x90)), "invalid-report"),
        ("tpm-quote.msg", Box::new(flip(50)), "invalid-tpm-quote"),
        ("tpm-quote.sig", Box::new(flip(100)), "invalid-tpm-quote"),
        (
            "pcrs.json",
            Box::new(|bytes| *bytes = [b"[\"", "0".repeat(64).as_bytes(), b"\"]"].concat()),
            "invalid-tpm-quote",
        ),
        ("runtime-data.json", Box::new(flip(12)), "false-attestation-report"),
    ];
    for (name, change, code) in changes {
        let kept = read(name);
        let mut changed = kept.clone();
        change(&mut changed);
        fs::write(to.join(name), changed).unwrap();
        let outcome = verify(&to, &[&trusting[..], &["--json"]].concat());
        assert_eq!((outcome.exit, outcome.code().as_str()), (2, code), "{name}: {}", outcome.out);
        fs::write(to.join(name), kept).unwrap();
    }
    // A quote is three files.
    fs::remove_file(to.join("pcrs.json")).unwrap();
    let outcome = verify(&to, &trusting);
    assert_eq!(outcome.exit, 4, "{}", outcome.out);
    assert!(
        outcome.err.contains("expected all or none of tpm-quote.msg, tpm-quote.sig and pcrs.json"),
        "{}",
        outcome.err
    );
    for name in ["tpm-quote.msg", "tpm-quote.sig"] {
        fs::remove_file(to.join(name)).unwrap();
    }
    let outcome = verify(&to, &[&trusting[..], &["--json"]].concat());
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "missing-evidence"), "{}", outcome.out);
}
