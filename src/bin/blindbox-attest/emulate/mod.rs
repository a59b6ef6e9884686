//! `emulate`: a BlindBox, an MAA and an AMD on loopback for tests in any language.

mod child;
mod control;
mod faults;
mod knobs;
mod options;
mod saved;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use blindbox_attestation::emulator::amd::CSP_ID;
use blindbox_attestation::emulator::azure_vm::QuoteBuilder;
use blindbox_attestation::emulator::{
    AgentForm, AgentLocation, AnyKnob, BlindBox, BlindBoxBuilder, FrontEnd, FrontEndBuilder, Guest, Kds, KeySetKnob,
    Maa, MaaEvidence, MaaEvidenceKnob, Platform, Relay, Transport,
};
use blindbox_attestation::{
    Binding, BitRequirement, GuestIdentity, Policy, PolicyError, Product, Trust, UvmRequirement, VmConfigurationBit,
    VmId,
};
use serde_json::{Value, json};

use crate::exit::{Failure, print, print_json_line};
use crate::policy::workload_that_binds;
use crate::signals::Stop;
use crate::terminal::with_progress;
use faults::FaultAt;
pub use options::Arguments;
use options::{AgentArgument, GuestKind, PlaceArgument, ProductArgument, TransportArgument, TrustArgument};

use saved::{ReadyFile, Saved};

