//! The certificate of the key that signed a report, from whoever has it: the agent, memory, disk, a THIM service, AMD's Key
//! Distribution Service, in this order.
//!
//! None of them is trusted, and what one of them sends says nothing about the peer: a certificate that does not parse, does not
//! verify or is not the one of the report's key is skipped, and the next source is asked.

use std::time::{Duration, Instant};

use super::cache::Cells;
use super::deadline::Deadline;
use super::disk::Disk;
use super::kds::{ACTIVITY, KdsClient};
use super::thim::Thim;
use crate::claims::SigningKey;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::snp::{AmdAnchors, CertificateBundle, CertificateRole, CollateralRequest, ReportError, VerifiedVek};
use crate::telemetry::Lookup;

/// How long a certificate is kept. It is valid for years; this bounds the memory of a verifier that meets many machines.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

const MISSING: AttestationError =
    AttestationError::MissingEvidence { what: "the certificate of the key that signed the report" };

#[derive(Debug)]
pub(super) struct VekCache {
    anchors: AmdAnchors,
    clock: Clock,
    disk: Option<Disk>,
    thim: Option<Thim>,
    cells: Cells<String, VerifiedVek>,
}

/// What a certificate is needed for.
#[derive(Clone, Copy)]
struct Wanted<'r> {
    report: &'r [u8],
    request: &'r CollateralRequest,
}

/// What the sources gave that could not be used.
#[derive(Default)]
struct Skipped {
    reasons: Vec<String>,
    /// A genuine certificate for chip and TCB, whose key did not sign the report. If no source has another one, then the report is
    /// what is wrong.
    of_other_key: Option<VerifiedVek>,
}

impl VekCache {
    pub(super) fn new(anchors: AmdAnchors, clock: Clock, disk: Option<Disk>) -> Self {
        Self { anchors, clock, disk, thim: None, cells: Cells::default() }
    }

    /// Asks a service with the certificates of one host before AMD's.
    pub(super) fn with_thim(self, thim: Option<Thim>) -> Self {
        Self { thim, ..self }
    }

    /// The certificate for a report. `provided` is what came with it, as PEM.
    ///
    /// # Errors
    ///
    /// [`AttestationError::KdsUnreachable`] and others of that exchange where no source has the certificate; the reason names what
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
        let mut refused = MISSING;
        if let Some(pem) = provided {
            let outcome = CertificateBundle::from_pem(pem).map_err(|error| AttestationError::InvalidAgentAnswer {
                reason: format!("expected certificates as PEM in \"endorsements\": {error}"),
            });
            let outcome = outcome.and_then(|bundle| Ok(VerifiedVek::from_bundle(&bundle, &self.anchors)?));
            match outcome.and_then(|vek| Ok(self.check(wanted, vek, &mut skipped)?)) {
                Ok(vek) => return Ok(vek),
                Err(error) => {
                    skipped.reasons.push(format!("the agent's certificates: {}", reason(&error)));
                    refused = error;
                }
            }
        }
        if request.signing_key() == SigningKey::Vcek && request.chip_id().is_none() {
            return Err(ReportError::ChipIdMasked.into());
        }
        for product in request.candidates() {
            // AMD hands out VCEKs only: a VLEK comes with the report or not at all.
            let Some(path) = request.vcek_path(*product) else { break };
            match self.find_at(kds, &path, wanted, deadline).await {
                Ok(vek) => match self.check(wanted, vek.clone(), &mut skipped) {
                    Ok(vek) => return Ok(vek),
                    // Whatever else is wrong with AMD's own, such as its dates, is for the verification to report.
                    Err(_) => return Ok(skipped.of_other_key.unwrap_or(vek)),
                },
                Err(error) => refused = error,
            }
        }
        match skipped.of_other_key {
            Some(vek) => Ok(vek),
            None => Err(with_reasons(refused, &skipped.reasons)),
        }
    }

    /// Whether a certificate verifies the report and is valid now.
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

    /// The certificate that AMD's service has at a path, from the nearest source.
    async fn find_at(
        &self,
        kds: &KdsClient,
        path: &str,
        wanted: Wanted<'_>,
        deadline: &Deadline,
    ) -> Result<VerifiedVek, AttestationError> {
        let cell = self.cells.cell(path.to_owned());
        let lookup = Lookup::new("vcek");
        let fetch = || self.load(kds, path, (wanted, &lookup), *deadline);
        let mut outcome = cell.get((&self.clock, KEPT), (ACTIVITY, deadline), fetch).await;
        if outcome.as_ref().is_ok_and(|vek| vek.certificate().not_after() < self.clock.now()) {
            outcome = cell.get((&self.clock, Duration::ZERO), (ACTIVITY, deadline), fetch).await;
        }
        lookup.ended(&outcome);
        outcome
    }

    /// What is on disk or comes from THIM is kept in memory only if it verified a report, what comes from AMD's service if it is of
    /// the chip and TCB: so no source makes this one ask AMD's for each report that its key did not sign.
    async fn load(
        &self,
        kds: &KdsClient,
        path: &str,
        (wanted, lookup): (Wanted<'_>, &Lookup),
        deadline: Deadline,
    ) -> Result<VerifiedVek, AttestationError> {
        let begun = Instant::now();
        if let Some(disk) = &self.disk
            && let Some(vek) = disk.certificate(path, self.clock.now()).await
            && vek.check_signer(wanted.report).is_ok()
        {
            lookup.on_disk(begun);
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
            disk.keep_certificate(path, &vek, self.clock.now()).await;
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
        // What is wrong with it says something of the service or of who is on the way to it, nothing of the peer.
        let useless = |reason: String| AttestationError::KdsUnreachable { reason };
        match VerifiedVek::verify(&der, None, &self.anchors) {
            Ok(vek) if wanted.request.check(&vek).is_ok() => Ok(vek),
            Ok(_) => Err(useless("it gave the certificate of another chip, TCB or product".to_owned())),
            Err(error) => Err(useless(format!("it gave a certificate that does not verify: {error}"))),
        }
    }
}

/// What is wrong, without what errors of a whole verification begin with.
fn reason(error: &AttestationError) -> String {
    match error {
        AttestationError::InvalidReport(error) => error.to_string(),
        AttestationError::InvalidAgentAnswer { reason } => reason.clone(),
        error => error.to_string(),
    }
}

/// The same error with what other sources gave, where it has room for that.
fn with_reasons(error: AttestationError, reasons: &[String]) -> AttestationError {
    match error {
        AttestationError::KdsUnreachable { reason } => {
            let all: Vec<_> = std::iter::once(reason.as_str()).chain(reasons.iter().map(String::as_str)).collect();
            AttestationError::KdsUnreachable { reason: all.join("; ") }
        }
        error => error,
    }
}
