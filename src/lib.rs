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
mod json;
#[allow(missing_docs)]
pub mod maa;
mod types;
mod uvm;
mod verify;

pub use appraisal::{Appraisal, Check, Verdict};
pub use attested::{Attested, Claims, Recorded};
pub use challenge::{Challenge, Channel, ServerName};
pub use claims::*;
pub use json::{JsonError, JsonType};
pub use types::*;
pub use uvm::EndorsementError;
pub use verify::{verify, verify_recorded};
