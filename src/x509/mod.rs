//! The reader of X.509 certificates (RFC 5280): of AMD's hierarchy, of the chains of UVM endorsements and attestation keys, and of
//! MAA's key sets, of which only the key is read. CRLs of AMD are read in `snp::crl`, names of issuers with `x509_parser`'s `X509Name` there.
//!
//! A certificate is untrusted until the signature of its issuer was verified, and most of it must be read to know which
//! issuer that is. So parsing is bounded (bytes, extensions, key usages) and strict: a single encoding of each part that
//! matters, times in the form of [`crate::der::DerReader::time`], no extension twice. `x509-parser` reads the
//! rest: names, algorithm parameters, the contents of known extensions.

mod algorithm;
mod error;
mod extensions;
mod rsa;

use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

pub use error::{CertificateError, KeyUse};

pub(crate) use algorithm::SignatureAlgorithm;
pub(crate) use extensions::Extensions;
pub(crate) use rsa::{MAX_CERTIFICATE_LEN as MAX_KEY_CERTIFICATE_LEN, RsaNumbers};

use crate::crypto::{Curve, PublicKey, Scheme};
use crate::der::{CONTEXT_0, CONTEXT_3, DerReader, INTEGER, SEQUENCE, Signed};
use crate::types::{UnixTime, shorten};

/// The largest certificate of a chain that is read, in bytes: real ones have 1.3 to 2 KB. Bounds what a peer can make
/// its reader parse before a signature is verified.
pub(crate) const MAX_CERTIFICATE_LEN: usize = 8 * 1024;

/// A certificate, parsed but not verified.
#[derive(Clone, Debug)]
pub(crate) struct Certificate<'a> {
    der: &'a [u8],
    signed: Signed<'a>,
    issuer: &'a [u8],
    issuer_name: X509Name<'a>,
    subject: &'a [u8],
    subject_name: X509Name<'a>,
    public_key: &'a [u8],
    serial: &'a [u8],
    validity: Validity,
    extensions: Extensions<'a>,
}

impl<'a> Certificate<'a> {
    /// Reads exactly one certificate of version 3 of at most [`MAX_CERTIFICATE_LEN`] bytes.
    pub(crate) fn read(der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_LEN {
            return Err(CertificateError::TooLarge { limit: MAX_CERTIFICATE_LEN, actual: der.len() });
        }
        let signed = Signed::read(der).ok_or(CertificateError::Malformed)?;
        let parts = TbsParts::read(signed.body.contents).ok_or(CertificateError::Malformed)?;
        if parts.version != [INTEGER, 1, 2] {
            return Err(CertificateError::UnsupportedVersion);
        }
        // RFC 5280 section 4.1.1.2: the field outside of the signed part must be the one inside.
        if parts.algorithm != signed.algorithm {
            return Err(CertificateError::AlgorithmsDiffer);
        }
        let validity = Validity::read(parts.validity)?;
        // Counted before `x509-parser` sees them.
        let extensions = Extensions::read(parts.extensions)?;
        extensions.check_contents()?;
        let TbsParts { issuer, subject, public_key, serial, .. } = parts;
        let (issuer_name, subject_name) = (read_name(issuer)?, read_name(subject)?);
        Ok(Self { der, signed, issuer, issuer_name, subject, subject_name, public_key, serial, validity, extensions })
    }

