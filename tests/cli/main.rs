//! `blindbox-attest` as it is used: the program itself against the emulator that it serves.

mod advisories;
mod amd_roots;
mod azure_vm;
mod cce_policy;
#[path = "../common/mod.rs"]
mod common;
mod completions;
mod emulate;
mod examples;
mod failures;
mod files;
mod forms;
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
mod unheard;
mod verify;
