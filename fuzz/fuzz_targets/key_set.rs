//! Bytes that claim to be a key set never panic.
#![no_main]

use blindbox_attestation::maa::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(keys) = KeySet::from_json(data) {
        assert!(keys.key_ids().count() > 0);
    }
});