    /// Returns the DER of the certificate.
    pub(crate) const fn der(&self) -> &'a [u8] {
        self.der
    }

    /// Returns the DER of the issuer's name.
    pub(crate) const fn issuer(&self) -> &'a [u8] {
        self.issuer
    }

    /// The DER of the subject's name.
    pub(crate) const fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// Returns the DER of the `SubjectPublicKeyInfo`.
    pub(crate) const fn public_key(&self) -> &'a [u8] {
        self.public_key
    }

    /// The serial number without leading zeros.
    pub(crate) fn serial(&self) -> &'a [u8] {
        without_leading_zeros(self.serial)
    }

    pub(crate) const fn validity(&self) -> Validity {
        self.validity
    }

    pub(crate) const fn extensions(&self) -> &Extensions<'a> {
        &self.extensions
    }

    /// `None` for an algorithm, or an encoding of its parameters, that is not accepted anywhere.
    pub(crate) fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        SignatureAlgorithm::read(self.signed.algorithm)
    }

    /// Returns the signed part and its signature.
    pub(crate) const fn signed(&self) -> &Signed<'a> {
        &self.signed
    }

    /// Returns the first common name of the issuer, shortened, for messages.
    pub(crate) fn issuer_common_name(&self) -> String {
        common_name(&self.issuer_name)
    }

    /// Returns the first common name of the subject, shortened, for messages.
    pub(crate) fn subject_common_name(&self) -> String {
        common_name(&self.subject_name)
    }

    /// Returns the whole name of the issuer, for display.
    pub(crate) fn issuer_text(&self) -> String {
        self.issuer_name.to_string()
    }

    /// Returns the whole name of the subject, for display.
    pub(crate) fn subject_text(&self) -> String {
        self.subject_name.to_string()
    }

    /// Returns the values of one attribute of the subject, by its object identifier.
    pub(crate) fn subject_values(&self, oid: &str) -> Vec<String> {
        self.subject_name
            .iter_attributes()
            .filter(|attribute| attribute.attr_type().to_id_string() == oid)
            .filter_map(|attribute| attribute.as_str().ok().map(str::to_owned))
            .collect()
    }

    /// Whether subject and issuer are equal (RFC 5280 section 6.1): such a certificate adds nothing to the length of a path.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Returns the curve of the key; `None` for a key of another kind.
    pub(crate) fn curve(&self) -> Option<Curve> {
        let (_, key) = SubjectPublicKeyInfo::from_der(self.public_key).ok()?;
        let algorithm = &key.algorithm;
        if algorithm.algorithm.to_id_string() != "1.2.840.10045.2.1" {
            return None;
        }
        match algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string().as_str() {
            "1.2.840.10045.3.1.7" => Some(Curve::P256),
            "1.3.132.0.34" => Some(Curve::P384),
            "1.3.132.0.35" => Some(Curve::P521),
            _ => None,
        }
    }

    /// Checks that this is the certificate of an authority that may sign certificates at a time, with `below` authorities
    /// between it and the last certificate of the chain (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
    pub(crate) fn check_authority(&self, at: UnixTime, below: u32) -> Result<(), CertificateError> {
        self.validity.check(at)?;
        let constraints = self.extensions.basic_constraints().filter(|found| found.ca);
        let constraints = constraints.ok_or(CertificateError::NotACa)?;
        if let Some(allowed) = constraints.path_len.map(u32::from)
            && below > allowed
        {
            return Err(CertificateError::PathTooLong { allowed, actual: below });
        }
        match self.extensions.key_usage() {
            Some(usage) if !usage.key_cert_sign() => Err(CertificateError::WrongKeyUsage(KeyUse::Certificates)),
            _ => Ok(()),
        }
    }

    /// Checks that another certificate issued this one: by name, then by signature.
    pub(crate) fn check_issued_by(&self, issuer: &Certificate<'_>) -> Result<(), CertificateError> {
        if self.issuer != issuer.subject {
            return Err(CertificateError::WrongIssuer {
                expected: shorten(&issuer.subject_text(), 200),
                actual: shorten(&self.issuer_text(), 200),
            });
        }
        let scheme = match self.signature_algorithm() {
            Some(SignatureAlgorithm::Rsa(scheme)) => scheme,
            Some(SignatureAlgorithm::Ecdsa(hash)) => {
                Scheme::EcdsaDer(issuer.curve().ok_or(CertificateError::IssuerKeyMismatch)?, hash)
            }
            None => return Err(CertificateError::UnsupportedAlgorithm { expected: algorithm::ACCEPTED }),
        };
        PublicKey::from_der(scheme, issuer.public_key)
            .map_err(|_| CertificateError::IssuerKeyMismatch)?
            .verify(self.signed.body.whole, self.signed.signature)
            .map_err(|_| CertificateError::WrongSignature)
    }
}

