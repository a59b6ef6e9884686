//! A front end that ends TLS: a reverse proxy with a key and a certificate of its own, before one or more BlindBoxes.
//!
//! Load balancers, CDNs and API gateways of a cloud are such front ends. Unlike a [`Relay`](super::Relay), it passes on everything, and
//! its certificate is the rightful one for the name. It is not a part of what is attested, and may be curious or hostile.

mod cors;
mod forward;
mod knob;
mod message;
mod record;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::blindbox::BlindBox;
use super::network::request::{Arrival, Handler, Reply};
use super::network::response::BufferedResponse;
use super::network::server::{Cuts, HttpVersions, Protocols, Server};
use super::network::tls::{CertificateAuthority, CertificateRequest, KeyKind, TlsKey, TlsVersions};
use super::network::traffic::{Traffic, is_agent_path};
use super::{lock, origin};
use crate::agent::{KeySchedule, MESSAGE_PATH, MessageKem, MessageKeys};
use crate::types::{SpkiDigest, UnixTime};
pub use knob::FrontEndKnob;
use message::Memory;
use record::Record;

/// The cookie by which it sends a client to the same replica again.
const AFFINITY: &str = "front-end-replica";

/// A running front end. Stops when dropped.
///
/// It keeps all that it sees in clear ([`FrontEnd::count_seen`]), and is honest unless a [`FrontEndKnob`] is set. A client is sent to the
/// replica that its cookie names, or that its messages name by `Blindbox-Instance`; to one after the other without either.
pub struct FrontEnd {
    server: Server,
    shared: Arc<Shared>,
    traffic: Traffic,
    host: String,
    key: SpkiDigest,
}

/// Settings of a front end before it starts.
#[derive(Clone, Debug)]
pub struct FrontEndBuilder {
    host: String,
    prefix: String,
    http: HttpVersions,
    knobs: Vec<FrontEndKnob>,
    origins: Vec<String>,
    also: Vec<Arc<Shared>>,
}

struct Shared {
    replicas: Vec<Replica>,
    prefix: String,
    client: Mutex<Upstream>,
    knobs: Mutex<Vec<FrontEndKnob>>,
    /// The pages that may use it.
    origins: Vec<String>,
    record: Record,
    next_replica: AtomicUsize,
    /// The replica of each instance, by the value of `Blindbox-Instance`.
    instances: Mutex<HashMap<String, usize>>,
    memory: Mutex<Memory>,
    /// For [`FrontEndKnob::OwnMessageKey`].
    own_keys: MessageKeys,
}

/// Where requests go.
struct Replica {
    application: String,
    agent: String,
    cuts: Vec<Cuts>,
}

/// What sends requests on. Its connections are those since the replicas last cut theirs: a request that was sent on one that is cut would
/// fail by chance, as the cut is noticed before or after.
struct Upstream {
    client: reqwest::Client,
    cuts: u64,
}

impl Upstream {
    fn new(cuts: u64) -> reqwest::Result<Self> {
        // It does not verify whom it forwards to, as most front ends do not: clients do not rely on it.
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(300))
            .build()?;
        Ok(Self { client, cuts })
    }
}

impl FrontEndBuilder {
    /// The host in [`FrontEnd::url`]: `127.0.0.1` unless set; `localhost` is another that works on loopback.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The path that leads to the replicas, such as `/app/v1`. It is in [`FrontEnd::url`], and is not passed on; to other paths the front
    /// end responds with 404.
    #[must_use]
    pub fn path_prefix(mut self, prefix: &str) -> Self {
        prefix.trim_end_matches('/').clone_into(&mut self.prefix);
        self
    }

    /// Serves at its address what another front end serves, which has another path: one front end before several workloads. May be
    /// called again.
    #[must_use]
    pub fn also_serves(mut self, other: &FrontEnd) -> Self {
        self.also.push(Arc::clone(&other.shared));
        self
    }

    /// Which versions of HTTP it speaks with clients.
    #[must_use]
    pub fn http(mut self, versions: HttpVersions) -> Self {
        self.http = versions;
        self
    }

    /// An action from the start; may be called again.
    #[must_use]
    pub fn knob(mut self, knob: FrontEndKnob) -> Self {
        self.knobs.push(knob);
        self
    }

