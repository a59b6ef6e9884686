//! The bound requests of `docs/protocol.md`: the caller gives a nonce, the runtime data are written here.

use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::agent::{MessageOffer, PROTOCOL};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::MaaHost;
use crate::connection::ConnectionKey;
use crate::evidence::{EvidenceError, Source};
use crate::log;
use crate::maa::MaaClient;
use crate::messages::Messages;
use crate::rate_limit::Limiter;
use crate::route::Route;

/// The most bytes of a request, which has about 130. More would fill memory.
const MAX_REQUEST: usize = 1024;

/// How long the caller waits for evidence. MAA and the sidecar have less; a device can hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Responds to the requests for evidence.
pub(crate) struct Bound {
    pub(crate) source: Source,
    pub(crate) maa: MaaClient,
    pub(crate) hosts: Vec<MaaHost>,
    pub(crate) limiter: Limiter,
    /// How long a request may take to arrive whole.
    pub(crate) arrival: Duration,
    /// The keys of sealed messages, where they are served.
    pub(crate) messages: Option<Messages>,
}

/// Why there is no evidence: a status, and a text that never repeats what the caller sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MaaRequest {
    maa_endpoint: String,
    nonce: String,
    #[serde(default, deserialize_with = "present")]
    protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CombinedRequest {
    nonce: String,
    #[serde(default, deserialize_with = "present")]
    maa_endpoint: Option<String>,
    #[serde(default, deserialize_with = "present")]
    protocol: Option<String>,
}

#[derive(Serialize)]
struct CombinedAnswer {
    evidence: String,
    endorsements: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uvm_endorsements: Option<String>,
    endorsed_tcb: String,
    runtime_data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// A request for a report, read.
pub(crate) struct Asked {
    pub(crate) nonce: Nonce,
    pub(crate) form: Form,
    /// Where a token is requested too.
    pub(crate) host: Option<MaaHost>,
}

/// What evidence names of the connection that it is requested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Tls(TlsForm),
    /// `blindbox-bound-message/1`: a message key, and nothing of the connection.
    Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsForm {
    /// `blindbox-bound-server/1`, of requests that name no form.
    Server,
    /// `blindbox-bound-connection/1`.
    Connection,
}

/// What is attested, and what the response has beside the evidence.
pub(crate) struct Attested {
    pub(crate) runtime_data: Vec<u8>,
    pub(crate) offer: Option<MessageOffer>,
}

/// What evidence can name, before the attestation is admitted.
pub(crate) enum Named {
    Connection(Vec<u8>),
    Message(Messages, Nonce),
}

/// 64 lower-case hexadecimal digits, and nothing that could change the text it is put into.
pub(crate) struct Nonce(String);

impl Bound {
    pub(crate) async fn maa(
        &self,
        request: Request<Incoming>,
        caller: IpAddr,
        key: &ConnectionKey,
    ) -> Result<Value, Refusal> {
        let request: MaaRequest = read(request, self.arrival).await?;
        let (nonce, form) = (Nonce::read(request.nonce)?, Form::read(request.protocol)?);
        let host = self.host(&request.maa_endpoint)?.clone();
        let (source, maa) = (self.source.clone(), self.maa.clone());
        let named = self.named(form, nonce, key)?;
        self.attest(caller, async move {
            let Attested { runtime_data, offer } = named.attested()?;
            let token = source.token(&maa, &host, &runtime_data).await?;
            let answer = json!({ "token": token, "runtime_data": STANDARD.encode(runtime_data) });
            Ok(with_offer(answer, offer))
        })
        .await
    }

    pub(crate) async fn combined(
        &self,
        request: Request<Incoming>,
        caller: IpAddr,
        key: &ConnectionKey,
    ) -> Result<Value, Refusal> {
        let Asked { nonce, form, host } = self.asked(request).await?;
        let (source, maa) = (self.source.clone(), self.maa.clone());
        let named = self.named(form, nonce, key)?;
        self.attest(caller, async move {
            let Attested { runtime_data, offer } = named.attested()?;
            let hardware = source.hardware(&runtime_data).await?;
            // From exactly this report: token and report are then about one moment, and have to agree on everything.
            let token = match host {
                Some(host) => Some(maa.token(&host, &hardware, &runtime_data).await?),
                None => None,
            };
            let answer = json!(CombinedAnswer {
                evidence: STANDARD.encode(&hardware.report),
                endorsements: STANDARD.encode(&hardware.certificates),
                uvm_endorsements: hardware.uvm_endorsement.as_ref().map(|endorsement| STANDARD.encode(endorsement)),
                endorsed_tcb: hardware.reported_tcb(),
                runtime_data: STANDARD.encode(&runtime_data),
                token,
            });
            Ok(with_offer(answer, offer))
        })
        .await
    }

