//! What a successful verification gives: types that only [`crate::verify`] and [`crate::verify_recorded`] can build.

use std::fmt;

use serde::Serialize;

use crate::appraisal::Appraisal;
use crate::challenge::{Channel, ServerNameCheck};
use crate::claims::{HardwareClaims, MaaClaims, SnpClaims, UvmClaims};
use crate::types::{SpkiDigest, UnixTime};

/// The state of the TEE, from verified evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claims {
    /// What every evidence says.
    pub snp: SnpClaims,
    /// What MAA says besides, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maa: Option<MaaClaims>,
    /// What the hardware report says besides, where it was verified here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<HardwareClaims>,
    /// The utility VM's endorsement, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uvm: Option<UvmClaims>,
}

/// A peer that has proven what it is: every check of the policy passed, on fresh evidence, for this channel.
///
/// There is no other way to one than [`crate::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Attestation {
    channel: Channel,
    server_name: ServerNameCheck,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<SpkiDigest>,
    issued_at: UnixTime,
    expires_at: UnixTime,
    claims: Claims,
    appraisal: Appraisal,
}

/// Evidence from a record that verifies and that the policy accepts. It proves neither freshness nor who is at the other
/// end of anything, and there is no way from it to [`Attestation`] or a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct OfflineAttestation {
    verified_for: UnixTime,
    expires_at: UnixTime,
    claims: Claims,
    appraisal: Appraisal,
}

/// Evidence that verifies, of which nothing was required. It says what is in a file, not that anything is acceptable.
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

    /// The state of the TEE.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The time for which the evidence was verified.
    #[must_use]
    pub fn verified_for(&self) -> UnixTime {
        self.verified_for
    }
}

impl Attestation {
    pub(crate) fn new(
        (channel, server_name, key): (Channel, ServerNameCheck, Option<SpkiDigest>),
        (issued_at, expires_at): (UnixTime, UnixTime),
        claims: Claims,
        appraisal: Appraisal,
    ) -> Self {
        Self { channel, server_name, key, issued_at, expires_at, claims, appraisal }
    }

    /// The state of the TEE.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Every check.
    #[must_use]
    pub fn appraisal(&self) -> &Appraisal {
        &self.appraisal
    }

    /// How the connection is tied to the evidence.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// The TLS key that the evidence names; `None` for an unbound channel.
    #[must_use]
    pub fn key(&self) -> Option<&SpkiDigest> {
        self.key.as_ref()
    }

    /// When the evidence was verified.
    #[must_use]
    pub fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The earliest end of everything that the verdict rests on.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

impl OfflineAttestation {
    pub(crate) fn new(verified_for: UnixTime, expires_at: UnixTime, claims: Claims, appraisal: Appraisal) -> Self {
        Self { verified_for, expires_at, claims, appraisal }
    }

    /// The state of the TEE.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Every check.
    #[must_use]
    pub fn appraisal(&self) -> &Appraisal {
        &self.appraisal
    }

    /// The time for which the evidence was verified.
    #[must_use]
    pub fn verified_for(&self) -> UnixTime {
        self.verified_for
    }

    /// The earliest end of everything that the verdict rests on.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

impl fmt::Display for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.appraisal.fmt(f)
    }
}

impl fmt::Display for OfflineAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.appraisal.fmt(f)
    }
}