    /// Lets pages of this origin, such as `https://chat.example`, use the agent from a browser (CORS); may be called again.
    #[must_use]
    pub fn allow_origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.to_owned());
        self
    }

    /// Starts it before these replicas. Its certificate is issued by the authority of the first.
    ///
    /// # Errors
    ///
    /// When there is no replica, or no port on loopback can be had.
    pub async fn start<'b>(self, replicas: impl IntoIterator<Item = &'b BlindBox>) -> io::Result<FrontEnd> {
        let blindboxes: Vec<&BlindBox> = replicas.into_iter().collect();
        let Some(first) = blindboxes.first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a front end has at least one replica"));
        };
        let replica = |blindbox: &&BlindBox| {
            let [application, agent] = blindbox.urls_by_address();
            Replica { application, agent, cuts: blindbox.cuts() }
        };
        let replicas = blindboxes.iter().map(replica).collect();
        self.start_before(replicas, first.authority(), first.now()).await
    }

    /// Starts it before a server of another kind, such as an agent of one's own, at this `https` URL. Its certificate is issued by
    /// `authority`.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start_at(self, url: &str, authority: &CertificateAuthority) -> io::Result<FrontEnd> {
        let url = url.trim_end_matches('/').to_owned();
        let now = std::time::SystemTime::now().into();
        let replica = Replica { application: url.clone(), agent: url, cuts: Vec::new() };
        self.start_before(vec![replica], authority, now).await
    }

    async fn start_before(
        self,
        replicas: Vec<Replica>,
        authority: &CertificateAuthority,
        now: UnixTime,
    ) -> io::Result<FrontEnd> {
        let key = TlsKey::generate(KeyKind::P256);
        let identity = authority.issue(&key, &CertificateRequest::new(["127.0.0.1", "localhost", &self.host], now));
        let client = Upstream::new(0).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            replicas,
            prefix: self.prefix,
            client: Mutex::new(client),
            knobs: Mutex::new(self.knobs),
            origins: self.origins,
            record: Record::default(),
            next_replica: AtomicUsize::new(0),
            instances: Mutex::default(),
            memory: Mutex::default(),
            own_keys: MessageKeys::new(MessageKem::XWing, KeySchedule::default()),
        });
        let traffic = Traffic::default();
        let protocols = Protocols { http: self.http, tls: TlsVersions::Both, ..Protocols::default() };
        let handler = handler(Arc::clone(&shared), self.also);
        let server = Server::start(Some(&identity), protocols, traffic.clone(), handler).await?;
        Ok(FrontEnd { server, shared, traffic, host: self.host, key: key.spki_digest() })
    }
}

impl FrontEnd {
    /// Settings before the start.
    #[must_use]
    pub fn builder() -> FrontEndBuilder {
        FrontEndBuilder {
            host: "127.0.0.1".to_owned(),
            prefix: String::new(),
            http: HttpVersions::default(),
            knobs: Vec::new(),
            origins: Vec::new(),
            also: Vec::new(),
        }
    }

    /// Starts an honest front end before one BlindBox.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start(blindbox: &BlindBox) -> io::Result<Self> {
        Self::builder().start([blindbox]).await
    }

    /// The address that clients are given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", origin("https", &self.host, self.address().port()), self.shared.prefix)
    }

    /// The socket address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// SHA-256 of the front end's TLS key.
    #[must_use]
    pub fn tls_key(&self) -> SpkiDigest {
        self.key
    }

    /// Does something from the next request on; see [`FrontEndKnob`]. Several act in the order set.
    pub fn set(&self, knob: FrontEndKnob) {
        lock(&self.shared.knobs).push(knob);
    }

    /// Is honest again. What it has seen and kept stays.
    pub fn reset(&self) {
        lock(&self.shared.knobs).clear();
    }

    /// How often a text occurs in what the front end has seen in clear: heads and bodies of requests and responses, in both directions, and
    /// what it could decrypt.
    #[must_use]
    pub fn count_seen(&self, text: &str) -> usize {
        self.shared.record.count(text.as_bytes())
    }

    /// How many bytes it has seen in clear.
    #[must_use]
    pub fn bytes_seen(&self) -> usize {
        self.shared.record.len()
    }

    /// Forgets what it has seen. For tests with many requests.
    pub fn forget_seen(&self) {
        self.shared.record.clear();
    }

    /// Cuts every open connection of clients.
    pub async fn drop_connections(&self) {
        self.server.drop_connections().await;
    }

    /// The requests that reached it.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl std::fmt::Debug for FrontEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrontEnd({})", self.url())
    }
}

