//! Stand-in until the step lands.
#![allow(missing_docs, unused)]
use crate::claims::*;
use crate::types::*;
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    #[error("not an enclave")]
    NotAnEnclave { attestation_type: String },
    #[error("wrong issuer")]
    WrongIssuer { expected: Issuer, actual: String },
    #[error("unknown key {key_id}")]
    UnknownKey { key_id: String },
}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    #[error("no usable key")]
    NoUsableKey,
}
#[derive(Clone, Debug, Default)]
pub struct KeySet;
impl KeySet {
    pub fn from_json(_: &[u8]) -> Result<Self, KeySetError> {
        Err(KeySetError::NoUsableKey)
    }
}
pub struct TokenExpectations<'a> {
    pub issuer: &'a Issuer,
}
impl<'a> TokenExpectations<'a> {
    pub fn new(issuer: &'a Issuer, _key_id: Option<&'a str>) -> Self {
        Self { issuer }
    }
}
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    maa: MaaClaims,
    snp: SnpClaims,
}
impl VerifiedToken {
    pub fn maa(&self) -> &MaaClaims {
        &self.maa
    }
    pub fn snp(&self) -> &SnpClaims {
        &self.snp
    }
    pub fn uvm(&self) -> Option<&UvmClaims> {
        None
    }
    pub fn runtime_equals(&self, _: &[u8]) -> bool {
        false
    }
    pub fn client_payload_nonce(&self) -> Option<&[u8]> {
        None
    }
}
pub fn verify(_: &str, _: &KeySet, _: &TokenExpectations<'_>, _: UnixTime) -> Result<VerifiedToken, TokenError> {
    Err(TokenError::UnknownKey { key_id: String::new() })
}
