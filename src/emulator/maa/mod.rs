//! An instance of Microsoft Azure Attestation.

pub(crate) mod claims;
pub(crate) mod jwks;
pub(crate) mod key_evidence;
pub(crate) mod token;

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::claims::TokenShape;
use crate::emulator::clock::EmulatedClock;
use crate::emulator::guest::Guest;
use crate::emulator::keys::RsaSigningKey;
use crate::emulator::network::fault::{Fault, Faults};
use crate::emulator::network::request::{Call, Handler, Reply, of_whole_requests};
use crate::emulator::network::response::BufferedResponse;
use crate::emulator::network::server::{Protocols, Server};
use crate::emulator::network::tls::{CertificateAuthority, CertificateRequest, KeyKind, TlsKey};
use crate::emulator::network::traffic::Traffic;
use crate::emulator::{lock, origin};
use crate::types::{MaaIssuer, Sha256Digest};
use claims::{CONTAINER_POLICY_HASH, TokenClaims, VM_POLICY_HASH};
use jwks::{KeySetKnob, MaaKey, key_set};
use token::TokenFault;

/// A running MAA instance: publishes its key set at `{issuer}/certs` and signs tokens. Stops when dropped.
///
/// Its keys are RSA-2048 and shared with no other instance that lives at the same time.
pub struct Maa {
    state: Arc<MaaState>,
    server: Server,
    authority: CertificateAuthority,
}

/// What an instance needs in order to sign; a [`crate::emulator::BlindBox`] holds on to it.
pub(crate) struct MaaState {
    issuer: String,
    clock: EmulatedClock,
    keys: Mutex<Keys>,
    knobs: Mutex<Vec<KeySetKnob>>,
    faults: Faults,
    traffic: Traffic,
    unpublished: OnceLock<MaaKey>,
}

struct Keys {
    /// The one in use first.
    published: Vec<Arc<MaaKey>>,
    signing: Arc<MaaKey>,
}

/// Settings of an MAA instance before it starts.
#[derive(Debug, Default)]
pub struct MaaBuilder {
    host: Option<String>,
    clock: EmulatedClock,
    knobs: Vec<KeySetKnob>,
}

impl MaaBuilder {
    /// The host in the issuer: `127.0.0.1` unless set; `localhost` is another that works on loopback.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// The clock for the times in tokens.
    #[must_use]
    pub fn clock(mut self, clock: &EmulatedClock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// Changes the key set from the start; may be called again.
    #[must_use]
    pub fn knob(mut self, knob: KeySetKnob) -> Self {
        self.knobs.push(knob);
        self
    }

    /// Starts the instance.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start(self) -> io::Result<Maa> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let host = self.host.as_deref().unwrap_or("127.0.0.1");
        let issuer = origin("https", host, listener.local_addr()?.port());
        let key = Arc::new(MaaKey::new());
        let traffic = Traffic::default();
        let authority = CertificateAuthority::new("Emulated Web PKI of MAA");
        let names = ["127.0.0.1", "localhost", host];
        let request = CertificateRequest::new(names, self.clock.now());
        let identity = authority.issue(&TlsKey::generate(KeyKind::P256), &request);
        let state = Arc::new(MaaState {
            issuer,
            clock: self.clock,
            keys: Mutex::new(Keys { published: vec![Arc::clone(&key)], signing: key }),
            knobs: Mutex::new(self.knobs),
            faults: Faults::default(),
            traffic: traffic.clone(),
            unpublished: OnceLock::new(),
        });
        let server = Server::serve(listener, Some(&identity), Protocols::default(), traffic, handler(&state))?;
        Ok(Maa { state, server, authority })
    }
}

impl Maa {
    /// Starts an instance with a key set as published in 2026.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Settings before the start.
    #[must_use]
    pub fn builder() -> MaaBuilder {
        MaaBuilder::default()
    }

