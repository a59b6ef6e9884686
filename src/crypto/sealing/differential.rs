//! Both crypto libraries on the same keys and texts: what one seals, the other opens, and both refuse the same.

#![cfg(all(feature = "crypto-aws-lc", feature = "crypto-rust"))]
#![allow(clippy::arithmetic_side_effects, reason = "the lengths of a fixture")]

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

/// Of every length around the sizes of blocks.
fn texts() -> Vec<Vec<u8>> {
    [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 135, 136, 137, 1_000, 16_384].map(|len| vec![0x5a; len]).to_vec()
}

#[test]
fn digests_and_derived_keys_are_the_same() {
    for text in texts() {
        let (one, two) = text.split_at(text.len() / 2);
        assert_eq!(*rust::sha3_256(&[one, two]).unwrap(), *aws_lc::sha3_256(&[&text]).unwrap());
        let prk = rust::hkdf_extract(&text, &[one, b"", two]).unwrap();
        assert_eq!(*prk, *aws_lc::hkdf_extract(&text, &[&text]).unwrap());
        let (mut rust, mut aws_lc) = (vec![0; text.len().min(8_160)], vec![0; text.len().min(8_160)]);
        rust::hkdf_expand(&prk, &[one, two], &mut rust).unwrap();
        aws_lc::hkdf_expand(&prk, &[&text], &mut aws_lc).unwrap();
        assert_eq!(rust, aws_lc);
    }
    let mut too_long = vec![0; 8_161];
    assert_eq!(rust::hkdf_expand(&[1; 32], &[], &mut too_long), Err(SealingError));
    assert_eq!(aws_lc::hkdf_expand(&[1; 32], &[], &mut too_long), Err(SealingError));
}

#[test]
fn what_one_encrypts_the_other_decrypts() {
    for aead in [Aead::Aes128Gcm, Aead::Aes256Gcm] {
        let key = vec![0x42; aead.key_len()];
        let (rust, aws_lc) = (rust::AeadKey::new(aead, &key).unwrap(), aws_lc::AeadKey::new(aead, &key).unwrap());
        for text in texts() {
            let (mut one, mut other) = (text.clone(), text.clone());
            let tag = rust.seal([9; NONCE_LEN], b"final", &mut one).unwrap();
            assert_eq!(aws_lc.seal([9; NONCE_LEN], b"final", &mut other), Ok(tag));
            assert_eq!(one, other);
            one.extend(tag);
            let mut other = one.clone();
            assert_eq!(rust.open([9; NONCE_LEN], b"final", &mut one), Ok(text.len()));
            assert_eq!(aws_lc.open([9; NONCE_LEN], b"final", &mut other), Ok(text.len()));
            assert_eq!([&one[..text.len()], &other[..text.len()]], [&*text; 2]);
        }
    }
}

#[test]
fn what_was_changed_opens_in_neither() {
    let (aead, nonce) = (Aead::Aes256Gcm, [9; NONCE_LEN]);
    let (rust, aws_lc) = (rust::AeadKey::new(aead, &[7; 32]).unwrap(), aws_lc::AeadKey::new(aead, &[7; 32]).unwrap());
    let mut sealed = b"twenty bytes of text".to_vec();
    let tag = rust.seal(nonce, b"", &mut sealed).unwrap();
    sealed.extend(tag);
    let refused = |nonce, aad: &[u8], changed: &[u8]| {
        assert_eq!(rust.open(nonce, aad, &mut changed.to_vec()), Err(SealingError));
        assert_eq!(aws_lc.open(nonce, aad, &mut changed.to_vec()), Err(SealingError));
    };
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        refused(nonce, b"", &changed);
    }
    for len in 0..sealed.len() {
        refused(nonce, b"", &sealed[..len]);
    }
    refused(nonce, b"final", &sealed);
    refused([8; NONCE_LEN], b"", &sealed);
    for len in [0, 16, 31, 33] {
        assert_eq!(rust::AeadKey::new(aead, &vec![7; len]).err(), Some(SealingError), "a key of {len} bytes");
        assert_eq!(aws_lc::AeadKey::new(aead, &vec![7; len]).err(), Some(SealingError), "a key of {len} bytes");
    }
}

#[test]
fn x25519_agrees_on_secrets_and_refusals() {
    for byte in 0..32 {
        let private = [byte; 32];
        let rust = rust::X25519PrivateKey::from_bytes(&private).unwrap();
        let aws_lc = aws_lc::X25519PrivateKey::from_bytes(&private).unwrap();
        assert_eq!(rust.public_key(), aws_lc.public_key());
        for peer in [
            rust::X25519PrivateKey::generate().unwrap().public_key().unwrap(),
            aws_lc::X25519PrivateKey::generate().unwrap().public_key().unwrap(),
        ] {
            assert_eq!(*rust.agree(&peer).unwrap(), *aws_lc.agree(&peer).unwrap());
        }
        // A key that is not reduced, and one with the bit that RFC 7748 section 5 has ignored.
        for peer in [[0xff; 32], [byte | 0x80; 32]] {
            assert_eq!(rust.agree(&peer).map(|secret| *secret), aws_lc.agree(&peer).map(|secret| *secret));
        }
        for point in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            assert_eq!(rust.agree(&bytes(point)), Err(SealingError), "{point}");
            assert_eq!(aws_lc.agree(&bytes(point)), Err(SealingError), "{point}");
        }
        for len in [0, 31, 33] {
            assert_eq!(rust.agree(&vec![9; len]), Err(SealingError));
            assert_eq!(aws_lc.agree(&vec![9; len]), Err(SealingError));
        }
    }
}

