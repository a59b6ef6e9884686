//! The cache of MAA key sets (JWKS). They are fetched over authenticated TLS and kept in memory only: they have no signature,
//! so that a file would be an unauthenticated root of trust.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Client;

use super::cached_fetch::CachedFetch;
use super::http::{BoundedRequest, FetchError};
use crate::clock::{Clock, Moment};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::evidence::KeySetSource;
use crate::maa::{KeySet, MAX_KEY_SET_LEN};
use crate::sync::lock;
use crate::telemetry::Lookup;
use crate::types::{MaaIssuer, shorten};

/// How long a key set is used. A key that MAA withdraws is trusted for at most this time.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How old a key set must be before an unknown key id causes another fetch. Without it a peer could make this client flood
/// MAA by sending tokens with invented key ids. No one waits for it to pass, so that such a peer holds up no request either.
const REFETCH_COOLDOWN: Duration = Duration::from_secs(10);

/// The most instances whose key sets are kept: policies name one or two.
const MAX_ISSUERS: usize = 64;

const ACTIVITY: &str = "fetching the key set of the MAA instance";

/// The key sets that a verifier uses.
#[derive(Debug)]
pub(crate) struct JwksCache {
    source: Source,
    clock: Clock,
}

#[derive(Debug)]
enum Source {
    Pinned(KeySet),
    Fetched { client: Client, source: KeySetSource, entries: Mutex<HashMap<MaaIssuer, Arc<CachedFetch<Fetched>>>> },
}

/// A key set, and when it was requested from the instance.
#[derive(Clone, Debug)]
struct Fetched {
    key_set: KeySet,
    requested_at: Moment,
}

impl JwksCache {
    pub(crate) fn pinned(key_set: KeySet, clock: Clock) -> Self {
        Self { source: Source::Pinned(key_set), clock }
    }

    pub(crate) fn fetched(client: Client, source: KeySetSource, clock: Clock) -> Self {
        Self { source: Source::Fetched { client, source, entries: Mutex::default() }, clock }
    }

    /// Returns how the keys are obtained.
    pub(crate) fn source(&self) -> KeySetSource {
        match &self.source {
            Source::Pinned(_) => KeySetSource::Pinned,
            Source::Fetched { source, .. } => *source,
        }
    }

    /// Returns the key set that the caller pinned for all instances.
    pub(crate) fn pinned_set(&self) -> Option<&KeySet> {
        match &self.source {
            Source::Pinned(key_set) => Some(key_set),
            Source::Fetched { .. } => None,
        }
    }

    /// Fetches the key set of an instance as an unparsed document, past the cache.
    pub(crate) async fn document(&self, issuer: &MaaIssuer, deadline: &Deadline) -> Result<Vec<u8>, AttestationError> {
        match &self.source {
            Source::Pinned(_) => Err(AttestationError::MissingEvidence { what: "a key set that is not pinned" }),
            Source::Fetched { client, .. } => fetch_document(client, issuer, *deadline).await,
        }
    }

    /// Returns the key set of an instance, cached for an hour.
    pub(crate) async fn get(&self, issuer: &MaaIssuer, deadline: &Deadline) -> Result<KeySet, AttestationError> {
        match &self.source {
            Source::Pinned(key_set) => Ok(key_set.clone()),
            Source::Fetched { client, entries, .. } => {
                Ok(self.get_max_age(client, entries, LIFETIME, issuer, deadline).await?.key_set)
            }
        }
    }

    /// Returns a newer key set, for a token that names a key which the cached one does not have.
    ///
    /// Only a key set that was requested after the attestation began shows that MAA does not publish the key. An older one may be from
    /// before MAA began to use it: without a newer one nothing is known about the peer, and the error is no verdict on it.
    pub(crate) async fn refresh(
        &self,
        issuer: &MaaIssuer,
        key_id: &str,
        attested_since: Moment,
        deadline: &Deadline,
    ) -> Result<KeySet, AttestationError> {
        let (client, entries) = match &self.source {
            Source::Pinned(key_set) => return Ok(key_set.clone()),
            Source::Fetched { client, entries, .. } => (client, entries),
        };
        let fetched = self.get_max_age(client, entries, REFETCH_COOLDOWN, issuer, deadline).await?;
        let Fetched { key_set, requested_at } = fetched;
        if requested_at.not_before(attested_since) || key_set.key_ids().any(|known| known == key_id) {
            return Ok(key_set);
        }
        let seconds = REFETCH_COOLDOWN.as_secs();
        let key_id = shorten(key_id, 64);
        Err(AttestationError::MaaUnreachable {
            issuer: issuer.clone(),
            reason: format!(
                "the token names the key {key_id:?}, which the last key set does not have; MAA may have added it since, and the set is \
                 fetched at most once in {seconds} s: try again"
            ),
            source: None,
        })
    }

    async fn get_max_age(
        &self,
        client: &Client,
        entries: &Mutex<HashMap<MaaIssuer, Arc<CachedFetch<Fetched>>>>,
        max_age: Duration,
        issuer: &MaaIssuer,
        deadline: &Deadline,
    ) -> Result<Fetched, AttestationError> {
        let entry = {
            let mut entries = lock(entries);
            if entries.len() >= MAX_ISSUERS && !entries.contains_key(issuer) {
                entries.clear();
            }
            Arc::clone(entries.entry(issuer.clone()).or_default())
        };
        let lookup = Lookup::new("key-set");
        let requested_at = self.clock.moment();
        let fetch = || lookup.on_network(fetch(client, issuer, requested_at, *deadline));
        let outcome = entry.get(&self.clock, max_age, ACTIVITY, deadline, fetch).await;
        lookup.ended(&outcome);
        outcome
    }
}

async fn fetch(
    client: &Client,
    issuer: &MaaIssuer,
    requested_at: Moment,
    deadline: Deadline,
) -> Result<Fetched, AttestationError> {
    let key_set = KeySet::from_json(&fetch_document(client, issuer, deadline).await?)?;
    Ok(Fetched { key_set, requested_at })
}

async fn fetch_document(client: &Client, issuer: &MaaIssuer, deadline: Deadline) -> Result<Vec<u8>, AttestationError> {
    let failed = |reason, source| AttestationError::MaaUnreachable { issuer: issuer.clone(), reason, source };
    let unreachable = |reason: String| failed(reason, None);
    let subject = "the key set of the MAA instance";
    let request = BoundedRequest {
        activity: ACTIVITY,
        subject,
        limit: u64::try_from(MAX_KEY_SET_LEN).unwrap_or(u64::MAX),
        deadline,
        retry_connect: true,
    };
    let url = issuer.key_set_url();
    let response = request.run(|| client.get(&url).header("accept", "application/json")).await;
    let response = response.map_err(|error| match error {
        FetchError::Transport(error) => failed(error.reason, error.source),
        FetchError::ContentEncoded => unreachable("it sent compressed data, which was not requested".to_owned()),
        FetchError::Attestation(error) => error,
    })?;
    match response.status {
        200 if response.is_json() => Ok(response.body),
        200 => Err(unreachable("its response is not of the type application/json".to_owned())),
        status => Err(unreachable(format!("it responded with the status {status}"))),
    }
}
