//! Emulated evidence: what must be refused.

use aws_lc_rs::digest::{SHA384, SHA512, digest};
use blindbox_attestation::UnixTime;
use blindbox_attestation::emulator::uvm::{ChainFault, Sha2, SigningAlgorithm, UvmSigner, text_payload};
use blindbox_attestation::uvm::{
    CertificateError, CoseAlgorithm, CoseError, DidX509Error, EndorsementError, EndorsementExpectations,
    EndorsementForm, KeyUse, PRODUCTION_FEED, PRODUCTION_ISSUER, PayloadError, read_unverified, verify,
};
use coset::cbor::value::Value;
use proptest::prelude::*;

use super::edit::{Header, Key, edited, remove, resigned, set};
use super::{FORMS, PRODUCTION, expected, measurement, sha256, signer, verify_as};
use crate::malformed_times::malformed_times;

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

const ROOT: &str = "Emulated UVM root (do not trust)";
const CA: &str = "Emulated UVM CA (do not trust)";

fn wrong_issuer(expected: &str, actual: &str) -> CertificateError {
    CertificateError::WrongIssuer { expected: format!("CN={expected}"), actual: format!("CN={actual}") }
}

#[test]
fn each_fault_of_a_chain_is_named() {
    let at = 1_735_689_600; // 2025-01-01, when the emulated leaf begins
    for (fault, index, cause) in [
        (ChainFault::AuthorityNotCa, 1, CertificateError::NotACa),
        (ChainFault::AuthorityMayNotSign, 1, CertificateError::WrongKeyUsage(KeyUse::Certificates)),
        (
            ChainFault::AuthorityExpired,
            1,
            CertificateError::Expired { not_after: UnixTime::from_secs(1_735_689_599), now: UnixTime::from_secs(at) },
        ),
        (ChainFault::DuplicateExtension, 0, CertificateError::DuplicateExtension { oid: "2.5.29.15".into() }),
        (ChainFault::ForgedLink, 0, CertificateError::WrongSignature),
        (ChainFault::IssuerMismatch, 0, wrong_issuer(CA, "Another issuer")),
        (ChainFault::LeafMayNotSign, 0, CertificateError::WrongKeyUsage(KeyUse::Documents)),
        (ChainFault::PathTooShort, 2, CertificateError::PathTooLong { allowed: 0, actual: 1 }),
        (ChainFault::TrailingBytes, 0, CertificateError::Malformed),
        (ChainFault::UnknownCriticalExtension, 0, CertificateError::UnexpectedExtension { oid: "1.2.3.4".into() }),
        (
            ChainFault::WeakAlgorithm,
            0,
            CertificateError::UnsupportedAlgorithm {
                expected: "RSA (PKCS#1 v1.5 or PSS) or ECDSA, with SHA-256, SHA-384 or SHA-512",
            },
        ),
    ] {
        let signer = UvmSigner::builder().leaf(SigningAlgorithm::EcdsaP384).fault(fault).build().unwrap();
        let cose = signer.endorse(EndorsementForm::CwtHashEnvelope, 1, &measurement()).unwrap();
        assert_eq!(verify(&cose, &expected(&signer)), Err(EndorsementError::Certificate { index, cause }), "{fault:?}");
    }
}

#[test]
fn a_malformed_time_is_refused_in_every_certificate() {
    let (good, end) = (b"\x17\x0d230101000000Z", b"\x17\x0d470101000000Z");
    for (what, time) in malformed_times() {
        for index in 0..3 {
            for (place, [not_before, not_after]) in [("notBefore", [&time[..], end]), ("notAfter", [good, &time])] {
                let builder = UvmSigner::builder().leaf(SigningAlgorithm::EcdsaP384);
                let signer = builder.raw_validity(index, not_before, not_after).build().unwrap();
                let cose = signer.endorse(EndorsementForm::TextHeaders, 1, &measurement()).unwrap();
                let refused = EndorsementError::Certificate { index, cause: CertificateError::MalformedTime };
                assert_eq!(verify(&cose, &expected(&signer)), Err(refused), "{what} as {place} of {index}");
            }
        }
    }
    // The places work with good times.
    for index in 0..3 {
        let builder = UvmSigner::builder().leaf(SigningAlgorithm::EcdsaP384);
        let signer = builder.raw_validity(index, b"\x17\x0d240101000000Z", end).build().unwrap();
        let cose = signer.endorse(EndorsementForm::TextHeaders, 1, &measurement()).unwrap();
        assert!(verify(&cose, &expected(&signer)).is_ok());
    }
}

