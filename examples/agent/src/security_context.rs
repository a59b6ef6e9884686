//! The files that Azure's utility VM puts into every confidential container: certificates of the host's processor, and who
//! endorses the utility VM. The host wrote them, and no one believes them: they are signed by AMD and Microsoft.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::cert_files;
use crate::evidence::EvidenceError;

/// The most bytes of one file; real ones have 6 to 15 kB.
const MAX_FILE: u64 = 256 * 1024;

/// The variable that names the directory.
const VARIABLE: &str = "UVM_SECURITY_CONTEXT_DIR";

/// The directory. Files are read again for each report, since the host's certificate can change with its firmware.
#[derive(Clone, Debug)]
pub struct SecurityContext(PathBuf);

pub(crate) struct HostCertificates {
    /// Three certificates in PEM, that of the signing key first.
    pub(crate) certificates: String,
    /// Of the signing key: bytes as they stand in a report, in hexadecimal.
    pub(crate) tcb: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HostAmdCert {
    vcek_cert: String,
    /// A number of 64 bits in hexadecimal, so the bytes of a report from the last to the first.
    tcbm: String,
    certificate_chain: String,
}

impl SecurityContext {
    /// The directory that is configured, or that the environment names, or the one directory `/security-context-*`.
    pub fn find(configured: Option<&Path>) -> Result<Self, EvidenceError> {
        let named = configured.map(PathBuf::from).or_else(|| std::env::var_os(VARIABLE).map(PathBuf::from));
        let context = Self(named.map_or_else(|| only_match(Path::new("/")), Ok)?);
        context.host_certificates()?;
        context.uvm_endorsement()?;
        Ok(context)
    }

    pub(crate) fn host_certificates(&self) -> Result<HostCertificates, EvidenceError> {
        let name = "host-amd-cert-base64";
        let file: HostAmdCert = serde_json::from_slice(&self.read(name)?).map_err(|_| bad(name))?;
        let tcb = tcb_of_number(&file.tcbm).ok_or_else(|| bad(name))?;
        Ok(HostCertificates { certificates: file.vcek_cert + &file.certificate_chain, tcb })
    }

    pub(crate) fn uvm_endorsement(&self) -> Result<Vec<u8>, EvidenceError> {
        self.read("reference-info-base64")
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, EvidenceError> {
        let text = cert_files::read(&self.0.join(name), MAX_FILE)
            .map_err(|error| EvidenceError::SecurityContext(format!("{name}: {error}")))?;
        STANDARD.decode(text.trim_ascii()).map_err(|_| bad(name))
    }
}

/// The bytes of a TCB as they stand in a report, from a number of 64 bits in hexadecimal.
pub(crate) fn tcb_of_number(number: &str) -> Option<String> {
    let mut tcb = hex::decode(number).ok().filter(|tcb| tcb.len() == 8)?;
    tcb.reverse();
    Some(hex::encode(tcb))
}

fn bad(name: &str) -> EvidenceError {
    EvidenceError::SecurityContext(format!("{name} is not in its form"))
}

/// With two there is no telling which one is this container's.
fn only_match(root: &Path) -> Result<PathBuf, EvidenceError> {
    let entries = std::fs::read_dir(root).map_err(|error| EvidenceError::SecurityContext(error.to_string()))?;
    let mut found = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("security-context-"))
        .map(|entry| entry.path());
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        (None, _) => Err(EvidenceError::SecurityContext(format!("no /security-context-*, and {VARIABLE} is not set"))),
        (Some(_), Some(_)) => Err(EvidenceError::SecurityContext("more than one /security-context-*".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a real container, where they are available.
    #[test]
    fn the_files_of_a_real_container_are_read() {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors");
        let vectors = std::env::var_os("BLINDBOX_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
        let directory = vectors.join("security-context-aci");
        if !directory.is_dir() {
            eprintln!("SKIPPED: no recorded evidence (set BLINDBOX_VECTORS)");
            return;
        }
        let context = SecurityContext::find(Some(&directory)).unwrap();
        let host = context.host_certificates().unwrap();
        assert_eq!(host.tcb, "0300000000000873");
        assert_eq!(host.certificates.matches("-----BEGIN CERTIFICATE-----").count(), 3);
        // A tagged COSE_Sign1.
        assert!(context.uvm_endorsement().unwrap().starts_with(&[0xd2, 0x84]));
    }

    #[test]
    fn one_directory_is_found_and_two_are_refused() {
        let root = tempfile::tempdir().unwrap();
        assert!(only_match(root.path()).unwrap_err().to_string().contains("no /security-context-*"));
        let one = root.path().join("security-context-abc");
        std::fs::create_dir(&one).unwrap();
        assert_eq!(only_match(root.path()).unwrap(), one);
        std::fs::create_dir(root.path().join("security-context-def")).unwrap();
        assert!(only_match(root.path()).unwrap_err().to_string().contains("more than one"));
    }
}
