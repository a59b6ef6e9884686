//! What is read at a limit, and refused one beyond it. The work that the largest inputs cost is bounded in `src/parser_steps.rs`;
//! the limits of single parsers stand with their tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::files::read_report;
use blindbox_attestation::inspect::{InspectError, inspect};
use blindbox_attestation::maa::{KeySet, KeySetError};
use blindbox_attestation::snp::{
    CertificateBundle, CertificateError, CrlError, ReportError, UnverifiedReport, VekCertificate, VerifiedCrl,
};
use blindbox_attestation::uvm::{self, EndorsementError, EndorsementExpectations};
use blindbox_attestation::{Policy, PolicyError, Product};

/// Whether what is refused is refused for its length, one beyond the limit, and for something else at the limit.
#[track_caller]
fn at_the_limit<E: PartialEq + std::fmt::Debug>(
    limit: usize,
    refuse: impl Fn(&[u8]) -> Option<E>,
    too_large: impl Fn(usize) -> E,
) {
    let bytes = vec![b' '; limit + 1];
    assert_eq!(refuse(&bytes), Some(too_large(limit + 1)));
    let refused = refuse(&bytes[1..]).unwrap();
    assert_ne!(refused, too_large(limit));
}

#[test]
fn documents_are_read_up_to_their_limits() {
    let amd = AmdHierarchy::new(Product::Milan);
    let anchors = amd.anchors();
    let certificate = |limit| move |actual| CertificateError::TooLarge { limit, actual };
    at_the_limit(8_192, |der| VekCertificate::from_der(der).err(), certificate(8_192));
    at_the_limit(9 * 8_192 * 2, |pem| CertificateBundle::from_pem(pem).err(), certificate(9 * 8_192 * 2));
    assert_eq!(
        CertificateBundle::from_pem_or_der(&[0; 8_193]).err(),
        Some(CertificateError::TooLarge { limit: 8_192, actual: 8_193 })
    );
    assert!(CertificateBundle::from_pem_or_der(&[0; 8_192]).is_ok());
    at_the_limit(
        65_536,
        |der| VerifiedCrl::verify(der, Product::Milan, &anchors).err(),
        |actual| CrlError::TooLarge { limit: 65_536, actual },
    );
    // A CRL that is of none of AMD's authorities, and only shown.
    let crl = |len: usize| amd.crl().add_extension("1.2.3", false, &vec![0; len]).issue();
    let spare = 65_536 - crl(60_000).len();
    let (largest, larger) = (crl(60_000 + spare), crl(60_001 + spare));
    assert_eq!((largest.len(), larger.len()), (65_536, 65_537));
    assert!(inspect(&largest).is_ok());
    let refused = CrlError::TooLarge { limit: 65_536, actual: 65_537 };
    assert_eq!(inspect(&larger).err(), Some(InspectError::Crl(refused)));
    at_the_limit(
        65_536,
        |cose| uvm::verify(cose, &EndorsementExpectations::production()).err(),
        |actual| EndorsementError::TooLarge { limit: 65_536, actual },
    );
    at_the_limit(512 << 10, |json| KeySet::from_json(json).err(), |len| KeySetError::TooLarge { len, max: 512 << 10 });
    for read in [Policy::from_toml, Policy::from_json] {
        at_the_limit(
            Policy::MAX_BYTES,
            |text| read(std::str::from_utf8(text).unwrap()).err(),
            |found| PolicyError::TooLarge { found, max: Policy::MAX_BYTES },
        );
    }
    for length in [1183, 1185] {
        let refused = UnverifiedReport::read(&vec![2; length]).err();
        assert_eq!(refused, Some(ReportError::WrongLength { expected: 1184, actual: length }));
    }
}

#[test]
fn names_and_numbers_are_read_up_to_their_limits() {
    let amd = AmdHierarchy::new(Product::Milan);
    let provider = |len: usize| VekCertificate::from_der(amd.vlek().csp_id(&"x".repeat(len)).issue().der()).map(|_| ());
    assert_eq!(provider(200), Ok(()));
    assert_eq!(provider(201), Err(CertificateError::MalformedExtension { oid: "1.3.6.1.4.1.3704.1.5".into() }));

    let crl = |number: &[u8]| {
        let value = [&[2, u8::try_from(number.len()).unwrap()], number].concat();
        let crl = amd.crl().number(None).add_extension("2.5.29.20", false, &value).issue();
        VerifiedCrl::verify(&crl, Product::Milan, &amd.anchors()).map(|crl| crl.number())
    };
    assert_eq!(crl(&[1; 20]), Ok(Some("01".repeat(20))));
    assert_eq!(crl(&[1; 21]), Err(CrlError::Malformed));
}

/// The reader of files takes off four encodings at most.
#[test]
fn encodings_are_taken_off_four_times() {
    let amd = AmdHierarchy::new(Product::Milan);
    let report = amd.report().sign(&amd.vcek().issue());
    let encoded = |times: usize| (0..times).fold(report.clone(), |inner, _| STANDARD.encode(inner).into_bytes());
    for times in 0..=4 {
        assert_eq!(read_report(&encoded(times)), Ok(report.clone()), "{times}");
    }
    assert_eq!(read_report(&encoded(5)), Ok(encoded(5)));
}
