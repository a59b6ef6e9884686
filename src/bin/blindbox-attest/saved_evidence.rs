//! Evidence that `fetch` saved, on its way back.

use std::io::ErrorKind;
use std::path::Path;

use blindbox_attestation::azure_vm::Quote;
use blindbox_attestation::files::{
    FileError, read_certificates, read_crl, read_hcl_report, read_pcrs, read_report, read_token, read_tpm_quote,
    read_tpm_signature, read_uvm_endorsement,
};
use blindbox_attestation::snp::certificates_from_pem;
use blindbox_attestation::{
    AttestationError, Crl, Endorsements, Evidence, KeySetSource, OfflineAttestation, Policy, UnixTime, Vek,
    verify_recorded,
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::connect_args::Connection;
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
        let evidence = evidence(directory)?;
        let about = about(directory)?;
        let at = match (self.at, &about) {
            (Some(seconds), _) => UnixTime::from_secs(seconds),
            (None, Some(about)) => about.asked_at,
            (None, None) => {
                return Err(files::about(directory, "holds no about.json: say with --at for which time to verify"));
            }
        };
        let mut endorsements = endorsements(directory)?;
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

    /// Whether a file lies in the directory, at any depth and by whichever path.
    fn holds(&self, file: Option<&Path>) -> bool {
        // Standard input (`-`) is no file.
        let file = file.filter(|path| path.as_os_str() != "-").and_then(|path| path.canonicalize().ok());
        let directory = self.directory.canonicalize().ok();
        file.zip(directory).is_some_and(|(file, directory)| file.starts_with(directory))
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

fn evidence(directory: &Path) -> Result<Evidence, Failure> {
    let mut evidence = Evidence::default();
    evidence.token = saved_as(directory, "token.jwt", read_token)?;
    evidence.report = saved_as(directory, "report.bin", read_report)?;
    evidence.uvm_endorsement = saved_as(directory, "uvm-endorsement.cose", read_uvm_endorsement)?;
    evidence.runtime_data = saved(directory, "runtime-data.json")?;
    evidence.hcl_report = saved_as(directory, "hcl-report.bin", read_hcl_report)?;
    evidence.quote = quote(directory)?;
    evidence.ak_chain = saved_as(directory, "ak-chain.pem", read_certificates)?
        .map_or(Ok(Vec::new()), |pem| certificates_from_pem(&pem))
        .map_err(|error| files::about(&directory.join("ak-chain.pem"), error))?;
    if evidence.token.is_none() && evidence.report.is_none() && evidence.hcl_report.is_none() {
        return Err(files::about(directory, "holds none of token.jwt, report.bin and hcl-report.bin"));
    }
    Ok(evidence)
}

/// The quote of a virtual TPM, in three files of which none means anything without the others.
fn quote(directory: &Path) -> Result<Option<Quote>, Failure> {
    let message = saved_as(directory, "tpm-quote.msg", read_tpm_quote)?;
    let signature = saved_as(directory, "tpm-quote.sig", read_tpm_signature)?;
    let pcrs = saved_as(directory, "pcrs.json", read_pcrs)?;
    match (message, signature, pcrs) {
        (None, None, None) => Ok(None),
        (Some(message), Some(signature), Some(pcrs)) => Ok(Some(Quote::new(message, signature, pcrs))),
        _ => Err(files::about(directory, "holds only a part of tpm-quote.msg, tpm-quote.sig and pcrs.json")),
    }
}

fn endorsements(directory: &Path) -> Result<Endorsements, Failure> {
    let mut endorsements = Endorsements::default();
    if let Some(bytes) = saved(directory, "key-set.json")? {
        endorsements.key_set = Some(files::key_set_of(&directory.join("key-set.json"), &bytes)?);
    }
    let pem = saved_as(directory, "certificates.pem", read_certificates)?.map(|bytes| ("certificates.pem", bytes));
    let der = saved_as(directory, "vcek.der", read_certificates)?.map(|bytes| ("vcek.der", bytes));
    if pem.is_some() && der.is_some() {
        return Err(files::about(directory, "holds both certificates.pem and vcek.der"));
    }
    if let Some((name, bytes)) = pem.or(der) {
        let vek = Vek::from_pem_or_der(&bytes)
            .map_err(|error| AttestationError::InvalidAgentAnswer { reason: error.to_string() });
        endorsements.vek = Some(vek.map_err(|error| Failure::in_file(directory.join(name), error))?);
    }
    for name in ["revocation-list.der", "revocation-list-other.der", "revocation-list-maa.der"] {
        endorsements.crls.extend(saved_as(directory, name, read_crl)?.map(Crl::Received));
    }
    Ok(endorsements)
}

/// A file of the directory, read as what it is saved for.
fn saved_as<T>(
    directory: &Path,
    name: &str,
    read: impl Fn(&[u8]) -> Result<T, FileError>,
) -> Result<Option<T>, Failure> {
    let bytes = saved(directory, name)?;
    bytes.map(|bytes| read(&bytes)).transpose().map_err(|error| files::about(&directory.join(name), error))
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
