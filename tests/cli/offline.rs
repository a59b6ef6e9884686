//! The example `offline` as a command: what it prints, where, and how it exits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Cargo builds examples before it runs tests; they lie beside the directory of this test's own binary.
pub(crate) fn offline(arguments: &[&str]) -> Output {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples");
    path.push(format!("offline{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is not built: run `cargo test` without `--test`, or build the examples", path.display());
    Command::new(path).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The exit code of an error's category, by the table of `docs/errors.md`: the hundreds of its number.
fn exit_code(code: &str) -> i32 {
    if code == "usage" {
        return 64;
    }
    let errors = include_str!("../../docs/errors.md");
    let row = errors.lines().find(|line| line.contains(&format!("| `{code}` |"))).unwrap();
    row.trim_start_matches("| ").split(' ').next().unwrap().parse::<i32>().unwrap() / 100
}

/// The exit code of its category, nothing on standard output, and this code on standard error.
pub(crate) fn assert_refused(output: &Output, code: &str) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(exit_code(code)), "{stderr}{}", stdout(output));
    assert_eq!(stdout(output), "");
    assert!(stderr.starts_with(&format!("error[{code}]: ")), "{stderr}");
}

pub(crate) fn assert_accepted(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
    stdout(output)
}

pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        text(&path)
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

struct TokenSet {
    token: String,
    jwks: String,
    issuer: String,
    at: String,
}

fn token_set(vectors: &Path, name: &str) -> TokenSet {
    let folder = vectors.join(name);
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    TokenSet {
        token: text(&folder.join("token.jwt")),
        jwks: text(&folder.join("jwks.json")),
        issuer: expected["iss"].as_str().unwrap().to_owned(),
        at: (expected["iat"].as_u64().unwrap() + 10).to_string(),
    }
}

impl TokenSet {
    fn arguments(&self) -> [&str; 8] {
        ["--token", &self.token, "--jwks", &self.jwks, "--issuer", &self.issuer, "--at", &self.at]
    }
}

#[test]
fn a_genuine_token_without_a_policy_is_verified_and_not_appraised() {
    let Some(vectors) = crate::common::vectors() else { return };
    let set = token_set(&vectors, "maa-sharedeus-sevsnpvm-2026");
    let output = assert_accepted(&offline(&set.arguments()));
    assert!(output.contains("NOTHING WAS APPRAISED"), "{output}");
    // No signature protects a key set: the output says whose word it is.
    let keys = format!("trusted without proof: the keys of MAA, as {} has them ", set.jwks);
    assert!(output.starts_with(&keys), "{output}");
    assert!(output.contains("\ntrusted without proof: the time of --at, 20"), "{output}");
    let output = assert_accepted(&offline(&[&set.arguments()[..], &["--json"]].concat()));
    let output: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((&output["appraised"], &output["key_set_source"]), (&false.into(), &"given".into()));
    assert_eq!(output["checks"], Value::Array(vec![]));
    assert_eq!(output["claims"]["maa"]["issuer"], set.issuer.as_str());
    assert_eq!(output["claims"]["snp"]["policy"]["debug"], false);
}

#[test]
fn a_genuine_token_of_tdx_is_verified_likewise() {
    let Some(vectors) = crate::common::vectors() else { return };
    let folder = vectors.join("maa-sharedwus-tdxvm-2026");
    let payload: Value = serde_json::from_slice(&fs::read(folder.join("payload.json")).unwrap()).unwrap();
    let set = TokenSet {
        token: text(&folder.join("token.jwt")),
        jwks: text(&folder.join("jwks.json")),
        issuer: payload["iss"].as_str().unwrap().to_owned(),
        at: (payload["iat"].as_u64().unwrap() + 10).to_string(),
    };
    let output = assert_accepted(&offline(&[&set.arguments()[..], &["--json"]].concat()));
    let output: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((&output["appraised"], &output["claims"]["maa"]["shape"]), (&false.into(), &"tdx-vm".into()));
    assert_eq!(output["claims"]["tdx"]["mrtd"], payload["tdx_mrtd"]);
    assert_eq!(output["claims"].get("snp"), None);
    // It is bound to nothing: given runtime data are refused.
    let directory = Folder::new();
    let runtime_data = directory.write("runtime-data.json", "{}");
    let with_data = [&set.arguments()[..], &["--runtime-data", &runtime_data]].concat();
    assert_refused(&offline(&with_data), "false-attestation-report");
}

