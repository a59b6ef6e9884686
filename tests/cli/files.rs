//! Commands about files: `fetch`, `inspect`, `host-data`, `completions`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::tool::{Emulator, Outcome, exists, run};

fn fetch(emulator: &Emulator, to: &Path, more: &[&str]) -> Outcome {
    let mut arguments = vec!["fetch".to_owned(), emulator.url().to_owned()];
    arguments.extend(["--out".to_owned(), to.to_str().unwrap().to_owned()]);
    arguments.extend(emulator.trusting());
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    run(&arguments)
}

fn inspect(file: &Path) -> serde_json::Value {
    let outcome = run(&["inspect", file.to_str().unwrap()]);
    assert_eq!(outcome.exit, 0, "{}: {}", file.display(), outcome.err);
    let mut found = serde_json::Deserializer::from_str(&outcome.out).into_iter();
    found.next().unwrap().unwrap()
}

#[test]
fn evidence_is_saved_and_can_be_looked_at() {
    let mut emulator = Emulator::start(&["--product", "milan"]);
    let folder = TempDir::new().unwrap();
    let (to, json) = (folder.path().join("evidence"), ["--json"]);
    let outcome = fetch(&emulator, &to, &json);
    assert_eq!(outcome.exit, 0, "{} {}", outcome.out, outcome.err);
    assert_eq!(outcome.json()["accepted"], true);
    let files: Vec<_> = outcome.json()["files"].as_array().unwrap().clone();
    let expected = [
        "token.jwt",
        "runtime-data.json",
        "report.bin",
        "uvm-endorsement.cose",
        "certificates.pem",
        "revocation-list.der",
        "revocation-list-other.der",
        "key-set.json",
        "policy.toml",
        "about.json",
    ];
    assert_eq!(files, expected);
    assert!(expected.iter().all(|name| exists(&to.join(name))));
    for (name, kind) in [
        ("token.jwt", "token"),
        ("report.bin", "report"),
        ("uvm-endorsement.cose", "endorsement"),
        ("certificates.pem", "certificate"),
        ("key-set.json", "key-set"),
    ] {
        let found = inspect(&to.join(name));
        assert_eq!(found["kind"], kind);
        // The emulated AMD and utility VM are no one's.
        assert_eq!(found["verified"], false, "{found}");
    }
    let token = inspect(&to.join("token.jwt"));
    assert_eq!(token["claims"]["x-ms-attestation-type"], "sevsnpvm");
    let about: serde_json::Value = serde_json::from_slice(&fs::read(to.join("about.json")).unwrap()).unwrap();
    let runtime = fs::read_to_string(to.join("runtime-data.json")).unwrap();
    assert!(runtime.contains(about["nonce"].as_str().unwrap()));
    assert!(runtime.contains(about["tls_key"].as_str().unwrap()));
    assert_eq!(about["channel"], "bound");
    assert_eq!(emulator.application_bytes(), 0);

    // What is there is not overwritten.
    let again = fetch(&emulator, &to, &json);
    assert_eq!((again.exit, again.out.contains("expected an empty directory")), (4, true), "{}", again.out);
}