/// The first service responds to paths that none of them has.
fn handler(own: Arc<Shared>, also: Vec<Arc<Shared>>) -> Handler {
    Arc::new(move |arrival: Arrival| {
        let target = arrival.request.uri().path_and_query().map_or("/", |target| target.as_str());
        let of_path = std::iter::once(&own).chain(&also).find(|service| service.below(target).is_some());
        let service = Arc::clone(of_path.unwrap_or(&own));
        Box::pin(async move { service.reply(arrival).await })
    })
}

impl Shared {
    fn client(&self) -> reqwest::Result<reqwest::Client> {
        let cuts = self.replicas.iter().flat_map(|replica| &replica.cuts).map(Cuts::count).sum();
        let mut upstream = lock(&self.client);
        if upstream.cuts != cuts {
            *upstream = Upstream::new(cuts)?;
        }
        Ok(upstream.client.clone())
    }

    async fn reply(&self, arrival: Arrival) -> Reply {
        let page = cors::Page::of(&arrival.request, &self.origins, &self.prefix);
        if let Some(preflight) = page.as_ref().and_then(|page| page.preflight(&arrival.request)) {
            return preflight;
        }
        let reply = self.reply_to_anyone(arrival).await;
        match page {
            Some(page) => page.mark(reply),
            None => reply,
        }
    }

    async fn reply_to_anyone(&self, mut arrival: Arrival) -> Reply {
        let knobs = lock(&self.knobs).clone();
        let target = arrival.request.uri().path_and_query().map_or("/", |target| target.as_str());
        let Some(Ok(below)) = self.below(target).map(str::parse) else {
            return BufferedResponse::error(404, "the front end serves nothing at this path").into_reply();
        };
        *arrival.request.uri_mut() = below;
        let path = arrival.request.uri().path();
        let posted = arrival.request.method() == hyper::Method::POST;
        if posted && path == MESSAGE_PATH {
            return self.message(arrival, &knobs).await;
        }
        if posted && is_agent_path(path) {
            return self.attestation(arrival, &knobs).await;
        }
        let replica = self.replica(arrival.request.headers(), &knobs);
        self.pass(arrival.request, replica).await
    }

    /// What of a target is below the path that leads to the replicas.
    fn below<'t>(&self, target: &'t str) -> Option<&'t str> {
        target.strip_prefix(&self.prefix).filter(|below| below.starts_with('/'))
    }

    /// Which replica gets a request.
    fn replica(&self, headers: &hyper::HeaderMap, knobs: &[FrontEndKnob]) -> usize {
        let known = || self.of_cookie(headers).or_else(|| self.of_instance(headers));
        let spread = knobs.contains(&FrontEndKnob::SpreadOverReplicas);
        known()
            .filter(|_| !spread)
            .unwrap_or_else(|| self.next_replica.fetch_add(1, Ordering::SeqCst) % self.replicas.len())
    }

    fn of_cookie(&self, headers: &hyper::HeaderMap) -> Option<usize> {
        let cookies = headers.get_all(hyper::header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, replica) = pairs.find(|(name, _)| *name == AFFINITY)?;
        replica.parse().ok().filter(|replica| *replica < self.replicas.len())
    }

    fn of_instance(&self, headers: &hyper::HeaderMap) -> Option<usize> {
        let instance = headers.get(crate::message::exchange::outer::INSTANCE_FIELD)?.to_str().ok()?;
        lock(&self.instances).get(instance).copied()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({:?})", self.prefix)
    }
}

fn unreachable(error: &impl std::fmt::Display) -> BufferedResponse {
    BufferedResponse::error(502, &format!("the front end cannot reach the BlindBox: {error}"))
}
