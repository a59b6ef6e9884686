//! A man in the middle: terminates TLS with a key of its own and uses a genuine BlindBox as a source of evidence.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::blindbox::BlindBox;
use super::blindbox::bound_form::{Named, asks_for_connection};
use super::keys::random;
use super::network::request::{Call, Handler, of_whole_requests};
use super::network::response::BufferedResponse;
use super::network::server::{HttpVersions, Protocols, Server};
use super::network::tls::{CertificateRequest, KeyKind, TlsKey, TlsVersions};
use super::network::traffic::{Traffic, is_agent_path};
use super::{lock, origin};
use crate::types::{SpkiDigest, TlsExporter};

/// A running relay in front of a BlindBox. Stops when dropped.
///
/// It forwards nothing but requests for the agent. Requests for the application are what it is after: it responds to them
/// itself, and [`Self::traffic`] says how many it got, and how many bytes.
pub struct Relay {
    server: Server,
    plan: Arc<Plan>,
    traffic: Traffic,
    host: String,
}

/// Settings of a relay before it starts.
#[derive(Clone, Debug)]
pub struct RelayBuilder {
    mode: RelayMode,
    certificate: RelayCertificate,
    host: String,
    http: HttpVersions,
    key: Option<TlsKey>,
}

/// What a relay does with a connection, or with a request for the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RelayMode {
    /// Lies in wait: later connections are passed through untouched, and end at the genuine BlindBox.
    Tunnel,
    /// Forwards requests for the agent, and its responses as they come.
    #[default]
    Forward,
    /// Writes runtime data of the bound form itself, with the client's nonce and the relay's key, and has an agent of the
    /// legacy form attest it: evidence that looks bound, and is not.
    AttestOwnKey,
    /// Responds to every request with one genuine response that it got earlier for a nonce of its own.
    Replay,
    /// Forwards, but takes `runtime_data` out of the response.
    LegacyForm,
}

/// The certificate over a relay's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RelayCertificate {
    /// Issued by the authority of the BlindBox for the same names: anyone who controls the name or an authority can have one.
    #[default]
    SameAuthority,
    /// Signed by the key itself.
    SelfSigned,
}

struct Plan {
    mode: Mutex<RelayMode>,
    /// The genuine agent.
    agent: String,
    application: SocketAddr,
    endpoint: String,
    client: reqwest::Client,
    key: SpkiDigest,
    recorded: Mutex<Option<BufferedResponse>>,
}

impl RelayBuilder {
    /// What it does from the start; [`RelayMode::Forward`] unless set.
    #[must_use]
    pub fn mode(mut self, mode: RelayMode) -> Self {
        self.mode = mode;
        self
    }

    /// A key that it has stolen ([`BlindBox::steal_tls_key`]), in place of one of its own.
    #[must_use]
    pub fn stolen_key(mut self, key: TlsKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The certificate over its key.
    #[must_use]
    pub fn certificate(mut self, certificate: RelayCertificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// The host in [`Relay::url`]: `127.0.0.1` unless set.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Which versions of HTTP it speaks.
    #[must_use]
    pub fn http(mut self, versions: HttpVersions) -> Self {
        self.http = versions;
        self
    }

    /// Starts it in front of a BlindBox.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start(self, blindbox: &BlindBox) -> io::Result<Relay> {
        let key = self.key.unwrap_or_else(|| TlsKey::generate(KeyKind::P256));
        let request = CertificateRequest::new(["127.0.0.1", "localhost", &self.host], blindbox.now());
        let identity = match self.certificate {
            RelayCertificate::SameAuthority => blindbox.authority().issue(&key, &request),
            RelayCertificate::SelfSigned => key.self_signed(&request),
        };
        // An attacker does not care whom they forward to; the evidence protects itself.
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(io::Error::other)?;
        let plan = Arc::new(Plan {
            mode: Mutex::new(RelayMode::Forward),
            agent: blindbox.agent_url(),
            application: blindbox.address(),
            endpoint: blindbox.maa_issuer().authority().to_owned(),
            client,
            key: key.spki_digest(),
            recorded: Mutex::new(None),
        });
        let traffic = Traffic::default();
        let protocols = Protocols { http: self.http, tls: TlsVersions::Both, ..Protocols::default() };
        let server = Server::start(Some(&identity), protocols, traffic.clone(), handler(&plan)).await?;
        let relay = Relay { server, plan, traffic, host: self.host };
        relay.set_mode(self.mode);
        Ok(relay)
    }
}

impl Relay {
    /// Starts a relay that forwards, with a certificate of the BlindBox's own authority.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start(blindbox: &BlindBox) -> io::Result<Self> {
        Self::builder().start(blindbox).await
    }

