//! Settings of a BlindBox.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::agent::{AgentForm, ReportSource};
use super::application::{Application, Pages};
use crate::agent::{KeySchedule, MessageKem};
use crate::emulator::blindbox::BlindBox;
use crate::emulator::guest::azure_vm::VirtualTpm;
use crate::emulator::guest::platform::Platform;
use crate::emulator::guest::{CCE_POLICY, Guest};
use crate::emulator::keys::sha256;
use crate::emulator::knob::Knob;
use crate::emulator::maa::{Maa, MaaState};
use crate::emulator::network::server::HttpVersions;
use crate::emulator::network::tls::{
    CertificateAuthority, CertificateRequest, KeyExchange, KeyKind, TlsIdentity, TlsKey,
};
use crate::types::HostData;

/// Settings of a BlindBox before it starts.
#[derive(Clone)]
pub struct BlindBoxBuilder {
    pub(crate) maa: Arc<MaaState>,
    pub(crate) guest: Guest,
    pub(crate) cce_policy: String,
    pub(crate) form: AgentForm,
    pub(crate) place: AgentLocation,
    pub(crate) transport: Transport,
    pub(crate) http: HttpVersions,
    pub(crate) key_exchange: KeyExchange,
    key_kind: KeyKind,
    certificate: ServerCertificate,
    pub(crate) authority: Option<CertificateAuthority>,
    pub(crate) host: String,
    names: Vec<String>,
    pub(crate) knobs: Vec<Knob>,
    pub(crate) report_source: Option<Arc<dyn ReportSource>>,
    pub(crate) platform: Option<Platform>,
    pub(crate) virtual_tpm: Option<Arc<VirtualTpm>>,
    pub(crate) pages: Pages,
    pub(crate) application: Option<Application>,
    pub(crate) ip: Ipv4Addr,
    pub(crate) ports: (u16, u16),
    pub(crate) message_kem: MessageKem,
    pub(crate) message_keys: KeySchedule,
}

/// Where the agent listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AgentLocation {
    /// On the application's origin, so that it is reached on the connection it is asked about.
    #[default]
    ApplicationOrigin,
    /// On a port of its own with the application's scheme and TLS key, as BlindBox was first released.
    OwnPort,
}

/// How the application is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transport {
    /// TLS 1.3.
    #[default]
    Tls13,
    /// TLS 1.2 only.
    Tls12,
    /// HTTP without TLS.
    PlainHttp,
}

/// The certificate over the application's TLS key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ServerCertificate {
    /// Issued by [`BlindBox::authority`] for the names it is reached by.
    #[default]
    Issued,
    /// Signed by the key itself.
    SelfSigned,
    /// Issued, but expired a day ago.
    Expired,
    /// Issued, but valid from tomorrow.
    NotYetValid,
    /// Issued for `another-name.example` only.
    WrongName,
    /// Issued by an unknown authority.
    UnknownAuthority,
}

impl BlindBoxBuilder {
    pub(crate) fn new(maa: &Maa) -> Self {
        Self {
            maa: Arc::clone(maa.state()),
            guest: Guest::container(),
            cce_policy: CCE_POLICY.to_owned(),
            form: AgentForm::default(),
            place: AgentLocation::default(),
            transport: Transport::default(),
            http: HttpVersions::default(),
            key_exchange: KeyExchange::default(),
            key_kind: KeyKind::default(),
            certificate: ServerCertificate::default(),
            authority: None,
            host: "127.0.0.1".to_owned(),
            names: Vec::new(),
            knobs: Vec::new(),
            report_source: None,
            platform: None,
            virtual_tpm: None,
            pages: Pages::default(),
            application: None,
            ip: Ipv4Addr::LOCALHOST,
            ports: (0, 0),
            message_kem: MessageKem::default(),
            message_keys: KeySchedule::default(),
        }
    }

    /// The guest; [`Guest::container`] unless set.
    #[must_use]
    pub fn guest(mut self, guest: Guest) -> Self {
        self.guest = guest;
        self
    }

    /// A confidential container under this CCE policy (before base64), whose digest becomes the host data.
    #[must_use]
    pub fn cce_policy(mut self, policy: &str) -> Self {
        policy.clone_into(&mut self.cce_policy);
        self.guest.snp.host_data = HostData::new(sha256(policy.as_bytes()));
        self
    }

    /// Which requests the agent takes.
    #[must_use]
    pub fn agent(mut self, form: AgentForm) -> Self {
        self.form = form;
        self
    }

    /// Where the agent listens.
    #[must_use]
    pub fn agent_place(mut self, place: AgentLocation) -> Self {
        self.place = place;
        self
    }

    /// How application and agent are reached.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Which versions of HTTP application and agent speak.
    #[must_use]
    pub fn http(mut self, versions: HttpVersions) -> Self {
        self.http = versions;
        self
    }

    /// Which key exchange groups application and agent take; [`KeyExchange::Any`] unless set.
    #[must_use]
    pub fn key_exchange(mut self, groups: KeyExchange) -> Self {
        self.key_exchange = groups;
        self
    }

