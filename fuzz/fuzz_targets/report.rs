//! Bytes that claim to be a report never panic.
#![no_main]

use blindbox_attestation::snp::{CollateralRequest, UnverifiedReport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = CollateralRequest::from_report(data);
    let _ = UnverifiedReport::read(data);
});
