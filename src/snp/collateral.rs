//! The collateral of a report, as received or verified before: the certificate of its key, and AMD's CRLs.

use super::bundle::CertificateBundle;
use super::chain::VerifiedVek;
use super::crl::VerifiedCrl;
use super::error::{CrlError, ReportError};
use super::{AmdAnchors, CaChain};
use crate::x509::CertificateError;

/// The certificate of the key that signed a report (VCEK or VLEK).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Vek {
    /// As received, in DER, with the certificates above it if provided: issuer (ASK or ASVK), then root (ARK).
    Received {
        /// The certificate of the signing key.
        der: Vec<u8>,
        /// Issuer and root; they must be AMD's.
        chain: Option<(Vec<u8>, Vec<u8>)>,
    },
    /// As received, optionally with the certificates above it, in any order: see [`VerifiedVek::from_bundle`].
    Bundle(CertificateBundle),
    /// Already verified under the same anchors: only the checks that depend on the report and the time are repeated.
    Verified(VerifiedVek),
}

impl Vek {
    /// Wraps a single certificate in DER.
    #[must_use]
    pub fn from_der(der: impl Into<Vec<u8>>) -> Self {
        Self::Received { der: der.into(), chain: None }
    }

    /// Parses certificates in PEM, as agents send them, or one in DER, as AMD's service sends it.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] as [`CertificateBundle::from_pem_or_der`].
    pub fn from_pem_or_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        CertificateBundle::from_pem_or_der(bytes).map(Self::Bundle)
    }

    /// Verifies the certificate, or returns the one that was verified before.
    pub(super) fn verify(&self, anchors: &AmdAnchors) -> Result<VerifiedVek, ReportError> {
        match self {
            Self::Received { der, chain } => {
                let chain = chain.as_ref().map(|(issuer, ark)| CaChain { issuer, ark });
                VerifiedVek::verify(der, chain, anchors)
            }
            Self::Bundle(bundle) => VerifiedVek::from_bundle(bundle, anchors),
            Self::Verified(vek) => vek.check_anchors(anchors).map(|()| vek.clone()),
        }
    }
}

/// AMD's CRL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Crl {
    /// As received, in DER.
    Received(Vec<u8>),
    /// Already verified: only its dates are checked again.
    Verified(VerifiedCrl),
}

impl Crl {
    /// Verifies the CRL with the chain of a certificate, or returns the one that was verified before.
    pub(super) fn verify(&self, vek: &VerifiedVek) -> Result<VerifiedCrl, CrlError> {
        match self {
            Self::Received(der) => vek.verify_crl(der),
            Self::Verified(crl) => Ok(crl.clone()),
        }
    }
}

/// The collateral to verify a report with: the certificate of its key, and CRLs. All of it is untrusted.
#[derive(Clone, Debug)]
pub struct Collateral {
    pub(super) vek: Vek,
    pub(super) crls: Vec<Crl>,
}

impl Collateral {
    /// Uses a certificate of the signing key (VCEK or VLEK) in DER; [`Self::bundle`] takes PEM.
    #[must_use]
    pub fn new(vek: &[u8]) -> Self {
        Self::from(Vek::from_der(vek))
    }

    /// Uses a certificate of the signing key that was verified under the same roots. The checks that depend on the report and
    /// the time are repeated.
    #[must_use]
    pub fn verified(vek: &VerifiedVek) -> Self {
        Self::from(Vek::Verified(vek.clone()))
    }

    /// Uses the certificates that came with the report: see [`VerifiedVek::from_bundle`].
    #[must_use]
    pub fn bundle(bundle: &CertificateBundle) -> Self {
        Self::from(Vek::Bundle(bundle.clone()))
    }

    /// Adds the provided certificates of issuer and root. They are optional; if given, they must be AMD's. Ignored with a
    /// bundle or a certificate that is already verified.
    #[must_use]
    pub fn with_chain(mut self, with: CaChain<'_>) -> Self {
        if let Vek::Received { chain, .. } = &mut self.vek {
            *chain = Some((with.issuer.to_vec(), with.ark.to_vec()));
        }
        self
    }

    /// Adds a CRL of AMD for the product, in DER. AMD signs one for the issuer of VCEKs and one for the issuer of VLEKs; a
    /// certificate that any of them revokes is refused.
    #[must_use]
    pub fn with_crl(mut self, der: &[u8]) -> Self {
        self.crls.push(Crl::Received(der.to_vec()));
        self
    }

    /// Adds a CRL of AMD for the product, already verified.
    #[must_use]
    pub fn with_verified_crl(mut self, crl: &VerifiedCrl) -> Self {
        self.crls.push(Crl::Verified(crl.clone()));
        self
    }
}

impl From<Vek> for Collateral {
    fn from(vek: Vek) -> Self {
        Self { vek, crls: Vec::new() }
    }
}
