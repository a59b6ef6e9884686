//! The emulator's signing keys: made in this process, worth nothing outside it.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};

/// A key could not be made or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the emulator could not make or use a signing key")]
#[non_exhaustive]
pub struct KeyFailure;

/// A hash of the SHA-2 family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sha2 {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// What kind of key signs, with which hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// P-256 with SHA-256.
    EcdsaP256,
    /// P-384 with SHA-384.
    EcdsaP384,
    /// P-521 with SHA-512.
    EcdsaP521,
    /// RSA-3072, PKCS#1 version 1.5. A COSE document signed so must be refused.
    RsaPkcs1(Sha2),
    /// RSA-3072, PSS with a salt of the hash's length.
    RsaPss(Sha2),
}

pub(in crate::emulator) enum Signer {
    Ecdsa { der: EcdsaKeyPair, fixed: EcdsaKeyPair },
    Rsa { key: &'static RsaKeyPair, algorithm: SigningAlgorithm },
}

/// Whose RSA key: keys of 3072 bits take so long that a process makes two, not two for each signer.
#[derive(Clone, Copy)]
pub(in crate::emulator) enum RsaOwner {
    Authority,
    Leaf,
}

impl Signer {
    pub(in crate::emulator) fn generate(algorithm: SigningAlgorithm, owner: RsaOwner) -> Result<Self, KeyFailure> {
        match algorithm {
            SigningAlgorithm::EcdsaP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_FIXED_SIGNING),
            SigningAlgorithm::EcdsaP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING),
            SigningAlgorithm::EcdsaP521 => ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING, &ECDSA_P521_SHA512_FIXED_SIGNING),
            SigningAlgorithm::RsaPkcs1(_) | SigningAlgorithm::RsaPss(_) => {
                static AUTHORITY: OnceLock<Option<RsaKeyPair>> = OnceLock::new();
                static LEAF: OnceLock<Option<RsaKeyPair>> = OnceLock::new();
                let slot = match owner {
                    RsaOwner::Authority => &AUTHORITY,
                    RsaOwner::Leaf => &LEAF,
                };
                let key =
                    slot.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa3072).ok()).as_ref().ok_or(KeyFailure)?;
                Ok(Self::Rsa { key, algorithm })
            }
        }
    }

    /// The DER of the `SubjectPublicKeyInfo`.
    pub(in crate::emulator) fn public_key(&self) -> Result<Vec<u8>, KeyFailure> {
        let der = match self {
            Self::Ecdsa { der, .. } => AsDer::<PublicKeyX509Der<'_>>::as_der(der.public_key()),
            Self::Rsa { key, .. } => AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()),
        };
        der.map(|der| der.as_ref().to_vec()).map_err(|_| KeyFailure)
    }

    /// A signature as X.509 wants it.
    pub(in crate::emulator) fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, KeyFailure> {
        match self {
            Self::Ecdsa { der, .. } => sign_ecdsa(der, message),
            Self::Rsa { key, algorithm } => sign_rsa(key, *algorithm, message),
        }
    }

    /// A signature as COSE wants it.
    pub(in crate::emulator) fn sign_cose(&self, message: &[u8]) -> Result<Vec<u8>, KeyFailure> {
        match self {
            Self::Ecdsa { fixed, .. } => sign_ecdsa(fixed, message),
            Self::Rsa { key, algorithm } => sign_rsa(key, *algorithm, message),
        }
    }
}

fn ecdsa(der: &'static EcdsaSigningAlgorithm, fixed: &'static EcdsaSigningAlgorithm) -> Result<Signer, KeyFailure> {
    let key = EcdsaKeyPair::generate(der).map_err(|_| KeyFailure)?;
    let pkcs8 = key.to_pkcs8v1().map_err(|_| KeyFailure)?;
    let fixed = EcdsaKeyPair::from_pkcs8(fixed, pkcs8.as_ref()).map_err(|_| KeyFailure)?;
    Ok(Signer::Ecdsa { der: key, fixed })
}

fn sign_ecdsa(key: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>, KeyFailure> {
    key.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyFailure)
}

fn sign_rsa(key: &RsaKeyPair, algorithm: SigningAlgorithm, message: &[u8]) -> Result<Vec<u8>, KeyFailure> {
    let encoding = match algorithm {
        SigningAlgorithm::RsaPkcs1(Sha2::Sha256) => &RSA_PKCS1_SHA256,
        SigningAlgorithm::RsaPkcs1(Sha2::Sha384) => &RSA_PKCS1_SHA384,
        SigningAlgorithm::RsaPkcs1(Sha2::Sha512) => &RSA_PKCS1_SHA512,
        SigningAlgorithm::RsaPss(Sha2::Sha256) => &RSA_PSS_SHA256,
        SigningAlgorithm::RsaPss(Sha2::Sha384) => &RSA_PSS_SHA384,
        SigningAlgorithm::RsaPss(Sha2::Sha512) => &RSA_PSS_SHA512,
        _ => return Err(KeyFailure),
    };
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(|_| KeyFailure)?;
    Ok(signature)
}
