//! What all of AMD's certificates have in common, and the rules for the CA certificates among them.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::error::{CertificateError, CertificateRole, ReportError};
use crate::crypto::{PublicKey, Scheme, sha256_digest};
use crate::der::{CONTEXT_0, CONTEXT_3, INTEGER, Reader, SEQUENCE, Signed};
use crate::types::{Sha256Digest, UnixTime, shorten};

/// AMD's certificates have 1.3 to 1.7 KB. More is somebody trying to keep us busy.
pub(crate) const MAX_CERTIFICATE_LEN: usize = 8 * 1024;

/// RSA-PSS with SHA-384, MGF1 with SHA-384, salt 48 (RFC 4055): AMD's newer encoding, without the default trailer field.
const RSA_PSS: [u8; 0x43] = [
    0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d,
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09,
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
    0x04, 0x02, 0x02, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x30,
];
/// The same with the default trailer field written out: AMD's older encoding, which DER forbids and AMD uses.
const RSA_PSS_WITH_TRAILER: [u8; 0x48] = [
    0x30, 0x46, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30, 0x39, 0xa0, 0x0f, 0x30, 0x0d,
    0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09,
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
    0x04, 0x02, 0x02, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x30, 0xa3, 0x03, 0x02, 0x01, 0x01,
];

/// Whether an `AlgorithmIdentifier` is, byte for byte, one of the two that AMD uses.
pub(crate) fn is_rsa_pss_sha384(algorithm: &[u8]) -> bool {
    algorithm == RSA_PSS || algorithm == RSA_PSS_WITH_TRAILER
}

/// A certificate taken apart. Not verified.
pub(crate) struct Certificate<'a> {
    signed: Signed<'a>,
    pub(crate) x509: X509Certificate<'a>,
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) public_key: &'a [u8],
    pub(crate) validity: Validity,
}

impl<'a> Certificate<'a> {
    /// Reads exactly one certificate of version 3 that names one of AMD's signature algorithms.
    pub(crate) fn read(der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_LEN {
            return Err(CertificateError::TooLarge { limit: MAX_CERTIFICATE_LEN, actual: der.len() });
        }
        let signed = Signed::read(der).ok_or(CertificateError::Malformed)?;
        let parts = TbsParts::read(signed.body.contents).ok_or(CertificateError::Malformed)?;
        if parts.version != [INTEGER, 1, 2] {
            return Err(CertificateError::UnsupportedVersion);
        }
        if !is_rsa_pss_sha384(signed.algorithm) {
            return Err(CertificateError::UnsupportedAlgorithm);
        }
        if parts.algorithm != signed.algorithm {
            return Err(CertificateError::AlgorithmsDiffer);
        }
        let (rest, x509) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let validity = Validity {
            not_before: unix_time(x509.validity().not_before).ok_or(CertificateError::Malformed)?,
            not_after: unix_time(x509.validity().not_after).ok_or(CertificateError::Malformed)?,
        };
        let TbsParts { issuer, subject, public_key, .. } = parts;
        Ok(Self { signed, x509, issuer, subject, public_key, validity })
    }

    pub(crate) fn issuer_name(&self) -> String {
        common_name(self.x509.issuer())
    }

    pub(crate) fn subject_name(&self) -> String {
        common_name(self.x509.subject())
    }

    /// Verifies the signature under the key of a CA certificate.
    pub(crate) fn verify_signature(&self, issuer: &CaCertificate) -> Result<(), CertificateError> {
        issuer.verify(&self.signed)
    }
}

/// The elements of a `TBSCertificate`, each in full.
struct TbsParts<'a> {
    version: &'a [u8],
    algorithm: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    public_key: &'a [u8],
}

impl<'a> TbsParts<'a> {
    fn read(contents: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(contents);
        // Of a certificate of version 1 the version is absent.
        let version = if reader.is_next(CONTEXT_0) { reader.expect(CONTEXT_0)?.contents } else { &[] };
        reader.expect(INTEGER)?;
        let algorithm = reader.expect(SEQUENCE)?.whole;
        let issuer = reader.expect(SEQUENCE)?.whole;
        reader.expect(SEQUENCE)?;
        let subject = reader.expect(SEQUENCE)?.whole;
        let public_key = reader.expect(SEQUENCE)?.whole;
        reader.expect(CONTEXT_3)?;
        reader.finish()?;
        Some(Self { version, algorithm, issuer, subject, public_key })
    }
}

/// From and until when, both inclusive (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl Validity {
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

