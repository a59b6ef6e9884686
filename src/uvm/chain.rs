//! The certificate chain of an endorsement: every link, with nothing taken from the chain on trust.
//!
//! A small validator of its own, because a general one asks what this chain cannot answer (a server name, a TLS use, the
//! present time) and accepts more algorithms than these chains have.

use x509_parser::asn1_rs::{FromDer, SequenceOf};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{BasicConstraints, KeyUsage, ParsedExtension};
use x509_parser::oid_registry::Oid;

use super::error::{CertificateDefect, EndorsementError, KeyUse, unix_time};
use crate::crypto::{Curve, Hash, PublicKey, Scheme, sha256_digest};
use crate::der::Signed;
use crate::types::{Sha256Digest, UnixTime};

/// A leaf and at least one certificate authority.
pub(super) const MIN_CHAIN: usize = 2;
/// Real chains have three. A long one would make the reader check many signatures for nothing.
pub(super) const MAX_CHAIN: usize = 8;

/// A certificate, read but not verified.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    der: &'a [u8],
    signed: Signed<'a>,
    x509: X509Certificate<'a>,
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Vec<String>,
}

impl<'a> Certificate<'a> {
    /// Reads one certificate; duplicate extensions, unknown critical ones and bytes without a place in it are refused.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, CertificateDefect> {
        let signed = Signed::read(der).ok_or(CertificateDefect::Malformed)?;
        let (rest, x509) = X509Certificate::from_der(der).map_err(|_| CertificateDefect::Malformed)?;
        if !rest.is_empty() || x509.tbs_certificate.signature != x509.signature_algorithm {
            return Err(CertificateDefect::Malformed);
        }
        let mut certificate =
            Self { der, signed, x509, basic_constraints: None, key_usage: None, extended_key_usage: Vec::new() };
        certificate.read_extensions()?;
        Ok(certificate)
    }

    fn read_extensions(&mut self) -> Result<(), CertificateDefect> {
        let tbs = &self.x509.tbs_certificate;
        tbs.extensions_map().map_err(|_| CertificateDefect::Malformed)?;
        for extension in tbs.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(found) => self.basic_constraints = Some(found.clone()),
                ParsedExtension::KeyUsage(found) => self.key_usage = Some(*found),
                ParsedExtension::ExtendedKeyUsage(_) => {
                    let (rest, uses) =
                        SequenceOf::<Oid<'_>>::from_der(extension.value).map_err(|_| CertificateDefect::Malformed)?;
                    if !rest.is_empty() {
                        return Err(CertificateDefect::Malformed);
                    }
                    self.extended_key_usage = uses.iter().map(Oid::to_id_string).collect();
                }
                // Names and policies of a chain that a fingerprint pins decide nothing here.
                ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::IssuerAlternativeName(_)
                | ParsedExtension::CertificatePolicies(_)
                | ParsedExtension::SubjectKeyIdentifier(_)
                | ParsedExtension::AuthorityKeyIdentifier(_) => {}
                ParsedExtension::ParseError { .. } => return Err(CertificateDefect::Malformed),
                _ if extension.critical => {
                    return Err(CertificateDefect::UnknownCriticalExtension { oid: extension.oid.to_id_string() });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// SHA-256 of the whole certificate.
    pub(super) fn fingerprint(&self) -> Sha256Digest {
        sha256_digest(self.der)
    }

    /// The DER of the `SubjectPublicKeyInfo`.
    pub(super) fn public_key(&self) -> &'a [u8] {
        self.x509.tbs_certificate.subject_pki.raw
    }

    /// The curve of the key; `None` for a key of another kind.
    pub(super) fn curve(&self) -> Option<Curve> {
        let algorithm = &self.x509.tbs_certificate.subject_pki.algorithm;
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

    /// The object identifiers of the extended key usage, in dotted form.
    pub(super) fn uses(&self) -> &[String] {
        &self.extended_key_usage
    }

    /// The values of one attribute of the subject, by its object identifier.
    pub(super) fn subject_values(&self, oid: &str) -> Vec<String> {
        self.x509
            .subject()
            .iter_attributes()
            .filter(|attribute| attribute.attr_type().to_id_string() == oid)
            .filter_map(|attribute| attribute.as_str().ok().map(str::to_owned))
            .collect()
    }

    /// Subject and issuer as text, for display.
    pub(super) fn names(&self) -> (String, String) {
        (self.x509.subject().to_string(), self.x509.issuer().to_string())
    }

    /// The beginning and the end of the certificate's life.
    pub(super) fn validity(&self) -> (UnixTime, UnixTime) {
        let (from, to) = self.validity_secs();
        (unix_time(from), unix_time(to))
    }

    fn validity_secs(&self) -> (i64, i64) {
        let validity = self.x509.validity();
        (validity.not_before.timestamp(), validity.not_after.timestamp())
    }

    fn is_self_issued(&self) -> bool {
        self.x509.subject().as_raw() == self.x509.issuer().as_raw()
    }

    fn check_validity(&self, at: i64) -> Result<(), CertificateDefect> {
        let (not_before, not_after) = self.validity_secs();
        if at < not_before || at > not_after {
            return Err(CertificateDefect::OutsideValidity { at, not_before, not_after });
        }
        Ok(())
    }

    /// Whether this certificate may sign certificates with `below` authorities between it and the leaf.
    fn check_authority(&self, below: u32) -> Result<(), CertificateDefect> {
        let constraints = self.basic_constraints.as_ref().filter(|found| found.ca).ok_or(CertificateDefect::NotACa)?;
        if let Some(allowed) = constraints.path_len_constraint
            && below > allowed
        {
            return Err(CertificateDefect::PathTooLong { allowed, actual: below });
        }
        match self.key_usage {
            Some(usage) if !usage.key_cert_sign() => Err(CertificateDefect::WrongKeyUsage(KeyUse::Certificates)),
            _ => Ok(()),
        }
    }

    fn check_signs_documents(&self) -> Result<(), CertificateDefect> {
        match self.key_usage {
            Some(usage) if !usage.digital_signature() => Err(CertificateDefect::WrongKeyUsage(KeyUse::Documents)),
            _ => Ok(()),
        }
    }

    fn check_issued_by(&self, issuer: &Certificate<'_>) -> Result<(), CertificateDefect> {
        if self.x509.issuer().as_raw() != issuer.x509.subject().as_raw() {
            return Err(CertificateDefect::IssuerMismatch);
        }
        let scheme = match CERTIFICATE_ALGORITHMS.iter().find(|(der, _)| *der == self.signed.algorithm) {
            Some((_, CertificateScheme::Rsa(scheme))) => *scheme,
            Some((_, CertificateScheme::Ecdsa(hash))) => {
                Scheme::EcdsaDer(issuer.curve().ok_or(CertificateDefect::UnusableKey)?, *hash)
            }
            None => return Err(CertificateDefect::UnsupportedAlgorithm),
        };
        PublicKey::from_der(scheme, issuer.public_key())
            .map_err(|_| CertificateDefect::UnusableKey)?
            .verify(self.signed.body.whole, self.signed.signature)
            .map_err(|_| CertificateDefect::BadSignature)
    }
}

/// Reads the certificates of a chain, leaf first.
pub(super) fn read_chain(chain: &[Vec<u8>]) -> Result<Vec<Certificate<'_>>, EndorsementError> {
    if chain.len() < MIN_CHAIN || chain.len() > MAX_CHAIN {
        return Err(EndorsementError::ChainLength { min: MIN_CHAIN, max: MAX_CHAIN, actual: chain.len() });
    }
    chain
        .iter()
        .enumerate()
        .map(|(index, der)| Certificate::read(der).map_err(|defect| EndorsementError::Certificate { index, defect }))
        .collect()
}

