//! What an attestation agent is requested for and responds with, as JSON: BlindBox's agent, or Microsoft's SKR sidecar. Without I/O.
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
//! A bound request carries a nonce and nothing that the caller could choose to have attested. A response has at most
//! [`MAX_AGENT_RESPONSE`] bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};
use url::Url;

use crate::azure_vm::{PCR_COUNT, Quote};
use crate::challenge::{Challenge, Channel};
use crate::error::{AttestationError, ChannelNotBound};
use crate::evidence::Evidence;
use crate::json::{self, MemberError, Object, Read, Value};
use crate::message::exchange::outer::{KEY_CONFIG_MEMBER, SESSION_MEMBER};
use crate::message::exchange::replay::SessionId;
use crate::policy::Policy;
use crate::snp::certificates_from_pem;
use crate::types::{MaaIssuer, Sha256Digest, is_media_type, shorten};

/// The largest response that is read, in bytes: stops an agent that sends without end. Genuine ones have 5 to 40 kB.
pub(crate) const MAX_AGENT_RESPONSE: usize = 256 << 10;

/// What a redirect is, which no client follows.
pub(crate) const REDIRECTED: &str = "expected a response, found a redirect";

/// How many characters of an agent's own error message are repeated in ours.
const MAX_SHOWN: usize = 200;

/// Which hardware evidence a response must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HardwareRequest {
    None,
    /// A report with report data of the agent, and the endorsement of the utility VM.
    Report,
    /// The report of a paravisor, and a quote of the virtual TPM.
    AzureVm,
}

impl HardwareRequest {
    /// What a policy needs.
    fn of(policy: &Policy) -> Self {
        match policy.amd() {
            None => Self::None,
            Some(_) if policy.needs_azure_vm_evidence() => Self::AzureVm,
            Some(_) => Self::Report,
        }
    }

    /// The path of the requests for it, below the agent's address.
    fn path(self) -> &'static str {
        match self {
            Self::None => "attest/maa",
            Self::Report => "attest/combined",
            Self::AzureVm => "attest/azure-vm",
        }
    }
}

/// One request to an agent, and what its response must hold.
#[derive(Debug)]
pub(crate) struct AgentRequest<'p> {
    /// Below the agent's address.
    pub(crate) path: &'static str,
    /// The MAA instance whose token is needed.
    pub(crate) maa: Option<&'p MaaIssuer>,
    pub(crate) parts: Parts,
}

impl<'p> AgentRequest<'p> {
    /// The first request for the evidence that a policy needs. In a bound form it is the only one.
    pub(crate) fn first(challenge: &Challenge, policy: &'p Policy) -> Self {
        let hardware = HardwareRequest::of(policy);
        let has_token = challenge.is_bound() || hardware == HardwareRequest::None;
        Self::new(challenge, hardware, issuer(policy).filter(|_| has_token))
    }

    /// The second request: for a token, which no unbound response has beside a report.
    pub(crate) fn second(challenge: &Challenge, policy: &'p Policy) -> Option<Self> {
        if challenge.is_bound() || HardwareRequest::of(policy) == HardwareRequest::None {
            return None;
        }
        issuer(policy).map(|issuer| Self::new(challenge, HardwareRequest::None, Some(issuer)))
    }

    fn new(challenge: &Challenge, hardware: HardwareRequest, maa: Option<&'p MaaIssuer>) -> Self {
        let message_key = challenge.channel() == Channel::BoundMessage;
        let parts = Parts { hardware, token: maa.is_some(), runtime_data: challenge.is_bound(), message_key };
        Self { path: hardware.path(), maa, parts }
    }
}

fn issuer(policy: &Policy) -> Option<&MaaIssuer> {
    policy.maa().map(|trust| &trust.issuer)
}

/// Writes a request. `maa` is the instance whose token is needed.
pub(crate) fn request_body(challenge: &Challenge, maa: Option<&MaaIssuer>) -> String {
    let mut body = Map::new();
    if let Some(issuer) = maa {
        body.insert("maa_endpoint".to_owned(), Json::from(issuer.authority()));
    }
    if challenge.is_bound() {
        body.insert("nonce".to_owned(), Json::from(challenge.nonce().to_string()));
        if let Some(protocol) = challenge.requested_protocol() {
            body.insert("protocol".to_owned(), Json::from(protocol));
        }
    } else {
        body.insert("runtime_data".to_owned(), Json::from(STANDARD.encode(challenge.runtime_data())));
    }
    Json::Object(body).to_string()
}

/// The URL of a path below the agent's address.
pub(crate) fn join_path(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// A response, as it was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
}

/// Whether a `Content-Type` is JSON.
pub(crate) fn is_json(content_type: &str) -> bool {
    is_media_type(content_type, "application/json")
}

/// What a response must hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) hardware: HardwareRequest,
    pub(crate) token: bool,
    /// In a bound response only: an agent that sends none does not bind. In the unbound form the client chose the runtime data
    /// itself and ignores the agent's copy.
    pub(crate) runtime_data: bool,
    pub(crate) message_key: bool,
}

impl Parts {
    /// Reads them from a response into the evidence, and returns the session beside a message key. All of it is untrusted.
    pub(crate) fn read(&self, body: &[u8], evidence: &mut Evidence) -> Result<Option<SessionId>, AttestationError> {
        let object = match json::parse(body) {
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
            let legacy = AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData };
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
        session.ok_or_else(not_an_id).map(Some)
    }
}

/// Returns an error unless a response of the agent at `url` is successful, and JSON.
pub(crate) fn check_response(
    response: Received<'_>,
    challenge: &Challenge,
    maa: Option<&MaaIssuer>,
    url: &Url,
) -> Result<(), AttestationError> {
    let status = response.status;
    match status {
        200 if is_json(response.content_type) => Ok(()),
        200 => {
            let found = shorten(response.content_type, 60);
            Err(invalid(&format!("expected the content type application/json, found {found:?}")))
        }
        400..=499 if status != 429 => {
            let message = message(response.body);
            // An agent that knows only the unbound form reports that the bound request lacks the data to attest.
            let lacks = message.to_ascii_lowercase().replace('_', "").contains("runtimedata");
            if challenge.is_bound() && status == 400 && lacks {
                return Err(AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData });
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
        300..=399 => Err(invalid(&format!("{REDIRECTED} (status {status})"))),
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

pub(crate) fn invalid(reason: &str) -> AttestationError {
    AttestationError::InvalidAgentAnswer { reason: reason.to_owned() }
}
