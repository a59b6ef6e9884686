//! The configuration: a TOML file that belongs into the measured image. There is no setting for a private key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use blindbox_attestation::agent::{KeySchedule, MessageKem};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::azure_vm::AzureVmConfig;
use crate::cors::Origin;
use crate::headers::PassedHeader;

/// The configuration of the agent. Unknown members are refused: a misspelt limit must not be no limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where everything goes that is not the agent's.
    pub application: Application,
    /// DNS names and IP addresses for the certificate, and for nothing else.
    pub names: Vec<String>,
    /// The MAA instances that tokens may be requested from. A caller who could name another would have the agent connect anywhere,
    /// and evidence judged by an instance whose policy they wrote.
    #[serde(default)]
    pub maa: Vec<MaaHost>,
    /// Roots for the servers of MAA, in PEM; Mozilla's unless set.
    #[serde(default)]
    pub maa_roots: Option<PathBuf>,
    /// Reports from Microsoft's sidecar instead of the guest device. Weaker: see the README.
    #[serde(default)]
    pub sidecar: Option<Loopback>,
    /// Evidence of an Azure confidential VM, by its virtual TPM, instead of the guest device.
    #[serde(default)]
    pub azure_vm: Option<AzureVmConfig>,
    /// The directory of the security context; found by itself unless set.
    #[serde(default)]
    pub security_context: Option<PathBuf>,
    /// Headers of callers that reach the application although they are withheld otherwise: those with an underscore, and those
    /// that only an intermediary should set (see the README). For an application that is written for them.
    #[serde(default)]
    pub pass_headers: Vec<PassedHeader>,
    /// The TLS key's lifetime and certificate.
    #[serde(default)]
    pub key: KeyConfig,
    /// Sealed messages, for an agent behind a front end that ends TLS. Without the table there are none.
    #[serde(default)]
    pub message: Option<MessageConfig>,
    /// Bounds on work.
    #[serde(default)]
    pub limits: Limits,
}

/// Sealed messages (`blindbox-bound-message/1`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MessageConfig {
    /// Whether the application gets sealed messages alone. Behind a front end anything else is a way for the front end to the
    /// application.
    pub only: bool,
    /// How keys are agreed on.
    pub kem: MessageKemName,
    /// How long attestations name a key.
    pub lifetime_seconds: u64,
    /// How long after that requests to it are opened. Then it is erased.
    pub kept_seconds: u64,
    /// The web pages that may use the agent from a browser, by their origins.
    pub origins: Vec<Origin>,
}

impl Default for MessageConfig {
    fn default() -> Self {
        let hour = 60 * 60;
        Self { only: true, kem: MessageKemName::XWing, lifetime_seconds: hour, kept_seconds: hour, origins: Vec::new() }
    }
}

/// The name of a key encapsulation mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageKemName {
    /// ML-KEM-768 with X25519.
    XWing,
    /// For clients without ML-KEM.
    X25519,
}

impl From<MessageKemName> for MessageKem {
    fn from(name: MessageKemName) -> Self {
        match name {
            MessageKemName::XWing => Self::XWing,
            MessageKemName::X25519 => Self::X25519,
        }
    }
}

/// The sessions that a message key has at most, one for each attestation.
const MAX_SESSIONS: f64 = 65_536.0;

/// The lifetime of a TLS key, and how a certificate for it gets in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct KeyConfig {
    /// No key serves longer than this. Unless set: 1 hour, or 24 hours with `certificate_file`, since certificate authorities
    /// limit how often they issue.
    pub lifetime_seconds: Option<u64>,
    /// Where the certificate signing request of the newest key is written.
    pub csr_file: Option<PathBuf>,
    /// Where the certificate chain for it is looked for. Until one is there the certificate is self-signed.
    pub certificate_file: Option<PathBuf>,
}

impl KeyConfig {
    /// How long a key serves.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        let hour = 60 * 60;
        let default = if self.certificate_file.is_some() { 24 * hour } else { hour };
        Duration::from_secs(self.lifetime_seconds.unwrap_or(default))
    }
}

