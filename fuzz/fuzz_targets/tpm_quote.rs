//! Bytes that claim to be the message of a quote never panic.
#![no_main]

use blindbox_attestation::azure_vm::UnverifiedQuote;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(quote) = UnverifiedQuote::read(data) {
        let _ = serde_json::to_string(&quote);
    }
});