    /// The issuer, as in `iss`: `https://127.0.0.1:port`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.state.issuer
    }

    /// The issuer without its scheme, as agents are given it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.state.endpoint()
    }

    /// The root of the certificate under which the key set is served: for the verifier's collateral roots.
    #[must_use]
    pub fn tls_root_pem(&self) -> String {
        self.authority.root_pem()
    }

    /// As [`Self::tls_root_pem`], in DER.
    #[must_use]
    pub fn tls_root_der(&self) -> &[u8] {
        self.authority.root_der()
    }

    /// The clock for the times in tokens.
    #[must_use]
    pub fn clock(&self) -> &EmulatedClock {
        &self.state.clock
    }

    /// `x-ms-policy-hash` of the tokens of a layout.
    #[must_use]
    pub fn policy_hash(shape: TokenShape) -> Sha256Digest {
        use base64::Engine as _;
        let text = match shape {
            // The default policies of both have one digest, as real tokens show.
            TokenShape::SevSnpVm | TokenShape::TdxVm => CONTAINER_POLICY_HASH,
            TokenShape::AzureVm => VM_POLICY_HASH,
        };
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("the constant is base64url");
        Sha256Digest::new(bytes.try_into().expect("the constant is a SHA-256"))
    }

    /// What this instance says about a guest with this runtime data: to be changed, then signed.
    #[must_use]
    pub fn claims(&self, guest: &Guest, runtime_data: &[u8]) -> TokenClaims {
        self.state.claims(guest, runtime_data)
    }

    /// Signs any claims with the key in use, under the header that MAA writes.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        token::sign(&self.state, TokenClaims::from_value(claims.clone()), &[])
    }

    /// Signs claims and spoils the token.
    #[must_use]
    pub fn sign_with(&self, claims: TokenClaims, faults: &[TokenFault]) -> String {
        token::sign(&self.state, claims, faults)
    }

    /// Signs two texts that need not be JSON.
    #[must_use]
    pub fn sign_raw(&self, header_text: &str, payload_text: &str) -> String {
        token::sign_raw(&self.state, header_text, payload_text)
    }

    /// The header of a proper token now.
    #[must_use]
    pub fn header(&self) -> Value {
        self.state.header()
    }

    /// The `kid` of the key in use.
    #[must_use]
    pub fn kid(&self) -> String {
        self.state.kid()
    }

    /// The key set as it is served now, before any [`Fault`].
    #[must_use]
    pub fn key_set(&self) -> String {
        self.state.key_set()
    }

    /// A new key signs from now on; the old one is gone from the key set.
    pub fn rotate_key(&self) {
        let key = Arc::new(MaaKey::new());
        *lock(&self.state.keys) = Keys { published: vec![Arc::clone(&key)], signing: key };
    }

    /// A new key signs from now on; the old ones stay in the key set behind it.
    pub fn add_key(&self) {
        let key = Arc::new(MaaKey::new());
        let mut keys = lock(&self.state.keys);
        keys.published.insert(0, Arc::clone(&key));
        keys.signing = key;
    }

    /// A new key signs from now on, but the key set stays as it is until [`Self::publish_key`].
    pub fn sign_with_unpublished_key(&self) {
        lock(&self.state.keys).signing = Arc::new(MaaKey::new());
    }

    /// The key in use is in the key set from now on, in front of the others.
    pub fn publish_key(&self) {
        let mut keys = lock(&self.state.keys);
        let signing = Arc::clone(&keys.signing);
        keys.published.retain(|key| !Arc::ptr_eq(key, &signing));
        keys.published.insert(0, signing);
    }

    /// Changes the key set.
    pub fn set(&self, knob: KeySetKnob) {
        lock(&self.state.knobs).push(knob);
    }

    /// Responds to every request for the key set with a fault, until [`Self::recover`].
    pub fn fail(&self, fault: Fault) {
        self.state.faults.schedule("/", fault, None);
    }

    /// Responds to the next so many requests with a fault.
    pub fn fail_times(&self, times: u32, fault: Fault) {
        self.state.faults.schedule("/", fault, Some(times));
    }

    /// Ends all faults and takes back all changes of the key set. Keys stay as they are.
    pub fn recover(&self) {
        self.state.faults.recover();
        lock(&self.state.knobs).clear();
    }

    /// How often the key set was asked for.
    #[must_use]
    pub fn key_set_fetches(&self) -> usize {
        self.state.traffic.count("/certs")
    }

    /// Everything that reached this instance.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.state.traffic
    }

    /// Stops listening and drops every connection: the instance cannot be reached until [`Self::restart`].
    pub async fn stop(&self) {
        self.server.stop_listening().await;
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    ///
    /// If the port was taken by another process.
    pub async fn restart(&self) -> io::Result<()> {
        self.server.listen_again().await
    }

    pub(crate) fn state(&self) -> &Arc<MaaState> {
        &self.state
    }
}

