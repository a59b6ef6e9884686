//! From the signing key's certificate to AMD's root, and from the report to the certificate.

use std::sync::Arc;

use super::anchors::{AmdAnchors, ProductAnchors, read, verify_issued_by};
use super::bundle::CertificateBundle;
use super::certificate::CaCertificate;
use super::collateral::CollateralRequest;
use super::crl::VerifiedCrl;
use super::error::{CertificateRole, CrlError, ReportError};
use super::report::{RawReport, check_tcb_order};
use super::revocation::{Authorities, Revocation, RevocationOutcome};
use super::vek::{VekCertificate, VekIdentity};
use super::{CaChain, VerifiedReport};
use crate::claims::SigningKey;
use crate::crypto::sha256_digest;
use crate::types::{Product, UnixTime};
use crate::x509::CertificateError;

/// A VCEK or VLEK whose certificate was verified up to AMD's root: a handle to verify further reports with.
///
/// It saves the signature of the certificate and its parsing, nothing else: [`VerifiedVek::verify_with`] checks dates,
/// revocation, processor family, TCB and chip id against each report. Cheap to clone.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifiedVek {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    vek: VekCertificate,
    issuer: Arc<CaCertificate>,
    ark: Arc<CaCertificate>,
    /// Further certificates of the issuer's and the root's keys, for revocation.
    reissued: Vec<CaCertificate>,
    custom_anchors: bool,
}

impl VerifiedVek {
    /// Verifies the certificate of a signing key (DER) up to the root of its processor family.
    ///
    /// # Errors
    ///
    /// [`ReportError::Certificate`] for whatever is wrong with the certificate or with a chain that came along.
    pub fn verify(vek: &[u8], chain: Option<CaChain<'_>>, anchors: &AmdAnchors) -> Result<Self, ReportError> {
        let vek = VekCertificate::from_der(vek).map_err(refuse_vek)?;
        let product = vek.product();
        let pinned = anchors.product(product).ok_or_else(|| not_pinned(product))?;
        let pinned_issuer = pinned.issuer(vek.kind());
        let (issuer, mut reissued) = match chain {
            None => (Arc::clone(pinned_issuer), Vec::new()),
            Some(chain) => check_chain(chain, pinned, vek.kind())?,
        };
        if issuer.serial != pinned_issuer.serial && issuer.key_digest == pinned_issuer.key_digest {
            reissued.push(CaCertificate::clone(pinned_issuer));
        }
        if vek.issuer() != issuer.subject {
            let (expected, actual) = (issuer.subject_name.clone(), vek.issuer_name().to_owned());
            return Err(refuse_vek(CertificateError::WrongIssuer { expected, actual }));
        }
        vek.verify_signature(&issuer).map_err(refuse_vek)?;
        let ark = Arc::clone(&pinned.ark);
        Ok(Self { inner: Arc::new(Inner { vek, issuer, ark, reissued, custom_anchors: anchors.is_custom() }) })
    }

    /// Verifies the certificate of a signing key among those that came with a report.
    ///
    /// The pinned issuer is enough for a certificate that it signed, so a chain that came along and is not AMD's does no harm.
    /// One that is AMD's is needed only where the issuer has another key than the pinned one.
    ///
    /// # Errors
    ///
    /// [`ReportError::Certificate`] for whatever is wrong with the certificate.
    pub fn from_bundle(bundle: &CertificateBundle, anchors: &AmdAnchors) -> Result<Self, ReportError> {
        let (vek, chain) = (bundle.vek(), bundle.chain());
        match (Self::verify(vek, None, anchors), chain) {
            // A genuine chain may hold the issuer's key under another serial number, which then counts for revocation too.
            (Ok(under_pinned), Some(chain)) => Ok(Self::verify(vek, Some(chain), anchors).unwrap_or(under_pinned)),
            (Err(error), Some(chain)) => Self::verify(vek, Some(chain), anchors).map_err(|_| error),
            (outcome, None) => outcome,
        }
    }

