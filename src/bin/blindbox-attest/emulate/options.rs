//! The options of `emulate`.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use blindbox_attestation::MaaIssuer;
use blindbox_attestation::emulator::{AnyKnob, Application, HttpVersions, KeyExchange, RelayMode, ServerCertificate};
use clap::{Args, ValueEnum};

use super::control;
use super::faults::{self, FaultAt};
use super::knobs;
use crate::cce_policy::CcePolicyFile;

#[derive(Args)]
#[command(after_help = "See --help for every knob and fault.", after_long_help = long_help())]
pub struct Arguments {
    /// The kind of guest.
    #[arg(long, value_enum, default_value = "container", help_heading = "Guest")]
    pub guest: GuestKind,

    #[command(flatten)]
    pub cce_policy: CcePolicyFile,

    /// The processor under the guest: adds hardware reports and a KDS.
    #[arg(long, value_enum, help_heading = "Guest")]
    pub product: Option<ProductArgument>,

    /// Reports are signed by a VLEK instead of the chip's VCEK.
    #[arg(long, requires = "product", help_heading = "Guest")]
    pub vlek: bool,

    /// Who judges in the policy that is printed; `amd` and `both` need --product, with which `both` is the default.
    #[arg(long, value_enum, help_heading = "Guest")]
    pub trust: Option<TrustArgument>,

    /// What serves the requests that are not for the agent: a server that speaks HTTP/1.1 without TLS, such as
    /// http://127.0.0.1:8000. A path becomes the base of all requests. Without it the emulator's own routes serve.
    #[arg(long, value_name = "URL", value_parser = application, help_heading = "Agent and application")]
    pub application: Option<Application>,

    /// Which requests the agent takes. `legacy` is BlindBox as first released: on a port of its own, attesting what it is sent.
    #[arg(long, value_enum, default_value = "bound", help_heading = "Agent and application")]
    pub agent: AgentArgument,

    /// Where the agent listens; a legacy agent has a port of its own unless this says otherwise.
    #[arg(long, value_enum, help_heading = "Agent and application")]
    pub agent_place: Option<PlaceArgument>,

    /// The address to listen on, within 127.0.0.0/8.
    #[arg(long, default_value = "127.0.0.1", value_name = "IP", help_heading = "Agent and application")]
    pub ip: Ipv4Addr,

    /// The application's port; 0 lets the system choose.
    #[arg(long, default_value = "0", help_heading = "Agent and application")]
    pub port: u16,

    /// The agent's port where it has one of its own, such as 8080; 0 lets the system choose.
    #[arg(long, default_value = "0", value_name = "PORT", help_heading = "Agent and application")]
    pub agent_port: u16,

    /// How application and agent are reached.
    #[arg(long, value_enum, default_value = "tls13", help_heading = "Agent and application")]
    pub transport: TransportArgument,

    /// Which versions of HTTP they speak, and the front end.
    #[arg(long, value_enum, default_value = "both", help_heading = "Agent and application")]
    pub http: HttpArgument,

    /// Which key exchange groups they take: `classical` is a server without X25519MLKEM768, `post-quantum` one with nothing else.
    #[arg(long, value_enum, default_value = "any", help_heading = "Agent and application")]
    pub key_exchange: KeyExchangeArgument,

    /// The certificate over the TLS key.
    #[arg(long, value_enum, default_value = "issued", help_heading = "Agent and application")]
    pub certificate: CertificateArgument,

    /// The host in the URL that is printed, in place of the address; `localhost` works on loopback.
    #[arg(long, value_name = "NAME", value_parser = host, help_heading = "Agent and application")]
    pub host: Option<String>,

    /// The host in the issuer of the MAA instance.
    #[arg(long, default_value = "127.0.0.1", value_name = "NAME", value_parser = host, help_heading = "Agent and application")]
    pub maa_host: String,

    /// A reverse proxy before the BlindBox that ends TLS with a certificate of its own; `url` in the output is the proxy's. It is honest
    /// without a knob that says otherwise. Clients get sealed messages through it (--agent bound-message), and nothing else.
    #[arg(long, conflicts_with = "relay", help_heading = "Agent and application")]
    pub front_end: bool,

    /// Pages of this origin may use the front end from a browser, such as http://localhost:8000. May be repeated.
    #[arg(long, value_name = "ORIGIN", requires = "front_end", help_heading = "Agent and application")]
    pub allow_origin: Vec<String>,

    /// A man in the middle, with its own URL in the output.
    #[arg(long, value_enum, value_name = "MODE", help_heading = "What goes wrong")]
    pub relay: Option<RelayArgument>,

    /// The man in the middle has the TLS key of the BlindBox, and a certificate for it.
    #[arg(long, requires = "relay", help_heading = "What goes wrong")]
    pub stolen_key: bool,

