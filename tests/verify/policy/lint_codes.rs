//! Each lint: a policy that it is about, and one that closes what is open.

use std::collections::BTreeSet;

use blindbox_attestation::Policy;

const CONTAINER: &str = r#"
kind = "confidential-container"
workload.host-data = ["<32>"]
"#;
const CONTAINER_OF_UVM: &str = r#"
kind = "confidential-container"
workload.host-data = ["<32>"]
workload.binding = "own-key"
uvm.minimum-svn = 101
"#;
const VM: &str = r#"
kind = "confidential-vm"
binding = "own-key"
"#;
const PINNED_VM: &str = r#"
kind = "confidential-vm"
binding = "own-key"
guest.measurements = ["<48>"]
"#;
const MAA: &str = r#"trust.maa.issuer = "https://sharedneu.neu.attest.azure.net""#;
const OWN_MAA: &str = r#"trust.maa.issuer = "https://mine.neu.attest.azure.net""#;
const AMD: &str = "trust.amd = {}";
const MAA_KEY: &str = r#"
trust.maa.require-attested-key.host-data = ["<32>"]
trust.maa.require-attested-key.minimum-uvm-svn = 104
"#;

/// A lint, what both policies have, what the first one has, and what the second one has in its place.
type Row = (&'static str, &'static [&'static str], &'static str, &'static str);

const ROWS: &[Row] = &[
    ("debug-allowed", &[CONTAINER_OF_UVM, MAA], "allow.debug = true", ""),
    ("permissive-workload-allowed", &[CONTAINER_OF_UVM, MAA], "workload.allow-permissive = true", ""),
    (
        "plain-http-allowed",
        &[CONTAINER, "uvm.minimum-svn = 101", MAA, r#"workload.binding = "none""#, "allow.unbound-channel = true"],
        "allow.plain-http = true",
        "",
    ),
    (
        "channel-not-bound",
        &[CONTAINER, "uvm.minimum-svn = 101", MAA],
        r#"workload.binding = "none""#,
        r#"workload.binding = "own-key""#,
    ),
    ("workload-not-evaluated", &[PINNED_VM], MAA, AMD),
    (
        "any-guest-os",
        &[PINNED_VM, AMD],
        r#"guest.pcrs = { 4 = ["<32>"] }"#,
        r#"guest.pcrs = { 4 = ["<32>"], 11 = ["<32>"], 12 = ["<32>"] }"#,
    ),
    (
        "pcrs-without-boot-loader",
        &[PINNED_VM, AMD],
        r#"guest.pcrs = { 9 = ["<32>"] }"#,
        r#"guest.pcrs = { 4 = ["<32>"], 9 = ["<32>"] }"#,
    ),
    (
        "kernel-image-without-overrides",
        &[PINNED_VM, AMD],
        r#"guest.pcrs = { 11 = ["<32>"] }"#,
        r#"guest.pcrs = { 11 = ["<32>"], 12 = ["<32>"] }"#,
    ),
    (
        "system-extensions-not-required",
        &[PINNED_VM, AMD],
        r#"guest.pcrs = { 4 = ["<32>"], 11 = ["<32>"], 12 = ["<32>"] }"#,
        r#"guest.pcrs = { 4 = ["<32>"], 11 = ["<32>"], 12 = ["<32>"], 13 = ["<32>"] }"#,
    ),
    (
        "pcr-values-combine",
        &[PINNED_VM, AMD],
        r#"guest.pcrs = { 4 = ["<32>", "<other>"], 11 = ["<32>", "<other>"] }"#,
        r#"guest.pcrs = { 4 = ["<32>", "<other>"], 11 = ["<32>"] }"#,
    ),
    (
        "firmware-only",
        &[AMD, r#"binding = "own-key""#, r#"guest.measurements = ["<48>"]"#],
        "kind = \"snp-guest\"\nrequire.signing-keys = [\"vcek\"]",
        r#"kind = "confidential-vm""#,
    ),
    (
        "any-vm",
        &[VM, MAA, "guest.allow-any-azure-cvm = true"],
        "",
        r#"require.vm-ids = ["5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a"]"#,
    ),
    ("another-vm", &[PINNED_VM, MAA], "", r#"require.vm-ids = ["5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a"]"#),
    ("machine-anywhere", &[PINNED_VM, AMD], "", "require.ak-certificate = true"),
    ("old-paravisor-allowed", &[VM, MAA, "guest.allow-any-azure-cvm = true"], "allow.old-paravisor = true", ""),
    ("other-paravisor-key", &[VM, MAA, r#"guest.id-keys = ["<48>"]"#], "", r#"guest.measurements = ["<48>"]"#),
    ("secure-boot-not-required", &[PINNED_VM, AMD], "", r#"require.vm-configuration.secure-boot = "set""#),
    ("secure-boot-not-required", &[PINNED_VM, MAA], "", r#"require.vm-configuration.secure-boot = "set""#),
    (
        "interactive-console-not-refused",
        &[PINNED_VM, AMD],
        "",
        r#"require.vm-configuration.interactive-console = "clear""#,
    ),
    ("report-of-earlier-boot-allowed", &[PINNED_VM, AMD], "allow.report-of-earlier-boot = true", ""),
    (
        "tdx-paravisor-not-shown",
        &[VM, MAA, r#"require.tee = ["tdx"]"#],
        "guest.allow-any-azure-cvm = true",
        r#"guest.mrtd = ["<48>"]"#,
    ),
    ("migration-allowed", &[CONTAINER_OF_UVM, MAA], "allow.migration = true", ""),
    ("name-not-validated", &[CONTAINER_OF_UVM, MAA], "allow.unverified-name = true", ""),
    (
        "front-end-chooses-instance",
        &[CONTAINER, "uvm.minimum-svn = 101", AMD, r#"workload.binding = "own-message-key""#],
        "",
        r#"require.chip-ids = ["<64>"]"#,
    ),
    (
        "classical-message-key",
        &[CONTAINER, "uvm.minimum-svn = 101", AMD, r#"workload.binding = "own-message-key""#],
        "",
        "require.post-quantum = true",
    ),
    (
        "maa-policy-not-pinned",
        &[CONTAINER_OF_UVM, OWN_MAA],
        "trust.maa.allow-any-policy = true",
        r#"trust.maa.policy-hash = "<32>""#,
    ),
    ("own-uvm-issuer", &[CONTAINER_OF_UVM, MAA], r#"uvm.issuer = "did:x509:0""#, ""),
    ("test-attester-allowed", &[CONTAINER_OF_UVM, MAA], "trust.maa.allow-test-attester = true", ""),
    (
        "compliance-status-relaxed",
        &[CONTAINER_OF_UVM, MAA],
        r#"require.compliance-status = ["azure-compliant-cvm"]"#,
        r#"require.compliance-status = ["azure-compliant-uvm"]"#,
    ),
    (
        "tcb-status-relaxed",
        &[VM, MAA, r#"require.tee = ["tdx"]"#, r#"guest.mrtd = ["<48>"]"#],
        r#"require.tcb-status = ["OutOfDate"]"#,
        r#"require.tcb-status = ["UpToDate"]"#,
    ),
    ("vmpl-relaxed", &[CONTAINER_OF_UVM, MAA], "require.vmpl = [1]", "require.vmpl = [0]"),
    (
        "revocation-not-required",
        &[CONTAINER_OF_UVM],
        r#"trust.amd.revocation = "allow-best-effort""#,
        r#"trust.amd.revocation = "required""#,
    ),
    (
        "maa-key-revocation-not-required",
        &[CONTAINER_OF_UVM, MAA, MAA_KEY],
        r#"trust.maa.require-attested-key.revocation = "allow-off""#,
        "",
    ),
    (
        "maa-key-own-uvm-issuer",
        &[CONTAINER_OF_UVM, MAA, MAA_KEY],
        r#"trust.maa.require-attested-key.uvm-issuer = "did:x509:0:sha256:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo::eku:1.2""#,
        "",
    ),
    ("advisory-waived", &[CONTAINER_OF_UVM], r#"trust.amd.waived-advisories = ["AMD-SB-3019"]"#, AMD),
    ("no-advisory-floors", &[CONTAINER_OF_UVM, MAA], "", "require.reported-tcb.any.snp = 1"),
    ("no-minimum-tcb", &[CONTAINER_OF_UVM, AMD], "", "require.reported-tcb.any.snp = 1"),
    ("advisories-not-required", &[CONTAINER_OF_UVM, AMD], "", r#"require.advisories-until = "2026-05-12""#),
    (
        "advisories-beyond-table",
        &[CONTAINER_OF_UVM, AMD],
        r#"require.advisories-until = "2099-12-31""#,
        r#"require.advisories-until = "2026-05-12""#,
    ),
    (
        "microcode-of-a-product",
        &[CONTAINER_OF_UVM, MAA],
        "require.reported-tcb.any.microcode = 1",
        "require.reported-tcb.any.snp = 1",
    ),
    ("alias-check-not-required", &[CONTAINER_OF_UVM, AMD], "", r#"require.platform-info.alias-check-complete = "set""#),
    (
        "alias-check-not-required",
        &[CONTAINER_OF_UVM, AMD],
        r#"require.platform-info.alias-check-complete = "clear""#,
        r#"require.platform-info.alias-check-complete = "set""#,
    ),
    ("any-chip", &[CONTAINER_OF_UVM, MAA], "", r#"require.chip-ids = ["<64>"]"#),
    (
        "any-provider",
        &[CONTAINER_OF_UVM, AMD],
        r#"require.signing-keys = ["vcek", "vlek"]"#,
        r#"require.signing-keys = ["vcek"]"#,
    ),
    (
        "guest-svn-without-id-key",
        &[CONTAINER_OF_UVM, MAA, "require.minimum-report-guest-svn = 2"],
        "",
        r#"require.id-keys = ["<48>"]"#,
    ),
    (
        "image-id-without-id-key",
        &[CONTAINER_OF_UVM, MAA, r#"require.image-ids = ["<16>"]"#],
        "",
        r#"require.id-keys = ["<48>"]"#,
    ),
    (
        "image-id-without-id-key",
        &[CONTAINER_OF_UVM, MAA, r#"require.family-ids = ["<16>"]"#],
        "",
        r#"require.id-keys = ["<48>"]"#,
    ),
];

fn codes(common: &[&str], more: &str) -> Vec<&'static str> {
    let mut text = format!("version = 1\n{}\n{more}\n", common.join("\n")).replace("<other>", &"5b".repeat(32));
    for len in [16, 32, 48, 64] {
        text = text.replace(&format!("<{len}>"), &"5a".repeat(len));
    }
    let policy = Policy::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    policy.lint().into_iter().map(|lint| lint.code).collect()
}

#[test]
fn each_lint_names_what_is_open_and_nothing_that_is_closed() {
    for (code, common, open, closed) in ROWS {
        assert!(codes(common, open).contains(code), "{code}: {common:?} {open}");
        assert!(!codes(common, closed).contains(code), "{code}: {common:?} {closed}");
    }
}

#[test]
fn every_lint_has_a_row() {
    let source = include_str!("../../../src/policy/lint.rs");
    let is_code = |text: &&str| {
        text.contains('-')
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    // A name in a message is between escaped quotation marks: what stands between two of them ends with a backslash.
    let written: BTreeSet<&str> = source.split('"').filter(is_code).collect();
    let tested: BTreeSet<&str> = ROWS.iter().map(|(code, ..)| *code).collect();
    assert_eq!(tested, written);
}
