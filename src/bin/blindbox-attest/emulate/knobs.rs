//! Knobs as they are written on the command line: `NAME` or `NAME=VALUE`.

use blindbox_attestation::emulator::{AnyKnob, OptionError};

pub fn parse(written: &str) -> Result<AnyKnob, String> {
    written.parse().map_err(|error: OptionError| error.to_string())
}

/// The parts of an emulation that a knob may need.
#[derive(Clone, Copy)]
pub struct Parts {
    /// A processor, with AMD's service.
    pub product: bool,
    /// A confidential VM with SEV-SNP.
    pub vm: bool,
    /// A reverse proxy that ends TLS.
    pub front_end: bool,
}

/// Of a part that is not there it would change nothing, and a test would pass for the wrong reason.
pub fn check(knob: &AnyKnob, parts: Parts) -> Result<(), String> {
    if knob.needs_confidential_vm() && !(parts.vm && parts.product) {
        return Err("a knob of a confidential VM needs --guest vm and --product, such as --product milan".to_owned());
    }
    if knob.needs_platform() && !parts.product {
        return Err(
            "a knob of hardware evidence, of the evidence of MAA or of AMD's service needs --product, such as --product milan".to_owned()
        );
    }
    if knob.needs_front_end() && !parts.front_end {
        return Err("a knob of a front end needs --front-end".to_owned());
    }
    Ok(())
}

pub fn help() -> String {
    let mut help = String::from("Knobs:");
    let mut group = "";
    for row in AnyKnob::rows() {
        if row.group != group {
            group = row.group;
            help.push_str(&format!("\n  {group}"));
        }
        help.push_str(&format!("\n    {:<38} {}", row.form, row.meaning));
    }
    help
}