    /// Reads a request for a report.
    pub(crate) async fn asked(&self, request: Request<Incoming>) -> Result<Asked, Refusal> {
        let request: CombinedRequest = read(request, self.arrival).await?;
        let (nonce, form) = (Nonce::read(request.nonce)?, Form::read(request.protocol)?);
        let host = request.maa_endpoint.map(|endpoint| self.host(&endpoint).cloned()).transpose()?;
        Ok(Asked { nonce, form, host })
    }

    /// The request, if this agent serves it: one in a confidential VM has a form of its own, and no other.
    pub(crate) fn served(&self, route: Route) -> Route {
        let in_vm = matches!(self.source, Source::AzureVm(_));
        match route {
            Route::Maa | Route::Combined if in_vm => Route::Reserved,
            Route::AzureVm if !in_vm => Route::Reserved,
            route => route,
        }
    }

    pub(crate) fn named(&self, form: Form, nonce: Nonce, key: &ConnectionKey) -> Result<Named, Refusal> {
        match (form, &self.messages) {
            (Form::Message, Some(messages)) => Ok(Named::Message(messages.clone(), nonce)),
            (Form::Message, None) => Err(bad(NO_SUCH_PROTOCOL)),
            (Form::Tls(form), _) => {
                let key_digest = key.serving().ok_or(RETIRED)?;
                Ok(Named::Connection(form.runtime_data(&nonce, key_digest, key.exporter())))
            }
        }
    }

    /// Does the work in a task of its own. A caller who goes away does not end it: the device, or a name server, that was
    /// asked works on, and its place must not be free for the next one before it is done.
    pub(crate) async fn attest(
        &self,
        caller: IpAddr,
        work: impl Future<Output = Result<Value, EvidenceError>> + Send + 'static,
    ) -> Result<Value, Refusal> {
        let place = self.limiter.admit(caller).ok_or(TOO_MANY)?;
        let task = tokio::spawn(async move {
            let done = work.await;
            drop(place);
            done
        });
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error @ EvidenceError::Away(_)))) => Err(no_evidence(&error, RETRY_LATER)),
            Ok(Ok(Err(error))) => Err(no_evidence(&error, REFUSED)),
            Ok(Err(error)) => Err(no_evidence(&error, REFUSED)),
            Err(error) => Err(no_evidence(&error, RETRY_LATER)),
        }
    }

    /// Compared as a text with the list, so that there is nothing to interpret.
    fn host(&self, endpoint: &str) -> Result<&MaaHost, Refusal> {
        let refusal = Refusal { status: StatusCode::FORBIDDEN, text: "this MAA host is not on the agent's list" };
        self.hosts.iter().find(|host| host.as_str() == endpoint).ok_or(refusal)
    }
}

impl Named {
    /// Called once the limiter has admitted the attestation: each one of a message key begins a session, of which a key has a bound.
    pub(crate) fn attested(self) -> Result<Attested, EvidenceError> {
        match self {
            Self::Connection(runtime_data) => Ok(Attested { runtime_data, offer: None }),
            Self::Message(messages, Nonce(nonce)) => {
                let unusable = |error: &dyn Display| EvidenceError::Away(error.to_string());
                let nonce = blindbox_attestation::Nonce::from_hex(&nonce).map_err(|error| unusable(&error))?;
                let offer = messages.offer(&nonce).map_err(|error| unusable(&error))?;
                Ok(Attested { runtime_data: offer.runtime_data.clone().into_bytes(), offer: Some(offer) })
            }
        }
    }
}

pub(crate) fn with_offer(mut answer: Value, offer: Option<MessageOffer>) -> Value {
    if let (Some(members), Some(offer)) = (answer.as_object_mut(), offer) {
        members.insert("key_config".to_owned(), STANDARD.encode(offer.key_config).into());
        members.insert("session".to_owned(), offer.session.into());
    }
    answer
}

