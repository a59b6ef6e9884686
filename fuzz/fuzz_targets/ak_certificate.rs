//! Bytes that claim to be a certificate of a virtual TPM's hierarchy never panic, and none becomes a root without a signature.
#![no_main]

use blindbox_attestation::azure_vm::AkAnchors;
use blindbox_attestation::inspect::inspect;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = AkAnchors::custom(data);
    let _ = inspect(data);
});
