//! `policy`: write, check and show policy files.

mod learn;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use blindbox_attestation::cce_policy::CcePolicy;
use blindbox_attestation::{
    Binding, GuestIdentity, HexError, HostData, KeyDigest, Measurement, Policy, PolicyError, Sha256Digest, TeeKind,
    Trust, UvmRequirement, Workload, printable_json,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::cce_policy::CcePolicyFile;
use crate::exit::{Failure, ended, note, print, print_json, print_styled};
use crate::files;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a new policy in TOML; what it leaves open goes to standard error.
    New(Box<New>),
    /// Look at a deployment once and print a policy with what it showed, for you to check: nothing of it is trusted yet.
    #[command(after_help = crate::EXIT_CODES)]
    Learn(Box<learn::Learn>),
    /// Say whether a policy can be used, and what it leaves open.
    Lint(Lint),
    /// Print a policy as it was understood, and its digest.
    Show(Show),
}

#[derive(Args)]
struct New {
    /// The kind of TEE.
    #[arg(long, value_enum, default_value = "container")]
    kind: Kind,

    /// Trust this MAA instance, such as https://sharedneu.neu.attest.azure.net. With --amd both must agree.
    #[arg(long, value_name = "URL", required_unless_present = "amd", help_heading = "Who may judge")]
    maa: Option<String>,

    /// Trust AMD: reports are verified here, down to AMD's root.
    #[arg(long, help_heading = "Who may judge")]
    amd: bool,

    /// The SHA-256 of the attestation policy that the MAA instance must have applied, in hexadecimal. Needed for an instance
    /// that is not a shared one.
    #[arg(long, value_name = "HEX", requires = "maa", help_heading = "Who may judge")]
    maa_policy_hash: Option<Sha256Digest>,

    /// Accept an instance that is not a shared one, whatever attestation policy its owner has given it.
    #[arg(long, requires = "maa", help_heading = "Who may judge")]
    allow_any_maa_policy: bool,

    /// Accept an instance of Azure's test ring.
    #[arg(long, requires = "maa", help_heading = "Who may judge")]
    allow_test_attester: bool,

    /// Whether the workload binds its TLS key to its evidence. `own-key` is your assertion, which evidence cannot show, that
    /// nothing in it attests data chosen by a caller, and that its key is made inside the TEE and never leaves. `own-connection`
    /// asserts the same, and requires evidence about each TLS connection, which the agent must support. `own-message-key` is for a
    /// workload behind a front end that ends TLS: your assertion is about the key that each request is sealed to, and that the
    /// application gets no other requests. BlindBox as first released and Microsoft's SKR container are `none`.
    #[arg(long, value_enum, help_heading = "What must run")]
    binding: BindingArgument,

    #[command(flatten)]
    cce_policy: CcePolicyFile,

    /// The host data of the container: the SHA-256 of its CCE policy, in hexadecimal. May be repeated.
    #[arg(long, value_name = "HEX", conflicts_with = "cce_policy")]
    #[arg(help_heading = "What must run")]
    host_data: Vec<HostData>,

    /// Accept a known allow-all CCE policy, with which the host runs any code. For development only.
    #[arg(long, help_heading = "What must run")]
    allow_permissive_workload: bool,

    /// The minimum security version of the container's utility VM, such as 101.
    #[arg(long, value_name = "SVN", help_heading = "What must run")]
    uvm_svn: Option<u64>,

    /// An accepted launch measurement, in hexadecimal: of the utility VM in place of --uvm-svn or beside it, or of a
    /// confidential VM. May be repeated.
    #[arg(long, value_name = "HEX", help_heading = "What must run")]
    measurement: Vec<Measurement>,

    /// An accepted ID key of a confidential VM (SHA-384, in hexadecimal). May be repeated.
    #[arg(long, value_name = "HEX", help_heading = "What must run")]
    id_key: Vec<KeyDigest>,

