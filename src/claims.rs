//! One typed model of the state of a TEE, whichever evidence it came from.
//!
//! [`SnpClaims`] is what an MAA token and a hardware report both say: the part that is compared between them and
//! appraised once. What only one of them carries stands beside it, under the name of the one who says it.

use serde::Serialize;

use crate::types::{
    ChipId, FamilyId, HostData, ImageId, Issuer, KeyDigest, Measurement, Product, ReportData, ReportId, Sha256Digest,
    Tcb, UnixTime,
};

/// The state of a SEV-SNP guest, as MAA or the hardware says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SnpClaims {
    /// SHA-384 of the guest's initial memory.
    pub measurement: Measurement,
    /// Set by the host at launch; the SHA-256 of the CCE policy in a confidential container.
    pub host_data: HostData,
    /// Chosen inside the guest.
    pub report_data: ReportData,
    /// Names this guest while it runs: equal in every evidence of the same guest, different in every other guest.
    pub report_id: ReportId,
    /// `GUEST_SVN` of the report. On Azure it is *not* the version of the utility VM (that is [`UvmClaims::svn`]).
    pub report_guest_svn: u32,
    /// The privilege level that asked for the report: 0 (most privileged) to 3.
    pub vmpl: u32,
    /// The guest policy that the hardware enforces.
    pub policy: GuestPolicy,
    /// The TCB that the signing key stands for (`REPORTED_TCB`).
    pub reported_tcb: Tcb,
    /// SHA-384 of the key that signed the ID block; zero without one.
    pub id_key_digest: KeyDigest,
    /// SHA-384 of the key that signed the ID key; meaningful only where an author key was used.
    pub author_key_digest: KeyDigest,
    /// From the ID block.
    pub family_id: FamilyId,
    /// From the ID block.
    pub image_id: ImageId,
    /// The chip; evidence from before 2026 and masked or VLEK-signed reports do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chip_id: Option<ChipId>,
    /// The processor family, where the evidence says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
}

/// The state of one bit that older evidence does not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bit {
    /// The evidence says the bit is set.
    Set,
    /// The evidence says the bit is clear.
    Clear,
    /// The evidence is of a version or kind that does not say.
    NotReported,
}

impl From<bool> for Bit {
    fn from(set: bool) -> Self {
        if set { Self::Set } else { Self::Clear }
    }
}

/// The guest policy (AMD 56860 table 10): what the guest's owner allows the platform to do to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GuestPolicy {
    /// Bit 19: the host may read and write the guest's memory. Whoever sends secrets to such a guest tells the host.
    pub debug: bool,
    /// Bit 18: a migration agent may move the guest.
    pub migrate_ma: bool,
    /// Bit 16: the guest may run where simultaneous multithreading is on.
    pub smt: bool,
    /// Bit 20: the guest may run on one socket only.
    pub single_socket: Bit,
    /// Bit 21: CXL memory or devices may be populated.
    pub cxl_allow: Bit,
    /// Bit 22: memory encryption must be AES-256-XTS.
    pub mem_aes_256_xts: Bit,
    /// Bit 23: running average power limit must be off.
    pub rapl_dis: Bit,
    /// Bit 24: ciphertext hiding for DRAM must be on.
    pub ciphertext_hiding_dram: Bit,
    /// Bit 25: guest memory pages may not be swapped.
    pub page_swap_disable: Bit,
}

impl GuestPolicy {
    /// The three bits that every evidence carries; the newer ones start as not reported.
    #[must_use]
    pub const fn new(debug: bool, migrate_ma: bool, smt: bool) -> Self {
        Self {
            debug,
            migrate_ma,
            smt,
            single_socket: Bit::NotReported,
            cxl_allow: Bit::NotReported,
            mem_aes_256_xts: Bit::NotReported,
            rapl_dis: Bit::NotReported,
            ciphertext_hiding_dram: Bit::NotReported,
            page_swap_disable: Bit::NotReported,
        }
    }
}

/// Which of MAA's token layouts carried the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TokenShape {
    /// `x-ms-attestation-type` is `sevsnpvm`: confidential containers, and direct attestation of a confidential VM.
    SevSnpVm,
    /// `x-ms-attestation-type` is `azurevm`, with the TEE's claims under `x-ms-isolation-tee`: the guest attestation of
    /// a confidential VM.
    AzureVm,
}

/// What only MAA says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MaaClaims {
    /// The MAA instance, from `iss`.
    pub issuer: Issuer,
    /// The key that signed, from the header.
    pub key_id: String,
    /// The layout of the token.
    pub shape: TokenShape,
    /// `x-ms-compliance-status` (of the TEE's claims); absent when MAA was given no endorsement to judge by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compliance_status: Option<String>,
    /// `x-ms-policy-hash`: SHA-256 of the attestation policy that this MAA instance applied.
    pub policy_hash: Sha256Digest,
    /// `jti`.
    pub token_id: String,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `nbf`.
    pub not_before: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
}

/// The utility VM, as its endorsement says it: from the token, or from the COSE document itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UvmClaims {
    /// The `did:x509` issuer.
    pub issuer: String,
    /// What is endorsed, such as `ContainerPlat-AMD-UVM`.
    pub feed: String,
    /// The security version of the utility VM: higher is newer.
    pub svn: u64,
    /// The launch measurement that is endorsed.
    pub measurement: Measurement,
}
