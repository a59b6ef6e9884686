//! The verification without a network: tokens, reports, endorsements, CCE policies, policies, and their appraisal.
//!
//! A module stands for what it tests; evidence is the emulator's or recorded (`common::vectors`).

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/malformed_times.rs"]
mod malformed_times;
#[path = "../common/scene.rs"]
mod scene;
#[path = "../common/sev_data.rs"]
mod sev_data;
#[path = "../common/sign.rs"]
mod sign;

mod advisories;
mod appraise;
mod azure_vm;
mod cce_policy;
mod claims;
mod endorsement;
mod error_codes;
mod evidence_files;
mod jwks;
mod limits;
mod maa_key;
mod pipeline;
mod policy;
mod policy_file;
mod report;
mod snp_guest;
mod tdx_token;
mod token;
