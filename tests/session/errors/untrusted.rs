//! Errors of the category Untrusted: evidence that is not genuine, or not about this peer.

use AttestationError::*;
use blindbox_attestation::emulator::{KeySetKnob, Knob, Maa, OpenConnections, TokenFault};
use blindbox_attestation::maa::{KeySet, KeySetError, TokenError};
use blindbox_attestation::{AttestationError, ChannelNotBound, MaaIssuer, Measurement, SpkiDigest, Violation};

use super::{refused, same};
use crate::lab::{Lab, hello, noticed};

#[tokio::test]
async fn evidence_that_is_not_genuine_or_not_about_this_peer() {
    let lab = Lab::start().await;
    let foreign = SpkiDigest::new([7; 32]);
    let token = |fault| refused(&lab, Knob::Token(fault), same);

    assert_error!(token(TokenFault::Sgx).await, NotAnEnclave { attestation_type } if attestation_type == "sgx");
    let issuer = "https://sharedeus.eus.attest.azure.net";
    let error = assert_error!(token(TokenFault::Issuer(issuer.to_owned())).await, WrongAttester { .. });
    assert_eq!(error, WrongAttester { expected: lab.blindbox.maa_issuer(), actual: issuer.to_owned() });
    let error = refused(&lab, Knob::ForeignKey(foreign), same).await;
    assert_eq!(error, ChannelMismatch { attested: foreign, connected: lab.blindbox.tls_key() });
    for knob in [Knob::AnswerInLegacyForm, Knob::RefuseBoundForm] {
        let error = refused(&lab, knob, same).await;
        assert_eq!(error, AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData });
    }
    for knob in [Knob::OldNonce, Knob::RuntimeData(b"{}".to_vec()), Knob::RuntimeDataInAnswer(b"{}".to_vec())] {
        assert_error!(refused(&lab, knob, same).await, FalseAttestationReport { what: "runtime data", .. });
    }
    let changed = Knob::claim("x-ms-runtime/nonce", "00");
    assert_error!(refused(&lab, changed, same).await, FalseAttestationReport { what: "x-ms-runtime", .. });
    let changed = Knob::claim("x-ms-sevsnpvm-reportdata", "00".repeat(64));
    assert_error!(refused(&lab, changed, same).await, FalseAttestationReport { what: "report data", .. });
    assert_error!(token(TokenFault::IssuedAgo(120)).await, FalseAttestationReport { what: "a token issued after", .. });
    let error = refused(&lab, Knob::UvmMeasurement(Measurement::new([7; 48])), same).await;
    assert_error!(error, EvidenceMismatch { field: "launch measurement", .. });

    let invalid = [
        (TokenFault::Expired, "expired"),
        (TokenFault::NotYetValid, "not valid before"),
        (TokenFault::IssuedInTheFuture, "compare the clocks"),
        (TokenFault::ForeignKey, "signature"),
        (TokenFault::BadSignature, "signature"),
        (TokenFault::TamperedClaims, "signature"),
        (TokenFault::AlgNone, "algorithm"),
        (TokenFault::Hs256, "algorithm"),
        (TokenFault::NotAToken("x".to_owned()), "three parts"),
    ];
    for (fault, word) in invalid {
        let error = assert_error!(token(fault).await, InvalidToken(_));
        assert!(error.to_string().contains(word), "{error}");
    }
    assert_error!(token(TokenFault::UnknownKid).await, InvalidToken(TokenError::UnknownKey { .. }));

    lab.blindbox.reset();
    lab.maa.set(KeySetKnob::NoKeys);
    assert_eq!(lab.refusal().await, InvalidKeySet(KeySetError::NoUsableKey { entries: 0 }));
    let lab = Lab::start().await;
    lab.maa.set(KeySetKnob::Text("[]".to_owned()));
    assert_eq!(lab.refusal().await, InvalidKeySet(KeySetError::Malformed));
}

#[tokio::test]
async fn an_instance_of_another_name_is_refused_although_its_signature_is_good() {
    let lab = Lab::start().await;
    let other = Maa::start().await.unwrap();
    lab.blindbox.attest_with(&other);
    let error = lab.refusal().await;
    // Its key is not in the key set of the instance that the policy names.
    assert_error!(error, InvalidToken(TokenError::UnknownKey { .. }));
    let pinned = KeySet::from_json(other.key_set().as_bytes()).unwrap();
    let verifier = lab.builder().pin_key_set(pinned).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err();
    let expected = MaaIssuer::new(lab.maa.issuer()).unwrap();
    assert_eq!(error, WrongAttester { expected, actual: other.issuer().to_owned() });
}

#[tokio::test]
async fn a_refusal_at_renewal_closes_the_session() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    lab.blindbox.set(Knob::Debug);
    assert_rejected!(session.reattest().await.unwrap_err(), Violation::DebugMode);
    let poisoned = SessionPoisoned { cause: "debug-mode" };
    assert_eq!(hello(&session).await.unwrap_err(), poisoned);
    assert_eq!(lab.blindbox.traffic().count("/"), 1);
    lab.blindbox.reset();
    assert_eq!(hello(&session).await.unwrap_err(), poisoned);
    session.reattest().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn a_new_key_each_time_ends_somewhere() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.set(Knob::Debug);
    lab.blindbox.drop_connections().await;
    noticed().await;
    let mut asked = 0;
    let error = loop {
        lab.blindbox.rotate_tls_key(OpenConnections::Keep);
        match hello(&session).await.unwrap_err() {
            error if error.violation() == Some(&Violation::DebugMode) => asked += 1,
            error => break error,
        }
    };
    assert_error!(error, TooManyUnattestedPeers { .. });
    assert_eq!(asked, 120);
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}
