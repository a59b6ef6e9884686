//! What it takes to verify a report: the certificate of its key, and AMD's CRL. Each has its own order of sources.
//!
//! Carriers are not trusted. What is kept was verified under the roots first, by this verifier; dates, TCB and chip id are
//! checked against each report again.

use reqwest::Client;
use url::Url;

use super::crl_cache::CrlCache;
use super::deadline::Deadline;
use super::disk::Disk;
use super::kds::KdsClient;
use super::thim::Thim;
use super::vek_cache::VekCache;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::evidence::{Crl, Vek};
use crate::policy::RevocationRule;
use crate::snp::{AmdAnchors, CertificateBundle, CollateralRequest, VekCertificate, VerifiedVek, crl_path};
use crate::types::Product;

/// Where certificates and CRLs come from.
#[derive(Debug)]
pub(crate) struct CollateralSources {
    kds: KdsClient,
    veks: VekCache,
    crls: CrlCache,
}

impl CollateralSources {
    /// AMD's service or a mirror of it, and where what it sent is kept on disk.
    pub(crate) fn new(client: Client, base: Url, anchors: AmdAnchors, clock: Clock, disk: Option<Disk>) -> Self {
        Self {
            kds: KdsClient::new(client, base),
            veks: VekCache::new(anchors.clone(), clock.clone(), disk.clone()),
            crls: CrlCache::new(anchors, clock, disk),
        }
    }

    /// Asks a service with the certificates of one host before AMD's.
    pub(crate) fn with_thim(self, thim: Option<Thim>) -> Self {
        Self { veks: self.veks.with_thim(thim), ..self }
    }

    /// What it takes to verify a report. `provided` is the certificates that came with it, as PEM.
    pub(crate) async fn collateral(
        &self,
        report: &[u8],
        provided: Option<&[u8]>,
        rule: RevocationRule,
        deadline: &Deadline,
    ) -> Result<(Vek, Option<Crl>), AttestationError> {
        let request = CollateralRequest::from_report(report)?;
        let kind = request.signing_key();
        let certificate = self.veks.find(&self.kds, report, provided, deadline);
        let crl = |product: Product| async move {
            match rule {
                RevocationRule::AllowOff => None,
                _ => Some(self.crls.find(&self.kds, (product, kind), deadline).await),
            }
        };
        let (vek, lookup) = match request.product() {
            // The report says which CRL it will be: no need to wait for the certificate. That the CRL cannot be had does not end
            // the search for the certificate, since one that is known may revoke its issuer.
            Some(product) => tokio::try_join!(certificate, async { Ok(crl(product).await) })?,
            None => {
                let vek = certificate.await?;
                let lookup = crl(vek.certificate().product()).await;
                (vek, lookup)
            }
        };
        let crl = lookup.map(|lookup| lookup.for_chain_of(&vek, rule)).transpose()?.flatten();
        Ok((Vek::Verified(vek), crl.map(Crl::Verified)))
    }

    /// The same as documents: the provided certificates if they are those of the report, else the one that another source has; and
    /// the CRL as AMD's service sends it, unread.
    pub(crate) async fn documents(
        &self,
        report: &[u8],
        provided: Option<Vec<u8>>,
        deadline: &Deadline,
    ) -> (Result<Vec<u8>, AttestationError>, Result<Vec<u8>, AttestationError>) {
        let request = match CollateralRequest::from_report(report) {
            Ok(request) => request,
            Err(error) => return (provided.ok_or(error.clone().into()), Err(error.into())),
        };
        let found = self.veks.find(&self.kds, report, provided.as_deref(), deadline).await;
        // A report of version 2 does not name its product; its certificate does.
        let named = found.as_ref().ok().map(|vek| vek.certificate().product());
        let named = named.or_else(|| provided.as_deref().and_then(product_of));
        let certificates = match (found, provided) {
            (Ok(vek), Some(provided)) if is_in(&vek, &provided) => Ok(provided),
            (Ok(vek), _) => Ok(vek.certificate().as_der().to_vec()),
            (Err(_), Some(provided)) => Ok(provided),
            (Err(error), None) => Err(error),
        };
        let Some(product) = named.or(request.candidates().first().copied()) else {
            return (certificates, Err(AttestationError::MissingEvidence { what: "the product of the report" }));
        };
        let crl = self.kds.crl(&crl_path(product, request.signing_key()), *deadline).await;
        (certificates, crl)
    }
}

fn is_in(vek: &VerifiedVek, pem: &[u8]) -> bool {
    CertificateBundle::from_pem(pem).is_ok_and(|bundle| bundle.vek() == vek.certificate().as_der())
}

fn product_of(pem: &[u8]) -> Option<Product> {
    let bundle = CertificateBundle::from_pem(pem).ok()?;
    Some(VekCertificate::from_der(bundle.vek()).ok()?.product())
}
