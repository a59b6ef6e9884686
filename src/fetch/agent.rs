//! The attestation agent: BlindBox's, or Microsoft's SKR sidecar.
//!
//! | form | request | answer |
//! |---|---|---|
//! | bound | `POST /attest/maa` `{"maa_endpoint", "nonce"}` | `{"token", "runtime_data"}` |
//! | bound | `POST /attest/combined` `{"nonce", "maa_endpoint"?}` | `{"evidence", "endorsements", "uvm_endorsements", "runtime_data", "token"?}` |
//! | unbound | `POST /attest/maa` `{"maa_endpoint", "runtime_data"}` | `{"token"}` |
//! | unbound | `POST /attest/combined` `{"runtime_data"}` | as above, without `runtime_data` and `token` |
//!
//! A bound request carries a nonce and nothing that the caller could choose to have attested.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, CONTENT_TYPE};
use hyper::body::Incoming;
use serde_json::{Map, Value as Json};
use url::Url;

use super::deadline::Deadline;
use super::http::{Answered, Exchange, FetchError};
use crate::challenge::{Challenge, Channel};
use crate::error::{AttestationError, ChannelNotBound};
use crate::evidence::Evidence;
use crate::json::{self, MemberError, Object, Read, Value};
use crate::transport::{Connection, Connector, OutgoingBody, TransportError, TransportErrorKind};
use crate::types::{Issuer, shorten};

/// The largest answer that is read, in bytes: stops an agent that never ends. Real ones have 5 to 40 kB.
const MAX_BYTES: u64 = 256 << 10;

/// How much of what an agent says of an error is repeated.
const SHOWN: usize = 200;

const DOING: &str = "waiting for the attestation agent";

/// What is asked of an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) challenge: &'a Challenge,
    /// The MAA instance whose token is needed.
    pub(crate) maa: Option<&'a Issuer>,
    /// Whether the hardware report is needed.
    pub(crate) hardware: bool,
}

/// What an agent sent. All of it is untrusted.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) evidence: Evidence,
    /// Certificates that came along, as PEM: of the key that signed the report, its issuer and root.
    pub(crate) certificates: Option<Vec<u8>>,
}

/// The way to an agent.
#[derive(Debug)]
pub(crate) enum AgentChannel<'c> {
    /// The connection whose peer is attested. If it breaks, the attempt is over: the next one opens another.
    Attached(&'c mut Connection),
    /// Connections of the agent's own, opened when needed. They close with the attestation.
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
            let reason = "the connection was closed without an answer";
            return Err(TransportError::new(TransportErrorKind::Broken, reason));
        }
        connection.send(request).await
    }
}

/// Asks the agent behind `base`.
pub(crate) async fn ask(
    channel: AgentChannel<'_>,
    base: &Url,
    question: Question<'_>,
    deadline: Deadline,
) -> Result<Answer, AttestationError> {
    let mut agent = Agent { channel, base, deadline };
    let bound = question.challenge.channel() == Channel::Bound;
    let mut answer = Answer::default();
    if question.hardware {
        let maa = question.maa.filter(|_| bound);
        let body = agent.post("attest/combined", question.challenge, maa).await?;
        answer.read_hardware(&body)?;
        if maa.is_some() {
            answer.read_token(&body)?;
        }
        answer.read_runtime_data(&body, bound)?;
    }
    if let (Some(issuer), false) = (question.maa, question.hardware && bound) {
        let body = agent.post("attest/maa", question.challenge, Some(issuer)).await?;
        answer.read_token(&body)?;
        answer.read_runtime_data(&body, bound)?;
    }
    Ok(answer)
}

struct Agent<'a> {
    channel: AgentChannel<'a>,
    base: &'a Url,
    deadline: Deadline,
}

impl Agent<'_> {
    async fn post(
        &mut self,
        path: &str,
        challenge: &Challenge,
        maa: Option<&Issuer>,
    ) -> Result<Vec<u8>, AttestationError> {
        let bound = challenge.channel() == Channel::Bound;
        let mut body = Map::new();
        if let Some(issuer) = maa {
            body.insert("maa_endpoint".to_owned(), Json::from(issuer.authority()));
        }
        if bound {
            body.insert("nonce".to_owned(), Json::from(challenge.nonce().to_string()));
        } else {
            body.insert("runtime_data".to_owned(), Json::from(STANDARD.encode(challenge.runtime_data())));
        }
        let (url, body) = (below(self.base, path), Json::Object(body).to_string());
        let what = "the answer of the attestation agent";
        let exchange = Exchange { doing: DOING, what, limit: MAX_BYTES, deadline: self.deadline, reconnects: !bound };
        let request = || {
            let request = http::Request::post(url.as_str())
                .header(CONTENT_TYPE, "application/json")
                .header(ACCEPT, "application/json")
                .body(OutgoingBody::bytes(body.clone()));
            let reason = "expected as the agent's address one that HTTP can carry";
            request.map_err(|_| AttestationError::InvalidUrl { reason })
        };
        match exchange.run_over(&mut self.channel, request).await {
            Ok(answer) => accept(answer, bound, &url),
            Err(FetchError::Transport(error)) => Err(match error.kind {
                TransportErrorKind::Name => AttestationError::ServerNameNotValidated { reason: error.at(&url) },
                TransportErrorKind::Unreadable => invalid(&error.at(&url)),
                _ => AttestationError::AgentUnreachable { reason: error.at(&url) },
            }),
            Err(FetchError::ContentEncoded) => Err(invalid("expected JSON as it is, found compressed data")),
            Err(FetchError::Attestation(error)) => Err(error),
        }
    }
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url
}

