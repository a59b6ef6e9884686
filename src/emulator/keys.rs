//! The RSA keys that the emulator signs with (MAA instances, virtual TPMs), and digests and random bytes.

use std::sync::Mutex;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Keys that no instance uses at the moment. Making one takes tens of milliseconds, so they are used again within the
/// process; two instances that live at the same time never share one.
static IDLE: Mutex<Vec<RsaKey>> = Mutex::new(Vec::new());

/// An RSA-2048 key on loan; goes back when dropped.
pub(crate) struct RsaSigningKey {
    key: Option<RsaKey>,
}

struct RsaKey {
    pair: KeyPair,
    pkcs8: Vec<u8>,
    spki: Vec<u8>,
}

impl RsaSigningKey {
    pub(crate) fn take() -> Self {
        let idle = super::lock(&IDLE).pop();
        Self { key: Some(idle.unwrap_or_else(RsaKey::generate)) }
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256: `RS256`.
    pub(crate) fn sign_rs256(&self, message: &[u8]) -> Vec<u8> {
        let pair = &self.rsa().pair;
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &aws_lc_rs::rand::SystemRandom::new(), message, &mut signature)
            .expect("an RSA-2048 key signs");
        signature
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.rsa().pkcs8
    }

    /// The modulus as in a JWK.
    pub(crate) fn n(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.rsa().pair.public_key().modulus().big_endian_without_leading_zero())
    }

    /// The exponent as in a JWK.
    pub(crate) fn e(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.rsa().pair.public_key().exponent().big_endian_without_leading_zero())
    }

    /// The DER of the `SubjectPublicKeyInfo`.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.rsa().spki
    }

    /// The modulus, big endian.
    pub(crate) fn modulus(&self) -> Vec<u8> {
        self.rsa().pair.public_key().modulus().big_endian_without_leading_zero().to_vec()
    }

    /// The public key as PEM with LF line ends and a final one.
    pub(crate) fn public_pem(&self) -> String {
        public_pem(&self.rsa().spki)
    }

    /// The digest of the public key's PEM and one NUL: the key id, and the report data of the TEE that holds the key.
    pub(crate) fn key_digest(&self) -> [u8; 32] {
        key_digest(&self.rsa().spki)
    }

    /// How MAA names a key of its own making: base64 of the SHA-256 of the public key's PEM and one NUL.
    pub(crate) fn key_id(&self) -> String {
        key_id(&self.rsa().spki)
    }

    fn rsa(&self) -> &RsaKey {
        self.key.as_ref().expect("the key is there until drop")
    }
}

impl Drop for RsaSigningKey {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            super::lock(&IDLE).push(key);
        }
    }
}

impl RsaKey {
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("an RSA-2048 key can be made");
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).expect("the key has an encoding").as_ref().to_vec();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).expect("the key has an encoding");
        let spki = spki.as_ref().to_vec();
        Self { pair, pkcs8, spki }
    }
}

pub(crate) fn key_id(spki: &[u8]) -> String {
    STANDARD.encode(key_digest(spki))
}

fn key_digest(spki: &[u8]) -> [u8; 32] {
    sha256(format!("{}\0", public_pem(spki)).as_bytes())
}

/// How a key of a certificate chain is named: the `x5t` of its certificate.
pub(crate) fn x5t(certificate: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate))
}

pub(crate) fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    out
}

pub(crate) fn sha384(data: &[u8]) -> [u8; 48] {
    let mut out = [0; 48];
    out.copy_from_slice(digest::digest(&digest::SHA384, data).as_ref());
    out
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).expect("the operating system has random bytes");
    out
}

fn public_pem(spki: &[u8]) -> String {
    pem("PUBLIC KEY", spki)
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}
