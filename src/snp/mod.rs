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
pub use collateral::{CollateralRequest, chain_path, crl_path, vcek_path};
pub(crate) use crl::UnverifiedCrl;
pub use crl::VerifiedCrl;
pub use error::{CertificateRole, CrlError, ReportError, TcbPart};
pub use inspect::UnverifiedReport;
pub use report::REPORT_LEN;
pub use revocation::{NotEvaluated, Revocation, RevocationOutcome};
pub use vek::{VekCertificate, VekIdentity};

use crate::claims::{HardwareClaims, SnpClaims};
use crate::types::{Product, Sha256Digest, UnixTime};

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
    collateral: &Collateral<'_>,
    anchors: &AmdAnchors,
    revocation: Revocation,
    now: UnixTime,
) -> Result<VerifiedReport, ReportError> {
    let report = report::RawReport::read(report)?;
    let verified_here;
    let vek = match collateral.vek {
        VekSource::Verified(vek) => {
            vek.check_anchors(anchors)?;
            vek
        }
        VekSource::Der(der) => {
            verified_here = VerifiedVek::verify(der, collateral.chain, anchors)?;
            &verified_here
        }
        VekSource::Bundle(bundle) => {
            verified_here = VerifiedVek::from_bundle(bundle, anchors)?;
            &verified_here
        }
    };
    let crls: Vec<_> =
        collateral.crls.iter().filter(|_| revocation != Revocation::Off).map(|crl| crl.verify(vek)).collect();
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

/// The collateral to verify a report with: certificates and CRLs. All of it is untrusted.
#[derive(Clone, Debug)]
pub struct Collateral<'a> {
    vek: VekSource<'a>,
    chain: Option<CaChain<'a>>,
    crls: Vec<CrlSource<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum VekSource<'a> {
    Der(&'a [u8]),
    Bundle(&'a CertificateBundle),
    Verified(&'a VerifiedVek),
}

#[derive(Clone, Copy, Debug)]
enum CrlSource<'a> {
    Der(&'a [u8]),
    Verified(&'a VerifiedCrl),
}

impl CrlSource<'_> {
    fn verify(self, vek: &VerifiedVek) -> Result<VerifiedCrl, CrlError> {
        match self {
            Self::Der(der) => vek.verify_crl(der),
            Self::Verified(crl) => Ok(crl.clone()),
        }
    }
}

impl<'a> Collateral<'a> {
    /// Uses a certificate of the signing key (VCEK or VLEK) in DER; [`VekCertificate::from_pem`] reads PEM.
    #[must_use]
    pub const fn new(vek: &'a [u8]) -> Self {
        Self { vek: VekSource::Der(vek), chain: None, crls: Vec::new() }
    }

    /// Uses a certificate of the signing key that was verified under the same roots. The checks that depend on the report and
    /// the time are repeated.
    #[must_use]
    pub const fn verified(vek: &'a VerifiedVek) -> Self {
        Self { vek: VekSource::Verified(vek), chain: None, crls: Vec::new() }
    }

    /// Uses the certificates that came with the report: see [`VerifiedVek::from_bundle`].
    #[must_use]
    pub const fn bundle(bundle: &'a CertificateBundle) -> Self {
        Self { vek: VekSource::Bundle(bundle), chain: None, crls: Vec::new() }
    }

    /// Adds the provided certificates of issuer and root. They are optional; if given, they must be AMD's. Ignored with a
    /// certificate that is already verified.
    #[must_use]
    pub fn with_chain(self, chain: CaChain<'a>) -> Self {
        Self { chain: Some(chain), ..self }
    }

    /// Adds a CRL of AMD for the product, in DER. AMD signs one for the issuer of VCEKs and one for the issuer of VLEKs; a
    /// certificate that any of them revokes is refused.
    #[must_use]
    pub fn with_crl(mut self, der: &'a [u8]) -> Self {
        self.crls.push(CrlSource::Der(der));
        self
    }

    /// Adds a CRL of AMD for the product, already verified.
    #[must_use]
    pub fn with_verified_crl(mut self, crl: &'a VerifiedCrl) -> Self {
        self.crls.push(CrlSource::Verified(crl));
        self
    }
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
/// [`CertificateError::Malformed`] unless the input is PEM with certificates, [`CertificateError::TooLarge`] beyond 128 KiB.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    pem::certificates(text)
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

    /// Returns the last second at which the certificates and, if one was checked, the CRL are valid.
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
