//! Files of evidence in each encoding that people have them in: every command reads them alike.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tool::{Emulator, Outcome, run};

struct Saved {
    emulator: Emulator,
    directory: TempDir,
}

impl Saved {
    fn fetch() -> Self {
        let emulator = Emulator::start(&["--product", "milan"]);
        let directory = TempDir::new().unwrap();
        let mut arguments = vec!["fetch".to_owned(), emulator.url().to_owned()];
        arguments.extend(["--out".to_owned(), directory.path().to_str().unwrap().to_owned(), "--json".to_owned()]);
        arguments.extend(emulator.trusting());
        assert_eq!(run(&arguments).exit, 0);
        Self { emulator, directory }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.directory.path().join(name), bytes).unwrap();
    }

    fn verify(&self) -> Outcome {
        let (directory, policy) = (self.directory.path(), self.emulator.path("policy.toml"));
        let (keys, roots) = (self.emulator.path("key-set.json"), self.emulator.path("amd-roots.pem"));
        let directory = directory.to_str().unwrap();
        run(&[
            "verify",
            "--evidence",
            directory,
            "--policy",
            &policy,
            "--key-set",
            &keys,
            "--amd-roots",
            &roots,
            "--json",
        ])
    }
}

fn inspect(file: &Path) -> Vec<Value> {
    let outcome = run(&["inspect", file.to_str().unwrap()]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    serde_json::Deserializer::from_str(&outcome.out).into_iter().map(Result::unwrap).collect()
}

fn wrapped(text: &str) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    lines.join("\r\n") + "\r\n"
}

#[test]
fn every_form_of_a_file_is_one_thing_to_every_command() {
    let saved = Saved::fetch();
    for (name, kind) in [
        ("token.jwt", "token"),
        ("report.bin", "report"),
        ("uvm-endorsement.cose", "endorsement"),
        ("certificates.pem", "certificate"),
        ("revocation-list.der", "revocation-list"),
    ] {
        let genuine = saved.bytes(name);
        let shown = inspect(&saved.directory.path().join(name));
        assert!(shown.iter().all(|one| one["kind"] == kind), "{name}");
        let mut forms = vec![
            ("base64", STANDARD.encode(&genuine).into_bytes()),
            ("base64 on several lines", wrapped(&STANDARD.encode(&genuine)).into_bytes()),
            ("base64url without padding", URL_SAFE_NO_PAD.encode(&genuine).into_bytes()),
            ("hexadecimal", hex::encode(&genuine).into_bytes()),
            ("base64 with a byte order mark", format!("\u{feff}{}\n", STANDARD.encode(&genuine)).into_bytes()),
        ];
        match name {
            "certificates.pem" => {
                let pem = String::from_utf8(genuine.clone()).unwrap();
                forms.push(("text before it", format!("Bag Attributes\n    friendlyName: vcek\n\n{pem}").into_bytes()));
                forms.push(("CRLF", pem.replace('\n', "\r\n").into_bytes()));
                let (vcek, chain) = pem.split_once("-----END CERTIFICATE-----\n").unwrap();
                let vcek = format!("{vcek}-----END CERTIFICATE-----\n");
                let thim = json!({ "vcekCert": vcek, "tcbm": "0", "certificateChain": chain, "cacheControl": "86400" });
                // As the file `host-amd-cert-base64` of a security context directory.
                forms.push(("base64 of THIM's response", STANDARD.encode(thim.to_string()).into_bytes()));
            }
            "revocation-list.der" => {
                let base64 = wrapped(&STANDARD.encode(&genuine));
                let pem = format!("-----BEGIN X509 CRL-----\n{base64}-----END X509 CRL-----\n");
                forms.push(("PEM", pem.into_bytes()));
            }
            "token.jwt" => {
                let token = String::from_utf8(genuine.clone()).unwrap();
                forms.push(("MAA's response", json!({ "token": token.trim() }).to_string().into_bytes()));
                forms.push(("a byte order mark", format!("\u{feff}{token}\r\n").into_bytes()));
            }
            _ => {}
        }
        for (form, bytes) in forms {
            saved.write(name, &bytes);
            let found = inspect(&saved.directory.path().join(name));
            let without_part = |mut one: Value| {
                one.as_object_mut().unwrap().remove("part");
                one
            };
            assert_eq!(found.into_iter().map(without_part).collect::<Vec<_>>(), shown, "{name} as {form}");
            let outcome = saved.verify();
            assert_eq!(outcome.exit, 0, "{name} as {form}: {}", outcome.out);
        }
        saved.write(name, &genuine);
    }
}

