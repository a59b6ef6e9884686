//! [`MessageHost`]: the client of sealed messages for hosts that pass nothing but bytes and have the network themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use blindbox_attestation::message_client::{
    AgentBusy, BegunExchange, ExchangeFailed, FetchedDocuments, HostResponse, MessageClient, MessageExchange,
    RequestToSeal, ResponsePart,
};
use blindbox_attestation::{KeySetSource, UnixTime};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use crate::call::{Base64, Nothing, failure, given, read};
use crate::endorsements::{ak_anchors, amd_anchors};
use crate::error::Error;
use crate::policy::Policy;

/// The most exchanges at a time. Beyond them the oldest is closed: a host may forget a response without reading it.
const MAX_EXCHANGES: usize = 4_096;

/// One client with its exchanges.
#[derive(Debug, Default)]
pub struct MessageHost {
    client: Option<MessageClient>,
    exchanges: BTreeMap<u32, MessageExchange>,
    last: u32,
}

/// A result: members of a JSON object, and bytes.
type Outcome = Result<(Value, Vec<u8>), Failed>;

struct Failed {
    error: Error,
    again_after_ms: Option<u32>,
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { error: error.into(), again_after_ms: None }
    }
}

fn failed(failed: ExchangeFailed) -> Failed {
    Failed { again_after_ms: failed.again_after_ms, error: failed.error.into() }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    url: String,
    policy: String,
    /// Whether the host validates the names of servers.
    validates_names: bool,
    #[serde(default, deserialize_with = "given")]
    amd_roots: Option<String>,
    #[serde(default, deserialize_with = "given")]
    ak_root: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    at: u64,
}

/// A response of the network, or why there is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    #[serde(default, deserialize_with = "given")]
    exchange: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    status: Option<u16>,
    #[serde(default)]
    content_type: String,
    #[serde(default)]
    redirect: bool,
    #[serde(default, deserialize_with = "given")]
    failure: Option<String>,
}

