//! `host-data`: what a CCE policy becomes, and what it should not allow.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::files;
use crate::outcome::{Failure, ended, note, print, print_json};

#[derive(Args)]
pub struct Arguments {
    /// The CCE policy: base64 as `az confcom` prints it, or the Rego text; `-` is standard input.
    #[arg(value_name = "CCE_POLICY_FILE")]
    file: PathBuf,

    /// Print one JSON object, with the findings.
    #[arg(long)]
    pub json: bool,

    /// Exit with 1 if there are findings.
    #[arg(long)]
    deny_findings: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let policy = files::cce_policy(&arguments.file)?;
    let findings: Vec<String> = policy.findings().iter().map(ToString::to_string).collect();
    let digest = policy.digest();
    let printed = if arguments.json {
        print_json(&json!({ "host_data": digest, "bytes": policy.text().len(), "findings": findings }))
    } else {
        // Alone, for `$(...)`.
        let printed = print(&digest);
        findings.iter().for_each(|finding| note(&format!("finding: {finding}")));
        printed
    };
    Ok(ended(u8::from(arguments.deny_findings && !findings.is_empty()), printed))
}
