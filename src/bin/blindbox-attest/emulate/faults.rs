//! Faults as they are written on the command line: `PATH=FAULT`.

use blindbox_attestation::emulator::{Fault, OptionError};

/// A fault of every request whose path begins so.
#[derive(Clone)]
pub struct FaultAt {
    pub path: String,
    pub fault: Fault,
}

pub fn parse(text: &str) -> Result<FaultAt, String> {
    let (path, fault) = text.split_once('=').ok_or("expected PATH=FAULT, such as /attest/=hang")?;
    if !path.starts_with('/') {
        return Err("expected a path that begins with a slash".to_owned());
    }
    let fault: Fault = fault.parse().map_err(|error: OptionError| error.to_string())?;
    Ok(FaultAt { path: path.to_owned(), fault })
}

pub fn help() -> String {
    let lines: Vec<String> = Fault::rows().map(|row| format!("  {:<40} {}", row.form, row.meaning)).collect();
    format!("Faults:\n{}", lines.join("\n"))
}