/// Bounds on work, each against a caller who sends requests without end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Attestations per second over time: each costs a report of the firmware, which serves one at a time and throttles,
    /// and a call to MAA. A fraction is possible.
    pub attestations_per_second: f64,
    /// Attestations at once after a quiet time: a client that opens several connections.
    pub attestation_burst: u32,
    /// Attestations under way at a time.
    pub attestations_in_flight: u32,
    /// How much of these three one address may use (of IPv6 one /64), against a caller who uses up what is there for all. Where
    /// callers come through something that hides their addresses, set these to the common limits.
    pub attestations_per_second_per_address: f64,
    /// See `attestations_per_second_per_address`.
    pub attestation_burst_per_address: u32,
    /// See `attestations_per_second_per_address`.
    pub attestations_in_flight_per_address: u32,
    /// Open connections: file descriptors and memory. When all are taken, the one that has been idle for the longest time is closed for a
    /// new one.
    pub connections: u32,
    /// Of those, how many one address may have (of IPv6 one /64): against a caller who takes every place. Where callers come
    /// through something that hides their addresses this is a bound for all of them.
    pub connections_per_address: u32,
    /// Requests to the application under way at a time: each has a connection to it.
    pub requests_in_flight: u32,
    /// Of those, how many one address may have (of IPv6 one /64): against a caller who takes every place by requests that never end. Unless
    /// set: 512, or with `[message]` as many as there are, since behind a front end all callers have one address.
    pub requests_in_flight_per_address: Option<u32>,
    /// Sealed requests of one address (of IPv6 one /64) whose head is being received and opened: against a caller who takes all places,
    /// which are as many as `requests_in_flight`. Behind a front end this is a bound for all callers together, so that it is no less unless set.
    pub openings_per_address: u32,
    /// Bytes of a request's body to the application.
    pub body_bytes: u64,
    /// Seconds of silence within a request, within a response, of a caller who does not take a response, or between requests.
    pub idle_seconds: u64,
    /// Seconds until a connection is asked to end, so that none holds a place for ever.
    pub connection_seconds: u64,
    /// Seconds that a TLS handshake may take.
    pub handshake_seconds: u64,
    /// Seconds in which the body of an attestation request, or the head of a sealed request, must arrive. Then `idle_seconds` counts.
    pub attestation_request_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attestations_per_second: 5.0,
            attestation_burst: 40,
            attestations_in_flight: 8,
            attestations_per_second_per_address: 2.0,
            attestation_burst_per_address: 20,
            attestations_in_flight_per_address: 4,
            connections: 1024,
            connections_per_address: 256,
            requests_in_flight: 2048,
            requests_in_flight_per_address: None,
            // As many as there are: behind a front end, where messages usually come from, all callers have one address.
            openings_per_address: 2048,
            body_bytes: 16 * 1024 * 1024,
            idle_seconds: 60,
            connection_seconds: 60 * 60,
            handshake_seconds: 10,
            attestation_request_seconds: 10,
        }
    }
}

/// Where the application listens: not reachable from outside, so that there is no way around the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Application {
    /// `http://127.0.0.1:8000`.
    Tcp(SocketAddr),
    /// `unix:/run/application.sock`.
    Unix(PathBuf),
}

/// `http://` and a loopback address with a port. A name could come to mean another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback(pub SocketAddr);