/// The DER of the `SubjectPublicKeyInfo` of a certificate that only carries a key: the one in an entry of a key set.
///
/// Dates and extensions are ignored: the key set is as trustworthy as its source. They could not be parsed strictly either:
/// MAA's certificates of 2019 encode dates before 2050 as `GeneralizedTime`.
pub(crate) fn public_key_of(der: &[u8], limit: usize) -> Option<&[u8]> {
    if der.len() > limit {
        return None;
    }
    Some(TbsParts::read(Signed::read(der)?.body.contents)?.public_key)
}

/// Returns the extensions of a certificate that only carries a key, as [`public_key_of`] returns its key: its dates are ignored.
pub(crate) fn extensions_of(der: &[u8], limit: usize) -> Option<Extensions<'_>> {
    if der.len() > limit {
        return None;
    }
    let parts = TbsParts::read(Signed::read(der)?.body.contents)?;
    // Absent in a certificate that only carries a key.
    if parts.extensions.is_empty() {
        return Some(Extensions::default());
    }
    Extensions::read(parts.extensions).ok()
}

/// The elements of a `TBSCertificate`; each in full but for version and serial number.
struct TbsParts<'a> {
    version: &'a [u8],
    serial: &'a [u8],
    algorithm: &'a [u8],
    issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
    public_key: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> TbsParts<'a> {
    fn read(contents: &'a [u8]) -> Option<Self> {
        let mut reader = DerReader::new(contents);
        // Absent in a certificate of version 1.
        let version = if reader.is_next(CONTEXT_0) { reader.expect(CONTEXT_0)?.contents } else { &[] };
        let serial = reader.integer()?;
        let algorithm = reader.expect(SEQUENCE)?.whole;
        let issuer = reader.expect(SEQUENCE)?.whole;
        let validity = reader.expect(SEQUENCE)?.contents;
        let subject = reader.expect(SEQUENCE)?.whole;
        let public_key = reader.expect(SEQUENCE)?.whole;
        // Unique identifiers (RFC 5280 section 4.1.2.8) are not accepted. A certificate without extensions is accepted only
        // for its key, as in MAA's key sets: `Extensions::read` refuses an empty value, which is not a SEQUENCE.
        let extensions = if reader.is_next(CONTEXT_3) { reader.expect(CONTEXT_3)?.contents } else { &[] };
        reader.finish()?;
        Some(Self { version, serial, algorithm, issuer, validity, subject, public_key, extensions })
    }
}

/// The first and the last second of a certificate's validity (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl Validity {
    fn read(contents: &[u8]) -> Result<Self, CertificateError> {
        let mut reader = DerReader::new(contents);
        let not_before = reader.time().ok_or(CertificateError::MalformedTime)?;
        let not_after = reader.time().ok_or(CertificateError::MalformedTime)?;
        reader.finish().ok_or(CertificateError::Malformed)?;
        Ok(Self { not_before, not_after })
    }

    pub(crate) fn check(self, now: UnixTime) -> Result<(), CertificateError> {
        let Self { not_before, not_after } = self;
        if now < not_before {
            return Err(CertificateError::NotYetValid { not_before, now });
        }
        if now > not_after {
            return Err(CertificateError::Expired { not_after, now });
        }
        Ok(())
    }
}

fn read_name(der: &[u8]) -> Result<X509Name<'_>, CertificateError> {
    match X509Name::from_der(der) {
        Ok(([], name)) => Ok(name),
        _ => Err(CertificateError::Malformed),
    }
}

/// An INTEGER without the zeros in front: serial numbers are compared as numbers.
pub(crate) fn without_leading_zeros(mut integer: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = integer {
        integer = rest;
    }
    integer
}

/// The first common name, shortened, for messages.
pub(crate) fn common_name(name: &X509Name<'_>) -> String {
    let text = name.iter_common_name().next().and_then(|attribute| attribute.as_str().ok());
    shorten(text.unwrap_or_default(), 100)
}
