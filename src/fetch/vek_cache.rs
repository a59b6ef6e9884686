//! The cache of VEK certificates. The certificate of the key that signed a report is taken from the agent, memory, disk, a
//! THIM service or AMD's Key Distribution Service, in this order.
//!
//! No source is trusted, and a wrong certificate from one of them says nothing about the peer: a certificate that does not
//! parse, does not verify or is not the one of the report's key is skipped, and the next source is tried.

use std::time::{Duration, Instant};

use super::cached_fetch::CachedFetches;
use super::disk_cache::DiskCache;
use super::kds::{ACTIVITY, KdsClient};
use super::thim::Thim;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::snp::{
    AmdAnchors, CertificateBundle, CertificateRole, CollateralRequest, ReportError, VekCertificate, VerifiedVek,
    chain_path,
};
use crate::telemetry::Lookup;
use crate::types::SigningKey;
use crate::x509::CertificateError;

/// How long a certificate is cached. It is valid for years; this bounds the memory of a verifier that sees many machines.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

const MISSING: AttestationError =
    AttestationError::MissingEvidence { what: "the certificate of the key that signed the report" };

#[derive(Debug)]
pub(super) struct VekCache {
    anchors: AmdAnchors,
    clock: Clock,
    disk: Option<DiskCache>,
    thim: Option<Thim>,
    entries: CachedFetches<String, VerifiedVek>,
}

/// The report that a certificate is needed for.
#[derive(Clone, Copy)]
struct Wanted<'r> {
    report: &'r [u8],
    request: &'r CollateralRequest,
}

/// The certificates that were skipped.
#[derive(Default)]
struct Skipped {
    reasons: Vec<String>,
    /// A genuine certificate for the chip and TCB, whose key did not sign the report. If no source has another one, the fault
    /// is in the report, and verifying with this certificate reports it.
    of_other_key: Option<VerifiedVek>,
}

impl VekCache {
    pub(super) fn new(anchors: AmdAnchors, clock: Clock, disk: Option<DiskCache>) -> Self {
        Self { anchors, clock, disk, thim: None, entries: CachedFetches::default() }
    }

    /// Adds a THIM service, which is tried before AMD's.
    pub(super) fn with_thim(self, thim: Option<Thim>) -> Self {
        Self { thim, ..self }
    }

    /// Finds the certificate for a report. `provided` holds the certificates that the agent sent with it, as PEM.
    ///
    /// # Errors
    ///
    /// [`AttestationError::KdsUnreachable`] and others of that request where no source has the certificate; the reason names what
    /// each of them gave. Where no other source can have it, what is wrong with the provided one.
    pub(super) async fn find(
        &self,
        kds: &KdsClient,
        report: &[u8],
        provided: Option<&[u8]>,
        deadline: &Deadline,
    ) -> Result<VerifiedVek, AttestationError> {
        let request = CollateralRequest::from_report(report)?;
        let wanted = Wanted { report, request: &request };
        let mut skipped = Skipped::default();
        let mut last_error = MISSING;
        if let Some(pem) = provided {
            let outcome = CertificateBundle::from_pem(pem).map_err(|error| AttestationError::InvalidAgentAnswer {
                reason: format!("expected certificates as PEM in \"endorsements\": {error}"),
            });
            let outcome = outcome.and_then(|bundle| Ok(VerifiedVek::from_bundle(&bundle, &self.anchors)?));
            match outcome.and_then(|vek| Ok(self.check(wanted, vek, &mut skipped)?)) {
                Ok(vek) => return Ok(vek),
                Err(error) => {
                    skipped.reasons.push(format!("the agent's certificates: {}", reason(&error)));
                    last_error = error;
                }
            }
        }
        if request.signing_key() == SigningKey::Vcek && request.chip_id().is_none() {
            return Err(ReportError::ChipIdMasked.into());
        }
        for product in request.candidates() {
            // AMD's service has VCEKs only: a VLEK is provided with the report or not available.
            let Some(path) = request.vcek_path(*product) else { break };
            match self.find_at(kds, &path, wanted, deadline).await {
                Ok(vek) => match self.check(wanted, vek.clone(), &mut skipped) {
                    Ok(vek) => return Ok(vek),
                    // Other defects of AMD's own certificate, such as its dates, are reported by the verification.
                    Err(_) => return Ok(skipped.of_other_key.unwrap_or(vek)),
                },
                Err(error) => last_error = error,
            }
        }
        match skipped.of_other_key {
            Some(vek) => Ok(vek),
            None => Err(with_reasons(last_error, &skipped.reasons)),
        }
    }

    /// Checks that a certificate verifies the report and is valid now.
    fn check(&self, wanted: Wanted<'_>, vek: VerifiedVek, skipped: &mut Skipped) -> Result<VerifiedVek, ReportError> {
        let validity = vek.certificate().validity().check(self.clock.now());
        validity.map_err(|cause| ReportError::Certificate { role: CertificateRole::Vek, cause })?;
        match vek.check_signer(wanted.report) {
            Ok(()) => Ok(vek),
            Err(error) => {
                if error == ReportError::WrongSignature {
                    skipped.of_other_key.get_or_insert(vek);
                }
                Err(error)
            }
        }
    }

