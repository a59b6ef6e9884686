//! Bytes that claim to be a binary HTTP message never panic, and are read as the same message in whatever pieces they come.
#![cfg_attr(fuzzing, no_main)]

// The layers that this target reads with are in the crate under `cfg(fuzzing)`, which `fuzz/run` sets.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| blindbox_attestation::message_properties::binary_http(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run by fuzz/run, which sets cfg(fuzzing)");
    std::process::exit(64);
}
