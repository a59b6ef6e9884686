//! An application and its agent in one emulated guest.

pub(crate) mod agent;
pub(crate) mod application;
pub(crate) mod bound_form;
pub(crate) mod builder;
mod messages;
mod ports;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;

use crate::azure_vm::AkAnchors;
use crate::emulator::amd::pem;
use crate::emulator::clock::EmulatedClock;
use crate::emulator::guest::Guest;
use crate::emulator::guest::azure_vm::{AzureVmGuest, VirtualTpm};
use crate::emulator::guest::platform::Platform;
use crate::emulator::keys::random;
use crate::emulator::knob::Knob;
use crate::emulator::maa::Maa;
use crate::emulator::network::fault::{Fault, Faults};
use crate::emulator::network::server::{Cuts, Protocols, Server};
use crate::emulator::network::tls::{CertificateAuthority, TlsKey, TlsVersions};
use crate::emulator::network::traffic::Traffic;
use crate::emulator::{lock, origin};
use crate::types::{HostData, MaaIssuer, Measurement, ReportId, Sha256Digest, SpkiDigest, UnixTime};
use agent::Agent;
use application::GuestApplication;
use builder::{AgentLocation, BlindBoxBuilder, Transport};
use messages::Messages;
use ports::{Port, handler};

/// A running BlindBox; everything it started stops when it is dropped.
///
/// Its application, unless it is given another ([`BlindBoxBuilder::application`]), serves `GET /`, `/echo`, `POST /generate`,
/// `/headers`, `/redirect?to=`, `/slow?ms=` and `/large?bytes=`. Its agent serves `GET /status`, `POST /attest/maa` and
/// `/attest/combined`, in a confidential VM `/attest/azure-vm` in place of the latter, and in the legacy form `/attest/raw`.
/// Sealed messages to it (`POST /attest/message`) are opened, and their requests served like any other.
pub struct BlindBox {
    settings: BlindBoxBuilder,
    authority: CertificateAuthority,
    agent: Arc<Agent>,
    /// The application's TLS key now.
    key: Mutex<TlsKey>,
    faults: Arc<Faults>,
    application: Server,
    separate_agent: Option<Server>,
    traffic: Traffic,
    agent_traffic: Traffic,
}

/// What happens to connections that are open when a key changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenConnections {
    /// They stay, under the key they were opened with.
    Keep,
    /// They are cut.
    Drop,
}

impl BlindBox {
    /// A BlindBox that an MAA instance attests. Unless changed it is a confidential container with a compliant utility
    /// VM and a bound agent on the application's origin, over TLS 1.3, HTTP/2 or HTTP/1.1, with a P-256 key of its own.
    #[must_use]
    pub fn builder(maa: &Maa) -> BlindBoxBuilder {
        BlindBoxBuilder::new(maa)
    }

