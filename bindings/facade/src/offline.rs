//! Recorded evidence and inspection: no network, no clock.

use blindbox_attestation::{
    AttestationError, Endorsements, Evidence, EvidenceFiles, KeySetSource, MaaIssuer, UnixTime,
};

use crate::endorsements::{ak_anchors, amd_anchors, key_set};
use crate::error::Error;
use crate::policy::Policy;

/// Recorded evidence, and what the caller knows from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Evidence and endorsements by the names of the files that the command `fetch` writes, each in any form that the command reads.
    /// Other names are refused. `key-set.json` among them proves nothing: it is used only if there is no `key_set`, and refused
    /// unless the policy pins the key.
    pub documents: Vec<(String, Vec<u8>)>,
    /// The key set of the MAA instance, whose origin the caller knows.
    pub key_set: Option<Vec<u8>>,
    /// Roots that replace AMD's, in PEM.
    pub amd_roots: Option<String>,
    /// The root that replaces Azure's root of virtual TPMs, in PEM.
    pub ak_root: Option<String>,
}

impl Recorded {
    fn read(&self) -> Result<(Evidence, Endorsements), Error> {
        let mut files = EvidenceFiles::default();
        for (name, content) in &self.documents {
            files.insert(name, content.as_slice()).map_err(AttestationError::from)?;
        }
        let evidence = files.evidence().map_err(AttestationError::from)?;
        let mut endorsements = files.endorsements().map_err(AttestationError::from)?;
        if let Some(document) = &self.key_set {
            endorsements.key_set = Some(key_set(document)?);
            endorsements.key_set_source = KeySetSource::Given;
        }
        endorsements.amd_anchors = self.amd_roots.as_deref().map(amd_anchors).transpose()?.unwrap_or_default();
        endorsements.ak_anchors = self.ak_root.as_deref().map(ak_anchors).transpose()?.unwrap_or_default();
        Ok((evidence, endorsements))
    }
}

/// Verifies recorded evidence and appraises it against a policy, for a time in seconds since 1970-01-01 UTC. Returns claims and
/// checks as JSON. The result proves neither freshness nor whose connection it was.
///
/// # Errors
///
/// As for a connection; `misconfigured` for a file that is something else.
pub fn verify_recorded(recorded: &Recorded, policy: &Policy, now: u64) -> Result<String, Error> {
    guarded(|| {
        let (evidence, endorsements) = recorded.read()?;
        let now = UnixTime::from_secs(now);
        let accepted = blindbox_attestation::verify_recorded(&evidence, &endorsements, policy.inner(), now)?;
        serde_json::to_string(&accepted).map_err(Error::internal)
    })
}

/// Verifies evidence without appraising it: its content is genuine, and nothing says that it is acceptable. `maa_issuer` is the MAA
/// instance of the token, such as `https://sharedneu.neu.attest.azure.net`. Returns claims as JSON.
///
/// # Errors
///
/// As [`verify_recorded`].
pub fn verify_unappraised(recorded: &Recorded, maa_issuer: Option<&str>, now: u64) -> Result<String, Error> {
    guarded(|| {
        let (evidence, endorsements) = recorded.read()?;
        let issuer = maa_issuer.map(MaaIssuer::new).transpose().map_err(Error::argument)?;
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
        let found = blindbox_attestation::inspect::inspect(bytes).map_err(Error::argument)?;
        serde_json::to_string(&found).map_err(Error::internal)
    })
}

/// Work on this thread, whose panics are errors.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::panicked(panic.as_ref())))
}