    /// Verifies a report that this key signed.
    ///
    /// # Errors
    ///
    /// [`ReportError`], as [`super::verify`].
    pub fn verify_with(
        &self,
        report: &[u8],
        crl: Option<&VerifiedCrl>,
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<VerifiedReport, ReportError> {
        self.verify_raw(&RawReport::read(report)?, crl.ok_or(CrlError::Missing), revocation, now)
    }

    /// Refuses a handle that was verified under another root than these anchors have.
    pub(super) fn check_anchors(&self, anchors: &AmdAnchors) -> Result<(), ReportError> {
        let product = self.certificate().product();
        match anchors.product(product) {
            Some(pinned) if pinned.ark.key_digest == self.ark().key_digest => Ok(()),
            _ => Err(not_pinned(product)),
        }
    }

    /// Whether the certificate is the one that verifies a report: of its key kind, processor family, chip and TCB, and of the key
    /// that signed it. What else must hold of the report and of dates is not looked at.
    #[cfg(feature = "client")]
    pub(crate) fn check_signer(&self, report: &[u8]) -> Result<(), ReportError> {
        let report = RawReport::read(report)?;
        CollateralRequest::of(&report)?.check(self)?;
        self.verify_signature(&report)
    }

    /// Refuses this key if a CRL names an authority of its chain, however old that CRL is.
    #[cfg(feature = "client")]
    pub(crate) fn check_not_revoked(&self, crl: &VerifiedCrl) -> Result<(), ReportError> {
        match crl.is_by(self.ark()) {
            Ok(()) => self.authorities().check_not_named(crl),
            Err(_) => Ok(()),
        }
    }

    /// Verifies a CRL (DER) under the root of this key's processor family.
    ///
    /// # Errors
    ///
    /// [`CrlError`], as [`VerifiedCrl::verify`].
    pub fn verify_crl(&self, der: &[u8]) -> Result<VerifiedCrl, CrlError> {
        VerifiedCrl::verify_under(der, self.certificate().product(), self.ark())
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &VekCertificate {
        &self.inner.vek
    }

    pub(crate) fn ark(&self) -> &CaCertificate {
        &self.inner.ark
    }

    fn authorities(&self) -> Authorities<'_> {
        let Inner { issuer, ark, reissued, .. } = &*self.inner;
        Authorities { issuer, ark, reissued }
    }

    fn verify_signature(&self, report: &RawReport<'_>) -> Result<(), ReportError> {
        let key = self.certificate().key();
        key.verify(report.body(), &report.signature()?).map_err(|_| ReportError::WrongSignature)
    }

    /// The same with the reason why a CRL that came cannot be used.
    pub(super) fn verify_raw(
        &self,
        report: &RawReport<'_>,
        crl: Result<&VerifiedCrl, CrlError>,
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<VerifiedReport, ReportError> {
        let Inner { vek, issuer, ark, custom_anchors, .. } = &*self.inner;
        ark.check_validity(now)?;
        issuer.check_validity(now)?;
        vek.validity().check(now).map_err(refuse_vek)?;
        let outcome = self.authorities().check(crl, revocation, now)?;

        CollateralRequest::of(report)?.check(self)?;
        let mut fields = report.fields(vek.product())?;
        self.verify_signature(report)?;
        check_tcb_order(&fields)?;

        if let VekIdentity::CloudProvider(name) = vek.identity() {
            fields.hardware.csp_id = Some(name.clone());
        }
        let chain_ends = [ark.validity.not_after, issuer.validity.not_after, vek.not_after()];
        let list_ends = match outcome {
            RevocationOutcome::Checked { next_update, .. } => Some(next_update),
            RevocationOutcome::NotEvaluated { .. } => None,
        };
        let expires_at = chain_ends.into_iter().chain(list_ends).min().unwrap_or(now);
        Ok(VerifiedReport {
            snp: fields.snp,
            hardware: fields.hardware,
            product: vek.product(),
            revocation: outcome,
            expires_at,
            // Of what is signed only: with `(r, s)` also `(r, n - s)` is a signature, so the bytes of a signature name
            // nothing.
            report_digest: sha256_digest(report.body()),
            vek_digest: vek.digest(),
            custom_anchors: *custom_anchors,
        })
    }
}

/// A chain that came along is never trusted: its root must have the pinned key, and an issuer that is not the pinned
/// certificate (AMD reissues them) must be signed by that key. Also returns a root of that key with another certificate.
fn check_chain(
    chain: CaChain<'_>,
    pinned: &ProductAnchors,
    kind: SigningKey,
) -> Result<(Arc<CaCertificate>, Vec<CaCertificate>), ReportError> {
    let mut reissued = Vec::new();
    if chain.ark != pinned.ark.der {
        let ark = read(CertificateRole::Ark, chain.ark, pinned.product)?;
        if ark.key_digest != pinned.ark.key_digest {
            return Err(not_pinned(pinned.product));
        }
        verify_issued_by(CertificateRole::Ark, chain.ark, &pinned.ark)?;
        reissued.push(ark);
    }
    let issuer = pinned.issuer(kind);
    if chain.issuer == issuer.der {
        return Ok((Arc::clone(issuer), reissued));
    }
    let given = read(issuer.role, chain.issuer, pinned.product)?;
    verify_issued_by(issuer.role, chain.issuer, &pinned.ark)?;
    Ok((Arc::new(given), reissued))
}

fn refuse_vek(cause: CertificateError) -> ReportError {
    ReportError::Certificate { role: CertificateRole::Vek, cause }
}

fn not_pinned(product: Product) -> ReportError {
    ReportError::Certificate { role: CertificateRole::Ark, cause: CertificateError::NotPinned { product } }
}
