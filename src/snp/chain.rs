//! From the signing key's certificate to AMD's root, and from the report to the certificate.

use std::sync::Arc;

use super::anchors::{AmdAnchors, ProductAnchors, read, verify_issued_by};
use super::certificate::CaCertificate;
use super::crl::{NotEvaluated, Revocation, RevocationOutcome, VerifiedCrl};
use super::error::{CertificateRole, CrlError, ReportError, TcbPart};
use super::report::RawReport;
use super::vek::{VekCertificate, VekIdentity};
use super::{CaChain, VerifiedReport};
use crate::claims::SigningKey;
use crate::crypto::sha256_digest;
use crate::types::{Product, Tcb, UnixTime};
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
        let issuer = match chain {
            None => Arc::clone(pinned.issuer(vek.kind())),
            Some(chain) => check_chain(chain, pinned, vek.kind())?,
        };
        if vek.issuer() != issuer.subject {
            let (expected, actual) = (issuer.subject_name.clone(), vek.issuer_name().to_owned());
            return Err(refuse_vek(CertificateError::WrongIssuer { expected, actual }));
        }
        vek.verify_signature(&issuer).map_err(refuse_vek)?;
        let ark = Arc::clone(&pinned.ark);
        Ok(Self { inner: Arc::new(Inner { vek, issuer, ark, custom_anchors: anchors.is_custom() }) })
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

    /// Verifies a revocation list (DER) under the root of this key's processor family.
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

    /// The same with the reason why a list that came cannot be used.
    pub(super) fn verify_raw(
        &self,
        report: &RawReport<'_>,
        crl: Result<&VerifiedCrl, CrlError>,
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<VerifiedReport, ReportError> {
        let Inner { vek, issuer, ark, custom_anchors } = &*self.inner;
        ark.check_validity(now)?;
        issuer.check_validity(now)?;
        vek.validity().check(now).map_err(refuse_vek)?;
        let outcome = self.check_revocation(crl, revocation, now)?;

        check_belongs_to(report, vek)?;
        let mut fields = report.fields(vek.product())?;
        vek.key().verify(report.body(), &report.signature()?).map_err(|_| ReportError::WrongSignature)?;

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
            report_digest: sha256_digest(report.bytes()),
            vek_digest: vek.digest(),
            custom_anchors: *custom_anchors,
        })
    }

    fn check_revocation(
        &self,
        crl: Result<&VerifiedCrl, CrlError>,
        revocation: Revocation,
        now: UnixTime,
    ) -> Result<RevocationOutcome, ReportError> {
        if revocation == Revocation::Off {
            return Ok(RevocationOutcome::NotEvaluated { why: NotEvaluated::SwitchedOff });
        }
        let Inner { issuer, ark, .. } = &*self.inner;
        let genuine = crl.and_then(|crl| crl.is_by(ark).map(|()| crl));
        if let Ok(crl) = genuine {
            // A list that is out of date takes nothing back: what it revoked stays revoked.
            for certificate in [issuer, ark] {
                if crl.revokes(certificate) {
                    let (role, serial) = (certificate.role, hex::encode(&certificate.serial));
                    return Err(ReportError::Revoked { role, serial });
                }
            }
        }
        match (genuine.and_then(|crl| crl.check_dates(now).map(|()| crl)), revocation) {
            (Ok(crl), _) => {
                let (this_update, next_update) = (crl.this_update(), crl.next_update());
                Ok(RevocationOutcome::Checked { this_update, next_update })
            }
            (Err(why), Revocation::BestEffort) => {
                Ok(RevocationOutcome::NotEvaluated { why: NotEvaluated::Unusable(why) })
            }
            (Err(why), _) => Err(ReportError::Crl(why)),
        }
    }
}

/// A chain that came along is never trusted: its root must have the pinned key, and an issuer that is not the pinned
/// certificate (AMD issues them anew) must be signed by that key.
fn check_chain(
    chain: CaChain<'_>,
    pinned: &ProductAnchors,
    kind: SigningKey,
) -> Result<Arc<CaCertificate>, ReportError> {
    if chain.ark != pinned.ark.der {
        let ark = read(CertificateRole::Ark, chain.ark, pinned.product)?;
        if ark.key_digest != pinned.ark.key_digest {
            return Err(not_pinned(pinned.product));
        }
        verify_issued_by(CertificateRole::Ark, chain.ark, &pinned.ark)?;
    }
    let issuer = pinned.issuer(kind);
    if chain.issuer == issuer.der {
        return Ok(Arc::clone(issuer));
    }
    let given = read(issuer.role, chain.issuer, pinned.product)?;
    verify_issued_by(issuer.role, chain.issuer, &pinned.ark)?;
    Ok(Arc::new(given))
}

/// Whether report and certificate speak of the same key.
fn check_belongs_to(report: &RawReport<'_>, vek: &VekCertificate) -> Result<(), ReportError> {
    if report.signing_key != vek.kind() {
        return Err(ReportError::SigningKeyMismatch { report: report.signing_key, certificate: vek.kind() });
    }
    if let Some(product) = report.product
        && product != vek.product()
    {
        return Err(ReportError::ProductMismatch { report: product, certificate: vek.product() });
    }
    if let VekIdentity::Chip(certificate) = vek.identity() {
        if report.chip_id.is_zero() {
            return Err(ReportError::ChipIdMasked);
        }
        if report.chip_id != *certificate {
            return Err(ReportError::ChipIdMismatch {
                report: report.chip_id.into(),
                certificate: (*certificate).into(),
            });
        }
    }
    let (reported, certified) = (report.reported_tcb(vek.product())?, vek.tcb());
    match first_difference(reported, certified) {
        None => Ok(()),
        Some(part) => Err(ReportError::TcbMismatch { part, report: reported, certificate: certified }),
    }
}

fn first_difference(one: Tcb, other: Tcb) -> Option<TcbPart> {
    let parts = [
        (TcbPart::Fmc, one.fmc == other.fmc),
        (TcbPart::Bootloader, one.bootloader == other.bootloader),
        (TcbPart::Tee, one.tee == other.tee),
        (TcbPart::Snp, one.snp == other.snp),
        (TcbPart::Microcode, one.microcode == other.microcode),
    ];
    parts.into_iter().find(|(_, same)| !same).map(|(part, _)| part)
}

fn refuse_vek(cause: CertificateError) -> ReportError {
    ReportError::Certificate { role: CertificateRole::Vek, cause }
}

fn not_pinned(product: Product) -> ReportError {
    ReportError::Certificate { role: CertificateRole::Ark, cause: CertificateError::NotPinned { product } }
}
