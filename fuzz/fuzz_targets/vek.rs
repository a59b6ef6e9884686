//! Bytes that claim to be the certificate of a signing key never panic and are never believed.
#![no_main]

use blindbox_attestation::snp::{AmdAnchors, VekCertificate, VerifiedVek, certificates_from_pem};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = certificates_from_pem(data);
    let _ = VekCertificate::from_pem(data);
    if VekCertificate::from_der(data).is_ok() {
        let _ = VerifiedVek::verify(data, None, &AmdAnchors::builtin());
    }
});
