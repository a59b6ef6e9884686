//! Certificates and revocation lists of AMD: from the agent, or from AMD's Key Distribution Service or a mirror of it.
//!
//! Whoever carries them is not trusted. What is kept was verified under the roots first, by this verifier; dates, TCB and
//! chip id are checked against each report again.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Client;
use url::Url;

use super::cache::Cell;
use super::deadline::Deadline;
use super::disk::{Disk, Listed};
use super::http::{Answered, Exchange, Failure};
use super::thim::Thim;
use crate::claims::SigningKey;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::evidence::{Crl, Vek};
use crate::observe::Lookup;
use crate::policy::RevocationRule;
use crate::snp::{
    AmdAnchors, CaChain, CollateralRequest, ReportError, VekCertificate, VerifiedCrl, VerifiedVek,
    certificates_from_pem, crl_path,
};
use crate::types::{Product, UnixTime};

/// The largest answers that are read, in bytes: stop a server that never ends. Certificates have 2 KB, lists 1 KB.
const MAX_CERTIFICATE: u64 = 64 << 10;
const MAX_LIST: u64 = 1 << 20;

/// How long a certificate is kept. It holds for years; this bounds the memory of a verifier that meets many machines.
const CERTIFICATES_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a revocation list is used, if it is not due earlier: a revocation is noticed within this time.
const LISTS_KEPT: Duration = Duration::from_secs(60 * 60);

/// The most entries that are kept of each kind: stops peers that claim a new chip each time.
const MAX_KEPT: usize = 256;

const DOING: &str = "fetching AMD's certificates";

const CERTIFICATE: &str = "the certificate of the key that signed the report";

/// Where AMD's certificates come from.
#[derive(Debug)]
pub(crate) struct Kds {
    client: Client,
    base: Url,
    anchors: AmdAnchors,
    clock: Clock,
    certificates: Kept<String, VerifiedVek>,
    lists: Kept<(Product, SigningKey), Listed>,
    disk: Option<Disk>,
    thim: Option<Thim>,
}

impl Kds {
    pub(crate) fn new(client: Client, base: Url, anchors: AmdAnchors, clock: Clock) -> Self {
        let (certificates, lists) = (Kept::default(), Kept::default());
        Self { client, base, anchors, clock, certificates, lists, disk: None, thim: None }
    }

    /// Keeps what was fetched on disk as well.
    pub(crate) fn on_disk(self, disk: Option<Disk>) -> Self {
        Self { disk, ..self }
    }

    /// Asks a service with the certificates of one host first.
    pub(crate) fn after(self, thim: Option<Thim>) -> Self {
        Self { thim, ..self }
    }

    /// What it takes to verify a report: the certificate of its key, and AMD's revocation list.
    pub(crate) async fn collateral(
        &self,
        report: &[u8],
        sent_along: Option<&[u8]>,
        revocation: RevocationRule,
        deadline: &Deadline,
    ) -> Result<(Vek, Option<Crl>), AttestationError> {
        let list = |product, kind| async move {
            match revocation {
                RevocationRule::AllowOff => Ok(None),
                RevocationRule::AllowBestEffort => Ok(self.fetch_list(product, kind, deadline).await.ok()),
                RevocationRule::Required => self.fetch_list(product, kind, deadline).await.map(Some),
            }
        };
        let of = |vek: &VerifiedVek| list(vek.certificate().product(), vek.certificate().kind());
        let (vek, list) = match sent_along {
            Some(certificates) => {
                let vek = self.read(certificates)?;
                let list = of(&vek).await?;
                (vek, list)
            }
            None => {
                let request = CollateralRequest::from_report(report)?;
                let certificate = self.fetch_certificate(&request, deadline);
                match request.product() {
                    // The report says which list it will be: no need to wait for the certificate.
                    Some(product) => tokio::try_join!(certificate, list(product, request.signing_key()))?,
                    None => {
                        let vek = certificate.await?;
                        let list = of(&vek).await?;
                        (vek, list)
                    }
                }
            }
        };
        Ok((Vek::Verified(vek), list.map(|listed| Crl::Verified(listed.list))))
    }

