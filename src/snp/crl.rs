//! Verification of AMD's CRLs (RFC 5280 section 5). The ARK issues them, so that they can revoke an ASK or ASVK; AMD publishes
//! none for VCEKs and VLEKs.
//!
//! AMD publishes one CRL for the issuer of VCEKs and one for the issuer of VLEKs, and signs both with the ARK. A CRL that
//! names its distribution point applies to certificates that name the same one. The CRLs that AMD issued in 2024 and 2025 name
//! none, so that neither shows which issuer it is for.

mod order;
mod scope;
mod tbs;
mod unverified;

use std::time::Duration;

use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::anchors::AmdAnchors;
use super::certificate::CaCertificate;
use super::error::CrlError;
use crate::crypto::sha256_digest;
use crate::der::{DerReader, Signed};
use crate::types::{Product, Sha256Digest, SigningKey, UnixTime, shorten};
use crate::x509::{SignatureAlgorithm, common_name};
use tbs::{Content, Extension, Header};

pub(crate) use unverified::UnverifiedCrl;

/// The largest CRL that is read, in bytes: bounds the work for one that is not genuine. AMD's have 1 KB.
const MAX_CRL_LEN: usize = 64 * 1024;

/// A CRL with a verified signature of the ARK. Its dates are checked at each use.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedCrl {
    product: Product,
    issuer_key: Sha256Digest,
    digest: Sha256Digest,
    /// Big endian, without leading zeros.
    number: Option<Vec<u8>>,
    this_update: UnixTime,
    next_update: UnixTime,
    distribution_points: Vec<String>,
    /// Serial numbers without leading zeros, sorted.
    revoked: Vec<Vec<u8>>,
}

impl VerifiedCrl {
    /// Verifies a CRL (DER, at most 64 KiB) under the root of one processor family.
    ///
    /// The signature is verified before anything but the name of the signer is read.
    ///
    /// # Errors
    ///
    /// [`CrlError`] unless the bytes are exactly one complete CRL that the product's ARK signed. Neither dates nor the
    /// distribution point are checked here.
    pub fn verify(der: &[u8], product: Product, anchors: &AmdAnchors) -> Result<Self, CrlError> {
        let no_root =
            || CrlError::WrongIssuer { expected: format!("ARK-{product}"), actual: "no root is known".into() };
        Self::verify_under(der, product, &anchors.product(product).ok_or_else(no_root)?.ark)
    }

    /// Verifies a CRL (DER) that must be about the issuer of one kind of key.
    ///
    /// # Errors
    ///
    /// As [`Self::verify`], and [`CrlError::WrongDistributionPoint`] for the CRL about another issuer.
    pub fn verify_for(der: &[u8], product: Product, kind: SigningKey, anchors: &AmdAnchors) -> Result<Self, CrlError> {
        let crl = Self::verify(der, product, anchors)?;
        anchors.product(product).map_or(Ok(()), |pinned| crl.check_scope(pinned.issuer(kind)))?;
        Ok(crl)
    }

