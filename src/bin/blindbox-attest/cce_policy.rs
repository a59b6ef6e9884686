//! CCE policies that commands are given: one reader for all of them.

use std::path::{Path, PathBuf};

use blindbox_attestation::cce_policy::{CcePolicy, FoundCcePolicy, find_cce_policies};

use crate::exit::{Failure, note};
use crate::files;

/// Names that a failure lists.
const LISTED: usize = 20;

/// Reads the policy of a file in whatever form people have it. Of several, `name` says which. What a reader should know of how
/// it was found goes to standard error.
pub fn read(path: &Path, name: Option<&str>) -> Result<CcePolicy, Failure> {
    let chosen = choose(path, find(path)?, name)?;
    for text in &chosen.notes {
        note(&format!("note: {}: {text}", path.display()));
    }
    chosen.policy.map_err(|error| match chosen.place.as_str() {
        "document" => files::about(path, error),
        place => files::about(path, format!("{place}: {error}")),
    })
}

fn find(path: &Path) -> Result<Vec<FoundCcePolicy>, Failure> {
    find_cce_policies(&files::read(path)?).map_err(|error| files::about(path, error))
}

fn choose(path: &Path, found: Vec<FoundCcePolicy>, name: Option<&str>) -> Result<FoundCcePolicy, Failure> {
    let listed = list(&found);
    let count = found.len();
    let mut matching: Vec<FoundCcePolicy> = match name {
        None => found,
        Some(name) => found.into_iter().filter(|found| is_named(found, name)).collect(),
    };
    // The same policy in two places is one policy.
    let same = matching
        .split_first()
        .is_some_and(|(first, rest)| first.policy.is_ok() && rest.iter().all(|other| other.policy == first.policy));
    if same {
        matching.truncate(1);
    }
    match (matching.pop(), matching.is_empty(), name) {
        (Some(only), true, _) => Ok(only),
        (None, _, Some(name)) => {
            Err(files::about(path, format!("holds no CCE policy named {name:?}; it holds:{listed}")))
        }
        _ => Err(files::about(path, format!("holds {count} CCE policies; choose one with --cce-policy-name:{listed}"))),
    }
}

/// A policy is named by its container group or pod, or by its place.
fn is_named(found: &FoundCcePolicy, name: &str) -> bool {
    found.place == name || found.name.as_deref() == Some(name)
}

fn list(found: &[FoundCcePolicy]) -> String {
    let mut listed = String::new();
    for found in found.iter().take(LISTED) {
        let host_data = match &found.policy {
            Ok(policy) => format!("host data {}", policy.digest()),
            Err(error) => error.to_string(),
        };
        let name = found.name.as_ref().map_or_else(String::new, |name| format!("{name:?}, "));
        listed.push_str(&format!("\n  {name}{}: {host_data}", found.place));
    }
    let more = found.len().saturating_sub(LISTED);
    if more > 0 {
        listed.push_str(&format!("\n  and {more} more"));
    }
    listed
}

/// The file of a CCE policy, for commands that take it as an option.
#[derive(clap::Args)]
pub struct CcePolicyFile {
    /// The CCE policy of the container: what `az confcom` prints (base64 or Rego text), an ARM template or its parameters, or
    /// YAML with `ccePolicy` or the annotation of a pod; `-` is standard input.
    #[arg(long, value_name = "FILE", help_heading = "What must run")]
    pub cce_policy: Option<PathBuf>,

    /// Which of several CCE policies in the file: the name of the container group or pod, or the place that the error lists.
    #[arg(long, value_name = "NAME", requires = "cce_policy", help_heading = "What must run")]
    pub cce_policy_name: Option<String>,
}

impl CcePolicyFile {
    pub fn read(&self) -> Result<Option<CcePolicy>, Failure> {
        self.cce_policy.as_deref().map(|path| read(path, self.cce_policy_name.as_deref())).transpose()
    }
}