    /// The same as documents, unread as far as may be: certificates (those that were sent along, or AMD's), and the list.
    pub(crate) async fn documents(
        &self,
        report: &[u8],
        sent_along: Option<Vec<u8>>,
        deadline: &Deadline,
    ) -> (Result<Vec<u8>, AttestationError>, Result<Vec<u8>, AttestationError>) {
        let request = match CollateralRequest::from_report(report) {
            Ok(request) => request,
            Err(error) => return (sent_along.ok_or(error.clone().into()), Err(error.into())),
        };
        let certificates = match sent_along {
            Some(certificates) => Ok(certificates),
            // From the same places as for an attestation: disk, THIM, AMD.
            None => self.fetch_certificate(&request, deadline).await.map(|vek| vek.certificate().as_der().to_vec()),
        };
        // A report of version 2 does not say its product; its certificate does.
        let named = certificates.as_ref().ok().and_then(|certificates| product_of(certificates));
        let Some(product) = named.or(request.candidates().first().copied()) else {
            return (certificates, Err(AttestationError::MissingEvidence { what: "the product of the report" }));
        };
        let list = self.get(&request.crl_path(product), MAX_LIST, *deadline).await;
        (certificates, list)
    }

    /// Certificates that an agent sent: that of the signing key, alone or with its issuer and root.
    fn read(&self, certificates: &[u8]) -> Result<VerifiedVek, AttestationError> {
        let certificates =
            certificates_from_pem(certificates).map_err(|error| AttestationError::InvalidAgentAnswer {
                why: format!("expected certificates as PEM in \"endorsements\": {error}"),
            })?;
        let (vek, chain) = match certificates.as_slice() {
            [vek] => (vek, None),
            [vek, issuer, ark] => (vek, Some(CaChain { issuer, ark })),
            other => {
                let why = format!("expected one or three certificates in \"endorsements\", found {}", other.len());
                return Err(AttestationError::InvalidAgentAnswer { why });
            }
        };
        Ok(VerifiedVek::verify(vek, chain, &self.anchors)?)
    }

