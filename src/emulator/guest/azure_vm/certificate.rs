//! Certificates of attestation keys, and the authorities that issue them.

use super::VirtualTpm;
use crate::azure_vm::AkAnchors;
use crate::emulator::guest::uvm::keys::{KeyFailure, RsaOwner, Sha2, Signer, SigningAlgorithm};
use crate::emulator::guest::uvm::x509::{
    CertificateSpec, algorithm_identifier, authority_information, basic_constraints, extended_key_usage, key_usage,
    utc_time,
};
use crate::x509::RsaNumbers;

const ALGORITHM: SigningAlgorithm = SigningAlgorithm::RsaPkcs1(Sha2::Sha256);
const ROOT_NAME: &str = "Emulated Virtual TPM Root (do not trust)";
const AUTHORITY_NAME: &str = "Emulated Virtual TPM CA (do not trust)";
const AUTHORITY_BELOW_NAME: &str = "Emulated Virtual TPM CA below (do not trust)";
const ANOTHER_VM: &str = "0123456789ab.ConfidentialVM.Azure.windows.net";
const ATTESTATION_KEY_USE: &str = "2.23.133.8.3";

/// A root of virtual TPMs and an authority below it.
pub struct VirtualTpmAuthority {
    signer: Signer,
    root: Vec<u8>,
}

impl std::fmt::Debug for VirtualTpmAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VirtualTpmAuthority").finish_non_exhaustive()
    }
}

impl VirtualTpmAuthority {
    /// The authority of this process.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if no key can be made.
    pub fn new() -> Result<Self, KeyFailure> {
        Self::with_key(RsaOwner::Authority)
    }

    /// A forger: the same names, another key.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if no key can be made.
    pub fn impostor() -> Result<Self, KeyFailure> {
        Self::with_key(RsaOwner::Leaf)
    }

    fn with_key(owner: RsaOwner) -> Result<Self, KeyFailure> {
        let signer = Signer::generate(ALGORITHM, owner)?;
        let root = CertificateSpec {
            subject: ROOT_NAME,
            issuer: ROOT_NAME,
            validity: [utc_time("230601000000Z"), utc_time("480601000000Z")],
            extensions: vec![basic_constraints(true, None), key_usage(0x86)],
            public_key: signer.public_key()?,
            algorithm: algorithm_identifier(ALGORITHM, false),
        };
        let root = root.sign(&signer)?;
        Ok(Self { signer, root })
    }

    /// The root, in DER.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The root as the anchor of a verifier, in place of Azure's.
    #[must_use]
    pub fn anchors(&self) -> AkAnchors {
        AkAnchors::custom(&self.root).expect("a root that signed itself")
    }

    /// A certificate of a virtual TPM's key to fill in.
    #[must_use]
    pub fn certificate(&self, tpm: &VirtualTpm) -> AkCertificateBuilder<'_> {
        self.certificate_of(tpm.key().spki().to_vec())
    }

    /// A certificate of the RSA key with this modulus and the exponent 65537: of a TPM outside of this process.
    #[must_use]
    pub fn certificate_of_modulus(&self, modulus: &[u8]) -> AkCertificateBuilder<'_> {
        self.certificate_of(RsaNumbers { n: modulus.to_vec(), e: vec![1, 0, 1] }.spki())
    }

    fn certificate_of(&self, key: Vec<u8>) -> AkCertificateBuilder<'_> {
        AkCertificateBuilder {
            authority: self,
            key,
            issuer: AkIssuer::Authority,
            issuer_url: None,
            subject: "01d451636602.ConfidentialVM.Azure.windows.net".to_owned(),
            not_after: "480501000000Z".to_owned(),
            uses: vec!["1.3.6.1.4.1.311.10.3.12".to_owned(), ATTESTATION_KEY_USE.to_owned()],
            key_usage: 0x80,
            is_authority: false,
            authority_key_usage: 0x04,
            authority_path_len: Some(0),
            authority_uses: vec!["2.23.133.8.1".to_owned(), ATTESTATION_KEY_USE.to_owned()],
            authority_not_after: "480501000000Z".to_owned(),
        }
    }
}

/// Who signs the certificate of an attestation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AkIssuer {
    /// The authority below the root.
    Authority,
    /// Another authority, which the first one certified.
    AuthorityBelow,
    /// The owner of another VM, with a key that the authority certified as the attestation key of that VM.
    OwnerOfAnotherVm,
}

/// The certificate of an attestation key to fill in and sign.
#[derive(Clone, Debug)]
pub struct AkCertificateBuilder<'a> {
    authority: &'a VirtualTpmAuthority,
    issuer: AkIssuer,
    key: Vec<u8>,
    issuer_url: Option<String>,
    subject: String,
    not_after: String,
    uses: Vec<String>,
    key_usage: u8,
    is_authority: bool,
    authority_key_usage: u8,
    authority_path_len: Option<u8>,
    authority_uses: Vec<String>,
    authority_not_after: String,
}

