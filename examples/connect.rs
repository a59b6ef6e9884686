//! Connects to a real BlindBox under a policy from a file, shows what was proven, and sends one request.
//!
//! ```console
//! $ cargo run --example connect -- https://my-app.example policy.toml /status
//! ```
//!
//! It ends with the exit codes of `blindbox-attest`: 0 accepted, 1 rejected, 2 untrusted, 3 no verdict, 4 misconfigured, 64 usage.

#[path = "support/exit.rs"]
mod exit;

use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use blindbox_attestation::{AttestationError, Policy, verify_connection};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, policy, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: connect URL POLICY_FILE [TARGET]");
        return ExitCode::from(exit::USAGE);
    };
    let target = rest.first().map_or("/", String::as_str);
    match run(url, policy, target).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error[{}]: {error}", error.code());
            if let Some(appraisal) = error.appraisal() {
                eprintln!("\n{appraisal}");
            }
            ExitCode::from(exit::code(&error))
        }
    }
}

async fn run(url: &str, policy: &str, target: &str) -> Result<(), AttestationError> {
    let text = fs::read_to_string(policy)
        .map_err(|error| AttestationError::Misconfigured { reason: format!("{policy}: {error}") })?;
    // Policies are written in TOML or in JSON.
    let json = text.trim_start().starts_with('{');
    let policy = if json { Policy::from_json(&text)? } else { Policy::from_toml(&text)? };
    for open in policy.lint() {
        eprintln!("note: {open}");
    }
    let session = verify_connection(url, &policy).await?;
    say(&session.attestation())?;
    let response = session.get(target).send().await?;
    say(&format_args!("GET {target}: {}", response.status()))
}

/// Prints a text. A reader who has gone away (`| head`) is no failure, and changes nothing of the exit code.
fn say(text: &impl Display) -> Result<(), AttestationError> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(AttestationError::Misconfigured { reason: format!("standard output: {error}") })
        }
        _ => Ok(()),
    }
}
