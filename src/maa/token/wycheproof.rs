//! Wycheproof's JSON Web Signatures and keys, through the parts of `verify()` that decide about a signature.
//!
//! Tokens here have one algorithm. What Wycheproof calls valid under another one is refused, as is a header without the
//! `typ` that every MAA token has, which is why the parts are called and not `verify()`.

use serde_json::{Value as Json, json};

use super::{Parts, TokenExpectations, verify};
use crate::json;
use crate::maa::TokenError;
use crate::maa::jwks::KeySet;
use crate::types::{MaaIssuer, UnixTime};

/// A set of the group's public keys, as `KeySet` takes it.
fn keys(group: &Json) -> Option<KeySet> {
    let public = group.get("public")?;
    let set = if public.get("keys").is_some() { public.clone() } else { json!({ "keys": [public] }) };
    KeySet::from_json(set.to_string().as_bytes()).ok()
}

/// Algorithm, key and signature as `verify()` demands them.
fn accepts(group: &Json, token: &str) -> bool {
    let (Some(keys), Ok(parts)) = (keys(group), Parts::split(token)) else { return false };
    let Ok(json::Value::Object(header)) = json::parse(&parts.header) else { return false };
    let (Ok("RS256"), Ok(key_id)) = (header.required::<&str>("alg"), header.required::<&str>("kid")) else {
        return false;
    };
    keys.key(key_id).is_ok_and(|key| key.verify(parts.signed, &parts.signature).is_ok())
}

#[test]
fn every_signature_is_decided_as_the_files_say() {
    let Some(vectors) = crate::vectors::vectors() else { return };
    let issuer = MaaIssuer::new("https://sharedneu.neu.attest.azure.net").unwrap();
    let (mut accepted, mut count) = (Vec::new(), 0);
    for file in ["json_web_signature", "json_web_key"] {
        let path = vectors.join(format!("wycheproof/{file}.json"));
        let document: Json = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for group in document["testGroups"].as_array().unwrap() {
            for test in group["tests"].as_array().unwrap() {
                count += 1;
                // One test is an object: the JSON serialization of RFC 7515, which is not a token.
                let Some(token) = test["jws"].as_str() else { continue };
                let public = &group["public"];
                let mut listed = public["keys"].as_array().into_iter().flatten().chain([public]);
                let expected = test["result"] == "valid" && listed.any(|key| key["alg"] == "RS256");
                assert_eq!(accepts(group, token), expected, "{file} {}: {}", test["tcId"], test["comment"]);
                if expected {
                    accepted.push((file, test["tcId"].as_u64().unwrap()));
                }
                // None of them is a token.
                if let Some(keys) = keys(group) {
                    let verdict = verify(token, &keys, &TokenExpectations::new(&issuer), UnixTime::from_secs(0));
                    let fits = match verdict {
                        Err(TokenError::MissingHeader { name }) => !expected || name == "typ",
                        Err(TokenError::NotJson { .. } | TokenError::PartCount { .. }) => !expected,
                        _ => false,
                    };
                    assert!(fits, "{file} {}", test["tcId"]);
                }
            }
        }
    }
    let signatures = [33, 259, 260, 261, 262, 263, 345, 349].map(|number| ("json_web_signature", number));
    assert_eq!((accepted, count), ([&signatures[..], &[("json_web_key", 5)]].concat(), 427));
}