impl AkCertificateBuilder<'_> {
    /// The common name: `...TrustedVM.Azure.windows.net` for a VM with Trusted Launch.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        Self { subject: subject.to_owned(), ..self }
    }

    /// Who signs it.
    #[must_use]
    pub fn issuer(self, issuer: AkIssuer) -> Self {
        Self { issuer, ..self }
    }

    /// The address of the issuer's certificate (`AuthorityInfoAccess`, RFC 5280 section 4.2.2.1); none unless set.
    #[must_use]
    pub fn issuer_url(self, url: &str) -> Self {
        Self { issuer_url: Some(url.to_owned()), ..self }
    }

    /// The end of the validity, as `YYMMDDhhmmssZ`.
    #[must_use]
    pub fn not_after(self, time: &str) -> Self {
        Self { not_after: time.to_owned(), ..self }
    }

    /// The extended key usage.
    #[must_use]
    pub fn uses(self, uses: &[&str]) -> Self {
        Self { uses: uses.iter().map(|each| (*each).to_owned()).collect(), ..self }
    }

    /// The key usage: 0x80 digital signature, 0x20 key encipherment.
    #[must_use]
    pub fn key_usage(self, key_usage: u8) -> Self {
        Self { key_usage, ..self }
    }

    /// Whether it is the certificate of an authority.
    #[must_use]
    pub fn is_authority(self, is_authority: bool) -> Self {
        Self { is_authority, ..self }
    }

    /// The key usage of the authority: 0x04 certificate signing, 0x80 digital signature.
    #[must_use]
    pub fn authority_key_usage(self, authority_key_usage: u8) -> Self {
        Self { authority_key_usage, ..self }
    }

    /// The path length of the authority.
    #[must_use]
    pub fn authority_path_len(self, path_len: Option<u8>) -> Self {
        Self { authority_path_len: path_len, ..self }
    }

    /// The extended key usage of the authority, and of the one below it.
    #[must_use]
    pub fn authority_uses(self, uses: &[&str]) -> Self {
        Self { authority_uses: uses.iter().map(|each| (*each).to_owned()).collect(), ..self }
    }

    /// The end of the validity of the authority, as `YYMMDDhhmmssZ`.
    #[must_use]
    pub fn authority_not_after(self, time: &str) -> Self {
        Self { authority_not_after: time.to_owned(), ..self }
    }

    /// The certificate and those above it without the root, in DER.
    ///
    /// # Errors
    ///
    /// [`KeyFailure`] if a key cannot sign.
    pub fn chain(&self) -> Result<Vec<Vec<u8>>, KeyFailure> {
        let signer = &self.authority.signer;
        let authority = CertificateSpec {
            subject: AUTHORITY_NAME,
            issuer: ROOT_NAME,
            validity: [utc_time("250401000000Z"), utc_time(&self.authority_not_after)],
            extensions: vec![
                basic_constraints(true, self.authority_path_len),
                key_usage(self.authority_key_usage),
                extended_key_usage(&self.authority_uses),
            ],
            public_key: signer.public_key()?,
            algorithm: algorithm_identifier(ALGORITHM, false),
        };
        let authority = authority.sign(signer)?;
        if self.issuer == AkIssuer::Authority {
            let leaf = self.leaf(&self.subject, AUTHORITY_NAME, self.key.clone());
            return Ok(vec![leaf.sign(signer)?, authority]);
        }
        let signer_below = Signer::generate(ALGORITHM, RsaOwner::Leaf)?;
        let mut below = self.leaf(ANOTHER_VM, AUTHORITY_NAME, signer_below.public_key()?);
        if self.issuer == AkIssuer::AuthorityBelow {
            below.subject = AUTHORITY_BELOW_NAME;
            below.extensions =
                vec![basic_constraints(true, None), key_usage(0x04), extended_key_usage(&self.authority_uses)];
        }
        let leaf = self.leaf(&self.subject, below.subject, self.key.clone());
        Ok(vec![leaf.sign(&signer_below)?, below.sign(signer)?, authority])
    }

    /// A certificate as that of the attestation key, whatever its names and its key.
    fn leaf<'a>(&self, subject: &'a str, issuer: &'a str, public_key: Vec<u8>) -> CertificateSpec<'a> {
        let mut extensions =
            vec![basic_constraints(self.is_authority, None), key_usage(self.key_usage), extended_key_usage(&self.uses)];
        extensions.extend(self.issuer_url.as_deref().map(authority_information));
        CertificateSpec {
            subject,
            issuer,
            validity: [utc_time("250601000000Z"), utc_time(&self.not_after)],
            extensions,
            public_key,
            algorithm: algorithm_identifier(ALGORITHM, false),
        }
    }
}
