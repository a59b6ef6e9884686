//! The options of every command that connects.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blindbox_attestation::azure_vm::AkAnchors;
use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::AmdAnchors;
use blindbox_attestation::{Policy, Session, Verifier};
use clap::Args;

use crate::exit::Failure;
use crate::files::{self, Content};
use crate::terminal::with_progress;

#[derive(Args)]
pub struct Connection {
    /// What must be proven: a policy in TOML or JSON (see `policy new`).
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,

    #[command(flatten)]
    network: Network,
}

/// The options of a command that connects, but for the policy.
#[derive(Args)]
pub struct Network {
    /// The only authorities for the application's server name, in place of this machine's (PEM). May be repeated.
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    application_root: Vec<PathBuf>,

    /// The only authorities for the servers of collateral (MAA's key set, AMD's certificates), in place of the compiled-in
    /// ones of the web (PEM). May be repeated.
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    collateral_root: Vec<PathBuf>,

    /// This machine's authorities for the servers of collateral: anyone who can add one to the machine can then, under MAA
    /// trust, say which tokens are genuine.
    #[arg(long, conflicts_with = "collateral_root", help_heading = "Trust")]
    platform_collateral_roots: bool,

    /// The key set of the MAA instance, in place of the one that it publishes. It is not refreshed.
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    key_set: Option<PathBuf>,

    /// Roots in place of AMD's, as of an emulated AMD (PEM: ARK, ASK and ASVK of one to three processor families; a family
    /// that is not in it has no roots). Every result then says `custom`.
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    amd_roots: Option<PathBuf>,

    /// A root in place of Azure's root of virtual TPMs, as of an emulated confidential VM (PEM or DER). Every result with a
    /// certificate under it then says `custom`.
    #[arg(long, value_name = "FILE", help_heading = "Trust")]
    ak_root: Option<PathBuf>,

    /// Where the attestation agent is, in place of the application's origin (or, for an unbound policy, its port 8080).
    #[arg(long, value_name = "URL", help_heading = "Network")]
    agent: Option<String>,

    /// A mirror of AMD's Key Distribution Service. It needs no trust.
    #[arg(long, value_name = "URL", help_heading = "Network")]
    kds: Option<String>,

    /// A service to ask for AMD's certificates before AMD's own: Azure's THIM, or one with the same response, such as
    /// http://169.254.169.254/metadata/THIM/amd/certification. It needs no trust.
    #[arg(long, value_name = "URL", help_heading = "Network")]
    thim: Option<String>,

    /// A private directory to keep AMD's certificates and revocation lists in, which are verified at every load. It is made if
    /// it is not there.
    #[arg(long, value_name = "DIR", help_heading = "Network")]
    cache_dir: Option<PathBuf>,

    /// An HTTP proxy to go through, such as http://proxy.example:3128. HTTP_PROXY, HTTPS_PROXY and ALL_PROXY are not
    /// read.
    #[arg(long, value_name = "URL", help_heading = "Network")]
    http_proxy: Option<String>,

    /// The address of a host, in place of what name resolution says. Names are validated as they would be without it.
    #[arg(long, value_name = "HOST=IP:PORT", value_parser = resolution, help_heading = "Network")]
    resolve: Vec<(String, SocketAddr)>,

    /// The most time that finding and attesting a peer may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, help_heading = "Network")]
    timeout: Duration,
}

impl Connection {
    pub fn policy(&self) -> Result<Policy, Failure> {
        files::policy(&self.policy)
    }

    pub fn verifier(&self) -> Result<Verifier, Failure> {
        self.network.verifier()
    }

    pub fn policy_path(&self) -> &Path {
        &self.policy
    }

    pub fn key_set_path(&self) -> Option<&Path> {
        self.network.key_set.as_deref()
    }

    pub fn amd_roots_path(&self) -> Option<&Path> {
        self.network.amd_roots.as_deref()
    }

    pub fn ak_root_path(&self) -> Option<&Path> {
        self.network.ak_root.as_deref()
    }

    pub async fn connect(&self, url: &str, policy: &Policy) -> Result<Session, Failure> {
        let verifier = self.verifier()?;
        let doing = format!("attesting {url}");
        Ok(with_progress(&doing, verifier.connect(url, policy)).await?)
    }
}

impl Network {
    pub fn verifier(&self) -> Result<Verifier, Failure> {
        let mut builder = Verifier::builder().deadline(self.timeout);
        if !self.application_root.is_empty() {
            builder = builder.only_application_roots(files::roots(&self.application_root)?);
        }
        if !self.collateral_root.is_empty() {
            builder = builder.collateral_roots(files::roots(&self.collateral_root)?);
        }
        if self.platform_collateral_roots {
            builder = builder.platform_collateral_roots();
        }
        if let Some(key_set) = self.key_set()? {
            builder = builder.pin_key_set(key_set);
        }
        if let Some(anchors) = self.amd_anchors()? {
            builder = builder.amd_anchors(anchors);
        }
        if let Some(anchors) = self.ak_anchors()? {
            builder = builder.ak_anchors(anchors);
        }
        if let Some(url) = &self.agent {
            builder = builder.agent(url);
        }
        if let Some(url) = &self.kds {
            builder = builder.kds(url);
        }
        if let Some(url) = &self.thim {
            builder = builder.thim(url);
        }
        if let Some(directory) = &self.cache_dir {
            builder = builder.cache_dir(directory);
        }
        if let Some(url) = &self.http_proxy {
            builder = builder.proxy(url);
        }
        for (host, address) in &self.resolve {
            builder = builder.resolve(host, *address);
        }
        Ok(builder.build()?)
    }

    fn key_set(&self) -> Result<Option<KeySet>, Failure> {
        self.key_set.as_deref().map(|path| Content::of(path)?.key_set()).transpose()
    }

    fn ak_anchors(&self) -> Result<Option<AkAnchors>, Failure> {
        self.ak_root.as_deref().map(|path| Content::of(path)?.ak_root()).transpose()
    }

    fn amd_anchors(&self) -> Result<Option<AmdAnchors>, Failure> {
        self.amd_roots.as_deref().map(|path| Content::of(path)?.amd_roots()).transpose()
    }
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    if !(0.001..=3600.0).contains(&seconds) {
        return Err("expected 0.001 to 3600 seconds".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn resolution(text: &str) -> Result<(String, SocketAddr), String> {
    let (host, address) = text.split_once('=').ok_or("expected HOST=IP:PORT")?;
    let address = address.parse().map_err(|_| "expected an IP address and a port behind the =".to_owned())?;
    Ok((host.to_owned(), address))
}
