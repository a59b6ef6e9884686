//! A bundle of certificates that an agent sends with a report, in any order.

use super::CaChain;
use super::pem;
use crate::x509::{Certificate, CertificateError};

/// The certificates of an agent, the THIM service or a file: that of the key that signed a report (VCEK or VLEK), optionally
/// with its issuer (ASK or ASVK) and root (ARK). At most 9, each of at most 8 KiB. Not verified:
/// [`VerifiedVek::from_bundle`](super::VerifiedVek::from_bundle) does that.
///
/// Certificates are identified by their subjects, so that their order does not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateBundle {
    certificates: Vec<Vec<u8>>,
}

impl CertificateBundle {
    /// Parses PEM (RFC 7468). Text before, between and after the certificates is ignored.
    ///
    /// # Errors
    ///
    /// [`CertificateError::Malformed`] unless the input is PEM, [`CertificateError::TooManyCertificates`] beyond 9 certificates,
    /// [`CertificateError::TooLarge`] beyond 144 KiB.
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self { certificates: pem::certificates(text)? })
    }

    /// Parses PEM, or one certificate in DER, as AMD's Key Distribution Service sends a VCEK.
    ///
    /// # Errors
    ///
    /// As [`Self::from_pem`]; [`CertificateError::TooLarge`] for more than 8 KiB of DER.
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self { certificates: pem::certificates_or_der(bytes)? })
    }

    /// Adds the certificates of another bundle after these.
    #[cfg(feature = "client")]
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.certificates.extend(other.certificates);
        self
    }

    /// Returns the certificates in DER, in their original order.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(Vec::as_slice)
    }

    /// Returns the certificate of the signing key, in DER. If no subject is that of a signing key, it is the first certificate,
    /// which the later error is then about.
    #[must_use]
    pub fn vek(&self) -> &[u8] {
        let vek = self.by_subject(|subject| matches!(subject, "SEV-VCEK" | "SEV-VLEK"));
        vek.or_else(|| self.certificates().next()).unwrap_or_default()
    }

    /// Returns issuer and root, if the bundle has both.
    #[must_use]
    pub fn chain(&self) -> Option<CaChain<'_>> {
        let ark = self.by_subject(|subject| subject.starts_with("ARK-"))?;
        let is_issuer = |subject: &str| subject.starts_with("SEV-") && !matches!(subject, "SEV-VCEK" | "SEV-VLEK");
        Some(CaChain { issuer: self.by_subject(is_issuer)?, ark })
    }

    fn by_subject(&self, is: impl Fn(&str) -> bool) -> Option<&[u8]> {
        self.certificates().find(|der| Certificate::read(der).is_ok_and(|read| is(&read.subject_common_name())))
    }
}
