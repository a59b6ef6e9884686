//! Step 2: verifies MAA tokens and reads their claims.
//!
//! The input is bytes, a [`KeySet`], expectations and the time; the result a [`VerifiedToken`] or a [`TokenError`]. A verified
//! token alone attests nothing: it may be hours old, and of any TEE that MAA ever attested. Later steps decide which peer it
//! belongs to, which challenge it responds to, and whether its claims satisfy the policy.

mod claims;
mod error;
mod jose;
mod jwks;
mod key_evidence;
mod key_id;
mod times;
mod token;

pub use error::{KnownKeys, TokenError, TokenPart};
#[cfg(feature = "client")]
pub(crate) use jwks::MAX_KEY_SET_LEN;
pub use jwks::{KeySet, KeySetError, UnusableKey};
pub(crate) use key_evidence::KeyEvidence;
pub use key_evidence::{KeyEvidenceError, KeyEvidencePart};
pub use token::{TokenExpectations, VerifiedToken, verify};
