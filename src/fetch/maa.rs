//! Key sets of MAA instances. Fetched over authenticated TLS and kept in memory only: a file would be a root of trust that
//! nobody signed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;

use super::cache::Cell;
use super::deadline::Deadline;
use super::http::{Exchange, FetchError};
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::evidence::KeySetSource;
use crate::maa::KeySet;
use crate::telemetry::Lookup;
use crate::types::Issuer;

/// The largest key set that is read, in bytes: stops a server that never ends. One key can take 40 kB.
const MAX_BYTES: u64 = 2 << 20;

/// How long a key set is used: a key that MAA takes back is believed for no longer.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How old a key set must be for an unknown key id to be worth another fetch: stops a peer who sends tokens with ids of his
/// own from making us hammer MAA.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// The most instances whose keys are kept: policies name one or two.
const MAX_ISSUERS: usize = 64;

const DOING: &str = "fetching the key set of the MAA instance";

/// The key sets that a verifier uses.
#[derive(Debug)]
pub(crate) struct KeySets {
    source: Source,
    clock: Clock,
}

#[derive(Debug)]
enum Source {
    Pinned(KeySet),
    Fetched { client: Client, by: KeySetSource, cells: Mutex<HashMap<Issuer, Arc<Cell<KeySet>>>> },
}

impl KeySets {
    pub(crate) fn pinned(key_set: KeySet, clock: Clock) -> Self {
        Self { source: Source::Pinned(key_set), clock }
    }

    pub(crate) fn fetched(client: Client, by: KeySetSource, clock: Clock) -> Self {
        Self { source: Source::Fetched { client, by, cells: Mutex::default() }, clock }
    }

    /// How the keys are come by.
    pub(crate) fn source(&self) -> KeySetSource {
        match &self.source {
            Source::Pinned(_) => KeySetSource::Pinned,
            Source::Fetched { by, .. } => *by,
        }
    }

    /// The key set that the caller supplied for all instances.
    pub(crate) fn pinned_set(&self) -> Option<&KeySet> {
        match &self.source {
            Source::Pinned(key_set) => Some(key_set),
            Source::Fetched { .. } => None,
        }
    }

    /// The key set of an instance as it stands there now, unread.
    pub(crate) async fn document(&self, issuer: &Issuer, deadline: &Deadline) -> Result<Vec<u8>, AttestationError> {
        match &self.source {
            Source::Pinned(_) => Err(AttestationError::MissingEvidence { what: "a key set that is not pinned" }),
            Source::Fetched { client, .. } => fetch_document(client, issuer, *deadline).await,
        }
    }

    /// The key set of an instance.
    pub(crate) async fn get(&self, issuer: &Issuer, deadline: &Deadline) -> Result<KeySet, AttestationError> {
        self.at_most(LIFETIME, issuer, deadline).await
    }

    /// The key set for a token whose key id the one that was used did not have.
    pub(crate) async fn get_again(&self, issuer: &Issuer, deadline: &Deadline) -> Result<KeySet, AttestationError> {
        self.at_most(COOL_DOWN, issuer, deadline).await
    }

    async fn at_most(&self, age: Duration, issuer: &Issuer, deadline: &Deadline) -> Result<KeySet, AttestationError> {
        let (client, cells) = match &self.source {
            Source::Pinned(key_set) => return Ok(key_set.clone()),
            Source::Fetched { client, cells, .. } => (client, cells),
        };
        let cell = {
            let mut cells = cells.lock().unwrap_or_else(PoisonError::into_inner);
            if cells.len() >= MAX_ISSUERS && !cells.contains_key(issuer) {
                cells.clear();
            }
            Arc::clone(cells.entry(issuer.clone()).or_default())
        };
        let lookup = Lookup::new("key-set");
        let fetch = || lookup.on_network(fetch(client, issuer, *deadline));
        let outcome = cell.get((&self.clock, age), (DOING, deadline), fetch).await;
        lookup.ended(&outcome);
        outcome
    }
}

async fn fetch(client: &Client, issuer: &Issuer, deadline: Deadline) -> Result<KeySet, AttestationError> {
    Ok(KeySet::from_json(&fetch_document(client, issuer, deadline).await?)?)
}

async fn fetch_document(client: &Client, issuer: &Issuer, deadline: Deadline) -> Result<Vec<u8>, AttestationError> {
    let unreachable = |reason: String| AttestationError::MaaUnreachable { issuer: issuer.clone(), reason };
    let what = "the key set of the MAA instance";
    let exchange = Exchange { doing: DOING, what, limit: MAX_BYTES, deadline, reconnects: true };
    let url = issuer.key_set_url();
    let answer = exchange.run(|| client.get(&url).header("accept", "application/json")).await;
    let answer = answer.map_err(|failure| match failure {
        FetchError::Transport(error) => unreachable(error.reason),
        FetchError::ContentEncoded => unreachable("it sent compressed data, which nobody asked for".to_owned()),
        FetchError::Attestation(error) => error,
    })?;
    match answer.status {
        200 if answer.is_json() => Ok(answer.body),
        200 => Err(unreachable("its answer is not of the type application/json".to_owned())),
        status => Err(unreachable(format!("it answered with the status {status}"))),
    }
}
