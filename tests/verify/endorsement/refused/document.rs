//! Faults of the COSE document: header, payload, signature, size.

use aws_lc_rs::digest::{SHA384, SHA512, digest};
use blindbox_attestation::emulator::uvm::{Sha2, SigningAlgorithm, UvmSigner, text_payload};
use blindbox_attestation::uvm::{
    CoseAlgorithm, CoseError, EndorsementError, EndorsementForm, PRODUCTION_FEED, PayloadError, read_unverified, verify,
};
use coset::cbor::value::Value;
use proptest::prelude::*;

use super::super::edit::{Header, Key, remove, resigned, set};
use super::super::{FORMS, PRODUCTION, expected, measurement, sha256, signer};

#[test]
fn each_fault_of_a_header_is_named() {
    use EndorsementError::{
        CriticalHeaders, Malformed, MissingHeader, MixedForms, UnsupportedAlgorithm, UnsupportedThumbprint,
        WrongContentType, WrongHeaderType, WrongPayloadHash,
    };
    let text = EndorsementForm::TextHeaders;
    let cwt = EndorsementForm::CwtHashEnvelope;
    let missing = |header| MissingHeader { header };
    let wrong = |header| WrongHeaderType { header };
    type Edit = Box<dyn Fn(&mut Header)>;
    let without = |key: Key| -> Edit { Box::new(move |header: &mut Header| remove(header, key)) };
    let with =
        |key: Key, value: Value| -> Edit { Box::new(move |header: &mut Header| set(header, key, value.clone())) };
    let claim = |key: Key, value: Option<Value>| -> Edit {
        Box::new(move |header: &mut Header| {
            let (_, claims) = header.iter_mut().find(|(label, _)| *label == Value::from(15)).unwrap();
            let claims = claims.as_map_mut().unwrap();
            remove(claims, key);
            if let Some(value) = &value {
                set(claims, key, value.clone());
            }
        })
    };
    let cases: Vec<(EndorsementForm, Edit, EndorsementError)> = vec![
        // alg
        (text, without(1.into()), missing("signature algorithm (1)")),
        (text, with(1.into(), Value::Null), Malformed(CoseError::InvalidHeader)),
        (text, with(1.into(), (-257).into()), UnsupportedAlgorithm { actual: CoseAlgorithm::Number(-257) }),
        (text, with(1.into(), (-8).into()), UnsupportedAlgorithm { actual: CoseAlgorithm::Number(-8) }),
        (text, with(1.into(), 5.into()), UnsupportedAlgorithm { actual: CoseAlgorithm::Number(5) }),
        (text, with(1.into(), "none".into()), UnsupportedAlgorithm { actual: CoseAlgorithm::Text }),
        (text, with(1.into(), (-38).into()), EndorsementError::KeyDoesNotFit { algorithm: -38 }),
        (text, with(1.into(), (-7).into()), EndorsementError::BadSignature),
        (text, with(1.into(), (-36).into()), EndorsementError::BadSignature),
        // crit
        (text, with(2.into(), vec![Value::from("x")].into()), CriticalHeaders),
        (text, with(2.into(), vec![Value::from(1)].into()), CriticalHeaders),
        (text, with(2.into(), Vec::<Value>::new().into()), Malformed(CoseError::InvalidHeader)),
        // content type
        (text, without(3.into()), missing("content type (3)")),
        (
            text,
            with(3.into(), "application/xml".into()),
            WrongContentType { expected: "application/json", actual: "application/xml".into() },
        ),
        (
            text,
            with(3.into(), 0.into()),
            WrongContentType { expected: "application/json", actual: "CoAP content format 0".into() },
        ),
        (text, with(3.into(), Value::Null), Malformed(CoseError::InvalidHeader)),
        // x5chain, x5t
        (text, without(33.into()), missing("x5chain (33)")),
        (text, with(33.into(), "x".into()), wrong("x5chain (33)")),
        (text, with(33.into(), vec![Value::from(1)].into()), wrong("x5chain (33)")),
        (text, with(34.into(), Value::Null), wrong("x5t (34)")),
        (text, with(34.into(), vec![Value::from(-16)].into()), wrong("x5t (34)")),
        (text, with(34.into(), vec![Value::from("sha"), vec![0u8; 32].into()].into()), wrong("x5t (34)")),
        (
            text,
            with(34.into(), vec![Value::from(-15), vec![0u8; 8].into()].into()),
            UnsupportedThumbprint { actual: -15 },
        ),
        // iss, feed, signingtime
        (text, without("iss".into()), missing("iss")),
        (text, with("iss".into(), Value::Null), wrong("iss")),
        (text, with("iss".into(), vec![1u8].into()), wrong("iss")),
        (text, without("feed".into()), missing("feed")),
        (text, with("feed".into(), 1.into()), wrong("feed")),
        (text, with("signingtime".into(), "now".into()), wrong("signingtime")),
        (text, with("signingtime".into(), Value::Tag(1, Box::new((-1).into()))), wrong("signingtime")),
        (text, with("signingtime".into(), Value::Tag(1, Box::new(1.5.into()))), wrong("signingtime")),
        (text, with("signingtime".into(), Value::Tag(0, Box::new(1.into()))), wrong("signingtime")),
        // both forms at once
        (text, with(15.into(), Value::Map(vec![])), MixedForms { header: "iss" }),
        (text, with(258.into(), (-43).into()), MixedForms { header: "payload hash algorithm (258)" }),
        (text, with(259.into(), "x/y".into()), MixedForms { header: "preimage content type (259)" }),
        (cwt, with("iss".into(), signer().issuer().into()), MixedForms { header: "iss" }),
        (cwt, with("feed".into(), PRODUCTION_FEED.into()), MixedForms { header: "feed" }),
        (cwt, with("signingtime".into(), 1.into()), MixedForms { header: "signingtime" }),
        (cwt, with(3.into(), "application/json".into()), MixedForms { header: "content type (3)" }),
        // CWT
        (cwt, with(15.into(), 1.into()), wrong("CWT claims (15)")),
        (cwt, without(15.into()), MixedForms { header: "payload hash algorithm (258)" }),
        (cwt, claim(1.into(), None), missing("iss")),
        (cwt, claim(1.into(), Some(1.into())), wrong("CWT claim iss")),
        (cwt, claim(2.into(), None), missing("feed")),
        (cwt, claim(2.into(), Some(Value::Null)), wrong("CWT claim sub")),
        (cwt, claim(6.into(), Some("x".into())), wrong("CWT claim iat")),
        (cwt, claim("svn".into(), None), missing("CWT claim svn")),
        (cwt, claim("svn".into(), Some("104".into())), wrong("CWT claim svn")),
        (cwt, claim("svn".into(), Some((-1).into())), wrong("CWT claim svn")),
        (cwt, claim("svn".into(), Some(104.0.into())), wrong("CWT claim svn")),
        (cwt, claim("svn".into(), Some(Value::Null)), wrong("CWT claim svn")),
        (cwt, without(258.into()), missing("payload hash algorithm (258)")),
        (cwt, with(258.into(), (-16).into()), WrongPayloadHash { actual: -16 }),
        (cwt, with(258.into(), "x".into()), wrong("payload hash algorithm (258)")),
        (cwt, without(259.into()), missing("preimage content type (259)")),
    ];
    for (index, (form, edit, error)) in cases.into_iter().enumerate() {
        assert_eq!(verify(&resigned(form, edit), &expected(signer())), Err(error), "case {index}");
    }
}