/// Verifies every link from the leaf to the last certificate.
///
/// The time of the chain is the beginning of the leaf's life: endorsements outlive their leaf, which lives for a year,
/// and what ends an endorsement is the least security version that the policy accepts. The last certificate's own
/// signature proves nothing and is not looked at: its fingerprint is what the issuer pins.
pub(super) fn verify_chain(chain: &[Certificate<'_>]) -> Result<(), EndorsementError> {
    let refuse = |index| move |defect| EndorsementError::Certificate { index, defect };
    let Some((leaf, _)) = chain.split_first() else {
        return Err(EndorsementError::ChainLength { min: MIN_CHAIN, max: MAX_CHAIN, actual: 0 });
    };
    let (at, _) = leaf.validity_secs();
    leaf.check_signs_documents().map_err(refuse(0))?;
    let mut below: u32 = 0;
    for (index, certificate) in chain.iter().enumerate() {
        certificate.check_validity(at).map_err(refuse(index))?;
        if index > 0 {
            certificate.check_authority(below).map_err(refuse(index))?;
            // RFC 5280 section 4.2.1.9: a self-issued certificate does not count.
            if !certificate.is_self_issued() {
                below = below.saturating_add(1);
            }
        }
    }
    for (index, (certificate, issuer)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
        certificate.check_issued_by(issuer).map_err(refuse(index))?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum CertificateScheme {
    Rsa(Scheme),
    Ecdsa(Hash),
}

/// The signature algorithms of certificates, each in the one encoding that its RFC gives it: RFC 4055 for RSA (two
/// encodings of PSS are in use, with and without the default trailer field), RFC 5758 for ECDSA.
const CERTIFICATE_ALGORITHMS: [(&[u8], CertificateScheme); 12] = {
    use CertificateScheme::{Ecdsa, Rsa};
    [
        (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00", Rsa(Scheme::RsaPkcs1Sha256)),
        (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00", Rsa(Scheme::RsaPkcs1Sha384)),
        (b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00", Rsa(Scheme::RsaPkcs1Sha512)),
        (
            b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20",
            Rsa(Scheme::RsaPssSha256),
        ),
        (
            b"\x30\x46\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20\xa3\x03\x02\x01\x01",
            Rsa(Scheme::RsaPssSha256),
        ),
        (
            b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30",
            Rsa(Scheme::RsaPssSha384),
        ),
        (
            b"\x30\x46\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\xa2\x03\x02\x01\x30\xa3\x03\x02\x01\x01",
            Rsa(Scheme::RsaPssSha384),
        ),
        (
            b"\x30\x41\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa2\x03\x02\x01\x40",
            Rsa(Scheme::RsaPssSha512),
        ),
        (
            b"\x30\x46\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\xa2\x03\x02\x01\x40\xa3\x03\x02\x01\x01",
            Rsa(Scheme::RsaPssSha512),
        ),
        (b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", Ecdsa(Hash::Sha256)),
        (b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03", Ecdsa(Hash::Sha384)),
        (b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04", Ecdsa(Hash::Sha512)),
    ]
};
