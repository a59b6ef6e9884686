//! Revocation (RFC 5280 section 5). AMD's lists are issued by the ARK, so they say which ASK or ASVK is revoked; AMD
//! publishes none for VCEKs and VLEKs.

use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::anchors::AmdAnchors;
use super::certificate::CaCertificate;
use super::error::CrlError;
use crate::crypto::sha256_digest;
use crate::der::{BOOLEAN, CONTEXT_0, Element, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, Signed};
use crate::types::{Product, Sha256Digest, UnixTime};
use crate::x509::{SignatureAlgorithm, common_name, without_leading_zeros};

/// AMD's lists have 1 KB. More than this is somebody trying to keep us busy.
const MAX_CRL_LEN: usize = 1024 * 1024;

/// Whether AMD's revocation list must be at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Without a genuine and current list nothing is accepted.
    Require,
    /// A genuine list counts; without a usable one the result says that revocation was not evaluated. Whoever controls
    /// the network can then hide a revocation.
    BestEffort,
    /// No list is looked at.
    Off,
}

/// What was found out about revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationOutcome {
    /// A genuine and current list does not name the certificates of the chain.
    Checked {
        /// When the list was made.
        this_update: UnixTime,
        /// When its successor is due.
        next_update: UnixTime,
    },
    /// Not known, because checking was not required.
    NotEvaluated {
        /// The reason.
        why: NotEvaluated,
    },
}

/// Why revocation was not evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotEvaluated {
    /// [`Revocation::Off`].
    SwitchedOff,
    /// [`Revocation::BestEffort`], and there was no usable list.
    Unusable(CrlError),
}

/// A revocation list whose signature is the ARK's. Its dates are checked at each use.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedCrl {
    product: Product,
    issuer_key: Sha256Digest,
    digest: Sha256Digest,
    this_update: UnixTime,
    next_update: UnixTime,
    revoked: Vec<Vec<u8>>,
}

impl VerifiedCrl {
    /// Verifies a list (DER) under the root of one processor family.
    ///
    /// # Errors
    ///
    /// [`CrlError`] unless the bytes are exactly one complete list that the product's ARK signed. Dates are not looked
    /// at here.
    pub fn verify(der: &[u8], product: Product, anchors: &AmdAnchors) -> Result<Self, CrlError> {
        let no_root =
            || CrlError::WrongIssuer { expected: format!("ARK-{product}"), actual: "no root is known".into() };
        Self::verify_under(der, product, &anchors.product(product).ok_or_else(no_root)?.ark)
    }

    pub(crate) fn verify_under(der: &[u8], product: Product, ark: &CaCertificate) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL_LEN {
            return Err(CrlError::TooLarge { limit: MAX_CRL_LEN, actual: der.len() });
        }
        let signed = Signed::read(der).ok_or(CrlError::Malformed)?;
        if !SignatureAlgorithm::is_rsa_pss_sha384(signed.algorithm) {
            return Err(CrlError::UnsupportedAlgorithm);
        }
        let list = CertificateList::read(signed.body.contents).ok_or(CrlError::Malformed)?;
        if list.algorithm != signed.algorithm {
            return Err(CrlError::AlgorithmsDiffer);
        }
        check_issuer(list.issuer, ark)?;
        ark.verify(&signed).map_err(|_| CrlError::WrongSignature)?;
        check_extensions(&list)?;
        Ok(Self {
            product,
            issuer_key: ark.key_digest,
            digest: sha256_digest(der),
            this_update: list.this_update,
            next_update: list.next_update.ok_or(CrlError::NoNextUpdate)?,
            revoked: list.entries.iter().map(|entry| entry.serial.to_vec()).collect(),
        })
    }

    /// The processor family whose root issued it.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// SHA-256 of the DER.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// When it was made.
    #[must_use]
    pub const fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// When its successor is due.
    #[must_use]
    pub const fn next_update(&self) -> UnixTime {
        self.next_update
    }

    /// Whether the root's key is the one that issued this list.
    pub(crate) fn is_by(&self, ark: &CaCertificate) -> Result<(), CrlError> {
        if self.issuer_key == ark.key_digest {
            return Ok(());
        }
        let actual = format!("ARK-{} with another key", self.product);
        Err(CrlError::WrongIssuer { expected: ark.subject_name.clone(), actual })
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

    pub(crate) fn revokes(&self, certificate: &CaCertificate) -> bool {
        self.revoked.contains(&certificate.serial)
    }
}

