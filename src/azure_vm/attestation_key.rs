//! [`AttestationKey`]: the key of a virtual TPM that signs quotes.

use crate::crypto::{self, PublicKey, Scheme};
use crate::types::Sha256Digest;
use crate::x509::RsaNumbers;

use super::error::{QuoteError, RuntimeClaimsError};

/// The bytes of a modulus of 2048 bits.
const MODULUS_LEN: usize = 256;
/// 65537.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// The attributes of the paravisor's attestation key (TPM 2.0 part 2, `TPMA_OBJECT`): fixedTPM, fixedParent,
/// sensitiveDataOrigin, userWithAuth, noDA, restricted, sign. A restricted key signs only what the TPM made.
const ATTRIBUTES: u32 = 0x0005_0472;
/// `TPM_RH_ENDORSEMENT`: the hierarchy that the key is a primary key of.
const ENDORSEMENT_HIERARCHY: u32 = 0x4000_000b;

pub(super) const TPM_ALG_RSA: u16 = 0x0001;
pub(super) const TPM_ALG_SHA256: u16 = 0x000b;
pub(super) const TPM_ALG_NULL: u16 = 0x0010;
pub(super) const TPM_ALG_RSASSA: u16 = 0x0014;

/// The attestation key (AK) of a virtual TPM, as runtime claims name it (`HCLAkPub`): RSA with 2048 bits and the exponent 65537.
#[derive(Clone, Debug)]
pub struct AttestationKey {
    modulus: [u8; MODULUS_LEN],
    spki: Vec<u8>,
    public: PublicKey,
}

impl PartialEq for AttestationKey {
    fn eq(&self, other: &Self) -> bool {
        self.modulus == other.modulus
    }
}

impl Eq for AttestationKey {}

impl AttestationKey {
    pub(super) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, RuntimeClaimsError> {
        let modulus: [u8; MODULUS_LEN] = modulus.try_into().map_err(|_| RuntimeClaimsError::UnsupportedKey)?;
        let numbers = RsaNumbers { n: modulus.to_vec(), e: exponent.to_vec() };
        if exponent != EXPONENT || numbers.bits() != MODULUS_LEN.saturating_mul(8) {
            return Err(RuntimeClaimsError::UnsupportedKey);
        }
        if numbers.is_roca() {
            return Err(RuntimeClaimsError::WeakKey);
        }
        let spki = numbers.spki();
        let public = PublicKey::from_der(Scheme::RsaPkcs1Sha256, &spki);
        Ok(Self { public: public.map_err(|_| RuntimeClaimsError::UnsupportedKey)?, modulus, spki })
    }

    /// Returns the DER of the `SubjectPublicKeyInfo` (RFC 5280 section 4.1).
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the SHA-256 of [`AttestationKey::spki`].
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        crypto::sha256_digest(&self.spki)
    }

    /// Verifies an RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017 section 8.2).
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), QuoteError> {
        self.public.verify(message, signature).map_err(|_| QuoteError::WrongSignature)
    }

    /// Returns the digest in the qualified name of the key, which a quote states as its signer (TPM 2.0 part 1 section 16, "Names"):
    /// SHA-256(handle of the hierarchy, name), where the name is SHA-256 of the public area.
    ///
    /// The public area states attributes that runtime claims do not: so a quote shows that its key is restricted. The key itself
    /// asserts this, so that it is no defence against a key that was replaced.
    pub(super) fn qualified_name(&self) -> Sha256Digest {
        let algorithm = TPM_ALG_SHA256.to_be_bytes();
        let public_area = [
            &TPM_ALG_RSA.to_be_bytes()[..],
            &algorithm,
            &ATTRIBUTES.to_be_bytes(),
            // No policy; no symmetric algorithm; RSASSA with SHA-256; 2048 bits; 0 stands for the exponent 65537.
            &[0, 0],
            &TPM_ALG_NULL.to_be_bytes(),
            &TPM_ALG_RSASSA.to_be_bytes(),
            &algorithm,
            &2048_u16.to_be_bytes(),
            &0_u32.to_be_bytes(),
            &256_u16.to_be_bytes(),
            &self.modulus,
        ]
        .concat();
        let name = [&algorithm[..], &crypto::sha256(&public_area)].concat();
        crypto::sha256_digest(&[&ENDORSEMENT_HIERARCHY.to_be_bytes()[..], &name].concat())
    }
}
