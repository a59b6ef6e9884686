//! A TEE in a box, with real signatures: for tests, never in a default build.

pub mod uvm;
