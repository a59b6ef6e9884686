//! AMD's CRLs: in memory, on disk, from AMD's Key Distribution Service.
//!
//! A refresh that fails forgets nothing: what a genuine CRL revoked stays revoked for as long as this process, or the directory
//! on disk, knows that CRL.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cache::Cells;
use super::deadline::Deadline;
use super::disk::Disk;
use super::kds::{ACTIVITY, KdsClient};
use super::known_crls::{Document, KnownCrls};
use crate::claims::SigningKey;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::policy::RevocationRule;
use crate::snp::{AmdAnchors, ReportError, VerifiedCrl, VerifiedVek, crl_path};
use crate::telemetry::Lookup;
use crate::types::{Product, UnixTime};

/// How long a CRL is used before AMD's service is asked for a later one: a revocation is noticed within this time.
const REFRESH_AFTER: Duration = Duration::from_secs(60 * 60);

/// How long the CRL for the other kind of key may take: it is not required.
const OTHER_KIND_TIMEOUT: Duration = Duration::from_secs(5);

type Key = (Product, SigningKey);

#[derive(Debug)]
pub(super) struct CrlCache {
    anchors: AmdAnchors,
    clock: Clock,
    disk: Option<Disk>,
    cells: Cells<Key, KnownCrls>,
    /// Whatever was read of each, also where the search then failed.
    seen: Mutex<HashMap<Key, KnownCrls>>,
}

/// What a search for a CRL came to.
#[derive(Debug)]
pub(super) struct CrlLookup {
    /// The latest that is known for the kind of key, refreshed or not.
    crl: Option<VerifiedCrl>,
    /// That for the other kind of key, where the first names no distribution point and so may be for either.
    other: Option<VerifiedCrl>,
    /// Why the CRL could not be refreshed.
    failure: Option<AttestationError>,
}

impl CrlLookup {
    /// The CRL to verify a report with.
    ///
    /// # Errors
    ///
    /// The failed refresh, where a CRL is required and none that is known revokes the chain of the certificate.
    pub(super) fn for_chain_of(
        self,
        vek: &VerifiedVek,
        rule: RevocationRule,
    ) -> Result<Option<VerifiedCrl>, AttestationError> {
        let Self { crl, other, failure } = self;
        let revokes = |crl: &VerifiedCrl| vek.check_not_revoked(crl).is_err();
        if let Some(other) = other.filter(revokes) {
            return Ok(Some(other));
        }
        match failure {
            Some(failure) if rule == RevocationRule::Required && !crl.as_ref().is_some_and(revokes) => Err(failure),
            _ => Ok(crl),
        }
    }
}

impl CrlCache {
    pub(super) fn new(anchors: AmdAnchors, clock: Clock, disk: Option<Disk>) -> Self {
        Self { anchors, clock, disk, cells: Cells::default(), seen: Mutex::default() }
    }

    /// The CRL for the issuer of one kind of key.
    pub(super) async fn find(&self, kds: &KdsClient, (product, kind): Key, deadline: &Deadline) -> CrlLookup {
        let key = (product, kind);
        let failure = self.refresh(kds, key, deadline).await.err();
        let known = self.known(key, failure.is_some()).await;
        let crl = known.as_ref().map(KnownCrls::combined);
        let is_named = crl.as_ref().is_some_and(|crl| !crl.distribution_points().is_empty());
        let mut other = None;
        if !is_named {
            let key = (product, kind.other());
            let limit = Deadline::after(deadline.half_left().min(OTHER_KIND_TIMEOUT));
            // A failure leaves what is known of it. It is not required: a carrier that swaps the two can withhold one as well.
            let failed = failure.is_some() || self.refresh(kds, key, &limit).await.is_err();
            other = self.known(key, failed).await.as_ref().map(KnownCrls::combined);
        }
        CrlLookup { crl, other, failure }
    }

    /// Everything that is known, without asking the network.
    async fn known(&self, key: Key, look_on_disk: bool) -> Option<KnownCrls> {
        if look_on_disk && let Some(disk) = &self.disk {
            let stored = disk.crls(key.0, key.1).await;
            stored.map(|stored| self.saw(key, stored));
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    fn saw(&self, key: Key, crls: KnownCrls) -> KnownCrls {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = crls.merged(seen.remove(&key));
        seen.insert(key, merged.clone());
        merged
    }

    /// Has the latest CRL looked for, unless that was done within the hour.
    async fn refresh(&self, kds: &KdsClient, key: Key, deadline: &Deadline) -> Result<(), AttestationError> {
        let cell = self.cells.cell(key);
        let lookup = Lookup::new("crl");
        let fetch = || self.load(kds, key, &lookup, *deadline);
        let mut outcome = cell.get((&self.clock, REFRESH_AFTER), (ACTIVITY, deadline), fetch).await;
        if outcome.as_ref().is_ok_and(|known| !is_current(known, self.clock.now())) {
            // Due: there may be a new one. If not, the verification says what is wrong with the old one.
            outcome = cell.get((&self.clock, Duration::ZERO), (ACTIVITY, deadline), fetch).await;
        }
        lookup.ended(&outcome);
        outcome.map(drop)
    }

    /// The latest CRL that is known of: one that was replaced does not come back, whichever source brings it.
    async fn load(
        &self,
        kds: &KdsClient,
        key: Key,
        lookup: &Lookup,
        deadline: Deadline,
    ) -> Result<KnownCrls, AttestationError> {
        let (begun, (product, kind)) = (Instant::now(), key);
        if let Some(disk) = &self.disk
            && let Some(stored) = disk.crls(product, kind).await
        {
            let known = self.saw(key, stored);
            if is_current(&known, self.clock.now()) {
                lookup.on_disk(begun);
                return Ok(known);
            }
        }
        let path = crl_path(product, kind);
        let fetch = async {
            let der = kds.crl(&path, deadline).await?;
            let crl = VerifiedCrl::verify_for(&der, product, kind, &self.anchors).map_err(ReportError::Crl)?;
            Ok(Document { der: der.into(), crl })
        };
        let now = self.clock.now();
        let fetched = lookup.on_network(fetch).await?;
        let known = self.saw(key, KnownCrls::new(fetched.clone(), now)).fetched_at(now);
        if let Some(disk) = &self.disk {
            // For other processes a CRL that was replaced is no sign that there is no later one: they ask again.
            let is_latest = fetched.crl.cmp_issued(&known.latest().crl).is_ge();
            let stored = if is_latest { known.clone() } else { known.clone().fetched_at(UnixTime::from_secs(0)) };
            disk.keep_crls(product, kind, &stored).await;
        }
        Ok(known)
    }
}

/// Whether AMD's service need not be asked for a later CRL.
fn is_current(known: &KnownCrls, now: UnixTime) -> bool {
    let age = now.as_secs().checked_sub(known.fetched().as_secs());
    known.latest().crl.next_update() > now && age.is_some_and(|age| Duration::from_secs(age) < REFRESH_AFTER)
}
