//! Passes requests on, and records what passes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};
use serde_json::{Map, Value};

use super::{AFFINITY, FrontEndKnob, Shared, unreachable};
use crate::agent::PROTOCOL;
use crate::emulator::lock;
use crate::emulator::network::body::ResponseBody;
use crate::emulator::network::request::{Arrival, Call, Reply};
use crate::emulator::network::response::BufferedResponse;
use crate::emulator::network::traffic::is_agent_path;
use crate::error::BoxError;
use crate::message::exchange::outer::instance;
use crate::message::key_config::KeyConfig;
use crate::types::Nonce;

/// Of one connection, or written by the other side of the front end.
const NOT_PASSED: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

impl Shared {
    /// Passes a request on as it arrives, and its response.
    pub(super) async fn pass<B>(&self, request: Request<B>, replica: usize) -> Reply
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        match self.send(request, replica).await {
            Ok(response) => Reply::Response(response.map(|body| ResponseBody::passed(self.record.watch(body)))),
            Err(error) => unreachable(&error).into_reply(),
        }
    }

    /// Sends a request to a replica.
    pub(super) async fn send<B>(&self, request: Request<B>, replica: usize) -> reqwest::Result<Response<reqwest::Body>>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Sync + 'static,
    {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        self.record.add_head(&format!("{} {target}", head.method), &head.headers);
        let to = &self.replicas[replica];
        let base = if is_agent_path(head.uri.path()) { &to.agent } else { &to.application };
        let mut headers = passed(head.headers);
        headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
        let request = self.client()?.request(head.method, format!("{base}{target}")).headers(headers);
        let request = match body.size_hint().exact() {
            Some(0) => request,
            _ => request.body(reqwest::Body::wrap(self.record.watch(body))),
        };
        let (mut head, body) = Response::<reqwest::Body>::from(request.send().await?).into_parts();
        self.record.add_head(head.status.as_str(), &head.headers);
        head.headers = passed(head.headers);
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    /// Reads a response of a replica whole, and records it. `Err` for one that breaks off.
    pub(super) async fn read(&self, response: Response<reqwest::Body>) -> Result<BufferedResponse, Reply> {
        BufferedResponse::read(response.map(|body| ResponseBody::passed(self.record.watch(body)))).await
    }

    /// Passes an attestation request on. The response sets the cookie of its replica, unless the client has it.
    pub(super) async fn attestation(&self, arrival: Arrival, knobs: &[FrontEndKnob]) -> Reply {
        let replica = self.replica(arrival.request.headers(), knobs);
        let call = match arrival.whole().await {
            Ok(call) => call,
            Err(reply) => return reply,
        };
        if let (Some(first), true) =
            (lock(&self.memory).attestation.clone(), knobs.contains(&FrontEndKnob::EarlierAttestation))
        {
            return first.into_reply();
        }
        let response = match self.send(request(&call), replica).await {
            Ok(response) => match self.read(response).await {
                Ok(response) => response,
                Err(cut) => return cut,
            },
            Err(error) => unreachable(&error),
        };
        let asked = serde_json::from_slice::<Map<String, Value>>(&call.body).unwrap_or_default();
        let response = response.change_json(|answer| self.change_attestation(&asked, answer, replica, knobs));
        let response = if self.of_cookie(&call.headers) == Some(replica) {
            response
        } else {
            // A browser returns others to the pages of its own site only.
            let to_pages = if self.origins.is_empty() { "" } else { "; SameSite=None" };
            response.header("set-cookie", format!("{AFFINITY}={replica}; Path=/; Secure; HttpOnly{to_pages}"))
        };
        lock(&self.memory).attestation.get_or_insert_with(|| response.clone());
        response.into_reply()
    }

    fn change_attestation(
        &self,
        asked: &Map<String, Value>,
        answer: &mut Map<String, Value>,
        replica: usize,
        knobs: &[FrontEndKnob],
    ) {
        if asked.get("protocol").and_then(Value::as_str) != Some(PROTOCOL) || answer.contains_key("error") {
            return;
        }
        let config = answer.get("key_config").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        if let Some(config) = config.and_then(|bytes| KeyConfig::from_bytes(&bytes).ok()) {
            lock(&self.instances).insert(instance(&config), replica);
        }
        let session = answer.get("session").cloned().unwrap_or_default();
        let first = lock(&self.memory).session.get_or_insert(session).clone();
        if knobs.contains(&FrontEndKnob::EarlierSession) {
            answer.insert("session".into(), first);
        }
        if knobs.contains(&FrontEndKnob::OwnMessageKey) {
            let nonce = asked.get("nonce").and_then(Value::as_str).and_then(|nonce| Nonce::from_hex(nonce).ok());
            let Some(nonce) = nonce else { return };
            let own = self.own_keys.offer(&nonce, std::time::Duration::ZERO).expect("a key can be generated");
            answer.insert("key_config".into(), STANDARD.encode(own.key_config).into());
            answer.insert("session".into(), own.session.into());
            answer.insert("runtime_data".into(), STANDARD.encode(own.runtime_data).into());
        }
    }
}

/// The request that was read whole.
pub(super) fn request(call: &Call) -> Request<reqwest::Body> {
    let mut request = Request::new(reqwest::Body::from(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.headers_mut() = call.headers.clone();
    let target = call.query.as_ref().map_or_else(|| call.path.clone(), |query| format!("{}?{query}", call.path));
    *request.uri_mut() = target.parse().expect("the target of a request is one");
    request
}

fn passed(mut headers: HeaderMap) -> HeaderMap {
    for name in NOT_PASSED {
        headers.remove(name);
    }
    headers
}
