//! `verify`: the appraisal, for people and machines.

use std::process::ExitCode;

use blindbox_attestation::{AttestationError, Attested};
use clap::Args;
use serde_json::json;

use crate::connection::Connection;
use crate::outcome::{Failure, error_json, exit_code, note, print, print_json};
use crate::terminal;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,

    /// Print one JSON object: the verdict with every check and every claim.
    #[arg(long)]
    json: bool,

    /// Show values that identify a machine or a guest whole in the table. JSON always has them whole.
    #[arg(long)]
    full: bool,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let outcome = attest(&arguments.connection).await;
    match outcome {
        Ok(attested) => accepted(&arguments, &attested),
        Err(Failure::Attestation(error)) => refused(&arguments, &error),
        Err(other) => Err(other),
    }
}

async fn attest(connection: &Connection) -> Result<std::sync::Arc<Attested>, Failure> {
    let policy = connection.policy()?;
    Ok(connection.connect(&policy).await?.attestation())
}

fn accepted(arguments: &Arguments, attested: &Attested) -> Result<ExitCode, Failure> {
    let url = &arguments.connection.url;
    if arguments.json {
        return print_json(&json!({ "url": url, "verdict": "accepted", "attestation": attested }));
    }
    let appraisal = attested.appraisal();
    let table = if arguments.full { appraisal.full().to_string() } else { appraisal.to_string() };
    print(&format!("{url} is attested until {}\n\n{}", terminal::time(attested.expires_at()), terminal::table(&table)))
}

fn refused(arguments: &Arguments, error: &AttestationError) -> Result<ExitCode, Failure> {
    let url = &arguments.connection.url;
    if arguments.json {
        let appraisal = error.appraisal();
        print_json(&json!({ "url": url, "verdict": "refused", "error": error_json(error), "appraisal": appraisal }))?;
    } else {
        if let Some(appraisal) = error.appraisal() {
            let table = if arguments.full { appraisal.full().to_string() } else { appraisal.to_string() };
            print(&format!("{url} is REFUSED\n\n{}", terminal::table(&table)))?;
        }
        note(&terminal::error(error.code(), &error.to_string()));
    }
    Ok(ExitCode::from(exit_code(error)))
}
