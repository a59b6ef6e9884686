//! The attestation results, which only the functions of [`crate::verify`] can build.

use std::fmt;

use serde::Serialize;

use crate::appraisal::Appraisal;
use crate::azure_vm::AzureVmClaims;
use crate::challenge::{Channel, ServerNameCheck};
use crate::claims::{HardwareClaims, MaaClaims, TeeClaims, UvmClaims};
use crate::message::key_config::KeyConfig;
use crate::types::{Sha256Digest, SpkiDigest, UnixTime};

/// The state of the TEE, from verified evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claims {
    /// The claims that all evidence of a kind of TEE carries. In JSON a member named after the kind, such as `snp`.
    #[serde(flatten)]
    pub tee: TeeClaims,
    /// Further claims of MAA, if its token was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maa: Option<MaaClaims>,
    /// Further claims of the hardware report, if it was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<HardwareClaims>,
    /// The utility VM's endorsement, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uvm: Option<UvmClaims>,
    /// The state of an Azure confidential VM, if the report of its paravisor was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure_vm: Option<AzureVmClaims>,
}

/// The attestation of a peer: every check of the policy passed, on fresh evidence, for this channel.
///
/// Only [`crate::verify`](crate::verify()) creates one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Attestation {
    pub(crate) channel: Channel,
    pub(crate) server_name: ServerNameCheck,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<SpkiDigest>,
    /// In JSON its digest.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "digest_of_key")]
    pub(crate) message_key: Option<KeyConfig>,
    pub(crate) issued_at: UnixTime,
    pub(crate) expires_at: UnixTime,
    pub(crate) claims: Claims,
    pub(crate) appraisal: Appraisal,
}

/// Recorded evidence that verifies and that the policy accepts. It proves neither freshness nor the identity of a peer, and
/// cannot be turned into an [`Attestation`] or a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct RecordedAttestation {
    verified_for: UnixTime,
    expires_at: UnixTime,
    claims: Claims,
    appraisal: Appraisal,
}

/// Evidence that verifies but was not appraised against a policy. It shows the content of a file, not that it is acceptable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct VerifiedEvidence {
    verified_for: UnixTime,
    claims: Claims,
}

impl VerifiedEvidence {
    pub(crate) fn new(verified_for: UnixTime, claims: Claims) -> Self {
        Self { verified_for, claims }
    }

    /// Returns the state of the TEE.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns the time for which the evidence was verified.
    #[must_use]
    pub fn verified_for(&self) -> UnixTime {
        self.verified_for
    }
}

impl Attestation {
    /// Returns the state of the TEE.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns all checks.
    #[must_use]
    pub fn appraisal(&self) -> &Appraisal {
        &self.appraisal
    }

    /// Returns how the connection is bound to the evidence.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Returns the TLS key that the evidence names; `None` for an unbound channel, and where it names a message key.
    #[must_use]
    pub fn key(&self) -> Option<&SpkiDigest> {
        self.key.as_ref()
    }

    /// Returns the SHA-256 of the key configuration (RFC 9458 section 3) that the evidence names, which messages are sealed to; `None`
    /// unless the channel is [`Channel::BoundMessage`].
    #[must_use]
    pub fn message_key(&self) -> Option<Sha256Digest> {
        self.message_key.as_ref().map(KeyConfig::digest)
    }

    /// Returns when the evidence was verified, which may be some time after it was requested.
    #[must_use]
    pub fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// Returns the earliest expiry of the evidence, its endorsements and the policy's session age, which counts from the challenge.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

impl RecordedAttestation {
    pub(crate) fn new(verified_for: UnixTime, expires_at: UnixTime, claims: Claims, appraisal: Appraisal) -> Self {
        Self { verified_for, expires_at, claims, appraisal }
    }

    /// Returns the state of the TEE.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns all checks.
    #[must_use]
    pub fn appraisal(&self) -> &Appraisal {
        &self.appraisal
    }

    /// Returns the time for which the evidence was verified.
    #[must_use]
    pub fn verified_for(&self) -> UnixTime {
        self.verified_for
    }

    /// Returns the earliest expiry of the evidence and its endorsements, the age of the CRL that the policy allows included. The
    /// policy's session age does not count: there is no session.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

fn digest_of_key<S: serde::Serializer>(key: &Option<KeyConfig>, serializer: S) -> Result<S::Ok, S::Error> {
    key.as_ref().map(KeyConfig::digest).serialize(serializer)
}

impl fmt::Display for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.appraisal.fmt(f)
    }
}

impl fmt::Display for RecordedAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.appraisal.fmt(f)
    }
}
