//! Bytes that claim to be a UVM endorsement never panic and are never believed.
#![no_main]

use blindbox_attestation::uvm::{EndorsementExpectations, read_unverified, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = read_unverified(data);
    let _ = verify(data, &EndorsementExpectations::production());
});
