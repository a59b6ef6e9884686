//! Knobs as they are written on the command line: `NAME` or `NAME=VALUE`.

use blindbox_attestation::emulator::{AnyKnob, OptionError};

pub fn parse(written: &str) -> Result<AnyKnob, String> {
    written.parse().map_err(|error: OptionError| error.to_string())
}

/// Of a processor that is not there it would change nothing, and a test would pass for the wrong reason.
pub fn check(knob: &AnyKnob, has_product: bool) -> Result<(), String> {
    if knob.needs_platform() && !has_product {
        return Err(
            "a knob of hardware evidence, of the evidence of MAA or of AMD's service needs --product, such as --product milan".to_owned()
        );
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