    async fn fetch_certificate(
        &self,
        request: &CollateralRequest,
        deadline: &Deadline,
    ) -> Result<VerifiedVek, AttestationError> {
        let mut refused = AttestationError::MissingEvidence { what: CERTIFICATE };
        if request.signing_key() == SigningKey::Vcek && request.chip_id().is_none() {
            return Err(ReportError::ChipIdMasked.into());
        }
        for product in request.candidates() {
            // AMD hands out VCEKs only: a VLEK comes along or not at all.
            let Some(path) = request.vcek_path(*product) else { return Err(refused) };
            let cell = self.certificates.cell(path.clone());
            let lookup = Lookup::new("vcek");
            let fetch = || self.find_certificate(request, *product, (&path, &lookup), *deadline);
            let mut outcome = cell.get((&self.clock, CERTIFICATES_KEPT), (DOING, deadline), fetch).await;
            if outcome.as_ref().is_ok_and(|vek| vek.certificate().not_after() < self.clock.now()) {
                outcome = cell.get((&self.clock, Duration::ZERO), (DOING, deadline), fetch).await;
            }
            lookup.ended(&outcome);
            match outcome {
                Ok(vek) => return Ok(vek),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn find_certificate(
        &self,
        request: &CollateralRequest,
        product: Product,
        (path, lookup): (&str, &Lookup),
        deadline: Deadline,
    ) -> Result<VerifiedVek, AttestationError> {
        let begun = Instant::now();
        if let Some(disk) = &self.disk
            && let Some(vek) = disk.certificate(request, product, self.clock.now()).await
        {
            lookup.on_disk(begun);
            return Ok(vek);
        }
        let fetch = async {
            if let Some(thim) = &self.thim
                && let Some(vek) = thim.certificate(request, product, &self.anchors, deadline).await
            {
                return Ok(vek);
            }
            let der = self.get(path, MAX_CERTIFICATE, deadline).await?;
            // What is wrong with it says something of the service or of who is on the way to it, nothing of the peer.
            let useless = |why: String| AttestationError::KdsUnreachable { why };
            match VerifiedVek::verify(&der, None, &self.anchors) {
                Ok(vek) if request.is_met_by(product, &vek) => Ok(vek),
                Ok(_) => Err(useless("it gave the certificate of another chip, TCB or product".to_owned())),
                Err(error) => Err(useless(format!("it gave a certificate that does not verify: {error}"))),
            }
        };
        let vek = lookup.on_network(fetch).await?;
        if let Some(disk) = &self.disk {
            disk.keep_certificate(request, product, &vek, self.clock.now()).await;
        }
        Ok(vek)
    }

    async fn fetch_list(
        &self,
        product: Product,
        kind: SigningKey,
        deadline: &Deadline,
    ) -> Result<Listed, AttestationError> {
        let cell = self.lists.cell((product, kind));
        let lookup = Lookup::new("crl");
        let fetch = || self.find_list((product, kind), (cell.last(), &lookup), *deadline);
        let mut outcome = cell.get((&self.clock, LISTS_KEPT), (DOING, deadline), fetch).await;
        if outcome.as_ref().is_ok_and(|listed| !is_current(listed, self.clock.now())) {
            // Due: there may be a new one. If not, the verification says what is wrong with the old one.
            outcome = cell.get((&self.clock, Duration::ZERO), (DOING, deadline), fetch).await;
        }
        lookup.ended(&outcome);
        outcome
    }

    /// The latest list that is known of: one that was replaced does not come back, whoever brings it.
    async fn find_list(
        &self,
        (product, kind): (Product, SigningKey),
        (known, lookup): (Option<Listed>, &Lookup),
        deadline: Deadline,
    ) -> Result<Listed, AttestationError> {
        let begun = Instant::now();
        let stored = match &self.disk {
            Some(disk) => disk.list(product, kind).await,
            None => None,
        };
        let known = match stored {
            Some(stored) => {
                let newest = stored.newest(known);
                if is_current(&newest, self.clock.now()) {
                    lookup.on_disk(begun);
                    return Ok(newest);
                }
                Some(newest)
            }
            None => known,
        };
        let path = crl_path(product, kind);
        let fetch = async {
            let der = self.get(&path, MAX_LIST, deadline).await?;
            let list = VerifiedCrl::verify(&der, product, &self.anchors).map_err(ReportError::Crl)?;
            Ok((der, list))
        };
        let (der, list) = lookup.on_network(fetch).await?;
        let fetched = Listed { list, fetched: self.clock.now() };
        if let Some(disk) = &self.disk {
            disk.keep_list((product, kind), &der, &fetched).await;
        }
        let newest = fetched.clone().newest(known);
        Ok(Listed { fetched: fetched.fetched, ..newest })
    }

    async fn get(&self, path: &str, limit: u64, deadline: Deadline) -> Result<Vec<u8>, AttestationError> {
        let unreachable = |why: String| AttestationError::KdsUnreachable { why };
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let exchange = Exchange { doing: DOING, what: "AMD's answer", limit, deadline, reconnects: true };
        match exchange.run(|| self.client.get(&url)).await {
            Ok(Answered { status: 200, body, .. }) => Ok(body),
            Ok(Answered { status: 404, .. }) => {
                Err(unreachable("it has no certificate for this chip and TCB (status 404)".to_owned()))
            }
            Ok(Answered { status, .. }) => Err(unreachable(format!("it answered with the status {status}"))),
            Err(Failure::Trouble(trouble)) => Err(unreachable(trouble.at(&self.base))),
            Err(Failure::Encoded) => Err(unreachable("it sent compressed data, which nobody asked for".to_owned())),
            Err(Failure::Other(error)) => Err(error),
        }
    }
}

fn product_of(certificates: &[u8]) -> Option<Product> {
    let certificate = match certificates_from_pem(certificates).ok().and_then(|bundle| bundle.into_iter().next()) {
        Some(first) => VekCertificate::from_der(&first),
        None => VekCertificate::from_der(certificates),
    };
    certificate.ok().map(|certificate| certificate.product())
}

/// Whether a list needs no look at whether there is a later one.
fn is_current(listed: &Listed, now: UnixTime) -> bool {
    let age = now.as_secs().checked_sub(listed.fetched.as_secs());
    listed.list.next_update() > now && age.is_some_and(|age| Duration::from_secs(age) < LISTS_KEPT)
}

/// One cell for each key.
#[derive(Debug)]
struct Kept<K, T>(Mutex<HashMap<K, Arc<Cell<T>>>>);

impl<K, T> Default for Kept<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, T> Kept<K, T> {
    fn cell(&self, key: K) -> Arc<Cell<T>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() >= MAX_KEPT && !cells.contains_key(&key) {
            cells.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        Arc::clone(cells.entry(key).or_default())
    }
}
