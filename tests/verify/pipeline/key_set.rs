//! With which key set, and which key of it, a token is verified.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::maa::{KeySet, TokenError};
use blindbox_attestation::{
    Attestation, AttestationError, KeySetSource, MaaIssuer, Policy, Trust, UvmRequirement, verify,
};
use serde_json::json;

use crate::scene::*;
use crate::sign::{KEY_ID, key_set, keys, signer};

/// The policy for a container, which requires this key of MAA or none.
fn policy_with(key_id: Option<&str>) -> Policy {
    let trust = Trust::maa(ISSUER).unwrap();
    let trust = match key_id {
        Some(key_id) => trust.require_maa_key_id(key_id).unwrap(),
        None => trust,
    };
    Policy::confidential_container(trust, workload(), UvmRequirement::at_least(101)).unwrap()
}

/// The verdict where the token names its key so, and the key set comes from there.
fn verdict(key_id: &str, source: KeySetSource, policy: &Policy) -> Result<Attestation, AttestationError> {
    let challenge = bound();
    let mut evidence = evidence(&container(), &challenge.runtime_data());
    let header = json!({ "alg": "RS256", "jku": format!("{ISSUER}/certs"), "kid": key_id, "typ": "JWT" });
    let claims = claims(&container(), &challenge.runtime_data());
    evidence.token = Some(signer().token(&header.to_string(), &claims.to_text()));
    let mut endorsements = endorsements();
    endorsements.key_set = Some(match key_id {
        KEY_ID => keys(),
        other => KeySet::from_json(&key_set(&[signer().jwk(other)])).unwrap(),
    });
    endorsements.key_set_source = source;
    verify(&evidence, &endorsements, challenge, policy, NOW)
}

/// The id of a key that is its digest, as MAA forms it.
fn digest_of_the_key() -> String {
    let body = STANDARD.encode(signer().spki());
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n\0", lines.join("\n"));
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pem.as_bytes()))
}

#[test]
fn the_key_that_the_policy_requires_is_the_only_one() {
    let fetched = KeySetSource::BuiltInRoots;
    assert_eq!(verdict(KEY_ID, fetched, &policy_with(Some(KEY_ID))).err(), None);
    let wrong = TokenError::WrongKeyId { expected: "other".into(), actual: KEY_ID.into() };
    let refused = verdict(KEY_ID, fetched, &policy_with(Some("other"))).err();
    assert_eq!(refused, Some(AttestationError::InvalidToken(wrong)));
}

/// Who can write the evidence can write a key set beside it: only the digest of the key in the policy makes it the right one.
#[test]
fn a_key_set_beside_the_evidence_counts_only_for_a_key_that_is_required_by_its_digest() {
    let beside = KeySetSource::BesideEvidence;
    let issuer = MaaIssuer::new(ISSUER).unwrap();
    let refused = Some(AttestationError::KeySetNotAuthenticated { issuer });
    let digest = digest_of_the_key();
    for (key_id, required, expected) in [
        (KEY_ID, None, &refused),
        (KEY_ID, Some(KEY_ID), &refused),
        (&*digest, None, &refused),
        (&*digest, Some(&*digest), &None),
    ] {
        assert_eq!(verdict(key_id, beside, &policy_with(required)).err(), *expected, "{key_id}, {required:?}");
    }
    // From MAA itself, no key must be required.
    for source in [KeySetSource::BuiltInRoots, KeySetSource::Pinned, KeySetSource::Given] {
        assert_eq!(verdict(KEY_ID, source, &policy_with(None)).err(), None, "{source:?}");
    }
}
