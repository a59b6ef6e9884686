//! Stand-in until the step lands.
#![allow(missing_docs, unused)]
use crate::claims::*;
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndorsementError {
    #[error("stand-in")]
    StandIn,
}
pub struct EndorsementExpectations<'a> {
    pub issuer: &'a str,
    pub feed: &'a str,
}
#[derive(Clone, Debug)]
pub struct VerifiedEndorsement {
    claims: UvmClaims,
}
impl VerifiedEndorsement {
    pub fn claims(&self) -> &UvmClaims {
        &self.claims
    }
}
pub fn verify(_: &[u8], _: &EndorsementExpectations<'_>) -> Result<VerifiedEndorsement, EndorsementError> {
    Err(EndorsementError::StandIn)
}