/// The authority of an MAA instance, such as `sharedneu.neu.attest.azure.net`: no scheme, path or user part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaaHost(String);

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// The file cannot be read.
    #[error("the configuration cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is not TOML with the members that the agent knows.
    #[error("the configuration is not understood: {0}")]
    Malformed(#[from] toml::de::Error),
    /// A value makes no sense.
    #[error("{0}")]
    Value(&'static str),
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, InvalidConfig> {
        Self::from_toml(&std::fs::read_to_string(path)?)
    }

    /// Reads a text.
    pub fn from_toml(text: &str) -> Result<Self, InvalidConfig> {
        let config: Self = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// Whether the values make sense together.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let Limits { attestation_burst, attestations_in_flight, connections, .. } = self.limits;
        let rates = [self.limits.attestations_per_second, self.limits.attestations_per_second_per_address];
        let attestations_per_address =
            [self.limits.attestation_burst_per_address, self.limits.attestations_in_flight_per_address];
        let Limits { connections_per_address, requests_in_flight, openings_per_address, .. } = self.limits;
        let seconds = [
            self.limits.idle_seconds,
            self.limits.connection_seconds,
            self.limits.handshake_seconds,
            self.limits.attestation_request_seconds,
        ];
        let month = 30 * 24 * 60 * 60;
        let reason = if self.names.is_empty() {
            "names is empty: a certificate needs at least one name or address"
        } else if !(1..=month).contains(&self.key.lifetime().as_secs()) {
            "key.lifetime-seconds must be between 1 and 30 days: keys are made to be short-lived"
        } else if self.key.certificate_file.is_some() && self.key.csr_file.is_none() {
            "key.certificate-file without key.csr-file: a certificate can only be for a key that is made here"
        } else if self.key.certificate_file.is_some() && self.key.certificate_file == self.key.csr_file {
            "key.csr-file is key.certificate-file: one would be written over the other"
        } else if [attestation_burst, attestations_in_flight].contains(&0)
            || attestations_per_address.contains(&0)
            || [connections, connections_per_address, requests_in_flight, openings_per_address].contains(&0)
            || self.limits.requests_in_flight_per_address == Some(0)
            || self.limits.body_bytes == 0
            || seconds.contains(&0)
            || rates.contains(&0.0)
        {
            "a limit is 0: write a bound, there is no value for none"
        } else if !rates.iter().all(|rate| rate.is_finite() && *rate > 0.0) {
            "a rate of attestations must be a positive number"
        } else if seconds.iter().any(|limit| *limit > month) {
            "a limit in seconds is more than 30 days"
        } else if self.sidecar.is_some_and(|sidecar| self.application == Application::Tcp(sidecar.0)) {
            "the application's address is the sidecar's: callers would reach what attests any data"
        } else if self.azure_vm.is_some() && (self.sidecar.is_some() || self.security_context.is_some()) {
            "azure-vm is for a confidential VM, sidecar and security-context for a confidential container: drop one of them"
        } else if self.azure_vm.is_some() && self.message.is_some() {
            "message is for a confidential container: no policy of a client accepts a message key of a confidential VM, since the VM could \
             be the front end's own; drop azure-vm or message"
        } else if self.fetches_from_application() {
            "azure-vm.ak-issuer-hosts has the application's address: the host of the VM could send requests to it"
        } else if self.message.as_ref().is_some_and(|message| !message.lifetimes_are_short()) {
            "message.lifetime-seconds and message.kept-seconds must be between 1 and 86400: there is no forward secrecy"
        } else if self.message.as_ref().is_some_and(|message| !message.schedule().keeps_every_key()) {
            "message.kept-seconds is more than 7 times message.lifetime-seconds: an agent has 8 keys at most, so that keys would end earlier"
        } else if self.message.as_ref().is_some_and(|message| message.sessions(&self.limits) > MAX_SESSIONS) {
            "limits.attestations-per-second is too high for message.lifetime-seconds: a key has 65536 sessions at most"
        } else {
            return Ok(());
        };
        Err(InvalidConfig::Value(reason))
    }

    /// How many requests to the application one address may have under way.
    pub(crate) fn requests_in_flight_per_address(&self) -> u32 {
        let Limits { requests_in_flight, requests_in_flight_per_address, .. } = self.limits;
        let default = if self.message.is_some() { requests_in_flight } else { 512 };
        requests_in_flight_per_address.unwrap_or(default)
    }

    fn fetches_from_application(&self) -> bool {
        match (&self.azure_vm, &self.application) {
            (Some(vm), Application::Tcp(address)) => vm.ak_issuer_hosts.has_address(*address),
            _ => false,
        }
    }
}

impl MessageConfig {
    pub(crate) fn schedule(&self) -> KeySchedule {
        let [lifetime, kept] = [self.lifetime_seconds, self.kept_seconds].map(Duration::from_secs);
        KeySchedule { lifetime, kept }
    }

    fn lifetimes_are_short(&self) -> bool {
        let day = 24 * 60 * 60;
        [self.lifetime_seconds, self.kept_seconds].iter().all(|seconds| (1..=day).contains(seconds))
    }

    /// How many attestations can name one key. Were there more than it has sessions, a caller could end those of others.
    fn sessions(&self, limits: &Limits) -> f64 {
        let seconds = u32::try_from(self.lifetime_seconds).map_or(f64::MAX, f64::from);
        limits.attestations_per_second.mul_add(seconds, f64::from(limits.attestation_burst))
    }
}

impl MaaHost {
    /// The host with its port if it has one, as callers write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.split_once(':').map_or(&self.0, |(host, _)| host)
    }

    /// The port, 443 unless written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.split_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(443)
    }
}

impl FromStr for MaaHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        let named = !host.is_empty() && host.len() <= 253 && host.bytes().all(plain);
        let numbered = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
        if named && numbered && !host.starts_with('.') && !host.ends_with('.') && !host.contains("..") {
            return Ok(Self(text.to_owned()));
        }
        Err("an MAA host is written as sharedneu.neu.attest.azure.net: no scheme, path, user or wildcard")
    }
}

impl FromStr for Loopback {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.strip_prefix("http://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        match address.and_then(|address| address.parse::<SocketAddr>().ok()) {
            Some(address) if address.ip().is_loopback() && address.port() != 0 => Ok(Self(address)),
            _ => Err("an address here is written as http://127.0.0.1:8000: a loopback address with its port, no name"),
        }
    }
}

impl FromStr for Application {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err("the path of a Unix socket begins with /"),
            None => text.parse().map(|Loopback(address)| Self::Tcp(address)),
        }
    }
}

/// `Deserialize` through `FromStr`.
macro_rules! from_text {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

from_text!(Application Loopback MaaHost Origin PassedHeader);
