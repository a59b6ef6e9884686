//! Reads the evidence that `fetch` saved, for `verify --evidence`.

use std::path::Path;

use blindbox_attestation::{
    AttestationError, Evidence, EvidenceFiles, EvidenceFilesError, KeySetSource, RecordedAttestation, UnixTime,
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
    /// Absent if another program wrote the file, or an earlier release; `null` is refused.
    #[serde(default, deserialize_with = "present")]
    received_at: Option<UnixTime>,
    /// Absent if another program wrote the file; `null` is refused.
    #[serde(default, deserialize_with = "present")]
    nonce: Option<String>,
}

/// A member that is there has a value: `null` is not absence.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
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
            Self::Nonce => "the nonce (at most about.json says which one was sent)",
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

/// What was verified, and what the verdict takes from the directory without proof.
pub struct Verified {
    pub attestation: RecordedAttestation,
    pub unproven: Vec<Unproven>,
}

impl Saved<'_> {
    /// Verifies the directory for a time. Each file is read once: another program may write it at the same time.
    pub fn verify(&self) -> Result<Verified, Failure> {
        let Self { connection, directory, .. } = self;
        let files = EvidenceDirectory(directory);
        let given = files.given(connection.policy_path())?;
        let policy = given.content.policy()?;
        let mut unproven = Vec::new();
        let saved = evidence_files(files)?;
        let fault = |error| fault(directory, error);
        let evidence = saved.evidence().map_err(fault)?;
        let about = about(files)?;
        let at = match (self.at, &about) {
            (Some(seconds), _) => UnixTime::from_secs(seconds),
            (None, Some(about)) => {
                unproven.push(Unproven::Time);
                about.received_at.unwrap_or(about.asked_at)
            }
            (None, None) => {
                return Err(files::about(directory, "holds no about.json: say with --at for which time to verify"));
            }
        };
        // Named or not: no option says which nonce was sent.
        unproven.push(Unproven::Nonce);
        let mut endorsements = saved.endorsements().map_err(fault)?;
        endorsements.key_set_source = match self.key_set {
            SavedKeySet::Claim => KeySetSource::BesideEvidence,
            SavedKeySet::Trusted => KeySetSource::Given,
        };
        if self.key_set == SavedKeySet::Trusted && policy.maa_issuer().is_some() {
            unproven.push(Unproven::KeySet);
        }
        if let Some(path) = connection.key_set_path() {
            let given = files.given(path)?;
            // One of the directory itself is no more than a claim, whichever option names it.
            let source = if given.is_of_author { KeySetSource::BesideEvidence } else { KeySetSource::Pinned };
            (endorsements.key_set, endorsements.key_set_source) = (Some(given.content.key_set()?), source);
        }
        if let Some(path) = connection.amd_roots_path() {
            let given = files.given(path)?;
            unproven.extend(given.is_of_author.then_some(Unproven::AmdRoots));
            endorsements.amd_anchors = given.content.amd_roots()?;
        }
        if let Some(path) = connection.ak_root_path() {
            let given = files.given(path)?;
            unproven.extend(given.is_of_author.then_some(Unproven::AkRoot));
            endorsements.ak_anchors = given.content.ak_root()?;
        }
        unproven.extend(given.is_of_author.then_some(Unproven::Policy));
        let attestation = verify_recorded(&evidence, &endorsements, &policy, at)?;
        if let Some(nonce) = about.and_then(|about| about.nonce) {
            covers_nonce(&evidence, &nonce)?;
        }
        Ok(Verified { attestation, unproven })
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
fn evidence_files(directory: EvidenceDirectory<'_>) -> Result<EvidenceFiles, Failure> {
    let mut files = EvidenceFiles::default();
    for name in EvidenceFiles::NAMES {
        if let Some(bytes) = directory.read(name)? {
            files.insert(name, bytes).map_err(|error| files::about(directory.0, error))?;
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

fn about(directory: EvidenceDirectory<'_>) -> Result<Option<About>, Failure> {
    let Some(about) = directory.read("about.json")? else { return Ok(None) };
    let refuse = |error: String| {
        let without = "without this file --at says for which time to verify";
        files::about(&directory.0.join("about.json"), format!("{error}; {without}"))
    };
    // A struct is also read from an array, by position.
    if about.trim_ascii_start().first() != Some(&b'{') {
        return Err(refuse("expected a JSON object".to_owned()));
    }
    serde_json::from_slice(&about).map(Some).map_err(|error| refuse(error.to_string()))
}
