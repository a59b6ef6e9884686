//! AMD's certificates: their common properties, and the rules for CA certificates.

use super::error::{CertificateRole, ReportError};
use crate::crypto::{PublicKey, Scheme, sha256_digest};
use crate::der::Signed;
use crate::types::{Sha256Digest, UnixTime};
use crate::x509::{Certificate, CertificateError, SignatureAlgorithm, Validity};

/// The signature algorithm of all AMD certificates and CRLs.
const RSA_PSS_SHA384: &str = "RSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes";

/// Reads exactly one certificate that names AMD's signature algorithm.
pub(crate) fn read_certificate(der: &[u8]) -> Result<Certificate<'_>, CertificateError> {
    let certificate = Certificate::read(der)?;
    if certificate.signature_algorithm() != Some(SignatureAlgorithm::Rsa(Scheme::RsaPssSha384)) {
        return Err(CertificateError::UnsupportedAlgorithm { expected: RSA_PSS_SHA384 });
    }
    Ok(certificate)
}

/// A CA certificate, parsed to verify what it issued. Its own signature is verified by [`super::anchors`] and
/// [`super::chain`].
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
    pub(crate) fn read(role: CertificateRole, certificate: &Certificate<'_>) -> Result<Self, CertificateError> {
        check_ca(role, certificate)?;
        if !is_rsa_4096(certificate.public_key()) {
            return Err(CertificateError::UnsupportedKey { expected: RSA_4096 });
        }
        let key = PublicKey::from_der(Scheme::RsaPssSha384, certificate.public_key())
            .map_err(|_| CertificateError::UnsupportedKey { expected: RSA_4096 })?;
        Ok(Self {
            role,
            der: certificate.der().to_vec(),
            subject: certificate.subject().to_vec(),
            subject_name: certificate.subject_common_name(),
            key,
            key_digest: sha256_digest(certificate.public_key()),
            serial: certificate.serial().to_vec(),
            validity: certificate.validity(),
        })
    }

    /// Verifies a signature of this CA.
    pub(crate) fn verify(&self, signed: &Signed<'_>) -> Result<(), CertificateError> {
        self.key.verify(signed.body.whole, signed.signature).map_err(|_| CertificateError::WrongSignature)
    }

    pub(crate) fn check_validity(&self, now: UnixTime) -> Result<(), ReportError> {
        self.validity.check(now).map_err(|cause| ReportError::Certificate { role: self.role, cause })
    }
}

/// CA, may sign certificates (and the root also revocation lists), and below an ASK or ASVK no further CA.
fn check_ca(role: CertificateRole, certificate: &Certificate<'_>) -> Result<(), CertificateError> {
    let extensions = certificate.extensions();
    extensions.check_critical(&[])?;
    let constraints = extensions.basic_constraints().filter(|constraints| constraints.ca);
    let usage = extensions.key_usage().filter(|usage| usage.key_cert_sign());
    let (Some(constraints), Some(usage)) = (constraints, usage) else { return Err(CertificateError::NotACa) };
    let fits = match role {
        CertificateRole::Ark => usage.crl_sign(),
        _ => constraints.path_len == Some(0),
    };
    if !fits {
        return Err(CertificateError::NotACa);
    }
    // AMD defines no extended key usage for VCEKs and VLEKs, so any list of usages would exclude them.
    extensions.check_issues_for(&[])
}

const RSA_4096: &str = "an RSA key of 4096 bits with exponent 65537";

/// Whether the `SubjectPublicKeyInfo` has exactly the expected encoding around the modulus.
fn is_rsa_4096(public_key: &[u8]) -> bool {
    const BEFORE: [u8; 33] = [
        0x30, 0x82, 0x02, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05,
        0x00, 0x03, 0x82, 0x02, 0x0f, 0x00, 0x30, 0x82, 0x02, 0x0a, 0x02, 0x82, 0x02, 0x01, 0x00,
    ];
    const AFTER: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
    public_key.len() == 550 && public_key.starts_with(&BEFORE) && public_key.ends_with(&AFTER)
}
