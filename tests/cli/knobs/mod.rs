//! Every knob and every fault of the emulator, and what `verify` makes of each.

use std::collections::BTreeSet;

use blindbox_attestation::emulator::{AnyKnob, Fault};

use crate::tool::{Emulator, Outcome, run, steady};

const ACCEPTED: &str = "-";

/// Of a container judged by MAA.
const MAA: &[(&str, i32, &str)] = &[
    ("knob debug", 1, "debug-mode"),
    ("knob migration-allowed", 1, "migration-allowed"),
    ("knob measurement=<96>", 2, "evidence-mismatch"),
    ("knob host-data=<64>", 1, "invalid-enclave-code"),
    ("knob vmpl=1", 1, "wrong-vmpl"),
    ("knob report-guest-svn=7", 0, ACCEPTED),
    ("knob reported-tcb=3.0.8.115", 0, ACCEPTED),
    ("knob compliance-status=azure-signed-katacc-uvm", 1, "non-compliant-uvm"),
    ("knob no-compliance-status", 1, "non-compliant-uvm"),
    ("knob uvm-svn=99", 1, "uvm-too-old"),
    ("knob uvm-issuer=did:x509:0:sha256:x", 1, "wrong-uvm"),
    ("knob uvm-feed=Another", 1, "wrong-uvm"),
    ("knob uvm-measurement=<96>", 2, "evidence-mismatch"),
    ("knob no-uvm-endorsement", 1, "not-reported"),
    ("knob old-nonce", 2, "false-attestation-report"),
    ("knob old-token", 2, "false-attestation-report"),
    ("knob old-answer", 2, "false-attestation-report"),
    ("knob foreign-key=<64>", 2, "channel-mismatch"),
    (r#"knob runtime-data={"nonce":"x"}"#, 2, "false-attestation-report"),
    (r#"knob runtime-data-in-answer={"nonce":"x"}"#, 2, "false-attestation-report"),
    ("knob no-token", 3, "maa-token-not-found"),
    ("knob answer-in-legacy-form", 2, "channel-not-bound"),
    ("knob refuse-bound-form", 2, "channel-not-bound"),
    ("knob answer-member=token:1", 2, "invalid-agent-answer"),
    ("knob without-answer-member=token", 2, "invalid-agent-answer"),
    ("knob without-answer-member=runtime_data", 2, "channel-not-bound"),
    (r#"knob claim=x-ms-sevsnpvm-is-debuggable:"false""#, 2, "invalid-token"),
    ("knob without-claim=x-ms-sevsnpvm-is-debuggable", 2, "invalid-token"),
    ("knob token-expired", 2, "invalid-token"),
    ("knob token-not-yet-valid", 2, "invalid-token"),
    ("knob token-issued-in-the-future", 2, "invalid-token"),
    ("knob token-issued-ago=600", 2, "false-attestation-report"),
    ("knob token-issuer=https://sharedeus.eus.attest.azure.net", 2, "wrong-attester"),
    ("knob token-unknown-kid", 2, "invalid-token"),
    ("knob token-kid=x", 2, "invalid-token"),
    ("knob token-foreign-key", 2, "invalid-token"),
    ("knob token-bad-signature", 2, "invalid-token"),
    ("knob token-tampered-claims", 2, "invalid-token"),
    ("knob token-alg-none", 2, "invalid-token"),
    ("knob token-hs256", 2, "invalid-token"),
    ("knob token-alg=RS384", 2, "invalid-token"),
    ("knob token-sgx", 2, "not-an-enclave"),
    ("knob token-duplicate-claim=x-ms-sevsnpvm-vmpl:0", 2, "invalid-token"),
    (r#"knob token-header=crit:["x"]"#, 2, "invalid-token"),
    ("knob token-without-header=kid", 2, "invalid-token"),
    ("knob token-cut=100", 2, "invalid-token"),
    ("knob not-a-token=hello", 2, "invalid-token"),
    ("knob keys-certificate-only", 0, ACCEPTED),
    ("knob keys-numbers-only", 0, ACCEPTED),
    ("knob keys-chain-of-three", 0, ACCEPTED),
    ("knob keys-large-certificates", 0, ACCEPTED),
    ("knob keys-legacy-rsa-1024", 0, ACCEPTED),
    ("knob keys-duplicate-kid", 2, "invalid-key-set"),
    ("knob keys-mismatched-certificate", 2, "invalid-key-set"),
    ("knob keys-many=63", 0, ACCEPTED),
    ("knob keys-many=64", 2, "invalid-key-set"),
    ("knob keys-none", 2, "invalid-key-set"),
    (r#"knob keys-extra={"kid":"x","kty":"EC"}"#, 0, ACCEPTED),
    (r#"knob keys-member=alg:"RS512""#, 2, "invalid-key-set"),
    ("knob keys-without-member=kid", 2, "invalid-key-set"),
    ("knob keys-text=hello", 2, "invalid-key-set"),
    ("fail /attest/=slow:100", 0, ACCEPTED),
    ("fail /attest/=hang", 3, "timeout"),
    ("fail /attest/=drip:100", 3, "timeout"),
    ("fail /attest/=close-early", 3, "agent-unreachable"),
    ("fail /attest/=go-away", 3, "agent-unreachable"),
    ("fail /attest/=refuse-stream", 3, "agent-unreachable"),
    ("fail /attest/=reset-stream", 3, "agent-unreachable"),
    ("fail /attest/=headers:20", 0, ACCEPTED),
    ("fail /attest/=headers:2000", 2, "invalid-agent-answer"),
    ("fail /attest/=bad-status-line", 2, "invalid-agent-answer"),
    ("fail /attest/=truncated", 3, "agent-unreachable"),
    ("fail /attest/=oversized:10000000", 3, "too-large"),
    ("fail /attest/=oversized-announced:10000000", 3, "too-large"),
    ("fail /attest/=status:500", 3, "agent-unreachable"),
    ("fail /attest/=forbidden", 3, "maa-token-not-found"),
    ("fail /attest/=forbidden-twice", 3, "maa-token-not-found"),
    ("fail /attest/=too-many-requests:60", 3, "agent-unreachable"),
    ("fail /attest/=redirect:https://my-app.example/", 2, "invalid-agent-answer"),
    ("fail /attest/=content-type:text/html", 2, "invalid-agent-answer"),
    ("fail /attest/=gzip", 2, "invalid-agent-answer"),
    ("fail /attest/=malformed-json", 2, "invalid-agent-answer"),
    ("fail /attest/=duplicate-member", 2, "invalid-agent-answer"),
    ("fail /attest/=trailing-json", 2, "invalid-agent-answer"),
    ("fail /attest/=body:hello", 2, "invalid-agent-answer"),
    ("fail-maa /certs=hang", 3, "timeout"),
    ("fail-maa /certs=status:503", 3, "maa-unreachable"),
];

/// Of a container judged by MAA, where each connection is attested.
const CONNECTION: &[(&str, i32, &str)] = &[
    ("knob foreign-key=<64>", 2, "channel-mismatch"),
    ("knob foreign-exporter=<64>", 2, "connection-mismatch"),
    ("knob refuse-connection-form", 2, "channel-not-bound"),
    ("knob answer-in-server-form", 2, "channel-not-bound"),
    ("knob answer-in-legacy-form", 2, "channel-not-bound"),
    ("knob refuse-bound-form", 2, "channel-not-bound"),
    ("knob old-nonce", 2, "false-attestation-report"),
];

/// Of a container behind a front end that ends TLS: a policy that requires evidence about TLS refuses it whatever it does.
const FRONT_END: &[(&str, i32, &str)] = &[
    ("knob foreign-message-key=<64>", 2, "channel-mismatch"),
    ("knob refuse-message-form", 2, "channel-mismatch"),
    ("knob decline-messages", 2, "channel-mismatch"),
    ("knob front-end-own-message-key", 2, "channel-mismatch"),
    ("knob front-end-earlier-attestation", 2, "false-attestation-report"),
    ("knob front-end-earlier-session", 2, "channel-mismatch"),
    ("knob front-end-change-request=0", 2, "channel-mismatch"),
    ("knob front-end-cut-request=100", 2, "channel-mismatch"),
    ("knob front-end-request-without-final-chunk", 2, "channel-mismatch"),
    ("knob front-end-repeat-request", 2, "channel-mismatch"),
    ("knob front-end-request-to-every-replica", 2, "channel-mismatch"),
    ("knob front-end-earlier-request", 2, "channel-mismatch"),
    ("knob front-end-spread-over-replicas", 2, "channel-mismatch"),
    ("knob front-end-change-response=0", 2, "channel-mismatch"),
    ("knob front-end-cut-response=10", 2, "channel-mismatch"),
    ("knob front-end-response-without-final-chunk", 2, "channel-mismatch"),
    ("knob front-end-reorder-chunks", 2, "channel-mismatch"),
    ("knob front-end-repeat-chunk", 2, "channel-mismatch"),
    ("knob front-end-append-to-response", 2, "channel-mismatch"),
    ("knob front-end-earlier-response", 2, "channel-mismatch"),
    ("knob front-end-withhold-response", 2, "channel-mismatch"),
    ("knob front-end-report-unknown-key", 2, "channel-mismatch"),
    ("knob front-end-forge-response=503", 2, "channel-mismatch"),
];

/// Of a container judged by MAA and AMD. What AMD's service says of certificates counts where none is sent.
const HARDWARE: &[(&str, i32, &str)] = &[
    ("knob debug", 1, "debug-mode"),
    ("knob reported-tcb=3.0.8.115", 1, "tcb-too-old"),
    ("knob token-of-another-report", 2, "evidence-mismatch"),
    ("knob report-bit-flipped=1000", 2, "invalid-report"),
    ("knob report-bytes=336:ff", 2, "evidence-mismatch"),
    ("knob report=00", 2, "invalid-report"),
    ("knob report-data=<128>", 2, "evidence-mismatch"),
    ("knob report-version=9", 2, "invalid-report"),
    ("knob masked-chip-id", 2, "invalid-report"),
    ("knob host-requested", 2, "invalid-report"),
    ("knob unsigned", 2, "invalid-report"),
    ("knob certificate-of-another-chip", 0, ACCEPTED),
    ("knob certificate-tcb=1.1.1.1", 0, ACCEPTED),
    ("knob certificate-of-other-kind", 0, ACCEPTED),
    ("knob forged-hierarchy", 2, "invalid-report"),
    ("knob forged-chain", 0, ACCEPTED),
    ("knob chain-of=genoa", 0, ACCEPTED),
    ("knob garbage-chain", 0, ACCEPTED),
    ("knob no-chain", 0, ACCEPTED),
    ("knob no-certificates", 0, ACCEPTED),
    ("knob certificates=hello", 0, ACCEPTED),
    ("knob endorsement-hash-envelope", 0, ACCEPTED),
    ("knob endorsed-by-another", 2, "invalid-uvm-endorsement"),
    ("knob forged-endorsement", 2, "invalid-uvm-endorsement"),
    ("knob endorser-use=1.2.3", 2, "invalid-uvm-endorsement"),
    ("knob endorsed-feed=Another", 2, "invalid-uvm-endorsement"),
    ("knob endorsed-svn=1", 2, "evidence-mismatch"),
    ("knob endorsed-measurement=<96>", 2, "evidence-mismatch"),
    ("knob endorsement-bit-flipped=9000", 2, "invalid-uvm-endorsement"),
    ("knob endorsement=00", 2, "invalid-uvm-endorsement"),
    ("knob no-endorsement", 2, "missing-evidence"),
    ("knob no-certificates;knob kds-vcek-of-another-chip", 3, "kds-unreachable"),
    ("knob no-certificates;knob kds-vcek-tcb=1.1.1.1", 3, "kds-unreachable"),
    ("knob no-certificates;knob kds-forged-vcek", 3, "kds-unreachable"),
    // No one needs the chains: AMD's authorities are compiled in.
    ("knob no-certificates;knob kds-forged-chain", 0, ACCEPTED),
    ("knob no-certificates;knob kds-chain-of=genoa", 0, ACCEPTED),
    // The usual policy does not require that the key of MAA is attested: tests of sessions do.
    ("knob keys-own-evidence", 0, ACCEPTED),
    ("knob keys-own-evidence-host-data=<64>", 0, ACCEPTED),
    ("knob keys-own-evidence-uvm-svn=7", 0, ACCEPTED),
    ("knob keys-own-evidence-debug", 0, ACCEPTED),
    ("knob keys-own-evidence-of-another-key", 0, ACCEPTED),
    ("knob kds-forged-crl", 2, "invalid-report"),
    ("knob kds-crl-of=genoa", 2, "invalid-report"),
    ("knob kds-crl-of-other-kind", 2, "invalid-report"),
    ("knob kds-crl-names-no-distribution-point", 0, ACCEPTED),
    ("knob kds-crl-number=7", 0, ACCEPTED),
    ("knob kds-expired-crl", 3, "revocation-unavailable"),
    ("knob kds-issuer-revoked", 2, "invalid-report"),
    ("knob kds-root-revoked", 2, "invalid-report"),
    ("fail-kds /vcek/=status:500", 3, "kds-unreachable"),
    ("fail-kds /vcek/=hang", 3, "timeout"),
];

/// Of a VM with Intel TDX, judged by MAA.
const TDX: &[(&str, i32, &str)] = &[
    ("knob debug", 1, "debug-mode"),
    ("knob migration-allowed", 1, "migration-allowed"),
    ("knob measurement=<96>", 1, "wrong-measurement"),
    ("knob td-attributes=10000020", 1, "debug-mode"),
    ("knob td-attributes=0", 1, "wrong-guest-identity"),
    ("knob td-attributes=10000000", 0, ACCEPTED),
    ("knob tcb-status=OutOfDate", 1, "wrong-tcb-status"),
    ("knob compliance-status=azure-compliant-uvm", 1, "non-compliant-uvm"),
    ("knob without-claim=x-ms-runtime", 2, "false-attestation-report"),
    (r#"knob claim=x-ms-sevsnpvm-vmpl:0"#, 2, "invalid-token"),
    ("knob without-claim=tdx_mrtd", 2, "invalid-token"),
    ("knob vmpl=1", 0, ACCEPTED),
];

/// Of a confidential VM judged by AMD, whose policy pins its image and its id, and requires Azure's certificate.
const VM: &[(&str, i32, &str)] = &[
    ("knob hcl-report-of-another-vm", 2, "invalid-tpm-quote"),
    ("knob runtime-claims-of-another-vm", 2, "invalid-hcl-report"),
    ("knob earlier-boot", 1, "key-not-in-report"),
    ("knob user-data=<128>", 1, "key-not-in-report"),
    ("knob no-user-data", 1, "key-not-in-report"),
    ("knob secure-boot-off", 1, "wrong-vm-configuration"),
    ("knob console-off", 0, ACCEPTED),
    ("knob vm-configuration=interactive-console-enabled:true", 0, ACCEPTED),
    ("knob vm-configuration=vmUniqueId:1", 2, "invalid-hcl-report"),
    ("knob hcl-report-bytes=4:03", 2, "invalid-hcl-report"),
    ("knob quote-of-another-vm", 2, "invalid-tpm-quote"),
    ("knob extra-data=<64>", 2, "false-attestation-report"),
    ("knob selected-pcrs=4,7,11,13", 1, "pcr-not-quoted"),
    ("knob selected-pcrs=0,1,2,3,16,17,18,23", 1, "pcr-not-quoted"),
    ("knob pcr=4:<64>", 1, "wrong-pcr"),
    ("knob pcr=12:<64>", 1, "wrong-pcr"),
    ("knob pcr=14:<64>", 0, ACCEPTED),
    ("knob pcr-values=<64>,<64>", 2, "invalid-tpm-quote"),
    ("knob quote-bytes=0:00", 2, "invalid-tpm-quote"),
    ("knob quote-signature-bit-flipped=100", 2, "invalid-tpm-quote"),
    ("knob ak-certificate-of-another-vm", 2, "invalid-ak-certificate"),
    ("knob ak-certificate-of-trusted-launch", 2, "invalid-ak-certificate"),
    ("knob ak-certificate-expired", 2, "invalid-ak-certificate"),
    ("knob forged-ak-certificate", 2, "invalid-ak-certificate"),
    ("knob no-ak-authority", 2, "invalid-ak-certificate"),
    ("knob no-ak-certificate", 1, "not-reported"),
    // A paravisor of before the fix, whose measurement the policy pins.
    ("knob report-guest-svn=9", 0, ACCEPTED),
];

#[test]
fn every_knob_of_a_confidential_vm() {
    let options = ["--guest", "vm", "--product", "milan", "--trust", "amd"];
    check(Emulator::start(&options), VM, "knobs-of-vm.txt");
    for options in [&["--guest", "vm"][..], &["--product", "milan"], &["--guest", "tdx"]] {
        let refused = run(&[&["emulate", "--knob", "earlier-boot"], options].concat());
        assert_eq!(refused.exit, 64, "{}", refused.err);
        assert!(refused.err.contains("needs --guest vm and --product"), "{}", refused.err);
    }
    for (knob, reason) in [
        ("selected-pcrs=4,24", "expected a PCR from 0 to 23, found \"24\""),
        ("pcr=4", "expected INDEX:HEX"),
        ("user-data=00", "expected 128 hexadecimal digits"),
    ] {
        let refused = run(&["emulate", "--guest", "vm", "--product", "milan", "--knob", knob]);
        assert_eq!((refused.exit, refused.err.contains(reason)), (64, true), "{}", refused.err);
    }
}

#[test]
fn every_knob_of_a_guest_of_tdx() {
    check(Emulator::start(&["--guest", "tdx"]), TDX, "knobs-of-tdx.txt");
    let refused = run(&["emulate", "--guest", "tdx", "--product", "milan"]);
    assert_eq!(refused.exit, 64, "{}", refused.err);
    assert!(refused.err.contains("--product is a processor of AMD"), "{}", refused.err);
}

#[test]
fn every_knob_of_guest_agent_token_and_key_set() {
    check(Emulator::start(&[]), MAA, "knobs.txt");
}

#[test]
fn every_knob_of_evidence_about_a_connection() {
    check(Emulator::start(&["--agent", "bound-connection"]), CONNECTION, "knobs-of-connection.txt");
}

/// With a policy of sealed messages, what it puts into attestations is refused, and what it does to messages shows with a message.
#[test]
fn a_policy_of_sealed_messages_passes_a_front_end() {
    let mut emulator = Emulator::start(&["--front-end", "--agent", "bound-message"]);
    for (knob, exit, code) in [
        ("front-end-own-message-key", 2, "false-attestation-report"),
        ("refuse-message-form", 2, "channel-not-bound"),
        ("front-end-repeat-request", 0, ACCEPTED),
    ] {
        emulator.order("reset");
        emulator.order(&format!("knob {knob}"));
        let outcome = emulator.verify(&["--json"]);
        assert_eq!((outcome.exit, outcome.code().as_str()), (exit, code), "{knob}: {}", outcome.out);
    }
}

#[test]
fn what_a_front_end_has_seen_can_be_asked_for() {
    let mut emulator = Emulator::start(&["--front-end", "--agent", "bound-message"]);
    assert_eq!(emulator.verify(&["--json"]).exit, 0);
    assert!(emulator.order("seen blindbox-bound-message/1")["seen"].as_u64() > Some(0));
    assert_eq!(emulator.order("seen not in any request")["seen"], 0);
    let traffic = emulator.order("traffic");
    assert_eq!((&traffic["front_end_application_bytes"], &traffic["sealed_messages"]), (&0.into(), &0.into()));
    emulator.order("forget-seen");
    assert_eq!(emulator.order("seen blindbox-bound-message/1")["seen"], 0);
}

#[test]
fn every_knob_of_a_front_end() {
    check(Emulator::start(&["--front-end"]), FRONT_END, "knobs-of-front-end.txt");
}

#[test]
fn every_knob_of_hardware_evidence_and_amds_service() {
    check(Emulator::start(&["--product", "milan"]), HARDWARE, "knobs-of-hardware.txt");
}

/// Exit code, table and JSON of each; what they show is in a file, which `UPDATE_SNAPSHOTS=1` writes again.
fn check(mut emulator: Emulator, table: &[(&str, i32, &str)], name: &str) {
    let usual = emulator.verify(&[]).out;
    let mut shown = String::new();
    for (orders, exit, code) in table {
        let mut verify_within = |patience: &str, more: &[&str]| {
            emulator.order("reset");
            orders.split(';').for_each(|order| drop(emulator.order(&filled_in(order))));
            emulator.verify(&[&["--timeout", patience], more].concat())
        };
        let mut verify = |more: &[&str]| match step_that_hangs(orders).filter(|_| *code == "timeout") {
            None => verify_within("30", more),
            // On a busy machine a short time is over in an earlier step.
            Some(step) => ["0.7", "3", "12", "48"]
                .iter()
                .map(|patience| verify_within(patience, more))
                .find(|outcome| outcome.out.contains(step) || outcome.err.contains(step))
                .unwrap_or_else(|| panic!("{orders}: not in the step {step:?}")),
        };
        let outcome = verify(&["--json"]);
        assert_eq!((outcome.exit, outcome.code().as_str()), (*exit, *code), "{orders}: {}", outcome.out);
        let json = outcome.json();
        let verdict = ["accepted", "rejected", "untrusted", "no-verdict"][usize::try_from(*exit).unwrap()];
        assert_eq!(json["verdict"], verdict);

        let outcome = verify(&[]);
        assert_eq!(outcome.exit, *exit, "{orders}");
        // The same error, and the same checks.
        let message = json["error"]["message"].as_str().map(|message| format!("error[{code}]: {message}"));
        assert_eq!(masked(outcome.err.trim_end()), masked(&message.unwrap_or_default()), "{orders}");
        let checks = json["appraisal"].as_array().or(json["attestation"]["appraisal"].as_array());
        let failed = checks.into_iter().flatten().filter(|check| check["verdict"] == "failed");
        let failed: Vec<_> = failed.map(|check| check["name"].as_str().unwrap().to_owned()).collect();
        let rows = outcome.out.lines().filter_map(|row| row.strip_prefix("FAILED         "));
        assert_eq!(rows.map(|row| row[..24].trim_end()).collect::<Vec<_>>(), failed, "{orders}");
        let mut unusual = unusual(&usual, &outcome);
        if orders.contains("endorsement-bit-flipped") {
            // What is hit depends on the lengths of signatures.
            unusual = format!("  error[{code}]\n");
        }
        shown.push_str(&format!("{orders}\n  exit code {exit}, {verdict}\n{unusual}\n"));
    }
    // Whatever went wrong, no one but the agent was spoken to.
    assert_eq!(emulator.application_bytes(), 0);

    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    for (shown, expected) in shown.split("\n\n").zip(expected.split("\n\n")) {
        assert_eq!(shown, expected);
    }
    assert_eq!(shown, expected);
}

/// What is under way when the time is over.
fn step_that_hangs(orders: &str) -> Option<&'static str> {
    let steps = [
        ("/attest/", "waiting for the attestation agent"),
        ("/certs", "fetching the key set of the MAA instance"),
        ("/vcek/", "fetching AMD's certificates"),
    ];
    steps.into_iter().find(|(path, _)| orders.contains(path)).map(|(_, step)| step)
}

/// The rows that are not there without a knob and did not pass, and the error.
fn unusual(usual: &str, outcome: &Outcome) -> String {
    let usual: BTreeSet<_> = usual.lines().collect();
    let rows = outcome.out.lines().skip(1).filter(|row| !row.starts_with("passed") && !usual.contains(row));
    rows.chain(outcome.err.lines()).map(|line| format!("  {}\n", masked(line))).collect()
}

/// Besides what `steady` replaces: at which byte of a text of varying length something is, which of three things was noticed
/// first of a connection that was closed, and how much time was given.
fn masked(text: &str) -> String {
    let text = steady(text)
        .replace("was closed without a response", "was closed early")
        .replace("was reset", "was closed early");
    let text = match text.split_once(" took longer than ") {
        Some((before, after)) => {
            let rest = after.split_once([',', ';', '\n']).map_or("", |(time, _)| &after[time.len()..]);
            format!("{before} took longer than <time>{rest}")
        }
        None => text,
    };
    let mut parts = text.split("at byte ");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| match part.trim_start_matches(|c: char| c.is_ascii_digit()) {
        _ if part.starts_with('0') => format!("{text}at byte {part}"),
        rest => format!("{text}at byte <n>{rest}"),
    })
}

fn filled_in(order: &str) -> String {
    ["64", "96", "128"].iter().fold(order.to_owned(), |order, length| {
        order.replace(&format!("<{length}>"), &"cd".repeat(length.parse::<usize>().unwrap() / 2))
    })
}

#[test]
fn the_tables_leave_out_no_knob_and_no_fault() {
    let orders = || {
        MAA.iter()
            .chain(CONNECTION)
            .chain(FRONT_END)
            .chain(HARDWARE)
            .chain(TDX)
            .chain(VM)
            .flat_map(|(orders, ..)| orders.split(';'))
    };
    let tested: BTreeSet<_> = orders().filter_map(|order| order.strip_prefix("knob ")?.split('=').next()).collect();
    let knobs: BTreeSet<_> = AnyKnob::rows().map(|row| row.name()).collect();
    assert_eq!(tested, knobs);
    assert_eq!(knobs.len(), AnyKnob::rows().count(), "a name occurs twice");

    let tested: BTreeSet<_> =
        orders().filter_map(|order| order.strip_prefix("fail ")?.split_once('=')?.1.split(':').next()).collect();
    let faults: BTreeSet<_> = Fault::rows().map(|row| row.name()).collect();
    assert_eq!(tested, faults);
    assert_eq!(faults.len(), Fault::rows().count(), "a name occurs twice");

    let help = run(&["emulate", "--help"]).out;
    let rows = AnyKnob::rows().map(|row| (row.form, row.meaning));
    for (form, meaning) in rows.chain(Fault::rows().map(|row| (row.form, row.meaning))) {
        let shown = |line: &str| line.trim_start().strip_prefix(form).is_some_and(|rest| rest.trim_start() == meaning);
        assert!(help.lines().any(shown), "{form} is not in the help");
    }
}

#[test]
fn knobs_and_faults_are_options_too() {
    let arguments = ["--knob", "vmpl=1", "--knob", "keys-numbers-only", "--fail", "/echo=status:500"];
    let mut emulator = Emulator::start(&arguments);
    assert_eq!(emulator.verify(&["--json"]).code(), "wrong-vmpl");
    emulator.order("reset");
    assert_eq!(emulator.verify(&["--json"]).exit, 0);

    let emulator = Emulator::start(&["--fail-maa", "/certs=status:503"]);
    assert_eq!(emulator.verify(&["--json"]).code(), "maa-unreachable");
    let arguments = ["--product", "genoa", "--knob", "kds-expired-crl", "--trust", "amd"];
    let emulator = Emulator::start(&arguments);
    assert_eq!(emulator.verify(&["--json"]).code(), "revocation-unavailable");
    let emulator = Emulator::start(&["--product", "turin", "--vlek", "--fail-kds", "/vlek/=close-early"]);
    assert_eq!(emulator.verify(&["--json"]).code(), "kds-unreachable");
}

#[test]
fn what_cannot_be_understood_is_refused() {
    let refused = |arguments: &[&str], what: &str| {
        let Outcome { exit, err, .. } = run(arguments);
        assert_eq!(exit, 64, "{arguments:?}: {err}");
        assert!(err.contains(what), "{arguments:?}: {err}");
    };
    refused(&["emulate", "--knob", "debugg"], "no knob is called \"debugg\"");
    refused(&["emulate", "--knob", "debug=1"], "expected debug");
    refused(&["emulate", "--knob", "vmpl"], "expected vmpl=LEVEL");
    refused(&["emulate", "--knob", "vmpl=x"], "expected a number");
    refused(&["emulate", "--knob", "measurement=00"], "96");
    refused(&["emulate", "--knob", "kds-root-revoked"], "needs --product");
    refused(&["emulate", "--knob", "forged-hierarchy"], "needs --product");
    refused(&["emulate", "--knob", "token-of-another-report"], "needs --product");
    refused(&["emulate", "--knob", "front-end-repeat-request"], "needs --front-end");
    refused(&["emulate", "--front-end", "--relay", "forward"], "cannot be used with");
    refused(&["emulate", "--stolen-key"], "--relay");
    refused(&["emulate", "--trust", "amd"], "need --product");
    refused(&["emulate", "--fail", "hang"], "expected PATH=FAULT");
    refused(&["emulate", "--fail", "attest=hang"], "begins with a slash");
    refused(&["emulate", "--fail", "/=slow"], "expected slow:MS");
    refused(&["emulate", "--fail", "/=slow:"], "expected slow:MS");
    refused(&["emulate", "--fail", "/=hang:1"], "expected hang");
    refused(&["emulate", "--fail", "/=headers:x"], "expected a number");
    refused(&["emulate", "--fail", "/=status:999"], "from 200 to 599");
    refused(&["emulate", "--fail-kds", "/=hang"], "--product");

    let outcome = run(&["emulate", "--ip", "192.0.2.1"]);
    assert_eq!((outcome.exit, outcome.err.contains("on loopback only")), (4, true), "{}", outcome.err);
    let mut emulator = Emulator::start(&[]);
    let mut answered = |order: &str, error: &str| {
        let answer = emulator.ask(order);
        assert_eq!(answer["ok"], false, "{order}");
        assert!(answer["error"].as_str().unwrap().contains(error), "{order}: {answer}");
    };
    for (order, error) in [("knob", "no knob"), ("jump", "no order is called"), ("fail-kds /=hang", "no KDS")] {
        answered(order, error);
    }
    for knob in HARDWARE.iter().flat_map(|(orders, ..)| orders.split(';')) {
        let knob = filled_in(knob);
        let shared = MAA.iter().any(|(order, ..)| order.split('=').next() == knob.split('=').next());
        if knob.starts_with("knob ") && !shared {
            answered(&knob, "needs --product");
        }
    }
}