    /// The application's address: `https://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(self.address())
    }

    /// The agent's address, which is the application's unless it listens on a port of its own.
    #[must_use]
    pub fn agent_url(&self) -> String {
        self.url_of(self.separate_agent.as_ref().map_or(self.address(), Server::address))
    }

    /// The application's socket address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.application.address()
    }

    /// The issuer of the tokens: what a policy names.
    #[must_use]
    pub fn maa_issuer(&self) -> MaaIssuer {
        self.settings.maa.issuer()
    }

    /// `x-ms-policy-hash` of the tokens: a policy pins it for an issuer that is not one of Azure's shared ones.
    #[must_use]
    pub fn maa_policy_hash(&self) -> Sha256Digest {
        Maa::policy_hash(lock(&self.agent.guest).shape)
    }

    /// The authority behind the application's certificate.
    #[must_use]
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// The root for the application's server name.
    #[must_use]
    pub fn tls_root_pem(&self) -> String {
        self.authority.root_pem()
    }

    /// As [`Self::tls_root_pem`], in DER.
    #[must_use]
    pub fn tls_root_der(&self) -> &[u8] {
        self.authority.root_der()
    }

    /// The CCE policy as a client is given it: base64.
    #[must_use]
    pub fn cce_policy(&self) -> String {
        STANDARD.encode(&self.settings.cce_policy)
    }

    /// The host data to expect: as started, whatever knobs say since.
    #[must_use]
    pub fn host_data(&self) -> HostData {
        lock(&self.agent.guest).snp.host_data
    }

    /// The launch measurement to expect: as started, whatever knobs say since.
    #[must_use]
    pub fn measurement(&self) -> Measurement {
        lock(&self.agent.guest).measurement()
    }

    /// The security version of the utility VM as started; none in a confidential VM.
    #[must_use]
    pub fn uvm_svn(&self) -> Option<u64> {
        lock(&self.agent.guest).uvm.as_ref().map(|uvm| uvm.svn)
    }

    /// Who endorses the utility VM, as started; none in a confidential VM.
    #[must_use]
    pub fn uvm_issuer(&self) -> Option<String> {
        lock(&self.agent.guest).uvm.as_ref().map(|uvm| uvm.issuer.clone())
    }

    /// The machine that the guest runs on, where one was given.
    #[must_use]
    pub fn platform(&self) -> Option<&Platform> {
        self.settings.platform.as_ref()
    }

    /// The virtual TPM of a confidential VM.
    #[must_use]
    pub fn virtual_tpm(&self) -> Option<&VirtualTpm> {
        self.agent.azure_vm.as_ref().map(AzureVmGuest::tpm)
    }

    /// The root that certified the attestation key of a confidential VM: what a verifier is given in place of Azure's.
    #[must_use]
    pub fn ak_anchors(&self) -> Option<AkAnchors> {
        self.agent.azure_vm.as_ref().map(|vm| vm.authority().anchors())
    }

    /// As [`Self::ak_anchors`], in PEM. For verifiers in other processes.
    #[must_use]
    pub fn ak_root_pem(&self) -> Option<String> {
        self.agent.azure_vm.as_ref().map(|vm| pem(vm.authority().root()))
    }

    /// The guest as started, before knobs.
    #[must_use]
    pub fn guest(&self) -> Guest {
        lock(&self.agent.guest).clone()
    }

    /// SHA-256 of the application's TLS key now.
    #[must_use]
    pub fn tls_key(&self) -> SpkiDigest {
        *lock(&self.agent.key)
    }

    /// The application's TLS key now, as an attacker has it who stole it: for [`crate::emulator::RelayBuilder::stolen_key`].
    #[must_use]
    pub fn steal_tls_key(&self) -> TlsKey {
        lock(&self.key).clone()
    }

    /// The clock that times tokens and certificates.
    #[must_use]
    pub fn clock(&self) -> &EmulatedClock {
        self.settings.maa.clock()
    }

    /// Changes something; see [`Knob`].
    pub fn set(&self, knob: Knob) {
        lock(&self.agent.knobs).push(knob);
    }

    /// Takes back every knob, those of the builder too, and ends every fault and substitution.
    pub fn reset(&self) {
        lock(&self.agent.knobs).clear();
        *lock(&self.agent.substitute) = None;
        self.faults.recover();
    }

    /// Another guest from now on, on the same machine, as if the service had been deployed again.
    pub fn set_guest(&self, mut guest: Guest) {
        if let Some(platform) = &self.settings.platform {
            platform.place(&mut guest);
        }
        *lock(&self.agent.guest) = guest;
    }

    /// Lets a further MAA instance attest this guest, for callers that ask for it.
    pub fn add_maa(&self, maa: &Maa) {
        lock(&self.agent.maas).push(Arc::clone(maa.state()));
    }

    /// Gets every token from this instance from now on, whichever one the caller asks for.
    pub fn attest_with(&self, maa: &Maa) {
        *lock(&self.agent.substitute) = Some(Arc::clone(maa.state()));
    }

    /// Responds to every request whose path begins so with a fault, until [`Self::recover`]: `/attest/`, `/echo`, `/`.
    pub fn fail(&self, path: &str, fault: Fault) {
        self.faults.schedule(path, fault, None);
    }

    /// Responds to the next so many requests whose path begins so with a fault.
    pub fn fail_times(&self, path: &str, times: u32, fault: Fault) {
        self.faults.schedule(path, fault, Some(times));
    }

    /// Ends every fault. Knobs stay.
    pub fn recover(&self) {
        self.faults.recover();
    }

    /// Uses a new TLS key, attested like the first, for later connections.
    pub fn rotate_tls_key(&self, open: OpenConnections) {
        let identity = self.settings.identity(&self.authority);
        *lock(&self.agent.key) = identity.spki_digest();
        *lock(&self.key) = identity.key().clone();
        if self.settings.transport != Transport::PlainHttp {
            self.servers().for_each(|server| server.set_identity(&identity));
        }
        if open == OpenConnections::Drop {
            self.servers().for_each(Server::cut_connections);
        }
    }

    /// Cuts every open connection: when it returns, all of them have ended, and nothing more is read from them.
    pub async fn drop_connections(&self) {
        for server in self.servers() {
            server.drop_connections().await;
        }
    }

    /// How often its servers have cut their connections.
    pub(crate) fn cuts(&self) -> Vec<Cuts> {
        self.servers().map(Server::cuts).collect()
    }

    /// Stops listening and cuts every connection: clients are refused until [`Self::restart`].
    pub async fn stop(&self) {
        for server in self.servers() {
            server.stop_listening().await;
        }
    }

    /// Restarts the guest on the same port: another TLS key, another report id, no connection and no message key left.
    ///
    /// # Errors
    ///
    /// If the port was taken by another process.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await;
        self.agent.messages.restart();
        lock(&self.agent.guest).snp.report_id = ReportId::new(random());
        self.rotate_tls_key(OpenConnections::Keep);
        for server in self.servers() {
            server.listen_again().await?;
        }
        Ok(())
    }

    /// What reached the application's port.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What reached the agent: the same record unless it listens on a port of its own.
    #[must_use]
    pub fn agent_traffic(&self) -> &Traffic {
        &self.agent_traffic
    }

    /// The time by the clock of tokens and certificates.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.clock().now()
    }

    pub(crate) async fn start(mut settings: BlindBoxBuilder) -> io::Result<Self> {
        if !settings.ip.is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it listens on loopback only"));
        }
        if let Some(platform) = &settings.platform {
            platform.place(&mut settings.guest);
        }
        let authority = settings.authority.clone();
        let authority = authority.unwrap_or_else(|| CertificateAuthority::new("Emulated Web PKI of BlindBoxes"));
        let identity = settings.identity(&authority);
        let agent = Arc::new(Agent {
            form: settings.form,
            guest: Mutex::new(settings.guest.clone()),
            knobs: Mutex::new(settings.knobs.clone()),
            maas: Mutex::new(vec![Arc::clone(&settings.maa)]),
            substitute: Mutex::new(None),
            key: Mutex::new(identity.spki_digest()),
            report_source: settings.report_source.clone(),
            azure_vm: (settings.guest.is_azure_vm() && settings.report_source.is_some()).then(|| {
                let tpm = settings.virtual_tpm.clone();
                AzureVmGuest::new(tpm.unwrap_or_else(|| Arc::new(VirtualTpm::new())))
            }),
            first_answers: Mutex::new(BTreeMap::new()),
            messages: Messages::new(settings.message_kem, settings.message_keys, settings.maa.clock()),
        });
        let faults = Arc::<Faults>::default();
        let tls = if settings.transport == Transport::Tls12 { TlsVersions::Tls12 } else { TlsVersions::Tls13 };
        let protocols = Protocols { http: settings.http, tls, key_exchange: settings.key_exchange };
        let shown = (settings.transport != Transport::PlainHttp).then_some(&identity);
        let separate = settings.place == AgentLocation::OwnPort;
        let traffic = Traffic::default();
        let guest = GuestApplication { pages: settings.pages.clone(), application: settings.application.clone() };
        let guest = Arc::new(guest);
        let serve = handler(&agent, &faults, &guest, if separate { Port::Application } else { Port::Both });
        let listener = TcpListener::bind((settings.ip, settings.ports.0)).await?;
        let application = Server::serve(listener, shown, protocols, traffic.clone(), serve)?;
        let (mut separate_agent, mut agent_traffic) = (None, traffic.clone());
        if separate {
            agent_traffic = Traffic::default();
            let serve = handler(&agent, &faults, &guest, Port::Agent);
            let listener = TcpListener::bind((settings.ip, settings.ports.1)).await?;
            separate_agent = Some(Server::serve(listener, shown, protocols, agent_traffic.clone(), serve)?);
        }
        let key = Mutex::new(identity.key().clone());
        Ok(Self { settings, authority, agent, key, faults, application, separate_agent, traffic, agent_traffic })
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.application).chain(&self.separate_agent)
    }

    /// The URLs of the application and of the agent by their addresses: no server of names knows the host of [`BlindBox::url`].
    pub(in crate::emulator) fn urls_by_address(&self) -> [String; 2] {
        let agent = self.separate_agent.as_ref().map_or(self.address(), Server::address);
        [self.address(), agent].map(|address| format!("{}://{address}", self.scheme()))
    }

    fn url_of(&self, address: SocketAddr) -> String {
        origin(self.scheme(), &self.settings.host, address.port())
    }

    fn scheme(&self) -> &'static str {
        if self.settings.transport == Transport::PlainHttp { "http" } else { "https" }
    }
}

impl std::fmt::Debug for BlindBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlindBox({})", self.url())
    }
}
