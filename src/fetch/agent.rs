//! Requests evidence from the attestation agent: `crate::agent_protocol` has the forms.

use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue};
use hyper::body::Incoming;
use url::Url;

use super::affinity;
use super::http::{BoundedRequest, FetchError, HttpResponse};
use crate::agent_protocol::{
    AgentRequest, MAX_AGENT_RESPONSE, Received, check_response, invalid, join_path, request_body,
};
use crate::challenge::{Challenge, Channel};
use crate::deadline::Deadline;
use crate::error::AttestationError;
use crate::evidence::Evidence;
use crate::message::exchange::replay::SessionId;
use crate::policy::Policy;
use crate::transport::{Connection, Connector, OutgoingBody, TransportError, TransportErrorKind};

const ACTIVITY: &str = "waiting for the attestation agent";

/// All headers of a request for evidence, except those for a front end: none of those may replace one of these.
const OWN_HEADERS: [(HeaderName, &str); 2] = [(CONTENT_TYPE, "application/json"), (ACCEPT, "application/json")];

/// What is requested from an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttestRequest<'a> {
    challenge: &'a Challenge,
    policy: &'a Policy,
    /// What a front end before the agent is sent beside.
    front_end_headers: Option<&'a HeaderMap>,
    /// The cookies by which it led to the instance that is attested again. It may lead elsewhere all the same: nothing trusts it.
    cookies: Option<&'a HeaderValue>,
}

impl<'a> AttestRequest<'a> {
    /// Requests what a policy needs. The headers are for front ends, and sent only where messages are sealed.
    pub(crate) fn for_policy(challenge: &'a Challenge, policy: &'a Policy, headers: &'a HeaderMap) -> Self {
        let front_end_headers = (challenge.channel() == Channel::BoundMessage).then_some(headers);
        Self { challenge, policy, front_end_headers, cookies: None }
    }

    /// Requests it with these cookies of a front end.
    pub(crate) fn with_cookies(self, cookies: Option<&'a HeaderValue>) -> Self {
        Self { cookies, ..self }
    }

    /// Whether every request for evidence has this header.
    pub(crate) fn has_own_header(name: &HeaderName) -> bool {
        OWN_HEADERS.iter().any(|(own, _)| own == name)
    }
}

/// How requests reach an agent.
#[derive(Debug)]
pub(crate) enum AgentChannel<'c> {
    /// Over the connection whose peer is attested. If it breaks, this attestation fails: evidence that comes over another
    /// connection says nothing about the peer of this one.
    Attached(&'c mut Connection),
    /// Over separate connections to the agent, opened when needed and closed with the attestation.
    Separate { connector: &'c Connector, connection: Option<Box<Connection>> },
}

impl AgentChannel<'_> {
    pub(super) async fn send(
        &mut self,
        request: http::Request<OutgoingBody>,
    ) -> Result<http::Response<Incoming>, TransportError> {
        let connection = match self {
            Self::Attached(connection) => &mut **connection,
            Self::Separate { connector, connection } => {
                if let Some(open) = connection
                    && !open.ready().await
                {
                    *connection = None;
                }
                match connection {
                    Some(open) => &mut **open,
                    // Boxed: every request would carry the space to open a connection.
                    None => &mut **connection.insert(Box::new(Box::pin(connector.connect()).await?)),
                }
            }
        };
        if !connection.ready().await {
            let reason = "the connection was closed without a response";
            return Err(TransportError::new(TransportErrorKind::Broken, reason));
        }
        connection.send(request).await
    }
}

/// What an agent sends beside evidence that names a message key. Nothing of it is authenticated, or needs to be: with another session
/// or other cookies, requests are refused.
#[derive(Clone, Debug)]
pub(crate) struct MessageOffer {
    pub(crate) session: SessionId,
    /// By which a front end leads requests to the same instance.
    pub(crate) cookies: Option<HeaderValue>,
}

/// Requests evidence from the agent at `base`; and what comes beside it, if the challenge is to name a message key.
pub(crate) async fn request_evidence(
    channel: AgentChannel<'_>,
    base: &Url,
    AttestRequest { challenge, policy, front_end_headers, cookies }: AttestRequest<'_>,
    deadline: Deadline,
) -> Result<(Evidence, Option<MessageOffer>), AttestationError> {
    let mut agent = Agent { channel, base, headers: front_end_headers, cookies, deadline };
    let (mut evidence, mut offer) = (Evidence::default(), None);
    let first = AgentRequest::first(challenge, policy);
    for request in std::iter::once(first).chain(AgentRequest::second(challenge, policy)) {
        let response = agent.post(&request, challenge).await?;
        let session = request.parts.read(&response.body, &mut evidence)?;
        offer = session.map(|session| response.offer(session, cookies));
    }
    Ok((evidence, offer))
}

struct Agent<'a> {
    channel: AgentChannel<'a>,
    base: &'a Url,
    headers: Option<&'a HeaderMap>,
    cookies: Option<&'a HeaderValue>,
    deadline: Deadline,
}

impl Agent<'_> {
    async fn post(
        &mut self,
        &AgentRequest { path, maa, .. }: &AgentRequest<'_>,
        challenge: &Challenge,
    ) -> Result<HttpResponse, AttestationError> {
        let bound = challenge.is_bound();
        let (url, body) = (join_path(self.base, path), request_body(challenge, maa));
        let subject = "the response of the attestation agent";
        let bounds = BoundedRequest {
            activity: ACTIVITY,
            subject,
            limit: u64::try_from(MAX_AGENT_RESPONSE).unwrap_or(u64::MAX),
            deadline: self.deadline,
            retry_connect: !bound,
        };
        let (headers, cookies) = (self.headers, self.cookies);
        let request = || {
            let request = http::Request::post(url.as_str()).body(OutgoingBody::bytes(body.clone()));
            let reason = "expected as the agent's address one that HTTP can carry";
            let mut request = request.map_err(|_| AttestationError::InvalidUrl { reason })?;
            request.headers_mut().extend(headers.cloned().unwrap_or_default());
            request.headers_mut().extend(cookies.map(|cookies| (COOKIE, cookies.clone())));
            for (name, value) in OWN_HEADERS {
                request.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            Ok(request)
        };
        match bounds.run_over(&mut self.channel, request).await {
            Ok(response) => check_response(response.received(), challenge, maa, &url).map(|()| response),
            Err(FetchError::Transport(error)) => {
                let (reason, source) = (error.at(&url), error.source);
                Err(match error.kind {
                    TransportErrorKind::Name => AttestationError::ServerNameNotValidated { reason, source },
                    TransportErrorKind::Unreadable => invalid(&reason),
                    _ => AttestationError::AgentUnreachable { reason, source },
                })
            }
            Err(FetchError::ContentEncoded) => {
                Err(invalid("expected JSON without content encoding, found compressed data"))
            }
            Err(FetchError::Attestation(error)) => Err(error),
        }
    }
}

impl HttpResponse {
    fn received(&self) -> Received<'_> {
        Received { status: self.status, content_type: &self.content_type, body: &self.body }
    }

    fn offer(self, session: SessionId, sent: Option<&HeaderValue>) -> MessageOffer {
        MessageOffer { session, cookies: affinity::merged(self.cookies, sent) }
    }
}
