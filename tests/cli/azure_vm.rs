//! The example `offline` with the evidence of confidential VMs.

use std::path::Path;

use serde_json::Value;

use crate::offline::{Folder, assert_accepted, assert_refused, offline, text};

/// A time inside of the certificates of the recorded attestation key.
const AT: &str = "1781000000";
const WHOLE: &str = "az-cvm-milan-v3-aik";

struct Files {
    blob: String,
    vek: String,
    quote: String,
    signature: String,
    pcrs: String,
}

impl Files {
    fn of(vectors: &Path, name: &str) -> Self {
        let file = |name: &str, file: &str| text(&vectors.join(name).join(file));
        Self {
            blob: file(name, "hcl_report.bin"),
            vek: file(name, "vcek.der"),
            quote: file(name, "tpm_quote.msg"),
            signature: file(name, "tpm_quote.sig"),
            pcrs: file(name, "pcrs.json"),
        }
    }

    fn arguments(&self) -> Vec<&str> {
        vec![
            "--hcl-report",
            &self.blob,
            "--vek",
            &self.vek,
            "--tpm-quote",
            &self.quote,
            "--tpm-signature",
            &self.signature,
            "--pcrs",
            &self.pcrs,
            "--at",
            AT,
        ]
    }

    fn with(&self, further: &[&str]) -> std::process::Output {
        offline(&[&self.arguments()[..], further].concat())
    }
}

#[test]
fn a_recorded_vm_is_verified_down_to_amds_root() {
    let Some(vectors) = crate::common::vectors() else { return };
    for name in [WHOLE, "az-cvm-milan-v2", "az-cvm-milan-v3-live", "az-cvm-milan-v3-trustee"] {
        let files = Files::of(&vectors, name);
        let output: Value = serde_json::from_str(&assert_accepted(&files.with(&["--json"]))).unwrap();
        let expected = std::fs::read(vectors.join(name).join("expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        assert_eq!(output["verified"], true);
        assert_eq!(output["appraised"], false);
        assert_eq!(output["claims"]["snp"]["measurement"], expected["measurement"], "{name}");
        let vm = &output["claims"]["azure_vm"];
        assert_eq!(vm["runtime_claims"]["vm_configuration"]["secure_boot"], true, "{name}");
        let pcrs: Value = serde_json::from_slice(&std::fs::read(&files.pcrs).unwrap()).unwrap();
        assert_eq!(vm["quote"]["pcrs"]["4"], pcrs[4], "{name}");
        assert_eq!(vm["quote"]["pcrs"].as_object().unwrap().len(), 24);
        assert_eq!(vm.get("ak_certificate"), None);
        assert!(output["report"].is_object(), "{name}");
    }
    let text = assert_accepted(&Files::of(&vectors, WHOLE).with(&[]));
    assert!(text.contains("NOTHING WAS APPRAISED"), "{text}");
    // The report alone, without a quote.
    let files = Files::of(&vectors, WHOLE);
    let output = assert_accepted(&offline(&["--hcl-report", &files.blob, "--vek", &files.vek, "--at", AT, "--json"]));
    let output: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output["claims"]["azure_vm"].get("quote"), None);
    assert!(output["claims"]["azure_vm"]["runtime_claims"].is_object());
}

#[test]
fn a_certificate_of_the_attestation_key_is_checked_where_it_is_given() {
    let Some(vectors) = crate::common::vectors() else { return };
    let files = Files::of(&vectors, WHOLE);
    let leaf = text(&vectors.join(WHOLE).join("aik_cert.der"));
    let output: Value = serde_json::from_str(&assert_accepted(&files.with(&["--ak-chain", &leaf, "--json"]))).unwrap();
    let certificate = &output["claims"]["azure_vm"]["ak_certificate"];
    assert_eq!(certificate["subject"], "01d451636602.ConfidentialVM.Azure.windows.net");
    assert_eq!(certificate["custom_anchors"], false);
    // Of another VM, with another authority, and at another time.
    let other = Files::of(&vectors, "az-cvm-milan-v3-live");
    assert_refused(&other.with(&["--ak-chain", &leaf]), "invalid-ak-certificate");
    let authority = text(&vectors.join("azure-vtpm-ca").join("azure_tpm_intermediate_01.pem"));
    assert_refused(&files.with(&["--ak-chain", &authority]), "invalid-ak-certificate");
    let arguments = files.arguments();
    let late = [&arguments[..arguments.len() - 1], &["1804809601", "--ak-chain", &leaf]].concat();
    assert_refused(&offline(&late), "invalid-ak-certificate");
}

#[test]
fn what_was_changed_is_refused_by_name() {
    let Some(vectors) = crate::common::vectors() else { return };
    let folder = Folder::new();
    let changed = |path: &str, at: usize| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        folder.write("changed", bytes)
    };
    let genuine = || Files::of(&vectors, WHOLE);
    let refused = |files: Files, code| assert_refused(&files.with(&[]), code);
    for (at, code) in [(0, "invalid-hcl-report"), (4, "invalid-hcl-report"), (0x30, "invalid-report")] {
        refused(Files { blob: changed(&genuine().blob, at), ..genuine() }, code);
    }
    for at in [0x4d8, 2599] {
        refused(Files { blob: changed(&genuine().blob, at), ..genuine() }, "invalid-hcl-report");
    }
    refused(Files { vek: changed(&genuine().vek, 1000), ..genuine() }, "invalid-report");
    for at in [0, 60, 144] {
        refused(Files { quote: changed(&genuine().quote, at), ..genuine() }, "invalid-tpm-quote");
    }
    refused(Files { signature: changed(&genuine().signature, 255), ..genuine() }, "invalid-tpm-quote");
    let pcrs = std::fs::read_to_string(genuine().pcrs).unwrap();
    let (first, second) = (pcrs.find('"').unwrap() + 1, pcrs.find('"').unwrap() + 2);
    let other = if pcrs.as_bytes()[first] == b'0' { "1" } else { "0" };
    let pcrs = format!("{}{other}{}", &pcrs[..first], &pcrs[second..]);
    refused(Files { pcrs: folder.write("pcrs", pcrs), ..genuine() }, "invalid-tpm-quote");
    for other in ["{}", "[]", "[\"00\"]", "[1]", "x"] {
        refused(Files { pcrs: folder.write("pcrs", other), ..genuine() }, "misconfigured");
    }
    // The parts of another VM.
    let other = || Files::of(&vectors, "az-cvm-milan-v3-live");
    refused(Files { quote: other().quote, signature: other().signature, ..genuine() }, "invalid-tpm-quote");
    refused(Files { blob: other().blob, vek: other().vek, ..genuine() }, "invalid-tpm-quote");
    refused(Files { vek: other().vek, ..genuine() }, "invalid-report");
    refused(Files { pcrs: other().pcrs, ..genuine() }, "invalid-tpm-quote");
}

