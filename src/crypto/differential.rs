//! Both crypto libraries on the same keys and signatures, good and broken: the verdicts must be the same.
//!
//! `differential.json` has keys and signatures that OpenSSL made, of sizes on both sides of each limit.

#![cfg(all(feature = "crypto-aws-lc", feature = "crypto-rust"))]
#![allow(clippy::arithmetic_side_effects, reason = "the lengths and digits of a fixture")]

use std::collections::BTreeSet;

use serde_json::Value;

use super::encoding::{KeyNumbers, ecdsa_fixed_of_der, is_signature_of};
use super::{Curve, Hash, Scheme, aws_lc, rust};

const RSA_SCHEMES: [(&str, Scheme); 6] = [
    ("RsaPkcs1Sha256", Scheme::RsaPkcs1Sha256),
    ("RsaPkcs1Sha384", Scheme::RsaPkcs1Sha384),
    ("RsaPkcs1Sha512", Scheme::RsaPkcs1Sha512),
    ("RsaPssSha256", Scheme::RsaPssSha256),
    ("RsaPssSha384", Scheme::RsaPssSha384),
    ("RsaPssSha512", Scheme::RsaPssSha512),
];

/// The orders of the curves (SP 800-186 section 3.2.1).
const ORDERS: [(Curve, &str); 3] = [
    (Curve::P256, "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    (Curve::P384, "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"),
    (
        Curve::P521,
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    ),
];

fn fixture() -> Value {
    serde_json::from_str(include_str!("differential.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// A key in both libraries.
struct Both {
    scheme: Scheme,
    aws_lc: aws_lc::PublicKey,
    rust: rust::PublicKey,
}

impl Both {
    /// `None` if both refuse the key.
    fn read(scheme: Scheme, spki: &[u8]) -> Option<Self> {
        let numbers = KeyNumbers::read(scheme, spki)?;
        match (aws_lc::PublicKey::new(scheme, &numbers), rust::PublicKey::new(scheme, &numbers)) {
            (Some(aws_lc), Some(rust)) => Some(Self { scheme, aws_lc, rust }),
            (None, None) => None,
            (aws_lc, _) => panic!("{scheme:?}: one library accepts a key, AWS-LC: {}", aws_lc.is_some()),
        }
    }

    /// The verdict of both.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        if !is_signature_of(self.scheme, signature) {
            return false;
        }
        let [aws_lc, rust] = [self.aws_lc.verifies(message, signature), self.rust.verifies(message, signature)];
        assert_eq!(rust, aws_lc, "{:?}: {}", self.scheme, hex::encode(signature));
        aws_lc
    }
}

/// Changed copies: a bit of every `step`th byte, other lengths, and numbers at the limits.
fn broken(signature: &[u8], step: usize) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..signature.len())
        .step_by(step)
        .map(|at| {
            let mut flipped = signature.to_vec();
            flipped[at] ^= 1 << (at % 8);
            flipped
        })
        .collect();
    all.push(signature[1..].to_vec());
    all.push(signature[..signature.len() - 1].to_vec());
    all.push([&[0], signature].concat());
    all.push([signature, &[0]].concat());
    all.push(Vec::new());
    all.push(vec![0; signature.len()]);
    all.push(vec![0xff; signature.len()]);
    all
}

#[test]
fn rsa_signatures_get_the_same_verdicts() {
    let fixture = fixture();
    let message = bytes(&fixture["message"]);
    let mut accepted = BTreeSet::new();
    for key in fixture["rsa"].as_array().unwrap() {
        let (bits, spki) = (key["bits"].as_u64().unwrap(), bytes(&key["spki"]));
        for (name, scheme) in RSA_SCHEMES {
            let both = Both::read(scheme, &spki);
            assert_eq!(both.is_some(), (2048..=8192).contains(&bits), "{bits} bits");
            let (Some(both), Some(signature)) = (both, key["signatures"].get(name)) else { continue };
            let signature = bytes(signature);
            assert!(both.verifies(&message, &signature), "{bits} bits: {name}");
            accepted.insert((bits, name));
            assert!(!both.verifies(b"another message", &signature));
            let step = if bits > 2100 { 257 } else { 61 };
            for changed in broken(&signature, step) {
                assert!(!both.verifies(&message, &changed), "{bits} bits: {name}");
            }
            // The same number modulo n: s + n, where it fits.
            let KeyNumbers::Rsa { modulus, .. } = KeyNumbers::read(scheme, &spki).unwrap() else { unreachable!() };
            if let Some(sum) = sum(&signature, modulus) {
                assert!(!both.verifies(&message, &sum), "{bits} bits: {name}");
            }
            // A signature of another scheme.
            for (other, signature) in key["signatures"].as_object().unwrap() {
                assert_eq!(both.verifies(&message, &bytes(signature)), other == name, "{name} for {other}");
            }
        }
    }
    assert!(accepted.len() > 60, "{accepted:?}");
}

