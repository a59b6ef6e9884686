//! `inspect`: what files of evidence are, and all that they say.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::files;
use crate::outcome::{Failure, print};

#[derive(Args)]
#[command(
    after_help = "Only what can be told from a file alone is verified: certificates and revocation lists against \
AMD's built-in roots, endorsements against Microsoft's production issuer. Nothing is appraised."
)]
pub struct Arguments {
    /// A token (JWT), a report (1184 bytes), a key set (JSON), certificates (DER or PEM), a revocation list (DER) or the
    /// endorsement of a utility VM (COSE_Sign1); `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut exit = ExitCode::SUCCESS;
    for file in &arguments.files {
        match show(file) {
            Err(failure) => exit = failure.report(false),
            Ok(()) => {}
        }
    }
    Ok(exit)
}

fn show(file: &Path) -> Result<(), Failure> {
    let found = blindbox_attestation::inspect(&files::read(file)?).map_err(|error| files::about(file, error))?;
    found.iter().try_for_each(print)
}
