//! How the peer is reached and identified, which policy and URL decide before anything is sent.

use std::sync::Arc;

use url::Url;

use super::peer_id::PeerId;
use crate::base_url::BaseUrl;
use crate::challenge::{Challenge, Channel, ServerNameCheck};
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::fetch::AgentChannel;
use crate::policy::{Binding, Policy};
use crate::tls;
use crate::transport::{Connection, Connector, Security};
use crate::types::UnixTime;
use crate::verifier_state::VerifierState;

/// The port of an agent that does not bind, as in the first release of BlindBox.
const AGENT_PORT: u16 = 8080;

/// The connections of a session: to the application, and to its agent.
pub(crate) struct ChannelMode {
    kind: Channel,
    /// Whether a certificate of the application is validated for the name in the URL when a connection is opened.
    server_name: ServerNameCheck,
    application: Connector,
    agent: Agent,
}

enum Agent {
    /// On the application's origin: evidence is requested over the connection that is attested.
    Attached(Url),
    Separate(Box<Connector>, Url),
}

impl ChannelMode {
    pub(crate) fn new(verifier: &VerifierState, base: &BaseUrl, policy: &Policy) -> Result<Self, AttestationError> {
        match policy.binding() {
            Binding::OwnKey => Self::bound(verifier, base, policy, Channel::Bound),
            Binding::OwnConnection => Self::bound(verifier, base, policy, Channel::BoundConnection),
            Binding::OwnMessageKey => Self::bound(verifier, base, policy, Channel::BoundMessage),
            Binding::None => Self::unbound(verifier, base, policy),
        }
    }

    fn bound(
        verifier: &VerifierState,
        base: &BaseUrl,
        policy: &Policy,
        kind: Channel,
    ) -> Result<Self, AttestationError> {
        if !base.is_https() {
            return Err(AttestationError::InvalidUrl { reason: "expected https: a channel in clear cannot be bound" });
        }
        let by_name = base.requires_name_validation(policy);
        let names = if by_name { Some(verifier.application_names()?) } else { None };
        let server_name = if by_name { ServerNameCheck::Validated } else { ServerNameCheck::NotEvaluated };
        let tls = Arc::new(tls::capture_key_config(names, &verifier.clock)?);
        let application = Connector::new(&verifier.network, &base.root(), &tls)?;
        let application = match kind {
            Channel::BoundConnection => application.with_exporter(),
            _ => application,
        };
        let agent = match &verifier.agent {
            Some(url) if url.scheme() != "https" => {
                let reason = "the agent of a bound session is asked over https".to_owned();
                return Err(AttestationError::Misconfigured { reason });
            }
            Some(_) if kind == Channel::BoundConnection => {
                let reason =
                    "a session that binds connections has its agent on the application's origin: an agent at another \
                              address would name another connection"
                        .to_owned();
                return Err(AttestationError::Misconfigured { reason });
            }
            Some(_) if kind == Channel::BoundMessage => {
                let reason =
                    "a session with sealed messages has its agent on the session's origin, which opens them".to_owned();
                return Err(AttestationError::Misconfigured { reason });
            }
            // Evidence is signed and has a nonce: the server that it comes from needs no authentication.
            Some(url) => {
                let tls = Arc::new(tls::any_server_config(&verifier.clock)?);
                Agent::Separate(Box::new(Connector::new(&verifier.network, url, &tls)?), url.clone())
            }
            // A front end may serve several services, each below a path of its own.
            None if kind == Channel::BoundMessage => Agent::Attached(base.url().clone()),
            None => Agent::Attached(base.root()),
        };
        Ok(Self { kind, server_name, application, agent })
    }

    /// The peer is identified by the server's name, or not at all: only if the policy allows it.
    fn unbound(verifier: &VerifierState, base: &BaseUrl, policy: &Policy) -> Result<Self, AttestationError> {
        let allow = policy.allowances();
        if !allow.unbound_channel {
            return Err(AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::WorkloadDoesNotBind });
        }
        let agent = verifier.agent.clone().map_or_else(|| base.on_port(AGENT_PORT), Ok)?;
        let agent_tls = agent.scheme() == "https";
        let in_clear = !base.is_https() || !agent_tls;
        if in_clear && !allow.plain_http {
            return Err(AttestationError::InvalidUrl {
                reason: "expected https: the policy does not allow plain http",
            });
        }
        let tls = if base.is_https() || agent_tls {
            tls::web_pki_config(verifier.application_names()?, &verifier.clock)?
        } else {
            // Not used: neither of the connectors speaks TLS.
            tls::any_server_config(&verifier.clock)?
        };
        let tls = Arc::new(tls);
        Ok(Self {
            kind: if in_clear { Channel::UnboundCleartext } else { Channel::UnboundTls },
            server_name: if in_clear { ServerNameCheck::NotEvaluated } else { ServerNameCheck::Validated },
            application: Connector::new(&verifier.network, &base.root(), &tls)?,
            agent: Agent::Separate(Box::new(Connector::new(&verifier.network, &agent, &tls)?), agent),
        })
    }

    pub(crate) fn kind(&self) -> Channel {
        self.kind
    }

    pub(crate) fn application(&self) -> &Connector {
        &self.application
    }

    /// What identifies the peer of a connection. A bound connection without a key, or without an exporter where that counts, is refused
    /// with its challenge.
    pub(crate) fn peer_id(&self, security: Security) -> PeerId {
        match (self.kind, security.key, security.exporter) {
            (Channel::Bound, Some(key), _) => PeerId::Key(key),
            (Channel::BoundConnection, Some(key), Some(exporter)) => PeerId::Connection { key, exporter },
            (Channel::BoundMessage, ..) => PeerId::FrontEnd,
            _ => PeerId::Unbound,
        }
    }

    /// A challenge to the peer of an open connection, whose certificate was checked when it was opened.
    pub(crate) fn challenge(&self, security: Security, now: UnixTime) -> Result<Challenge, AttestationError> {
        let challenge = match (self.kind, security.key, security.exporter) {
            (Channel::Bound, Some(key), _) => Challenge::bound(key, self.server_name, now)?,
            (Channel::BoundConnection, Some(key), Some(exporter)) => {
                Challenge::bound_connection(key, exporter, self.server_name, now)?
            }
            (Channel::BoundMessage, Some(_), _) => Challenge::bound_message(self.server_name, now)?,
            (Channel::UnboundTls, Some(_), _) => Challenge::unbound_tls(self.server_name, now)?,
            (Channel::UnboundCleartext, ..) => Challenge::unbound_cleartext(now)?,
            _ => return Err(AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::WorkloadDoesNotBind }),
        };
        Ok(match security.key_exchange {
            Some(group) => challenge.key_exchange(group),
            None => challenge,
        })
    }

    /// The channel to the peer's agent and its address; `None` if that needs a connection to the peer and there is none.
    pub(crate) fn agent<'a>(&'a self, connection: Option<&'a mut Connection>) -> Option<(AgentChannel<'a>, &'a Url)> {
        match &self.agent {
            Agent::Attached(url) => Some((AgentChannel::Attached(connection?), url)),
            Agent::Separate(connector, url) => Some((AgentChannel::Separate { connector, connection: None }, url)),
        }
    }

    /// Whether evidence can be requested without a connection to the peer.
    pub(crate) fn agent_is_separate(&self) -> bool {
        matches!(self.agent, Agent::Separate(..))
    }
}