#[test]
fn a_policy_is_appraised_check_by_check() {
    let Some(vectors) = crate::common::vectors() else { return };
    let set = token_set(&vectors, "maa-sharedeus2-azurevm-2025-01");
    let folder = Folder::new();
    let vm = |extra: &str| {
        format!(
            "version = 1\nkind = \"confidential-vm\"\nbinding = \"own-key\"\n[trust.maa]\nissuer = \"{}\"\n\
             [guest]\nallow-any-azure-cvm = true\n{extra}",
            set.issuer
        )
    };
    // The token is of January 2025, before the fix of CVE-2025-49707.
    let policy = folder.write("fixed.toml", vm(""));
    assert_refused(&offline(&[&set.arguments()[..], &["--policy", &policy]].concat()), "wrong-guest-identity");
    const OLD: &str = "[allow]\nold-paravisor = true\n";
    let policy = folder.write("vm.toml", vm(OLD));
    let output = assert_accepted(&offline(&[&set.arguments()[..], &["--policy", &policy, "--json"]].concat()));
    let output: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output["appraised"], true);
    let checks = output["checks"].as_array().unwrap();
    let check = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
    assert_eq!(check("debug")["verdict"], "passed");
    assert_eq!(check("paravisor")["verdict"], "allowed");
    assert_eq!(check("freshness")["verdict"], "not-evaluated");
    assert_eq!(check("compliance")["actual"], "azure-compliant-cvm");

    let newer = folder.write("newer.toml", vm(&format!("{OLD}[require.reported-tcb.any]\nsnp = 99\n")));
    assert_refused(&offline(&[&set.arguments()[..], &["--policy", &newer]].concat()), "tcb-too-old");
    let unknown = folder.write("unknown.toml", vm("[requires]\nx = 1\n"));
    assert_refused(&offline(&[&set.arguments()[..], &["--policy", &unknown]].concat()), "invalid-policy");
    let other = vm("").replace(&set.issuer, "https://sharedneu.neu.attest.azure.net");
    let other = folder.write("other.toml", other);
    assert_refused(&offline(&[&set.arguments()[..], &["--policy", &other]].concat()), "usage");
}

#[test]
fn what_is_not_genuine_is_refused_with_its_code() {
    let Some(vectors) = crate::common::vectors() else { return };
    let set = token_set(&vectors, "maa-sharedeus-sgx-2023");
    assert_refused(&offline(&set.arguments()), "not-an-enclave");

    let mut set = token_set(&vectors, "maa-sharedeus-sevsnpvm-2026");
    set.issuer = "https://sharedweu.weu.attest.azure.net".to_owned();
    assert_refused(&offline(&set.arguments()), "wrong-attester");

    let mut set = token_set(&vectors, "maa-sharedeus-sevsnpvm-2026");
    set.at = "1791600000".to_owned();
    assert_refused(&offline(&set.arguments()), "invalid-token");

    let mut unknown = token_set(&vectors, "maa-sharedweu-test-sevsnpvm-aci-2025");
    unknown.jwks = set.jwks;
    assert_refused(&offline(&unknown.arguments()), "invalid-token");
}

#[test]
fn a_report_is_verified_with_everything_that_belongs_to_it() {
    let Some(vectors) = crate::common::vectors() else { return };
    let folder = vectors.join("snp-aci-milan-v3-tav");
    let file = |name: &str| text(&folder.join(name));
    let (report, vek, uvm, cce) =
        (file("report.bin"), file("vcek.der"), file("uvm.cose"), file("security_policy.rego"));
    let arguments = ["--report", &report, "--vek", &vek, "--uvm", &uvm, "--at", "1771000000"];
    let output = assert_accepted(&offline(&[&arguments[..], &["--cce-policy", &cce, "--json"]].concat()));
    let output: Value = serde_json::from_str(&output).unwrap();
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    for name in ["measurement", "host_data", "report_data", "report_id", "chip_id", "current_tcb", "vmpl", "version"] {
        assert_eq!(output["report"][name], expected[name], "{name}");
    }
    assert_eq!(output["claims"]["uvm"]["svn"], 101);

    let other = text(&vectors.join("snp-aci-milan-v2-uvm22").join("security_policy.rego"));
    assert_refused(&offline(&[&arguments[..], &["--cce-policy", &other]].concat()), "invalid-enclave-code");
    let fake = text(&vectors.join("snp-milan-v2-invalid-vcek-legacy").join("vcek.der"));
    assert_refused(&offline(&["--report", &report, "--vek", &fake, "--at", "1771000000"]), "invalid-report");
    // An endorsement of another measurement.
    let other = text(&vectors.join("snp-aci-milan-v2-uvm22").join("uvm.cose"));
    let arguments = ["--report", &report, "--vek", &vek, "--uvm", &other, "--at", "1771000000"];
    assert_refused(&offline(&arguments), "evidence-mismatch");
}

