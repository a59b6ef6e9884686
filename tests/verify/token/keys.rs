//! Which key of a key set a token is verified with, and which keys are unusable.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::maa::{KeySet, TokenError, TokenExpectations, UnusableKey, verify};
use blindbox_attestation::{MaaIssuer, UnixTime};

use crate::sign::{
    ISSUER, KEY_ID, NOW, base64_url, check, container_claims, header, key_set, keys, refusal, signer, stranger,
};

/// An error names eight keys of the set, and counts the others.
#[test]
fn an_unknown_key_is_reported_with_eight_of_the_known_ones() {
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    for (keys, names, more) in [(8, 8, 0), (9, 8, 1)] {
        let entries: Vec<_> = (0..keys).map(|number| signer().jwk(&format!("key {number}"))).collect();
        let keys = KeySet::from_json(&key_set(&entries)).unwrap();
        let issuer = MaaIssuer::new(ISSUER).unwrap();
        let refused = refusal(verify(&token, &keys, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW)));
        let TokenError::UnknownKey { key_id, known } = refused else { panic!("{refused:?}") };
        assert_eq!((key_id.as_str(), known.ids.len(), known.more), (KEY_ID, names, more));
    }
}

#[test]
fn no_header_parameter_is_a_source_of_keys() {
    let mut with_key = header();
    with_key["jwk"] = stranger().jwk(KEY_ID);
    with_key["x5c"] = stranger().jwk_x5c(KEY_ID, 10)["x5c"].clone();
    with_key["x5u"] = "https://evil.example/key".into();
    let payload = container_claims().to_string();
    let forged = stranger().token(&with_key.to_string(), &payload);
    assert_eq!(refusal(check(&forged)), TokenError::BadSignature { key_id: KEY_ID.into() });
    assert!(check(&signer().token(&with_key.to_string(), &payload)).is_ok());
}

#[test]
fn a_key_stands_in_for_no_other_key() {
    let set = KeySet::from_json(&key_set(&[signer().jwk(KEY_ID), stranger().jwk("stranger")])).unwrap();
    let issuer = MaaIssuer::new(ISSUER).unwrap();
    let token = stranger().token(&header().to_string(), &container_claims().to_string());
    let error = refusal(verify(&token, &set, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW)));
    assert_eq!(error, TokenError::BadSignature { key_id: KEY_ID.into() });
}

#[test]
fn an_unusable_key_says_why() {
    let mut encrypts = signer().jwk(KEY_ID);
    encrypts["use"] = "enc".into();
    let set = KeySet::from_json(&key_set(&[encrypts, stranger().jwk("stranger")])).unwrap();
    let issuer = MaaIssuer::new(ISSUER).unwrap();
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    let error = refusal(verify(&token, &set, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW)));
    assert_eq!(error, TokenError::UnusableKey { key_id: KEY_ID.into(), reason: UnusableKey::WrongUse });
}

#[test]
fn a_pinned_key_is_the_only_one() {
    let issuer = MaaIssuer::new(ISSUER).unwrap();
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    let pinned = |key_id| {
        verify(&token, &keys(), &TokenExpectations::new(&issuer).key_id(key_id), UnixTime::from_secs(NOW)).map(|_| ())
    };
    assert_eq!(pinned(KEY_ID), Ok(()));
    assert_eq!(pinned("other"), Err(TokenError::WrongKeyId { expected: "other".into(), actual: KEY_ID.into() }));
}

#[test]
fn a_pinned_digest_is_that_of_the_key() {
    let issuer = MaaIssuer::new(ISSUER).unwrap();
    let now = UnixTime::from_secs(NOW);
    let spki_digest = {
        let body = STANDARD.encode(signer().spki());
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n\0", lines.join("\n"));
        STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pem.as_bytes()))
    };
    let certificate = signer().certificate(100);
    let certificate_digest =
        base64_url(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate).as_ref());
    for key_id in [&spki_digest, &certificate_digest] {
        let mut header = header();
        header["kid"] = key_id.as_str().into();
        let genuine = KeySet::from_json(&key_set(&[signer().jwk_x5c(key_id, 100)])).unwrap();
        let token = signer().token(&header.to_string(), &container_claims().to_string());
        let pinned = TokenExpectations::new(&issuer).key_id(key_id);
        assert!(verify(&token, &genuine, &pinned, now).is_ok());
        // Anyone who serves the keys puts their own under the pinned id.
        let swapped = KeySet::from_json(&key_set(&[stranger().jwk_x5c(key_id, 100)])).unwrap();
        let token = stranger().token(&header.to_string(), &container_claims().to_string());
        let error = refusal(verify(&token, &swapped, &pinned, now));
        assert_eq!(error, TokenError::KeyIdMismatch { key_id: key_id.clone() });
        // Without the pin an id is an opaque text.
        assert!(verify(&token, &swapped, &TokenExpectations::new(&issuer), now).is_ok());
    }
    // A digest of a certificate cannot be checked without the certificate.
    let bare = KeySet::from_json(&key_set(&[signer().jwk(&certificate_digest)])).unwrap();
    let mut header = header();
    header["kid"] = certificate_digest.as_str().into();
    let token = signer().token(&header.to_string(), &container_claims().to_string());
    let pinned = TokenExpectations::new(&issuer).key_id(&certificate_digest);
    assert_eq!(refusal(verify(&token, &bare, &pinned, now)), TokenError::KeyIdMismatch { key_id: certificate_digest });
}
