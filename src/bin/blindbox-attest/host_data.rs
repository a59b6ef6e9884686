//! `host-data`: the digest of a CCE policy, what it does not restrict, and how it differs from another.

use std::path::PathBuf;
use std::process::ExitCode;

use blindbox_attestation::cce_policy::CcePolicy;
use clap::Args;
use serde_json::json;

use crate::cce_policy;
use crate::exit::{Failure, ended, note, print, print_json};

#[derive(Args)]
pub struct Arguments {
    /// The CCE policy: what `az confcom` prints (base64 or Rego text), an ARM template or its parameters, or YAML with
    /// `ccePolicy` or the annotation of a pod; `-` is standard input.
    #[arg(value_name = "CCE_POLICY_FILE")]
    file: PathBuf,

    /// Which of several CCE policies in the file: the name of the container group or pod, or the place that the error lists.
    #[arg(long, value_name = "NAME")]
    cce_policy_name: Option<String>,

    /// Compare with the CCE policy in this file: show what one of them says and the other does not (`-` for the first, `+` for
    /// this), and exit with 1 if their host data differ.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,

    /// Which of several CCE policies in the file of --check.
    #[arg(long, value_name = "NAME", requires = "check")]
    check_name: Option<String>,

    /// Print one JSON object, with the findings.
    #[arg(long)]
    pub json: bool,

    /// Exit with 1 if there are findings.
    #[arg(long)]
    deny_findings: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let policy = cce_policy::read(&arguments.file, arguments.cce_policy_name.as_deref())?;
    let other = match &arguments.check {
        Some(path) => Some(cce_policy::read(path, arguments.check_name.as_deref())?),
        None => None,
    };
    let findings: Vec<String> = policy.findings().iter().map(ToString::to_string).collect();
    let differs = other.as_ref().is_some_and(|other| other.digest() != policy.digest());
    let printed = if arguments.json {
        as_json(&policy, other.as_ref(), &findings)
    } else {
        as_text(&policy, other.as_ref(), &findings)
    };
    Ok(ended(u8::from(differs || (arguments.deny_findings && !findings.is_empty())), printed))
}

fn differences(policy: &CcePolicy, other: &CcePolicy) -> Vec<String> {
    policy.differences(other).iter().map(ToString::to_string).collect()
}

fn as_json(policy: &CcePolicy, other: Option<&CcePolicy>, findings: &[String]) -> Result<(), Failure> {
    let mut object = json!({ "host_data": policy.digest(), "bytes": policy.text().len(), "findings": findings });
    if let (Some(other), Some(object)) = (other, object.as_object_mut()) {
        let check = json!({
            "host_data": other.digest(),
            "same": other.digest() == policy.digest(),
            "differences": differences(policy, other),
        });
        object.insert("check".to_owned(), check);
    }
    print_json(&object)
}

fn as_text(policy: &CcePolicy, other: Option<&CcePolicy>, findings: &[String]) -> Result<(), Failure> {
    // Alone, for `$(...)`.
    let printed = print(&policy.digest());
    findings.iter().for_each(|finding| note(&format!("finding: {finding}")));
    if let Some(other) = other {
        let found = differences(policy, other);
        let said = match (other.digest() == policy.digest(), found.is_empty()) {
            (true, _) => "check: the same host data",
            (false, false) => "check: other host data",
            (false, true) => {
                "check: other host data, though nothing that was read differs: spelling, order or comments do"
            }
        };
        note(&format!("{said} ({})", other.digest()));
        found.iter().for_each(|line| note(line));
    }
    printed
}
