//! Connections that are opened first and used later.
//!
//! An HTTP client opens a connection for a request, and by the time that the peer's key is known the request is on its way.
//! Here the two are apart. [`dial`] opens a connection on behalf of a request that is never sent, and hands the finished
//! connection over; only then is it decided what, if anything, is sent on it. The client of an attested key ([`Line`])
//! cannot open connections at all: it uses those that were given to it.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use reqwest::{Client, ClientBuilder};
use tower_layer::Layer;
use tower_service::Service;
use url::Url;

use super::settings::Settings;
use crate::error::AttestationError;
use crate::fetch::{Deadline, TroubleKind, explain, find};
use crate::tls::{self, NameVerifier, Refusal};
use crate::types::SpkiDigest;

/// How long a connection may wait for its request: nobody looks at it meanwhile, and the peer may close it.
const FRESH: Duration = Duration::from_secs(5);

/// How many may wait for one: more than are opened at a time.
const MAX_WAITING: usize = 16;

/// The client of one TLS key. Every connection in it was proven to be to a peer that holds this key.
#[derive(Clone, Debug)]
pub(super) struct Line {
    key: SpkiDigest,
    client: Client,
    waiting: Waiting,
}

/// What a [`Line`] says when it has no connection. The request it was asked to send was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no connection is open")]
pub(super) struct NoConnection;

impl Line {
    pub(super) fn key(&self) -> SpkiDigest {
        self.key
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Says that a connection is about to come back from the answer it was used for. HTTP/1.1 has one answer at a time, and the
    /// client finds out that a connection is free a moment after the answer has been read: without this wait another
    /// connection would be opened for every other request.
    pub(super) fn expect_back(&self, within: Duration) {
        let mut until = self.waiting.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Instant::now().checked_add(within));
    }

    /// How often there was no connection to be had.
    pub(super) fn misses(&self) -> u64 {
        self.waiting.misses.load(Ordering::SeqCst)
    }

    /// Takes over the connection that another line of the same key was opened with.
    pub(super) fn take_over(&self, other: &Self) {
        if self.key == other.key {
            let connections = std::mem::take(&mut *other.waiting.lock());
            let mut waiting = self.waiting.lock();
            waiting.extend(connections);
            let too_many = waiting.len().saturating_sub(MAX_WAITING);
            drop(waiting.drain(..too_many));
        }
    }

    /// Closes connections that have waited too long: a peer whose answers come over another one never uses them.
    pub(super) fn drop_stale(&self) {
        self.waiting.lock().retain(|(since, _)| since.elapsed() < FRESH);
    }
}

/// Opens a connection to whoever answers there, and finds out the key. Nothing but TLS is exchanged.
pub(super) async fn dial(
    settings: &Settings,
    origin: &Url,
    name: Option<NameVerifier>,
    deadline: &Deadline,
) -> Result<Line, AttestationError> {
    let (config, key) = tls::observing(name, &settings.clock)?;
    let waiting = Waiting::default();
    let door = Gate { opens: true, waiting: waiting.clone() };
    let opener = settings.client(config)?.https_only(true).connector_layer(door);
    let opener = build(opener)?;
    let never_sent = opener.get(origin.clone()).send();
    let Err(outcome) = deadline.run("opening a connection", never_sent).await? else {
        return Err(AttestationError::Misconfigured { why: "the HTTP client does not take layers".to_owned() });
    };
    let (Some(key), false) = (key.get(), waiting.lock().is_empty()) else {
        return Err(not_opened(&outcome, origin, settings.proxy.as_ref()));
    };
    let inside = Gate { opens: false, waiting: waiting.clone() };
    let client = settings.client(tls::closed(&settings.clock)?)?.https_only(true).connector_layer(inside);
    Ok(Line { key, client: build(client)?, waiting })
}

fn not_opened(error: &reqwest::Error, origin: &Url, proxy: Option<&Url>) -> AttestationError {
    if let Some(Refusal::UnreadableCertificate) = find::<rustls::Error>(error).and_then(tls::refusal) {
        return AttestationError::ServerNameNotValidated { why: Refusal::UnreadableCertificate.to_string() };
    }
    let (trouble, proxy) = (explain(error), proxy.and_then(Url::host_str));
    let (kind, mut why) = (trouble.kind, trouble.at(origin));
    if let Some(proxy) = proxy {
        why.push_str(&format!(" (through the proxy {proxy})"));
    }
    match kind {
        TroubleKind::Name => AttestationError::ServerNameNotValidated { why },
        _ => AttestationError::ApplicationUnreachable { why },
    }
}

pub(super) fn build(client: ClientBuilder) -> Result<Client, AttestationError> {
    client.build().map_err(|_| AttestationError::Misconfigured {
        why: "the HTTP client cannot be built; is there another version of rustls in the tree?".to_owned(),
    })
}

/// Connections that wait for a request, of a type that only the HTTP library can name.
#[derive(Clone, Default)]
struct Waiting {
    connections: Arc<Mutex<Vec<(Instant, Connection)>>>,
    until: Arc<Mutex<Option<Instant>>>,
    misses: Arc<AtomicU64>,
}

type Connection = Box<dyn Any + Send>;

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<C: 'static>(&self) -> Option<C> {
        let mut waiting = self.lock();
        waiting.retain(|(since, _)| since.elapsed() < FRESH);
        let (_, connection) = waiting.pop()?;
        connection.downcast().ok().map(|connection| *connection)
    }

    /// The client watches its pool meanwhile, and goes on as soon as a connection is back there.
    async fn take_or_wait<C: 'static>(&self) -> Result<C, Failure> {
        if let Some(connection) = self.take() {
            return Ok(connection);
        }
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
        self.take().ok_or_else(|| {
            self.misses.fetch_add(1, Ordering::SeqCst);
            NoConnection.into()
        })
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Waiting({})", self.lock().len())
    }
}

/// Stands before the connector of an HTTP client: either it lays every new connection aside and fails the request that it
/// was opened for, or it opens none and gives out those laid aside.
#[derive(Clone)]
struct Gate {
    opens: bool,
    waiting: Waiting,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, connector: S) -> Gated<S> {
        Gated { gate: self.clone(), connector }
    }
}

#[derive(Clone)]
struct Gated<S> {
    gate: Gate,
    connector: S,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl<S, Target> Service<Target> for Gated<S>
where
    S: Service<Target, Error = Failure>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.gate.opens { self.connector.poll_ready(cx) } else { Poll::Ready(Ok(())) }
    }

    fn call(&mut self, target: Target) -> Self::Future {
        let waiting = self.gate.waiting.clone();
        if !self.gate.opens {
            return Box::pin(async move { waiting.take_or_wait().await });
        }
        let connecting = self.connector.call(target);
        Box::pin(async move {
            let connection = connecting.await?;
            waiting.lock().push((Instant::now(), Box::new(connection)));
            Err(NoConnection.into())
        })
    }
}
