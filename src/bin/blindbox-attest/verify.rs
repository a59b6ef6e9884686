//! `verify`: the appraisal, for people and machines.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use blindbox_attestation::{Appraisal, Attestation, AttestationError};
use clap::Args;
use serde_json::{Value, json};

use crate::connect_args::Connection;
use crate::exit::{Failure, ended, print_json, print_styled};
use crate::saved_evidence::{Saved, SavedKeySet, Unproven, Verified};
use crate::terminal;

/// What recorded evidence never is. It comes first, before any verdict.
const RECORDED: &str = "neither fresh nor bound";

#[derive(Args)]
pub struct Arguments {
    /// Where the application is, such as https://my-app.example. A path becomes the base of all requests.
    #[arg(value_name = "URL", required_unless_present = "evidence")]
    url: Option<String>,

    #[command(flatten)]
    connection: Connection,

    /// Verify what `fetch` saved in this directory instead. That proves nothing of any connection. Under MAA trust it takes a
    /// --key-set from elsewhere, or a policy with `trust.maa.key-id`: without them there is no verdict.
    #[arg(
        long, value_name = "DIR", help_heading = "Saved evidence",
        conflicts_with_all = [
            "url", "application_root", "collateral_root", "platform_collateral_roots", "agent", "kds", "thim", "cache_dir",
            "http_proxy", "resolve", "timeout",
        ],
    )]
    evidence: Option<PathBuf>,

    /// The time to verify saved evidence for, in seconds since 1970-01-01 UTC; without it the one that `fetch` noted.
    #[arg(
        long,
        value_name = "UNIX_TIME",
        requires = "evidence",
        conflicts_with = "url",
        help_heading = "Saved evidence"
    )]
    at: Option<u64>,

    /// Verify the token with the key set that lies in the directory too. Who wrote the directory then decides which tokens are
    /// genuine: only for directories that no one else could write.
    #[arg(long, requires = "evidence", conflicts_with_all = ["url", "key_set"], help_heading = "Saved evidence")]
    trust_saved_key_set: bool,

    /// Print one JSON object: the verdict with every check and every claim.
    #[arg(long)]
    pub json: bool,

    /// Show values that identify a machine or a guest whole in the table. JSON always has them whole.
    #[arg(long)]
    full: bool,
}

pub async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let accepted = match (&arguments.url, &arguments.evidence) {
        (Some(url), None) => {
            attest(url, &arguments.connection).await.map(|attested| arguments.attested(url, &attested))
        }
        (None, Some(directory)) => {
            let saved = arguments.saved(directory);
            saved.verify().map(|verified| arguments.recorded(&saved, verified))
        }
        _ => Err(Failure::usage("expected either a URL or --evidence")),
    };
    match accepted {
        Ok(printed) => Ok(ended(0, printed)),
        Err(usage @ Failure::Usage(_)) => Err(usage),
        Err(failure) => Ok(ended(failure.exit(), arguments.refused(&failure))),
    }
}

async fn attest(url: &str, connection: &Connection) -> Result<Arc<Attestation>, Failure> {
    let policy = connection.policy()?;
    Ok(connection.connect(url, &policy).await?.attestation())
}

impl Arguments {
    fn attested(&self, url: &str, attested: &Attestation) -> Result<(), Failure> {
        if self.json {
            return self.tell(json!({ "verdict": "accepted", "attestation": attested }));
        }
        let verdict = format!("{url} is attested until {}", attested.expires_at());
        print_styled(&format!("{}\n\n{}", terminal::accepted(&verdict), self.table(attested.appraisal())))
    }

    fn saved<'a>(&'a self, directory: &'a Path) -> Saved<'a> {
        let key_set = if self.trust_saved_key_set { SavedKeySet::Trusted } else { SavedKeySet::Claim };
        Saved { connection: &self.connection, directory, at: self.at, key_set }
    }

    fn recorded(&self, saved: &Saved<'_>, verified: Verified) -> Result<(), Failure> {
        let Verified { attestation, unproven } = verified;
        if self.json {
            return self.tell(json!({ "verdict": "accepted", "attestation": attestation, "unproven": unproven }));
        }
        let at = attestation.verified_for();
        let verdict = format!("recorded: {RECORDED}\n{} is accepted as of {at}", saved.directory.display());
        let unproven: Vec<_> = unproven.into_iter().map(Unproven::describe).collect();
        let unproven = match unproven.as_slice() {
            [] => String::new(),
            unproven => format!("taken from the directory without proof: {}\n", unproven.join(", ")),
        };
        print_styled(&format!("{}\n{unproven}\n{}", terminal::plain(&verdict), self.table(attestation.appraisal())))
    }

    fn refused(&self, failure: &Failure) -> Result<(), Failure> {
        let appraisal = failure.error().and_then(AttestationError::appraisal);
        if self.json {
            let mut told = failure.json().unwrap_or_default();
            if let Some(told) = told.as_object_mut() {
                told.insert("appraisal".to_owned(), json!(appraisal));
            }
            return self.tell(told);
        }
        let printed = match appraisal {
            Some(appraisal) => {
                let (recorded, what) = match &self.evidence {
                    Some(folder) => (format!("recorded: {RECORDED}\n"), folder.display().to_string()),
                    None => (String::new(), self.url.clone().unwrap_or_default()),
                };
                let verdict = terminal::refused(&format!("{what} is REFUSED"));
                print_styled(&format!("{recorded}{verdict}\n\n{}", self.table(appraisal)))
            }
            None => Ok(()),
        };
        failure.note();
        printed
    }

    fn table(&self, appraisal: &Appraisal) -> String {
        terminal::table(&if self.full { appraisal.full().to_string() } else { appraisal.to_string() })
    }

    /// As JSON, with what it is about.
    fn tell(&self, mut told: Value) -> Result<(), Failure> {
        if let Some(told) = told.as_object_mut() {
            if let Some(folder) = &self.evidence {
                told.insert("evidence".to_owned(), json!(folder.display().to_string()));
                told.insert("recorded".to_owned(), RECORDED.into());
            } else {
                told.insert("url".to_owned(), json!(self.url));
            }
        }
        print_json(&told)
    }
}