/// The body of an answer that is one.
fn accept(answer: Answered, bound: bool, url: &Url) -> Result<Vec<u8>, AttestationError> {
    let status = answer.status;
    match status {
        200 if answer.is_json() => Ok(answer.body),
        200 => {
            let found = shorten(&answer.content_type, 60);
            Err(invalid(&format!("expected the content type application/json, found {found:?}")))
        }
        400..=499 if status != 429 => {
            let message = message(&answer.body);
            // An agent of the unbound form takes the bound request for one that lacks what to attest.
            let lacks = message.to_ascii_lowercase().replace('_', "").contains("runtimedata");
            if bound && status == 400 && lacks {
                return Err(AttestationError::ChannelNotBound { reason: ChannelNotBound::LegacyAnswer });
            }
            Err(AttestationError::MaaTokenNotFound { status, message })
        }
        300..=399 => Err(invalid(&format!("expected an answer, found a redirect (status {status})"))),
        429 | 500.. => {
            let origin = url.origin().ascii_serialization();
            Err(AttestationError::AgentUnreachable { reason: format!("{origin} answered with the status {status}") })
        }
        _ => Err(invalid(&format!("expected the status 200, found {status}"))),
    }
}

/// What an agent says of an error. BlindBox's first agent sends two JSON objects in a row: what cannot be read is shown as
/// it is, shortened.
fn message(body: &[u8]) -> String {
    let parsed = json::parse(body).ok();
    let error = match &parsed {
        Some(Value::Object(object)) => object.required::<&str>("error").ok(),
        _ => None,
    };
    error.map_or_else(|| shorten(&String::from_utf8_lossy(body), SHOWN), |text| shorten(text, SHOWN))
}

impl Answer {
    fn read_token(&mut self, body: &[u8]) -> Result<(), AttestationError> {
        self.evidence.token = Some(read(body, |answer| Ok(member::<&str>(answer, "token")?.to_owned()))?);
        Ok(())
    }

    fn read_hardware(&mut self, body: &[u8]) -> Result<(), AttestationError> {
        let (report, certificates, endorsement) = read(body, |answer| {
            Ok((
                Some(bytes(answer, "evidence")?),
                optional_bytes(answer, "endorsements")?,
                optional_bytes(answer, "uvm_endorsements")?,
            ))
        })?;
        self.certificates = certificates;
        self.evidence.report = report;
        self.evidence.uvm_endorsement = endorsement;
        Ok(())
    }

    /// Absent in a bound answer means an agent that does not bind; in an unbound one it is ours that count.
    fn read_runtime_data(&mut self, body: &[u8], bound: bool) -> Result<(), AttestationError> {
        if bound {
            let claimed = read(body, |answer| optional_bytes(answer, "runtime_data"))?;
            let claimed = claimed.ok_or(AttestationError::ChannelNotBound { reason: ChannelNotBound::LegacyAnswer })?;
            self.evidence.runtime_data = Some(claimed);
        }
        Ok(())
    }
}

fn read<T>(body: &[u8], take: impl FnOnce(&Object<'_>) -> Result<T, AttestationError>) -> Result<T, AttestationError> {
    match json::parse(body).map_err(|error| invalid(&format!("expected one JSON object: {error}")))? {
        Value::Object(answer) => take(&answer),
        other => Err(invalid(&format!("expected a JSON object, found {}", other.json_type()))),
    }
}

fn member<'o, T: Read<'o>>(answer: &'o Object<'_>, name: &'static str) -> Result<T, AttestationError> {
    answer.required(name).map_err(|MemberError { name, flaw }| wrong_member(name, flaw))
}

fn wrong_member(name: &str, flaw: json::MemberFlaw) -> AttestationError {
    match flaw {
        json::MemberFlaw::Missing => invalid(&format!("expected a member {name:?}, found none")),
        json::MemberFlaw::WrongType { expected, found } => {
            invalid(&format!("expected {expected} as {name:?}, found {found}"))
        }
    }
}

fn bytes(answer: &Object<'_>, name: &'static str) -> Result<Vec<u8>, AttestationError> {
    optional_bytes(answer, name)?.ok_or_else(|| wrong_member(name, json::MemberFlaw::Missing))
}

fn optional_bytes(answer: &Object<'_>, name: &'static str) -> Result<Option<Vec<u8>>, AttestationError> {
    let text = answer.optional::<&str>(name).map_err(|MemberError { name, flaw }| wrong_member(name, flaw))?;
    let decode = |text| STANDARD.decode(text).map_err(|_| invalid(&format!("expected base64 as {name:?}")));
    text.map(decode).transpose()
}

fn invalid(reason: &str) -> AttestationError {
    AttestationError::InvalidAgentAnswer { reason: reason.to_owned() }
}
