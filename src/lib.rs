//! Client-side attestation verification for a BlindBox: an application in an AMD SEV-SNP confidential container or
//! confidential VM on Azure.
//!
//! [`verify_connection`] returns a session only after the peer has proven, over that same connection, that it is the
//! expected code inside a genuine, non-debug TEE:
//!
//! ```no_run
//! use blindbox_attestation::{HostData, Policy, Trust, UvmRequirement, Workload, verify_connection};
//!
//! # async fn talk(cce_policy: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let policy = Policy::confidential_container(
//!     Trust::maa("https://sharedneu.neu.attest.azure.net")?, // who judges the evidence
//!     Workload::binds_its_own_key(HostData::from_cce_policy(cce_policy)?), // the expected workload
//!     UvmRequirement::at_least(101), // the minimum version of its utility VM
//! )?;
//! let session = verify_connection("https://my-app.example", &policy).await?;
//! println!("{}", session.attestation()); // every check, with what was expected and found
//! let response = session.post("/generate").body("a prompt").send().await?;
//! println!("{}", response.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! `Ok` means that all of it holds:
//!
//! 1. the peer is a genuine SEV-SNP TEE, as checked by MAA, by this crate down to AMD's root, or by both ([`Trust`]);
//! 2. the code inside is the expected code: launch measurement, host data = SHA-256 of the CCE policy ([`Workload`]);
//! 3. it runs in production mode, not debug;
//! 4. the utility VM is one that its vendor endorses, not older than allowed ([`UvmRequirement`]);
//! 5. the token, if the policy requires one, is of the MAA instance that the policy names;
//! 6. the evidence is fresh, and the TLS key of the connection is the attested one ([`Challenge`]).
//!
//! Read [what this does not prove][limits] before you state [`Workload::binds_its_own_key`].
//!
//! # The manual
//!
//! | page | contents |
//! |---|---|
//! | [readme][manual::readme] | what a session proves and what it does not; the command, the proxy, the emulator, the agent |
//! | [cookbook][manual::cookbook] | recipes: containers, VMs, replicas, tests, coming from the Python client |
//! | [policy][manual::policy], [requirements][manual::policy_requirements] | every field and method of a policy |
//! | [policy examples][manual::policy_examples] | policies to copy, what is refused, every lint |
//! | [trust][manual::trust] | who judges the evidence; roots, revocation, advisories, caches |
//! | [platforms][manual::platforms] | what is proven on which platform, and by whose word |
//! | [errors][manual::errors] | every code, what it means and what to do |
//! | [faults][manual::faults] | failures of network, agent, MAA, AMD and clocks; deadlines, retries, limits |
//! | [checks][manual::checks] | every check in its order, with its source and its error |
//! | [threat model][manual::threat_model] | attackers, what stops each, and what remains |
//! | [protocol][manual::protocol] | the wire protocol of the agent, with test vectors |
//!
//! More of them are listed in [`manual`].
//!
//! [limits]: manual::readme#what-it-does-not-prove
//! # The steps
//!
//! | step | question | module |
//! |---|---|---|
//! | 1 | fetch: evidence from the agent, keys from MAA, certificates from AMD | `fetch` (feature `client`) |
//! | 2 | is the token really MAA's? if the policy requires it: does an attested container hold its key? | [`maa`], `maa_key` |
//! | 3 | is the report really AMD's, is the utility VM endorsed, is the quote the virtual TPM's? | [`snp`], [`uvm`], [`azure_vm`] |
//! | 4 | same TEE? this nonce, and the key of this channel? | `cross_check`, `binding` |
//! | 5 | does it meet the policy? every requirement is checked and reported | `appraise` ([`Policy`], [`Appraisal`]) |
//! | 6 | a session whose every connection is held to an attested key | `attest`, `session` (feature `client`) |
//!
//! Steps 2 to 5 are [`verify`]: bytes, a policy and a time in, a verdict out, without network, clock or environment.
//!
//! # Modules
//!
//! What most programs name is at the crate root; the rest is in the module of its subject:
//!
//! | module | contents |
//! |---|---|
//! | [`advisories`] | AMD's advisories, and which of them a report shows to be fixed |
//! | [`azure_vm`], [`maa`], [`snp`], [`uvm`] | evidence, its endorsements and their verification, step by step |
//! | [`cce_policy`] | CCE policies: where they are found, what they leave open, how two of them differ |
//! | [`claims`] | what evidence states about a TEE; the parts of [`Claims`] |
//! | [`files`], [`inspect`] | reading files of evidence; showing what is in them, for display |
//! | `multipart` (feature `client`) | forms of several parts |
//! | `agent`, `blocking`, `emulator`, `message_client` | by feature, as below |
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `client` (default) | the network: `verify_connection`, `Verifier`, `Session` |
//! | `blocking` | the same for callers without an async runtime |
//! | `cli` | the command `blindbox-attest` |
//! | `metrics` | metrics through the facade `metrics`, in addition to the events of `tracing`, which are always emitted |
//! | `agent` | the agent's end of sealed messages, for servers inside the TEE: `agent` |
//! | `emulator` | a BlindBox, an MAA and an AMD on loopback with real signatures, for tests |
//! | `crypto-aws-lc` | the crypto library AWS-LC; part of `client` |
//! | `crypto-rust` | a crypto library in Rust alone, used where `crypto-aws-lc` is not enabled; and `message_client`, the client of sealed messages without a network |
//!
//! Features only add; none changes a verdict. Without `client` one of the two crypto libraries must be chosen: the crate with
//! `crypto-rust` alone needs no C compiler, and compiles for `wasm32-unknown-unknown`.
//!
//! # Settings
//!
//! `verify_connection` has the settings that suit most; `Verifier::builder()` (feature `client`) has the others. One
//! verifier serves a whole program: its sessions share key sets, certificates and attestations under way.
//!
//! ```
//! use std::time::Duration;
//!
//! use blindbox_attestation::Verifier;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let directory = temporary.path().join("cache");
//! let verifier = Verifier::builder()
//!     .deadline(Duration::from_secs(10))              // for a whole connection with its attestation
//!     .cache_dir(directory)                           // AMD's certificates and CRLs, verified whenever they are loaded
//!     .kds("https://kds-mirror.internal.example")     // used instead of AMD's service, and not trusted
//!     .proxy("http://proxy.internal.example:3128")    // none unless set: no variable of the environment is read
//!     .build()?;
//! # let _ = verifier;
//! # Ok(())
//! # }
//! ```
//!
//! None of them relaxes a check. Anchors of the evidence that a caller gives *replace* the built-in ones, can be given in
//! code only, and are named in every result.