#[test]
fn the_quote_covers_given_runtime_data() {
    let Some(vectors) = crate::common::vectors() else { return };
    let folder = Folder::new();
    let files = Files::of(&vectors, "az-cvm-milan-v3-live");
    let data = folder.write("runtime-data", "something else");
    assert_refused(&files.with(&["--runtime-data", &data]), "false-attestation-report");
    let without_quote = ["--hcl-report", &files.blob, "--vek", &files.vek, "--at", AT, "--runtime-data", &data];
    assert_refused(&offline(&without_quote), "missing-evidence");
}

#[test]
fn a_file_of_another_kind_or_a_part_alone_is_named() {
    let Some(vectors) = crate::common::vectors() else { return };
    let files = Files::of(&vectors, WHOLE);
    let quote = files.quote.clone();
    let swapped = Files { blob: quote, ..Files::of(&vectors, WHOLE) };
    assert_refused(&swapped.with(&[]), "misconfigured");
    let Files { blob, vek, quote, .. } = &files;
    for (arguments, missing) in [
        (vec!["--hcl-report", blob, "--at", AT], "--vek <FILE>"),
        (vec!["--hcl-report", blob, "--vek", vek, "--tpm-quote", quote, "--at", AT], "--tpm-signature <FILE>"),
        (vec!["--vek", vek, "--at", AT], "--hcl-report <FILE>"),
        (vec!["--ak-chain", vek, "--at", AT], "--hcl-report <FILE>"),
    ] {
        let output = offline(&arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{message}");
        assert!(message.contains(missing), "{message}");
    }
    // A TD report is read, and nothing verifies it.
    let td = text(&vectors.join("az-tdx-with-ak-chain").join("hcl_report.bin"));
    assert_refused(&Files { blob: td, ..files }.with(&[]), "invalid-hcl-report");
}
