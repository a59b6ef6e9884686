//! Certificate revocation lists (CRLs), as AMD's root issues them.

use super::keys::CaKey;
use super::{AmdHierarchy, DEFAULT_VALIDITY, Extension, der, rsa_pss, rsa_pss_with_trailer, signed};
use crate::snp::CertificateRole;
use crate::types::{Product, SigningKey, UnixTime};

const CRL_NUMBER: &str = "2.5.29.20";

/// Where AMD publishes the CRL for the issuer of one kind of key.
pub(super) fn crl_url(product: Product, kind: SigningKey) -> String {
    format!("https://kdsintf.amd.com{}", crate::snp::crl_path(product, kind))
}

/// A CRL to issue. By default nothing is revoked, and no distribution point is named, as in the CRLs that AMD issued in 2024 and
/// 2025.
#[derive(Clone)]
pub struct CrlBuilder {
    hierarchy: AmdHierarchy,
    issuer: Vec<u8>,
    this_update: u64,
    next_update: Option<u64>,
    /// In place of the two, in DER.
    raw_this_update: Option<Vec<u8>>,
    raw_next_update: Option<Vec<u8>>,
    entries: Vec<Vec<u8>>,
    extensions: Vec<Extension>,
    inner_algorithm: Vec<u8>,
    signer: &'static CaKey,
}

impl std::fmt::Debug for CrlBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CrlBuilder({} entries)", self.entries.len())
    }
}

impl CrlBuilder {
    pub(super) fn new(hierarchy: &AmdHierarchy) -> Self {
        let (this_update, next_update) = DEFAULT_VALIDITY;
        Self {
            issuer: der::name(&hierarchy.name(CertificateRole::Ark)),
            this_update,
            next_update: Some(next_update),
            raw_this_update: None,
            raw_next_update: None,
            entries: Vec::new(),
            extensions: vec![Extension::new(CRL_NUMBER, false, der::integer(&[1]))],
            inner_algorithm: rsa_pss(),
            signer: hierarchy.key(CertificateRole::Ark),
            hierarchy: hierarchy.clone(),
        }
    }

    /// Revokes an authority of the hierarchy.
    #[must_use]
    pub fn revoke(self, role: CertificateRole) -> Self {
        let serial = self.hierarchy.serial(role);
        self.revoke_serial(&serial)
    }

    /// Revokes a serial number.
    #[must_use]
    pub fn revoke_serial(mut self, serial: &[u8]) -> Self {
        self.entries.push(der::sequence(&[&der::integer(serial), &der::time(self.this_update)]));
        self
    }

    /// Revokes a serial number, with an extension in the entry (its OID dotted).
    #[must_use]
    pub fn revoke_with_extension(mut self, serial: &[u8], oid: &str, critical: bool, value: &[u8]) -> Self {
        let extensions = Extension::encode_all(&[Extension::new(oid, critical, value.to_vec())]);
        self.entries.push(der::sequence(&[&der::integer(serial), &der::time(self.this_update), &extensions]));
        self
    }

    /// An entry of any bytes.
    #[must_use]
    pub fn raw_entry(mut self, der: &[u8]) -> Self {
        self.entries.push(der.to_vec());
        self
    }

    /// The CRL number; `None` leaves it out.
    #[must_use]
    pub fn number(mut self, number: Option<u64>) -> Self {
        self.extensions.retain(|extension| extension.oid != CRL_NUMBER);
        let number = number.map(|number| der::integer(&number.to_be_bytes()));
        self.extensions.extend(number.map(|number| Extension::new(CRL_NUMBER, false, number)));
        self
    }

    /// Names the distribution point that the certificates of this kind's issuer name (RFC 5280 section 5.2.5).
    #[must_use]
    pub fn distribution_point(self, kind: SigningKey) -> Self {
        let uri = crl_url(self.hierarchy.product, kind);
        let name = der::element(0xa0, &der::element(0xa0, &der::element(0x86, uri.as_bytes())));
        self.add_extension("2.5.29.28", true, &der::sequence(&[&name]))
    }

    /// When the CRL was issued.
    #[must_use]
    pub fn this_update(self, time: UnixTime) -> Self {
        Self { this_update: time.as_secs(), ..self }
    }

    /// When its successor is due; `None` leaves it out.
    #[must_use]
    pub fn next_update(self, time: Option<UnixTime>) -> Self {
        Self { next_update: time.map(UnixTime::as_secs), ..self }
    }

    /// Any bytes in the place of `thisUpdate`.
    #[must_use]
    pub fn raw_this_update(self, der: &[u8]) -> Self {
        Self { raw_this_update: Some(der.to_vec()), ..self }
    }

    /// Any bytes in the place of `nextUpdate`.
    #[must_use]
    pub fn raw_next_update(self, der: &[u8]) -> Self {
        Self { raw_next_update: Some(der.to_vec()), ..self }
    }

    /// The common name of the issuer.
    #[must_use]
    pub fn issuer(self, common_name: &str) -> Self {
        Self { issuer: der::name(common_name), ..self }
    }

    /// One more extension of the CRL (its OID dotted).
    #[must_use]
    pub fn add_extension(mut self, oid: &str, critical: bool, value: &[u8]) -> Self {
        self.extensions.push(Extension::new(oid, critical, value.to_vec()));
        self
    }

    /// Names another encoding of the algorithm inside of the signed part than outside.
    #[must_use]
    pub fn differing_algorithms(self) -> Self {
        Self { inner_algorithm: rsa_pss_with_trailer(), ..self }
    }

    /// Has it signed by another authority of a hierarchy.
    #[must_use]
    pub fn signed_by(self, hierarchy: &AmdHierarchy, role: CertificateRole) -> Self {
        Self { signer: hierarchy.key(role), ..self }
    }

    /// The CRL in DER.
    #[must_use]
    pub fn issue(&self) -> Vec<u8> {
        let this_update = self.raw_this_update.clone().unwrap_or_else(|| der::time(self.this_update));
        let next_update = self.next_update.map(der::time).unwrap_or_default();
        let next_update = self.raw_next_update.clone().unwrap_or(next_update);
        let entries = if self.entries.is_empty() { Vec::new() } else { der::element(0x30, &self.entries.concat()) };
        let body = der::sequence(&[
            &der::integer(&[1]),
            &self.inner_algorithm,
            &self.issuer,
            &this_update,
            &next_update,
            &entries,
            &der::element(0xa0, &Extension::encode_all(&self.extensions)),
        ]);
        signed(&body, &rsa_pss(), self.signer)
    }
}