    /// Changes guest, agent, token, key set, hardware evidence, KDS or front end. May be repeated.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = knobs::parse, help_heading = "What goes wrong")]
    pub knob: Vec<AnyKnob>,

    /// Fails every request of application and agent whose path begins so. May be repeated.
    #[arg(long, value_name = "PATH=FAULT", value_parser = faults::parse, help_heading = "What goes wrong")]
    pub fail: Vec<FaultAt>,

    /// Fails requests for the key set, at /certs. May be repeated.
    #[arg(long, value_name = "PATH=FAULT", value_parser = faults::parse, help_heading = "What goes wrong")]
    pub fail_maa: Vec<FaultAt>,

    /// Fails requests of AMD's service. May be repeated.
    #[arg(
        long, value_name = "PATH=FAULT", value_parser = faults::parse, requires = "product",
        help_heading = "What goes wrong"
    )]
    pub fail_kds: Vec<FaultAt>,

    /// Also write the policy, the roots, the CCE policy and the key set as files into this directory.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Write what is printed into this file when the emulation serves, in one piece; the file is removed at the start and at the end.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,

    /// Print JSON on a terminal too.
    #[arg(long)]
    pub json: bool,

    /// Do not read commands, and go on when standard input is closed; only a signal ends it.
    #[arg(long)]
    pub ignore_stdin: bool,

    /// Run this command while the emulation serves, and end as it does (128 and the signal's number if a signal ended it).
    /// Its environment has BLINDBOX_URL and an option of a client each in BLINDBOX_POLICY, BLINDBOX_APPLICATION_ROOT,
    /// BLINDBOX_COLLATERAL_ROOT and, with --product, BLINDBOX_AMD_ROOTS and BLINDBOX_KDS. Nothing is printed, and
    /// commands are not read.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GuestKind {
    Container,
    Vm,
    /// A confidential VM with Intel TDX.
    Tdx,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum ProductArgument {
    Milan,
    Genoa,
    Turin,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrustArgument {
    Maa,
    Amd,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AgentArgument {
    Bound,
    /// The same; the policy requires evidence about each connection.
    BoundConnection,
    /// The same; the policy requires sealed messages, which pass a front end.
    BoundMessage,
    Legacy,
    Both,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum PlaceArgument {
    Origin,
    OwnPort,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportArgument {
    Tls13,
    Tls12,
    PlainHttp,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum HttpArgument {
    Both,
    Http1,
    Http2,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum KeyExchangeArgument {
    Any,
    Classical,
    PostQuantum,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum CertificateArgument {
    Issued,
    SelfSigned,
    Expired,
    NotYetValid,
    WrongName,
    UnknownAuthority,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum RelayArgument {
    /// Passes connections through untouched.
    Tunnel,
    /// Ends TLS with its own key and forwards requests for the agent.
    Forward,
    /// Has a legacy agent attest the relay's key in the bound form.
    AttestOwnKey,
    /// Responds with evidence that it received earlier.
    Replay,
    /// Forwards, but removes the runtime data from responses.
    LegacyForm,
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

impl From<HttpArgument> for HttpVersions {
    fn from(versions: HttpArgument) -> Self {
        match versions {
            HttpArgument::Both => Self::Both,
            HttpArgument::Http1 => Self::Http1,
            HttpArgument::Http2 => Self::Http2,
        }
    }
}

impl From<KeyExchangeArgument> for KeyExchange {
    fn from(groups: KeyExchangeArgument) -> Self {
        match groups {
            KeyExchangeArgument::Any => Self::Any,
            KeyExchangeArgument::Classical => Self::Classical,
            KeyExchangeArgument::PostQuantum => Self::PostQuantum,
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

fn long_help() -> String {
    format!(
        "Prints one line of JSON with the addresses, the roots and a policy that the BlindBox meets without knobs (on a \
         terminal, the command of a client), and serves until standard input is closed or a signal comes. Keys are generated for each run.\n\n{}\n\n{}\n\n{}",
        control::HELP,
        knobs::help(),
        faults::help()
    )
}

fn application(url: &str) -> Result<Application, String> {
    Application::at(url).map_err(|error| error.to_string())
}

/// A host as URLs have it, such as `xn--bcher-kva.example` for `bücher.example`: certificates and issuers take no other form.
fn host(text: &str) -> Result<String, String> {
    let expected = "expected the name of a host, or its address, without scheme, port and path";
    let host = url::Host::parse(text).map_err(|error| format!("{expected}: {error}"))?.to_string();
    // Plainer than URLs demand: no wildcard, no dot at the end.
    MaaIssuer::new(format!("https://{host}")).map_err(|_| expected.to_owned())?;
    Ok(host)
}