/// Numbers that are no key of a proper size: the same for both libraries, which get none of them.
#[test]
fn rsa_keys_beyond_the_limits_are_refused() {
    let integer = |number: &[u8]| {
        let zero: &[u8] = if number.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
        element(0x02, &[zero, number].concat())
    };
    let key = |modulus: &[u8], exponent: &[u8]| element(0x30, &[integer(modulus), integer(exponent)].concat());
    let modulus = |len: usize, first: u8| [&[first], &*vec![0xa5; len - 2], &[1]].concat();
    let read = |der: &[u8]| Both::read(Scheme::RsaPkcs1Sha256, der).is_some();
    let usual = [1, 0, 1];
    for (len, first, expected) in [
        (255, 0xff, false),
        (256, 0x7f, false),
        (256, 0x80, true),
        (257, 1, true),
        (1024, 0xff, true),
        (1025, 1, false),
    ] {
        assert_eq!(read(&key(&modulus(len, first), &usual)), expected, "{len} bytes, first {first}");
    }
    let good = modulus(256, 0xc0);
    for (exponent, expected) in [
        (&[1_u8][..], false),
        (&[2], false),
        (&[3], true),
        (&[4], false),
        (&[1, 0, 0], false),
        (&[1, 0xff, 0xff, 0xff, 0xff], true),
        (&[2, 0, 0, 0, 1], false),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 1], false),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3], false),
    ] {
        assert_eq!(read(&key(&good, exponent)), expected, "{exponent:?}");
    }
    let even = [&good[..255], &[2]].concat();
    assert!(!read(&key(&even, &usual)));
    // Other encodings of the same numbers.
    for other in [
        element(0x30, &[element(0x02, &[&[0, 0], &good[..]].concat()), integer(&usual)].concat()),
        element(0x30, &[element(0x02, &good), integer(&usual)].concat()),
        element(0x30, &[integer(&good), element(0x02, &[0, 1, 0, 1])].concat()),
        element(0x30, &[integer(&good), integer(&usual), integer(&usual)].concat()),
        [key(&good, &usual), vec![0]].concat(),
        element(0x30, &[integer(&good), element(0x02, &[])].concat()),
    ] {
        assert!(!read(&other));
    }
}

#[test]
fn ecdsa_signatures_get_the_same_verdicts() {
    let fixture = fixture();
    let message = bytes(&fixture["message"]);
    let mut count = 0;
    for entry in fixture["ecdsa"].as_array().unwrap() {
        let curve = ORDERS.iter().find(|(curve, _)| format!("{curve:?}") == entry["curve"].as_str().unwrap());
        let (curve, order) = curve.map(|(curve, order)| (*curve, hex::decode(order).unwrap())).unwrap();
        let hashes = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
        let hash = hashes.into_iter().find(|hash| format!("{hash:?}") == entry["hash"].as_str().unwrap()).unwrap();
        let scheme = Scheme::EcdsaDer(curve, hash);
        let spki = bytes(&entry["spki"]);
        let both = Both::read(scheme, &spki).unwrap();
        for signature in entry["signatures"].as_array().unwrap().iter().map(bytes) {
            assert!(both.verifies(&message, &signature), "{scheme:?}");
            assert!(!both.verifies(b"another message", &signature));
            for changed in broken(&signature, 3) {
                assert!(!both.verifies(&message, &changed), "{scheme:?}: {}", hex::encode(changed));
            }
            let fixed = ecdsa_fixed_of_der(curve, &signature).unwrap();
            let (r, s) = fixed.split_at(curve.number_len());
            let der = |r: &[u8], s: &[u8]| element(0x30, &[unsigned(r), unsigned(s)].concat());
            assert_eq!(der(r, s), signature);
            // ECDSA accepts s and n - s alike (FIPS 186-5 section 6.4.2), and so do both.
            let other = difference(&order, s);
            assert!(both.verifies(&message, &der(r, &other)));
            // Numbers outside of 1 to n - 1, and r of another residue.
            for (r, s) in [(s, r), (&order, s), (r, &order), (&[0], s), (r, &[0])] {
                assert!(!both.verifies(&message, &der(r, s)));
            }
            for (r, s) in [(sum(r, &order), Some(s.to_vec())), (Some(r.to_vec()), sum(s, &order))] {
                if let (Some(r), Some(s)) = (r, s) {
                    assert!(!both.verifies(&message, &der(&r, &s)));
                }
            }
            // Other encodings of the same numbers.
            let (plain_r, plain_s) = (unsigned(r), unsigned(s));
            let padded = element(0x02, &[&[0, 0], r].concat());
            let contents = [&plain_r[..], &plain_s].concat();
            let long_length = match contents.len() {
                0..=127 => [&[0x30, 0x81], &signature[1..]].concat(),
                _ => [&[0x30, 0x82, 0], &signature[2..]].concat(),
            };
            for encoding in [
                element(0x30, &[&padded[..], &plain_s].concat()),
                element(0x30, &[&contents[..], &[5, 0]].concat()),
                element(0x31, &contents),
                [&[0x30, 0x80], &contents[..], &[0, 0]].concat(),
                long_length,
                fixed.clone(),
            ] {
                assert!(!both.verifies(&message, &encoding), "{scheme:?}: {}", hex::encode(encoding));
            }
            count += 1;
        }
        if (curve, hash) == (Curve::P384, Hash::Sha384) {
            let both = Both::read(Scheme::EcdsaP384Sha384, &spki).unwrap();
            let fixed = ecdsa_fixed_of_der(curve, &bytes(&entry["signatures"][0])).unwrap();
            assert!(both.verifies(&message, &fixed));
            for changed in broken(&fixed, 1) {
                assert!(!both.verifies(&message, &changed));
            }
        }
    }
    assert!(count >= 9, "{count}");
}

