//! Step 2: tokens of real MAA instances, and tokens that no MAA would make.

mod common;
#[path = "common/sign.rs"]
mod sign;

use std::fs;
use std::path::Path;

use blindbox_attestation::maa::{KeySet, TokenError, TokenExpectations, TokenPart, UnusableKey, VerifiedToken, verify};
use blindbox_attestation::{
    Bit, Issuer, JsonError, JsonType, Measurement, Product, ReportData, Tcb, TokenShape, UnixTime,
};
use serde_json::{Value, json};
use sign::{ISSUER, KEY_ID, NOW, container_claims, header, key_set, signer, stranger, vm_claims};

/// One value of each JSON type.
fn any_of_each_type() -> [(Value, JsonType); 7] {
    [
        (Value::Null, JsonType::Null),
        (json!(false), JsonType::Boolean),
        (json!([]), JsonType::Array),
        (json!("5"), JsonType::String),
        (json!({}), JsonType::Object),
        (json!(5), JsonType::UnsignedInteger),
        (json!(-5), JsonType::OtherNumber),
    ]
}

fn keys() -> KeySet {
    KeySet::from_json(&key_set(&[signer().jwk(KEY_ID)])).unwrap()
}

fn check(token: &str) -> Result<VerifiedToken, TokenError> {
    let issuer = Issuer::new(ISSUER).unwrap();
    verify(token, &keys(), &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW))
}

fn check_claims(claims: &Value) -> Result<VerifiedToken, TokenError> {
    check(&signer().token(&header().to_string(), &claims.to_string()))
}

fn check_header(header: &Value) -> Result<VerifiedToken, TokenError> {
    check(&signer().token(&header.to_string(), &container_claims().to_string()))
}

/// The error; a verified token has no equality to assert on.
fn refusal(result: Result<VerifiedToken, TokenError>) -> TokenError {
    result.map(|token| panic!("accepted: {token:?}")).unwrap_err()
}

struct Recorded {
    token: String,
    keys: KeySet,
    issuer: Issuer,
    issued_at: u64,
    expires_at: u64,
    expected: Value,
}

