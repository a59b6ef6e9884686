//! `blindbox-attest` as it is used: the program itself against the emulator that it serves.

mod advisories;
mod amd_roots;
mod azure_vm;
mod cce_policy;
mod closed_output;
#[path = "../common/mod.rs"]
mod common;
mod completions;
mod emulate;
mod evidence_encodings;
mod examples;
mod failures;
mod files;
mod knobs;
mod learn;
mod offline;
mod packaging;
mod policy;
mod proxy;
mod recorded;
mod settings;
mod terminal;
mod tool;
mod verify;
