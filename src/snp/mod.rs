//! Is the report really AMD's? The hardware's own word, verified down to the roots that AMD publishes.
//!
//! Pure: bytes, certificates and a time go in, a verdict comes out. Nothing here knows what a policy requires.
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
//! Agents, caches and AMD's download service are only carriers of certificates: nothing they send is trusted.

mod anchors;
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
pub use bundle::CertificateBundle;
pub use chain::VerifiedVek;
pub use collateral::{CollateralRequest, chain_path, crl_path, vcek_path};
pub use crl::VerifiedCrl;
pub use error::{CertificateRole, CrlError, ReportError, TcbPart};
pub use inspect::UnverifiedReport;
pub use report::REPORT_LEN;
pub use revocation::{NotEvaluated, Revocation, RevocationOutcome};
pub use vek::{VekCertificate, VekIdentity};

use crate::claims::{HardwareClaims, SnpClaims};
use crate::types::{Product, Sha256Digest, UnixTime};

pub use crate::x509::CertificateError;

/// Verifies a report with what came along to verify it.
///
/// `report` is the 1184 bytes as the firmware made them, `now` the time at which certificates and lists must be valid.
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
    let verified_here;
    let crl = match collateral.crl {
        _ if revocation == Revocation::Off => Err(CrlError::Missing),
        CrlSource::Missing => Err(CrlError::Missing),
        CrlSource::Verified(crl) => Ok(crl),
        CrlSource::Der(der) => {
            verified_here = vek.verify_crl(der);
            verified_here.as_ref().map_err(Clone::clone)
        }
    };
    vek.verify_raw(&report, crl, revocation, now)
}

/// The claims of a report whose form alone is checked. A report of version 2 does not say its product: it is read in the layout
/// that Milan and Genoa share, and the claims name none.
pub(crate) fn unverified_claims(report: &[u8]) -> Result<(SnpClaims, HardwareClaims), ReportError> {
    let report = report::RawReport::read(report)?;
    let mut fields = report.fields(report.product.unwrap_or(Product::Milan))?;
    fields.snp.product = report.product;
    Ok((fields.snp, fields.hardware))
}

/// What comes along with a report to verify it. All of it is untrusted.
#[derive(Clone, Copy, Debug)]
pub struct Collateral<'a> {
    vek: VekSource<'a>,
    chain: Option<CaChain<'a>>,
    crl: CrlSource<'a>,
}

#[derive(Clone, Copy, Debug)]
enum VekSource<'a> {
    Der(&'a [u8]),
    Bundle(&'a CertificateBundle),
    Verified(&'a VerifiedVek),
}

#[derive(Clone, Copy, Debug)]
enum CrlSource<'a> {
    Missing,
    Der(&'a [u8]),
    Verified(&'a VerifiedCrl),
}

impl<'a> Collateral<'a> {
    /// The certificate of the signing key (VCEK or VLEK), in DER: [`VekCertificate::from_pem`] reads PEM.
    #[must_use]
    pub const fn new(vek: &'a [u8]) -> Self {
        Self { vek: VekSource::Der(vek), chain: None, crl: CrlSource::Missing }
    }

    /// The certificate of the signing key, verified before under the same roots: what depends on the report and the time is
    /// checked again.
    #[must_use]
    pub const fn verified(vek: &'a VerifiedVek) -> Self {
        Self { vek: VekSource::Verified(vek), chain: None, crl: CrlSource::Missing }
    }

    /// The certificates that came with the report: see [`VerifiedVek::from_bundle`].
    #[must_use]
    pub const fn bundle(bundle: &'a CertificateBundle) -> Self {
        Self { vek: VekSource::Bundle(bundle), chain: None, crl: CrlSource::Missing }
    }

    /// The certificates of issuer and root that came along. They are not needed; if given, they must be AMD's. Of no use beside a
    /// certificate that was verified before.
    #[must_use]
    pub const fn with_chain(self, chain: CaChain<'a>) -> Self {
        Self { chain: Some(chain), ..self }
    }

    /// AMD's revocation list for the product, in DER.
    #[must_use]
    pub const fn with_crl(self, der: &'a [u8]) -> Self {
        Self { crl: CrlSource::Der(der), ..self }
    }

    /// AMD's revocation list for the product, verified before.
    #[must_use]
    pub const fn with_verified_crl(self, crl: &'a VerifiedCrl) -> Self {
        Self { crl: CrlSource::Verified(crl), ..self }
    }
}

/// The certificates of issuer (ASK or ASVK) and root (ARK) as they came, in DER.
#[derive(Clone, Copy, Debug)]
pub struct CaChain<'a> {
    /// ASK or ASVK.
    pub issuer: &'a [u8],
    /// ARK.
    pub ark: &'a [u8],
}

/// The certificates of a PEM file, in DER: a VCEK or VLEK, its issuer and its root, in this order, as agents send them;
/// the THIM service and AMD's KDS send the last two.
///
/// # Errors
///
/// [`CertificateError::Malformed`] for what is no PEM of certificates, [`CertificateError::TooLarge`] beyond any chain.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    pem::certificates(text)
}

/// A report that is AMD's word: only [`verify`] and [`VerifiedVek::verify_with`] make one.
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
    /// What the report and an MAA token both say.
    #[must_use]
    pub const fn snp(&self) -> &SnpClaims {
        &self.snp
    }

    /// What only the report says.
    #[must_use]
    pub const fn hardware(&self) -> &HardwareClaims {
        &self.hardware
    }

    /// The processor family, as the certificate chain proves it.
    #[must_use]
    pub const fn product(&self) -> Product {
        self.product
    }

    /// What was found out about revocation.
    #[must_use]
    pub const fn revocation(&self) -> &RevocationOutcome {
        &self.revocation
    }

    /// The last second at which everything used is valid: the certificates and, where one was checked, the revocation
    /// list.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// SHA-256 of the signed part of the report, its first 672 bytes (AMD 56860 table 23).
    ///
    /// Not of the whole report: who has one can turn its ECDSA signature `(r, s)` into `(r, n - s)`, which verifies as well.
    /// What was signed is what a report is named by, in a log or in a list of reports that were seen.
    #[must_use]
    pub const fn report_digest(&self) -> Sha256Digest {
        self.report_digest
    }

    /// SHA-256 of the certificate of the signing key, in DER.
    #[must_use]
    pub const fn vek_digest(&self) -> Sha256Digest {
        self.vek_digest
    }

    /// Whether it was verified under own anchors in place of AMD's.
    #[must_use]
    pub const fn has_custom_anchors(&self) -> bool {
        self.custom_anchors
    }
}