#[test]
fn ml_kem_agrees_in_both_directions() {
    let (rust, aws_lc) =
        (rust::MlKem768PrivateKey::generate().unwrap(), aws_lc::MlKem768PrivateKey::generate().unwrap());
    let (ciphertext, secret) = rust::ml_kem_768_encapsulate(&aws_lc.public_key().unwrap()).unwrap();
    assert_eq!(*aws_lc.decapsulate(&ciphertext).unwrap(), *secret);
    let (ciphertext, secret) = aws_lc::ml_kem_768_encapsulate(&rust.public_key().unwrap()).unwrap();
    assert_eq!(*rust.decapsulate(&ciphertext).unwrap(), *secret);
    // FIPS 203 section 6.3: another ciphertext gives another secret, and no error.
    let mut changed = ciphertext.clone();
    changed[0] ^= 1;
    assert_ne!(*rust.decapsulate(&changed).unwrap(), *secret);
    for len in [0, ML_KEM_768_CIPHERTEXT_LEN - 1, ML_KEM_768_CIPHERTEXT_LEN + 1] {
        assert_eq!(rust.decapsulate(&vec![0; len]).err(), Some(SealingError));
        assert_eq!(aws_lc.decapsulate(&vec![0; len]).err(), Some(SealingError));
    }
}

/// FIPS 203 section 7.2: the length, and coefficients below 3329.
#[test]
fn keys_that_are_none_of_ml_kem_are_refused_by_both() {
    let good = rust::MlKem768PrivateKey::generate().unwrap().public_key().unwrap();
    let refused = |key: &[u8]| {
        assert_eq!(rust::ml_kem_768_encapsulate(key).err(), Some(SealingError));
        assert_eq!(aws_lc::ml_kem_768_encapsulate(key).err(), Some(SealingError));
    };
    for at in [0, 3, 384, 1_149] {
        // 3329 and 4095, as the first of the two coefficients in three bytes.
        for coefficient in [[0x01, 0x0d], [0xff, 0x0f]] {
            let mut key = good.clone();
            key[at..at + 2].copy_from_slice(&coefficient);
            refused(&key);
        }
    }
    for len in [0, ML_KEM_768_PUBLIC_KEY_LEN - 1] {
        refused(&good[..len]);
    }
    refused(&[good.as_slice(), &[0]].concat());
}

/// The first vector of draft-connolly-cfrg-xwing-kem appendix C, with the keys that SHAKE-256 makes of its seed.
#[test]
fn a_vector_of_x_wing() {
    let seed = bytes(
        "c44829d2b269887f6150dfaee5a25a704cbc607e57d18a2ffc8734633333cff0\
         f0fc6fa4e4827531168087ef223e9b070c5a78a789fd46d4c604d69b1139d4da",
    );
    let ml_kem = rust::MlKem768PrivateKey::from_seed(&seed.try_into().unwrap());
    let x25519 =
        rust::X25519PrivateKey::from_bytes(&bytes("cd3f2cce66ed130e5e73a0ebd454e15488885a2a1544252a20e0f58b6e8fc27b"));
    let x25519 = x25519.unwrap();
    let random = bytes("3cb1eea988004b93103cfb0aeefd2a686e01fa4a58e8a3639ca8a1e3f9ae57e2").try_into().unwrap();
    let ephemeral = bytes("35b8cc873c23dc62b8d260169afa2f75ab916a58d974918835d25e6a435085b2");
    let ephemeral = rust::X25519PrivateKey::from_bytes(&ephemeral).unwrap();
    let (ciphertext, post_quantum) = rust::encapsulate_with(&ml_kem.public_key().unwrap(), &random).unwrap();
    assert_eq!(*ml_kem.decapsulate(&ciphertext).unwrap(), *post_quantum);
    let public_key = x25519.public_key().unwrap();
    let classical = ephemeral.agree(&public_key).unwrap();
    let parts = [
        post_quantum.as_slice(),
        classical.as_slice(),
        &ephemeral.public_key().unwrap(),
        &public_key,
        br"\.//^\".as_slice(),
    ];
    let expected = "d2df0522128f09dd8e2c92b1e905c793d8f57a54c3da25861f10bf4ca613e384";
    assert_eq!(hex::encode(*rust::sha3_256(&parts).unwrap()), expected);
    assert_eq!(hex::encode(*aws_lc::sha3_256(&parts).unwrap()), expected);
}

/// The expanded form of a key (FIPS 203 algorithm 16), as test vectors give it.
#[test]
fn an_expanded_key_of_ml_kem_is_the_same_in_both() {
    let parts: String = include_str!("../../message/x_wing_private_key.hex").split_whitespace().collect();
    let expanded = &bytes(&parts)[..2_400];
    let rust = rust::MlKem768PrivateKey::from_expanded(expanded).unwrap();
    let aws_lc = aws_lc::MlKem768PrivateKey::from_expanded(expanded).unwrap();
    let (ciphertext, secret) = rust::ml_kem_768_encapsulate(&rust.public_key().unwrap()).unwrap();
    assert_eq!(*rust.decapsulate(&ciphertext).unwrap(), *secret);
    assert_eq!(*aws_lc.decapsulate(&ciphertext).unwrap(), *secret);
    for len in [0, 2_399] {
        assert_eq!(rust::MlKem768PrivateKey::from_expanded(&expanded[..len]).err(), Some(SealingError));
        assert_eq!(aws_lc::MlKem768PrivateKey::from_expanded(&expanded[..len]).err(), Some(SealingError));
    }
}
