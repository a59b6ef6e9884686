//! `advisories`: which published attacks a report's platform still allows.

use std::path::PathBuf;
use std::process::ExitCode;

use blindbox_attestation::advisories::{Advisory, AdvisoryFinding, AdvisoryStatus, UnverifiedAdvisories};
use blindbox_attestation::files::{FileError, read_report};
use clap::Args;
use serde_json::json;

use crate::exit::{Failure, ended, print, print_json};
use crate::files;

#[derive(Args)]
#[command(
    after_help = "Nothing is verified, since a report alone says nothing about who made it: see `verify --evidence`. Of what \
no report shows (memory interposers such as Battering RAM and TEE.fail, side channels, extracted keys of Milan chips) nothing \
is said. A token is refused: it carries neither the CPUID nor platform information nor mitigation vectors. Figures are as the sources named read AMD's bulletins; the absence of an advisory says nothing."
)]
pub struct Arguments {
    /// A hardware report (1184 bytes), as `fetch` saves it; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Exit with 1 if an advisory is not fixed, or the report does not say what would show it.
    #[arg(long)]
    deny_open: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let bytes = files::read(&arguments.file)?;
    let report = read_report(&bytes).map_err(|error| files::about(&arguments.file, expected_report(&error)))?;
    let found = UnverifiedAdvisories::read(&report).map_err(|error| files::about(&arguments.file, error))?;
    let printed = if arguments.json {
        print_json(&json!({ "kind": "advisories", "verified": false, "as_of": Advisory::AS_OF, "report": found }))
    } else {
        print(&text(&found))
    };
    let unfixed = found
        .findings
        .iter()
        .any(|finding| matches!(finding.status, AdvisoryStatus::NotFixed(_) | AdvisoryStatus::NotReported { .. }));
    Ok(ended(u8::from(arguments.deny_open && unfixed), printed))
}

/// Why a file is not a report. A token has the reported TCB and nothing else of what shows a fix.
fn expected_report(error: &FileError) -> String {
    match error {
        FileError::AnotherKind { found, .. } if found.contains("token") => format!(
            "{error}: a token carries neither the CPUID, by which the fixed versions of a processor are found, nor the platform \
             information and mitigation vectors, which show some fixes; give the hardware report, which `fetch` saves as report.bin \
             under AMD trust"
        ),
        error => error.to_string(),
    }
}

fn text(found: &UnverifiedAdvisories) -> String {
    let processor = match (found.silicon, found.cpuid) {
        (Some(silicon), _) => silicon.to_string(),
        (None, Some(cpuid)) => format!("an unknown stepping ({cpuid})"),
        (None, None) => "a processor that the report does not name".to_owned(),
    };
    let mut text = format!(
        "not verified: a report of version {} of {processor}, reported tcb {}\n",
        found.version, found.reported_tcb
    );
    found.findings.iter().for_each(|finding| text += &row(finding));
    text + &format!("as of {}: later bulletins are not in the table of this release\n", Advisory::AS_OF)
}

fn row(finding: &AdvisoryFinding) -> String {
    let advisory = finding.advisory;
    let (status, detail) = match finding.status {
        AdvisoryStatus::Fixed => ("fixed", String::new()),
        AdvisoryStatus::NotFixed(unmet) => ("NOT FIXED", format!("; {unmet} is needed")),
        AdvisoryStatus::NotReported { claim } => ("not reported", format!("; the report does not say: {claim}")),
        // A status that this program does not know is none that it may call fixed.
        _ => ("unknown", "; no source says what shows the fix on this processor".to_owned()),
    };
    let attack = advisory.attack.map(|attack| format!(" {attack}")).unwrap_or_default();
    let heading = format!("{}{attack}", advisory.name);
    format!(
        "{status:<13}  {heading:<24}  {} {}: {}{detail}\n{:<13}  {:<24}  source: {}\n",
        advisory.published,
        advisory.cves.join(", "),
        advisory.about,
        "",
        "",
        advisory.sources.join("; "),
    )
}
