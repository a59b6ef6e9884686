//! Policies, host data, recorded evidence, inspection.

use std::sync::Arc;

use blindbox_facade as facade;

use crate::outcome::{Outcome, outcome, text};
use crate::sessions::Document;

/// A policy.
#[derive(uniffi::Object)]
pub struct Policy(pub(crate) facade::Policy);

/// Parses a policy file: [`Outcome::Parsed`].
#[uniffi::export]
pub fn parse_policy(source: String) -> Outcome {
    outcome(facade::Policy::parse(&source), |policy| Outcome::Parsed { policy: Arc::new(Policy(policy)) })
}

#[uniffi::export]
impl Policy {
    pub fn to_toml(&self) -> String {
        self.0.to_toml()
    }

    pub fn to_json(&self) -> String {
        self.0.to_json()
    }

    pub fn digest(&self) -> String {
        self.0.digest()
    }

    pub fn maa_issuer(&self) -> Option<String> {
        self.0.maa_issuer()
    }

    pub fn lint(&self) -> String {
        self.0.lint_json()
    }
}

/// Returns host data in hexadecimal, described in JSON: [`Outcome::Made`].
#[uniffi::export]
pub fn host_data(hex: String) -> Outcome {
    text(facade::host_data(&hex))
}

/// Returns the host data of a CCE policy in base64, described in JSON: [`Outcome::Made`].
#[uniffi::export]
pub fn cce_policy(base64: String) -> Outcome {
    text(facade::cce_policy(&base64))
}

/// Returns what the bytes of a file are, in JSON: [`Outcome::Made`].
#[uniffi::export]
pub fn inspect(content: Vec<u8>) -> Outcome {
    text(facade::inspect(&content))
}

/// Recorded evidence, and what the caller knows from elsewhere.
#[derive(uniffi::Record)]
pub struct Recorded {
    pub documents: Vec<Document>,
    pub key_set: Option<Vec<u8>>,
    pub amd_roots: Option<String>,
    pub ak_root: Option<String>,
}

impl From<Recorded> for facade::Recorded {
    fn from(recorded: Recorded) -> Self {
        let Recorded { documents, key_set, amd_roots, ak_root } = recorded;
        let documents = documents.into_iter().map(|document| (document.name, document.content)).collect();
        Self { documents, key_set, amd_roots, ak_root }
    }
}

/// Returns the verdict on recorded evidence, in JSON: [`Outcome::Made`]. `at` is in seconds since 1970-01-01 UTC.
#[uniffi::export]
pub fn verify_recorded(recorded: Recorded, policy: &Policy, at: u64) -> Outcome {
    text(facade::verify_recorded(&recorded.into(), &policy.0, at))
}

/// Returns the content of genuine evidence, without a verdict, in JSON: [`Outcome::Made`].
#[uniffi::export]
pub fn verify_unappraised(recorded: Recorded, maa_issuer: Option<String>, at: u64) -> Outcome {
    text(facade::verify_unappraised(&recorded.into(), maa_issuer.as_deref(), at))
}
