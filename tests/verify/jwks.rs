//! Step 2: the key sets of MAA instances, and sets that none of them would publish.

use crate::sign::{any_of_each_type, key_set, signer, stranger};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::maa::{KeySet, KeySetError, UnusableKey};
use blindbox_attestation::{JsonError, JsonType};
use serde_json::{Value, json};

/// Why the key is not used, beside one that is.
fn unusable(entry: &Value) -> Option<UnusableKey> {
    let mut entry = entry.clone();
    entry["kid"] = "odd".into();
    let keys = KeySet::from_json(&key_set(&[stranger().jwk("good"), entry])).unwrap();
    let usable: Vec<_> = keys.key_ids().collect();
    assert_eq!(usable[0], "good");
    let reason = keys.unusable().next().map(|(id, reason)| {
        assert_eq!(id, "odd");
        reason.clone()
    });
    assert_eq!(usable.len(), if reason.is_none() { 2 } else { 1 });
    reason
}

fn with(name: &str, value: Value) -> Value {
    let mut entry = signer().jwk("");
    entry[name] = value;
    entry
}

#[test]
fn a_key_set_is_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<KeySet>();
}

#[test]
fn the_sets_of_real_instances_are_read_without_their_short_keys() {
    let Some(vectors) = crate::common::vectors() else { return };
    let read = |name: &str| {
        let document = std::fs::read(vectors.join("maa-payload-only-aci").join(name)).unwrap();
        (KeySet::from_json(&document).unwrap(), document)
    };
    let too_short = |id| (id, &UnusableKey::WrongSize { bits: 1024 });

    let (keys, document) = read("jwks_sharedeus_2023.json");
    let ids = ["rFl9xM+g7TvX63y0iseZtIn20MD5SYAnGblKFasau8I=", "dSsaF5uUxZO_LRycmQ4KJu3ctMc"];
    assert_eq!(keys.key_ids().collect::<Vec<_>>(), ids);
    let short = too_short("lH/VQ9TL53cXpeFt3Vf9tiOv+rkWwV+5PbiNzgWcySQ=");
    assert_eq!(keys.unusable().collect::<Vec<_>>(), [short]);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &document);
    assert_eq!(keys.digest().as_bytes(), digest.as_ref());

    let (keys, _) = read("jwks_sharedweu_2023.json");
    assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["dRKh+hBcWUfQimSl3Iv6ZhStW3TSOt0ThwiTgUUqZAo="]);
    let short = too_short("wiFDMG11GDLqd14z3T/DUYh/ZmGaVfY0s29siGgYOJs=");
    assert_eq!(keys.unusable().collect::<Vec<_>>(), [short]);

    let (keys, _) = read("jwk_sharedwus_recovered.json");
    assert_eq!(keys.key_ids().count(), 1);
}

#[test]
fn a_key_comes_from_numbers_or_certificate_or_both_alike() {
    let numbers = signer().jwk("");
    let certificate = signer().jwk_x5c("", 100);
    assert_eq!(unusable(&numbers), None);
    assert_eq!(unusable(&certificate), None);
    assert_eq!(unusable(&with("x5c", certificate["x5c"].clone())), None);
    let of_another = stranger().jwk_x5c("", 100)["x5c"].clone();
    assert_eq!(unusable(&with("x5c", of_another)), Some(UnusableKey::CertificateOfAnotherKey));
    assert_eq!(unusable(&with("e", "Aw".into())), None, "the exponent 3 is small, and a key");
    let mut other_exponent = with("e", "Aw".into());
    other_exponent["x5c"] = certificate["x5c"].clone();
    assert_eq!(unusable(&other_exponent), Some(UnusableKey::CertificateOfAnotherKey));
    for name in ["n", "e"] {
        let mut without = numbers.clone();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(unusable(&without), Some(UnusableKey::NoKey));
    }
    assert_eq!(unusable(&json!({ "kty": "RSA" })), Some(UnusableKey::NoKey));
}

#[test]
fn a_certificate_may_carry_forty_kilobytes_and_a_chain() {
    let large = signer().jwk_x5c("", 30_000);
    assert!(large["x5c"][0].as_str().unwrap().len() > 40_000);
    assert_eq!(unusable(&large), None);
    // What follows the first certificate is neither trusted nor looked at.
    let mut chain = large;
    chain["x5c"].as_array_mut().unwrap().extend([json!("AAAA"), json!(5)]);
    assert_eq!(unusable(&chain), None);
}

