//! Bytes that claim to be the report of a paravisor, or its runtime claims, never panic.
#![no_main]

use blindbox_attestation::azure_vm::{HclReport, UnverifiedRuntimeClaims};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = UnverifiedRuntimeClaims::read(data);
    if let Ok(hcl) = HclReport::read(data) {
        let _ = hcl.snp_report();
        let _ = UnverifiedRuntimeClaims::read(hcl.runtime_claims_json());
        let _ = hcl.unverified_runtime_claims();
    }
});
