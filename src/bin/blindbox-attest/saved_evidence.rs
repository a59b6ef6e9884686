//! Evidence that `fetch` saved, on its way back.

use std::io::ErrorKind;
use std::path::Path;

use blindbox_attestation::{
    AttestationError, Evidence, EvidenceFiles, EvidenceFilesError, KeySetSource, OfflineAttestation, Policy, UnixTime,
    verify_recorded,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::connect_args::Connection;
use crate::evidence_directory::EvidenceDirectory;
use crate::exit::Failure;
use crate::files;

/// What `fetch` noted that is needed here: a claim of who wrote the directory.
#[derive(Deserialize)]
struct About {
    asked_at: UnixTime,
    /// Absent if another program wrote the file, which the result then says; `null` is refused.
    #[serde(default, deserialize_with = "present")]
    nonce: Option<String>,
}

/// A member that is there has a value: `null` is not absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// What is taken from a directory without proof, since no one else signed it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unproven {
    Time,
    Nonce,
    KeySet,
    AmdRoots,
    AkRoot,
    Policy,
}

impl Unproven {
    /// What it is, and which option takes it from elsewhere.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Time => "the time (about.json; else --at)",
            Self::Nonce => "the nonce (no about.json names the one that was sent)",
            Self::KeySet => "the keys of MAA (key-set.json, by --trust-saved-key-set; else --key-set)",
            Self::AmdRoots => "the roots in place of AMD's (else --amd-roots from elsewhere)",
            Self::AkRoot => "the root in place of Azure's root of virtual TPMs (else --ak-root from elsewhere)",
            Self::Policy => "the policy (else a --policy of your own)",
        }
    }
}

/// Where the keys of MAA may be from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SavedKeySet {
    /// Only from elsewhere, unless the policy pins the key.
    Claim,
    /// From the directory too: the caller knows who wrote it.
    Trusted,
}

/// What is to be verified.
pub struct Saved<'a> {
    pub connection: &'a Connection,
    pub directory: &'a Path,
    /// In seconds since 1970; without it the time that was noted in the directory.
    pub at: Option<u64>,
    pub key_set: SavedKeySet,
}

impl Saved<'_> {
    /// Verifies the directory for a time.
    pub fn verify(&self) -> Result<OfflineAttestation, Failure> {
        let Self { connection, directory, .. } = self;
        let policy: Policy = connection.policy()?;
        let saved = evidence_files(directory)?;
        let fault = |error| fault(directory, error);
        let evidence = saved.evidence().map_err(fault)?;
        let about = about(directory)?;
        let at = match (self.at, &about) {
            (Some(seconds), _) => UnixTime::from_secs(seconds),
            (None, Some(about)) => about.asked_at,
            (None, None) => {
                return Err(files::about(directory, "holds no about.json: say with --at for which time to verify"));
            }
        };
        let mut endorsements = saved.endorsements().map_err(fault)?;
        endorsements.key_set_source = match self.key_set {
            SavedKeySet::Claim => KeySetSource::BesideEvidence,
            SavedKeySet::Trusted => KeySetSource::Given,
        };
        if let Some(pinned) = connection.key_set()? {
            // One of the directory itself is no more than a claim, whichever option names it.
            let source =
                if self.holds(connection.key_set_path()) { KeySetSource::BesideEvidence } else { KeySetSource::Pinned };
            (endorsements.key_set, endorsements.key_set_source) = (Some(pinned), source);
        }
        endorsements.amd_anchors = connection.amd_anchors()?.unwrap_or_default();
        endorsements.ak_anchors = connection.ak_anchors()?.unwrap_or_default();
        let recorded = verify_recorded(&evidence, &endorsements, &policy, at)?;
        if let Some(nonce) = about.and_then(|about| about.nonce) {
            covers_nonce(&evidence, &nonce)?;
        }
        Ok(recorded)
    }

    /// What the verdict takes from the directory without proof.
    pub fn unproven(&self) -> Vec<Unproven> {
        let maa = self.connection.policy().is_ok_and(|policy| policy.attester().is_some());
        let all = [
            (self.at.is_none(), Unproven::Time),
            (!matches!(about(self.directory), Ok(Some(About { nonce: Some(_), .. }))), Unproven::Nonce),
            (maa && self.key_set == SavedKeySet::Trusted, Unproven::KeySet),
            (self.holds(self.connection.amd_roots_path()), Unproven::AmdRoots),
            (self.holds(self.connection.ak_root_path()), Unproven::AkRoot),
            (self.holds(Some(self.connection.policy_path())), Unproven::Policy),
        ];
        all.into_iter().filter_map(|(taken, what)| taken.then_some(what)).collect()
    }

    /// Whether who wrote the directory decides what a path names.
    fn holds(&self, file: Option<&Path>) -> bool {
        file.is_some_and(|path| EvidenceDirectory(self.directory).decides(path))
    }
}

/// The evidence covers these runtime data, as was verified; here, that they are for the nonce that was sent.
fn covers_nonce(evidence: &Evidence, nonce: &str) -> Result<(), AttestationError> {
    #[derive(Deserialize)]
    struct RuntimeData {
        nonce: String,
    }
    let runtime_data = evidence.runtime_data.as_deref();
    let runtime_data = runtime_data.ok_or(AttestationError::MissingEvidence { what: "runtime-data.json" })?;
    let covered = serde_json::from_slice(runtime_data).map(|data: RuntimeData| data.nonce);
    if covered.as_deref().is_ok_and(|covered| covered == nonce) {
        return Ok(());
    }
    Err(AttestationError::FalseAttestationReport {
        what: "the nonce of about.json, which was sent,",
        expected: shorten(nonce),
        actual: covered.map_or_else(|_| "runtime data without a nonce".to_owned(), |nonce| shorten(&nonce)),
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The files of a directory that belong to recorded evidence; others are not looked at.
fn evidence_files(directory: &Path) -> Result<EvidenceFiles, Failure> {
    let mut files = EvidenceFiles::default();
    for name in EvidenceFiles::NAMES {
        if let Some(bytes) = saved(directory, name)? {
            files.insert(name, bytes).map_err(|error| files::about(directory, error))?;
        }
    }
    Ok(files)
}

/// The fault of a file, with its path.
fn fault(directory: &Path, error: EvidenceFilesError) -> Failure {
    match error {
        EvidenceFilesError::Unreadable { name, reason } => files::about(&directory.join(name), reason),
        EvidenceFilesError::Invalid { name, error } => Failure::in_file(directory.join(name), *error),
        other => files::about(directory, other),
    }
}

fn about(directory: &Path) -> Result<Option<About>, Failure> {
    let Some(about) = saved(directory, "about.json")? else { return Ok(None) };
    let refuse = |error: String| {
        let without = "without this file --at says for which time to verify";
        files::about(&directory.join("about.json"), format!("{error}; {without}"))
    };
    // A struct is also read from an array, by position.
    if about.trim_ascii_start().first() != Some(&b'{') {
        return Err(refuse("expected a JSON object".to_owned()));
    }
    serde_json::from_slice(&about).map(Some).map_err(|error| refuse(error.to_string()))
}

/// A file of the directory. One that is not there is not given; the verification reports what is missing.
fn saved(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let path = folder.join(name);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => files::read(&path).map(Some),
    }
}
