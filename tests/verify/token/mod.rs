//! Step 2: tokens of real MAA instances, and tokens that no MAA would make.

mod genuine;
mod keys;
mod structure;

use std::fs;
use std::path::Path;

use blindbox_attestation::maa::{KeySet, TokenError, TokenExpectations, VerifiedToken, verify};
use blindbox_attestation::{MaaIssuer, UnixTime};
use serde_json::Value;

use crate::sign::{check, container_claims, signer};

fn check_header(header: &Value) -> Result<VerifiedToken, TokenError> {
    check(&signer().token(&header.to_string(), &container_claims().to_string()))
}

struct RecordedToken {
    token: String,
    keys: KeySet,
    issuer: MaaIssuer,
    issued_at: u64,
    expires_at: u64,
    expected: Value,
}

impl RecordedToken {
    fn open(folder: &Path, key_set: &str) -> Self {
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let expected: Value = serde_json::from_slice(&read("expected.json")).unwrap();
        Self {
            token: String::from_utf8(read("token.jwt")).unwrap().trim_end().to_owned(),
            keys: KeySet::from_json(&read(key_set)).unwrap(),
            issuer: MaaIssuer::new(expected["iss"].as_str().unwrap()).unwrap(),
            issued_at: expected["iat"].as_u64().unwrap(),
            expires_at: expected["exp"].as_u64().unwrap(),
            expected,
        }
    }

    fn verify(&self, token: &str, at: u64) -> Result<VerifiedToken, TokenError> {
        verify(token, &self.keys, &TokenExpectations::new(&self.issuer), UnixTime::from_secs(at))
    }
}
