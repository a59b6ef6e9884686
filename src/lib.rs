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

mod claims;
mod crypto;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod snp;
mod types;

pub use claims::*;
pub use types::*;
