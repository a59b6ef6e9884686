//! The cache of AMD's CRLs: in memory, then on disk, then from AMD's Key Distribution Service.
//!
//! A refresh that fails forgets nothing: what a genuine CRL revoked stays revoked for as long as this process, or the directory
//! on disk, knows that CRL.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::cached_fetch::CachedFetches;
use super::disk_cache::{DiskCache, Stored};
use super::kds::{ACTIVITY, KdsClient};
use super::known_crls::{Document, KnownCrls};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::snp::{AmdAnchors, CrlError, ReportError, VerifiedCrl, VerifiedVek, crl_path};
use crate::sync::lock;
use crate::telemetry::Lookup;
use crate::types::{Product, Revocation, SigningKey, UnixTime};

/// How long a CRL is used before a later one is requested: a revocation takes effect within this time.
const REFRESH_AFTER: Duration = Duration::from_secs(60 * 60);

/// Which CRL: AMD issues one for each product and kind of signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) product: Product,
    pub(super) kind: SigningKey,
}

#[derive(Debug)]
pub(super) struct CrlCache {
    anchors: AmdAnchors,
    clock: Clock,
    disk: Option<DiskCache>,
    /// The most time to fetch the CRL for the other kind of key.
    other_kind_timeout: Duration,
    entries: CachedFetches<Key, KnownCrls>,
    /// All CRLs that were seen under each key, also where the refresh then failed: a known revocation is never forgotten.
    seen: Mutex<HashMap<Key, KnownCrls>>,
}

/// The result of a search for a CRL.
#[derive(Debug)]
pub(super) struct CrlLookup {
    /// The latest known CRL for the kind of key, refreshed or not.
    crl: Option<VerifiedCrl>,
    /// The CRL for the other kind of key, if the first names no distribution point and so may be meant for either.
    other: Option<VerifiedCrl>,
    /// The reason why the CRL could not be refreshed.
    failure: Option<AttestationError>,
}

impl CrlLookup {
    /// Returns the CRL to verify a report with.
    ///
    /// # Errors
    ///
    /// The failed refresh, if a CRL is required and no known one revokes the chain of the certificate.
    pub(super) fn for_chain_of(
        self,
        vek: &VerifiedVek,
        rule: Revocation,
    ) -> Result<Option<VerifiedCrl>, AttestationError> {
        let Self { crl, other, failure } = self;
        let revokes = |crl: &VerifiedCrl| vek.check_not_revoked(crl).is_err();
        if let Some(other) = other.filter(revokes) {
            return Ok(Some(other));
        }
        match failure {
            Some(failure) if rule.is_required() && !crl.as_ref().is_some_and(revokes) => Err(failure),
            _ => Ok(crl),
        }
    }
}

impl CrlCache {
    pub(super) fn new(
        anchors: AmdAnchors,
        clock: Clock,
        disk: Option<DiskCache>,
        other_kind_timeout: Duration,
    ) -> Self {
        Self { anchors, clock, disk, other_kind_timeout, entries: CachedFetches::default(), seen: Mutex::default() }
    }

    /// Finds the CRL for the issuer of one kind of key.
    pub(super) async fn find(&self, kds: &KdsClient, key: Key, deadline: &Deadline) -> CrlLookup {
        let failure = self.refresh(kds, key, deadline).await.err();
        let known = self.known(key, failure.is_some()).await;
        let crl = known.as_ref().map(KnownCrls::combined);
        let is_named = crl.as_ref().is_some_and(|crl| !crl.distribution_points().is_empty());
        let mut other = None;
        if !is_named {
            let key = Key { kind: key.kind.other(), ..key };
            let limit = self.for_other_kind(deadline);
            // A failure is not an error: the other CRL is not required, and a source that would swap the two CRLs could just as
            // well withhold one. What is known of it still counts.
            let failed = failure.is_some() || self.refresh(kds, key, &limit).await.is_err();
            other = self.known(key, failed).await.as_ref().map(KnownCrls::combined);
        }
        CrlLookup { crl, other, failure }
    }