/// All that runs; it stops when dropped.
struct Emulation {
    maa: Maa,
    blindbox: BlindBox,
    kds: Option<Kds>,
    platform: Option<Platform>,
    relay: Option<Relay>,
    front_end: Option<FrontEnd>,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    arguments.knob.iter().try_for_each(|knob| knobs::check(knob, arguments.parts())).map_err(Failure::usage)?;
    let ready_file = arguments.ready_file.as_deref().map(ReadyFile::prepare).transpose()?;
    let emulation = arguments.start().await?;
    let policy = arguments.policy(&emulation)?;
    // A command and a person are given paths of files, not the contents in JSON.
    let print_text = arguments.command.is_empty() && !arguments.json && io::stdout().is_terminal();
    let save = arguments.out.is_some() || !arguments.command.is_empty() || print_text;
    let saved = save.then(|| Saved::write(arguments.out.as_deref(), &emulation, &policy)).transpose()?;
    let mut stop = Stop::listen()?;
    let description = emulation.describe(&policy);
    if let Some(file) = &ready_file {
        file.write(&description)?;
    }
    match &saved {
        Some(saved) if !arguments.command.is_empty() => {
            return child::run(&arguments.command, &emulation, saved, &mut stop).await;
        }
        Some(saved) if print_text => print(&emulation.next_command(saved))?,
        _ => print_json_line(&description)?,
    }
    let commands = if arguments.ignore_stdin { None } else { Some(control::from_stdin()) };
    tokio::select! {
        ended = control::obey(&emulation, commands) => ended?,
        () = stop.asked() => {}
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn parts(&self) -> knobs::Parts {
        knobs::Parts { product: self.product.is_some(), vm: self.guest == GuestKind::Vm, front_end: self.front_end }
    }

    async fn start(&self) -> Result<Emulation, Failure> {
        if self.guest == GuestKind::Tdx && self.product.is_some() {
            return Err(Failure::usage("--product is a processor of AMD, which a guest of Intel TDX does not have"));
        }
        let starting = |error: io::Error| Failure::setting(format!("the emulator cannot start: {error}"));
        let mut maa = Maa::builder().host(&self.maa_host);
        for change in &self.knob {
            if let AnyKnob::KeySet(knob) = change {
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
            Some(mode) => {
                let relay = Relay::builder().mode(mode.into());
                let relay = if self.stolen_key { relay.stolen_key(blindbox.steal_tls_key()) } else { relay };
                Some(relay.start(&blindbox).await.map_err(starting)?)
            }
            None => None,
        };
        let front_end = match self.front_end {
            true => Some(self.front_end().start([&blindbox]).await.map_err(starting)?),
            false => None,
        };
        let emulation = Emulation { maa, blindbox, kds, platform, relay, front_end };
        for change in &self.knob {
            if let AnyKnob::MaaEvidence(knob) = change {
                emulation.set_maa_evidence(knob.clone());
            }
        }
        Ok(emulation)
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
            if let AnyKnob::Kds(knob) = change {
                builder = builder.knob(knob.clone());
            }
        }
        let kds = builder.start().await?;
        for FaultAt { path, fault } in &self.fail_kds {
            kds.fail(path, fault.clone());
        }
        Ok(kds)
    }

    fn front_end(&self) -> FrontEndBuilder {
        let mut builder = FrontEnd::builder().http(self.http.into());
        if let Some(host) = &self.host {
            builder = builder.host(host);
        }
        for origin in &self.allow_origin {
            builder = builder.allow_origin(origin);
        }
        for change in &self.knob {
            if let AnyKnob::FrontEnd(knob) = change {
                builder = builder.knob(knob.clone());
            }
        }
        builder
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
                AgentArgument::Bound | AgentArgument::BoundConnection | AgentArgument::BoundMessage => AgentForm::Bound,
                AgentArgument::Legacy => AgentForm::Legacy,
                AgentArgument::Both => AgentForm::Both,
            })
            .agent_place(if own_port { AgentLocation::OwnPort } else { AgentLocation::ApplicationOrigin })
            .ip(self.ip)
            .port(self.port)
            .agent_port(self.agent_port)
            .transport(match self.transport {
                TransportArgument::Tls13 => Transport::Tls13,
                TransportArgument::Tls12 => Transport::Tls12,
                TransportArgument::PlainHttp => Transport::PlainHttp,
            })
            .http(self.http.into())
            .key_exchange(self.key_exchange.into())
            .certificate(self.certificate.into());
        match self.guest {
            GuestKind::Container => {}
            GuestKind::Vm => builder = builder.guest(Guest::confidential_vm()),
            GuestKind::Tdx => builder = builder.guest(Guest::tdx_vm()),
        }
        if let Some(policy) = self.cce_policy.read()? {
            builder = builder.cce_policy(policy.text());
        }
        if let Some(platform) = platform {
            builder = builder.platform(platform);
        }
        if let Some(application) = &self.application {
            builder = builder.application(application.clone());
        }
        if let Some(host) = &self.host {
            builder = builder.host(host);
        }
        for change in &self.knob {
            if let AnyKnob::BlindBox(knob) = change {
                builder = builder.knob(knob.as_ref().clone());
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
        let trust_amd = trust != TrustArgument::Maa;
        let pinned = |trust: Trust| trust.require_maa_policy_hash(emulation.blindbox.maa_policy_hash());
        let trust = match trust {
            TrustArgument::Maa => Trust::maa(maa.as_str()).and_then(pinned),
            TrustArgument::Amd => Ok(Trust::amd()),
            TrustArgument::Both => Trust::maa_and_amd(maa.as_str()).and_then(pinned),
        };
        let trust = trust.map_err(Failure::from)?;
        let binding = match self.agent {
            AgentArgument::Bound => Binding::OwnKey,
            AgentArgument::BoundConnection => Binding::OwnConnection,
            AgentArgument::BoundMessage => Binding::OwnMessageKey,
            AgentArgument::Legacy | AgentArgument::Both => Binding::None,
        };
        let binds = binding != Binding::None;
        let policy = match self.guest {
            GuestKind::Container => {
                let host_data = emulation.blindbox.host_data();
                let workload = workload_that_binds(binding, host_data);
                // The policy is to be met: a published allow-all policy is what this emulation was given.
                let allows_all = host_data.is_known_allow_all();
                let workload = if allows_all { workload.allow_permissive() } else { workload };
                let mut uvm = UvmRequirement::at_least(emulation.blindbox.uvm_svn().unwrap_or(1));
                if let Some(platform) = &emulation.platform {
                    uvm = uvm.issued_by(platform.uvm_issuer());
                }
                Policy::confidential_container(trust, workload, uvm)
            }
            GuestKind::Vm => {
                let guest = GuestIdentity::by_measurement([emulation.blindbox.measurement()]);
                match emulation.blindbox.virtual_tpm().filter(|_| trust_amd) {
                    Some(tpm) => vm_and_its_image(trust, guest, binding, tpm.vm_id()),
                    None => Policy::confidential_vm(trust, guest, binding),
                }
            }
            GuestKind::Tdx => {
                let guest = GuestIdentity::measured_tdx([emulation.blindbox.measurement()]);
                Policy::confidential_vm(trust, guest, binding)
            }
        };
        // A VLEK passes only by the name of its provider.
        let of_provider = trust_amd && self.vlek;
        let policy = if of_provider { policy.and_then(|policy| policy.require_csp_ids([CSP_ID])) } else { policy };
        let policy = if binds { policy } else { policy.and_then(Policy::allow_unbound_channel) };
        let in_clear = !binds && self.transport == TransportArgument::PlainHttp;
        let policy = if in_clear { policy.and_then(Policy::allow_unbound_plain_http) } else { policy };
        policy.map_err(Failure::from)
    }
}

/// A confidential VM under AMD trust, by all that its virtual TPM and its paravisor show.
fn vm_and_its_image(trust: Trust, guest: GuestIdentity, binding: Binding, vm_id: VmId) -> Result<Policy, PolicyError> {
    // Of a unified kernel image.
    let guest =
        [4, 7, 11, 12, 13].into_iter().fold(guest, |guest, index| guest.pcr(index, [QuoteBuilder::default_pcr(index)]));
    Policy::confidential_vm(trust, guest, binding)?
        .require_vm_configuration(VmConfigurationBit::SecureBoot, BitRequirement::Set)?
        .require_vm_ids([vm_id])?
        .require_ak_certificate()
}

impl Emulation {
    /// Has a container on the emulated machine hold the keys of MAA. The last change counts.
    fn set_maa_evidence(&self, knob: Option<MaaEvidenceKnob>) {
        let Some(platform) = &self.platform else { return };
        let evidence = knob.into_iter().fold(MaaEvidence::new(platform), MaaEvidence::knob);
        self.maa.set(KeySetKnob::OwnEvidence(Box::new(evidence)));
    }

    /// Where clients connect.
    fn url(&self) -> String {
        self.front_end.as_ref().map_or_else(|| self.blindbox.url(), FrontEnd::url)
    }

    /// What a client needs to know, as one line.
    fn describe(&self, policy: &Policy) -> Value {
        let blindbox = &self.blindbox;
        let kds = self.kds.as_ref().map(|kds| json!({ "url": kds.url(), "tls_root_pem": kds.tls_root_pem() }));
        json!({
            "url": self.url(),
            "agent_url": self.front_end.as_ref().map_or_else(|| blindbox.agent_url(), FrontEnd::url),
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
            "ak_root_pem": blindbox.ak_root_pem(),
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

    /// What a person does next.
    fn next_command(&self, saved: &Saved) -> String {
        let url = self.relay.as_ref().map_or_else(|| self.url(), Relay::url);
        let options = saved.options(self).into_iter();
        let options: String = options.map(|(name, value)| format!(" \\\n      --{name} {}", quoted(&value))).collect();
        format!(
            "An emulated BlindBox serves at {url} until Ctrl-C. From another terminal:\n\n  blindbox-attest verify {url}\
             {options}\n\nWith --json, or where standard output is no terminal, one line of JSON has all of it. Orders are \
             read from standard input: see --help."
        )
    }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