    /// How message keys are agreed on; X-Wing unless set.
    #[must_use]
    pub fn message_kem(mut self, kem: MessageKem) -> Self {
        self.message_kem = kem;
        self
    }

    /// How long message keys are used, by the clock of the MAA instance ([`BlindBox::clock`]): an hour, and kept for another, unless set.
    #[must_use]
    pub fn message_keys(mut self, schedule: KeySchedule) -> Self {
        self.message_keys = schedule;
        self
    }

    /// The kind of TLS key.
    #[must_use]
    pub fn key_kind(mut self, kind: KeyKind) -> Self {
        self.key_kind = kind;
        self
    }

    /// The certificate over the TLS key.
    #[must_use]
    pub fn certificate(mut self, certificate: ServerCertificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// The authority that issues certificates; one of its own unless set. Replicas share one.
    #[must_use]
    pub fn authority(mut self, authority: &CertificateAuthority) -> Self {
        self.authority = Some(authority.clone());
        self
    }

    /// The host in [`BlindBox::url`]: `127.0.0.1` unless set; `localhost` is another that works on loopback.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The address to listen on, which also becomes the host: `127.0.0.1` unless set; any of `127.0.0.0/8`.
    #[must_use]
    pub fn ip(mut self, ip: Ipv4Addr) -> Self {
        self.ip = ip;
        self.host = ip.to_string();
        self
    }

    /// The application's port; chosen by the system unless set.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.ports.0 = port;
        self
    }

    /// The agent's port where it has one of its own ([`AgentLocation::OwnPort`]), such as 8080; chosen by the system unless set.
    #[must_use]
    pub fn agent_port(mut self, port: u16) -> Self {
        self.ports.1 = port;
        self
    }

    /// A further name in the certificate, which has `127.0.0.1`, `localhost` and the host anyway.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// A change from the start; may be called again.
    #[must_use]
    pub fn knob(mut self, knob: Knob) -> Self {
        self.knobs.push(knob);
        self
    }

    /// What serves all requests that are not for the agent, in place of the emulator's own routes (see [`BlindBox`]):
    /// a server at an address, or a service in this process. Bodies of requests and responses are streamed. An application
    /// that gives no response is a response of status 502 to the client, as from a gateway.
    ///
    /// A [`Fault`](super::Fault) that changes the response reads all of it first.
    #[must_use]
    pub fn application(mut self, application: Application) -> Self {
        self.application = Some(application);
        self
    }

    /// A fixed response of the application to any method on a path, before its own routes.
    #[must_use]
    pub fn page(mut self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.pages.insert(path.to_owned(), (content_type.to_owned(), body.into()));
        self
    }

    /// The machine that the guest runs on, with which the agent has hardware reports. Chip, processor family, TCB and the
    /// issuer of the utility VM's endorsement become the machine's, whatever the guest said of them.
    #[must_use]
    pub fn platform(mut self, platform: &Platform) -> Self {
        self.report_source = Some(Arc::new(platform.clone()));
        self.platform = Some(platform.clone());
        self
    }

    /// The virtual TPM of a confidential VM; a new one unless set. With a [`Platform`] the agent serves `/attest/azure-vm`.
    #[must_use]
    pub fn virtual_tpm(mut self, tpm: &Arc<VirtualTpm>) -> Self {
        self.virtual_tpm = Some(Arc::clone(tpm));
        self
    }

    /// Another source of hardware reports than a [`Platform`].
    #[must_use]
    pub fn report_source(mut self, source: Arc<dyn ReportSource>) -> Self {
        self.report_source = Some(source);
        self
    }

    /// Starts application and agent.
    ///
    /// # Errors
    ///
    /// When the port cannot be had, or the address is not on loopback.
    pub async fn start(self) -> io::Result<BlindBox> {
        BlindBox::start(self).await
    }

    pub(crate) fn identity(&self, authority: &CertificateAuthority) -> TlsIdentity {
        const DAY: u64 = 24 * 60 * 60;
        let now = self.maa.clock().now();
        let key = TlsKey::generate(self.key_kind);
        let mut names = vec!["127.0.0.1".to_owned(), "localhost".to_owned(), self.host.clone()];
        names.extend(self.names.iter().cloned());
        let request = CertificateRequest::new(names, now);
        match self.certificate {
            ServerCertificate::Issued => authority.issue(&key, &request),
            ServerCertificate::SelfSigned => key.self_signed(&request),
            ServerCertificate::Expired => authority.issue(&key, &request.valid(now.minus(30 * DAY), now.minus(DAY))),
            ServerCertificate::NotYetValid => authority.issue(&key, &request.valid(now.plus(DAY), now.plus(30 * DAY))),
            ServerCertificate::WrongName => {
                authority.issue(&key, &CertificateRequest::new(["another-name.example"], now))
            }
            ServerCertificate::UnknownAuthority => CertificateAuthority::new("Unknown authority").issue(&key, &request),
        }
    }
}

impl std::fmt::Debug for BlindBoxBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlindBoxBuilder").field("form", &self.form).field("place", &self.place).finish_non_exhaustive()
    }
}
