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
mod maa;
mod policy;
mod snp;
mod types;
pub mod uvm;
mod verify;

pub use appraisal::{Appraisal, Check, Verdict};
pub use attested::{Attested, Claims, Recorded};
pub use challenge::{Challenge, Channel, ServerName};
pub use claims::*;
pub use error::{AttestationError, Category, ChannelNotBound};
pub use evidence::{Endorsements, Evidence};
pub use host_data::{CcePolicy, CcePolicyFinding, CcePolicyFlag, ContainerFinding, InvalidCcePolicy};
pub use maa::{KeySet, KeySetError, TokenError};
pub use policy::{
    AbiVersion, Advisory, Binding, GuestIdentity, GuestPolicyBit, InvalidPolicy, Lint, Must, PlatformInfoBit, Policy,
    TcbMinima, TcbMinimum, Trust, UvmSvn, Workload, advisories,
};
pub use snp::{AmdAnchors, ReportError};
pub use types::*;
pub use uvm::EndorsementError;
pub use verify::{verify, verify_recorded};