#[test]
fn a_thumbprint_names_the_leaf_or_is_absent() {
    let root = signer().chain()[2].clone();
    for form in FORMS {
        let without = resigned(form, |header| remove(header, 34.into()));
        assert!(verify(&without, &expected(signer())).is_ok());
        // COSE numbers of hash algorithms: RFC 9054, section 2.1.
        for (algorithm, hash) in [(-43, &SHA384), (-44, &SHA512)] {
            let named = |certificate: &[u8]| {
                let thumbprint = digest(hash, certificate).as_ref().to_vec();
                let named = resigned(form, |header| set(header, 34, vec![Value::from(algorithm), thumbprint.into()]));
                verify(&named, &expected(signer())).map(|_| ())
            };
            assert_eq!(named(&signer().chain()[0]), Ok(()), "{algorithm}");
            let refused = EndorsementError::ThumbprintMismatch {
                expected: hex::encode(digest(hash, &root)),
                actual: hex::encode(digest(hash, &signer().chain()[0])),
            };
            assert_eq!(named(&root), Err(refused), "{algorithm}");
        }
        let other = resigned(form, |header| {
            set(header, 34, vec![Value::from(-16), sha256(&root).into()]);
        });
        assert_eq!(
            verify(&other, &expected(signer())),
            Err(EndorsementError::ThumbprintMismatch {
                expected: hex::encode(sha256(&root)),
                actual: hex::encode(sha256(&signer().chain()[0])),
            })
        );
    }
}