    /// An accepted launch measurement (MRTD) of a confidential VM with Intel TDX, in hexadecimal. May be repeated. Without
    /// --measurement and --id-key no VM with SEV-SNP is accepted.
    #[arg(long, value_name = "HEX", help_heading = "What must run")]
    mrtd: Vec<Measurement>,

    /// An accepted kind of TEE, for --allow-any-azure-cvm; `snp` without it. May be repeated.
    #[arg(long, value_enum, requires = "allow_any_azure_cvm", help_heading = "What must run")]
    tee: Vec<TeeArgument>,

    /// Accept any confidential VM, of any customer, that MAA reports as compliant; under --amd, any whose paravisor has the fix of
    /// CVE-2025-49707.
    #[arg(long, conflicts_with_all = ["measurement", "id_key", "mrtd"], help_heading = "What must run")]
    allow_any_azure_cvm: bool,

    /// An accepted value of a PCR of a confidential VM (SHA-256, in hexadecimal), such as 11=5a5a...; index 0 to 15. May be
    /// repeated, also for one PCR, of which any value is then accepted. An image is identified by 4 with 8, 9 and 12 (GRUB), 9 and
    /// 12 (a kernel with its stub) or 11 and 12 (a unified kernel image).
    #[arg(long, value_name = "INDEX=HEX", value_parser = pcr, requires = "amd", help_heading = "What must run")]
    pcr: Vec<(u8, Sha256Digest)>,

    /// Accept a channel that the evidence does not name, for --binding none.
    #[arg(long, help_heading = "Relaxations")]
    allow_unbound_channel: bool,

    /// Accept plain HTTP for an unbound channel.
    #[arg(long, requires = "allow_unbound_channel", help_heading = "Relaxations")]
    allow_plain_http: bool,

    /// Accept a guest that its host may debug. For development only.
    #[arg(long, help_heading = "Relaxations")]
    allow_debug: bool,

    /// Do not validate the server's name: what runs is proven, not whose instance it is.
    #[arg(long, help_heading = "Relaxations")]
    allow_unverified_name: bool,

    /// Print JSON in place of TOML.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A confidential container (Azure Container Instances and alike).
    Container,
    /// A confidential VM. What runs in it is shown under --amd only, by --pcr.
    Vm,
}

#[derive(Clone, Copy, ValueEnum)]
enum TeeArgument {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

#[derive(Clone, Copy, ValueEnum)]
enum BindingArgument {
    /// It attests only its own TLS key.
    OwnKey,
    /// It attests only its own TLS key and connections.
    OwnConnection,
    /// It attests only its own key for sealed messages.
    OwnMessageKey,
    /// It attests whatever it is asked to.
    None,
}

impl From<BindingArgument> for Binding {
    fn from(binding: BindingArgument) -> Self {
        match binding {
            BindingArgument::OwnKey => Self::OwnKey,
            BindingArgument::OwnConnection => Self::OwnConnection,
            BindingArgument::OwnMessageKey => Self::OwnMessageKey,
            BindingArgument::None => Self::None,
        }
    }
}

/// The index of a PCR, and a value of it.
fn pcr(written: &str) -> Result<(u8, Sha256Digest), String> {
    let (index, value) = written.split_once('=').ok_or("expected INDEX=HEX")?;
    let index = index.parse().ok().filter(|known: &u8| known.to_string() == index);
    let index = index.ok_or("expected the index of a PCR before the =")?;
    Ok((index, value.parse().map_err(|error: HexError| error.to_string())?))
}

/// The trust of `--maa` and `--amd`.
fn trust_in(maa: Option<&str>, amd: bool) -> Result<Trust, PolicyError> {
    match (maa, amd) {
        (Some(issuer), false) => Trust::maa(issuer),
        (Some(issuer), true) => Trust::maa_and_amd(issuer),
        (None, _) => Ok(Trust::amd()),
    }
}

/// A workload with this host data.
pub fn workload_that_binds(binding: Binding, host_data: HostData) -> Workload {
    match binding {
        Binding::OwnKey => Workload::binds_its_own_key(host_data),
        Binding::OwnConnection => Workload::binds_its_own_connection(host_data),
        Binding::OwnMessageKey => Workload::binds_its_own_message_key(host_data),
        Binding::None => Workload::attests_any_data(host_data),
    }
}

type Allow = fn(Policy) -> Result<Policy, PolicyError>;

#[derive(Args)]
struct Lint {
    /// The policy, in TOML or JSON; `-` is standard input.
    file: PathBuf,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    /// Exit with 1 if anything is left open.
    #[arg(long)]
    deny_open: bool,
}

#[derive(Args)]
struct Show {
    /// The policy, in TOML or JSON; `-` is standard input.
    file: PathBuf,