#[test]
fn evidence_that_is_refused_is_saved_too() {
    let mut emulator = Emulator::start(&["--product", "genoa"]);
    let folder = TempDir::new().unwrap();
    for (order, exit, code) in [
        ("knob debug", 1, "debug-mode"),
        ("knob forged-hierarchy", 2, "invalid-report"),
        ("knob token-bad-signature", 2, "invalid-token"),
        ("knob report-data=<>", 2, "evidence-mismatch"),
        ("fail-maa /certs=status:500", 3, "maa-unreachable"),
        ("fail-kds /=status:500", 3, "kds-unreachable"),
    ] {
        emulator.order("reset");
        emulator.order(&order.replace("<>", &"ee".repeat(64)));
        let to = folder.path().join(code);
        let outcome = fetch(&emulator, &to, &["--json"]);
        assert_eq!((outcome.exit, outcome.code().as_str()), (exit, code), "{order}: {}", outcome.out);
        assert!(exists(&to.join("token.jwt")) && exists(&to.join("report.bin")), "{order}");
    }
    emulator.order("reset");
    emulator.order("knob no-certificates");
    let outcome = fetch(&emulator, &folder.path().join("alone"), &[]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(outcome.out.contains("vcek.der"), "{}", outcome.out);
    assert!(outcome.err.contains("as a record"), "{}", outcome.err);
    emulator.order("stop");
    let outcome = fetch(&emulator, &folder.path().join("nothing"), &[]);
    assert_eq!((outcome.exit, outcome.out.as_str()), (3, ""), "{}", outcome.err);
}

#[test]
fn evidence_of_an_unbound_workload() {
    let emulator = Emulator::start(&["--agent", "legacy"]);
    let folder = TempDir::new().unwrap();
    let agent = emulator.serving.text("agent_url").to_owned();
    let outcome = fetch(&emulator, folder.path(), &["--agent", &agent]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(exists(&folder.path().join("runtime-data.json")));
    assert!(!exists(&folder.path().join("report.bin")));
}

#[test]
fn files_that_are_no_evidence() {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("text", b"hello"),
        ("der", b"\x30\x00"),
        ("pem", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        ("json", b"{}"),
        ("token", b"eyJ.x.y"),
        ("long", &[0; 1185]),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        let outcome = run(&["inspect", file.to_str().unwrap()]);
        assert_eq!((outcome.exit, outcome.out.as_str()), (4, ""), "{name}");
        assert!(outcome.err.starts_with("error[misconfigured]: "), "{}", outcome.err);
    }
    // The others are shown all the same.
    let report = folder.path().join("report");
    fs::write(&report, [0; 1184]).unwrap();
    let outcome = run(&["inspect", "/none", report.to_str().unwrap()]);
    assert_eq!((outcome.exit, outcome.json()["kind"].as_str().unwrap()), (4, "report"));
}

#[test]
fn recorded_evidence_is_told_apart() {
    let Some(vectors) = crate::common::vectors() else { return };
    let report = vectors.join("snp-aci-milan-v3-tav");
    let files: Vec<_> = fs::read_dir(&report).unwrap().map(|entry| entry.unwrap().path()).collect();
    let verified = |name: &str| {
        let file = files.iter().find(|file| file.file_name().unwrap().to_str().unwrap().contains(name));
        file.map(|file| inspect(file)["verified"].clone())
    };
    assert_eq!(verified("uvm.cose"), Some(true.into()), "{files:?}");
    assert_eq!(verified("vcek.der"), Some(true.into()), "{files:?}");
    assert_eq!(verified("report.bin"), Some(false.into()), "{files:?}");
    let ark = inspect(&vectors.join("amd-roots/milan_ark.der"));
    assert_eq!((ark["authority"].as_str(), ark["verified"].as_bool()), (Some("AMD's ARK of Milan"), Some(true)));
    let root = inspect(&vectors.join("azure-vtpm-ca/azure_tpm_root_2023.pem"));
    assert!(root["authority"].as_str().unwrap().starts_with("Azure's root of virtual TPMs"), "{root}");
    let other = inspect(&vectors.join("azure-vtpm-ca/microsoft-rsa-devices-root-ca-2021.pem"));
    assert_eq!((&other["authority"], &other["verified"]), (&serde_json::Value::Null, &false.into()));
}

#[test]
fn a_cce_policy_and_what_it_becomes() {
    let emulator = Emulator::start(&[]);
    let file = emulator.path("cce-policy.base64");
    let outcome = run(&["host-data", &file]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    // Alone: `$(blindbox-attest host-data FILE)` is the digest. What is found goes elsewhere.
    assert_eq!(outcome.out, format!("{}\n", emulator.serving.text("host_data")));
    assert!(outcome.err.lines().all(|line| line.starts_with("finding: ")), "{}", outcome.err);
    let text = "package policy\ncreate_container := {\"allowed\": true}\n";
    fs::write(emulator.file("allow-all.rego"), text).unwrap();
    let outcome = run(&["host-data", &emulator.path("allow-all.rego"), "--json", "--deny-findings"]);
    assert_eq!(outcome.exit, 1);
    let findings = outcome.json()["findings"].to_string();
    assert!(findings.contains("any container may be created"), "{findings}");
    let outcome = run(&["host-data", &emulator.path("allow-all.rego")]);
    assert_eq!((outcome.exit, outcome.out.len()), (0, 65), "{}", outcome.out);
    assert!(outcome.err.contains("finding: any container may be created"), "{}", outcome.err);
    assert_eq!(run(&["host-data", "/none"]).exit, 4);
}
