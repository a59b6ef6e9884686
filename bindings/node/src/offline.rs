//! Policies, recorded evidence, inspection.

use blindbox_facade as facade;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::call::{Outcome, outcome};

/// A policy.
#[napi]
pub struct Policy(pub(crate) facade::Policy);

#[napi]
impl Policy {
    /// Parses a policy file.
    #[napi]
    pub fn parse(text: String) -> Outcome<Policy> {
        outcome(facade::Policy::parse(&text).map(Self))
    }

    #[napi]
    pub fn to_toml(&self) -> String {
        self.0.to_toml()
    }

    #[napi]
    pub fn to_json(&self) -> String {
        self.0.to_json()
    }

    #[napi]
    pub fn digest(&self) -> String {
        self.0.digest()
    }

    #[napi]
    pub fn maa_issuer(&self) -> Option<String> {
        self.0.maa_issuer()
    }

    #[napi]
    pub fn lint(&self) -> String {
        self.0.lint_json()
    }
}

/// Host data in hexadecimal, described in JSON.
#[napi]
pub fn host_data(hex: String) -> Outcome<String> {
    outcome(facade::host_data(&hex))
}

/// The host data of a CCE policy in base64, described in JSON.
#[napi]
pub fn cce_policy(base64: String) -> Outcome<String> {
    outcome(facade::cce_policy(&base64))
}

/// What the bytes of a file are, in JSON.
#[napi]
pub fn inspect(bytes: &[u8]) -> Outcome<String> {
    outcome(facade::inspect(bytes))
}

/// A document by the name of its file.
#[napi(object)]
pub struct Document {
    pub name: String,
    pub content: Buffer,
}

/// Recorded evidence, and what the caller knows from elsewhere.
#[napi(object)]
pub struct Recorded {
    pub documents: Vec<Document>,
    pub key_set: Option<Buffer>,
    pub amd_roots: Option<String>,
    pub ak_root: Option<String>,
}

impl From<Recorded> for facade::Recorded {
    fn from(recorded: Recorded) -> Self {
        let Recorded { documents, key_set, amd_roots, ak_root } = recorded;
        let documents = documents.into_iter().map(|document| (document.name, document.content.to_vec())).collect();
        Self { documents, key_set: key_set.map(|bytes| bytes.to_vec()), amd_roots, ak_root }
    }
}

/// The verdict on recorded evidence, in JSON. `at` is in seconds since 1970-01-01 UTC.
#[napi]
pub fn verify_recorded(recorded: Recorded, policy: &Policy, at: u32) -> Outcome<String> {
    outcome(facade::verify_recorded(&recorded.into(), &policy.0, at.into()))
}

/// The content of genuine evidence, without a verdict, in JSON.
#[napi]
pub fn verify_unappraised(recorded: Recorded, maa_issuer: Option<String>, at: u32) -> Outcome<String> {
    outcome(facade::verify_unappraised(&recorded.into(), maa_issuer.as_deref(), at.into()))
}