#[test]
fn a_first_certificate_is_whole() {
    let x5c = |certificate: &[u8]| json!({ "kty": "RSA", "x5c": [STANDARD.encode(certificate)] });
    let good = signer().certificate(10);
    assert_eq!(unusable(&x5c(&good)), None);
    let elliptic = {
        let mut spki = vec![0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        spki.extend([6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 3, 0x42, 0, 4]);
        spki.extend([7; 64]);
        signer().certificate_of(&spki, 10)
    };
    let trailing = [&good[..], &[0]].concat();
    for entry in [
        x5c(&[]),
        x5c(&trailing),
        x5c(&good[..good.len() - 1]),
        x5c(signer().spki()),
        x5c(&elliptic),
        json!({ "kty": "RSA", "x5c": [] }),
        json!({ "kty": "RSA", "x5c": [null] }),
        json!({ "kty": "RSA", "x5c": [5] }),
        json!({ "kty": "RSA", "x5c": [URL_SAFE_NO_PAD.encode(&trailing)] }),
        with("x5c", json!(["not base64"])),
        with("x5c", json!([])),
    ] {
        assert_eq!(unusable(&entry), Some(UnusableKey::BadCertificate), "{entry}");
    }
}

#[test]
fn numbers_have_one_form_and_a_size() {
    let number = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    let modulus = |len: usize, first: u8| {
        let mut n = vec![0xff; len];
        n[0] = first;
        with("n", number(&n))
    };
    for (entry, bits) in
        [(modulus(128, 0xff), 1024), (modulus(256, 0x7f), 2047), (modulus(1025, 1), 8193), (modulus(1, 1), 1)]
    {
        assert_eq!(unusable(&entry), Some(UnusableKey::WrongSize { bits }));
    }
    for usable in [modulus(256, 0x80), modulus(1024, 0xff)] {
        assert_eq!(unusable(&usable), None);
    }
    // Exponents of up to 33 bits are used.
    for (exponent, refused) in [
        (&[1, 0, 1][..], None),
        (&[1, 0, 0, 0, 1], None),
        (&[2, 0, 0, 0, 1], Some(UnusableKey::NotAKey)),
        (&[1; 8], Some(UnusableKey::NotAKey)),
        (&[1; 9], Some(UnusableKey::NotAKey)),
    ] {
        assert_eq!(unusable(&with("e", number(exponent))), refused, "{exponent:?}");
    }
    let padded = with("n", number(&[&[0], signer().modulus()].concat()));
    assert_eq!(unusable(&padded), Some(UnusableKey::BadNumber { name: "n" }));
    for (name, text) in
        [("n", ""), ("e", ""), ("e", "AA"), ("e", "AQAB="), ("e", "AQ AB"), ("e", "AAEAAQ"), ("n", "+/+/")]
    {
        assert_eq!(unusable(&with(name, text.into())), Some(UnusableKey::BadNumber { name }), "{name} {text}");
    }
    let mut even = signer().modulus().to_vec();
    even[255] ^= 1;
    assert_eq!(unusable(&with("n", number(&even))), Some(UnusableKey::NotAKey));
    for exponent in [&[1][..], &[2], &[1, 0, 0], &[1; 9], &[0xff; 70_000]] {
        assert_eq!(unusable(&with("e", number(exponent))), Some(UnusableKey::NotAKey), "{exponent:?}");
    }
}

#[test]
fn a_key_is_for_rs256_signatures_or_is_not_used() {
    for kind in ["EC", "rsa", "oct", ""] {
        assert_eq!(unusable(&with("kty", kind.into())), Some(UnusableKey::WrongKeyType));
    }
    let mut no_kind = signer().jwk("");
    no_kind.as_object_mut().unwrap().remove("kty");
    assert_eq!(unusable(&no_kind), Some(UnusableKey::WrongKeyType));
    for algorithm in ["RS384", "PS256", "RSA-OAEP", "none", "HS256", "rs256", ""] {
        assert_eq!(unusable(&with("alg", algorithm.into())), Some(UnusableKey::WrongAlgorithm));
    }
    for usage in ["enc", "SIG", ""] {
        assert_eq!(unusable(&with("use", usage.into())), Some(UnusableKey::WrongUse));
    }
    for operations in [json!([]), json!(["sign"]), json!(["encrypt", "wrapKey"]), json!([5])] {
        assert_eq!(unusable(&with("key_ops", operations)), Some(UnusableKey::WrongUse));
    }
    assert_eq!(unusable(&with("key_ops", json!(["sign", "verify"]))), None);
    for name in ["alg", "use"] {
        let mut without = signer().jwk("");
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(unusable(&without), None);
    }
}

#[test]
fn members_of_another_type_make_a_key_unusable() {
    for name in ["kty", "alg", "use", "key_ops", "n", "e", "x5c"] {
        let expected = if ["key_ops", "x5c"].contains(&name) { JsonType::Array } else { JsonType::String };
        for (value, found) in any_of_each_type().into_iter().filter(|(_, found)| *found != expected) {
            assert_eq!(unusable(&with(name, value)), Some(UnusableKey::WrongType { name, expected, found }));
        }
    }
}

/// Powers of 65537 have the fingerprint of ROCA: they are powers of it modulo every prime.
#[test]
fn a_modulus_that_can_be_factored_is_refused() {
    // 65537^128 = 2^2048 + ...: the bytes of a number times 65537 are its own, added to themselves two bytes further on.
    let mut number = vec![1_u8];
    for _ in 0..128 {
        let mut product = vec![0_u8; number.len() + 2];
        let mut carry = 0_u16;
        for place in (0..product.len()).rev() {
            let low = place.checked_sub(2).map_or(0, |place| number[place]);
            let high = number.get(place).copied().unwrap_or(0);
            let sum = u16::from(low) + u16::from(high) + carry;
            product[place] = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        number = product;
    }
    let key = |n: &[u8]| json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB" });
    let digits = number.iter().position(|byte| *byte != 0).unwrap();
    assert_eq!(unusable(&key(&number[digits..])), Some(UnusableKey::WeakKey));
    *number.last_mut().unwrap() ^= 2;
    assert_eq!(unusable(&key(&number[digits..])), None);
}

#[test]
fn an_id_that_occurs_twice_names_no_key() {
    let mut short = signer().jwk("twice");
    short["n"] = "_w".into();
    for second in [stranger().jwk("twice"), signer().jwk("twice"), short] {
        let keys = KeySet::from_json(&key_set(&[signer().jwk("twice"), signer().jwk("once"), second])).unwrap();
        assert_eq!(keys.key_ids().collect::<Vec<_>>(), ["once"]);
        assert_eq!(keys.unusable().collect::<Vec<_>>(), [("twice", &UnusableKey::RepeatedId); 2]);
    }
}

#[test]
fn entries_that_no_one_can_name_are_left_out() {
    let mut nameless = signer().jwk("");
    nameless.as_object_mut().unwrap().remove("kid");
    let mut misnamed = signer().jwk("");
    misnamed["kid"] = 5.into();
    let keys =
        KeySet::from_json(&key_set(&[nameless, misnamed, json!("key"), Value::Null, signer().jwk("named")])).unwrap();
    assert_eq!((keys.key_ids().collect::<Vec<_>>(), keys.unusable().count()), (vec!["named"], 0));
}

#[test]
fn what_is_no_key_set_is_refused() {
    let refuse = |document: &[u8]| KeySet::from_json(document).map(|_| ()).unwrap_err();
    for document in ["[]", "{}", r#"{"keys":null}"#, r#"{"keys":{}}"#, r#"{"Keys":[]}"#, "null"] {
        assert_eq!(refuse(document.as_bytes()), KeySetError::Malformed, "{document}");
    }
    assert_eq!(refuse(b""), KeySetError::NotJson(JsonError::Syntax { at: 0 }));
    let duplicate = KeySetError::NotJson(JsonError::DuplicateMember { name: "n".into() });
    assert_eq!(refuse(br#"{"keys":[{"kid":"a","n":"x","n":"y"}]}"#), duplicate);
    assert_eq!(refuse(&key_set(&[])), KeySetError::NoUsableKey { entries: 0 });
    assert_eq!(refuse(&key_set(&[with("use", "enc".into())])), KeySetError::NoUsableKey { entries: 1 });

    let entries = |count: usize| key_set(&(0..count).map(|n| signer().jwk(&n.to_string())).collect::<Vec<_>>());
    assert_eq!(KeySet::from_json(&entries(64)).unwrap().key_ids().count(), 64);
    assert_eq!(refuse(&entries(65)), KeySetError::TooManyKeys { found: 65, max: 64 });

    let mut document = key_set(&[signer().jwk("a")]);
    document.resize(512 << 10, b' ');
    assert!(KeySet::from_json(&document).is_ok());
    document.push(b' ');
    assert_eq!(refuse(&document), KeySetError::TooLarge { len: (512 << 10) + 1, max: 512 << 10 });
}

#[test]
fn any_mutation_of_a_key_set_is_read_without_panic() {
    use proptest::prelude::*;
    let document = key_set(&[signer().jwk("a"), signer().jwk_x5c("b", 40), with("x5c", json!(["AAAA"]))]);
    let certificate = signer().certificate(40);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(at in any::<prop::sample::Index>(), byte in any::<u8>(), len in any::<prop::sample::Index>())| {
        let mut changed = document.clone();
        *at.get_mut(&mut changed) = byte;
        let _ = KeySet::from_json(&changed);
        changed.truncate(len.index(changed.len()));
        let _ = KeySet::from_json(&changed);
        let mut changed = certificate.clone();
        *at.get_mut(&mut changed) = byte;
        let _ = KeySet::from_json(&key_set(&[json!({ "kty": "RSA", "kid": "c", "x5c": [STANDARD.encode(&changed)] })]));
    });
}