impl std::fmt::Debug for Maa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Maa({})", self.issuer())
    }
}

impl MaaState {
    pub(crate) fn endpoint(&self) -> &str {
        self.issuer.strip_prefix("https://").unwrap_or(&self.issuer)
    }

    pub(crate) fn issuer(&self) -> MaaIssuer {
        MaaIssuer::new(&self.issuer).expect("the emulator's issuer is an https origin")
    }

    pub(crate) fn clock(&self) -> &EmulatedClock {
        &self.clock
    }

    pub(crate) fn claims(&self, guest: &Guest, runtime_data: &[u8]) -> TokenClaims {
        TokenClaims::new(&self.issuer, self.clock.now(), guest, runtime_data)
    }

    pub(crate) fn claims_behind_paravisor(&self, guest: &Guest, runtime_data: &[u8], hcl: &str) -> TokenClaims {
        TokenClaims::behind_paravisor(&self.issuer, self.clock.now(), guest, runtime_data, Some(hcl))
    }

    pub(crate) fn header(&self) -> Value {
        token::header(&self.issuer, &self.kid())
    }

    pub(crate) fn signing_key(&self) -> SigningKeyInUse {
        SigningKeyInUse(Arc::clone(&lock(&self.keys).signing))
    }

    pub(crate) fn unpublished_key(&self) -> &RsaSigningKey {
        &self.unpublished.get_or_init(MaaKey::new).signing
    }

    fn kid(&self) -> String {
        let key = Arc::clone(&lock(&self.keys).signing);
        key.kid(&lock(&self.knobs).clone())
    }

    fn key_set(&self) -> String {
        let published = lock(&self.keys).published.clone();
        let published: Vec<&MaaKey> = published.iter().map(Arc::as_ref).collect();
        key_set(&self.issuer, &published, &self.unpublished, &lock(&self.knobs).clone())
    }

    async fn answer(&self, call: Call) -> Reply {
        let answer = match call.path.as_str() {
            "/certs" => BufferedResponse::json_text(200, self.key_set()),
            "/.well-known/openid-configuration" => BufferedResponse::json(&json!({
                "claims_supported": ["is-debuggable", "sgx-mrsigner", "sgx-mrenclave", "product-id", "svn", "tee"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "issuer": self.issuer,
                "jwks_uri": format!("{}/certs", self.issuer),
                "response_types_supported": ["token", "none"],
                "revocation_endpoint": format!("{}/revoke", self.issuer),
            })),
            _ => BufferedResponse::not_found(),
        };
        self.faults.reply(&call.path, answer).await
    }
}

/// The key in use, held while it signs: a rotation may happen at the same time.
pub(crate) struct SigningKeyInUse(Arc<MaaKey>);

impl std::ops::Deref for SigningKeyInUse {
    type Target = RsaSigningKey;

    fn deref(&self) -> &RsaSigningKey {
        &self.0.signing
    }
}

fn handler(state: &Arc<MaaState>) -> Handler {
    let state = Arc::clone(state);
    of_whole_requests(move |call| {
        let state = Arc::clone(&state);
        async move { state.answer(call).await }
    })
}
