//! Bytes of a file that may be anything never panic, and what is shown of them can be shown.
#![no_main]

use blindbox_attestation::inspect::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for inspection in inspect(data).into_iter().flatten() {
        let _ = inspection.to_string();
        serde_json::to_string(&inspection).expect("JSON");
    }
});
