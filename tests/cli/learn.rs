//! `policy learn`: a policy with what one deployment showed.

use std::fs;

use blindbox_attestation::emulator::{BlindBox, Maa};
use blindbox_attestation::{Policy, PolicyError};

use crate::tool::{Emulator, Outcome, run};

const SHOWN: &str = "shown by the peer, not yet trusted: ";

/// Looks at what is emulated, with the options that the emulator's client needs but for its policy.
fn learn(emulator: &Emulator, more: &[&str]) -> Outcome {
    let trusting = emulator.trusting();
    let at = trusting.iter().position(|option| option == "--policy").unwrap();
    let trusting = [&trusting[..at], &trusting[at + 2..]].concat();
    let mut arguments = vec!["policy", "learn", emulator.url()];
    arguments.extend(trusting.iter().map(String::as_str));
    arguments.extend(more);
    run(&arguments)
}

fn issuer(emulator: &Emulator) -> String {
    emulator.serving.said["maa"]["issuer"].as_str().unwrap().to_owned()
}

#[test]
fn what_a_container_showed_is_a_policy_that_it_meets() {
    let emulator = Emulator::start(&["--product", "milan"]);
    let outcome = learn(&emulator, &["--maa", &issuer(&emulator), "--amd", "--binding", "own-key"]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(outcome.err.contains("is asserted by one peer alone"), "{}", outcome.err);
    let line = |begins: &str| {
        let line = outcome.out.lines().find(|line| line.starts_with(begins));
        line.unwrap_or_else(|| panic!("no {begins}: {}", outcome.out)).to_owned()
    };
    for (begins, value) in [
        ("policy-hash = ", emulator.serving.said["maa"]["policy_hash"].as_str().unwrap()),
        ("products = ", "milan"),
        ("host-data = ", emulator.serving.text("host_data")),
        ("minimum-svn = ", &emulator.serving.said["uvm_svn"].to_string()),
        ("issuer = \"did:x509:", emulator.serving.text("uvm_issuer")),
        ("reported-tcb = ", "milan = { "),
        ("# measurements = ", emulator.serving.text("measurement")),
        ("# report-ids = ", ""),
    ] {
        let line = line(begins);
        assert!(line.contains(value) && line.contains(SHOWN), "{line}");
    }
    // Whatever the policy requires is either the caller's word or said to be the peer's.
    let given = ["version", "kind", "binding", "issuer = \"https://"];
    for line in outcome.out.lines().filter(|line| line.contains(" = ")) {
        assert!(line.contains(SHOWN) || given.iter().any(|given| line.starts_with(given)), "{line}");
    }
    let policy = outcome.out.parse::<Policy>().unwrap();
    assert!(policy.lint().iter().all(|lint| lint.code != "microcode-of-a-product"), "{:?}", policy.lint());
    fs::write(emulator.file("policy.toml"), &outcome.out).unwrap();
    let verified = emulator.verify(&[]);
    assert_eq!(verified.exit, 0, "{}", verified.err);
}

/// Without the provider's name the policy would accept the keys of chips only, and not what it was learned from.
#[test]
fn the_provider_of_a_vlek_is_learned_by_its_name() {
    let emulator = Emulator::start(&["--product", "milan", "--vlek", "--trust", "amd"]);
    let outcome = learn(&emulator, &["--amd", "--binding", "own-key"]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    let line = format!("csp-ids = [\"CN=cc-emulated.example\"] # {SHOWN}");
    assert!(outcome.out.contains(&line), "{}", outcome.out);
    fs::write(emulator.file("policy.toml"), &outcome.out).unwrap();
    let verified = emulator.verify(&["--full"]);
    assert_eq!(verified.exit, 0, "{}", verified.err);
}

#[test]
fn one_judge_alone_and_an_unbound_channel_are_learned_too() {
    let emulator = Emulator::start(&["--agent", "legacy"]);
    let agent = ["--agent", emulator.serving.text("agent_url")];
    let outcome = learn(&emulator, &[&["--maa", &issuer(&emulator), "--binding", "none"][..], &agent].concat());
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(outcome.out.contains("unbound-channel = true"), "{}", outcome.out);
    fs::write(emulator.file("policy.toml"), &outcome.out).unwrap();
    assert_eq!(emulator.verify(&agent).exit, 0, "{}", outcome.out);
}

#[test]
fn a_vm_is_learned_by_its_measurement() {
    let emulator = Emulator::start(&["--guest", "vm"]);
    let outcome = learn(&emulator, &["--maa", &issuer(&emulator), "--binding", "own-key", "--kind", "vm"]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    let measurement = format!("measurements = [\"{}\"] # {SHOWN}", emulator.serving.text("measurement"));
    assert!(outcome.out.contains(&measurement), "{}", outcome.out);
    let secure_boot = format!("vm-configuration = {{ secure-boot = \"set\" }} # {SHOWN}");
    assert!(outcome.out.contains(&secure_boot), "{}", outcome.out);
    fs::write(emulator.file("policy.toml"), &outcome.out).unwrap();
    assert_eq!(emulator.verify(&[]).exit, 0, "{}", outcome.out);
}

#[test]
fn a_vm_with_tdx_is_learned_by_its_mrtd() {
    let emulator = Emulator::start(&["--guest", "tdx"]);
    let outcome = learn(&emulator, &["--maa", &issuer(&emulator), "--binding", "own-key", "--kind", "vm"]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    let mrtd = format!("mrtd = [\"{}\"] # {SHOWN}", emulator.serving.text("measurement"));
    assert!(outcome.out.contains(&mrtd), "{}", outcome.out);
    assert!(outcome.out.contains(&format!("tee = [\"tdx\"] # {SHOWN}")), "{}", outcome.out);
    fs::write(emulator.file("policy.toml"), &outcome.out).unwrap();
    assert_eq!(emulator.verify(&[]).exit, 0, "{}", outcome.out);
}

#[test]
fn forged_evidence_is_nothing_to_learn_from() {
    let emulator = Emulator::start(&[]);
    let other = Emulator::start(&[]);
    let key_set = other.path("key-set.json");
    let outcome = learn(&emulator, &["--maa", &issuer(&emulator), "--binding", "own-key", "--key-set", &key_set]);
    assert_eq!((outcome.exit, outcome.out.as_str()), (2, ""), "{}", outcome.err);
}

/// What a policy may not require is shown as such, and gives a policy that is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_all_policy_is_shown_and_gives_no_policy() {
    let Some(vectors) = crate::common::vectors() else { return };
    let allow_all = fs::read_to_string(vectors.join("snp-aci-milan-v3-tav/security_policy.rego")).unwrap();
    let maa = Maa::start().await.unwrap();
    let blindbox = BlindBox::builder(&maa).cce_policy(&allow_all).start().await.unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (application, collateral) =
        (file("application", blindbox.tls_root_pem()), file("collateral", maa.tls_root_pem()));
    let arguments: Vec<String> = [
        ["policy", "learn", &blindbox.url(), "--binding", "own-key"].as_slice(),
        &["--maa", maa.issuer(), "--application-root", &application, "--collateral-root", &collateral],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    let outcome = tokio::task::spawn_blocking(move || run(&arguments)).await.unwrap();
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    assert!(outcome.out.contains("published CCE policy that allows everything"), "{}", outcome.out);
    assert!(outcome.err.contains("as it stands, this policy is refused"), "{}", outcome.err);
    assert_eq!(
        outcome.out.parse::<Policy>().unwrap_err(),
        PolicyError::PermissiveWorkload { digest: blindbox.host_data() }
    );
}

/// The PCRs of a VM are shown with what each means, and the policy that they make is met.
#[test]
fn a_vm_is_learned_by_what_was_started_in_it() {
    let emulator = Emulator::start(&["--guest", "vm", "--product", "milan", "--trust", "amd"]);
    let outcome = learn(&emulator, &["--amd", "--binding", "own-key", "--kind", "vm"]);
    assert_eq!(outcome.exit, 0, "{}", outcome.err);
    for (begins, meaning) in [
        ("4 = [\"", "boot loader, or the unified kernel image"),
        ("# 0 = [\"", "firmware of the paravisor"),
        ("7 = [\"", "Secure Boot: its state"),
        ("12 = [\"", "pin it with 11"),
        ("vm-ids = [\"", "which its host states"),
        ("ak-certificate = true", "stands in Azure"),
        ("vm-configuration = { secure-boot = \"set\" }", "as the paravisor states"),
    ] {
        let line = outcome.out.lines().find(|line| line.starts_with(begins));
        assert!(line.is_some_and(|line| line.contains(SHOWN) && line.contains(meaning)), "{begins}: {}", outcome.out);
    }
    let policy = outcome.out.parse::<Policy>().unwrap();
    for open in ["any-guest-os", "another-vm", "machine-anywhere"] {
        assert!(policy.lint().iter().all(|lint| lint.code != open), "{open}");
    }
    fs::write(emulator.file("policy.toml"), &outcome.out).unwrap();
    assert_eq!(emulator.verify(&[]).exit, 0, "{}", outcome.out);
}

/// A measurement that is pinned accepts its paravisor without a minimum version, so that the file says what is known of it.
#[test]
fn a_paravisor_without_the_fix_is_noted_beside_its_measurement() {
    const BELOW: &str = "# NOTE: this paravisor is BELOW the floor of CVE-2025-49707 (guest svn 9 of family ";
    for (knobs, note) in [(&[][..], None), (&["--knob", "report-guest-svn=9"], Some(BELOW))] {
        let options = [&["--guest", "vm", "--product", "milan", "--trust", "amd"][..], knobs].concat();
        let emulator = Emulator::start(&options);
        let outcome = learn(&emulator, &["--amd", "--binding", "own-key", "--kind", "vm"]);
        assert_eq!(outcome.exit, 0, "{}", outcome.err);
        let lines: Vec<_> = outcome.out.lines().collect();
        let pin = lines.iter().position(|line| line.starts_with("measurements = [")).unwrap();
        let before = lines[pin - 1];
        match note {
            Some(note) => {
                assert!(before.starts_with(note) && before.ends_with("Redeploy the VM and learn again."), "{before}")
            }
            None => assert!(!outcome.out.contains("NOTE: this"), "{}", outcome.out),
        }
        // The pin is followed, and the result shows what it accepts.
        fs::write(emulator.file("policy.toml"), &outcome.out).unwrap();
        let verified = emulator.verify(&[]);
        assert_eq!(verified.exit, 0, "{}", verified.err);
        let shown = verified.out.lines().find(|line| line.contains("BELOW the floor of CVE-2025-49707"));
        assert_eq!(shown.is_some_and(|line| line.starts_with("ALLOWED")), note.is_some(), "{}", verified.out);
    }
}