#[test]
fn amd_alone_accepts_a_real_container_and_refuses_a_real_debug_guest() {
    let Some(vectors) = crate::common::vectors() else { return };
    let folder = Folder::new();
    let policy = |host_data: &str, permissive: &str| {
        format!(
            "version = 1\nkind = \"confidential-container\"\n[trust.amd]\nrevocation = \"allow-off\"\n\
             waived-advisories = [\"AMD-SB-3019\"]\n[workload]\nbinding = \"own-key\"\nhost-data = [\"{host_data}\"]\n\
             {permissive}\n[uvm]\nminimum-svn = 22\n"
        )
    };
    let set = vectors.join("snp-aci-milan-v2-uvm22");
    let file = |name: &str| text(&set.join(name));
    let (report, vek, uvm, cce) =
        (file("report.bin"), file("vcek.der"), file("uvm.cose"), file("security_policy.rego"));
    let host_data = "cadd74f71ebb8fbf9782baab649612520f3c416bc5ce9ac768808ddc8d9b031c";
    let accepted = folder.write("aci.toml", policy(host_data, ""));
    let at = "1700000000";
    let arguments = ["--report", &report, "--vek", &vek, "--uvm", &uvm, "--cce-policy", &cce, "--at", at];
    let output = assert_accepted(&offline(&[&arguments[..], &["--policy", &accepted]].concat()));
    assert!(output.contains("NOT CHECKED: the policy turns it off"), "{output}");
    let strict = policy(host_data, "").replace("revocation = \"allow-off\"\n", "");
    let strict = folder.write("strict.toml", strict);
    assert_refused(&offline(&[&arguments[..], &["--policy", &strict]].concat()), "revocation-unavailable");

    let set: PathBuf = vectors.join("snp-milan-v2-debug-policy");
    let file = |name: &str| text(&set.join(name));
    let (report, vek) = (file("report.bin"), file("vcek.der"));
    let measured = format!(
        "version = 1\nkind = \"confidential-container\"\n[trust.amd]\nrevocation = \"allow-off\"\n\
         waived-advisories = [\"AMD-SB-3019\"]\n[workload]\nbinding = \"own-key\"\nhost-data = [\"{host_data}\"]\n\
         [require]\nmeasurements = [\"{}\"]\n",
        "11".repeat(48)
    );
    let measured = folder.write("measured.toml", measured);
    let arguments = ["--report", &report, "--vek", &vek, "--at", at, "--policy", &measured];
    // Other code, another measurement and debugging: the gravest is named, the table has all.
    let output = offline(&arguments);
    assert_refused(&output, "debug-mode");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("FAILED         workload") && stderr.contains("FAILED         launch measurement"),
        "{stderr}"
    );
}

#[test]
fn evidence_of_nothing_and_files_that_are_not_there_say_what_to_do() {
    let folder = Folder::new();
    assert_refused(&offline(&["--at", "0"]), "usage");
    let report = folder.write("report.bin", [0_u8; 1184]);
    let vek = folder.write("vek.der", [0x30, 0x00]);
    assert_refused(&offline(&["--report", &report, "--vek", &vek, "--at", "0"]), "invalid-report");
    assert_refused(&offline(&["--report", &report, "--vek", "nowhere", "--at", "0"]), "misconfigured");
    let jwks = folder.write("jwks.json", "{}");
    let token = folder.write("token.jwt", "a.b.c");
    let issuer = "https://sharedneu.neu.attest.azure.net";
    let arguments = ["--token", &token, "--jwks", &jwks, "--issuer", issuer, "--at", "0"];
    assert_refused(&offline(&arguments), "invalid-key-set");
    let arguments = ["--token", &token, "--jwks", &jwks, "--issuer", "sharedneu", "--at", "0"];
    assert_refused(&offline(&arguments), "usage");
}
