//! CA certificates: the hierarchy's own, issued again, or issued wrongly.

use super::keys::CaKey;
use super::{AmdHierarchy, DEFAULT_VALIDITY, Extension, der, rsa_pss_with_trailer, signed};
use crate::snp::CertificateRole;
use crate::types::{SigningKey, UnixTime};

/// A CA certificate to be signed by the hierarchy's root.
#[derive(Clone)]
pub struct CaBuilder {
    hierarchy: AmdHierarchy,
    role: CertificateRole,
    subject: String,
    issuer: String,
    serial: Vec<u8>,
    validity: [Vec<u8>; 2],
    is_ca: bool,
    path_len: Option<u8>,
    key_usage: [u8; 2],
    extensions: Vec<Extension>,
    public_key: Vec<u8>,
    signer: &'static CaKey,
}

impl std::fmt::Debug for CaBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CaBuilder({})", self.subject)
    }
}

impl CaBuilder {
    pub(super) fn new(hierarchy: &AmdHierarchy, role: CertificateRole) -> Self {
        let is_root = role == CertificateRole::Ark;
        Self {
            role,
            subject: hierarchy.name(role),
            issuer: hierarchy.name(CertificateRole::Ark),
            serial: hierarchy.serial(role).to_vec(),
            validity: [der::time(DEFAULT_VALIDITY.0), der::time(DEFAULT_VALIDITY.1)],
            is_ca: true,
            path_len: if is_root { None } else { Some(0) },
            // keyCertSign, and cRLSign for the root.
            key_usage: if is_root { [1, 0x06] } else { [2, 0x04] },
            extensions: Vec::new(),
            public_key: hierarchy.key(role).public().to_vec(),
            signer: hierarchy.key(CertificateRole::Ark),
            hierarchy: hierarchy.clone(),
        }
    }

    /// The common name.
    #[must_use]
    pub fn subject(self, common_name: &str) -> Self {
        Self { subject: common_name.to_owned(), ..self }
    }

    /// The common name of the issuer.
    #[must_use]
    pub fn issuer(self, common_name: &str) -> Self {
        Self { issuer: common_name.to_owned(), ..self }
    }

    /// The serial number.
    #[must_use]
    pub fn serial(self, serial: &[u8]) -> Self {
        Self { serial: serial.to_vec(), ..self }
    }

    /// From and until when, both inclusive.
    #[must_use]
    pub fn valid(self, not_before: UnixTime, not_after: UnixTime) -> Self {
        Self { validity: [der::time(not_before.as_secs()), der::time(not_after.as_secs())], ..self }
    }

    /// Any bytes in the places of `notBefore` and `notAfter`.
    #[must_use]
    pub fn raw_validity(self, not_before: &[u8], not_after: &[u8]) -> Self {
        Self { validity: [not_before.to_vec(), not_after.to_vec()], ..self }
    }

    /// Whether it says that it is a CA.
    #[must_use]
    pub fn is_ca(self, is_ca: bool) -> Self {
        Self { is_ca, ..self }
    }

    /// How many CAs may stand below it.
    #[must_use]
    pub fn path_len(self, path_len: Option<u8>) -> Self {
        Self { path_len, ..self }
    }

    /// Takes away the right to sign certificates.
    #[must_use]
    pub fn without_cert_sign(self) -> Self {
        Self { key_usage: [1, 0x02], ..self }
    }

    /// Gives it the key of another authority of the hierarchy.
    #[must_use]
    pub fn with_key_of(self, role: CertificateRole) -> Self {
        Self { public_key: self.hierarchy.key(role).public().to_vec(), ..self }
    }

    /// Gives it any `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn public_key(self, spki: &[u8]) -> Self {
        Self { public_key: spki.to_vec(), ..self }
    }

    /// Takes away the root's right to sign revocation lists.
    #[must_use]
    pub fn without_crl_sign(self) -> Self {
        Self { key_usage: [2, 0x04], ..self }
    }

    /// One more extension (its OID dotted), also if there is one of this OID.
    #[must_use]
    pub fn add_extension(mut self, oid: &str, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(Extension::new(oid, critical, value.to_vec()));
        self
    }

    /// Has it signed by another authority than the root.
    #[must_use]
    pub fn signed_by(self, role: CertificateRole) -> Self {
        Self { signer: self.hierarchy.key(role), ..self }
    }

    /// The certificate in DER.
    #[must_use]
    pub fn issue(&self) -> Vec<u8> {
        let is_ca = if self.is_ca { der::boolean(true) } else { Vec::new() };
        let path_len = self.path_len.map(|length| der::integer(&[length])).unwrap_or_default();
        let kind = if self.role == CertificateRole::Asvk { SigningKey::Vlek } else { SigningKey::Vcek };
        let crl = super::crl::crl_url(self.hierarchy.product, kind);
        let crl = der::element(0xa0, &der::element(0xa0, &der::element(0x86, crl.as_bytes())));
        let [unused_bits, bits] = self.key_usage;
        let mut extensions = vec![
            Extension::new("2.5.29.19", true, der::sequence(&[&is_ca, &path_len])),
            Extension::new("2.5.29.15", true, der::element(0x03, &[unused_bits, bits])),
            Extension::new("2.5.29.31", false, der::sequence(&[&der::sequence(&[&crl])])),
        ];
        extensions.extend_from_slice(&self.extensions);
        let algorithm = rsa_pss_with_trailer();
        let body = der::sequence(&[
            &der::element(0xa0, &der::integer(&[2])),
            &der::integer(&self.serial),
            &algorithm,
            &der::name(&self.issuer),
            &der::element(0x30, &self.validity.concat()),
            &der::name(&self.subject),
            &self.public_key,
            &der::element(0xa3, &Extension::encode_all(&extensions)),
        ]);
        signed(&body, &algorithm, self.signer)
    }
}
