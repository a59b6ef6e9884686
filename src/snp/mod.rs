//! Stand-in until the step lands.
#![allow(missing_docs, unused)]
use crate::claims::*;
use crate::types::*;
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    #[error("stand-in")]
    StandIn,
}
#[derive(Clone, Debug)]
pub struct AmdAnchors;
impl AmdAnchors {
    pub fn builtin() -> &'static Self {
        &AmdAnchors
    }
}
pub enum Revocation {
    Require,
    BestEffort,
    Off,
}
pub struct Collateral<'a> {
    pub vek: &'a [u8],
    pub chain: &'a [Vec<u8>],
    pub crl: Option<&'a [u8]>,
}
#[derive(Clone, Debug)]
pub struct VerifiedReport {
    snp: SnpClaims,
    hardware: HardwareClaims,
}
impl VerifiedReport {
    pub fn snp(&self) -> &SnpClaims {
        &self.snp
    }
    pub fn hardware(&self) -> &HardwareClaims {
        &self.hardware
    }
    pub fn product(&self) -> Product {
        Product::Milan
    }
    pub fn is_revocation_checked(&self) -> bool {
        false
    }
    pub fn valid_until(&self) -> UnixTime {
        UnixTime::from_secs(0)
    }
}
pub fn verify(
    _: &[u8],
    _: &Collateral<'_>,
    _: &AmdAnchors,
    _: Revocation,
    _: UnixTime,
) -> Result<VerifiedReport, ReportError> {
    Err(ReportError::StandIn)
}
