//! The keys of the emulated AMD: made in this process, gone with it.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PSS_SHA384};

use super::der;

/// An RSA-4096 key that signs with RSA-PSS and SHA-384.
pub(super) struct CaKey {
    pair: RsaKeyPair,
    public: Vec<u8>,
}

impl CaKey {
    /// One of three keys of this process. Making one takes a third of a second, so all hierarchies share them.
    pub(super) fn shared(which: usize) -> &'static Self {
        static KEYS: [OnceLock<CaKey>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
        let [first, second, third] = &KEYS;
        let slot = match which {
            0 => first,
            1 => second,
            _ => third,
        };
        slot.get_or_init(|| {
            let pair = RsaKeyPair::generate(KeySize::Rsa4096).expect("a new RSA key");
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("the DER of a public key");
            let public = public.as_ref().to_vec();
            Self { pair, public }
        })
    }

    /// The DER of `SubjectPublicKeyInfo`.
    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PSS_SHA384, &SystemRandom::new(), message, &mut signature).expect("an RSA signature");
        signature
    }
}

/// A P-384 key that signs reports.
pub(super) struct ReportKey {
    pair: EcdsaKeyPair,
}

impl ReportKey {
    pub(super) fn new() -> Self {
        Self { pair: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a new P-384 key") }
    }

    /// The DER of `SubjectPublicKeyInfo`.
    pub(super) fn public(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[&der::oid("1.2.840.10045.2.1"), &der::oid("1.3.132.0.34")]);
        der::sequence(&[&algorithm, &der::bit_string(self.pair.public_key().as_ref())])
    }

    /// `r || s`, big endian, 48 bytes each.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).expect("a P-384 signature").as_ref().to_vec()
    }
}
