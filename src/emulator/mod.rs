//! A BlindBox and an MAA in a box: real TLS and real signatures on loopback, and every failure on request.
//!
//! This is what the tests of this crate run against, and what an application that uses the crate can run its own
//! integration tests against. Nothing here is part of verification: what the emulator vouches for is believed only by a
//! verifier that was given the emulator's roots and issuer, by the same public settings that take real ones.
//!
//! | part | what it is |
//! |---|---|
//! | [`Maa`] | an MAA instance: key set at `/certs`, tokens of both layouts, every fault of either |
//! | [`BlindBox`] | an application with its agent in one emulated guest; [`Knob`]s change guest, agent and tokens while it runs |
//! | [`Application`] | what runs in the guest in place of the emulator's own routes: a server at an address, a service |
//! | [`Platform`] | the machine under it: an AMD processor and its signing key, an endorsed utility VM |
//! | [`azure_vm`] | the virtual TPM of a confidential VM: reports of the paravisor, quotes, certificates of the key |
//! | [`Kds`] | AMD's Key Distribution Service (and Azure's THIM) for every machine of the process |
//! | [`Relay`] | a man in the middle, which terminates TLS with a key of its own |
//! | [`FrontEnd`] | a reverse proxy that ends TLS with a rightful certificate: honest, curious or hostile |
//! | [`TcpProxy`] | a network that cuts, delays and changes its mind |
//! | [`SealingClient`] | seals requests to a key that nothing attests, to test and to measure agents |
//! | [`Traffic`] | what reached each of them, to the byte |
//!
//! Everything listens on `127.0.0.1` with a port chosen by the system unless set otherwise, is made per process, and stops when dropped.
//! Servers run as tasks on the runtime that started them: a blocking client in the same test needs a multi-threaded one.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! use blindbox_attestation::emulator::{BlindBox, Knob, Maa};
//!
//! let maa = Maa::start().await?;
//! let blindbox = BlindBox::builder(&maa).start().await?;
//! println!("{} attested by {}", blindbox.url(), blindbox.maa_issuer());
//!
//! blindbox.set(Knob::Debug); // from now on the guest is one that its host can look into
//! # Ok(())
//! # }
//! ```
//!
//! RSA keys are made when first needed and kept for the process. In a debug build of *your* crate that is slow unless its
//! manifest has `[profile.dev.package.aws-lc-sys] opt-level = 3`.

#![allow(
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test server: a failed expectation is a bug of the emulator, and should stop the test that runs into it"
)]

pub mod amd;
mod any_knob;
mod blindbox;
mod clock;
mod front_end;
mod guest;
mod keys;
mod knob;
mod maa;
mod network;
mod option_row;
mod relay;
mod sealing_client;

use crate::sync::lock;

pub use amd::kds::{Kds, KdsBuilder, KdsKnob};
pub use any_knob::AnyKnob;
pub use blindbox::agent::{AgentForm, HardwareEvidence, ReportSource};
pub use blindbox::application::Application;
pub use blindbox::builder::{AgentLocation, BlindBoxBuilder, ServerCertificate, Transport};
pub use blindbox::{BlindBox, OpenConnections};
pub use clock::EmulatedClock;
pub use front_end::{FrontEnd, FrontEndBuilder, FrontEndKnob};
pub use guest::hardware_knob::HardwareKnob;
pub use guest::platform::{Platform, PlatformBuilder};
pub use guest::{CCE_POLICY, Guest, PRODUCTION_UVM_ISSUER, UVM_FEED, azure_vm, uvm};
pub use knob::Knob;
pub use maa::claims::{CONTAINER_POLICY_HASH, TOKEN_LIFETIME, TokenClaims, VM_POLICY_HASH, report_data};
pub use maa::jwks::{KeyForm, KeySetKnob};
pub use maa::key_evidence::{MaaEvidence, MaaEvidenceKnob};
pub use maa::token::TokenFault;
pub use maa::{Maa, MaaBuilder};
pub use network::fault::Fault;
pub use network::gate::Gate;
pub use network::request::IncomingBody;
pub use network::server::HttpVersions;
pub use network::tcp_proxy::TcpProxy;
pub use network::tls::{
    CertificateAuthority, CertificateRequest, KeyExchange, KeyKind, TlsIdentity, TlsKey, TlsVersions,
};
pub use network::traffic::{ConnectionRecord, ConnectionState, RequestRecord, Traffic};
pub use option_row::{OptionError, OptionRow};
pub use relay::{Relay, RelayBuilder, RelayCertificate, RelayMode};
pub use sealing_client::{SealedCall, SealingClient};

fn origin(scheme: &str, host: &str, port: u16) -> String {
    format!("{scheme}://{host}:{port}")
}
