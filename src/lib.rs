//! x
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions
)]

mod appraisal;
mod appraise;
mod attested;
mod bind;
mod challenge;
mod claims;
mod crypto;
#[cfg(feature = "emulator")]
pub mod emulator;
mod error;
mod evidence;
mod host_data;
mod json;
pub mod maa;
mod policy;
pub mod snp;
mod types;
pub mod uvm;
mod verify;

pub use appraisal::{Appraisal, Check, Verdict};
pub use attested::{Attested, Claims, Recorded, Unappraised};
pub use challenge::{Challenge, Channel, ServerName};
pub use claims::{
    Bit, Cpuid, FirmwareVersion, GuestPolicy, HardwareClaims, MaaClaims, PlatformInfo, SigningKey, SnpClaims,
    TokenShape, UvmClaims,
};
pub use error::{AttestationError, Category, ChannelNotBound};
pub use evidence::{Crl, Endorsements, Evidence, KeySetSource, Vek};
pub use host_data::{CcePolicy, CcePolicyFinding, CcePolicyFlag, ContainerFinding, InvalidCcePolicy};
pub use json::{JsonError, JsonType};
pub use policy::{
    AbiVersion, Advisory, Binding, GuestIdentity, GuestPolicyBit, InvalidPolicy, Lint, Must, PlatformInfoBit, Policy,
    TcbMinima, TcbMinimum, Trust, UvmSvn, Workload, advisories,
};
pub use types::{
    ChipId, FamilyId, FoundInsteadOfHex, HostData, ImageId, InvalidHex, InvalidIssuer, Issuer, KeyDigest, Measurement,
    Nonce, Product, ReportData, ReportId, Sha256Digest, SpkiDigest, Tcb, UnixTime,
};
pub use verify::{verify, verify_recorded, verify_unappraised};
