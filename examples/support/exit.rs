//! How the examples end: with the exit codes of `blindbox-attest`.

use std::process::ExitCode;

use blindbox_attestation::{AttestationError, Category};

/// The command line could not be understood (`EX_USAGE` of sysexits).
pub const USAGE: u8 = 64;

/// A file or a setting cannot be used.
pub const MISCONFIGURED: u8 = 4;

/// The exit code of an error's category.
pub fn code(error: &AttestationError) -> u8 {
    match error.category() {
        Category::Rejected => 1,
        Category::Untrusted => 2,
        Category::Unavailable => 3,
        _ => MISCONFIGURED,
    }
}

/// Prints how a program is used, and ends as the command line deserves: asking for help is no error.
#[allow(dead_code, reason = "not every example has options")]
pub fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}
