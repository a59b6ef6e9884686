//! Both crypto libraries refuse to seal to exactly the keys that are refused here.

use super::*;
use crate::crypto::sealing::Aead;
use crate::message::hpke::{PrivateKey, setup_sender};

/// Points of order 1, 2, 4 and 8 (RFC 7748 section 6.1), and what is read as one of them.
const LOW_ORDER: [&str; 9] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    // The highest bit is ignored (RFC 7748 section 5).
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn generated(kem: Kem) -> Vec<u8> {
    PrivateKey::generate(kem).unwrap().public_key().unwrap()
}

/// What is found here, and whether a message can be sealed.
fn both(kem: Kem, public_key: &[u8]) -> (Result<(), UnusableKey>, bool) {
    (check(kem, public_key), setup_sender(kem, Aead::Aes256Gcm, public_key, b"").is_ok())
}

#[test]
fn generated_keys_are_usable() {
    for kem in [Kem::X25519, Kem::XWing] {
        for _ in 0..10 {
            assert_eq!(both(kem, &generated(kem)), (Ok(()), true));
        }
    }
}

#[test]
fn keys_of_low_order_are_not() {
    for point in LOW_ORDER.map(|point| hex::decode(point).unwrap()) {
        assert_eq!(both(Kem::X25519, &point), (Err(UnusableKey::LowOrder), false), "{}", hex::encode(&point));
        let mut key = generated(Kem::XWing);
        key[ML_KEM_768_PUBLIC_KEY_LEN..].copy_from_slice(&point);
        assert_eq!(both(Kem::XWing, &key), (Err(UnusableKey::LowOrder), false), "{}", hex::encode(&point));
    }
    // Between p and 2^255: the coordinates 2 and 9 are of other points.
    for first in [0xef, 0xf6] {
        let mut point = hex::decode(LOW_ORDER[5]).unwrap();
        point[0] = first;
        assert_eq!(both(Kem::X25519, &point), (Ok(()), true), "{first}");
    }
}

/// The coefficients of the first, of another and of the last three bytes.
#[test]
fn coefficients_are_below_3329() {
    for at in [0, 3, 600, 1149] {
        let with = |triple: [u8; 3]| {
            let mut key = generated(Kem::XWing);
            key[at..at + 3].copy_from_slice(&triple);
            both(Kem::XWing, &key)
        };
        // 3328 twice, then 3329 as the first and as the second, then 4095.
        assert_eq!(with([0x00, 0x0d, 0xd0]), (Ok(()), true), "{at}");
        for triple in [[0x01, 0x0d, 0xd0], [0x00, 0x1d, 0xd0], [0xff, 0x0f, 0x00], [0x00, 0xf0, 0xff]] {
            assert_eq!(with(triple), (Err(UnusableKey::Coefficient), false), "{triple:02x?} at {at}");
        }
    }
    // What follows the coefficients is a seed, of any bytes.
    let mut key = generated(Kem::XWing);
    key[ML_KEM_768_PUBLIC_KEY_LEN - ML_KEM_768_SEED_LEN..ML_KEM_768_PUBLIC_KEY_LEN].fill(0xff);
    assert_eq!(both(Kem::XWing, &key), (Ok(()), true));
}

/// A page gives as many as one message takes.
#[cfg(blindbox_crypto = "rust")]
#[test]
fn no_random_bytes_are_drawn() {
    let key = generated(Kem::XWing);
    let given: Vec<u8> = (100..164).collect();
    let (found, drawn) = crate::crypto::host_random::with_host_random(given.clone().into(), || {
        (check(Kem::XWing, &key), crate::crypto::random_32())
    })
    .unwrap();
    assert_eq!((found, drawn.unwrap().as_slice()), (Ok(()), &given[..32]));
}
