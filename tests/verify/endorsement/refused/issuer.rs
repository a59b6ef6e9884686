//! Another issuer, use or feed than the policy expects.

use blindbox_attestation::emulator::uvm::{SigningAlgorithm, UvmSigner, text_payload};
use blindbox_attestation::uvm::{
    CertificateError, DidX509Error, EndorsementError, EndorsementExpectations, EndorsementForm, PRODUCTION_FEED,
    PRODUCTION_ISSUER, read_unverified, verify,
};
use coset::cbor::value::Value;

use super::super::edit::{edited, resigned, set};
use super::super::{FORMS, PRODUCTION, expected, measurement, signer, verify_as};

#[test]
fn a_self_made_root_with_a_did_that_fits_is_not_the_expected_issuer() {
    let forger = UvmSigner::builder().leaf(SigningAlgorithm::EcdsaP384).build().unwrap();
    for form in FORMS {
        let cose = forger.endorse(form, 999, &measurement()).unwrap();
        assert_eq!(
            verify(&cose, &PRODUCTION),
            Err(EndorsementError::WrongIssuer {
                expected: PRODUCTION_ISSUER.into(),
                actual: forger.issuer().to_owned()
            })
        );
    }
    // With the expected name over the forger's own chain, the name does not resolve.
    let header = edited(&forger, EndorsementForm::TextHeaders, |header| set(header, "iss", signer().issuer()));
    let cose = forger.sign(&header, &[0xa0], text_payload(999, &measurement()).as_bytes()).unwrap();
    let root = read_unverified(&cose).unwrap().chain[2].fingerprint;
    let named = read_unverified(&signer().endorse(FORMS[0], 1, &measurement()).unwrap()).unwrap().chain[2].fingerprint;
    assert_eq!(
        verify(&cose, &expected(signer())),
        Err(EndorsementError::FingerprintNotInChain { expected: named, actual: root })
    );
    // With the genuine root put behind the forger's leaf, the links do not hold.
    let genuine = signer().chain();
    for (chain, index) in [
        (vec![forger.chain()[0].clone(), genuine[1].clone(), genuine[2].clone()], 0),
        (vec![forger.chain()[0].clone(), forger.chain()[1].clone(), genuine[2].clone()], 1),
    ] {
        let header = edited(&forger, EndorsementForm::TextHeaders, |header| {
            set(header, "iss", signer().issuer());
            set(header, 33, chain.into_iter().map(Value::Bytes).collect::<Vec<_>>());
        });
        let cose = forger.sign(&header, &[0xa0], text_payload(999, &measurement()).as_bytes()).unwrap();
        assert_eq!(
            verify(&cose, &expected(signer())),
            Err(EndorsementError::Certificate { index, cause: CertificateError::WrongSignature })
        );
    }
}

#[test]
fn the_genuine_root_with_another_use_is_refused() {
    for (uses, actual) in [
        (vec!["1.3.6.1.4.1.311.76.59.1.1"], vec!["1.3.6.1.4.1.311.76.59.1.1"]),
        (vec!["2.5.29.37.0"], vec!["2.5.29.37.0"]),
        (
            vec!["1.3.6.1.5.5.7.3.3", "1.3.6.1.4.1.311.76.59.1.21"],
            vec!["1.3.6.1.5.5.7.3.3", "1.3.6.1.4.1.311.76.59.1.21"],
        ),
        (vec![], vec![]),
    ] {
        let signer = UvmSigner::builder().leaf(SigningAlgorithm::EcdsaP256).leaf_uses(uses).build().unwrap();
        let cose = signer.endorse(EndorsementForm::TextHeaders, 1, &measurement()).unwrap();
        assert_eq!(
            verify(&cose, &expected(&signer)),
            Err(EndorsementError::WrongLeafUse {
                expected: "1.3.6.1.4.1.311.76.59.1.2".into(),
                actual: actual.into_iter().map(str::to_owned).collect()
            })
        );
    }
}

#[test]
fn another_feed_is_refused() {
    for form in FORMS {
        let cose = signer().endorse_feed(form, "ConfAKS-AMD-UVM", 1, &measurement()).unwrap();
        assert_eq!(
            verify(&cose, &expected(signer())),
            Err(EndorsementError::WrongFeed { expected: PRODUCTION_FEED.into(), actual: "ConfAKS-AMD-UVM".into() })
        );
    }
    // Of both, 100 characters are shown.
    let (short, long) = ("f".repeat(100), "f".repeat(101));
    let cut = format!("{short}…");
    for (expected_feed, actual_feed, expected, actual) in [(&short, &long, &short, &cut), (&long, &short, &cut, &short)]
    {
        let cose = signer().endorse_feed(EndorsementForm::TextHeaders, actual_feed, 1, &measurement()).unwrap();
        assert_eq!(
            verify(&cose, &EndorsementExpectations::new(signer().issuer(), expected_feed)),
            Err(EndorsementError::WrongFeed { expected: expected.clone(), actual: actual.clone() })
        );
    }
}

#[test]
fn an_issuer_that_cannot_be_resolved_is_refused_even_if_expected() {
    for (did, defect) in [
        ("did:web:example.org".to_owned(), DidX509Error::NotDidX509),
        (signer().issuer_with("san:dns:example.org"), DidX509Error::UnsupportedPolicy),
        (signer().issuer_with("eku:"), DidX509Error::MalformedPolicy),
    ] {
        let cose = resigned(EndorsementForm::TextHeaders, |header| set(header, "iss", did.as_str()));
        assert_eq!(verify_as(&cose, &did), Err(EndorsementError::Did { issuer: did.clone(), defect }));
    }
}