/// Compares names by types and texts: AMD may encode the same text as another kind of string.
fn check_issuer(issuer: &[u8], ark: &CaCertificate) -> Result<(), CrlError> {
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

/// Refuses whatever would make the list say less, or something about others, than it seems to.
fn check_extensions(list: &CertificateList<'_>) -> Result<(), CrlError> {
    let refuse = |extension: &Extension<'_>| CrlError::UnsupportedExtension { oid: dotted(extension.oid) };
    for extension in &list.extensions {
        let known = match extension.oid {
            CRL_NUMBER | AUTHORITY_KEY_IDENTIFIER => true,
            ISSUING_DISTRIBUTION_POINT => covers_every_ca(extension.value),
            DELTA_CRL_INDICATOR => false,
            _ => !extension.critical,
        };
        if !known {
            return Err(refuse(extension));
        }
    }
    for extension in list.entries.iter().flat_map(|entry| &entry.extensions) {
        let known = match extension.oid {
            REASON_CODE | INVALIDITY_DATE => true,
            CERTIFICATE_ISSUER => false,
            _ => !extension.critical,
        };
        if !known {
            return Err(refuse(extension));
        }
    }
    Ok(())
}

/// An issuing distribution point that leaves out no CA certificate: nothing in it but where the list is published and,
/// perhaps, that it is for CA certificates only.
fn covers_every_ca(value: &[u8]) -> bool {
    const ONLY_CA_CERTIFICATES: u8 = 0x82;
    let read = || {
        let mut outside = Reader::new(value);
        let mut inside = Reader::new(outside.expect(SEQUENCE)?.contents);
        outside.finish()?;
        if inside.is_next(CONTEXT_0) {
            inside.expect(CONTEXT_0)?;
        }
        if inside.is_next(ONLY_CA_CERTIFICATES) {
            inside.expect(ONLY_CA_CERTIFICATES)?;
        }
        inside.finish()
    };
    read().is_some()
}

fn dotted(oid: &[u8]) -> String {
    let text = x509_parser::der_parser::Oid::new(oid.into()).to_id_string();
    crate::types::shorten(&text, 100)
}

/// A `TBSCertList`, read without slack: `x509-parser` takes a list with a malformed entry for one without entries.
struct CertificateList<'a> {
    algorithm: &'a [u8],
    issuer: &'a [u8],
    this_update: UnixTime,
    next_update: Option<UnixTime>,
    entries: Vec<Entry<'a>>,
    extensions: Vec<Extension<'a>>,
}

struct Entry<'a> {
    /// Without leading zeros.
    serial: &'a [u8],
    extensions: Vec<Extension<'a>>,
}

struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

impl<'a> CertificateList<'a> {
    fn read(contents: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(contents);
        let is_version_2 = reader.is_next(INTEGER);
        if is_version_2 && reader.expect(INTEGER)?.contents != [1] {
            return None;
        }
        let algorithm = reader.expect(SEQUENCE)?.whole;
        let issuer = reader.expect(SEQUENCE)?.whole;
        let this_update = reader.time()?;
        let next_update = if reader.is_next_time() { Some(reader.time()?) } else { None };
        let mut entries = Vec::new();
        if reader.is_next(SEQUENCE) {
            let mut list = Reader::new(reader.expect(SEQUENCE)?.contents);
            while list.is_next(SEQUENCE) {
                entries.push(Entry::read(list.expect(SEQUENCE)?)?);
            }
            list.finish()?;
        }
        let mut extensions = Vec::new();
        if is_version_2 && reader.is_next(CONTEXT_0) {
            let mut outside = Reader::new(reader.expect(CONTEXT_0)?.contents);
            extensions = Extension::read_all(outside.expect(SEQUENCE)?)?;
            outside.finish()?;
        }
        reader.finish()?;
        Some(Self { algorithm, issuer, this_update, next_update, entries, extensions })
    }
}

impl<'a> Entry<'a> {
    fn read(element: Element<'a>) -> Option<Self> {
        let mut reader = Reader::new(element.contents);
        let serial = without_leading_zeros(reader.expect(INTEGER)?.contents);
        reader.time()?;
        let extensions =
            if reader.is_next(SEQUENCE) { Extension::read_all(reader.expect(SEQUENCE)?)? } else { Vec::new() };
        reader.finish()?;
        Some(Self { serial, extensions })
    }
}

impl<'a> Extension<'a> {
    fn read_all(sequence: Element<'a>) -> Option<Vec<Self>> {
        let mut list = Reader::new(sequence.contents);
        let mut extensions: Vec<Self> = Vec::new();
        while list.is_next(SEQUENCE) {
            let mut reader = Reader::new(list.expect(SEQUENCE)?.contents);
            let oid = reader.expect(OBJECT_IDENTIFIER)?.contents;
            let critical = if reader.is_next(BOOLEAN) { reader.expect(BOOLEAN)?.contents != [0] } else { false };
            let value = reader.expect(OCTET_STRING)?.contents;
            reader.finish()?;
            if extensions.iter().any(|earlier| earlier.oid == oid) {
                return None;
            }
            extensions.push(Self { oid, critical, value });
        }
        list.finish()?;
        Some(extensions)
    }
}
