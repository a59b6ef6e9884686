//! How a command ends: what it prints, and its exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use blindbox_attestation::{AttestationError, Category};
use serde_json::{Value, json};

use crate::terminal;

/// The command line could not be understood (`EX_USAGE` of sysexits).
pub const USAGE: u8 = 64;

/// Why a command failed.
pub enum Failure {
    /// With a verdict, or without one.
    Attestation(Box<AttestationError>),
    /// A file or a setting that cannot be used.
    Setting(String),
    /// An option that does not go with another, which clap cannot tell.
    Usage(String),
    /// Nobody reads what is printed.
    Unheard,
}

impl Failure {
    pub fn setting(message: impl Into<String>) -> Self {
        Self::Setting(message.into())
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub fn report(self) -> ExitCode {
        let (code, exit, message) = match &self {
            Self::Attestation(error) => (error.code(), exit_code(error), error.to_string()),
            Self::Setting(message) => ("misconfigured", 4, message.clone()),
            Self::Usage(message) => ("usage", USAGE, message.clone()),
            Self::Unheard => return ExitCode::SUCCESS,
        };
        note(&terminal::error(code, &message));
        ExitCode::from(exit)
    }
}

impl From<AttestationError> for Failure {
    fn from(error: AttestationError) -> Self {
        Self::Attestation(Box::new(error))
    }
}

/// The exit code of an error's category.
pub fn exit_code(error: &AttestationError) -> u8 {
    match error.category() {
        Category::Rejected => 1,
        Category::Untrusted => 2,
        Category::Unavailable => 3,
        // A category that this program does not know is none that it may call success.
        _ => 4,
    }
}

/// An error for machines.
pub fn error_json(error: &AttestationError) -> Value {
    json!(error)
}

/// Prints to standard output. A reader who has gone away (`| head`) is no failure of ours.
pub fn print(text: &(impl Display + ?Sized)) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    let text = text.to_string();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written = write!(out, "{text}{end}").and_then(|()| out.flush());
    written.map(|()| ExitCode::SUCCESS).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::Unheard,
        _ => Failure::setting(format!("standard output: {error}")),
    })
}

/// JSON over several lines, for people and machines.
pub fn print_json(value: &Value) -> Result<ExitCode, Failure> {
    print(&format!("{value:#}"))
}

/// Says something on standard error. Where nobody listens, nobody needs to know.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