impl Nonce {
    fn read(text: String) -> Result<Self, Refusal> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 64 && digits {
            return Ok(Self(text));
        }
        Err(bad("nonce must be 64 lower-case hexadecimal digits"))
    }
}

impl Form {
    fn read(protocol: Option<String>) -> Result<Self, Refusal> {
        match protocol.as_deref() {
            None => Ok(Self::Tls(TlsForm::Server)),
            Some("blindbox-bound-connection/1") => Ok(Self::Tls(TlsForm::Connection)),
            Some(PROTOCOL) => Ok(Self::Message),
            Some(_) => Err(bad(NO_SUCH_PROTOCOL)),
        }
    }
}

impl TlsForm {
    /// These bytes and no others: members in this order, no white space.
    pub(crate) fn runtime_data(self, Nonce(nonce): &Nonce, spki_digest: &str, exporter: &str) -> Vec<u8> {
        match self {
            Self::Server => {
                format!(r#"{{"nonce":"{nonce}","protocol":"blindbox-bound-server/1","tls-spki-sha256":"{spki_digest}"}}"#)
            }
            Self::Connection => format!(
                r#"{{"nonce":"{nonce}","protocol":"blindbox-bound-connection/1","tls-exporter":"{exporter}","tls-spki-sha256":"{spki_digest}"}}"#
            ),
        }
        .into_bytes()
    }
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>, arrival: Duration) -> Result<T, Refusal> {
    let mut types = request.headers().get_all(CONTENT_TYPE).iter();
    let json = types.next().is_some_and(|value| value.as_bytes() == b"application/json");
    if !json || types.next().is_some() {
        return Err(bad("the request must be application/json"));
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect();
    let late = Refusal { status: StatusCode::REQUEST_TIMEOUT, text: "the request did not arrive in time" };
    let body: Bytes = match tokio::time::timeout(arrival, body).await.map_err(|_| late)? {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, text: "the request is too long" });
        }
        Err(_) => return Err(bad("the request did not arrive whole")),
    };
    // An array of the right length would be taken for the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("the request must be one JSON object"));
    }
    serde_json::from_slice(&body)
        .map_err(|_| bad("the request must have nonce, maa_endpoint and perhaps protocol, once each, and nothing else"))
}

/// `null` is not the same as absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

const NO_SUCH_PROTOCOL: &str = "protocol must be blindbox-bound-connection/1, blindbox-bound-message/1 with an agent that has \
                                `[message]`, or absent";

const TOO_MANY: Refusal =
    Refusal { status: StatusCode::TOO_MANY_REQUESTS, text: "too many attestations at the moment" };

/// A path of the agent's that this agent does not serve.
pub(crate) const UNSUPPORTED: Refusal =
    Refusal { status: StatusCode::NOT_FOUND, text: "the agent has no such request" };

/// Permanent failure.
const REFUSED: Refusal = Refusal { status: StatusCode::FORBIDDEN, text: "no evidence could be made" };

/// Temporary failure; clients retry.
const RETRY_LATER: Refusal =
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, text: "no evidence can be made at the moment" };

/// Its connection is about to be closed; the next one is opened with the key that serves by now.
pub(crate) const RETIRED: Refusal = Refusal {
    status: StatusCode::SERVICE_UNAVAILABLE,
    text: "the key of this connection has retired: open a new connection",
};

/// The operator reads why, the caller does not.
fn no_evidence(error: &dyn Display, refusal: Refusal) -> Refusal {
    log(error);
    refusal
}

fn bad(text: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two of the vectors of `docs/protocol-vectors.md`.
    #[test]
    fn the_runtime_data_are_those_of_the_protocols_test_vectors() {
        let nonce = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f".to_owned();
        let nonce = Nonce::read(nonce).unwrap();
        let key = "5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4";
        let exporter = "ab".repeat(32);
        for (form, length, expected) in [
            (TlsForm::Server, 198, "928ed74b131bf18c392a1041bd01c4cf91e234c4adb7569a4b5034b615610788"),
            (TlsForm::Connection, 284, "73ec9c757f81991e9978bb2e5dd9b197dcea1173fcee97617f8a255ab2047515"),
        ] {
            let data = form.runtime_data(&nonce, key, &exporter);
            assert_eq!(data.len(), length);
            let expected = expected.to_owned() + &"0".repeat(64);
            assert_eq!(hex::encode(crate::evidence::report_data(&data)), expected);
        }
    }
}
