//! `verify`: the appraisal, for people and machines.

use std::process::ExitCode;

use blindbox_attestation::{AttestationError, Attested};
use clap::Args;
use serde_json::json;

use crate::connection::Connection;
use crate::outcome::{Failure, ended, print, print_json};
use crate::terminal;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,

    /// Print one JSON object: the verdict with every check and every claim.
    #[arg(long)]
    pub json: bool,

    /// Show values that identify a machine or a guest whole in the table. JSON always has them whole.
    #[arg(long)]
    full: bool,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match attest(&arguments.connection).await {
        Ok(attested) => Ok(ended(0, accepted(&arguments, &attested))),
        Err(usage @ Failure::Usage(_)) => Err(usage),
        Err(failure) => Ok(ended(failure.exit(), refused(&arguments, &failure))),
    }
}

async fn attest(connection: &Connection) -> Result<std::sync::Arc<Attested>, Failure> {
    let policy = connection.policy()?;
    Ok(connection.connect(&policy).await?.attestation())
}

fn accepted(arguments: &Arguments, attested: &Attested) -> Result<(), Failure> {
    let url = &arguments.connection.url;
    if arguments.json {
        return print_json(&json!({ "url": url, "verdict": "accepted", "attestation": attested }));
    }
    let appraisal = attested.appraisal();
    let table = if arguments.full { appraisal.full().to_string() } else { appraisal.to_string() };
    print(&format!("{url} is attested until {}\n\n{}", terminal::time(attested.expires_at()), terminal::table(&table)))
}

fn refused(arguments: &Arguments, failure: &Failure) -> Result<(), Failure> {
    let url = &arguments.connection.url;
    let appraisal = failure.error().and_then(AttestationError::appraisal);
    if arguments.json {
        let mut told = failure.json().unwrap_or_default();
        if let Some(told) = told.as_object_mut() {
            told.insert("url".to_owned(), json!(url));
            told.insert("appraisal".to_owned(), json!(appraisal));
        }
        return print_json(&told);
    }
    let printed = match appraisal {
        Some(appraisal) => {
            let table = if arguments.full { appraisal.full().to_string() } else { appraisal.to_string() };
            print(&format!("{url} is REFUSED\n\n{}", terminal::table(&table)))
        }
        None => Ok(()),
    };
    failure.note();
    printed
}
