use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use url::Url;

use super::line::build;
use super::verdicts::Verdicts;
use crate::clock::Clock;
use crate::error::AttestationError;
use crate::fetch::{self, CollateralSources, KeySets};
use crate::snp::AmdAnchors;
use crate::tls::{self, NameVerifier, Roots};

/// What may be on its way over one connection of HTTP/2, to all its readers together. What each of them leaves unread is
/// bounded by itself (2 MiB); with no more than some of those for all, a few that do not read would hold up everybody else.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// What a verifier is set to, and what its sessions share.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) clock: Clock,
    pub(crate) deadline: Duration,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) agent: Option<Url>,
    pub(crate) proxy: Option<Url>,
    pub(crate) addresses: Vec<(String, SocketAddr)>,
    pub(crate) amd_anchors: Option<AmdAnchors>,
    pub(crate) key_sets: KeySets,
    pub(crate) kds: CollateralSources,
    pub(crate) application_roots: Roots,
    application_names: OnceLock<NameVerifier>,
    pub(super) verdicts: Verdicts,
}

impl Settings {
    pub(crate) fn new(clock: Clock, (key_sets, kds): (KeySets, CollateralSources), application_roots: Roots) -> Self {
        Self {
            clock,
            deadline: Duration::from_secs(30),
            request_timeout: None,
            agent: None,
            proxy: None,
            addresses: Vec::new(),
            amd_anchors: None,
            key_sets,
            kds,
            application_roots,
            application_names: OnceLock::new(),
            verdicts: Verdicts::default(),
        }
    }

    /// Validates names of applications. Made when first needed: a session that goes by the key alone needs no roots.
    pub(super) fn application_names(&self) -> Result<NameVerifier, AttestationError> {
        if let Some(names) = self.application_names.get() {
            return Ok(names.clone());
        }
        let names = self.application_roots.verifier()?;
        Ok(self.application_names.get_or_init(|| names).clone())
    }

    /// A client of the application or its agent, as far as it is the same for all.
    pub(super) fn client(&self, tls: rustls::ClientConfig) -> Result<ClientBuilder, AttestationError> {
        let client = fetch::client(tls, self.proxy.as_ref())?.http2_initial_connection_window_size(CONNECTION_WINDOW);
        Ok(self.addresses.iter().fold(client, |client, (host, address)| client.resolve(host, *address)))
    }

    /// A client of an agent that is not on the application's origin. Evidence protects itself: who carries it is nothing
    /// to us.
    pub(super) fn agent_client(&self) -> Result<Client, AttestationError> {
        build(self.client(tls::anybody(&self.clock)?)?.https_only(true).connect_timeout(self.deadline))
    }

    /// A client that goes by the name of the server.
    pub(super) fn named_client(&self) -> Result<Client, AttestationError> {
        let config = tls::named(self.application_names()?, &self.clock)?;
        build(self.client(config)?.https_only(true).connect_timeout(self.deadline))
    }

    /// A client that goes in clear where the URL says so, and by the name of the server where not.
    pub(super) fn plain_client(&self, wants_tls: bool) -> Result<Client, AttestationError> {
        let config =
            if wants_tls { tls::named(self.application_names()?, &self.clock) } else { tls::closed(&self.clock) };
        build(self.client(config?)?.connect_timeout(self.deadline))
    }
}
