//! What `verify` makes of each knob: exit code, error, and what is printed.

use std::collections::BTreeSet;

use super::{CONNECTION, FRONT_END, HARDWARE, MAA, TDX, VM};
use crate::tool::{Emulator, Outcome, run, steady};

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

/// `verify` attests and sends no message: what a front end does to messages is accepted here, and tested with a session.
#[test]
fn every_knob_of_a_front_end() {
    check(Emulator::start(&["--front-end", "--agent", "bound-message"]), FRONT_END, "knobs-of-front-end.txt");
}

#[test]
fn a_policy_about_tls_keys_passes_no_front_end() {
    let outcome = Emulator::start(&["--front-end"]).verify(&["--json"]);
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "channel-mismatch"), "{}", outcome.out);
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

/// Besides what `steady` replaces: at which byte of a text of varying length something is, and how much time was given.
fn masked(text: &str) -> String {
    let text = steady(text);
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

pub(super) fn filled_in(order: &str) -> String {
    ["64", "96", "128"].iter().fold(order.to_owned(), |order, length| {
        order.replace(&format!("<{length}>"), &"cd".repeat(length.parse::<usize>().unwrap() / 2))
    })
}
