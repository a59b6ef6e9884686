//! Knobs and faults as options of `emulate`, and that the tables have all of them.

use std::collections::BTreeSet;

use blindbox_attestation::emulator::{AnyKnob, Fault};

use super::outcomes::filled_in;
use super::{CONNECTION, FRONT_END, HARDWARE, MAA, TDX, VM};
use crate::tool::{Emulator, Outcome, run};

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
    for (order, error) in [
        ("knob", "no knob"),
        ("jump", "expected a command of `emulate --help`, found \"jump\""),
        ("fail-kds /=hang", "no KDS"),
    ] {
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

#[test]
fn what_a_front_end_has_seen_can_be_asked_for() {
    let mut emulator = Emulator::start(&["--front-end", "--agent", "bound-message"]);
    assert_eq!(emulator.verify(&["--json"]).exit, 0);
    assert!(emulator.order("seen blindbox-bound-message/1")["seen"].as_u64() > Some(0));
    assert_eq!(emulator.order("seen not in any request")["seen"], 0);
    let traffic = emulator.order("traffic");
    assert_eq!((&traffic["front_end_application_bytes"], &traffic["sealed_messages"]), (&0.into(), &0.into()));
    emulator.order("drop-connections");
    assert_eq!(emulator.verify(&["--json"]).exit, 0);
    emulator.order("forget-seen");
    assert_eq!(emulator.order("seen blindbox-bound-message/1")["seen"], 0);
}
