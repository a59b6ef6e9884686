//! Recorded evidence and inspection: no network, no clock.

use blindbox_attestation::files::{read_certificates, read_crl, read_report, read_token, read_uvm_endorsement};
use blindbox_attestation::{AttestationError, Crl, Endorsements, Evidence, Issuer, KeySetSource, UnixTime, Vek};

use crate::error::Error;
use crate::policy::Policy;
use crate::settings::{amd_anchors, key_set};

/// Evidence as files, each in any form that the command reads.
#[derive(Clone, Debug, Default)]
pub struct EvidenceInput {
    /// The MAA token.
    pub token: Option<Vec<u8>>,
    /// The hardware report.
    pub report: Option<Vec<u8>>,
    /// The utility VM's endorsement.
    pub uvm_endorsement: Option<Vec<u8>>,
    /// The runtime data, as they are.
    pub runtime_data: Option<Vec<u8>>,
}

/// What vouches for evidence, as files.
#[derive(Clone, Debug, Default)]
pub struct EndorsementInput {
    /// The key set of the MAA instance, whose origin the caller knows.
    pub key_set: Option<Vec<u8>>,
    /// Whether the key set was stored with the evidence: then it proves nothing, and is refused unless the policy pins the key.
    pub key_set_beside_evidence: bool,
    /// The certificates of the report's key.
    pub certificates: Option<Vec<u8>>,
    /// AMD's CRLs.
    pub revocation_lists: Vec<Vec<u8>>,
    /// Roots that replace AMD's, in PEM.
    pub amd_roots: Option<String>,
}

impl EvidenceInput {
    fn read(&self) -> Result<Evidence, Error> {
        let mut evidence = Evidence::default();
        evidence.token = read("token", self.token.as_deref(), read_token)?;
        evidence.report = read("report", self.report.as_deref(), read_report)?;
        evidence.uvm_endorsement = read("uvm_endorsement", self.uvm_endorsement.as_deref(), read_uvm_endorsement)?;
        evidence.runtime_data = self.runtime_data.clone();
        Ok(evidence)
    }
}

impl EndorsementInput {
    fn read(&self) -> Result<Endorsements, Error> {
        let mut endorsements = Endorsements::default();
        endorsements.key_set = self.key_set.as_deref().map(key_set).transpose()?;
        endorsements.key_set_source =
            if self.key_set_beside_evidence { KeySetSource::BesideEvidence } else { KeySetSource::Given };
        if let Some(bytes) = read("certificates", self.certificates.as_deref(), read_certificates)? {
            let vek = Vek::from_pem_or_der(&bytes)
                .map_err(|error| AttestationError::InvalidAgentAnswer { reason: error.to_string() })?;
            endorsements.vek = Some(vek);
        }
        for list in &self.revocation_lists {
            let der = read("revocation_lists", Some(list), read_crl)?;
            endorsements.crls.extend(der.map(Crl::Received));
        }
        endorsements.amd_anchors = self.amd_roots.as_deref().map(amd_anchors).transpose()?.unwrap_or_default();
        Ok(endorsements)
    }
}

fn read<T, E: std::fmt::Display>(
    name: &str,
    bytes: Option<&[u8]>,
    reader: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, Error> {
    bytes.map(reader).transpose().map_err(|error| Error::argument(format!("{name}: {error}")))
}

/// Verifies recorded evidence and appraises it against a policy, for a time in seconds since 1970-01-01 UTC. Returns claims and
/// checks as JSON. The result proves neither freshness nor whose connection it was.
///
/// # Errors
///
/// As for a connection; `misconfigured` for a file that is something else.
pub fn verify_recorded(
    evidence: &EvidenceInput,
    endorsements: &EndorsementInput,
    policy: &Policy,
    now: u64,
) -> Result<String, Error> {
    guarded(|| {
        let (evidence, endorsements) = (evidence.read()?, endorsements.read()?);
        let now = UnixTime::from_secs(now);
        let accepted = blindbox_attestation::verify_recorded(&evidence, &endorsements, policy.inner(), now)?;
        serde_json::to_string(&accepted).map_err(Error::internal)
    })
}

/// Verifies evidence without appraising it: its content is genuine, and nothing says that it is acceptable. `attester` is the MAA
/// instance of the token, such as `https://sharedneu.neu.attest.azure.net`. Returns claims as JSON.
///
/// # Errors
///
/// As [`verify_recorded`].
pub fn verify_unappraised(
    evidence: &EvidenceInput,
    endorsements: &EndorsementInput,
    attester: Option<&str>,
    now: u64,
) -> Result<String, Error> {
    guarded(|| {
        let (evidence, endorsements) = (evidence.read()?, endorsements.read()?);
        let issuer = attester.map(Issuer::new).transpose().map_err(Error::argument)?;
        let now = UnixTime::from_secs(now);
        let verified = blindbox_attestation::verify_unappraised(&evidence, &endorsements, issuer.as_ref(), now)?;
        serde_json::to_string(&verified).map_err(Error::internal)
    })
}

/// Returns what the bytes of a file are, for display: a JSON array of objects with `kind`, `verified`, `why` and the contents.
///
/// # Errors
///
/// `misconfigured` for bytes that are no evidence.
pub fn inspect(bytes: &[u8]) -> Result<String, Error> {
    guarded(|| {
        let found = blindbox_attestation::inspect(bytes).map_err(Error::argument)?;
        serde_json::to_string(&found).map_err(Error::internal)
    })
}

/// Work on this thread, whose panics are errors.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::panicked(panic.as_ref())))
}
