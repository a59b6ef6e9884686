//! Step 3: verifies hardware reports (SEV-SNP attestation reports) down to AMD's roots.
//!
//! Pure functions of bytes, certificates and a time, which know nothing of policies.
//!
//! A report is accepted when all of this holds:
//!
//! 1. it has the length, version and reserved bytes of AMD 56860, and a processor family whose roots are known;
//! 2. the certificate of its signing key (VCEK or VLEK) is signed by the ASK or ASVK of that family, whose root, the
//!    ARK, is pinned here by its key; all of them are valid now;
//! 3. AMD has not revoked them ([`Revocation`]);
//! 4. the certificate is for the kind of key, the processor family, the chip and exactly the TCB that the report names;
//! 5. its key signed the report, over the bytes as they came.
//!
//! Agents, caches and AMD's download service only transport certificates: nothing that they send is trusted.

mod anchors;
mod anchors_pem;
mod bundle;
mod certificate;
mod chain;
mod collateral;
mod collateral_request;
mod crl;
mod error;
mod inspect;
mod pem;
mod product;
mod report;
mod revocation;
mod vek;

pub(crate) use anchors::BUILTIN_CERTIFICATES;
pub use anchors::{AmdAnchors, CustomAnchors};
pub use anchors_pem::AnchorsError;
pub use bundle::CertificateBundle;
pub use chain::VerifiedVek;
pub use collateral::{Collateral, Crl, Vek};
pub use collateral_request::{CollateralRequest, chain_path, crl_path, vcek_path};
pub(crate) use crl::UnverifiedCrl;
pub use crl::VerifiedCrl;
pub use error::{CertificateRole, CrlError, ReportError, TcbPart};
pub use inspect::UnverifiedReport;
#[cfg(feature = "client")]
pub(crate) use pem::certificate as certificate_pem;
pub use report::REPORT_LEN;
pub use revocation::{NotEvaluated, RevocationOutcome};
pub use vek::{VekCertificate, VekIdentity};

use crate::claims::{HardwareClaims, SnpClaims};
use crate::types::{Product, Sha256Digest, UnixTime};

pub use crate::types::Revocation;
pub use crate::x509::CertificateError;

/// Verifies a report with its collateral.
///
/// `report` is the 1184 bytes from the firmware, `now` the time at which certificates and CRLs must be valid.
///
/// # Errors
///
/// [`ReportError`] for the first of the conditions above that does not hold.
pub fn verify(
    report: &[u8],
    collateral: &Collateral,
    anchors: &AmdAnchors,
    revocation: Revocation,
    now: UnixTime,
) -> Result<VerifiedReport, ReportError> {
    verify_with(report, &collateral.vek, &collateral.crls, anchors, revocation, now)
}

/// Verifies a report with the certificate of its key and CRLs, each as received or verified before.
pub(crate) fn verify_with(
    report: &[u8],
    vek: &Vek,
    crls: &[Crl],
    anchors: &AmdAnchors,
    revocation: Revocation,
    now: UnixTime,
) -> Result<VerifiedReport, ReportError> {
    let report = report::RawReport::read(report)?;
    let vek = vek.verify(anchors)?;
    let crls: Vec<_> = crls.iter().filter(|_| revocation != Revocation::Off).map(|crl| crl.verify(&vek)).collect();
    vek.verify_raw(&report, &crls, revocation, now)
}

/// Reads the claims of a report of which only the format is checked. A report of version 2 does not name its product: it is
/// read in the layout that Milan and Genoa share, and the claims have no product.
pub(crate) fn unverified_claims(report: &[u8]) -> Result<(SnpClaims, HardwareClaims), ReportError> {
    let report = report::RawReport::read(report)?;
    let mut fields = report.fields(report.product.unwrap_or(Product::Milan))?;
    fields.snp.product = report.product;
    Ok((fields.snp, fields.hardware))
}

/// The provided certificates of issuer (ASK or ASVK) and root (ARK), in DER.
#[derive(Clone, Copy, Debug)]
pub struct CaChain<'a> {
    /// ASK or ASVK.
    pub issuer: &'a [u8],
    /// ARK.
    pub ark: &'a [u8],
}

/// Returns the certificates of a PEM file, in DER: a VCEK or VLEK, its issuer and its root, in this order, as agents send them;
/// the THIM service and AMD's KDS send the last two.
///
/// # Errors
///
/// [`CertificateError::Malformed`] unless the input is PEM with certificates, [`CertificateError::TooLarge`] beyond 144 KiB.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    pem::certificates(text)
}

/// Returns the certificates of a file in PEM, or one certificate in DER, each in DER. They are not parsed.
///
/// # Errors
///
/// As [`certificates_from_pem`]; [`CertificateError::Malformed`] for no bytes, [`CertificateError::TooLarge`] for more than 8 KiB of DER.
pub fn certificates_from_pem_or_der(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    pem::certificates_or_der(bytes)
}

/// A report with a verified signature chain up to AMD's root; only [`verify`] and [`VerifiedVek::verify_with`] create one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct VerifiedReport {
    snp: SnpClaims,
    hardware: HardwareClaims,
    product: Product,
    revocation: RevocationOutcome,
    expires_at: UnixTime,
    report_digest: Sha256Digest,
    vek_digest: Sha256Digest,
    custom_anchors: bool,
}

impl VerifiedReport {
    /// Returns the claims that an MAA token carries too.
    #[must_use]
    pub const fn snp(&self) -> &SnpClaims {
        &self.snp
    }

    /// Returns the claims that only the report carries.
    #[must_use]
    pub const fn hardware(&self) -> &HardwareClaims {
        &self.hardware
    }

    /// Returns the product, as the certificate chain proves it.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// Returns the result of the revocation check.
    #[must_use]
    pub const fn revocation(&self) -> &RevocationOutcome {
        &self.revocation
    }

    /// Returns the last second at which the certificates are valid and, if a CRL was checked, at which it is valid and not older than
    /// required.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// Returns the SHA-256 of the signed part of the report, its first 672 bytes (AMD 56860 table 23).
    ///
    /// The signature is not included: anyone can turn an ECDSA signature `(r, s)` into `(r, n - s)`, which verifies as well. Use
    /// this digest to identify a report, in a log or in a list of reports that were seen.
    #[must_use]
    pub const fn report_digest(&self) -> Sha256Digest {
        self.report_digest
    }

    /// Returns the SHA-256 of the certificate of the signing key, in DER.
    #[must_use]
    pub const fn vek_digest(&self) -> Sha256Digest {
        self.vek_digest
    }

    /// Whether it was verified under custom anchors instead of AMD's.
    #[must_use]
    pub const fn has_custom_anchors(&self) -> bool {
        self.custom_anchors
    }
}
