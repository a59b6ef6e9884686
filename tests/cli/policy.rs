//! `policy new` and `policy lint`.

use std::fs;

use blindbox_attestation::Policy;
use blindbox_attestation::emulator::azure_vm::QuoteBuilder;

use crate::tool::{Emulator, run};

#[test]
fn a_new_policy_is_one_that_the_emulated_blindbox_meets() {
    let emulator = Emulator::start(&[]);
    let issuer = emulator.serving.said["maa"]["issuer"].as_str().unwrap();
    let hash = emulator.serving.said["maa"]["policy_hash"].as_str().unwrap();
    let cce_policy = emulator.path("cce-policy.base64");
    let arguments = [
        ["policy", "new", "--binding", "own-key"],
        ["--maa", issuer, "--maa-policy-hash", hash],
        ["--cce-policy", &cce_policy, "--uvm-svn", "100"],
    ];
    let made = run(&arguments.concat());
    assert_eq!(made.exit, 0, "{}", made.err);
    assert!(made.err.contains("note: no-minimum-tcb: "), "{}", made.err);
    fs::write(emulator.file("policy.toml"), &made.out).unwrap();
    assert_eq!(emulator.verify(&[]).exit, 0);

    let policy = emulator.path("policy.toml");
    let shown = run(&["policy", "show", &policy]);
    assert_eq!(shown.exit, 0);
    assert!(shown.out.starts_with("# digest "), "{}", shown.out);
    assert_eq!(shown.out.split_once('\n').unwrap().1, made.out);

    // The same in JSON, which is read as well.
    let json = run(&["policy", "show", &policy, "--json"]);
    fs::write(emulator.file("policy.toml"), &json.out).unwrap();
    assert_eq!(run(&["policy", "show", &policy]).out, shown.out);
    assert_eq!(emulator.verify(&[]).exit, 0);
}

/// For a workload behind a front end: the evidence names a message key.
#[test]
fn a_new_policy_for_sealed_messages_is_met_behind_a_front_end() {
    let emulator = Emulator::start(&["--front-end", "--agent", "bound-message"]);
    let issuer = emulator.serving.said["maa"]["issuer"].as_str().unwrap();
    let hash = emulator.serving.said["maa"]["policy_hash"].as_str().unwrap();
    let cce_policy = emulator.path("cce-policy.base64");
    let more = ["--maa", issuer, "--maa-policy-hash", hash, "--cce-policy", &cce_policy, "--uvm-svn", "100"];
    for (binding, exit, outcome) in [("own-message-key", 0, "accepted"), ("own-key", 2, "channel-mismatch")] {
        let made = run(&[&["policy", "new", "--binding", binding][..], &more].concat());
        assert_eq!(made.exit, 0, "{}", made.err);
        assert!(made.out.contains(&format!("binding = \"{binding}\"")), "{}", made.out);
        fs::write(emulator.file("policy.toml"), &made.out).unwrap();
        let verified = emulator.verify(&["--json"]);
        assert_eq!(verified.exit, exit, "{}", verified.err);
        match exit {
            0 => {
                let json = verified.json();
                assert_eq!(
                    (&json["verdict"], &json["attestation"]["channel"]),
                    (&outcome.into(), &"bound-message".into()),
                    "{json}"
                );
            }
            _ => assert_eq!(verified.code(), outcome),
        }
    }
}

#[test]
fn a_policy_for_tdx_names_it() {
    let emulator = Emulator::start(&["--guest", "tdx"]);
    let issuer = emulator.serving.said["maa"]["issuer"].as_str().unwrap();
    let hash = emulator.serving.said["maa"]["policy_hash"].as_str().unwrap();
    let new = ["policy", "new", "--kind", "vm", "--binding", "own-key", "--maa", issuer, "--maa-policy-hash", hash];
    let with = |more: &[&str]| run(&[&new[..], more].concat());
    let mrtd = emulator.serving.text("measurement");
    for more in [&["--mrtd", mrtd][..], &["--allow-any-azure-cvm", "--tee", "snp", "--tee", "tdx"]] {
        let made = with(more);
        assert_eq!(made.exit, 0, "{}", made.err);
        fs::write(emulator.file("policy.toml"), &made.out).unwrap();
        assert_eq!(emulator.verify(&[]).exit, 0, "{}", made.out);
    }
    let both = with(&["--mrtd", mrtd, "--measurement", &"5a".repeat(48)]).out;
    assert!(both.contains("tee = [\"snp\", \"tdx\"]"), "{both}");
    let snp = with(&["--allow-any-azure-cvm"]);
    fs::write(emulator.file("policy.toml"), &snp.out).unwrap();
    assert_eq!(emulator.verify(&["--json"]).code(), "wrong-tee-kind");
}

