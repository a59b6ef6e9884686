//! The same verdict by this crate and by `sev`, in one run: `cargo run --release`, and for `sev` with the system's
//! OpenSSL `cargo run --release --no-default-features --features openssl`.
//!
//! `sev` has no pinned ASK: it verifies ARK, ASK and VCEK (three RSA signatures) and then the report, and it looks at
//! neither dates nor TCB nor chip id. The lines say what is compared.

#[path = "../../measure/mod.rs"]
mod measure;
#[path = "../../../tests/common/sev_data.rs"]
mod sev_data;

use std::hint::black_box;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PSS_2048_8192_SHA384};
use blindbox_attestation::snp::{self, AmdAnchors, Collateral, Revocation, VekCertificate, VerifiedVek};
use sev::certs::snp::{Certificate, Chain, Verifiable};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;
use x509_parser::prelude::{FromDer, X509Certificate};

use self::measure::{Case, medians};

const ARK: &[u8] = include_bytes!("../../../src/snp/roots/milan_ark.der");
const ASK: &[u8] = include_bytes!("../../../src/snp/roots/milan_ask.der");

fn main() {
    let sev_data::Milan { report, vcek } = sev_data::milan();
    let anchors = AmdAnchors::builtin();
    let now = VekCertificate::from_der(&vcek).expect("a VCEK").not_before();
    let handle = VerifiedVek::verify(&vcek, None, &anchors).expect("a genuine VCEK");
    let sev_vek = Certificate::from_der(&vcek).expect("a certificate");

    let (_, certificate) = X509Certificate::from_der(&vcek).expect("a certificate");
    let (_, ask) = X509Certificate::from_der(ASK).expect("a certificate");
    let rsa = ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA384, ask.public_key().raw).expect("an RSA key");
    let p384 = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, certificate.public_key().raw).expect("a P-384 key");
    let number = |at: usize| report[at..at + 48].iter().rev().copied().collect::<Vec<u8>>();
    let report_signature = [number(0x2a0), number(0x2e8)].concat();
    let (signed, certificate_signature) = (certificate.tbs_certificate.as_ref(), &certificate.signature_value.data);

    let times = medians(&mut [
        Case::new("bare: RSA-4096 PSS + P-384", || {
            rsa.verify_sig(signed, certificate_signature).expect("AMD's signature");
            p384.verify_sig(&report[..0x2a0], &report_signature).expect("the chip's signature");
        }),
        Case::new("this crate, cold", || {
            let verified = snp::verify(&report, &Collateral::new(&vcek), &anchors, Revocation::Off, now);
            let _ = black_box(verified.expect("genuine evidence"));
        }),
        Case::new("sev, cold: chain of three and report", || {
            let chain = Chain::from_der(ARK, ASK, &vcek).expect("a chain");
            let report = AttestationReport::from_bytes(&report).expect("a report");
            (&chain, &report).verify().expect("genuine evidence");
        }),
        Case::new("this crate, warm", || {
            let verified = handle.verify_with(&report, None, Revocation::Off, now);
            let _ = black_box(verified.expect("genuine evidence"));
        }),
        Case::new("sev, warm: certificate parsed before", || {
            let report = AttestationReport::from_bytes(&report).expect("a report");
            (&sev_vek, &report).verify().expect("genuine evidence");
        }),
    ]);
    println!("cold: this crate {:.3} of bare, sev {:.1} times this crate", times[1] / times[0], times[2] / times[1]);
    println!("warm: sev {:.1} times this crate", times[4] / times[3]);
}