#[test]
fn a_payload_is_what_its_form_demands() {
    let header = |form| signer().protected_header(form, PRODUCTION_FEED, 5).unwrap();
    let with =
        |form, payload: &[u8]| verify(&signer().sign(&header(form), &[0xa0], payload).unwrap(), &expected(signer()));
    let refused = |defect| Err(EndorsementError::Payload(defect));
    let cwt = EndorsementForm::CwtHashEnvelope;
    for len in [0, 32, 47, 49, 64] {
        assert_eq!(with(cwt, &vec![1; len]), refused(PayloadError::WrongLength { expected: 48, actual: len }));
    }
    let text = EndorsementForm::TextHeaders;
    assert_eq!(with(text, &[1; 48]), refused(PayloadError::NotAnObject));
    assert_eq!(
        with(cwt, text_payload(5, &measurement()).as_bytes()),
        refused(PayloadError::WrongLength { expected: 48, actual: 163 })
    );
    assert_eq!(with(text, b"{}"), refused(PayloadError::MissingMember { member: "x-ms-sevsnpvm-launchmeasurement" }));
    let both = text_payload(5, &measurement()).replace('{', r#"{"x-ms-sevsnpvm-guestsvn-int":6,"#);
    assert_eq!(with(text, both.as_bytes()), refused(PayloadError::SvnDisagrees { text: 5, number: 6 }));
}

#[test]
fn a_signature_by_pkcs1_or_by_another_key_is_refused() {
    let pkcs1 = UvmSigner::builder().leaf(SigningAlgorithm::RsaPkcs1(Sha2::Sha256)).build().unwrap();
    let cose = pkcs1.endorse(EndorsementForm::TextHeaders, 1, &measurement()).unwrap();
    assert_eq!(
        verify(&cose, &expected(&pkcs1)),
        Err(EndorsementError::UnsupportedAlgorithm { actual: CoseAlgorithm::Number(-257) })
    );
    let other = UvmSigner::builder().leaf(SigningAlgorithm::EcdsaP384).build().unwrap();
    let header = signer().protected_header(EndorsementForm::TextHeaders, PRODUCTION_FEED, 1).unwrap();
    let cose = other.sign(&header, &[0xa0], text_payload(1, &measurement()).as_bytes()).unwrap();
    assert_eq!(verify(&cose, &expected(signer())), Err(EndorsementError::BadSignature));
}

#[test]
fn size_and_shape_are_limited() {
    let good = signer().endorse(EndorsementForm::TextHeaders, 1, &measurement()).unwrap();
    let header = signer().protected_header(EndorsementForm::TextHeaders, PRODUCTION_FEED, 1).unwrap();
    let payload = text_payload(1, &measurement());
    let receipts = |len: u16| {
        let unprotected =
            [&[0xa1, 0x19, 0x01, 0x8a, 0x59], len.to_be_bytes().as_slice(), &vec![7; len.into()]].concat();
        signer().sign(&header, &unprotected, payload.as_bytes()).unwrap()
    };
    assert!(verify(&receipts(60_000), &expected(signer())).is_ok());
    let long = receipts(65_000);
    assert_eq!(
        verify(&long, &expected(signer())),
        Err(EndorsementError::TooLarge { limit: 65_536, actual: long.len() })
    );
    let malformed = |cose: &[u8], defect| {
        assert_eq!(verify(cose, &expected(signer())), Err(EndorsementError::Malformed(defect)));
    };
    malformed(&[], CoseError::Truncated);
    malformed(&good[1..], CoseError::NotTagged);
    malformed(&good[..good.len() - 1], CoseError::Truncated);
    malformed(&[good.as_slice(), &[0]].concat(), CoseError::TrailingBytes);
    malformed(&[&[0xd2], good.as_slice()].concat(), CoseError::NotFourItems);

    let twice = [&[header[0] + 1], &header[1..], &[0x01, 0x26]].concat();
    malformed(&signer().sign(&twice, &[0xa0], payload.as_bytes()).unwrap(), CoseError::DuplicateKey);
    let indefinite = [&[0xbf], &header[1..], &[0xff]].concat();
    malformed(&signer().sign(&indefinite, &[0xa0], payload.as_bytes()).unwrap(), CoseError::IndefiniteLength);
    let nested = resigned(EndorsementForm::CwtHashEnvelope, |header| {
        let (_, claims) = header.iter_mut().find(|(label, _)| *label == Value::from(15)).unwrap();
        claims.as_map_mut().unwrap().push(("svn".into(), 999.into()));
    });
    malformed(&nested, CoseError::DuplicateKey);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify(&bytes, &PRODUCTION).is_err());
        let _ = read_unverified(&bytes);
    }

    #[test]
    fn arbitrary_headers_never_panic(header in proptest::collection::vec(any::<u8>(), 0..100)) {
        let cose = signer().sign(&[&[0xa7], header.as_slice()].concat(), &[0xa0], b"{}").unwrap();
        prop_assert!(verify(&cose, &expected(signer())).is_err());
    }

    #[test]
    fn mutations_never_panic(form in 0..2usize, edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut cose = signer().endorse(FORMS[form], 1, &measurement()).unwrap();
        let good = cose.clone();
        for (index, byte) in edits {
            let index = index.index(cose.len());
            cose[index] = byte;
        }
        if cose != good {
            prop_assert!(verify(&cose, &expected(signer())).is_err());
        }
        let _ = read_unverified(&cose);
    }
}
