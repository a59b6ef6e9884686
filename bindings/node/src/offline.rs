//! Policies, recorded evidence, inspection.

use blindbox_facade::{self as facade, EndorsementInput, EvidenceInput};
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
    pub fn attester(&self) -> Option<String> {
        self.0.attester()
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

/// Evidence and what vouches for it.
#[napi(object)]
pub struct Recorded {
    pub token: Option<Buffer>,
    pub report: Option<Buffer>,
    pub uvm_endorsement: Option<Buffer>,
    pub runtime_data: Option<Buffer>,
    pub key_set: Option<Buffer>,
    pub key_set_beside_evidence: bool,
    pub certificates: Option<Buffer>,
    pub revocation_lists: Vec<Buffer>,
    pub amd_roots: Option<String>,
}

impl Recorded {
    fn split(self) -> (EvidenceInput, EndorsementInput) {
        let bytes = |buffer: Option<Buffer>| buffer.map(|buffer| buffer.to_vec());
        let evidence = EvidenceInput {
            token: bytes(self.token),
            report: bytes(self.report),
            uvm_endorsement: bytes(self.uvm_endorsement),
            runtime_data: bytes(self.runtime_data),
        };
        let endorsements = EndorsementInput {
            key_set: bytes(self.key_set),
            key_set_beside_evidence: self.key_set_beside_evidence,
            certificates: bytes(self.certificates),
            revocation_lists: self.revocation_lists.iter().map(|list| list.to_vec()).collect(),
            amd_roots: self.amd_roots,
        };
        (evidence, endorsements)
    }
}

/// The verdict on recorded evidence, in JSON. `at` is in seconds since 1970-01-01 UTC.
#[napi]
pub fn verify_recorded(recorded: Recorded, policy: &Policy, at: u32) -> Outcome<String> {
    let (evidence, endorsements) = recorded.split();
    outcome(facade::verify_recorded(&evidence, &endorsements, &policy.0, at.into()))
}

/// The content of genuine evidence, without a verdict, in JSON.
#[napi]
pub fn verify_unappraised(recorded: Recorded, attester: Option<String>, at: u32) -> Outcome<String> {
    let (evidence, endorsements) = recorded.split();
    outcome(facade::verify_unappraised(&evidence, &endorsements, attester.as_deref(), at.into()))
}
