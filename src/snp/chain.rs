//! The certificate chain of a report: from AMD's root to the signing key, and from the key to the report.

use std::sync::Arc;

use super::anchors::{AmdAnchors, ProductAnchors, read, verify_issued_by};
use super::bundle::CertificateBundle;
use super::certificate::CaCertificate;
use super::collateral_request::CollateralRequest;
use super::crl::VerifiedCrl;
use super::error::{CertificateRole, CrlError, ReportError};
use super::report::{RawReport, check_tcb_order};
use super::revocation::{Authorities, RevocationOutcome};
use super::vek::{VekCertificate, VekIdentity};
use super::{CaChain, VerifiedReport};
use crate::crypto::sha256_digest;
use crate::types::{Product, Revocation, SigningKey, UnixTime};
use crate::x509::CertificateError;

/// A VCEK or VLEK whose certificate was verified up to AMD's root: a handle to verify further reports with.
///
/// It saves only parsing the certificate and verifying its signature: [`VerifiedVek::verify_with`] checks dates,
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
    /// Further certificates of the issuer's and root's keys, whose serial numbers also count for revocation.
    reissued: Vec<CaCertificate>,
    custom_anchors: bool,
}

impl VerifiedVek {
    /// Verifies the certificate of a signing key (DER) up to the root of its processor family.
    ///
    /// # Errors
    ///
    /// [`ReportError::Certificate`] if the certificate, or a chain provided with it, is not valid.
    pub fn verify(vek: &[u8], chain: Option<CaChain<'_>>, anchors: &AmdAnchors) -> Result<Self, ReportError> {
        let vek = VekCertificate::from_der(vek).map_err(refuse_vek)?;
        let product = vek.product();
        let pinned = anchors.product(product).ok_or_else(|| not_pinned(product))?;
        let pinned_issuer = pinned.issuer(vek.kind());
        let (issuer, mut reissued) = match chain {
            None => (Arc::clone(pinned_issuer), Vec::new()),
            Some(chain) => check_chain(chain, pinned, vek.kind())?,
        };
        if issuer.der != pinned_issuer.der && issuer.key_digest == pinned_issuer.key_digest {
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

    /// Verifies the certificate of the signing key in a bundle.
    ///
    /// The pinned issuer suffices for a certificate that it signed, so a provided chain that is not AMD's does no harm. AMD's
    /// chain is needed only if the issuer has another key than the pinned one.
    ///
    /// # Errors
    ///
    /// [`ReportError::Certificate`] if the certificate is not valid.
    pub fn from_bundle(bundle: &CertificateBundle, anchors: &AmdAnchors) -> Result<Self, ReportError> {
        let (vek, chain) = (bundle.vek(), bundle.chain());
        match (Self::verify(vek, None, anchors), chain) {
            // A genuine chain may have the issuer's key under another serial number, which then counts for revocation too.
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
        let crls: Vec<_> = crl.into_iter().map(|crl| Ok(crl.clone())).collect();
        self.verify_raw(&RawReport::read(report)?, &crls, revocation, now)
    }

    /// Refuses a handle that was verified under another root than these anchors have.
    pub(super) fn check_anchors(&self, anchors: &AmdAnchors) -> Result<(), ReportError> {
        let product = self.certificate().product();
        match anchors.product(product) {
            Some(pinned) if pinned.ark.key_digest == self.ark().key_digest => Ok(()),
            _ => Err(not_pinned(product)),
        }
    }

    /// Checks that the certificate matches a report in key kind, product, chip and TCB, and that its key signed the report.
    /// Dates and other conditions of the report are not checked.
    #[cfg(feature = "client")]
    pub(crate) fn check_signer(&self, report: &[u8]) -> Result<(), ReportError> {
        let report = RawReport::read(report)?;
        CollateralRequest::of(&report)?.check(self)?;
        self.verify_signature(&report)
    }

    /// Checks that a CRL, however old, names no authority of this key's chain.
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

    /// Returns the certificate.
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

    /// Returns a certificate of the issuer's key that is valid now: that of the chain, or another one that AMD issued for the key. The
    /// one that came with the report may be outside its dates while the pinned one is not, and the other way round.
    fn valid_issuer(&self, now: UnixTime) -> Result<&CaCertificate, ReportError> {
        let Inner { issuer, reissued, .. } = &*self.inner;
        let others = reissued.iter().filter(|other| other.key_digest == issuer.key_digest);
        let valid = std::iter::once(&**issuer).chain(others).find(|issuer| issuer.check_validity(now).is_ok());
        valid.map_or_else(|| issuer.check_validity(now).map(|()| &**issuer), Ok)
    }

    fn verify_signature(&self, report: &RawReport<'_>) -> Result<(), ReportError> {
        let key = self.certificate().key();
        key.verify(report.body(), &report.signature()?).map_err(|_| ReportError::WrongSignature)
    }

    /// Takes several CRLs, or the reasons why provided ones cannot be used.
    pub(super) fn verify_raw(
        &self,
        report: &RawReport<'_>,
        crls: &[Result<VerifiedCrl, CrlError>],
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<VerifiedReport, ReportError> {
        let Inner { vek, ark, custom_anchors, .. } = &*self.inner;
        ark.check_validity(now)?;
        let issuer = self.valid_issuer(now)?;
        vek.validity().check(now).map_err(refuse_vek)?;
        let outcome = self.authorities().check(crls, revocation, now)?;

        CollateralRequest::of(report)?.check(self)?;
        let mut fields = report.fields(vek.product())?;
        self.verify_signature(report)?;
        check_tcb_order(&fields)?;

        if let VekIdentity::CloudProvider(name) = vek.identity() {
            fields.hardware.csp_id = Some(name.clone());
        }
        let chain_ends = [ark.validity.not_after, issuer.validity.not_after, vek.not_after()];
        let list_ends = match (&outcome, revocation) {
            (RevocationOutcome::Checked { this_update, next_update }, Revocation::RequireIssuedWithin(age)) => {
                Some(this_update.plus(age.as_secs()).min(*next_update))
            }
            (RevocationOutcome::Checked { next_update, .. }, _) => Some(*next_update),
            (RevocationOutcome::NotEvaluated { .. }, _) => None,
        };
        let expires_at = chain_ends.into_iter().chain(list_ends).min().unwrap_or(now);
        Ok(VerifiedReport {
            snp: fields.snp,
            hardware: fields.hardware,
            product: vek.product(),
            revocation: outcome,
            expires_at,
            // Digest of the signed part only: if `(r, s)` is a signature, so is `(r, n - s)`, so that the bytes of a
            // signature do not identify a report.
            report_digest: sha256_digest(report.body()),
            vek_digest: vek.digest(),
            custom_anchors: *custom_anchors,
        })
    }
}

/// Verifies a provided chain, which is never trusted: its root must have the pinned key, and an issuer that is not the pinned
/// certificate (AMD reissues them) must be signed by that key. Also returns another certificate of the root's key, if any.
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
