//! Faults of the chain of certificates.

use blindbox_attestation::emulator::uvm::{ChainFault, Sha2, SigningAlgorithm, UvmSigner};
use blindbox_attestation::uvm::{CertificateError, EndorsementError, EndorsementForm, KeyUse, verify};
use blindbox_attestation::{Sha256Digest, UnixTime};
use coset::cbor::value::Value;

use super::super::edit::{remove, resigned, set};
use super::super::{expected, measurement, sha256, signer, verify_as};
use crate::malformed_times::malformed_times;

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
fn an_algorithm_of_another_kind_of_key_is_refused() {
    for authorities in [SigningAlgorithm::EcdsaP384, SigningAlgorithm::RsaPss(Sha2::Sha384)] {
        let builder = UvmSigner::builder().authorities(authorities).leaf(SigningAlgorithm::EcdsaP384);
        let signer = builder.fault(ChainFault::AlgorithmOfAnotherKey).build().unwrap();
        let cose = signer.endorse(EndorsementForm::CwtHashEnvelope, 1, &measurement()).unwrap();
        let refused = EndorsementError::Certificate { index: 0, cause: CertificateError::IssuerKeyMismatch };
        assert_eq!(verify(&cose, &expected(&signer)), Err(refused), "{authorities:?}");
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
    let [root, last] = [&chain[2], &chain[1]].map(|of| Sha256Digest::new(sha256(of).try_into().unwrap()));
    let not_in_chain = EndorsementError::FingerprintNotInChain { expected: root, actual: last };
    assert_eq!(verify(&rootless, &expected(signer())), Err(not_in_chain));
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
