//! Requests evidence from the attestation agent: BlindBox's, or Microsoft's SKR sidecar.
//!
//! | form | request | response |
//! |---|---|---|
//! | bound | `POST /attest/maa` `{"maa_endpoint", "nonce"}` | `{"token", "runtime_data"}` |
//! | bound | `POST /attest/combined` `{"nonce", "maa_endpoint"?}` | `{"evidence", "endorsements", "uvm_endorsements", "runtime_data", "token"?}` |
//! | bound, naming the connection | each of these with `"protocol": "blindbox-bound-connection/1"` | the same |
//! | bound, naming a message key | each of these with `"protocol": "blindbox-bound-message/1"` | the same, and `"key_config", "session"` |
//! | bound, of a confidential VM | `POST /attest/azure-vm` `{"nonce", "maa_endpoint"?}` | `{"hcl_report", "tpm_quote", "tpm_signature", "pcrs", "ak_chain"?, "endorsements"?, "runtime_data", "token"?}` |
//! | unbound | `POST /attest/maa` `{"maa_endpoint", "runtime_data"}` | `{"token"}` |
//! | unbound | `POST /attest/combined` `{"runtime_data"}` | as above, without `runtime_data` and `token` |
//!
//! A bound request carries a nonce and nothing that the caller could choose to have attested.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::body::Incoming;
use serde_json::{Map, Value as Json};
use url::Url;

use super::deadline::Deadline;
use super::http::{BoundedRequest, FetchError, HttpResponse};
use crate::azure_vm::{PCR_COUNT, Quote};
use crate::challenge::{Challenge, Channel};
use crate::error::{AttestationError, ChannelNotBound};
use crate::evidence::Evidence;
use crate::json::{self, MemberError, Object, Read, Value};
use crate::message::exchange::outer::{KEY_CONFIG_MEMBER, SESSION_MEMBER};
use crate::message::exchange::session::SessionId;
use crate::policy::Policy;
use crate::snp::certificates_from_pem;
use crate::transport::{Connection, Connector, OutgoingBody, TransportError, TransportErrorKind};
use crate::types::{Issuer, Sha256Digest, shorten};

/// The largest response that is read, in bytes: stops an agent that sends without end. Genuine ones have 5 to 40 kB.
const MAX_BYTES: u64 = 256 << 10;

/// How many characters of an agent's own error message are repeated in ours.
const MAX_SHOWN: usize = 200;

const ACTIVITY: &str = "waiting for the attestation agent";

/// What is requested from an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttestRequest<'a> {
    pub(crate) challenge: &'a Challenge,
    /// The MAA instance whose token is needed.
    pub(crate) maa: Option<&'a Issuer>,
    pub(crate) hardware: HardwareRequest,
    /// What a front end before the agent is sent beside.
    pub(crate) front_end_headers: Option<&'a HeaderMap>,
}

/// Which hardware evidence is needed, as the policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HardwareRequest {
    None,
    /// A report with report data of the agent, and the endorsement of the utility VM.
    Report,
    /// The report of a paravisor, and a quote of the virtual TPM.
    AzureVm,
}