    pub(crate) fn verify_under(der: &[u8], product: Product, ark: &CaCertificate) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL_LEN {
            return Err(CrlError::TooLarge { limit: MAX_CRL_LEN, actual: der.len() });
        }
        let signed = Signed::read(der).ok_or(CrlError::Malformed)?;
        if !SignatureAlgorithm::is_rsa_pss_sha384(signed.algorithm) {
            return Err(CrlError::UnsupportedAlgorithm);
        }
        let header = Header::read(signed.body.contents).ok_or(CrlError::Malformed)?;
        if header.algorithm != signed.algorithm {
            return Err(CrlError::AlgorithmsDiffer);
        }
        check_issuer(header.issuer, ark)?;
        ark.verify(&signed).map_err(|_| CrlError::WrongSignature)?;
        // The signature is verified: what follows is signed by the ARK.
        let content = header.content()?;
        let (number, distribution_points) = read_extensions(&content)?;
        let mut revoked: Vec<_> = content.entries.iter().map(|entry| entry.serial.to_vec()).collect();
        revoked.sort_unstable();
        Ok(Self {
            product,
            issuer_key: ark.key_digest,
            digest: sha256_digest(der),
            number,
            this_update: content.this_update,
            next_update: content.next_update.ok_or(CrlError::NoNextUpdate)?,
            distribution_points,
            revoked,
        })
    }

    /// Returns the product whose root issued it.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// Returns the SHA-256 of the DER.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Returns when it was issued (`thisUpdate`).
    #[must_use]
    pub const fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// Returns when its successor is due (`nextUpdate`).
    #[must_use]
    pub const fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// Returns the CRL number (RFC 5280 section 5.2.3) in hexadecimal; `None` if the CRL has none.
    #[must_use]
    pub fn number(&self) -> Option<String> {
        self.number.as_ref().map(hex::encode)
    }

    /// Returns the URIs of the issuing distribution point (RFC 5280 section 5.2.5); empty if the CRL names none.
    #[must_use]
    pub fn distribution_points(&self) -> &[String] {
        &self.distribution_points
    }

    /// Whether the root's key is the one that issued this CRL.
    pub(crate) fn is_by(&self, ark: &CaCertificate) -> Result<(), CrlError> {
        if self.issuer_key == ark.key_digest {
            return Ok(());
        }
        let actual = format!("ARK-{} with another key", self.product);
        Err(CrlError::WrongIssuer { expected: ark.subject_name.clone(), actual })
    }

    /// Checks that this CRL applies to a certificate of the issuer (RFC 5280 section 6.3.3 (b)(2)). A CRL that names no
    /// distribution point applies to all of them.
    pub(crate) fn check_scope(&self, certificate: &CaCertificate) -> Result<(), CrlError> {
        let names = &self.distribution_points;
        let expected = scope::of_certificate(&certificate.der);
        if names.is_empty() || names.iter().any(|name| expected.contains(name)) {
            return Ok(());
        }
        let shown = |names: &[String]| shorten(&names.join(", "), 200);
        Err(CrlError::WrongDistributionPoint { expected: shown(&expected), actual: shown(names) })
    }

    pub(crate) fn check_dates(&self, now: UnixTime) -> Result<(), CrlError> {
        let Self { this_update, next_update, .. } = *self;
        if now < this_update {
            return Err(CrlError::NotYetValid { this_update, now });
        }
        if now > next_update {
            return Err(CrlError::Stale { next_update, now });
        }
        Ok(())
    }

    pub(crate) fn check_age(&self, max_age: Duration, now: UnixTime) -> Result<(), CrlError> {
        let this_update = self.this_update;
        if now > this_update.plus(max_age.as_secs()) {
            return Err(CrlError::TooOld { this_update, max_age_seconds: max_age.as_secs(), now });
        }
        Ok(())
    }

    pub(crate) fn revokes(&self, certificate: &CaCertificate) -> bool {
        self.revoked.binary_search(&certificate.serial).is_ok()
    }
}

/// The longest name of an issuer that is read, in bytes. AMD's have 125.
const MAX_ISSUER_LEN: usize = 1024;

/// Compares names by attribute types and values: AMD may encode the same value as another kind of string.
fn check_issuer(issuer: &[u8], ark: &CaCertificate) -> Result<(), CrlError> {
    if issuer.len() > MAX_ISSUER_LEN {
        return Err(CrlError::Malformed);
    }
    let (_, issuer) = X509Name::from_der(issuer).map_err(|_| CrlError::Malformed)?;
    let (_, root) = X509Name::from_der(&ark.subject).map_err(|_| CrlError::Malformed)?;
    let same = issuer.iter_attributes().count() == root.iter_attributes().count()
        && issuer
            .iter_attributes()
            .zip(root.iter_attributes())
            .all(|(one, other)| one.attr_type() == other.attr_type() && one.as_slice() == other.as_slice());
    if same {
        return Ok(());
    }
    Err(CrlError::WrongIssuer { expected: ark.subject_name.clone(), actual: common_name(&issuer) })
}

const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 0x14];
const REASON_CODE: &[u8] = &[0x55, 0x1d, 0x15];
const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 0x18];
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 0x1b];
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 0x1d];
const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x23];

/// Reads CRL number and distribution points. Refuses extensions that change which certificates the CRL applies to or what its
/// entries mean.
fn read_extensions(content: &Content<'_>) -> Result<(Option<Vec<u8>>, Vec<String>), CrlError> {
    let refuse = |extension: &Extension<'_>| CrlError::UnsupportedExtension { oid: dotted(extension.oid) };
    let (mut number, mut distribution_points) = (None, Vec::new());
    for extension in &content.extensions {
        match extension.oid {
            CRL_NUMBER => {
                let mut reader = DerReader::new(extension.value);
                number = Some(tbs::number(&mut reader)?.to_vec());
                reader.finish().ok_or(CrlError::Malformed)?;
            }
            ISSUING_DISTRIBUTION_POINT => {
                let names = scope::issuing_distribution_point(extension.value);
                distribution_points = names.ok_or_else(|| refuse(extension))?;
            }
            AUTHORITY_KEY_IDENTIFIER => {}
            DELTA_CRL_INDICATOR => return Err(refuse(extension)),
            _ if extension.critical => return Err(refuse(extension)),
            _ => {}
        }
    }
    for extension in content.entries.iter().flat_map(|entry| &entry.extensions) {
        match extension.oid {
            REASON_CODE | INVALIDITY_DATE => {}
            CERTIFICATE_ISSUER => return Err(refuse(extension)),
            _ if extension.critical => return Err(refuse(extension)),
            _ => {}
        }
    }
    Ok((number, distribution_points))
}

fn dotted(oid: &[u8]) -> String {
    let text = x509_parser::der_parser::Oid::new(oid.into()).to_id_string();
    shorten(&text, 100)
}