    /// Returns the deadline of a request for the CRL for the other kind of key, which is not required: at most half of the remaining
    /// time.
    pub(super) fn for_other_kind(&self, deadline: &Deadline) -> Deadline {
        Deadline::after(deadline.half_remaining().min(self.other_kind_timeout))
    }

    /// Returns all known CRLs, without a request to the network.
    async fn known(&self, key: Key, look_on_disk: bool) -> Option<KnownCrls> {
        if look_on_disk && let Some(disk) = &self.disk {
            // One that cannot be read is not an error here: the refresh has failed already.
            if let Stored::Crls(stored) = disk.crls(key.product, key.kind).await {
                self.remember(key, *stored);
            }
        }
        lock(&self.seen).get(&key).cloned()
    }

    /// Adds CRLs to those that were seen, and returns them all.
    fn remember(&self, key: Key, crls: KnownCrls) -> KnownCrls {
        let mut seen = lock(&self.seen);
        let merged = crls.merged(seen.remove(&key));
        seen.insert(key, merged.clone());
        merged
    }

    /// Looks for the latest CRL, unless that was done within [`REFRESH_AFTER`].
    async fn refresh(&self, kds: &KdsClient, key: Key, deadline: &Deadline) -> Result<(), AttestationError> {
        let entry = self.entries.entry(key);
        let lookup = Lookup::new("crl");
        let fetch = || self.load(kds, key, &lookup, *deadline);
        let mut outcome = entry.get(&self.clock, REFRESH_AFTER, ACTIVITY, deadline, fetch).await;
        if outcome.as_ref().is_ok_and(|known| !is_current(known, self.clock.now())) {
            // The next update is due, so that a new CRL may exist. If not, the verification reports what is wrong with the old.
            outcome = entry.get(&self.clock, Duration::ZERO, ACTIVITY, deadline, fetch).await;
        }
        lookup.ended(&outcome);
        outcome.map(drop)
    }

    /// Loads CRLs from disk or the network and merges them with those seen before. A CRL that was replaced does not come back,
    /// whichever source sends it: a replay could hide a revocation.
    async fn load(
        &self,
        kds: &KdsClient,
        key: Key,
        lookup: &Lookup,
        deadline: Deadline,
    ) -> Result<KnownCrls, AttestationError> {
        let (started, Key { product, kind }) = (Instant::now(), key);
        let mut disk_was_read = true;
        if let Some(disk) = &self.disk {
            match disk.crls(product, kind).await {
                Stored::Nothing => {}
                Stored::Unreadable => disk_was_read = false,
                Stored::Crls(stored) => {
                    let known = self.remember(key, *stored);
                    if is_current(&known, self.clock.now()) {
                        lookup.found_on_disk(started);
                        return Ok(known);
                    }
                }
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
        let mut known = self.remember(key, KnownCrls::new(fetched.clone(), now)).fetched_at(now);
        if let Some(disk) = &self.disk {
            // A slow drive must not make a CRL unavailable that it has.
            let at_least = if disk_was_read { Duration::ZERO } else { deadline.half_remaining() };
            match disk.store_crls(product, kind, &known, &fetched.crl, at_least).await {
                // With what another process has stored since.
                Some(merged) => known = self.remember(key, merged).fetched_at(now),
                None if disk_was_read => {}
                // The fetched CRL may be older than the stored one.
                None => return Err(AttestationError::RevocationUnavailable { reason: CrlError::StoredUnreadable }),
            }
        }
        Ok(known)
    }
}

/// Whether a known CRL is recent enough that no later one has to be requested.
fn is_current(known: &KnownCrls, now: UnixTime) -> bool {
    let age = now.as_secs().checked_sub(known.fetched().as_secs());
    known.latest().crl.next_update() > now && age.is_some_and(|age| Duration::from_secs(age) < REFRESH_AFTER)
}