impl<'a> AttestRequest<'a> {
    /// Requests what a policy needs. The headers are for front ends, and sent only where messages are sealed.
    pub(crate) fn for_policy(challenge: &'a Challenge, policy: &'a Policy, headers: &'a HeaderMap) -> Self {
        let front_end_headers = (challenge.channel() == Channel::BoundMessage).then_some(headers);
        let hardware = match policy.amd() {
            None => HardwareRequest::None,
            Some(_) if policy.needs_azure_vm_evidence() => HardwareRequest::AzureVm,
            Some(_) => HardwareRequest::Report,
        };
        Self { challenge, maa: policy.maa().map(|trust| &trust.issuer), hardware, front_end_headers }
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
                    None => &mut **connection.insert(Box::new(connector.connect().await?)),
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
    request: AttestRequest<'_>,
    deadline: Deadline,
) -> Result<(Evidence, Option<MessageOffer>), AttestationError> {
    let mut agent = Agent { channel, base, headers: request.front_end_headers, deadline };
    let bound = request.challenge.is_bound();
    let message_key = request.challenge.channel() == Channel::BoundMessage;
    let mut evidence = Evidence::default();
    let mut offer = None;
    let path = match request.hardware {
        HardwareRequest::None => None,
        HardwareRequest::Report => Some("attest/combined"),
        HardwareRequest::AzureVm => Some("attest/azure-vm"),
    };
    if let Some(path) = path {
        let maa = request.maa.filter(|_| bound);
        let response = agent.post(path, request.challenge, maa).await?;
        let parts = Parts { hardware: request.hardware, token: maa.is_some(), runtime_data: bound, message_key };
        offer = parts.read(response, &mut evidence)?;
    }
    if let (Some(issuer), false) = (request.maa, path.is_some() && bound) {
        let response = agent.post("attest/maa", request.challenge, Some(issuer)).await?;
        let parts = Parts { hardware: HardwareRequest::None, token: true, runtime_data: bound, message_key };
        offer = parts.read(response, &mut evidence)?;
    }
    Ok((evidence, offer))
}

/// What a response must hold.
struct Parts {
    hardware: HardwareRequest,
    token: bool,
    /// In a bound response only: an agent that sends none does not bind. In the unbound form the client chose the runtime data
    /// itself and ignores the agent's copy.
    runtime_data: bool,
    message_key: bool,
}

impl Parts {
    /// Reads them from a response into the evidence. All of it is untrusted.
    fn read(&self, response: HttpResponse, evidence: &mut Evidence) -> Result<Option<MessageOffer>, AttestationError> {
        let object = match json::parse(&response.body) {
            Ok(Value::Object(object)) => object,
            Ok(other) => return Err(invalid(&format!("expected a JSON object, found {}", other.json_type()))),
            Err(error) => return Err(invalid(&format!("expected one JSON object: {error}"))),
        };
        match self.hardware {
            HardwareRequest::None => {}
            HardwareRequest::Report => {
                evidence.report = Some(bytes(&object, "evidence")?);
                evidence.certificates = optional_bytes(&object, "endorsements")?;
                evidence.uvm_endorsement = optional_bytes(&object, "uvm_endorsements")?;
            }
            HardwareRequest::AzureVm => {
                evidence.hcl_report = Some(bytes(&object, "hcl_report")?);
                evidence.quote =
                    Some(Quote::new(bytes(&object, "tpm_quote")?, bytes(&object, "tpm_signature")?, pcrs(&object)?));
                evidence.ak_chain = ak_chain(&object)?;
                evidence.certificates = optional_bytes(&object, "endorsements")?;
            }
        }
        if self.token {
            evidence.token = Some(member::<&str>(&object, "token")?.to_owned());
        }
        if self.runtime_data {
            let claimed = optional_bytes(&object, "runtime_data")?;
            let legacy = AttestationError::ChannelNotBound { reason: ChannelNotBound::LegacyAnswer };
            evidence.runtime_data = Some(claimed.ok_or(legacy)?);
        }
        if !self.message_key {
            return Ok(None);
        }
        // An agent that ignores the member `protocol` names its TLS key.
        let not_named = AttestationError::ChannelNotBound { reason: ChannelNotBound::MessageKeyNotNamed };
        evidence.key_config = Some(optional_bytes(&object, KEY_CONFIG_MEMBER)?.ok_or(not_named)?);
        let session = SessionId::from_hex(member::<&str>(&object, SESSION_MEMBER)?);
        let not_an_id = || invalid(&format!("expected 32 lower-case hexadecimal digits as {SESSION_MEMBER:?}"));
        Ok(Some(MessageOffer { session: session.ok_or_else(not_an_id)?, cookies: response.cookies }))
    }
}

struct Agent<'a> {
    channel: AgentChannel<'a>,
    base: &'a Url,
    headers: Option<&'a HeaderMap>,
    deadline: Deadline,
}

