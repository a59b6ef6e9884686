//! How a command ends: what it prints, and its exit code.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use blindbox_attestation::{AttestationError, Category, PolicyError, printable_json};
use serde_json::{Value, json};

use crate::{log, terminal};

/// The command line could not be understood (`EX_USAGE` of sysexits).
pub const USAGE: u8 = 64;

/// Why a command failed.
pub enum Failure {
    /// With a verdict, or without one.
    Attestation(Box<AttestationError>),
    /// The same, of what stands in a file.
    File(PathBuf, Box<AttestationError>),
    /// An option that does not go with another, which clap cannot tell.
    Usage(String),
}

impl Failure {
    /// A file or a setting that cannot be used.
    pub fn setting(message: impl Into<String>) -> Self {
        AttestationError::Misconfigured { reason: message.into() }.into()
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub fn in_file(path: impl Into<PathBuf>, error: impl Into<AttestationError>) -> Self {
        Self::File(path.into(), Box::new(error.into()))
    }

    /// Says it: as text on standard error, or as one JSON object where that was asked for.
    pub fn report(&self, json: bool) -> ExitCode {
        match self.json().filter(|_| json) {
            Some(failed) => ended(self.exit(), print_json(&failed)),
            None => {
                self.note();
                ExitCode::from(self.exit())
            }
        }
    }

    /// Says it on standard error.
    pub fn note(&self) {
        let code = self.error().map_or("usage", AttestationError::code);
        log::error(code, &self.message());
    }

    pub fn exit(&self) -> u8 {
        self.error().map_or(USAGE, exit_code)
    }

    /// What it is in terms of attestation; of the command line nothing.
    pub fn error(&self) -> Option<&AttestationError> {
        match self {
            Self::Attestation(error) | Self::File(_, error) => Some(error),
            Self::Usage(_) => None,
        }
    }

    /// The verdict that this is, and why.
    pub fn json(&self) -> Option<Value> {
        let error = self.error()?;
        let mut told = error_json(error);
        if let (Category::Misconfigured, Some(told)) = (error.category(), told.as_object_mut()) {
            told.insert("message".to_owned(), self.message().into());
        }
        Some(json!({ "verdict": verdict(error), "error": told }))
    }

    fn message(&self) -> String {
        match self {
            Self::Attestation(error) => message(error),
            Self::File(path, error) => format!("{}: {}", path.display(), message(error)),
            Self::Usage(message) => message.clone(),
        }
    }
}

impl From<AttestationError> for Failure {
    fn from(error: AttestationError) -> Self {
        Self::Attestation(Box::new(error))
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        AttestationError::InvalidPolicy(error).into()
    }
}

/// What an error says without its name, which its code has said already.
fn message(error: &AttestationError) -> String {
    match error {
        AttestationError::Misconfigured { reason } => reason.clone(),
        AttestationError::InvalidUrl { reason } | AttestationError::InvalidRequest { reason } => (*reason).to_owned(),
        AttestationError::InvalidPolicy(PolicyError::Malformed { reason }) => reason.clone(),
        AttestationError::InvalidPolicy(error) => error.to_string(),
        other => other.to_string(),
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

/// The verdict that an error is, in a word.
pub fn verdict(error: &AttestationError) -> &'static str {
    match error.category() {
        Category::Rejected => "rejected",
        Category::Untrusted => "untrusted",
        Category::Unavailable => "no-verdict",
        _ => "misconfigured",
    }
}

/// An error for machines.
pub fn error_json(error: &AttestationError) -> Value {
    json!(error)
}

/// The end of a command with this exit code. What became of its output changes it only where all was well otherwise.
pub fn ended(exit: u8, printed: Result<(), Failure>) -> ExitCode {
    let unprinted = printed.err().map(|failure| {
        failure.note();
        failure.exit()
    });
    match (exit, unprinted) {
        (0, Some(unprinted)) => ExitCode::from(unprinted),
        (exit, _) => ExitCode::from(exit),
    }
}

/// Prints text to standard output, with characters that a terminal obeys escaped.
pub fn print(text: &(impl Display + ?Sized)) -> Result<(), Failure> {
    print_styled(&terminal::plain(&text.to_string()))
}

/// Prints to standard output what has colours already, and so was escaped before, or what is to be read by programs. A reader who
/// has gone away (`| head`) is no failure, and changes nothing of how a command ends.
pub fn print_styled(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::setting(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// JSON over several lines, for people and machines.
pub fn print_json(value: &Value) -> Result<(), Failure> {
    print_styled(&printable_json(&format!("{value:#}")))
}

/// One line of JSON, for programs.
pub fn print_json_line(value: &Value) -> Result<(), Failure> {
    print_styled(&printable_json(&value.to_string()))
}

/// Reports something on standard error.
pub fn note(text: &str) {
    log::note(text);
}