/// Every bit of each key: refused by both libraries, or accepted by both and then no key of the signature.
#[test]
fn changed_points_get_the_same_verdicts() {
    let fixture = fixture();
    let message = bytes(&fixture["message"]);
    for entry in fixture["ecdsa"].as_array().unwrap().iter().filter(|entry| entry["hash"] == "Sha384") {
        let curve =
            ORDERS.iter().find(|(curve, _)| format!("{curve:?}") == entry["curve"].as_str().unwrap()).unwrap().0;
        let (spki, signature) = (bytes(&entry["spki"]), bytes(&entry["signatures"][0]));
        for at in (0..spki.len() * 8).step_by(7) {
            let mut changed = spki.clone();
            changed[at / 8] ^= 1 << (at % 8);
            let both = Both::read(Scheme::EcdsaDer(curve, Hash::Sha384), &changed);
            assert!(both.is_none_or(|both| !both.verifies(&message, &signature)), "bit {at}");
        }
        let point = &spki[spki.len() - 2 * curve.number_len() - 1..];
        let algorithm = &spki[2..spki.len() - point.len() - 3];
        let compressed = [&[2 | (point[point.len() - 1] & 1)], &point[1..=curve.number_len()]].concat();
        let hybrid = [&[6 | (point[point.len() - 1] & 1)], &point[1..]].concat();
        let of = |bits: &[u8]| element(0x30, &[algorithm, &element(0x03, &[&[0], bits].concat())].concat());
        let read = |der: &[u8]| Both::read(Scheme::EcdsaDer(curve, Hash::Sha384), der).is_some();
        if algorithm.first() == Some(&0x30) {
            assert!(read(&of(point)), "{curve:?}");
        }
        for other in [of(&compressed), of(&hybrid), of(&[0]), of(&[]), point.to_vec(), compressed] {
            assert!(!read(&other), "{curve:?}: {}", hex::encode(other));
        }
    }
}

#[test]
fn digests_are_the_same() {
    for len in [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000, 100_000] {
        let data: Vec<u8> = (0..len).map(|at: u32| at.to_le_bytes()[0]).collect();
        assert_eq!(rust::sha1(&data), aws_lc::sha1(&data));
        assert_eq!(rust::sha256(&data), aws_lc::sha256(&data));
        assert_eq!(rust::sha384(&data), aws_lc::sha384(&data));
        assert_eq!(rust::sha512(&data), aws_lc::sha512(&data));
    }
}

#[test]
fn comparisons_are_the_same() {
    for (a, b) in
        [(&b""[..], &b""[..]), (b"a", b""), (b"a", b"a"), (b"a", b"b"), (b"ab", b"a"), (b"ab", b"ab"), (b"ab", b"aB")]
    {
        assert_eq!(rust::constant_time_eq(a, b), a == b);
        assert_eq!(aws_lc::constant_time_eq(a, b), a == b);
    }
}

#[test]
fn random_bytes_differ() {
    for fill in [rust::fill_random, aws_lc::fill_random] {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        fill(&mut one).unwrap();
        fill(&mut other).unwrap();
        assert!(one != other && one != [0; 32]);
    }
}

/// An element of DER with its length in the shortest form.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let header = match len {
        [0, low @ 0..=0x7f] => vec![tag, low],
        [0, low] => vec![tag, 0x81, low],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [&header, contents].concat()
}

/// A number as a DER `INTEGER`.
fn unsigned(number: &[u8]) -> Vec<u8> {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1);
    let digits = &number[start..];
    let zero: &[u8] = if digits[0] & 0x80 == 0 { &[] } else { &[0] };
    element(0x02, &[zero, digits].concat())
}

/// The sum of two numbers of one length; `None` if it is longer.
fn sum(a: &[u8], b: &[u8]) -> Option<Vec<u8>> {
    let mut carry = 0_u16;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let digit = u16::from(*a) + u16::from(*b) + carry;
            carry = digit >> 8;
            digit.to_le_bytes()[0]
        })
        .collect();
    digits.reverse();
    (carry == 0).then_some(digits)
}

/// The difference of two numbers of one length, the larger first.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let digit = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(digit < 0);
            digit.rem_euclid(256).to_le_bytes()[0]
        })
        .collect();
    digits.reverse();
    digits
}