#[test]
fn a_file_of_another_kind_is_named() {
    let saved = Saved::fetch();
    for (name, other, expected) in [
        ("token.jwt", "report.bin", "expected a token (JWT), found a hardware report"),
        ("report.bin", "token.jwt", "expected a hardware report of 1184 bytes, found a token (JWT)"),
        (
            "uvm-endorsement.cose",
            "key-set.json",
            "expected the endorsement of a utility VM (COSE_Sign1), found a key set",
        ),
        ("certificates.pem", "revocation-list.der", "expected X.509 certificates, found a certificate revocation list"),
        ("revocation-list.der", "certificates.pem", "expected a certificate revocation list, found X.509 certificates"),
    ] {
        let genuine = saved.bytes(name);
        saved.write(name, &saved.bytes(other));
        let outcome = saved.verify();
        assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{name}");
        assert!(outcome.out.contains(&format!("{name}: {expected}")), "{name}: {}", outcome.out);
        let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(b"eyJ".iter().flat_map(|byte| [*byte, 0])).collect();
        saved.write(name, &utf16);
        let outcome = saved.verify();
        assert_eq!(
            (outcome.exit, outcome.out.contains("found UTF-16: save it as UTF-8")),
            (4, true),
            "{}",
            outcome.out
        );
        let outcome = run(&["inspect", saved.directory.path().join(name).to_str().unwrap()]);
        assert_eq!((outcome.exit, outcome.err.contains("found UTF-16")), (4, true), "{}", outcome.err);
        saved.write(name, &genuine);
    }
}

#[test]
fn an_agents_response_is_shown_part_by_part() {
    let saved = Saved::fetch();
    let base64 = |name: &str| STANDARD.encode(saved.bytes(name));
    let response = json!({
        "evidence": base64("report.bin"),
        "endorsements": base64("certificates.pem"),
        "uvm_endorsements": base64("uvm-endorsement.cose"),
        "endorsed_tcb": "04000000000018db",
        "token": String::from_utf8(saved.bytes("token.jwt")).unwrap().trim(),
    });
    let file = saved.directory.path().join("combined.json");
    fs::write(&file, response.to_string()).unwrap();
    let found: Vec<_> = inspect(&file).into_iter().map(|one| (one["part"].clone(), one["kind"].clone())).collect();
    let part = |part: &str, kind: &str| (Value::from(part), Value::from(kind));
    let certificate = part("endorsements", "certificate");
    let expected = [
        part("token", "token"),
        part("evidence", "report"),
        certificate.clone(),
        certificate.clone(),
        certificate,
        part("uvm_endorsements", "endorsement"),
    ];
    assert_eq!(found, expected);
    // One response in place of each of its parts.
    for name in ["report.bin", "uvm-endorsement.cose", "token.jwt", "certificates.pem"] {
        fs::copy(&file, saved.directory.path().join(name)).unwrap();
    }
    assert_eq!(saved.verify().exit, 0);
    // Whose certificate it is stands in fields.
    let vek = inspect(&file).into_iter().find(|one| one["signing_key"] == "vcek").unwrap();
    assert_eq!(vek["chip_id"].as_str().unwrap().len(), 128);
    assert_eq!(vek["cloud_provider"], Value::Null);
}

#[test]
fn a_cce_policy_is_no_evidence() {
    let emulator = Emulator::start(&[]);
    let outcome = run(&["inspect", &emulator.path("cce-policy.base64")]);
    assert_eq!(outcome.exit, 4);
    assert!(outcome.err.contains("it is a CCE policy (see `host-data`), which is no evidence"), "{}", outcome.err);
}
