use reqwest::Client;
use url::Url;

use super::settings::Settings;
use super::target::Base;
use crate::challenge::{Challenge, Channel, ServerName};
use crate::error::{AttestationError, ChannelNotAllowed};
use crate::policy::{Binding, Policy};
use crate::tls::NameVerifier;
use crate::types::{SpkiDigest, UnixTime};

/// The port of an agent that does not bind, as BlindBox was first released.
const AGENT_PORT: u16 = 8080;

/// The way to the peer, settled before the first byte by policy and URL.
pub(super) enum Route {
    /// By keys that the evidence names.
    Bound {
        names: Option<NameVerifier>,
        /// Where the agent is, if not on the application's origin.
        agent: Option<(Client, Url)>,
    },
    /// By the server's name, or by nothing: only with the policy's leave.
    Unbound { channel: Channel, client: Client, agent: Url },
}

impl Route {
    pub(super) fn new(settings: &Settings, base: &Base, policy: &Policy) -> Result<Self, AttestationError> {
        let allow = policy.allowances();
        if policy.binding() == Binding::OwnKey {
            if !base.is_https() {
                return Err(AttestationError::InvalidUrl { why: "expected https: a channel in clear cannot be bound" });
            }
            let by_name = base.has_dns_name() && !allow.unverified_name;
            let names = if by_name { Some(settings.application_names()?) } else { None };
            let agent = match &settings.agent {
                Some(url) if url.scheme() != "https" => {
                    let why = "the agent of a bound session is asked over https".to_owned();
                    return Err(AttestationError::Misconfigured { why });
                }
                Some(url) => Some((settings.agent_client()?, url.clone())),
                None => None,
            };
            return Ok(Self::Bound { names, agent });
        }
        if !allow.unbound_channel {
            return Err(AttestationError::ChannelNotAllowed { why: ChannelNotAllowed::WorkloadDoesNotBind });
        }
        let agent = settings.agent.clone().map_or_else(|| base.on_port(AGENT_PORT), Ok)?;
        let in_clear = !base.is_https() || agent.scheme() != "https";
        if in_clear && !allow.plain_http {
            return Err(AttestationError::InvalidUrl { why: "expected https: the policy does not allow plain http" });
        }
        let (channel, client) = match in_clear {
            false => (Channel::UnboundTls, settings.named_client()?),
            true => (Channel::UnboundCleartext, settings.plain_client(base.is_https() || agent.scheme() == "https")?),
        };
        Ok(Self::Unbound { channel, client, agent })
    }

    /// A question to the peer of a key, or to the peer.
    pub(super) fn challenge(&self, key: Option<SpkiDigest>, now: UnixTime) -> Result<Challenge, AttestationError> {
        match (self, key) {
            (Self::Bound { names, .. }, Some(key)) => {
                let validated = if names.is_some() { ServerName::Validated } else { ServerName::NotEvaluated };
                Challenge::bound(key, validated, now)
            }
            (Self::Unbound { channel: Channel::UnboundTls, .. }, None) => Challenge::unbound_tls(now),
            (Self::Unbound { channel: Channel::UnboundCleartext, .. }, None) => Challenge::unbound_cleartext(now),
            _ => Err(AttestationError::ChannelNotAllowed { why: ChannelNotAllowed::WorkloadDoesNotBind }),
        }
    }

    /// Where the agent of the peer is, and the client to ask it with: the peer's own, if nothing else is set.
    pub(super) fn agent(&self, own: &Client, base: &Base) -> (Client, Url) {
        match self {
            Self::Bound { agent: Some((client, url)), .. } => (client.clone(), url.clone()),
            Self::Bound { agent: None, .. } => (own.clone(), base.root()),
            Self::Unbound { client, agent, .. } => (client.clone(), agent.clone()),
        }
    }
}
