//! Tokens that no MAA would make: signature, header and payload.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blindbox_attestation::maa::{TokenError, TokenPart};
use blindbox_attestation::{JsonError, JsonType};
use serde_json::{Value, json};

use super::check_header;
use crate::sign::{KEY_ID, any_of_each_type, base64_url, check, container_claims, header, refusal, signer};

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
pub(super) fn tampered(token: &str, at: usize) -> String {
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
