//! Reads key sets and root certificates in every format that the command accepts.

use blindbox_attestation::AttestationError;
use blindbox_attestation::azure_vm::AkAnchors;
use blindbox_attestation::files::{read_certificate, read_certificates, read_key_set};
use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::AmdAnchors;

use crate::error::Error;

/// Reads certificates. `name` is that of the argument.
pub(crate) fn certificates(name: &str, text: &str) -> Result<Vec<u8>, Error> {
    read_certificates(text.as_bytes()).map_err(|error| Error::argument(format!("{name}: {error}")))
}

/// Reads a key set, in each form that the command reads.
pub(crate) fn key_set(bytes: &[u8]) -> Result<KeySet, Error> {
    let json = read_key_set(bytes).map_err(|error| Error::argument(format!("key_set: {error}")))?;
    Ok(KeySet::from_json(&json).map_err(AttestationError::from)?)
}

/// Reads roots that replace AMD's.
pub(crate) fn amd_anchors(pem: &str) -> Result<AmdAnchors, Error> {
    AmdAnchors::from_pem(&certificates("amd_roots", pem)?)
        .map_err(|error| Error::argument(format!("amd_roots: {error}")))
}

/// Reads the root that replaces Azure's root of virtual TPMs.
pub(crate) fn ak_anchors(pem: &str) -> Result<AkAnchors, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::argument(format!("ak_root: {error}"));
    let root = read_certificate(pem.as_bytes()).map_err(|error| wrong(&error))?;
    AkAnchors::custom(&root).map_err(|error| wrong(&error))
}