/// A response of the agent, before its content is given to a step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Busy {
    at: u64,
    /// How often the request was sent again before.
    attempt: usize,
    remaining_ms: u64,
    status: u16,
    #[serde(default, deserialize_with = "given")]
    retry_after: Option<String>,
    #[serde(default, deserialize_with = "given")]
    date: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceReceived {
    response: Received,
    #[serde(default, deserialize_with = "given")]
    key_set: Option<Base64>,
    #[serde(default, deserialize_with = "given")]
    key_set_failure: Option<String>,
    /// Whether the host fetched it from the instance itself, over TLS that it authenticated.
    key_set_fetched: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Documents {
    at: u64,
    #[serde(default, deserialize_with = "given")]
    certificate: Option<Base64>,
    crls: Vec<Base64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    at: u64,
    method: String,
    url: String,
    /// Names and values, of which each character is a byte.
    headers: Vec<(String, String)>,
    repeatable: bool,
    idempotent: bool,
    attempt: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    exchange: u32,
    at: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfExchange {
    exchange: u32,
}

impl MessageHost {
    /// Carries out a step. The argument is `length of JSON (4 bytes, little-endian) || JSON || bytes`, the result has the same form:
    /// `{"ok": {...}}`, or `{"error": {...}, "appraisal": [...], "again_after_ms": ...}`.
    ///
    /// | `step` | other members, bytes | result |
    /// |---|---|---|
    /// | `new` | `url`, `policy`: text; `validates_names`: whether the host validates the names of servers; optional `amd_roots`, `ak_root` | |
    /// | `begin` | `at`; 64 random bytes | `url`, `body`, `key_set_url`: what to request from the agent and from MAA |
    /// | `again` | `at`, `attempt`, `remaining_ms`, `status`, `retry_after`, `date` of a response of the agent | `after_ms`: when the same request is sent again, or null |
    /// | `evidence` | `response`: `status`, `content_type`, or `redirect`, or `failure`; `key_set` or `key_set_failure`; `key_set_fetched`; the response | `certificates`: paths at AMD's service, of which the first that it has; `crls`, and `other_crls`, which are worth a few seconds |
    /// | `attest` | `at`, `certificate`, `crls` | the attestation |
    /// | `attested` | `at` | `attested`: whether a request can be sealed |
    /// | `seal` | `at`, `method`, `url`, `headers`, `repeatable`, `attempt`; 64 random bytes | `exchange`, `url`, `headers`; the start of the content |
    /// | `content`, `end` | `exchange`, `at`; content | more of the sealed content |
    /// | `response` | `exchange`, `status`, `content_type` | `sealed`: whether it is for `open` or for `refuse` |
    /// | `open`, `finish` | `exchange`; a piece of the response | `head` if it came: `status`, `headers`; `trailers` at the end; content |
    /// | `refuse` | `exchange`; `status`, `content_type`, or `redirect`, or `failure`; the response | always an error |
    /// | `close` | `exchange` | |
    /// | `drop` | | ends the client and all exchanges, and wipes their keys |
    ///
    /// The argument is wiped, since it may hold random bytes and content; copies of headers are not.
    pub fn call(&mut self, argument: Box<[u8]>) -> Vec<u8> {
        let argument = Zeroizing::new(argument.into_vec());
        let outcome = split(&argument).and_then(|(step, arguments, bytes)| self.step(&step, arguments, bytes));
        let (json, mut bytes) = match outcome {
            Ok((value, bytes)) => (json!({ "ok": value }), bytes),
            Err(Failed { error, again_after_ms }) => {
                let mut value = failure(&error);
                if let (Value::Object(members), Some(wait)) = (&mut value, again_after_ms) {
                    members.insert("again_after_ms".to_owned(), wait.into());
                }
                (value, Vec::new())
            }
        };
        let json = json.to_string();
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes();
        let out = [length.as_slice(), json.as_bytes(), &bytes].concat();
        bytes.zeroize();
        out
    }

    fn step(&mut self, step: &str, arguments: Value, bytes: &[u8]) -> Outcome {
        match step {
            "new" => self.new_client(arguments),
            "begin" => self.begin(arguments, bytes),
            "again" => again(arguments),
            "evidence" => self.evidence(arguments, bytes),
            "attest" => self.attest(arguments),
            "attested" => {
                let At { at } = parse(arguments)?;
                Ok((json!({ "attested": self.client()?.is_attested(UnixTime::from_secs(at))? }), Vec::new()))
            }
            "seal" => self.seal(arguments, bytes),
            "content" => {
                let Content { exchange, at } = parse(arguments)?;
                let sealed = self.exchange(&OfExchange { exchange })?.content(bytes, UnixTime::from_secs(at))?;
                Ok((json!({}), sealed))
            }
            "end" => {
                let Content { exchange, at } = parse(arguments)?;
                Ok((json!({}), self.exchange(&OfExchange { exchange })?.end(UnixTime::from_secs(at))?))
            }
            "response" => {
                let received: Received = parse(arguments)?;
                let sealed =
                    received.status.is_some_and(|status| MessageExchange::is_sealed(status, &received.content_type));
                Ok((json!({ "sealed": sealed }), Vec::new()))
            }
            "open" => {
                let of: OfExchange = parse(arguments)?;
                let opened = self.exchange(&of)?.open(bytes);
                let parts = self.closing_on_error(&of, opened)?;
                Ok(shown(parts, None))
            }
            "finish" => {
                let of: OfExchange = parse(arguments)?;
                let finished = self.exchange(&of)?.finish();
                self.exchanges.remove(&of.exchange);
                let (parts, trailers) = finished.map_err(failed)?;
                Ok(shown(parts, Some(trailers)))
            }
            "refuse" => {
                let received: Received = parse(arguments)?;
                let of = OfExchange { exchange: received.exchange.unwrap_or_default() };
                let refusal = self.exchange(&of)?.refuse(received.as_response(bytes)?);
                self.exchanges.remove(&of.exchange);
                Err(failed(refusal))
            }
            "close" => {
                self.exchanges.remove(&parse::<OfExchange>(arguments)?.exchange);
                Ok((json!({}), Vec::new()))
            }
            "drop" => {
                let Nothing {} = parse(arguments)?;
                *self = Self::default();
                Ok((json!({}), Vec::new()))
            }
            _ => Err(Error::argument(format!("the step {step:?} is not known")).into()),
        }
    }

    fn new_client(&mut self, arguments: Value) -> Outcome {
        let New { url, policy, validates_names, amd_roots, ak_root } = parse(arguments)?;
        if self.client.is_some() {
            return Err(Error::argument("there is a client already").into());
        }
        let policy = Policy::parse(&policy)?.inner().clone();
        let amd_roots = amd_roots.as_deref().map(amd_anchors).transpose()?.unwrap_or_default();
        let ak_root = ak_root.as_deref().map(ak_anchors).transpose()?.unwrap_or_default();
        let client = MessageClient::new(&url, policy, amd_roots, ak_root)?;
        self.client = Some(if validates_names { client } else { client.with_unknown_name_validation() });
        Ok((json!({}), Vec::new()))
    }

    fn begin(&mut self, arguments: Value, random: &[u8]) -> Outcome {
        let At { at } = parse(arguments)?;
        let request = self.client()?.begin(Zeroizing::new(random.to_vec()), UnixTime::from_secs(at))?;
        Ok((json!({ "url": request.url, "body": request.body, "key_set_url": request.key_set_url }), Vec::new()))
    }

    fn evidence(&mut self, arguments: Value, bytes: &[u8]) -> Outcome {
        let arguments: EvidenceReceived = parse(arguments)?;
        let key_set = match (&arguments.key_set, &arguments.key_set_failure) {
            (Some(document), None) => Some(Ok(document.0.as_slice())),
            (None, Some(reason)) => Some(Err(reason.as_str())),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(Error::argument("expected a key set or a failure").into()),
        };
        // The roots are those of the browser or of Node.
        let source = if arguments.key_set_fetched { KeySetSource::PlatformRoots } else { KeySetSource::Given };
        let needed = self.client()?.evidence(arguments.response.as_response(bytes)?, key_set, source)?;
        Ok((
            json!({ "certificates": needed.certificates, "crls": needed.crls, "other_crls": needed.other_crls }),
            Vec::new(),
        ))
    }

    fn attest(&mut self, arguments: Value) -> Outcome {
        let Documents { at, certificate, crls } = parse(arguments)?;
        let mut fetched = FetchedDocuments::default();
        fetched.certificate = certificate.map(|certificate| certificate.0);
        fetched.crls = crls.into_iter().map(|crl| crl.0).collect();
        let attestation = self.client()?.attest(fetched, UnixTime::from_secs(at))?;
        Ok((serde_json::to_value(attestation).map_err(Error::internal)?, Vec::new()))
    }

    fn seal(&mut self, arguments: Value, random: &[u8]) -> Outcome {
        let Seal { at, method, url, headers, repeatable, idempotent, attempt } = parse(arguments)?;
        let headers = headers.into_iter().map(|(name, value)| latin1(&value).map(|value| (name, value)));
        let headers = headers.collect::<Result<_, _>>()?;
        let request = RequestToSeal { method: &method, url: &url, headers, repeatable, idempotent, attempt };
        let begun = self.client()?.seal(request, Zeroizing::new(random.to_vec()), UnixTime::from_secs(at))?;
        let BegunExchange { url, headers, start, exchange, .. } = begun;
        if self.exchanges.len() >= MAX_EXCHANGES {
            self.exchanges.pop_first();
        }
        self.last = self.last.wrapping_add(1);
        self.exchanges.insert(self.last, exchange);
        Ok((json!({ "exchange": self.last, "url": url, "headers": headers }), start))
    }

    fn client(&mut self) -> Result<&mut MessageClient, Error> {
        self.client.as_mut().ok_or_else(|| Error::argument("there is no client"))
    }

    fn exchange(&mut self, of: &OfExchange) -> Result<&mut MessageExchange, Error> {
        self.exchanges.get_mut(&of.exchange).ok_or_else(|| Error::closed("exchange"))
    }

    fn closing_on_error<T>(&mut self, of: &OfExchange, outcome: Result<T, ExchangeFailed>) -> Result<T, Failed> {
        outcome.map_err(|error| {
            self.exchanges.remove(&of.exchange);
            failed(error)
        })
    }
}

impl Received {
    fn as_response<'a>(&'a self, body: &'a [u8]) -> Result<HostResponse<'a>, Error> {
        match (self.status, &self.failure) {
            (Some(status), None) if !self.redirect => {
                Ok(HostResponse::Received { status, content_type: &self.content_type, body })
            }
            (None, Some(reason)) if !self.redirect => Ok(HostResponse::Failed { reason }),
            (None, None) if self.redirect => Ok(HostResponse::Redirect),
            _ => Err(Error::argument("expected a status, a redirect or a failure")),
        }
    }
}

fn again(arguments: Value) -> Outcome {
    let Busy { at, attempt, remaining_ms, status, retry_after, date } = parse(arguments)?;
    let response = AgentBusy { status, retry_after: retry_after.as_deref(), date: date.as_deref() };
    let remaining = Duration::from_millis(remaining_ms);
    let wait = MessageClient::again_after(response, attempt, remaining, UnixTime::from_secs(at));
    let after_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    Ok((json!({ "after_ms": after_ms }), Vec::new()))
}

/// Reads the name of the step, its arguments and its bytes.
fn split(argument: &[u8]) -> Result<(String, Value, &[u8]), Failed> {
    let malformed = || Error::argument("expected the length of JSON, JSON, and bytes");
    let (length, rest) = argument.split_first_chunk::<4>().ok_or_else(malformed)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| malformed())?;
    let (json, bytes) = rest.split_at_checked(length).ok_or_else(malformed)?;
    let mut members: Map<String, Value> = read(json)?;
    match members.remove("step") {
        Some(Value::String(step)) => Ok((step, Value::Object(members), bytes)),
        _ => Err(Error::argument("expected a string as \"step\"").into()),
    }
}

fn parse<T: DeserializeOwned>(arguments: Value) -> Result<T, Error> {
    serde_json::from_value(arguments).map_err(|error| Error::argument(format!("arguments: {error}")))
}

fn latin1(value: &str) -> Result<Vec<u8>, Error> {
    let bytes = value.chars().map(|c| u8::try_from(u32::from(c)));
    bytes.collect::<Result<_, _>>().map_err(|_| Error::argument("expected a header whose characters are bytes"))
}

fn text((name, value): (String, Vec<u8>)) -> (String, String) {
    (name, value.into_iter().map(char::from).collect())
}

fn shown(parts: Vec<ResponsePart>, trailers: Option<Vec<(String, Vec<u8>)>>) -> (Value, Vec<u8>) {
    let (mut shown, mut content) = (Map::new(), Vec::new());
    for part in parts {
        match part {
            ResponsePart::Head { status, headers } => {
                let headers: Vec<_> = headers.into_iter().map(text).collect();
                shown.insert("head".to_owned(), json!({ "status": status, "headers": headers }));
            }
            ResponsePart::Content(bytes) => content.extend(bytes),
        }
    }
    if let Some(trailers) = trailers {
        let trailers: Vec<_> = trailers.into_iter().map(text).collect();
        shown.insert("trailers".to_owned(), json!(trailers));
    }
    (shown.into(), content)
}
