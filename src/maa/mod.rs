//! Step 2: is the token really MAA's, and what does it say?
//!
//! Bytes, a [`KeySet`], expectations and the time in; a [`VerifiedToken`] or a [`TokenError`] out. A verified token by
//! itself attests nothing: it may be hours old, and of any TEE that MAA ever judged. Whose it is, which challenge it
//! answers and whether its claims are good enough is decided by the steps after this one.

mod claims;
mod error;
mod jwks;
mod key_id;
mod token;

pub use error::{KnownKeys, TokenError, TokenPart};
pub use jwks::{KeySet, KeySetError, UnusableKey};
pub use token::{TokenExpectations, VerifiedToken, verify};