    /// Settings before the start.
    #[must_use]
    pub fn builder() -> RelayBuilder {
        RelayBuilder {
            mode: RelayMode::default(),
            certificate: RelayCertificate::default(),
            host: "127.0.0.1".to_owned(),
            http: HttpVersions::default(),
            key: None,
        }
    }

    /// The address that a victim is lured to.
    #[must_use]
    pub fn url(&self) -> String {
        origin("https", &self.host, self.address().port())
    }

    /// The socket address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// SHA-256 of the relay's TLS key.
    #[must_use]
    pub fn tls_key(&self) -> SpkiDigest {
        self.plan.key
    }

    /// Changes what it does: with later connections if tunnels are involved, else with the next request.
    pub fn set_mode(&self, mode: RelayMode) {
        self.server.set_tunnel((mode == RelayMode::Tunnel).then_some(self.plan.application));
        *lock(&self.plan.mode) = mode;
    }

    /// Cuts every connection, tunnels too, so that clients have to connect again.
    pub async fn drop_connections(&self) {
        self.server.drop_connections().await;
    }

    /// What reached the relay inside its own TLS. What passes through a tunnel is not its to count.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Relay({})", self.url())
    }
}

fn handler(plan: &Arc<Plan>) -> Handler {
    let plan = Arc::clone(plan);
    of_whole_requests(move |call: Call| {
        let plan = Arc::clone(&plan);
        async move {
            let answer = match is_agent_path(&call.path) {
                true => plan.agent(&call).await,
                false => BufferedResponse::text(200, "intercepted"),
            };
            answer.into_reply()
        }
    })
}

impl Plan {
    async fn agent(&self, call: &Call) -> BufferedResponse {
        let mode = *lock(&self.mode);
        if call.method != hyper::Method::POST {
            return self.forward(&call.path, None).await;
        }
        let request = serde_json::from_slice::<Map<String, Value>>(&call.body).unwrap_or_default();
        match mode {
            RelayMode::Tunnel | RelayMode::Forward => self.forward(&call.path, Some(call.body.to_vec())).await,
            RelayMode::AttestOwnKey => {
                self.attest_own_key(&call.path, request, call.tls.and_then(|tls| tls.exporter)).await
            }
            RelayMode::Replay => self.replay(&call.path, &request).await,
            RelayMode::LegacyForm => {
                let answer = self.forward(&call.path, Some(call.body.to_vec())).await;
                answer.change_json(|answer| drop(answer.remove("runtime_data")))
            }
        }
    }

    /// `exporter` is that of the victim's connection, which the relay ends and so knows.
    async fn attest_own_key(
        &self,
        path: &str,
        mut request: Map<String, Value>,
        exporter: Option<TlsExporter>,
    ) -> BufferedResponse {
        let nonce = request.remove("nonce").unwrap_or_default();
        let exporter = exporter.filter(|_| asks_for_connection(&request));
        request.remove("protocol");
        let named = exporter.map_or(Named::Key(self.key), |exporter| Named::Connection(self.key, exporter));
        let runtime_data = named.runtime_data(nonce.as_str().unwrap_or_default());
        let runtime_data = STANDARD.encode(runtime_data);
        request.insert("runtime_data".into(), runtime_data.clone().into());
        let answer = self.forward(path, Some(Value::Object(request).to_string().into_bytes())).await;
        answer.change_json(|answer| {
            if !answer.contains_key("error") {
                answer.insert("runtime_data".into(), runtime_data.into());
            }
        })
    }

    async fn replay(&self, path: &str, asked: &Map<String, Value>) -> BufferedResponse {
        let recorded = lock(&self.recorded).clone();
        if let Some(answer) = recorded {
            return answer;
        }
        let mut request = json!({ "maa_endpoint": self.endpoint, "nonce": hex::encode(random::<32>()) });
        if let Some(protocol) = asked.get("protocol") {
            request["protocol"] = protocol.clone();
        }
        let answer = self.forward(path, Some(request.to_string().into_bytes())).await;
        lock(&self.recorded).get_or_insert(answer).clone()
    }

    async fn forward(&self, path: &str, body: Option<Vec<u8>>) -> BufferedResponse {
        let url = format!("{}{path}", self.agent);
        let request = match body {
            Some(body) => self.client.post(url).header("content-type", "application/json").body(body),
            None => self.client.get(url),
        };
        let Ok(response) = request.send().await else {
            return BufferedResponse::error(502, "the agent cannot be reached");
        };
        let status = response.status().as_u16();
        match response.bytes().await {
            Ok(body) => BufferedResponse::bytes(status, "application/json", body),
            Err(_) => BufferedResponse::error(502, "the agent did not finish its response"),
        }
    }
}