impl Agent<'_> {
    async fn post(
        &mut self,
        path: &str,
        challenge: &Challenge,
        maa: Option<&Issuer>,
    ) -> Result<HttpResponse, AttestationError> {
        let bound = challenge.is_bound();
        let mut body = Map::new();
        if let Some(issuer) = maa {
            body.insert("maa_endpoint".to_owned(), Json::from(issuer.authority()));
        }
        if bound {
            body.insert("nonce".to_owned(), Json::from(challenge.nonce().to_string()));
            if let Some(protocol) = challenge.requested_protocol() {
                body.insert("protocol".to_owned(), Json::from(protocol));
            }
        } else {
            body.insert("runtime_data".to_owned(), Json::from(STANDARD.encode(challenge.runtime_data())));
        }
        let (url, body) = (join_path(self.base, path), Json::Object(body).to_string());
        let subject = "the response of the attestation agent";
        let bounds = BoundedRequest {
            activity: ACTIVITY,
            subject,
            limit: MAX_BYTES,
            deadline: self.deadline,
            retry_connect: !bound,
        };
        let headers = self.headers;
        let request = || {
            let request = http::Request::post(url.as_str())
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "application/json")
                .body(OutgoingBody::bytes(body.clone()));
            let reason = "expected as the agent's address one that HTTP can carry";
            let mut request = request.map_err(|_| AttestationError::InvalidUrl { reason })?;
            request.headers_mut().extend(headers.cloned().unwrap_or_default());
            Ok(request)
        };
        match bounds.run_over(&mut self.channel, request).await {
            Ok(response) => accept(response, challenge, maa, &url),
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

fn join_path(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// Returns a successful response.
fn accept(
    response: HttpResponse,
    challenge: &Challenge,
    maa: Option<&Issuer>,
    url: &Url,
) -> Result<HttpResponse, AttestationError> {
    let status = response.status;
    match status {
        200 if response.is_json() => Ok(response),
        200 => {
            let found = shorten(&response.content_type, 60);
            Err(invalid(&format!("expected the content type application/json, found {found:?}")))
        }
        400..=499 if status != 429 => {
            let message = message(&response.body);
            // An agent that knows only the unbound form reports that the bound request lacks the data to attest.
            let lacks = message.to_ascii_lowercase().replace('_', "").contains("runtimedata");
            if challenge.is_bound() && status == 400 && lacks {
                return Err(AttestationError::ChannelNotBound { reason: ChannelNotBound::LegacyAnswer });
            }
            // Of a request that this crate wrote, an agent that knows only the other bound form refuses the member `protocol`.
            let not_named = match challenge.channel() {
                Channel::BoundConnection => Some(ChannelNotBound::ConnectionNotNamed),
                Channel::BoundMessage => Some(ChannelNotBound::MessageKeyNotNamed),
                _ => None,
            };
            if let (Some(reason), 400) = (not_named, status) {
                return Err(AttestationError::ChannelNotBound { reason });
            }
            Err(AttestationError::MaaTokenNotFound { issuer: maa.cloned(), status, message })
        }
        300..=399 => Err(invalid(&format!("expected a response, found a redirect (status {status})"))),
        429 | 500.. => {
            let origin = url.origin().ascii_serialization();
            let reason = format!("{origin} responded with the status {status}");
            Err(AttestationError::AgentUnreachable { reason, source: None })
        }
        _ => Err(invalid(&format!("expected the status 200, found {status}"))),
    }
}

/// Returns an agent's own error message, shortened. BlindBox's first agent sends two JSON objects in a row, so a body that
/// is not JSON is shown as it is.
fn message(body: &[u8]) -> String {
    let parsed = json::parse(body).ok();
    let error = match &parsed {
        Some(Value::Object(object)) => object.required::<&str>("error").ok(),
        _ => None,
    };
    error.map_or_else(|| shorten(&String::from_utf8_lossy(body), MAX_SHOWN), |text| shorten(text, MAX_SHOWN))
}

fn member<'o, T: Read<'o>>(object: &'o Object<'_>, name: &'static str) -> Result<T, AttestationError> {
    object.required(name).map_err(|MemberError { name, reason }| wrong_member(name, reason))
}

fn wrong_member(name: &str, reason: json::MemberErrorReason) -> AttestationError {
    match reason {
        json::MemberErrorReason::Missing => invalid(&format!("expected a member {name:?}, found none")),
        json::MemberErrorReason::WrongType { expected, found } => {
            invalid(&format!("expected {expected} as {name:?}, found {found}"))
        }
    }
}

fn bytes(object: &Object<'_>, name: &'static str) -> Result<Vec<u8>, AttestationError> {
    optional_bytes(object, name)?.ok_or_else(|| wrong_member(name, json::MemberErrorReason::Missing))
}

fn optional_bytes(object: &Object<'_>, name: &'static str) -> Result<Option<Vec<u8>>, AttestationError> {
    let text = object.optional::<&str>(name).map_err(|MemberError { name, reason }| wrong_member(name, reason))?;
    let decode = |text| STANDARD.decode(text).map_err(|_| invalid(&format!("expected base64 as {name:?}")));
    text.map(decode).transpose()
}

/// Reads the values of the PCRs that the quote selects, in ascending order of the PCRs.
fn pcrs(object: &Object<'_>) -> Result<Vec<Sha256Digest>, AttestationError> {
    let values: &[Value<'_>] = member(object, "pcrs")?;
    let max = usize::from(PCR_COUNT);
    if values.len() > max {
        return Err(invalid(&format!("expected at most {max} values as \"pcrs\", found {}", values.len())));
    }
    let digest = |value| <&str>::read(value).and_then(|text| Sha256Digest::from_hex(text).ok());
    let values: Option<Vec<_>> = values.iter().map(digest).collect();
    values.ok_or_else(|| invalid("expected as \"pcrs\" strings of 64 lower-case hexadecimal digits"))
}

/// Reads the certificates of the attestation key (PEM): that of the key first. Absent means none.
fn ak_chain(object: &Object<'_>) -> Result<Vec<Vec<u8>>, AttestationError> {
    let Some(pem) = optional_bytes(object, "ak_chain")? else { return Ok(Vec::new()) };
    certificates_from_pem(&pem).map_err(|error| invalid(&format!("expected certificates as \"ak_chain\": {error}")))
}

fn invalid(reason: &str) -> AttestationError {
    AttestationError::InvalidAgentAnswer { reason: reason.to_owned() }
}
