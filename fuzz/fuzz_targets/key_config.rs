//! Bytes that claim to be a key configuration never panic, and are read as what they are.
#![cfg_attr(fuzzing, no_main)]

// The layers that this target reads with are in the crate under `cfg(fuzzing)`, which `fuzz/run` sets.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| blindbox_attestation::message_properties::key_config(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run by fuzz/run, which sets cfg(fuzzing)");
    std::process::exit(64);
}
