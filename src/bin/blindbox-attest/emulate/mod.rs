//! `emulate`: a BlindBox, an MAA and an AMD on loopback for tests in any language.

mod faults;
mod knobs;
mod orders;

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blindbox_attestation::emulator::{
    AgentForm, AgentPlace, BlindBox, BlindBoxBuilder, Guest, HttpVersions, Kds, Maa, Platform, Relay, RelayMode,
    ServerCertificate, Transport,
};
use blindbox_attestation::{
    AttestationError, Binding, GuestIdentity, InvalidPolicy, Policy, Product, Trust, UvmSvn, Workload,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::files;
use crate::outcome::{Failure, print};
use crate::terminal::with_progress;
use faults::FaultAt;
use knobs::Change;

#[derive(Args)]
#[command(after_help = "See --help for every knob and fault.", after_long_help = long_help())]
pub struct Arguments {
    /// The kind of guest.
    #[arg(long, value_enum, default_value = "container", help_heading = "Guest")]
    guest: GuestKind,

    /// The CCE policy of the container (base64 or Rego text), whose digest becomes the host data.
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    cce_policy: Option<PathBuf>,

    /// The processor under the guest: adds hardware reports and a KDS.
    #[arg(long, value_enum, help_heading = "Guest")]
    product: Option<ProductArgument>,

    /// Reports are signed by a VLEK instead of the chip's VCEK.
    #[arg(long, requires = "product", help_heading = "Guest")]
    vlek: bool,

    /// Who judges in the policy that is printed; `amd` and `both` need --product, with which `both` is the default.
    #[arg(long, value_enum, help_heading = "Guest")]
    trust: Option<TrustArgument>,

    /// Which requests the agent takes. `legacy` is BlindBox as first released: on a port of its own, attesting what it is sent.
    #[arg(long, value_enum, default_value = "bound", help_heading = "Agent and application")]
    agent: AgentArgument,

    /// Where the agent listens; a legacy agent has a port of its own unless this says otherwise.
    #[arg(long, value_enum, help_heading = "Agent and application")]
    agent_place: Option<PlaceArgument>,

    /// The address to listen on, within 127.0.0.0/8.
    #[arg(long, default_value = "127.0.0.1", value_name = "IP", help_heading = "Agent and application")]
    ip: Ipv4Addr,

    /// The application's port; 0 lets the system choose.
    #[arg(long, default_value = "0", help_heading = "Agent and application")]
    port: u16,

    /// The agent's port where it has one of its own, such as 8080; 0 lets the system choose.
    #[arg(long, default_value = "0", value_name = "PORT", help_heading = "Agent and application")]
    agent_port: u16,

    /// How application and agent are reached.
    #[arg(long, value_enum, default_value = "tls13", help_heading = "Agent and application")]
    transport: TransportArgument,

    /// Which versions of HTTP they speak.
    #[arg(long, value_enum, default_value = "both", help_heading = "Agent and application")]
    http: HttpArgument,

    /// The certificate over the TLS key.
    #[arg(long, value_enum, default_value = "issued", help_heading = "Agent and application")]
    certificate: CertificateArgument,

    /// The host in the URL that is printed, in place of the address; `localhost` works on loopback.
    #[arg(long, value_name = "NAME", help_heading = "Agent and application")]
    host: Option<String>,

    /// The host in the issuer of the MAA instance.
    #[arg(long, default_value = "127.0.0.1", value_name = "NAME", help_heading = "Agent and application")]
    maa_host: String,

    /// A man in the middle, with a URL of his own in what is printed.
    #[arg(long, value_enum, value_name = "MODE", help_heading = "What goes wrong")]
    relay: Option<RelayArgument>,

    /// Changes guest, agent, token, key set, hardware evidence or KDS. May be repeated.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = knobs::parse, help_heading = "What goes wrong")]
    knob: Vec<Change>,

    /// Fails every request of application and agent whose path begins so. May be repeated.
    #[arg(long, value_name = "PATH=FAULT", value_parser = faults::parse, help_heading = "What goes wrong")]
    fail: Vec<FaultAt>,

    /// Fails requests for the key set, at /certs. May be repeated.
    #[arg(long, value_name = "PATH=FAULT", value_parser = faults::parse, help_heading = "What goes wrong")]
    fail_maa: Vec<FaultAt>,

    /// Fails requests of AMD's service. May be repeated.
    #[arg(
        long, value_name = "PATH=FAULT", value_parser = faults::parse, requires = "product",
        help_heading = "What goes wrong"
    )]
    fail_kds: Vec<FaultAt>,

    /// Also write the policy, the roots, the CCE policy and the key set as files into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Do not read orders, and go on when standard input is closed; only a signal ends it.
    #[arg(long)]
    ignore_stdin: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GuestKind {
    Container,
    Vm,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProductArgument {
    Milan,
    Genoa,
    Turin,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrustArgument {
    Maa,
    Amd,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AgentArgument {
    Bound,
    Legacy,
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
enum PlaceArgument {
    Origin,
    OwnPort,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TransportArgument {
    Tls13,
    Tls12,
    PlainHttp,
}

#[derive(Clone, Copy, ValueEnum)]
enum HttpArgument {
    Both,
    Http1,
    Http2,
}

#[derive(Clone, Copy, ValueEnum)]
enum CertificateArgument {
    Issued,
    SelfSigned,
    Expired,
    NotYetValid,
    WrongName,
    UnknownAuthority,
}

#[derive(Clone, Copy, ValueEnum)]
enum RelayArgument {
    /// Passes connections through untouched.
    Tunnel,
    /// Ends TLS with a key of his own and forwards requests for the agent.
    Forward,
    /// Has a legacy agent attest his own key in the bound form.
    AttestOwnKey,
    /// Answers with evidence that he got earlier.
    Replay,
    /// Forwards, but takes the runtime data out of answers.
    LegacyForm,
}

/// All that runs; it stops when dropped.
struct Emulation {
    maa: Maa,
    blindbox: BlindBox,
    kds: Option<Kds>,
    platform: Option<Platform>,
    relay: Option<Relay>,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let emulation = arguments.start().await?;
    let policy = arguments.policy(&emulation)?;
    if let Some(folder) = &arguments.out {
        emulation.write(folder, &policy).map_err(|error| files::about(folder, error))?;
    }
    print(&emulation.describe(&policy).to_string())?;
    let orders = if arguments.ignore_stdin { None } else { Some(orders::from_stdin()) };
    tokio::select! {
        ended = orders::obey(&emulation, orders) => ended?,
        stopped = crate::stop::asked() => stopped?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    async fn start(&self) -> Result<Emulation, Failure> {
        let starting = |error: io::Error| Failure::setting(format!("the emulator cannot start: {error}"));
        let mut maa = Maa::builder().host(&self.maa_host);
        for change in &self.knob {
            if let Change::KeySet(knob) = change {
                maa = maa.knob(knob.clone());
            }
        }
        let maa = maa.start().await.map_err(starting)?;
        for FaultAt { fault, .. } in &self.fail_maa {
            maa.fail(fault.clone());
        }
        let platform = self.platform().await?;
        let kds = match &platform {
            Some(_) => Some(self.kds().await.map_err(starting)?),
            None => None,
        };
        let blindbox = self.blindbox(&maa, platform.as_ref())?.start().await.map_err(starting)?;
        for FaultAt { path, fault } in &self.fail {
            blindbox.fail(path, fault.clone());
        }
        let relay = match self.relay {
            Some(mode) => Some(Relay::builder().mode(mode.into()).start(&blindbox).await.map_err(starting)?),
            None => None,
        };
        Ok(Emulation { maa, blindbox, kds, platform, relay })
    }

    async fn platform(&self) -> Result<Option<Platform>, Failure> {
        let product = match self.product {
            Some(ProductArgument::Milan) => Product::Milan,
            Some(ProductArgument::Genoa) => Product::Genoa,
            Some(ProductArgument::Turin) => Product::Turin,
            None => return Ok(None),
        };
        let builder = Platform::builder(product);
        let builder = if self.vlek { builder.vlek() } else { builder };
        // Three RSA keys of 4096 bits take their time.
        let making = tokio::task::spawn_blocking(move || builder.build());
        let made = with_progress("making the emulated AMD's keys", making).await;
        made.map(Some).map_err(|error| Failure::setting(format!("the emulated AMD cannot be made: {error}")))
    }

    async fn kds(&self) -> io::Result<Kds> {
        let mut builder = Kds::builder();
        for change in &self.knob {
            if let Change::Kds(knob) = change {
                builder = builder.knob(knob.clone());
            }
        }
        let kds = builder.start().await?;
        for FaultAt { path, fault } in &self.fail_kds {
            kds.fail(path, fault.clone());
        }
        Ok(kds)
    }

    fn blindbox(&self, maa: &Maa, platform: Option<&Platform>) -> Result<BlindBoxBuilder, Failure> {
        let legacy = self.agent == AgentArgument::Legacy;
        let own_port = match self.agent_place {
            Some(PlaceArgument::Origin) => false,
            Some(PlaceArgument::OwnPort) => true,
            None => legacy || self.agent_port != 0,
        };
        let mut builder = BlindBox::builder(maa)
            .agent(match self.agent {
                AgentArgument::Bound => AgentForm::Bound,
                AgentArgument::Legacy => AgentForm::Legacy,
                AgentArgument::Both => AgentForm::Both,
            })
            .agent_place(if own_port { AgentPlace::OwnPort } else { AgentPlace::ApplicationOrigin })
            .ip(self.ip)
            .port(self.port)
            .agent_port(self.agent_port)
            .transport(match self.transport {
                TransportArgument::Tls13 => Transport::Tls13,
                TransportArgument::Tls12 => Transport::Tls12,
                TransportArgument::PlainHttp => Transport::PlainHttp,
            })
            .http(match self.http {
                HttpArgument::Both => HttpVersions::Both,
                HttpArgument::Http1 => HttpVersions::Http1,
                HttpArgument::Http2 => HttpVersions::Http2,
            })
            .certificate(self.certificate.into());
        if self.guest == GuestKind::Vm {
            builder = builder.guest(Guest::confidential_vm());
        }
        if let Some(path) = &self.cce_policy {
            let policy = files::cce_policy(path)?;
            let text = std::str::from_utf8(policy.text()).map_err(|_| files::about(path, "is not text in UTF-8"))?;
            builder = builder.cce_policy(text);
        }
        if let Some(platform) = platform {
            builder = builder.platform(platform);
        }
        if let Some(host) = &self.host {
            builder = builder.host(host);
        }
        for change in &self.knob {
            match change {
                Change::BlindBox(knob) => builder = builder.knob(knob.as_ref().clone()),
                Change::Kds(_) if platform.is_none() => {
                    return Err(Failure::usage("a knob of the KDS needs --product"));
                }
                _ => {}
            }
        }
        Ok(builder)
    }

    /// What a client requires of the BlindBox as it was meant to be, before knobs.
    fn policy(&self, emulation: &Emulation) -> Result<Policy, Failure> {
        let maa = emulation.blindbox.maa_issuer();
        let trust = self.trust.unwrap_or(match self.product {
            Some(_) if self.guest == GuestKind::Container => TrustArgument::Both,
            _ => TrustArgument::Maa,
        });
        if self.product.is_none() && trust != TrustArgument::Maa {
            return Err(Failure::usage("--trust amd and both need --product"));
        }
        let pinned = |trust: Trust| trust.require_maa_policy_hash(emulation.blindbox.maa_policy_hash());
        let trust = match trust {
            TrustArgument::Maa => Trust::maa(maa.as_str()).and_then(pinned),
            TrustArgument::Amd => Ok(Trust::amd()),
            TrustArgument::Both => Trust::maa_and_amd(maa.as_str()).and_then(pinned),
        };
        let trust = trust.map_err(invalid)?;
        let binds = self.agent == AgentArgument::Bound;
        let policy = match self.guest {
            GuestKind::Container => {
                let host_data = emulation.blindbox.host_data();
                let workload =
                    if binds { Workload::binds_its_own_key(host_data) } else { Workload::attests_any_data(host_data) };
                let mut uvm = UvmSvn::at_least(emulation.blindbox.uvm_svn().unwrap_or(1));
                if let Some(platform) = &emulation.platform {
                    uvm = uvm.issued_by(platform.uvm_issuer());
                }
                Policy::confidential_container(trust, workload, uvm)
            }
            GuestKind::Vm => {
                let guest = GuestIdentity::measured([emulation.blindbox.measurement()]);
                Policy::confidential_vm(trust, guest, if binds { Binding::OwnKey } else { Binding::None })
            }
        };
        let policy = if binds { policy } else { policy.and_then(Policy::allow_unbound_channel) };
        let in_clear = !binds && self.transport == TransportArgument::PlainHttp;
        let policy = if in_clear { policy.and_then(Policy::allow_plain_http) } else { policy };
        policy.map_err(invalid)
    }
}

impl Emulation {
    /// What a client needs to know, as one line.
    fn describe(&self, policy: &Policy) -> Value {
        let blindbox = &self.blindbox;
        let kds = self.kds.as_ref().map(|kds| json!({ "url": kds.url(), "tls_root_pem": kds.tls_root_pem() }));
        json!({
            "url": blindbox.url(),
            "agent_url": blindbox.agent_url(),
            "relay_url": self.relay.as_ref().map(Relay::url),
            "tls_root_pem": blindbox.tls_root_pem(),
            "tls_key": blindbox.tls_key(),
            "maa": {
                "issuer": self.maa.issuer(),
                "endpoint": self.maa.endpoint(),
                "policy_hash": blindbox.maa_policy_hash(),
                "tls_root_pem": self.maa.tls_root_pem(),
            },
            "kds": kds,
            "collateral_root_pem": self.collateral_roots(),
            "amd_roots_pem": self.platform.as_ref().map(Platform::roots_pem),
            "cce_policy": blindbox.cce_policy(),
            "host_data": blindbox.host_data(),
            "measurement": blindbox.measurement(),
            "uvm_svn": blindbox.uvm_svn(),
            "uvm_issuer": blindbox.guest().uvm.map(|uvm| uvm.issuer),
            "policy": policy.to_toml(),
            "pid": std::process::id(),
        })
    }

    fn collateral_roots(&self) -> String {
        self.maa.tls_root_pem() + &self.kds.as_ref().map(Kds::tls_root_pem).unwrap_or_default()
    }

    fn write(&self, folder: &Path, policy: &Policy) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let write = |name: &str, text: String| fs::write(folder.join(name), text);
        write("policy.toml", policy.to_toml())?;
        write("application-root.pem", self.blindbox.tls_root_pem())?;
        write("collateral-root.pem", self.collateral_roots())?;
        write("cce-policy.base64", self.blindbox.cce_policy())?;
        write("key-set.json", self.maa.key_set())?;
        self.platform.as_ref().map_or(Ok(()), |platform| write("amd-roots.pem", platform.roots_pem()))
    }
}

impl From<RelayArgument> for RelayMode {
    fn from(mode: RelayArgument) -> Self {
        match mode {
            RelayArgument::Tunnel => Self::Tunnel,
            RelayArgument::Forward => Self::Forward,
            RelayArgument::AttestOwnKey => Self::AttestOwnKey,
            RelayArgument::Replay => Self::Replay,
            RelayArgument::LegacyForm => Self::LegacyForm,
        }
    }
}

impl From<CertificateArgument> for ServerCertificate {
    fn from(certificate: CertificateArgument) -> Self {
        match certificate {
            CertificateArgument::Issued => Self::Issued,
            CertificateArgument::SelfSigned => Self::SelfSigned,
            CertificateArgument::Expired => Self::Expired,
            CertificateArgument::NotYetValid => Self::NotYetValid,
            CertificateArgument::WrongName => Self::WrongName,
            CertificateArgument::UnknownAuthority => Self::UnknownAuthority,
        }
    }
}

fn invalid(error: InvalidPolicy) -> Failure {
    AttestationError::InvalidPolicy(error).into()
}

fn long_help() -> String {
    format!(
        "Prints one line of JSON with the addresses, the roots and a policy that the BlindBox meets without knobs, and \
         serves until standard input is closed or a signal comes. Keys are made anew each time.\n\n{}\n\n{}\n\n{}",
        orders::HELP,
        knobs::help(),
        faults::help()
    )
}
