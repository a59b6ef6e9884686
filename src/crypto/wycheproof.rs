//! Wycheproof's signatures through this file's entry points, each as its file says.

use serde_json::Value;

use super::{Curve, Hash, PublicKey, Scheme, ecdsa_der_of_fixed};

/// What Wycheproof calls acceptable, decided here: file, number of the test, whether the crate accepts it.
///
/// The hash's `AlgorithmIdentifier` in a PKCS#1 v1.5 signature lacks its NULL: a second encoding of one signature.
const ACCEPTABLE: [(&str, u64, bool); 1] = [("rsa_signature_2048_sha256", 8, false)];

/// Runs `accepts(group, message, signature)` over every test of a file; `None` without vectors, which is said aloud.
pub(crate) fn each(file: &str, accepts: impl Fn(&Value, &[u8], &[u8]) -> bool) -> Option<usize> {
    let path = crate::vectors::vectors()?.join(format!("wycheproof/{file}.json"));
    let document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let bytes = |test: &Value, name: &str| hex::decode(test[name].as_str().unwrap()).unwrap();
    let mut count: usize = 0;
    for group in document["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            let number = test["tcId"].as_u64().unwrap();
            let expected = match test["result"].as_str().unwrap() {
                "valid" => true,
                "invalid" => false,
                _ => ACCEPTABLE.iter().find(|(of, id, _)| *of == file && *id == number).unwrap().2,
            };
            let accepted = accepts(group, &bytes(test, "msg"), &bytes(test, "sig"));
            assert_eq!(accepted, expected, "{file} {number}: {}", test["comment"]);
            count = count.saturating_add(1);
        }
    }
    assert_eq!(Some(count), document["numberOfTests"].as_u64().map(|number| usize::try_from(number).unwrap()));
    Some(count)
}

fn key(scheme: Scheme, group: &Value) -> Option<PublicKey> {
    PublicKey::from_der(scheme, &hex::decode(group["publicKeyDer"].as_str().unwrap()).unwrap()).ok()
}

#[test]
fn ecdsa_of_reports() {
    each("ecdsa_secp384r1_sha384_p1363", |group, message, signature| {
        key(Scheme::EcdsaP384Sha384, group).unwrap().verify(message, signature).is_ok()
    });
}

#[test]
fn ecdsa_of_endorsements() {
    for (file, curve, hash) in [
        ("ecdsa_secp256r1_sha256_p1363", Curve::P256, Hash::Sha256),
        ("ecdsa_secp384r1_sha384_p1363", Curve::P384, Hash::Sha384),
        ("ecdsa_secp521r1_sha512_p1363", Curve::P521, Hash::Sha512),
    ] {
        each(file, |group, message, signature| {
            let key = key(Scheme::EcdsaDer(curve, hash), group).unwrap();
            ecdsa_der_of_fixed(curve, signature).is_some_and(|der| key.verify(message, &der).is_ok())
        });
    }
}

#[test]
fn rsa() {
    for (file, scheme) in [
        ("rsa_signature_2048_sha256", Scheme::RsaPkcs1Sha256),
        ("rsa_pss_2048_sha256_mgf1_32", Scheme::RsaPssSha256),
        ("rsa_pss_4096_sha384_mgf1_48", Scheme::RsaPssSha384),
    ] {
        each(file, |group, message, signature| key(scheme, group).unwrap().verify(message, signature).is_ok());
    }
}

/// All of this file's signatures are good under the parameters that they name. A scheme accepts those that name its own
/// parameters, and no other.
#[test]
fn rsa_pss_with_other_parameters_is_refused() {
    let schemes = [
        (Scheme::RsaPssSha256, "SHA-256", 32),
        (Scheme::RsaPssSha384, "SHA-384", 48),
        (Scheme::RsaPssSha512, "SHA-512", 64),
    ];
    let fits = std::cell::Cell::new(0);
    let run = each("rsa_pss_misc_params", |group, message, signature| {
        // The key as PKCS#1: in the other form it is one for PSS only, which nothing in this field uses.
        let bare = hex::decode(group["publicKeyAsn"].as_str().unwrap()).unwrap();
        for (scheme, hash, salt) in schemes {
            let is_own = group["sha"] == hash && group["mgfSha"] == hash && group["sLen"] == salt;
            fits.set(fits.get() + usize::from(is_own));
            let key = PublicKey::from_der(scheme, &bare).unwrap();
            assert_eq!(key.verify(message, signature).is_ok(), is_own, "{scheme:?}: {group}");
        }
        true
    });
    assert!(run.is_none() || fits.get() > 0, "no signature of the file has the parameters of a scheme");
}
