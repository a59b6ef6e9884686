//! Prints a token, a report, a certificate or an endorsement in full. Nothing is verified but what the output says is.
//!
//! ```console
//! $ cargo run --example inspect -- token.jwt
//! $ cargo run --example inspect -- report.bin vcek.der uvm.cose
//! ```
//!
//! Only what the file alone can show is verified: a certificate against AMD's built-in roots, an endorsement against
//! Microsoft's production issuer. A token needs a key set and a report its certificate: that is what the example `offline` is for.

#[path = "support/exit.rs"]
#[allow(dead_code, reason = "nothing is appraised here")]
mod exit;

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use blindbox_attestation::inspect::inspect;
use clap::Parser;

/// Print attestation evidence in full, verified or not, and say which.
#[derive(Parser)]
struct Arguments {
    /// A token (JWT), a report (1184 bytes), a key set (JSON), a certificate (DER or PEM), a revocation list (DER) or an
    /// endorsement (COSE_Sign1).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let mut end = ExitCode::SUCCESS;
    for file in &arguments.files {
        match look_at(file) {
            Ok(()) => {}
            Err(message) => {
                eprintln!("error[unreadable]: {}: {message}", file.display());
                end = ExitCode::from(exit::MISCONFIGURED);
            }
        }
    }
    end
}

fn look_at(file: &Path) -> Result<(), Box<dyn Error>> {
    inspect(&fs::read(file)?)?.iter().try_for_each(say)?;
    Ok(())
}

/// Prints a text. A reader who has gone away (`| head`) is no failure, and changes nothing of the exit code.
fn say(text: &impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
