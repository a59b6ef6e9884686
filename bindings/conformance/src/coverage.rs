//! Which codes the scenarios show: all that the crate has.

use std::collections::BTreeSet;

use blindbox_attestation::AttestationError;

use crate::scenario::Scenario;

/// Codes that no scenario shows.
pub(crate) fn faults(scenarios: &[Scenario]) -> Vec<String> {
    let shown: BTreeSet<&str> = scenarios.iter().flat_map(Scenario::codes).collect();
    let codes = AttestationError::codes().map(|code| code.code);
    codes.filter(|code| !shown.contains(code)).map(|code| format!("no scenario expects {code}")).collect()
}