/// A CA certificate with what is needed to check what it issued. That its own signature holds is the business of
/// whoever keeps it: see [`super::anchors`] and [`super::chain`].
#[derive(Clone, Debug)]
pub(crate) struct CaCertificate {
    pub(crate) role: CertificateRole,
    pub(crate) der: Vec<u8>,
    /// The DER of the subject's name.
    pub(crate) subject: Vec<u8>,
    pub(crate) subject_name: String,
    pub(crate) key: PublicKey,
    /// SHA-256 of the DER of `SubjectPublicKeyInfo`.
    pub(crate) key_digest: Sha256Digest,
    /// The serial number without leading zeros.
    pub(crate) serial: Vec<u8>,
    pub(crate) validity: Validity,
}

impl CaCertificate {
    /// Reads a CA certificate of AMD's hierarchy: an RSA-4096 key that may sign certificates.
    pub(crate) fn read(
        role: CertificateRole,
        certificate: &Certificate<'_>,
        der: &[u8],
    ) -> Result<Self, CertificateError> {
        check_ca(role, certificate)?;
        if !is_rsa_4096(certificate.public_key) {
            return Err(CertificateError::UnsupportedKey { expected: RSA_4096 });
        }
        let key = PublicKey::from_der(Scheme::RsaPssSha384, certificate.public_key)
            .map_err(|_| CertificateError::UnsupportedKey { expected: RSA_4096 })?;
        Ok(Self {
            role,
            der: der.to_vec(),
            subject: certificate.subject.to_vec(),
            subject_name: certificate.subject_name(),
            key,
            key_digest: sha256_digest(certificate.public_key),
            serial: without_leading_zeros(certificate.x509.raw_serial()).to_vec(),
            validity: certificate.validity,
        })
    }

    /// Verifies what this CA signed.
    pub(crate) fn verify(&self, signed: &Signed<'_>) -> Result<(), CertificateError> {
        self.key.verify(signed.body.whole, signed.signature).map_err(|_| CertificateError::WrongSignature)
    }

    pub(crate) fn check_validity(&self, now: UnixTime) -> Result<(), ReportError> {
        self.validity.check(now).map_err(|cause| ReportError::Certificate { role: self.role, cause })
    }
}

/// CA, may sign certificates (and the root also revocation lists), and below an ASK or ASVK no further CA.
fn check_ca(role: CertificateRole, certificate: &Certificate<'_>) -> Result<(), CertificateError> {
    let mut seen: Vec<String> = Vec::new();
    let (mut is_ca, mut may_sign) = (false, false);
    for extension in certificate.x509.extensions() {
        let oid = extension.oid.to_id_string();
        if seen.contains(&oid) {
            return Err(CertificateError::DuplicateExtension { oid });
        }
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(constraints) => {
                let depth_fits = role == CertificateRole::Ark || constraints.path_len_constraint == Some(0);
                is_ca = constraints.ca && depth_fits;
            }
            ParsedExtension::KeyUsage(usage) => {
                may_sign = usage.key_cert_sign() && (role != CertificateRole::Ark || usage.crl_sign());
            }
            _ if extension.critical => return Err(CertificateError::UnexpectedExtension { oid }),
            _ => {}
        }
        seen.push(oid);
    }
    if is_ca && may_sign { Ok(()) } else { Err(CertificateError::NotACa) }
}

const RSA_4096: &str = "an RSA key of 4096 bits with exponent 65537";

/// Whether the whole `SubjectPublicKeyInfo` is what it must be around the modulus.
fn is_rsa_4096(public_key: &[u8]) -> bool {
    const BEFORE: [u8; 33] = [
        0x30, 0x82, 0x02, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05,
        0x00, 0x03, 0x82, 0x02, 0x0f, 0x00, 0x30, 0x82, 0x02, 0x0a, 0x02, 0x82, 0x02, 0x01, 0x00,
    ];
    const AFTER: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
    public_key.len() == 550 && public_key.starts_with(&BEFORE) && public_key.ends_with(&AFTER)
}

pub(crate) fn unix_time(time: ASN1Time) -> Option<UnixTime> {
    u64::try_from(time.timestamp()).ok().map(UnixTime::from_secs)
}

pub(crate) fn without_leading_zeros(mut integer: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = integer {
        integer = rest;
    }
    integer
}

/// The first common name, for messages.
pub(crate) fn common_name(name: &X509Name<'_>) -> String {
    let text = name.iter_common_name().next().and_then(|attribute| attribute.as_str().ok());
    shorten(text.unwrap_or_default(), 100)
}