//!
#![cfg_attr(feature = "client", doc = "[`verify_connection`]: verify_connection()")]
#![cfg_attr(not(feature = "client"), doc = "[`verify_connection`]: #features")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

pub mod advisories;
#[cfg(feature = "agent")]
pub mod agent;
#[cfg_attr(not(feature = "client"), allow(dead_code))]
mod agent_protocol;
mod appraisal;
mod appraise;
#[cfg(feature = "client")]
mod attest;
mod attestation;
pub mod azure_vm;
// Requests of sessions and of the client without a network.
#[cfg_attr(not(feature = "client"), allow(dead_code))]
mod base_url;
mod binding;
#[cfg(feature = "blocking")]
pub mod blocking;
pub mod cce_policy;
mod challenge;
pub mod claims;
#[cfg(feature = "client")]
mod clock;
mod cross_check;
mod crypto;
#[cfg(feature = "client")]
mod deadline;
mod der;
#[cfg(feature = "emulator")]
pub mod emulator;
mod error;
mod evidence;
#[cfg(feature = "client")]
mod fetch;
pub mod files;
#[cfg(feature = "client")]
mod http;
pub mod inspect;
mod json;
pub mod maa;
mod maa_key;
#[cfg(feature = "client")]
mod verifier;
// Their examples are tests; those of the cookbook use each feature.
#[cfg(all(doc, any(not(doctest), all(feature = "blocking", feature = "emulator"))))]
pub mod manual;
// Both ends of the protocol: the emulator has them all.
#[cfg_attr(not(any(test, fuzzing, feature = "emulator")), allow(dead_code))]
mod message;
#[cfg(feature = "crypto-rust")]
#[cfg_attr(docsrs, doc(cfg(feature = "crypto-rust")))]
pub mod message_client;
#[cfg(fuzzing)]
pub use message::properties as message_properties;
mod parser_steps;
mod policy;
mod recorded;
#[cfg(any(feature = "client", feature = "crypto-rust"))]
mod retry;
#[cfg(feature = "client")]
mod session;
pub mod snp;
mod sync;
#[cfg(feature = "client")]
mod telemetry;
#[cfg(feature = "client")]
mod tls;
#[cfg(feature = "client")]
mod transport;
mod types;
pub mod uvm;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod vectors;
#[cfg(feature = "client")]
mod verifier_state;
mod verify;
mod x509;

#[cfg(feature = "client")]
pub use ::http::{HeaderMap, Method, StatusCode, Version};
pub use appraisal::{Appraisal, Check, Verdict};
#[cfg(feature = "client")]
pub use attest::EvidenceBundle;
pub use attestation::{Attestation, Claims, RecordedAttestation, VerifiedEvidence};
pub use challenge::{Challenge, Channel, ServerNameCheck};
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use clock::TimeProvider;
pub use error::{
    AttestationError, Category, ChannelNotAllowed, ChannelNotBound, ErrorCode, MaaKeyError, NetworkError, Rejection,
    Violation,
};
pub use evidence::{Endorsements, Evidence, KeySetSource};
#[cfg(feature = "client")]
pub use http::{AttestedStream, Body, BodyError, BodyJsonError, Request, Response, StatusError, multipart};
pub use json::{JsonError, JsonType};
pub use policy::{
    AbiVersion, AttestedKeyRequirement, Binding, BitRequirement, GuestIdentity, GuestPolicyBit, Lint, ParavisorFix,
    PlatformInfoBit, Policy, PolicyError, ReportSigner, TcbMinima, TcbMinimum, Trust, UvmRequirement,
    VmConfigurationBit, Workload,
};
pub use recorded::{EvidenceFiles, EvidenceFilesError};
#[cfg(feature = "client")]
pub use session::{ManagedSession, ManagedStatus, Session, StreamBuilder};
pub use types::{
    ChipId, FamilyId, FirmwareVersion, HexError, HexErrorKind, HostData, ImageId, KeyDigest, MaaIssuer, MaaIssuerError,
    Measurement, Nonce, Product, ReportData, ReportId, Sha256Digest, SigningKey, SpkiDigest, Tcb, TdxRegister, TeeKind,
    TeeTcbSvn, TlsExporter, UnixTime, UserData, VmId, VmIdError, printable, printable_json,
};
#[cfg(feature = "client")]
pub use verifier::{Verifier, VerifierBuilder, verify_connection};
pub use verify::{verify, verify_recorded, verify_unappraised};
