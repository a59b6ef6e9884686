//! What verifying a hardware report costs beyond the two signatures that cannot be saved.
//!
//! The evidence is the Milan set inside the published `sev` package: it is on every machine. Revocation is off: a list
//! is verified once per processor family, not once per report.

mod measure;
#[path = "../tests/common/sev_data.rs"]
mod sev_data;

use std::hint::black_box;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PSS_2048_8192_SHA384};
use blindbox_attestation::snp::{self, AmdAnchors, Collateral, Revocation, VekCertificate, VerifiedVek};
use x509_parser::prelude::{FromDer, X509Certificate};

use self::measure::{Case, medians};

fn main() {
    let sev_data::Milan { report, vcek } = sev_data::milan();
    let anchors = AmdAnchors::builtin();
    let now = VekCertificate::from_der(&vcek).expect("a VCEK").not_before();
    let handle = VerifiedVek::verify(&vcek, None, &anchors).expect("a genuine VCEK");

    // The bare signatures, with keys already parsed and nothing looked at.
    let (_, certificate) = X509Certificate::from_der(&vcek).expect("a certificate");
    let ask = include_bytes!("../src/snp/roots/milan_ask.der");
    let (_, ask) = X509Certificate::from_der(ask).expect("a certificate");
    let rsa = ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, ask.public_key().raw).expect("an RSA key");
    let p384 = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, certificate.public_key().raw).expect("a P-384 key");
    let number = |at: usize| report[at..at + 48].iter().rev().copied().collect::<Vec<u8>>();
    let report_signature = [number(0x2a0), number(0x2e8)].concat();
    let (signed, certificate_signature) = (certificate.tbs_certificate.as_ref(), &certificate.signature_value.data);
    let verify_certificate = || rsa.verify_sig(signed, certificate_signature).expect("AMD's signature");
    let verify_report = || p384.verify_sig(&report[..0x2a0], &report_signature).expect("the chip's signature");

    let times = medians(&mut [
        Case::new("bare: RSA-4096 PSS + P-384", || {
            verify_certificate();
            verify_report();
        }),
        Case::new("cold: report and VCEK in, verdict out", || {
            let verified = snp::verify(&report, &Collateral::new(&vcek), &anchors, Revocation::Off, now);
            let _ = black_box(verified.expect("genuine evidence"));
        }),
        Case::new("bare: P-384", verify_report),
        Case::new("warm: report in, verdict out, VCEK verified before", || {
            let verified = handle.verify_with(&report, None, Revocation::Off, now);
            let _ = black_box(verified.expect("genuine evidence"));
        }),
    ]);
    println!("cold / bare {:.3} (goal: at most 1.07)", times[1] / times[0]);
    println!("warm / bare {:.3} (goal: at most 1.04)", times[3] / times[2]);
}