    /// Print JSON in place of TOML.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Whether JSON was asked for.
    pub fn json(&self) -> bool {
        match &self.command {
            Command::New(new) => new.json,
            Command::Learn(_) => false,
            Command::Lint(lint) => lint.json,
            Command::Show(show) => show.json,
        }
    }
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::New(new) => new.run(),
        Command::Learn(learn) => learn.run().await,
        Command::Lint(lint) => lint.run(),
        Command::Show(show) => show.run(),
    }
}

impl New {
    fn run(&self) -> Result<ExitCode, Failure> {
        let policy = self.build()?;
        for open in policy.lint() {
            note(&format!("note: {open}"));
        }
        Ok(ended(0, if self.json { print(&pretty(&policy)) } else { print_toml(&policy.to_toml()) }))
    }

    fn build(&self) -> Result<Policy, Failure> {
        let policy = match self.kind {
            Kind::Container => self.container()?,
            Kind::Vm => self.vm()?,
        };
        let allow = |asked: bool, allow: Allow, policy: Policy| if asked { allow(policy) } else { Ok(policy) };
        allow(self.allow_unbound_channel, Policy::allow_unbound_channel, policy)
            .and_then(|policy| allow(self.allow_plain_http, Policy::allow_unbound_plain_http, policy))
            .and_then(|policy| allow(self.allow_debug, Policy::allow_debug, policy))
            .and_then(|policy| allow(self.allow_unverified_name, Policy::allow_unverified_name, policy))
            .map_err(Failure::from)
    }

    fn trust(&self) -> Result<Trust, Failure> {
        let trust = trust_in(self.maa.as_deref(), self.amd)?;
        let trust = match self.maa_policy_hash {
            Some(hash) => trust.require_maa_policy_hash(hash)?,
            None => trust,
        };
        let trust = if self.allow_any_maa_policy { trust.allow_any_maa_policy()? } else { trust };
        Ok(if self.allow_test_attester { trust.allow_test_attester()? } else { trust })
    }

    fn container(&self) -> Result<Policy, Failure> {
        let of_a_vm = !self.id_key.is_empty() || !self.mrtd.is_empty() || !self.pcr.is_empty();
        if of_a_vm || self.allow_any_azure_cvm {
            return Err(Failure::usage("--id-key, --mrtd, --pcr and --allow-any-azure-cvm belong to --kind vm"));
        }
        let mut digests = self.host_data.iter().copied();
        let first = match self.cce_policy.read()? {
            Some(policy) => Some(shown(&policy)),
            None => digests.next(),
        };
        let first = first.ok_or_else(|| Failure::usage("a container needs --cce-policy or --host-data"))?;
        let workload = digests.fold(workload_that_binds(self.binding.into(), first), Workload::also_accept);
        let workload = if self.allow_permissive_workload { workload.allow_permissive() } else { workload };
        let (trust, measurements) = (self.trust()?, self.measurement.iter().copied());
        let policy = match (self.uvm_svn, self.measurement.is_empty()) {
            (None, true) => return Err(Failure::usage("a container needs --uvm-svn or --measurement")),
            (None, false) => Policy::confidential_container_by_measurement(trust, workload, measurements),
            (Some(svn), true) => Policy::confidential_container(trust, workload, UvmRequirement::at_least(svn)),
            (Some(svn), false) => Policy::confidential_container(trust, workload, UvmRequirement::at_least(svn))
                .and_then(|policy| policy.require_measurements(measurements)),
        };
        policy.map_err(Failure::from)
    }

