//! A text that claims to be a CCE policy never panics.
#![no_main]

use blindbox_attestation::cce_policy::{CcePolicy, find_cce_policies};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = CcePolicy::from_rego(data) {
        let _ = policy.findings();
        let _ = policy.differences(&policy);
    }
    let _ = find_cce_policies(data);
});
