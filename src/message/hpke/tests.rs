//! RFC 9180 appendix A.1.1, and the crate `hpke` on the other end.

use ::hpke::aead::AesGcm256;
use ::hpke::kdf::HkdfSha256;
use ::hpke::kem::{X25519HkdfSha256, XWing};
use ::hpke::{Deserializable, OpModeR, OpModeS, Serializable};

use super::*;

const TEXT: &[u8] = b"Beauty is truth, truth beauty";
const INFO: &[u8] = b"Ode on a Grecian Urn";

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn x25519(hex: &str) -> X25519PrivateKey {
    X25519PrivateKey::from_bytes(&bytes(hex)).unwrap()
}

fn exported(exporter: &Exporter, label: &[u8]) -> String {
    let mut out = [0; 32];
    exporter.export(label, &mut out).unwrap();
    hex::encode(out)
}

/// RFC 9180 appendix A.1.1: X25519, HKDF-SHA256, AES-128-GCM, base mode.
#[test]
fn vectors_of_rfc_9180() {
    let recipient = PrivateKey::X25519(x25519("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"));
    let public_key = recipient.public_key().unwrap();
    assert_eq!(hex::encode(&public_key), "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
    let ephemeral = x25519("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736");
    let mut sender =
        setup_sender_with(Kem::X25519, Aead::Aes128Gcm, &public_key, INFO, &ephemeral, ml_kem_768_encapsulate).unwrap();
    assert_eq!(hex::encode(&sender.encapsulated), "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431");
    let (mut context, exporter) = setup_recipient(&recipient, Aead::Aes128Gcm, &sender.encapsulated, INFO).unwrap();
    for (number, expected) in [
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
        "af2d7e9ac9ae7e270f46ba1f975be53c09f8d875bdc8535458c2494e8a6eab251c03d0c22a56b8ca42c2063b84",
        "498dfcabd92e8acedc281e85af1cb4e3e31c7dc394a1ca20e173cb72516491588d96a19ad4a683518973dcc180",
    ]
    .into_iter()
    .enumerate()
    {
        let aad = format!("Count-{number}");
        let sealed = sender.context.seal(aad.as_bytes(), TEXT).unwrap();
        assert_eq!(hex::encode(&sealed), expected);
        assert_eq!(context.open(aad.as_bytes(), (&*sealed).into()).unwrap(), TEXT);
    }
    for (label, expected) in [
        (b"".as_slice(), "3853fe2b4035195a573ffc53856e77058e15d9ea064de3e59f4961d0095250ee"),
        (b"\0", "2e8f0b54673c7029649d4eb9d5e33bf1872cf76d623ff164ac185da9e88c21a5"),
        (b"TestContext", "e9e43065102c3836401bed8c3c3c75ae46be1639869391d62c61f1ec7af54931"),
    ] {
        assert_eq!(exported(&sender.exporter, label), expected);
        assert_eq!(exported(&exporter, label), expected);
    }
}

/// The 256th text: its nonce differs in the second byte too.
#[test]
fn the_counter_goes_through_every_byte() {
    let mut context = AeadContext::new(Aead::Aes256Gcm, &[7; 32], [0; NONCE_LEN]).unwrap();
    let nonces: Vec<_> = (0..300).map(|_| context.next_nonce().unwrap()).collect();
    assert_eq!(nonces[255], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]);
    assert_eq!(nonces[256], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    context.next = u64::MAX;
    assert_eq!(context.next_nonce(), Err(SealingError), "a nonce that follows the last would be the first");
}

/// What the other end seals is opened here, and the reverse, with the same exports.
fn assert_agrees<K: ::hpke::Kem>(kem: Kem) {
    let (aead, label) = (Aead::Aes256Gcm, b"message/bhttp chunked response".as_slice());
    let recipient = PrivateKey::generate(kem).unwrap();
    let their_copy = K::PublicKey::from_bytes(&recipient.public_key().unwrap()).unwrap();
    let (encapsulated, mut theirs) =
        ::hpke::setup_sender::<AesGcm256, HkdfSha256, K>(&OpModeS::Base, &their_copy, INFO).unwrap();
    let (mut ours, exporter) = setup_recipient(&recipient, aead, &encapsulated.to_bytes(), INFO).unwrap();
    let mut their_export = [0; 32];
    for aad in [b"".as_slice(), b"final"] {
        assert_eq!(ours.open(aad, (&*theirs.seal(TEXT, aad).unwrap()).into()).unwrap(), TEXT);
    }
    theirs.export(label, &mut their_export).unwrap();
    assert_eq!(exported(&exporter, label), hex::encode(their_export));

    let (secret_key, public_key) = K::gen_keypair();
    let mut sender = setup_sender(kem, aead, &public_key.to_bytes(), INFO).unwrap();
    let encapsulated = K::EncappedKey::from_bytes(&sender.encapsulated).unwrap();
    let mut theirs =
        ::hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(&OpModeR::Base, &secret_key, &encapsulated, INFO).unwrap();
    for aad in [b"".as_slice(), b"final"] {
        assert_eq!(theirs.open(&sender.context.seal(aad, TEXT).unwrap(), aad).unwrap(), TEXT);
    }
    theirs.export(label, &mut their_export).unwrap();
    assert_eq!(exported(&sender.exporter, label), hex::encode(their_export));
}

#[test]
fn x25519_agrees_with_the_crate_hpke() {
    assert_agrees::<X25519HkdfSha256>(Kem::X25519);
}

#[test]
fn x_wing_agrees_with_the_crate_hpke() {
    assert_agrees::<XWing>(Kem::XWing);
}

/// A sender's context and a recipient's that do not belong together share nothing.
#[test]
fn another_key_info_or_encapsulated_key_opens_nothing() {
    for kem in [Kem::X25519, Kem::XWing] {
        let (right, wrong) = (PrivateKey::generate(kem).unwrap(), PrivateKey::generate(kem).unwrap());
        let mut sender = setup_sender(kem, Aead::Aes256Gcm, &right.public_key().unwrap(), INFO).unwrap();
        let sealed = sender.context.seal(b"", TEXT).unwrap();
        let open = |key: &PrivateKey, encapsulated: &[u8], info: &[u8]| {
            let (mut context, _) = setup_recipient(key, Aead::Aes256Gcm, encapsulated, info)?;
            context.open(b"", (&*sealed).into())
        };
        assert_eq!(open(&right, &sender.encapsulated, INFO).unwrap(), TEXT);
        assert_eq!(open(&wrong, &sender.encapsulated, INFO), Err(SealingError));
        assert_eq!(open(&right, &sender.encapsulated, b"Ode"), Err(SealingError));
        assert_eq!(open(&right, &sender.encapsulated[1..], INFO), Err(SealingError));
        for at in [0, sender.encapsulated.len() / 2, sender.encapsulated.len() - 2] {
            let mut changed = sender.encapsulated.clone();
            changed[at] ^= 1;
            assert_eq!(open(&right, &changed, INFO), Err(SealingError), "{kem:?}: byte {at} changed");
        }
    }
}

/// Points of order 1, 2, 4 and 8 (RFC 7748 section 6.1): the shared secret would be zero, whatever the private key.
#[test]
fn keys_of_low_order_are_refused() {
    for point in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let point = bytes(point);
        let sealed = setup_sender(Kem::X25519, Aead::Aes256Gcm, &point, INFO);
        assert_eq!(sealed.err(), Some(SealingError), "sent to {}", hex::encode(&point));
        let recipient = PrivateKey::generate(Kem::X25519).unwrap();
        let opened = setup_recipient(&recipient, Aead::Aes256Gcm, &point, INFO);
        assert_eq!(opened.err(), Some(SealingError), "received from {}", hex::encode(&point));
        let x_wing = PrivateKey::generate(Kem::XWing).unwrap();
        let mut key = x_wing.public_key().unwrap();
        key.truncate(ML_KEM_768_PUBLIC_KEY_LEN);
        let sealed = setup_sender(Kem::XWing, Aead::Aes256Gcm, &[key, point].concat(), INFO);
        assert_eq!(sealed.err(), Some(SealingError));
    }
}

/// FIPS 203 section 7.2: the coefficients of an encapsulation key are below 3329.
#[test]
fn a_key_that_is_no_key_of_ml_kem_is_refused() {
    let mut key = PrivateKey::generate(Kem::XWing).unwrap().public_key().unwrap();
    key[..3].copy_from_slice(&[0xff; 3]);
    assert_eq!(setup_sender(Kem::XWing, Aead::Aes256Gcm, &key, INFO).err(), Some(SealingError));
}
