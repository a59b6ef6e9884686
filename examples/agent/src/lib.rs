//! The reference agent of a BlindBox: what has to run *inside* the TEE so that a client can prove whose TLS key it talks to.
//!
//! It ends TLS with a key that it makes at start and that no one can give it, responds to the bound requests of
//! `docs/protocol.md`, and passes everything else to the application on loopback or a Unix socket. Read the README before
//! you deploy it: what it promises depends on what else runs beside it.
//!
//! | file | what it does |
//! |---|---|
//! | `key` | the TLS key: made here, never loaded, never written |
//! | `rotation` | makes a new one on a schedule |
//! | `route` | which path is the agent's, whichever way it is written |
//! | `api` | the bound requests: read strictly, runtime data written here |
//! | `messages` | sealed messages, for an agent behind a front end that ends TLS |
//! | `cors` | which web pages may send them |
//! | `cert_files` | request and certificate, on a thread that may hang without holding up a key's end |
//! | `evidence` | where reports come from: the guest device, a sidecar, or the virtual TPM of a confidential VM |
//! | `azure_vm` | evidence of an Azure confidential VM: one report for each TLS key, one quote for each request |
//! | `tpm` | the commands of its virtual TPM |
//! | `maa` | the token for a report |
//! | `forward` | everything else, to the application |
//! | `headers` | which headers of a caller the application gets |
//! | `server` | who gets a connection, and which part of the agent responds to a request |
//! | `connection` | TLS 1.3, which key each one was opened with, when it ends |
//! | `idle` | whether it is used |

#![deny(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions
)]

use std::sync::LazyLock;
use std::sync::mpsc::{SyncSender, sync_channel};

mod api;
mod azure_vm;
mod body;
mod cert_files;
mod config;
mod connection;
mod cors;
mod evidence;
mod forward;
mod headers;
mod http_client;
mod idle;
mod key;
mod maa;
mod messages;
mod open_connections;
mod rate_limit;
mod rotation;
mod route;
mod security_context;
mod server;
mod sev_guest;
mod sidecar;
pub mod tpm;

pub use azure_vm::{AzureVm, AzureVmConfig, AzureVmError, IssuerHost, IssuerHosts, MetadataService};
pub use config::{
    Application, Config, InvalidConfig, KeyConfig, Limits, Loopback, MaaHost, MessageConfig, MessageKemName,
};
pub use cors::Origin;
pub use evidence::{Device, EvidenceError, Source};
pub use headers::PassedHeader;
pub use key::{ChainError, KeyError, TlsKey};
pub use maa::MaaClient;
pub use route::{Route, classify};
pub use security_context::SecurityContext;
pub use server::{Agent, StartError};
#[cfg(target_os = "linux")]
pub use sev_guest::GuestDevice;
pub use sidecar::Sidecar;

/// Escapes what a terminal obeys instead of showing: control characters with line breaks, bidirectional and other format
/// characters. What MAA, the sidecar or a file says can be in an error.
fn printable(text: &str) -> String {
    let quote = |c: &char| matches!(c, '"' | '\'' | '\\');
    text.chars().flat_map(|c| if quote(&c) { vec![c] } else { c.escape_debug().collect() }).collect()
}

/// Logs a line for the operator of the agent, never evidence, a request, or the address of a caller.
///
/// Nothing waits for it to be read: who collects it belongs to the host, and a full pipe would hold up the end of a key. When
/// too much waits, what is said is lost.
pub(crate) fn log(what: impl std::fmt::Display) {
    static LINES: LazyLock<SyncSender<String>> = LazyLock::new(|| {
        let (lines, waiting) = sync_channel::<String>(64);
        let write = move || waiting.iter().for_each(|line| eprintln!("blindbox-agent: {line}"));
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(write);
        lines
    });
    let _ = LINES.try_send(printable(&what.to_string()));
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_of_the_log_is_one_line_and_nothing_that_a_terminal_obeys() {
        assert_eq!(super::printable("a\n\u{9b}2J\u{202e}\u{7f}\"é\\"), r#"a\n\u{9b}2J\u{202e}\u{7f}"é\"#);
    }
}