/// The image of a VM, by the PCRs that identify it.
#[test]
fn a_new_policy_names_the_image_of_a_vm() {
    let emulator = Emulator::start(&["--guest", "vm", "--product", "milan", "--trust", "amd"]);
    let vm = ["policy", "new", "--kind", "vm", "--binding", "own-key", "--amd", "--allow-any-azure-cvm"];
    let pcr = |index: u8| format!("{index}={}", QuoteBuilder::default_pcr(index));
    let (other, four, eleven, twelve) = (format!("4={}", "5a".repeat(32)), pcr(4), pcr(11), pcr(12));
    let with = |pcrs: &[&str]| {
        let options: Vec<_> = pcrs.iter().flat_map(|pcr| ["--pcr", pcr]).collect();
        run(&[&vm[..], &options].concat())
    };
    // Of one PCR any of the values.
    let made = with(&[&other, &four, &eleven, &twelve]);
    assert_eq!(made.exit, 0, "{}", made.err);
    let policy: Policy = made.out.parse().unwrap();
    assert!(policy.lint().iter().all(|lint| lint.code != "any-guest-os"), "{}", made.err);
    fs::write(emulator.file("policy.toml"), &made.out).unwrap();
    let verified = emulator.verify(&[]);
    assert_eq!(verified.exit, 0, "{}", verified.err);
    let passed = "passed         workload                  boot chain up to the initial file system, by PCR 4, 11, 12";
    assert!(verified.out.lines().any(|line| line == passed), "{}", verified.out);
    // Another image.
    fs::write(emulator.file("policy.toml"), with(&[&other, &eleven, &twelve]).out).unwrap();
    assert_eq!(emulator.verify(&["--json"]).code(), "wrong-pcr");
    // The boot loader alone leaves the system open.
    assert!(with(&[&four]).err.contains("note: any-guest-os: "), "{}", with(&[&four]).err);

    for (pcr, exit, reason) in
        [("4", 64, "expected INDEX=HEX"), ("04=00", 64, "expected the index of a PCR before the ="), ("4=00", 64, "64")]
    {
        let refused = with(&[pcr]);
        assert_eq!((refused.exit, refused.err.contains(reason)), (exit, true), "{}", refused.err);
    }
    let refused = with(&[&format!("16={}", "5a".repeat(32))]);
    assert_eq!((refused.exit, refused.err.contains("PCR 16 or 23")), (4, true), "{}", refused.err);
    let container = ["policy", "new", "--binding", "own-key", "--amd", "--pcr", &four];
    let refused = run(&container);
    assert_eq!((refused.exit, refused.err.contains("belong to --kind vm")), (64, true), "{}", refused.err);
    let maa =
        ["policy", "new", "--kind", "vm", "--binding", "own-key", "--maa", "https://sharedneu.neu.attest.azure.net"];
    let refused = run(&[&maa[..], &["--allow-any-azure-cvm", "--pcr", &four]].concat());
    assert_eq!((refused.exit, refused.err.contains("--amd")), (64, true), "{}", refused.err);
}

#[test]
fn a_policy_that_leaves_much_open() {
    let digest = "5a".repeat(32);
    let vm = ["policy", "new", "--kind", "vm", "--binding", "none", "--allow-unbound-channel", "--allow-any-azure-cvm"];
    let made = run(&[&vm[..], &["--maa", "https://sharedneu.neu.attest.azure.net"]].concat());
    assert_eq!(made.exit, 0, "{}", made.err);
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("policy.toml");
    fs::write(&file, &made.out).unwrap();
    let file = file.to_str().unwrap();
    let lint = run(&["policy", "lint", file]);
    assert_eq!(lint.exit, 0);
    let codes: Vec<_> = lint.out.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        codes,
        [
            "channel-not-bound",
            "workload-not-evaluated",
            "any-vm",
            "another-vm",
            "secure-boot-not-required",
            "no-advisory-floors",
            "no-minimum-tcb",
            "any-chip"
        ]
    );
    assert_eq!(run(&["policy", "lint", file, "--deny-open"]).exit, 1);
    let json = run(&["policy", "lint", file, "--json"]).json();
    assert_eq!(json["open"][0]["code"], "channel-not-bound");
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);

    let amd = ["policy", "new", "--amd", "--binding", "own-key", "--host-data", &digest, "--measurement"];
    let made = run(&[&amd[..], &[&"ab".repeat(48)]].concat());
    assert_eq!(made.exit, 0, "{}", made.err);
    assert!(made.out.contains("[trust.amd]"), "{}", made.out);
}

#[test]
fn a_policy_that_cannot_be() {
    let digest = "5a".repeat(32);
    let container = ["policy", "new", "--binding", "own-key", "--uvm-svn", "101"];
    for (more, exit, what) in [
        (vec!["--host-data", &digest], 64, "--maa"),
        (vec!["--amd"], 64, "--cce-policy or --host-data"),
        (vec!["--amd", "--host-data", "5a"], 64, "64"),
        (vec!["--amd", "--host-data", &digest, "--id-key", &"ab".repeat(48)], 64, "belong to --kind vm"),
        (vec!["--amd", "--kind", "vm"], 64, "belong to --kind container"),
        (vec!["--maa", "https://my.neu.attest.azure.net", "--host-data", &digest], 4, "policy-hash"),
        (vec!["--maa", "sharedneu", "--host-data", &digest], 4, "error[invalid-policy]"),
        (vec!["--amd", "--host-data", &digest, "--allow-unbound-channel"], 4, "binding"),
        (vec!["--amd", "--host-data", &digest, "--allow-plain-http"], 64, "--allow-unbound-channel"),
    ] {
        let outcome = run(&[&container[..], &more].concat());
        assert_eq!(outcome.exit, exit, "{more:?}: {} {}", outcome.out, outcome.err);
        assert!(outcome.err.contains(what), "{more:?}: {}", outcome.err);
        assert_eq!(outcome.out, "");
    }
    // Whether a workload binds is never assumed.
    let outcome = run(&["policy", "new", "--amd", "--host-data", &digest, "--uvm-svn", "101"]);
    assert_eq!((outcome.exit, outcome.err.contains("--binding")), (64, true));
}
