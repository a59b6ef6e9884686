//! `fetch`: saves evidence into a directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blindbox_attestation::{AttestationError, EvidenceBundle, EvidenceFiles, Policy};
use clap::Args;
use serde_json::{Value, json};

use crate::connect_args::Connection;
use crate::exit::{Failure, ended, error_json, exit_code, note, print, print_json, verdict};
use crate::files;
use crate::log;
use crate::terminal::with_progress;

#[derive(Args)]
pub struct Arguments {
    /// Where the application is, such as https://my-app.example. A path becomes the base of all requests.
    #[arg(value_name = "URL")]
    url: String,

    #[command(flatten)]
    connection: Connection,

    /// The directory, which is created if it does not exist. Files of earlier evidence are not overwritten: it must be empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Print one JSON object: the files, and the verdict.
    #[arg(long)]
    pub json: bool,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let connection = &arguments.connection;
    let policy = connection.policy()?;
    let verifier = connection.verifier()?;
    let failed = |error: io::Error| files::about(&arguments.out, error);
    make_empty(&arguments.out).map_err(failed)?;
    let url = &arguments.url;
    let doing = format!("asking {url}");
    let collected = with_progress(&doing, verifier.collect(url, &policy)).await?;
    // As a record: what is saved here proves nothing later about a connection.
    let outcome = collected.verify(&policy).map(drop);
    let about = describe(url, &policy, &collected, &outcome);
    let written = save(&arguments.out, &collected, &policy, &about).map_err(failed)?;
    Ok(report(&arguments, &collected, &written, &outcome))
}

fn describe(url: &str, policy: &Policy, collected: &EvidenceBundle, outcome: &Result<(), AttestationError>) -> Value {
    let missing: Vec<Value> = collected.missing().map(error_json).collect();
    json!({
        "url": url,
        "asked_at": collected.asked_at,
        "received_at": collected.received_at,
        "nonce": collected.nonce.to_string(),
        "channel": collected.channel,
        "tls_key": collected.tls_key,
        "policy_digest": policy.digest(),
        "accepted": outcome.is_ok(),
        "error": outcome.as_ref().err().map(error_json),
        "missing": missing,
    })
}

fn save(directory: &Path, collected: &EvidenceBundle, policy: &Policy, about: &Value) -> io::Result<Vec<&'static str>> {
    let mut files = collected.files();
    let of_request = [policy.to_toml(), format!("{about:#}\n")];
    for (name, text) in EvidenceFiles::OF_REQUEST.into_iter().zip(of_request) {
        files.insert(name, text).map_err(io::Error::other)?;
    }
    let mut written = Vec::new();
    for (name, bytes) in files.iter() {
        fs::write(directory.join(name), bytes)?;
        written.push(name);
    }
    Ok(written)
}

fn make_empty(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    match fs::read_dir(directory)?.next() {
        None => Ok(()),
        Some(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "expected an empty directory")),
    }
}

fn report(
    arguments: &Arguments,
    collected: &EvidenceBundle,
    written: &[&str],
    outcome: &Result<(), AttestationError>,
) -> ExitCode {
    let printed = if arguments.json {
        print_json(&json!({
            "folder": arguments.out,
            "files": written,
            "verdict": outcome.as_ref().err().map_or("accepted", verdict),
            "accepted": outcome.is_ok(),
            "error": outcome.as_ref().err().map(error_json),
        }))
    } else {
        let lines: String = written.iter().map(|name| format!("{}\n", arguments.out.join(name).display())).collect();
        let printed = print(&lines);
        collected.missing().for_each(|missing| note(&format!("note: {missing}")));
        match outcome {
            Ok(()) => note("the policy accepts this evidence, as a record"),
            Err(error) => log::error(error.code(), &error.to_string()),
        }
        printed
    };
    ended(outcome.as_ref().err().map_or(0, exit_code), printed)
}