#[test]
fn an_authority_for_other_uses_endorses_nothing() {
    const UVM_USE: &str = "1.3.6.1.4.1.311.76.59.1.2";
    const SERVER: &str = "1.3.6.1.5.5.7.3.1";
    let verdict = |authority: &[&str], leaf: &[&str], policies: &str| {
        let builder = UvmSigner::builder().leaf(SigningAlgorithm::EcdsaP384);
        let builder = builder.authority_uses(authority.iter().copied()).leaf_uses(leaf.iter().copied());
        let signer = builder.build().unwrap();
        let signer = signer.claiming(&signer.issuer_with(policies));
        let cose = signer.endorse(EndorsementForm::CwtHashEnvelope, 1, &measurement()).unwrap();
        verify_as(&cose, signer.issuer()).map(|_| ())
    };
    let (of_use, of_name) = (format!("eku:{UVM_USE}"), "subject:CN:Emulated%20UVM%20signer%20%28do%20not%20trust%29");
    for allowed in [&[UVM_USE][..], &[SERVER, UVM_USE], &["2.5.29.37.0"], &[]] {
        assert_eq!(verdict(allowed, &[UVM_USE], &of_use), Ok(()), "{allowed:?}");
        assert_eq!(verdict(allowed, &[UVM_USE], of_name), Ok(()), "{allowed:?}");
    }
    let refuse = |expected: &[&str], allowed: &[&str]| {
        let texts = |oids: &[&str]| oids.iter().map(|oid| (*oid).to_owned()).collect();
        let cause = CertificateError::ExcludedUse { expected: texts(expected), allowed: texts(allowed) };
        Err(EndorsementError::Certificate { index: 1, cause })
    };
    // The arc above a use, and one below it, are other uses.
    for other in [SERVER, "1.3.6.1.4.1.311.76.59.1", "1.3.6.1.4.1.311.76.59.1.2.1"] {
        assert_eq!(verdict(&[other], &[UVM_USE], &of_use), refuse(&[UVM_USE], &[other]));
        assert_eq!(verdict(&[other], &[UVM_USE], of_name), refuse(&[UVM_USE], &[other]));
    }
    // Of what a stranger writes, eight uses of 100 characters are shown.
    let long = format!("1.2.{}", "3".repeat(96));
    let longer = format!("{long}4");
    let (of_long, of_longer) = (format!("eku:{long}"), format!("eku:{longer}"));
    assert_eq!(verdict(&[SERVER], &[&long], &of_long), refuse(&[&long], &[SERVER]));
    assert_eq!(verdict(&[SERVER], &[&longer], &of_longer), refuse(&[&format!("{long}…")], &[SERVER]));
    let many: Vec<String> = (1..=9).map(|arc| format!("{SERVER}.{arc}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(verdict(&many, &[UVM_USE], &of_use), refuse(&[UVM_USE], &many[..8]));
    // All uses that the issuer names must be allowed, and of a leaf without uses none is.
    let both = format!("eku:{UVM_USE}::eku:{SERVER}");
    assert_eq!(verdict(&[SERVER], &[UVM_USE, SERVER], &both), refuse(&[UVM_USE, SERVER], &[SERVER]));
    assert_eq!(verdict(&[SERVER, UVM_USE], &[UVM_USE, SERVER], &both), Ok(()));
    assert_eq!(verdict(&[SERVER], &[], of_name), refuse(&[], &[SERVER]));
}

#[test]
fn a_chain_has_two_to_eight_certificates_in_order() {
    let chain = signer().chain();
    let with = |chain: Vec<Vec<u8>>| {
        resigned(EndorsementForm::TextHeaders, |header| {
            set(header, 33, chain.into_iter().map(Value::Bytes).collect::<Vec<_>>());
        })
    };
    let length = |actual| Err(EndorsementError::ChainLength { min: 2, max: 8, actual });
    assert_eq!(verify(&with(vec![]), &expected(signer())), length(0));
    assert_eq!(verify(&with(vec![chain[0].clone()]), &expected(signer())), length(1));
    assert_eq!(verify(&with(vec![chain[0].clone(); 9]), &expected(signer())), length(9));
    let lone = resigned(EndorsementForm::TextHeaders, |header| set(header, 33, Value::Bytes(chain[0].clone())));
    assert_eq!(verify(&lone, &expected(signer())), length(1));

    let swapped = with(vec![chain[1].clone(), chain[0].clone(), chain[2].clone()]);
    let (now, not_before) = (UnixTime::from_secs(1_640_995_200), UnixTime::from_secs(1_735_689_600));
    assert_eq!(
        verify(&swapped, &expected(signer())),
        Err(EndorsementError::Certificate { index: 1, cause: CertificateError::NotYetValid { not_before, now } })
    );
    let gap = with(vec![chain[0].clone(), chain[2].clone()]);
    assert_eq!(
        verify(&gap, &expected(signer())),
        Err(EndorsementError::Certificate { index: 0, cause: wrong_issuer(ROOT, CA) })
    );
    let rootless = with(vec![chain[0].clone(), chain[1].clone()]);
    assert!(matches!(verify(&rootless, &expected(signer())), Err(EndorsementError::FingerprintNotInChain { .. })));
    let garbage = with(vec![chain[0].clone(), vec![0x30], chain[2].clone()]);
    assert_eq!(
        verify(&garbage, &expected(signer())),
        Err(EndorsementError::Certificate { index: 1, cause: CertificateError::Malformed })
    );
}

#[test]
fn a_certificate_has_nothing_behind_its_signature() {
    for index in 0..3 {
        let mut chain = signer().chain().to_vec();
        let certificate = &mut chain[index];
        let head = match certificate[1] {
            0x81 => 3,
            _ => 4,
        };
        certificate.extend([0x05, 0x00]);
        let length = u16::try_from(certificate.len() - head).unwrap().to_be_bytes();
        *certificate = [&[0x30, 0x82], &length[..], &certificate[head..]].concat();
        let cose = resigned(EndorsementForm::TextHeaders, |header| {
            set(header, 33, chain.into_iter().map(Value::Bytes).collect::<Vec<_>>());
            remove(header, 34.into());
        });
        let malformed = EndorsementError::Certificate { index, cause: CertificateError::Malformed };
        assert_eq!(verify(&cose, &expected(signer())), Err(malformed));
    }
}

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