    fn vm(&self) -> Result<Policy, Failure> {
        if self.cce_policy.cce_policy.is_some() || !self.host_data.is_empty() || self.uvm_svn.is_some() {
            return Err(Failure::usage("--cce-policy, --host-data and --uvm-svn belong to --kind container"));
        }
        let measurements = self.measurement.iter().copied();
        let id_keys = self.id_key.iter().copied();
        let mrtd = self.mrtd.iter().copied();
        let with_tdx =
            |guest: GuestIdentity| if self.mrtd.is_empty() { guest } else { guest.also_measured_tdx(mrtd.clone()) };
        let guest = match (self.measurement.is_empty(), self.id_key.is_empty()) {
            (true, true) if self.allow_any_azure_cvm => with_tdx(GuestIdentity::allow_any_azure_cvm()),
            (true, true) if self.mrtd.is_empty() => {
                return Err(Failure::usage("a VM needs --measurement, --id-key or --mrtd, or --allow-any-azure-cvm"));
            }
            (true, true) => GuestIdentity::measured_tdx(mrtd.clone()),
            (false, _) => with_tdx(GuestIdentity::by_measurement(measurements)),
            (true, false) => with_tdx(GuestIdentity::by_id_key(id_keys.clone())),
        };
        let mut pcrs = BTreeMap::<u8, Vec<Sha256Digest>>::new();
        for (index, value) in &self.pcr {
            pcrs.entry(*index).or_default().push(*value);
        }
        let guest = pcrs.into_iter().fold(guest, |guest, (index, values)| guest.pcr(index, values));
        let policy = Policy::confidential_vm(self.trust()?, guest, self.binding.into()).map_err(Failure::from)?;
        let tees = self.tee.iter().map(|tee| match tee {
            TeeArgument::Snp => TeeKind::Snp,
            TeeArgument::Tdx => TeeKind::Tdx,
        });
        let policy = if self.tee.is_empty() { policy } else { policy.require_tee(tees).map_err(Failure::from)? };
        let both = !self.measurement.is_empty() && !self.id_key.is_empty();
        if both { policy.require_id_keys(id_keys).map_err(Failure::from) } else { Ok(policy) }
    }
}

impl Lint {
    fn run(&self) -> Result<ExitCode, Failure> {
        let policy = files::policy(&self.file)?;
        let open = policy.lint();
        let printed = if self.json {
            print_json(&json!({ "digest": policy.digest(), "open": open }))
        } else if open.is_empty() {
            print("nothing is left open")
        } else {
            print(&open.iter().map(|open| format!("{open}\n")).collect::<String>())
        };
        Ok(ended(u8::from(self.deny_open && !open.is_empty()), printed))
    }
}

impl Show {
    fn run(&self) -> Result<ExitCode, Failure> {
        let policy = files::policy(&self.file)?;
        let toml = || format!("# digest {}\n{}", policy.digest(), policy.to_toml());
        Ok(ended(0, if self.json { print(&pretty(&policy)) } else { print_toml(&toml()) }))
    }
}

/// The digest of a CCE policy. What it leaves to others is said here, since a digest does not show it.
fn shown(policy: &CcePolicy) -> HostData {
    policy.findings().iter().for_each(|finding| note(&format!("note: CCE policy: {finding}")));
    policy.digest()
}

fn pretty(policy: &Policy) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(&policy.to_json()).ok();
    let json = value.map_or_else(|| policy.to_json(), |value| format!("{value:#}"));
    printable_json(&json).into_owned()
}

/// On a terminal to look at; otherwise it becomes a file that is read again, in which every character counts.
fn print_toml(toml: &str) -> Result<(), Failure> {
    if io::stdout().is_terminal() { print(toml) } else { print_styled(toml) }
}