    /// Finds the certificate with a KDS path in memory, on disk or on the network.
    async fn find_at(
        &self,
        kds: &KdsClient,
        path: &str,
        wanted: Wanted<'_>,
        deadline: &Deadline,
    ) -> Result<VerifiedVek, AttestationError> {
        let entry = self.entries.entry(path.to_owned());
        let lookup = Lookup::new("vcek");
        let fetch = || self.load(kds, path, wanted, &lookup, *deadline);
        let mut outcome = entry.get(&self.clock, MAX_AGE, ACTIVITY, deadline, fetch).await;
        if outcome.as_ref().is_ok_and(|vek| vek.certificate().not_after() < self.clock.now()) {
            outcome = entry.get(&self.clock, Duration::ZERO, ACTIVITY, deadline, fetch).await;
        }
        lookup.ended(&outcome);
        outcome
    }

    /// Loads a certificate from disk or the network. One from disk or THIM is cached only if it verifies this report, one from
    /// AMD's service if it is of the chip and TCB. Otherwise a wrong certificate in the cache would cause a request to AMD's
    /// service for each further report.
    async fn load(
        &self,
        kds: &KdsClient,
        path: &str,
        wanted: Wanted<'_>,
        lookup: &Lookup,
        deadline: Deadline,
    ) -> Result<VerifiedVek, AttestationError> {
        let started = Instant::now();
        if let Some(disk) = &self.disk
            && let Some(vek) = disk.certificate(path, self.clock.now()).await
            && vek.check_signer(wanted.report).is_ok()
        {
            lookup.found_on_disk(started);
            return Ok(vek);
        }
        let fetch = async {
            let mut reasons = Vec::new();
            if let Some(thim) = &self.thim {
                let outcome = thim.certificate(&self.anchors, deadline).await;
                let check = |vek| self.check(wanted, vek, &mut Skipped::default()).map_err(|error| error.to_string());
                match outcome.and_then(check) {
                    Ok(vek) => return Ok(vek),
                    Err(error) => reasons.push(format!("the THIM service at {}: {error}", thim.address())),
                }
            }
            self.download(kds, path, wanted, deadline).await.map_err(|error| with_reasons(error, &reasons))
        };
        let vek = lookup.on_network(fetch).await?;
        if let Some(disk) = &self.disk {
            disk.store_certificate(path, &vek, self.clock.now()).await;
        }
        Ok(vek)
    }

    async fn download(
        &self,
        kds: &KdsClient,
        path: &str,
        wanted: Wanted<'_>,
        deadline: Deadline,
    ) -> Result<VerifiedVek, AttestationError> {
        let der = kds.certificate(path, deadline).await?;
        // A wrong certificate is a fault of the service or of the path to it, not of the peer: hence not a rejection.
        let outcome = match VerifiedVek::verify(&der, None, &self.anchors) {
            Err(error) if is_of_other_issuer_key(&error) => {
                match self.verify_under_newer_issuer(kds, &der, deadline).await {
                    Ok(Some(vek)) => Ok(vek),
                    Ok(None) => Err(error.to_string()),
                    Err(failure) => Err(format!("{error}; of the chain that AMD has now: {}", reason(&failure))),
                }
            }
            outcome => outcome.map_err(|error| error.to_string()),
        };
        match outcome {
            Ok(vek) if wanted.request.check(&vek).is_ok() => Ok(vek),
            Ok(_) => Err(kds.unusable("it sent the certificate of another chip, TCB or product")),
            Err(error) => Err(kds.unusable(&format!("it sent a certificate that does not verify: {error}"))),
        }
    }

    /// Verifies a certificate under the issuer that AMD's service names now, which must be signed by the pinned root: AMD may give the
    /// issuer a new key. `None` if it does not verify under that one either; an error if the service does not send it.
    async fn verify_under_newer_issuer(
        &self,
        kds: &KdsClient,
        der: &[u8],
        deadline: Deadline,
    ) -> Result<Option<VerifiedVek>, AttestationError> {
        let Ok(vek) = VekCertificate::from_der(der) else { return Ok(None) };
        let pem = kds.chain(&chain_path(vek.product(), vek.kind()), deadline).await?;
        let bundle = CertificateBundle::from_pem(&pem).ok();
        let chain = bundle.as_ref().and_then(CertificateBundle::chain);
        Ok(chain.and_then(|chain| VerifiedVek::verify(der, Some(chain), &self.anchors).ok()))
    }
}

/// Whether an issuer of the expected name, but with another key than the pinned one, may have signed the certificate.
fn is_of_other_issuer_key(error: &ReportError) -> bool {
    let (role, cause) = (CertificateRole::Vek, CertificateError::WrongSignature);
    *error == ReportError::Certificate { role, cause }
}

/// Returns the cause of an error, without the prefix for the whole verification.
fn reason(error: &AttestationError) -> String {
    match error {
        AttestationError::InvalidReport(error) => error.to_string(),
        AttestationError::InvalidAgentAnswer { reason } => reason.clone(),
        error => error.to_string(),
    }
}

/// Adds the failures of other sources to an error that has a reason.
fn with_reasons(error: AttestationError, reasons: &[String]) -> AttestationError {
    match error {
        AttestationError::KdsUnreachable { reason, source } => {
            let all: Vec<_> = std::iter::once(reason.as_str()).chain(reasons.iter().map(String::as_str)).collect();
            AttestationError::KdsUnreachable { reason: all.join("; "), source }
        }
        error => error,
    }
}
