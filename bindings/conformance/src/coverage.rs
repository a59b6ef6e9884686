//! Which codes the scenarios show: all that a client can get from the emulator or from recorded evidence.

use std::collections::BTreeSet;

use blindbox_attestation::AttestationError;

use crate::scenario::Scenario;

/// Codes that no scenario shows, and why.
const NOT_SHOWN: &[(&str, &str)] = &[(
    "too-many-unattested-peers",
    "it takes 31 instances or 121 keys within a minute of the real clock, which a busy machine does not reach; tests of the crate drive \
     the clock",
)];

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
