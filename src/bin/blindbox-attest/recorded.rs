//! Evidence that `fetch` saved, on its way back.

use std::io::ErrorKind;
use std::path::Path;

use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::certificates_from_pem;
use blindbox_attestation::{
    AttestationError, Crl, Endorsements, Evidence, KeySetSource, Policy, Recorded, UnixTime, Vek, verify_recorded,
};
use serde::Deserialize;

use crate::connection::Connection;
use crate::files;
use crate::outcome::Failure;

/// What `fetch` noted that is needed here. It is nobody's statement but that of whoever wrote the folder.
#[derive(Deserialize)]
struct About {
    asked_at: UnixTime,
}

/// Verifies a folder for a time, or for the time that was noted in it.
pub fn verify(connection: &Connection, folder: &Path, at: Option<u64>) -> Result<Recorded, Failure> {
    let policy: Policy = connection.policy()?;
    let evidence = evidence(folder)?;
    let at = match at {
        Some(seconds) => UnixTime::from_secs(seconds),
        None => asked_at(folder)?,
    };
    let mut endorsements = endorsements(folder)?;
    if let Some(pinned) = connection.key_set()? {
        (endorsements.key_set, endorsements.key_set_source) = (Some(pinned), KeySetSource::Pinned);
    }
    endorsements.amd_anchors = connection.amd_anchors()?;
    Ok(verify_recorded(&evidence, &endorsements, &policy, at)?)
}

fn evidence(folder: &Path) -> Result<Evidence, Failure> {
    let mut evidence = Evidence::default();
    if let Some(bytes) = saved(folder, "token.jwt")? {
        let text =
            String::from_utf8(bytes).map_err(|_| files::about(&folder.join("token.jwt"), "is not text in UTF-8"))?;
        evidence.token = Some(text.trim_end().to_owned());
    }
    evidence.report = saved(folder, "report.bin")?;
    evidence.uvm_endorsement = saved(folder, "uvm-endorsement.cose")?;
    evidence.runtime_data = saved(folder, "runtime-data.json")?;
    if evidence.token.is_none() && evidence.report.is_none() {
        return Err(files::about(folder, "holds neither token.jwt nor report.bin"));
    }
    Ok(evidence)
}

fn endorsements(folder: &Path) -> Result<Endorsements, Failure> {
    let mut endorsements = Endorsements::default();
    if let Some(bytes) = saved(folder, "key-set.json")? {
        let key_set =
            KeySet::from_json(&bytes).map_err(|error| Failure::in_file(folder.join("key-set.json"), error))?;
        endorsements.key_set = Some(key_set);
    }
    endorsements.vek = match (saved(folder, "certificates.pem")?, saved(folder, "vcek.der")?) {
        (Some(pem), None) => {
            Some(bundle(&pem).map_err(|error| Failure::in_file(folder.join("certificates.pem"), error))?)
        }
        (None, der) => der.map(Vek::from_der),
        (Some(_), Some(_)) => return Err(files::about(folder, "holds both certificates.pem and vcek.der")),
    };
    endorsements.crl = saved(folder, "revocation-list.der")?.map(Crl::Received);
    Ok(endorsements)
}

/// The certificates that came along with a report: one, or one with issuer and root.
fn bundle(pem: &[u8]) -> Result<Vek, AttestationError> {
    let bad = |why: String| AttestationError::InvalidAgentAnswer { why };
    let certificates = certificates_from_pem(pem).map_err(|error| bad(error.to_string()))?;
    match certificates.as_slice() {
        [der] => Ok(Vek::from_der(der.clone())),
        [der, issuer, ark] => Ok(Vek::Received { der: der.clone(), chain: Some((issuer.clone(), ark.clone())) }),
        other => Err(bad(format!("expected one or three certificates, found {}", other.len()))),
    }
}

fn asked_at(folder: &Path) -> Result<UnixTime, Failure> {
    let Some(about) = saved(folder, "about.json")? else {
        return Err(files::about(folder, "holds no about.json: say with --at for which time to verify"));
    };
    let about: Result<About, _> = serde_json::from_slice(&about);
    let about = about.map_err(|error| {
        files::about(&folder.join("about.json"), format!("{error}; say with --at for which time to verify"))
    })?;
    Ok(about.asked_at)
}

/// A file of the folder. Not there is not given; what then is missing, the verification says.
fn saved(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let path = folder.join(name);
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => files::read(&path).map(Some),
    }
}
