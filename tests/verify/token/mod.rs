//! Step 2: tokens of real MAA instances, and tokens that no MAA would make.

use std::fs;
use std::path::Path;

use crate::sign::{
    ISSUER, KEY_ID, NOW, any_of_each_type, base64_url, check, container_claims, header, key_set, keys, refusal, signer,
    stranger,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::maa::{KeySet, TokenError, TokenExpectations, TokenPart, UnusableKey, VerifiedToken, verify};
use blindbox_attestation::{Bit, Issuer, JsonError, JsonType, Product, Tcb, TokenShape, UnixTime};
use serde_json::{Value, json};

fn check_header(header: &Value) -> Result<VerifiedToken, TokenError> {
    check(&signer().token(&header.to_string(), &container_claims().to_string()))
}

struct OfflineAttestation {
    token: String,
    keys: KeySet,
    issuer: Issuer,
    issued_at: u64,
    expires_at: u64,
    expected: Value,
}

impl OfflineAttestation {
    fn open(folder: &Path, key_set: &str) -> Self {
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let expected: Value = serde_json::from_slice(&read("expected.json")).unwrap();
        Self {
            token: String::from_utf8(read("token.jwt")).unwrap().trim_end().to_owned(),
            keys: KeySet::from_json(&read(key_set)).unwrap(),
            issuer: Issuer::new(expected["iss"].as_str().unwrap()).unwrap(),
            issued_at: expected["iat"].as_u64().unwrap(),
            expires_at: expected["exp"].as_u64().unwrap(),
            expected,
        }
    }

    fn verify(&self, token: &str, at: u64) -> Result<VerifiedToken, TokenError> {
        verify(token, &self.keys, &TokenExpectations::new(&self.issuer), UnixTime::from_secs(at))
    }
}

const GENUINE: [&str; 4] = [
    "maa-sharedeus-sevsnpvm-2026",
    "maa-sharedweu-azurevm-2022",
    "maa-sharedeus2-azurevm-2024-12",
    "maa-sharedeus2-azurevm-2025-01",
];

#[test]
fn genuine_tokens_verify_and_say_what_is_expected() {
    let Some(vectors) = crate::common::vectors() else { return };
    for name in GENUINE {
        let recorded = OfflineAttestation::open(&vectors.join(name), "jwks.json");
        let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
        let expected = &recorded.expected;
        let (maa, snp) = (token.maa(), token.tee().snp().unwrap());
        let is_vm = expected["attestation_type_top"] == "azurevm";
        assert_eq!(maa.shape, if is_vm { TokenShape::AzureVm } else { TokenShape::SevSnpVm }, "{name}");
        assert_eq!(maa.issuer, recorded.issuer);
        assert_eq!(maa.key_id, expected["kid"].as_str().unwrap());
        assert_eq!(maa.compliance_status.as_deref(), expected["compliance"].as_str());
        assert_eq!((maa.issued_at.as_secs(), maa.not_before.as_secs()), (recorded.issued_at, recorded.issued_at));
        assert_eq!(maa.expires_at.as_secs(), recorded.expires_at);
        assert_eq!(base64_url(maa.policy_hash.as_bytes()), expected["policy_hash"].as_str().unwrap());
        assert_eq!(maa.token_id.len(), 64);
        assert_eq!(snp.measurement.to_string(), expected["measurement"].as_str().unwrap());
        assert_eq!(snp.host_data.to_string(), expected["host_data"].as_str().unwrap());
        assert_eq!(snp.report_data.to_string(), expected["report_data"].as_str().unwrap());
        assert_eq!(snp.report_id.to_string(), expected["report_id"].as_str().unwrap());
        assert_eq!(snp.policy.debug, expected["is_debuggable"].as_bool().unwrap());
        assert_eq!(u64::from(snp.report_guest_svn), expected["guest_svn"].as_u64().unwrap());
        assert_eq!(snp.chip_id.map(|id| id.to_string()).as_deref(), expected["chip_id"].as_str());
        let svn = |part: &str| u8::try_from(expected["tcb"][part].as_u64().unwrap()).unwrap();
        let tcb = Tcb::new(None, svn("bootloader"), svn("tee"), svn("snpfw"), svn("microcode"));
        assert_eq!(snp.reported_tcb, tcb);
        assert_eq!(token.uvm(), None);
        assert_eq!(token.client_nonce(), None, "{name}: nothing of ours was attested");
    }
}

#[test]
fn the_newest_claims_are_read_where_they_are() {
    let Some(vectors) = crate::common::vectors() else { return };
    let recorded = OfflineAttestation::open(&vectors.join("maa-sharedeus-sevsnpvm-2026"), "jwks.json");
    let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
    let policy = token.tee().snp().unwrap().policy;
    assert_eq!(token.tee().snp().unwrap().product, Some(Product::Genoa));
    assert_eq!([policy.single_socket, policy.cxl_allow, policy.mem_aes_256_xts, policy.rapl_dis], [Bit::Clear; 4]);
    assert_eq!([policy.ciphertext_hiding_dram, policy.page_swap_disable], [Bit::Clear; 2]);
    let payload: Value =
        serde_json::from_slice(&fs::read(vectors.join("maa-sharedeus-sevsnpvm-2026/payload.json")).unwrap()).unwrap();
    assert!(token.runtime_is(payload["x-ms-runtime"].to_string().as_bytes()));
    assert!(!token.runtime_is(payload.to_string().as_bytes()));

    let recorded = OfflineAttestation::open(&vectors.join("maa-sharedeus2-azurevm-2025-01"), "jwks.json");
    let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
    assert_eq!(token.tee().snp().unwrap().product, None);
    assert_eq!(token.tee().snp().unwrap().policy.single_socket, Bit::NotReported);
}

#[test]
fn the_claims_of_a_genuine_container_are_read() {
    let Some(vectors) = crate::common::vectors() else { return };
    let payload = fs::read_to_string(vectors.join("maa-payload-only-aci/aci_payload_2023.json")).unwrap();
    let claims: Value = serde_json::from_str(&payload).unwrap();
    let issuer = Issuer::new(claims["iss"].as_str().unwrap()).unwrap();
    let header = json!({ "alg": "RS256", "jku": issuer.key_set_url(), "kid": KEY_ID, "typ": "JWT" });
    let now = UnixTime::from_secs(claims["iat"].as_u64().unwrap());
    let token = signer().token(&header.to_string(), &payload);
    let token = verify(&token, &keys(), &TokenExpectations::new(&issuer), now).unwrap();
    assert_eq!(token.maa().compliance_status.as_deref(), Some("azure-compliant-uvm"));
    assert_eq!(token.tee().snp().unwrap().host_data.to_string(), claims["x-ms-sevsnpvm-hostdata"].as_str().unwrap());
    assert_eq!(token.tee().snp().unwrap().report_guest_svn, 2);
    let uvm = token.uvm().unwrap();
    assert_eq!((uvm.svn, uvm.feed.as_str()), (100, "ContainerPlat-AMD-UVM"));
    assert_eq!(uvm.measurement, token.tee().snp().unwrap().measurement);
    assert_eq!(uvm.issuer, claims["x-ms-sevsnpvm-uvm-endorsement-headers"]["iss"].as_str().unwrap());
    assert!(token.runtime_is(br#"{"publicKey":"abc","location":"East US"}"#));
    assert_eq!(token.client_nonce(), None);
}

#[test]
fn a_genuine_token_about_sgx_is_of_no_enclave_we_know() {
    let Some(vectors) = crate::common::vectors() else { return };
    let recorded = OfflineAttestation::open(&vectors.join("maa-sharedeus-sgx-2023"), "jwks.json");
    let error = refusal(recorded.verify(&recorded.token, recorded.issued_at));
    assert_eq!(error, TokenError::NotAnEnclave { attestation_type: "sgx".into() });
    // And only because its signature is genuine does it come that far.
    let tampered = tampered(&recorded.token, recorded.token.len() - 100);
    let key_id = recorded.expected["kid"].as_str().unwrap().into();
    assert_eq!(refusal(recorded.verify(&tampered, recorded.issued_at)), TokenError::BadSignature { key_id });
}

#[test]
fn a_genuine_token_of_a_key_that_is_not_in_the_set_is_refused() {
    let Some(vectors) = crate::common::vectors() else { return };
    let folder = vectors.join("maa-sharedweu-test-sevsnpvm-aci-2025");
    let recorded = OfflineAttestation::open(&folder, "../maa-payload-only-aci/jwks_sharedweu_2023.json");
    let TokenError::UnknownKey { key_id, known } = refusal(recorded.verify(&recorded.token, recorded.issued_at)) else {
        panic!("another error")
    };
    assert_eq!(key_id, recorded.expected["kid"].as_str().unwrap());
    assert_eq!(
        (known.ids.as_slice(), known.more),
        (&["dRKh+hBcWUfQimSl3Iv6ZhStW3TSOt0ThwiTgUUqZAo=".to_owned()][..], 0)
    );
}

#[test]
fn a_token_lives_from_a_minute_before_its_birth_to_a_minute_after_its_death() {
    let Some(vectors) = crate::common::vectors() else { return };
    for name in GENUINE {
        let recorded = OfflineAttestation::open(&vectors.join(name), "jwks.json");
        let at = |now| recorded.verify(&recorded.token, now).map(|_| ());
        let (born, dead) = (recorded.issued_at, recorded.expires_at);
        for now in [born - 60, born, dead - 1, dead, dead + 59] {
            assert_eq!(at(now), Ok(()), "{name} at {now}");
        }
        for now in [dead + 60, dead + 61, u64::MAX] {
            let (expires_at, now) = (UnixTime::from_secs(dead), UnixTime::from_secs(now));
            assert_eq!(at(now.as_secs()), Err(TokenError::Expired { expires_at, now }));
        }
        for now in [0, born - 61] {
            let (not_before, now) = (UnixTime::from_secs(born), UnixTime::from_secs(now));
            assert_eq!(at(now.as_secs()), Err(TokenError::NotYetValid { not_before, now }));
        }
    }
}

#[test]
fn no_byte_of_a_genuine_token_can_be_changed() {
    let Some(vectors) = crate::common::vectors() else { return };
    let recorded = OfflineAttestation::open(&vectors.join("maa-sharedeus-sevsnpvm-2026"), "jwks.json");
    let token = recorded.token.as_bytes();
    let dots: Vec<usize> = recorded.token.match_indices('.').map(|(at, _)| at).collect();
    let key_id = recorded.expected["kid"].as_str().unwrap();
    for at in 0..token.len() {
        // Each bit but the highest, which would leave no text, and characters that mean something.
        let flips = (0..7).map(|bit| token[at] ^ (1 << bit));
        for replacement in flips.chain([b'A', b'Q', b'_', b'.', b'=', b'!', 0]) {
            if replacement == token[at] {
                continue;
            }
            let mut changed = token.to_vec();
            changed[at] = replacement;
            let error = refusal(recorded.verify(std::str::from_utf8(&changed).unwrap(), recorded.issued_at));
            let part = [TokenPart::Header, TokenPart::Payload, TokenPart::Signature]
                [dots.iter().filter(|dot| at > **dot).count()];
            let is_right = match &error {
                TokenError::PartCount { found } => *found == changed.split(|byte| *byte == b'.').count() && *found != 3,
                // Either the character is none, or it is the last and has bits that mean nothing.
                TokenError::NotBase64Url { part: named } => {
                    let is_last = at + 1 == token.len() || token[at + 1] == b'.';
                    *named == part
                        && (is_last
                            || !(replacement.is_ascii_alphanumeric() || replacement == b'_' || replacement == b'-'))
                }
                TokenError::BadSignature { key_id: named } => named == key_id,
                // What the header says is looked at before the key that it names.
                _ => part == TokenPart::Header,
            };
            assert!(is_right, "byte {at} as {replacement}: {error:?}");
        }
    }
    for (changed, part) in [
        (format!("{}=", recorded.token), TokenPart::Signature),
        (format!("{}\n", recorded.token), TokenPart::Signature),
        (format!(" {}", recorded.token), TokenPart::Header),
    ] {
        assert_eq!(refusal(recorded.verify(&changed, recorded.issued_at)), TokenError::NotBase64Url { part });
    }
}

#[test]
fn a_longer_signature_is_refused() {
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for longer in
        [[&[0], &signature[..]].concat(), [&signature[..], &[0]].concat(), signature[1..].to_vec(), Vec::new()]
    {
        let error = refusal(check(&format!("{signed}.{}", base64_url(&longer))));
        assert_eq!(error, TokenError::BadSignature { key_id: KEY_ID.into() });
    }
}

#[test]
fn a_signature_is_below_the_modulus() {
    // `s + n` is the same number modulo `n`, and where it still fits it has the same length: a second signature of the
    // same token, if numbers were not compared with the modulus.
    let (signed, second) = (0..)
        .find_map(|id| {
            let mut claims = container_claims();
            claims["jti"] = format!("token {id}").into();
            let token = signer().token(&header().to_string(), &claims.to_string());
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let mut sum = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let mut carry = 0;
            for (byte, modulus) in sum.iter_mut().zip(signer().modulus()).rev() {
                carry += u16::from(*byte) + u16::from(*modulus);
                *byte = carry.to_le_bytes()[0];
                carry >>= 8;
            }
            (carry == 0).then(|| (signed.to_owned(), sum))
        })
        .unwrap();
    let error = refusal(check(&format!("{signed}.{}", base64_url(&second))));
    assert_eq!(error, TokenError::BadSignature { key_id: KEY_ID.into() });
}

#[test]
fn a_changed_byte_is_refused_for_its_part() {
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    let dots: Vec<usize> = token.match_indices('.').map(|(at, _)| at).collect();
    let bad_signature = TokenError::BadSignature { key_id: KEY_ID.into() };
    assert_eq!(refusal(check(&tampered(&token, dots[0] + 50))), bad_signature);
    assert_eq!(refusal(check(&tampered(&token, dots[1] + 50))), bad_signature);
    // The last character of a signature of 256 bytes carries four bits that mean nothing: only zeros are accepted.
    assert_eq!(
        refusal(check(&tampered(&token, token.len() - 1))),
        TokenError::NotBase64Url { part: TokenPart::Signature }
    );
}

/// The next character of the alphabet at one place.
fn tampered(token: &str, at: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { bytes[at] ^ 1 };
    if !bytes[at].is_ascii_alphanumeric() {
        bytes[at] = b'A';
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_no_token_is_refused_for_its_structure() {
    let part = |part| TokenError::NotBase64Url { part };
    for (token, error) in [
        ("", TokenError::PartCount { found: 1 }),
        ("e30.e30", TokenError::PartCount { found: 2 }),
        ("e30.e30.e30.e30", TokenError::PartCount { found: 4 }),
        ("e30=.e30.AA", part(TokenPart::Header)),
        ("e31.e30.AA", part(TokenPart::Header)),
        ("e30.e3 0.AA", part(TokenPart::Payload)),
        ("e30.e30.A", part(TokenPart::Signature)),
        ("e30.e30.+/+/", part(TokenPart::Signature)),
        ("..", TokenError::NotJson { part: TokenPart::Header, error: JsonError::Syntax { at: 0 } }),
        ("W10.e30.", TokenError::NotAnObject { part: TokenPart::Header, found: JsonType::Array }),
        ("e30.e30.", TokenError::MissingHeader { name: "alg" }),
    ] {
        assert_eq!(refusal(check(token)), error, "{token:?}");
    }
    let len = (64 << 10) + 1;
    assert_eq!(refusal(check(&"e".repeat(len))), TokenError::TooLarge { len, max: len - 1 });
    assert_eq!(refusal(check(&"e".repeat(len - 1))), TokenError::PartCount { found: 1 });
}

#[test]
fn a_payload_that_is_no_object_is_refused_even_when_signed() {
    let payload = |text: &str| refusal(check(&signer().token(&header().to_string(), text)));
    let part = TokenPart::Payload;
    assert_eq!(payload(""), TokenError::NotJson { part, error: JsonError::Syntax { at: 0 } });
    assert_eq!(payload("{}{}"), TokenError::NotJson { part, error: JsonError::TrailingBytes { at: 2 } });
    assert_eq!(payload("\u{feff}{}"), TokenError::NotJson { part, error: JsonError::ByteOrderMark });
    assert_eq!(payload("[]"), TokenError::NotAnObject { part, found: JsonType::Array });
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(16), "]".repeat(16));
    assert_eq!(payload(&deep), TokenError::NotJson { part, error: JsonError::TooDeep { at: 20, max: 16 } });
    assert_eq!(payload(r#"{"x":{"y":[{"z":1,"z":1}]}}"#), TokenError::DuplicateMember { part, name: "z".into() });
    assert_eq!(payload("{}"), TokenError::MissingClaim { name: "x-ms-attestation-type" });
}

#[test]
fn each_header_parameter_is_what_it_must_be() {
    for name in ["alg", "typ", "kid"] {
        let mut without = header();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(check_header(&without)), TokenError::MissingHeader { name });
    }
    let mut without = header();
    without.as_object_mut().unwrap().remove("jku");
    assert!(check_header(&without).is_ok());
    for name in ["alg", "typ", "kid", "jku"] {
        for (value, found) in any_of_each_type().into_iter().filter(|(_, found)| *found != JsonType::String) {
            let mut wrong = header();
            wrong[name] = value;
            let error = TokenError::WrongHeaderType { name, expected: JsonType::String, found };
            assert_eq!(refusal(check_header(&wrong)), error);
        }
        let twice = header().to_string().replacen('{', &format!("{{\"{name}\":1,"), 1);
        let token = signer().token(&twice, &container_claims().to_string());
        let error = TokenError::DuplicateMember { part: TokenPart::Header, name: name.into() };
        assert_eq!(refusal(check(&token)), error);
    }
    let with = |name: &str, value: Value| {
        let mut header = header();
        header[name] = value;
        check_header(&header)
    };
    for found in ["none", "HS256", "PS256", "RS384", "rs256", ""] {
        assert_eq!(refusal(with("alg", found.into())), TokenError::UnsupportedAlgorithm { found: found.into() });
    }
    for found in ["jwt", "JWT ", "at+jwt", ""] {
        assert_eq!(refusal(with("typ", found.into())), TokenError::UnsupportedTokenType { found: found.into() });
    }
    for value in [json!([]), json!(["exp"]), Value::Null] {
        assert_eq!(refusal(with("crit", value)), TokenError::CriticalExtensions);
    }
    for actual in [
        "https://maa.example/certs/",
        "https://maa.example",
        "https://evil.example/certs",
        "http://maa.example/certs",
        "",
    ] {
        let expected = "https://maa.example/certs".to_owned();
        assert_eq!(refusal(with("jku", actual.into())), TokenError::WrongKeySetUrl { expected, actual: actual.into() });
    }
    for key_id in ["", "The key", "the key ", "another"] {
        let TokenError::UnknownKey { key_id: named, known } = refusal(with("kid", key_id.into())) else {
            panic!("another error")
        };
        assert_eq!((named.as_str(), known.ids.as_slice()), (key_id, &[KEY_ID.to_owned()][..]));
    }
}

/// An error names eight keys of the set, and counts the others.
#[test]
fn an_unknown_key_is_reported_with_eight_of_the_known_ones() {
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    for (keys, names, more) in [(8, 8, 0), (9, 8, 1)] {
        let entries: Vec<_> = (0..keys).map(|number| signer().jwk(&format!("key {number}"))).collect();
        let keys = KeySet::from_json(&key_set(&entries)).unwrap();
        let issuer = Issuer::new(ISSUER).unwrap();
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
    let issuer = Issuer::new(ISSUER).unwrap();
    let token = stranger().token(&header().to_string(), &container_claims().to_string());
    let error = refusal(verify(&token, &set, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW)));
    assert_eq!(error, TokenError::BadSignature { key_id: KEY_ID.into() });
}

#[test]
fn an_unusable_key_says_why() {
    let mut encrypts = signer().jwk(KEY_ID);
    encrypts["use"] = "enc".into();
    let set = KeySet::from_json(&key_set(&[encrypts, stranger().jwk("stranger")])).unwrap();
    let issuer = Issuer::new(ISSUER).unwrap();
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    let error = refusal(verify(&token, &set, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW)));
    assert_eq!(error, TokenError::UnusableKey { key_id: KEY_ID.into(), reason: UnusableKey::WrongUse });
}

#[test]
fn a_pinned_key_is_the_only_one() {
    let issuer = Issuer::new(ISSUER).unwrap();
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    let pinned = |key_id| {
        verify(&token, &keys(), &TokenExpectations::new(&issuer).key_id(key_id), UnixTime::from_secs(NOW)).map(|_| ())
    };
    assert_eq!(pinned(KEY_ID), Ok(()));
    assert_eq!(pinned("other"), Err(TokenError::WrongKeyId { expected: "other".into(), actual: KEY_ID.into() }));
}

#[test]
fn a_pinned_digest_is_that_of_the_key() {
    let issuer = Issuer::new(ISSUER).unwrap();
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

#[test]
fn the_ids_of_genuine_keys_are_their_digests() {
    let Some(vectors) = crate::common::vectors() else { return };
    for name in GENUINE {
        let recorded = OfflineAttestation::open(&vectors.join(name), "jwks.json");
        let pinned = TokenExpectations::new(&recorded.issuer).key_id(recorded.expected["kid"].as_str().unwrap());
        let result = verify(&recorded.token, &recorded.keys, &pinned, UnixTime::from_secs(recorded.issued_at));
        assert!(result.is_ok(), "{name}");
    }
}
