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
mod json;
#[allow(missing_docs)]
pub mod maa;
mod types;

pub use claims::*;
pub use json::{JsonError, JsonType};
pub use types::*;
