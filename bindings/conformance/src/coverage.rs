//! Which codes the scenarios show: all that a client can get from the emulator or from recorded evidence.

use std::collections::BTreeSet;

use blindbox_attestation::AttestationError;

use crate::scenario::Scenario;

/// Codes that no scenario shows, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    (
        "wrong-maa-key",
        "its policy would have to name the issuer of the emulated utility VM of MAA, which differs from run to run",
    ),
    (
        "attestation-expired",
        "the clock of a binding is that of the system, and nothing here waits for an attestation to end",
    ),
    ("too-many-unattested-peers", "it takes a fleet of peers behind one name, which the emulator is not"),
    ("server-name-not-validated", "it takes a DNS name that leads to the emulator"),
    ("request-body-failed", "the fault of a source in the language; the tests of each binding have it"),
];

/// Codes that are neither shown nor excused, and excuses that are not needed.
pub(crate) fn faults(scenarios: &[Scenario]) -> Vec<String> {
    let shown: BTreeSet<&str> = scenarios.iter().flat_map(Scenario::codes).collect();
    let excused: BTreeSet<&str> = NOT_SHOWN.iter().map(|(code, _)| *code).collect();
    let codes = AttestationError::codes().map(|code| code.code);
    let missing = codes.filter(|code| !shown.contains(code) && !excused.contains(code));
    let missing = missing.map(|code| format!("no scenario expects {code}"));
    let needless = excused.intersection(&shown).map(|code| format!("a scenario expects {code}, so it needs no excuse"));
    missing.chain(needless).collect()
}
