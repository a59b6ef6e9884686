//! `inspect`: recognises files of evidence, and prints their whole content.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::exit::{Failure, print, print_json};
use crate::files;

#[derive(Args)]
#[command(after_help = "Only what a file alone can show is verified: certificates and revocation lists against \
AMD's built-in roots, endorsements against Microsoft's production issuer. Nothing is appraised: see `verify --evidence`.")]
pub struct Arguments {
    /// A token (JWT), a report (1184 bytes), a key set (JSON), certificates, a revocation list, the endorsement of a
    /// utility VM (COSE_Sign1) or an agent's response, as it is, in PEM, base64 or hexadecimal, or anything else that `fetch`
    /// saves; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut exit = ExitCode::SUCCESS;
    for file in &arguments.files {
        if let Err(failure) = show(file) {
            exit = failure.report(false);
        }
    }
    Ok(exit)
}

fn show(file: &Path) -> Result<(), Failure> {
    let bytes = files::read(file)?;
    match blindbox_attestation::inspect::inspect(&bytes) {
        Ok(found) => found.iter().try_for_each(print),
        Err(error) => match beside_evidence(file, &bytes) {
            Some(found) => print_json(&found),
            None => Err(files::about(file, error)),
        },
    }
}

/// What `fetch` saves beside evidence, which only its name tells from anything else.
fn beside_evidence(file: &Path, bytes: &[u8]) -> Option<Value> {
    match file.file_name()?.to_str()? {
        "about.json" => {
            let contents: Value = serde_json::from_slice(bytes).ok().filter(Value::is_object)?;
            Some(unverified("about", "how `fetch` obtained the files of this directory, by its own account", &contents))
        }
        "runtime-data.json" => {
            let contents: Value = serde_json::from_slice(bytes).ok()?;
            Some(unverified("runtime-data", "evidence must cover these bytes: see `verify --evidence`", &contents))
        }
        "policy.toml" => {
            let policy = files::policy(file).ok()?;
            let contents: Value = serde_json::from_str(&policy.to_json()).ok()?;
            Some(unverified("policy", "the policy that the evidence was fetched for", &contents))
        }
        _ => None,
    }
}

fn unverified(kind: &str, reason: &str, contents: &Value) -> Value {
    json!({ "kind": kind, "verified": false, "why": reason, "contents": contents })
}