impl Recorded {
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
    let Some(vectors) = common::vectors() else { return };
    for name in GENUINE {
        let recorded = Recorded::open(&vectors.join(name), "jwks.json");
        let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
        let expected = &recorded.expected;
        let (maa, snp) = (token.maa(), token.snp());
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
    let Some(vectors) = common::vectors() else { return };
    let recorded = Recorded::open(&vectors.join("maa-sharedeus-sevsnpvm-2026"), "jwks.json");
    let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
    let policy = token.snp().policy;
    assert_eq!(token.snp().product, Some(Product::Genoa));
    assert_eq!(
        [policy.single_socket, policy.cxl_allow, policy.mem_aes_256_xts, policy.rapl_dis],
        [Bit::Clear; 4]
    );
    assert_eq!([policy.ciphertext_hiding_dram, policy.page_swap_disable], [Bit::Clear; 2]);
    let payload: Value =
        serde_json::from_slice(&fs::read(vectors.join("maa-sharedeus-sevsnpvm-2026/payload.json")).unwrap()).unwrap();
    assert!(token.runtime_is(payload["x-ms-runtime"].to_string().as_bytes()));
    assert!(!token.runtime_is(payload.to_string().as_bytes()));

    let recorded = Recorded::open(&vectors.join("maa-sharedeus2-azurevm-2025-01"), "jwks.json");
    let token = recorded.verify(&recorded.token, recorded.issued_at).unwrap();
    assert_eq!(token.snp().product, None);
    assert_eq!(token.snp().policy.single_socket, Bit::NotReported);
}

#[test]
fn the_claims_of_a_genuine_container_are_read() {
    let Some(vectors) = common::vectors() else { return };
    let payload = fs::read_to_string(vectors.join("maa-payload-only-aci/aci_payload_2023.json")).unwrap();
    let claims: Value = serde_json::from_str(&payload).unwrap();
    let issuer = Issuer::new(claims["iss"].as_str().unwrap()).unwrap();
    let header = json!({ "alg": "RS256", "jku": issuer.key_set_url(), "kid": KEY_ID, "typ": "JWT" });
    let now = UnixTime::from_secs(claims["iat"].as_u64().unwrap());
    let token = signer().token(&header.to_string(), &payload);
    let token = verify(&token, &keys(), &TokenExpectations::new(&issuer), now).unwrap();
    assert_eq!(token.maa().compliance_status.as_deref(), Some("azure-compliant-uvm"));
    assert_eq!(token.snp().host_data.to_string(), claims["x-ms-sevsnpvm-hostdata"].as_str().unwrap());
    assert_eq!(token.snp().report_guest_svn, 2);
    let uvm = token.uvm().unwrap();
    assert_eq!((uvm.svn, uvm.feed.as_str()), (100, "ContainerPlat-AMD-UVM"));
    assert_eq!(uvm.measurement, token.snp().measurement);
    assert_eq!(uvm.issuer, claims["x-ms-sevsnpvm-uvm-endorsement-headers"]["iss"].as_str().unwrap());
    assert!(token.runtime_is(br#"{"publicKey":"abc","location":"East US"}"#));
    assert_eq!(token.client_nonce(), None);
}

#[test]
fn a_genuine_token_about_sgx_is_of_no_enclave_we_know() {
    let Some(vectors) = common::vectors() else { return };
    let recorded = Recorded::open(&vectors.join("maa-sharedeus-sgx-2023"), "jwks.json");
    let error = refusal(recorded.verify(&recorded.token, recorded.issued_at));
    assert_eq!(error, TokenError::NotAnEnclave { attestation_type: "sgx".into() });
    // And only because its signature is genuine does it come that far.
    let tampered = tampered(&recorded.token, recorded.token.len() - 100);
    let key_id = recorded.expected["kid"].as_str().unwrap().into();
    assert_eq!(refusal(recorded.verify(&tampered, recorded.issued_at)), TokenError::BadSignature { key_id });
}

#[test]
fn a_genuine_token_of_a_key_that_is_not_in_the_set_is_refused() {
    let Some(vectors) = common::vectors() else { return };
    let folder = vectors.join("maa-sharedweu-test-sevsnpvm-aci-2025");
    let recorded = Recorded::open(&folder, "../maa-payload-only-aci/jwks_sharedweu_2023.json");
    let TokenError::UnknownKey { key_id, known } = refusal(recorded.verify(&recorded.token, recorded.issued_at)) else {
        panic!("another error")
    };
    assert_eq!(key_id, recorded.expected["kid"].as_str().unwrap());
    assert_eq!((known.ids.as_slice(), known.more), (&["dRKh+hBcWUfQimSl3Iv6ZhStW3TSOt0ThwiTgUUqZAo=".to_owned()][..], 0));
}

#[test]
fn a_token_lives_from_a_minute_before_its_birth_to_a_minute_after_its_death() {
    let Some(vectors) = common::vectors() else { return };
    for name in GENUINE {
        let recorded = Recorded::open(&vectors.join(name), "jwks.json");
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
fn each_time_has_its_own_error() {
    let with = |issued_at: u64, not_before: u64, expires_at: u64| {
        let mut claims = container_claims();
        claims["iat"] = issued_at.into();
        claims["nbf"] = not_before.into();
        claims["exp"] = expires_at.into();
        check_claims(&claims).map(|_| ())
    };
    let time = UnixTime::from_secs;
    let never = |issued_at, not_before, expires_at| {
        let (issued_at, not_before, expires_at) = (time(issued_at), time(not_before), time(expires_at));
        Err(TokenError::InvalidLifetime { issued_at, not_before, expires_at })
    };
    assert_eq!(with(NOW + 60, NOW, NOW + 100), Ok(()));
    assert_eq!(with(NOW + 61, NOW, NOW + 100), Err(TokenError::IssuedInFuture { issued_at: time(NOW + 61), now: time(NOW) }));
    assert_eq!(with(NOW, NOW + 61, NOW + 100), Err(TokenError::NotYetValid { not_before: time(NOW + 61), now: time(NOW) }));
    assert_eq!(with(NOW - 100, NOW, NOW - 60), never(NOW - 100, NOW, NOW - 60));
    assert_eq!(with(NOW - 100, NOW - 100, NOW - 60), Err(TokenError::Expired { expires_at: time(NOW - 60), now: time(NOW) }));
    assert_eq!(with(NOW, NOW, NOW), never(NOW, NOW, NOW));
    assert_eq!(with(NOW + 1, NOW, NOW), never(NOW + 1, NOW, NOW));
    assert_eq!(with(0, 0, u64::MAX), Ok(()));
    assert_eq!(with(u64::MAX, 0, u64::MAX), never(u64::MAX, 0, u64::MAX));
}

#[test]
fn no_byte_of_a_genuine_token_can_be_changed() {
    let Some(vectors) = common::vectors() else { return };
    let recorded = Recorded::open(&vectors.join("maa-sharedeus-sevsnpvm-2026"), "jwks.json");
    for at in 0..recorded.token.len() {
        for replacement in [b'A', b'Q', b'_', b'.', b'=', b'!', 0, recorded.token.as_bytes()[at] ^ 1, recorded.token.as_bytes()[at] ^ 0x20] {
            let mut bytes = recorded.token.clone().into_bytes();
            if std::mem::replace(&mut bytes[at], replacement) == replacement {
                continue;
            }
            let changed = String::from_utf8(bytes).unwrap();
            assert!(recorded.verify(&changed, recorded.issued_at).is_err(), "byte {at} as {replacement}");
        }
    }
    for changed in [format!("{}A", recorded.token), format!("{}=", recorded.token), format!(" {}", recorded.token), format!("{}\n", recorded.token)] {
        let error = refusal(recorded.verify(&changed, recorded.issued_at));
        let part = if changed.starts_with(' ') { TokenPart::Header } else { TokenPart::Signature };
        assert_eq!(error, TokenError::NotBase64Url { part });
    }
}

#[test]
fn a_changed_byte_is_refused_for_its_part() {
    let token = signer().token(&header().to_string(), &container_claims().to_string());
    let dots: Vec<usize> = token.match_indices('.').map(|(at, _)| at).collect();
    let bad_signature = TokenError::BadSignature { key_id: KEY_ID.into() };
    assert_eq!(refusal(check(&tampered(&token, dots[0] + 50))), bad_signature);
    assert_eq!(refusal(check(&tampered(&token, dots[1] + 50))), bad_signature);
    // The last character of a signature of 256 bytes carries four bits that mean nothing: only zeros are accepted.
    assert_eq!(refusal(check(&tampered(&token, token.len() - 1))), TokenError::NotBase64Url { part: TokenPart::Signature });
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
        ("", TokenError::NotThreeParts { found: 1 }),
        ("e30.e30", TokenError::NotThreeParts { found: 2 }),
        ("e30.e30.e30.e30", TokenError::NotThreeParts { found: 4 }),
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
    assert_eq!(refusal(check(&"e".repeat(len - 1))), TokenError::NotThreeParts { found: 1 });
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
    for actual in ["https://maa.example/certs/", "https://maa.example", "https://evil.example/certs", "http://maa.example/certs", ""] {
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
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
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
        // Whoever serves the keys puts their own under the pinned id.
        let swapped = KeySet::from_json(&key_set(&[stranger().jwk_x5c(key_id, 100)])).unwrap();
        let token = stranger().token(&header.to_string(), &container_claims().to_string());
        let error = refusal(verify(&token, &swapped, &pinned, now));
        assert_eq!(error, TokenError::KeyIsNotItsId { key_id: key_id.clone() });
        // Without the pin an id is an opaque text.
        assert!(verify(&token, &swapped, &TokenExpectations::new(&issuer), now).is_ok());
    }
    // A digest of a certificate cannot be checked without the certificate.
    let bare = KeySet::from_json(&key_set(&[signer().jwk(&certificate_digest)])).unwrap();
    let mut header = header();
    header["kid"] = certificate_digest.as_str().into();
    let token = signer().token(&header.to_string(), &container_claims().to_string());
    let pinned = TokenExpectations::new(&issuer).key_id(&certificate_digest);
    assert_eq!(refusal(verify(&token, &bare, &pinned, now)), TokenError::KeyIsNotItsId { key_id: certificate_digest });
}

#[test]
fn the_ids_of_genuine_keys_are_their_digests() {
    let Some(vectors) = common::vectors() else { return };
    for name in GENUINE {
        let recorded = Recorded::open(&vectors.join(name), "jwks.json");
        let pinned = TokenExpectations::new(&recorded.issuer).key_id(recorded.expected["kid"].as_str().unwrap());
        let result = verify(&recorded.token, &recorded.keys, &pinned, UnixTime::from_secs(recorded.issued_at));
        assert!(result.is_ok(), "{name}");
    }
}

#[test]
fn a_token_of_another_instance_is_refused_as_that() {
    for actual in ["https://maa.example/", "https://MAA.example", "https://evil.example", "https://maa.example.evil.example", ""] {
        let mut claims = container_claims();
        claims["iss"] = actual.into();
        let expected = Issuer::new(ISSUER).unwrap();
        assert_eq!(refusal(check_claims(&claims)), TokenError::WrongIssuer { expected, actual: actual.into() });
    }
}

/// Each claim: its name, its type, whether it may be absent, and values of the right type that it cannot have.
fn claim_table() -> Vec<(&'static str, JsonType, bool, Vec<Value>)> {
    use JsonType::{Boolean, Object, String, UnsignedInteger};
    let hex = |digits: usize| {
        let good = "ab".repeat(digits / 2);
        vec![json!(""), json!(good[1..]), json!(good.clone() + "0"), json!(good.to_uppercase()), json!(good.replace('b', "g"))]
    };
    let svn = vec![json!(256), json!(u64::MAX)];
    let name = vec![json!(""), json!("x".repeat(513))];
    vec![
        ("iss", String, false, vec![]),
        ("iat", UnsignedInteger, false, vec![]),
        ("nbf", UnsignedInteger, false, vec![]),
        ("exp", UnsignedInteger, false, vec![]),
        ("jti", String, false, name.clone()),
        ("x-ms-ver", String, false, vec![json!(""), json!("1"), json!("1.00"), json!("2.0")]),
        ("x-ms-policy-hash", String, false, vec![json!(""), json!("AAAA"), json!(base64_url(&[0; 33])), json!(base64_url(&[0; 32]) + "=")]),
        ("x-ms-runtime", Object, true, vec![]),
        ("x-ms-attestation-type", String, false, vec![]),
        ("x-ms-compliance-status", String, true, name),
        ("x-ms-sevsnpvm-authorkeydigest", String, false, hex(96)),
        ("x-ms-sevsnpvm-bootloader-svn", UnsignedInteger, false, svn.clone()),
        ("x-ms-sevsnpvm-chip-family", String, true, vec![json!(""), json!("genoa"), json!("Rome")]),
        ("x-ms-sevsnpvm-chipid", String, true, hex(128)),
        ("x-ms-sevsnpvm-ciphertext-hiding-dram-enabled", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-cxl-allowed", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-familyId", String, false, hex(32)),
        ("x-ms-sevsnpvm-guestsvn", UnsignedInteger, false, vec![json!(1_u64 << 32)]),
        ("x-ms-sevsnpvm-hostdata", String, false, hex(64)),
        ("x-ms-sevsnpvm-idkeydigest", String, false, hex(96)),
        ("x-ms-sevsnpvm-imageId", String, false, hex(32)),
        ("x-ms-sevsnpvm-is-debuggable", Boolean, false, vec![]),
        ("x-ms-sevsnpvm-launchmeasurement", String, false, hex(96)),
        ("x-ms-sevsnpvm-mem-aes256-xts-required", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-microcode-svn", UnsignedInteger, false, svn.clone()),
        ("x-ms-sevsnpvm-migration-allowed", Boolean, false, vec![]),
        ("x-ms-sevsnpvm-page-swap-disabled", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-rapl-disabled", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-reportdata", String, false, hex(128)),
        ("x-ms-sevsnpvm-reportid", String, false, hex(64)),
        ("x-ms-sevsnpvm-singlesocket", Boolean, true, vec![]),
        ("x-ms-sevsnpvm-smt-allowed", Boolean, false, vec![]),
        ("x-ms-sevsnpvm-snpfw-svn", UnsignedInteger, false, svn.clone()),
        ("x-ms-sevsnpvm-tee-svn", UnsignedInteger, false, svn),
        ("x-ms-sevsnpvm-vmpl", UnsignedInteger, false, vec![json!(4), json!(u32::MAX), json!(1_u64 << 32)]),
        ("x-ms-sevsnpvm-uvm-endorsement", Object, false, vec![]),
        ("x-ms-sevsnpvm-uvm-endorsement-headers", Object, false, vec![]),
    ]
}

/// The object that has the claim, in a token of either shape.
fn holder<'c>(claims: &'c mut Value, name: &str) -> &'c mut Value {
    let is_the_tees = name.starts_with("x-ms-sevsnpvm-")
        || ["x-ms-attestation-type", "x-ms-compliance-status"].contains(&name);
    if is_the_tees && claims.get("x-ms-isolation-tee").is_some() { &mut claims["x-ms-isolation-tee"] } else { claims }
}

#[test]
fn each_claim_is_what_it_must_be() {
    for base in [container_claims(), vm_claims()] {
        assert!(check_claims(&base).is_ok());
        for (name, expected, may_be_absent, invalid) in claim_table() {
            let mut claims = base.clone();
            holder(&mut claims, name).as_object_mut().unwrap().remove(name);
            match check_claims(&claims) {
                Ok(_) => assert!(may_be_absent, "{name} may be absent"),
                Err(error) => assert_eq!((error, may_be_absent), (TokenError::MissingClaim { name }, false)),
            }
            for (value, found) in any_of_each_type() {
                let mut claims = base.clone();
                holder(&mut claims, name)[name] = value;
                if found != expected {
                    let error = TokenError::WrongClaimType { name, expected, found };
                    assert_eq!(refusal(check_claims(&claims)), error);
                }
            }
            for value in invalid {
                let mut claims = base.clone();
                holder(&mut claims, name)[name] = value.clone();
                let error = refusal(check_claims(&claims));
                let TokenError::InvalidClaim { name: named, .. } = error else { panic!("{name} as {value}: {error}") };
                assert_eq!(named, name);
            }
            let mut claims = base.clone();
            let text = holder(&mut claims, name).to_string();
            let twice = text.replacen('{', &format!("{{\"{name}\":null,"), 1);
            let payload = base.to_string().replacen(&text, &twice, 1);
            let error = TokenError::DuplicateMember { part: TokenPart::Payload, name: name.into() };
            assert_eq!(refusal(check(&signer().token(&header().to_string(), &payload))), error);
        }
    }
}

#[test]
fn numbers_that_are_no_integers_are_no_times() {
    for time in ["1e400", "1.0", "1e3", "-1", "18446744073709551616", "\"1\""] {
        let payload = container_claims().to_string().replace(&format!("\"exp\":{}", NOW + 28_800), &format!("\"exp\":{time}"));
        let error = refusal(check(&signer().token(&header().to_string(), &payload)));
        let found = if time.starts_with('"') { JsonType::String } else { JsonType::OtherNumber };
        assert_eq!(error, TokenError::WrongClaimType { name: "exp", expected: JsonType::UnsignedInteger, found });
    }
}

#[test]
fn every_claim_reaches_its_place() {
    let token = check_claims(&container_claims()).unwrap();
    let (maa, snp) = (token.maa(), token.snp());
    assert_eq!((maa.shape, maa.issuer.as_str(), maa.key_id.as_str()), (TokenShape::SevSnpVm, ISSUER, KEY_ID));
    assert_eq!((maa.token_id.as_str(), maa.policy_hash.as_bytes()), ("the token", &[0x90; 32]));
    assert_eq!(snp.measurement, Measurement::new([0x3e; 48]));
    assert_eq!(snp.report_data, ReportData::new([0x4d; 64]));
    assert_eq!((snp.host_data.as_bytes(), snp.report_id.as_bytes()), (&[0x0d; 32], &[0x1e; 32]));
    assert_eq!((snp.id_key_digest.as_bytes(), snp.author_key_digest.as_bytes()), (&[0x1d; 48], &[0x0a; 48]));
    assert_eq!((snp.family_id.as_bytes(), snp.image_id.as_bytes()), (&[0xf1; 16], &[0x1a; 16]));
    assert_eq!((snp.report_guest_svn, snp.vmpl, snp.product), (2, 0, Some(Product::Milan)));
    assert_eq!(snp.chip_id.unwrap().as_bytes(), &[0xc1; 64]);
    assert_eq!(snp.reported_tcb, Tcb::new(None, 4, 1, 23, 211));
    let policy = snp.policy;
    assert_eq!((policy.debug, policy.migrate_ma, policy.smt), (false, false, true));
    assert_eq!([policy.single_socket, policy.cxl_allow, policy.page_swap_disable], [Bit::Clear; 3]);
    assert_eq!([policy.mem_aes_256_xts, policy.rapl_dis, policy.ciphertext_hiding_dram], [Bit::Set; 3]);
    let uvm = token.uvm().unwrap();
    assert_eq!((uvm.svn, uvm.feed.as_str(), uvm.issuer.as_str()), (104, "ContainerPlat-AMD-UVM", "did:x509:0:sha256:x::eku:1"));
    for (name, read) in [
        ("x-ms-sevsnpvm-is-debuggable", (|policy| policy.debug) as fn(blindbox_attestation::GuestPolicy) -> bool),
        ("x-ms-sevsnpvm-migration-allowed", |policy| policy.migrate_ma),
    ] {
        let mut claims = container_claims();
        claims[name] = true.into();
        assert!(read(check_claims(&claims).unwrap().snp().policy), "{name}");
    }
    let mut masked = container_claims();
    masked["x-ms-sevsnpvm-chipid"] = "00".repeat(64).into();
    assert_eq!(check_claims(&masked).unwrap().snp().chip_id, None);
}

#[test]
fn an_endorsement_is_whole_or_absent() {
    const BODY: &str = "x-ms-sevsnpvm-uvm-endorsement";
    const HEADERS: &str = "x-ms-sevsnpvm-uvm-endorsement-headers";
    const SVN: &str = "x-ms-sevsnpvm-guestsvn";
    let mut none = container_claims();
    none.as_object_mut().unwrap().remove(BODY);
    none.as_object_mut().unwrap().remove(HEADERS);
    assert_eq!(check_claims(&none).unwrap().uvm(), None);

    for (object, name) in [(BODY, SVN), (BODY, "x-ms-sevsnpvm-launchmeasurement"), (HEADERS, "feed"), (HEADERS, "iss")] {
        let mut claims = container_claims();
        claims[object].as_object_mut().unwrap().remove(name);
        assert_eq!(refusal(check_claims(&claims)), TokenError::MissingClaim { name });
        claims[object][name] = 5.into();
        let (expected, found) = (JsonType::String, JsonType::UnsignedInteger);
        assert_eq!(refusal(check_claims(&claims)), TokenError::WrongClaimType { name, expected, found });
    }
    let with_svn = |svn: &str| {
        let mut claims = container_claims();
        claims[BODY] = json!({ SVN: svn, "x-ms-sevsnpvm-launchmeasurement": "3e".repeat(48) });
        check_claims(&claims)
    };
    for (text, svn) in [("0", 0), ("99", 99), ("104", 104), ("18446744073709551615", u64::MAX)] {
        assert_eq!(with_svn(text).unwrap().uvm().unwrap().svn, svn);
    }
    for text in ["", " 1", "1 ", "+1", "-1", "01", "1.0", "1e2", "0x1", "١", "18446744073709551616"] {
        let expected = "a decimal number without leading zeros";
        assert_eq!(refusal(with_svn(text)), TokenError::InvalidClaim { name: SVN, expected, found: text.into() });
    }
    let mut two_versions = container_claims();
    two_versions[BODY]["x-ms-sevsnpvm-guestsvn-int"] = 105.into();
    assert_eq!(
        refusal(check_claims(&two_versions)),
        TokenError::InvalidClaim {
            name: "x-ms-sevsnpvm-guestsvn-int",
            expected: "the number that x-ms-sevsnpvm-guestsvn says",
            found: "105".into()
        }
    );
}

#[test]
fn what_is_no_sev_snp_tee_is_refused_as_that() {
    let not = |attestation_type: &str| TokenError::NotAnEnclave { attestation_type: attestation_type.into() };
    for kind in ["sgx", "tdxvm", "SevSnpVm", "openenclave", ""] {
        let mut claims = container_claims();
        claims["x-ms-attestation-type"] = kind.into();
        assert_eq!(refusal(check_claims(&claims)), not(kind));
        let mut claims = vm_claims();
        claims["x-ms-isolation-tee"]["x-ms-attestation-type"] = kind.into();
        assert_eq!(refusal(check_claims(&claims)), not(kind));
    }
    let mut trusted_launch = vm_claims();
    trusted_launch.as_object_mut().unwrap().remove("x-ms-isolation-tee");
    assert_eq!(refusal(check_claims(&trusted_launch)), not("azurevm"));
    // Whoever issued it, and however old it is: what it is about comes first.
    trusted_launch["iss"] = "https://evil.example".into();
    assert_eq!(refusal(check_claims(&trusted_launch)), not("azurevm"));
}

#[test]
fn a_token_has_one_shape() {
    let mixed = |shape, claim: &str| TokenError::MixedShapes { shape, claim: claim.into() };
    for (claim, value) in [("x-ms-isolation-tee", sign::snp_claims()), ("x-ms-isolation-tee", Value::Null), ("x-ms-azurevm-vmid", json!("x"))] {
        let mut claims = container_claims();
        claims[claim] = value.clone();
        assert_eq!(refusal(check_claims(&claims)), mixed(TokenShape::SevSnpVm, claim));
        let mut claims = vm_claims();
        claims["x-ms-isolation-tee"][claim] = value;
        assert_eq!(refusal(check_claims(&claims)), mixed(TokenShape::AzureVm, claim));
    }
    for (claim, value) in [("x-ms-sevsnpvm-is-debuggable", json!(false)), ("x-ms-sevsnpvm-hostdata", Value::Null)] {
        let mut claims = vm_claims();
        claims[claim] = value;
        assert_eq!(refusal(check_claims(&claims)), mixed(TokenShape::AzureVm, claim));
    }
    let mut claims = vm_claims();
    claims["x-ms-isolation-tee"] = Value::Null;
    let (expected, found) = (JsonType::Object, JsonType::Null);
    assert_eq!(refusal(check_claims(&claims)), TokenError::WrongClaimType { name: "x-ms-isolation-tee", expected, found });
}

#[test]
fn what_the_guest_wrote_is_never_a_claim() {
    let written_by_the_guest = [sign::container_claims(), sign::vm_claims()];
    for guest in written_by_the_guest {
        for place in ["x-ms-runtime", "x-ms-inittime"] {
            for (base, name) in [(container_claims(), "x-ms-sevsnpvm-hostdata"), (vm_claims(), "x-ms-policy-hash")] {
                let mut claims = base;
                claims[place] = guest.clone();
                assert!(check_claims(&claims).is_ok());
                claims.as_object_mut().unwrap().remove(name);
                assert_eq!(refusal(check_claims(&claims)), TokenError::MissingClaim { name });
            }
        }
    }
}

#[test]
fn runtime_data_is_compared_as_a_value() {
    let mut claims = container_claims();
    claims["x-ms-runtime"] = json!({ "nonce": "00ff", "protocol": "p" });
    let token = check_claims(&claims).unwrap();
    assert!(token.runtime_is(br#"{"nonce":"00ff","protocol":"p"}"#));
    assert!(token.runtime_is(br#" {"protocol":"\u0070", "nonce":"00ff"} "#));
    for other in [
        r#"{"nonce":"00ff"}"#,
        r#"{"nonce":"00ff","protocol":"p","more":1}"#,
        r#"{"nonce":"00FF","protocol":"p"}"#,
        r#"{"nonce":"00ff","protocol":"p","protocol":"p"}"#,
        r#"{"nonce":"00ff","protocol":"p"}x"#,
        "null",
        "",
    ] {
        assert!(!token.runtime_is(other.as_bytes()), "{other}");
    }
    claims.as_object_mut().unwrap().remove("x-ms-runtime");
    let token = check_claims(&claims).unwrap();
    assert!(!token.runtime_is(b"{}") && !token.runtime_is(b"null") && !token.runtime_is(b""));
    // A VM's runtime data is not what its report binds.
    let claims = vm_claims();
    let token = check_claims(&claims).unwrap();
    assert!(!token.runtime_is(claims["x-ms-runtime"].to_string().as_bytes()));
}

#[test]
fn a_client_nonce_stands_alone() {
    let nonce = |payload: Value| {
        let mut claims = vm_claims();
        claims["x-ms-runtime"]["client-payload"] = payload;
        check_claims(&claims).map(|token| token.client_nonce().map(<[u8]>::to_vec))
    };
    assert_eq!(nonce(json!({ "nonce": "Y2hhbGxlbmdl" })), Ok(Some(b"challenge".to_vec())));
    for payload in [
        json!({}),
        json!({ "nonce": "" }),
        json!({ "nonce": "Y2hhbGxlbmdl", "price": "" }),
        json!({ "Nonce": "Y2hhbGxlbmdl" }),
        json!({ "nonce": "Y2hhbGxlbmdl=" }),
        json!({ "nonce": "Y2hhbGxlbmd" }),
        json!({ "nonce": "not base64" }),
    ] {
        assert_eq!(nonce(payload.clone()), Ok(None), "{payload}");
    }
    let wrong = |name, expected, found| Err(TokenError::WrongClaimType { name, expected, found });
    assert_eq!(nonce(json!("x")), wrong("client-payload", JsonType::Object, JsonType::String));
    assert_eq!(nonce(json!({ "nonce": 1 })), wrong("nonce", JsonType::String, JsonType::UnsignedInteger));
    let mut claims = container_claims();
    claims["x-ms-runtime"] = json!({ "client-payload": { "nonce": "Y2hhbGxlbmdl" } });
    assert_eq!(check_claims(&claims).unwrap().client_nonce(), None);
}

#[test]
fn texts_from_a_token_are_shortened_and_escaped() {
    let mut claims = container_claims();
    claims["iss"] = format!("\u{1b}[31m{}", "x".repeat(10_000)).into();
    let TokenError::WrongIssuer { actual, .. } = refusal(check_claims(&claims)) else { panic!("another error") };
    assert!(actual.len() < 200 && actual.starts_with("\\u{1b}[31mxxx"), "{actual}");
}

#[test]
fn any_mutation_of_a_signed_payload_is_read_without_panic() {
    use proptest::prelude::*;
    let payload = vm_claims().to_string().into_bytes();
    let (keys, issuer) = (keys(), Issuer::new(ISSUER).unwrap());
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(at in 0..payload.len(), bytes in prop::collection::vec(any::<u8>(), 0..4), cut in 0_usize..8)| {
        let mut changed = payload.clone();
        changed.splice(at..(at + cut).min(payload.len()), bytes);
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header().to_string()), URL_SAFE_NO_PAD.encode(&changed));
        let token = format!("{signed}.{}", base64_url(&signer().sign(signed.as_bytes())));
        let _ = verify(&token, &keys, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW));
    });
    proptest!(|(token in r"[A-Za-z0-9_\-.=]{0,80}")| {
        let _ = verify(&token, &keys, &TokenExpectations::new(&issuer), UnixTime::from_secs(NOW));
    });
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
