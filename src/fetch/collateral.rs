//! The collateral of a hardware report: the certificate of its key and AMD's CRL. Each has its own order of sources.
//!
//! Sources are not trusted. An entry is cached only after this verifier verified it under its own roots; dates, TCB and chip
//! id are checked against each report again.

use reqwest::Client;
use url::Url;

use super::OptionalTimeouts;
use super::crl_cache::{self, CrlCache};
use super::disk_cache::DiskCache;
use super::kds::KdsClient;
use super::thim::Thim;
use super::vek_cache::VekCache;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::snp::{AmdAnchors, CertificateBundle, CollateralRequest, Crl, Vek, VekCertificate, VerifiedVek, crl_path};
use crate::types::{Product, Revocation};

/// The sources of certificates and CRLs, in memory, on disk and on the network.
#[derive(Debug)]
pub(crate) struct CollateralSources {
    kds: KdsClient,
    veks: VekCache,
    crls: CrlCache,
}

impl CollateralSources {
    /// Uses AMD's service or a mirror of it, and optionally a cache on disk.
    pub(crate) fn new(
        client: Client,
        base: Url,
        anchors: AmdAnchors,
        clock: Clock,
        disk: Option<DiskCache>,
        timeouts: &OptionalTimeouts,
    ) -> Self {
        Self {
            kds: KdsClient::new(client, base),
            veks: VekCache::new(anchors.clone(), clock.clone(), disk.clone()),
            crls: CrlCache::new(anchors, clock, disk, timeouts.other_crl),
        }
    }

    /// Adds a THIM service, which is tried before AMD's.
    pub(crate) fn with_thim(self, thim: Option<Thim>) -> Self {
        Self { veks: self.veks.with_thim(thim), ..self }
    }

    /// Finds the collateral of a report. `provided` holds the certificates that the agent sent with it, as PEM.
    pub(crate) async fn collateral(
        &self,
        report: &[u8],
        provided: Option<&[u8]>,
        rule: Revocation,
        deadline: &Deadline,
    ) -> Result<(Vek, Option<Crl>), AttestationError> {
        let request = CollateralRequest::from_report(report)?;
        let kind = request.signing_key();
        let certificate = self.veks.find(&self.kds, report, provided, deadline);
        let crl = |product: Product| async move {
            match rule {
                Revocation::Off => None,
                _ => Some(self.crls.find(&self.kds, crl_cache::Key { product, kind }, deadline).await),
            }
        };
        let (vek, lookup) = match request.product() {
            // The report names its product, and so its CRL: both are fetched at once. A CRL that cannot be fetched does not
            // stop the search for the certificate, because a CRL that is already known may revoke its issuer.
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

    /// Finds the CRL for the issuer of a verified certificate. `None` if there is none and the rule accepts that.
    pub(crate) async fn crl_for(
        &self,
        vek: &VerifiedVek,
        rule: Revocation,
        deadline: &Deadline,
    ) -> Result<Option<Crl>, AttestationError> {
        let key = crl_cache::Key { product: vek.certificate().product(), kind: vek.certificate().kind() };
        let lookup = self.crls.find(&self.kds, key, deadline).await;
        Ok(lookup.for_chain_of(vek, rule)?.map(Crl::Verified))
    }

    /// Fetches the CRL for the issuer of a verified certificate as AMD's service sends it.
    pub(crate) async fn crl_document(
        &self,
        vek: &VerifiedVek,
        deadline: &Deadline,
    ) -> Result<Vec<u8>, AttestationError> {
        self.kds.crl(&crl_path(vek.certificate().product(), vek.certificate().kind()), *deadline).await
    }

    /// Finds the collateral of a report as documents: the provided certificates if they belong to the report, otherwise the
    /// certificate from another source; and the CRLs as AMD's service sends them, not parsed.
    pub(crate) async fn documents(&self, report: &[u8], provided: Option<Vec<u8>>, deadline: &Deadline) -> Documents {
        let without_crl = |certificates, error| Documents { certificates, crl: Err(error), other_crl: None };
        let request = match CollateralRequest::from_report(report) {
            Ok(request) => request,
            Err(error) => return without_crl(provided.ok_or(error.clone().into()), error.into()),
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
            return without_crl(certificates, AttestationError::MissingEvidence { what: "the product of the report" });
        };
        let (own, other) = (request.crl_path(product), crl_path(product, request.signing_key().other()));
        let for_other = self.crls.for_other_kind(deadline);
        let (crl, other_crl) = tokio::join!(self.kds.crl(&own, *deadline), self.kds.crl(&other, for_other));
        Documents { certificates, crl, other_crl: other_crl.ok() }
    }
}

/// What vouches for a report, as it came.
pub(crate) struct Documents {
    pub(crate) certificates: Result<Vec<u8>, AttestationError>,
    /// About the issuer of keys of the report's kind.
    pub(crate) crl: Result<Vec<u8>, AttestationError>,
    /// About the issuer of keys of the other kind, if it could be had.
    pub(crate) other_crl: Option<Vec<u8>>,
}

fn is_in(vek: &VerifiedVek, pem: &[u8]) -> bool {
    CertificateBundle::from_pem(pem).is_ok_and(|bundle| bundle.vek() == vek.certificate().as_der())
}

fn product_of(pem: &[u8]) -> Option<Product> {
    let bundle = CertificateBundle::from_pem(pem).ok()?;
    Some(VekCertificate::from_der(bundle.vek()).ok()?.product())
}
