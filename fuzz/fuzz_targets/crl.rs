//! Bytes that claim to be AMD's revocation list never panic and are never believed.
#![no_main]

use blindbox_attestation::Product;
use blindbox_attestation::snp::{AmdAnchors, VerifiedCrl};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for product in Product::ALL {
        let _ = VerifiedCrl::verify(data, product, &AmdAnchors::builtin());
    }
});
