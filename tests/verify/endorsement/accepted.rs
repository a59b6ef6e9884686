//! Emulated evidence: what must verify.

use blindbox_attestation::emulator::uvm::{LEAF_NAME, SIGNED_AT, Sha2, SigningAlgorithm, UvmSigner};
use blindbox_attestation::uvm::{EndorsementError, EndorsementForm, PRODUCTION_FEED, verify};

use super::edit::{resigned, set};
use super::{FORMS, expected, measurement, signer, verify_as};

#[test]
fn both_forms_verify_with_every_algorithm() {
    use SigningAlgorithm::{EcdsaP256, EcdsaP384, EcdsaP521, RsaPkcs1, RsaPss};
    let pairs = [
        (EcdsaP256, EcdsaP256),
        (EcdsaP384, EcdsaP384),
        (EcdsaP521, EcdsaP521),
        (EcdsaP384, RsaPss(Sha2::Sha384)),
        (RsaPkcs1(Sha2::Sha256), RsaPss(Sha2::Sha256)),
        (RsaPkcs1(Sha2::Sha384), RsaPss(Sha2::Sha384)),
        (RsaPkcs1(Sha2::Sha512), RsaPss(Sha2::Sha512)),
        (RsaPss(Sha2::Sha256), EcdsaP256),
        (RsaPss(Sha2::Sha384), EcdsaP256),
        (RsaPss(Sha2::Sha512), EcdsaP256),
    ];
    for (authorities, leaf) in pairs {
        for explicit in [false, true] {
            let builder = UvmSigner::builder().authorities(authorities).leaf(leaf);
            let signer = if explicit { builder.explicit_trailer() } else { builder }.build().unwrap();
            for form in FORMS {
                let cose = signer.endorse(form, 7, &measurement()).unwrap();
                let verified = verify(&cose, &expected(&signer)).unwrap();
                assert_eq!(verified.claims().svn, 7);
                assert_eq!(verified.claims().measurement, measurement());
                assert_eq!(verified.claims().feed, PRODUCTION_FEED);
                assert_eq!(verified.claims().issuer, signer.issuer());
                assert_eq!(verified.form(), form);
                assert_eq!(verified.signed_at().unwrap().as_secs(), SIGNED_AT);
            }
        }
    }
}

#[test]
fn a_leaf_may_be_named_by_its_subject() {
    let did = signer().issuer_with("subject:CN:Emulated%20UVM%20signer%20%28do%20not%20trust%29");
    let good = resigned(EndorsementForm::TextHeaders, |header| set(header, "iss", did.as_str()));
    assert_eq!(verify_as(&good, &did).unwrap().claims().issuer, did);

    let other = signer().issuer_with("subject:CN:Other");
    let cose = resigned(EndorsementForm::TextHeaders, |header| set(header, "iss", other.as_str()));
    assert_eq!(
        verify_as(&cose, &other),
        Err(EndorsementError::WrongLeafSubject {
            attribute: "CN".into(),
            expected: "Other".into(),
            actual: vec![LEAF_NAME.into()]
        })
    );
}

#[test]
fn the_newest_number_is_a_number() {
    for svn in [0, 9, 10, 99, 104, u64::MAX] {
        for form in FORMS {
            let cose = signer().endorse(form, svn, &measurement()).unwrap();
            assert_eq!(verify(&cose, &expected(signer())).unwrap().claims().svn, svn);
        }
    }
}
