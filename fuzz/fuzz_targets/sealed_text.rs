//! Any text that is sealed to a key comes out at the other end, and so does its response.
#![cfg_attr(fuzzing, no_main)]

// The layers that this target reads with are in the crate under `cfg(fuzzing)`, which `fuzz/run` sets.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| blindbox_attestation::message_properties::sealed_text(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run by fuzz/run, which sets cfg(fuzzing)");
    std::process::exit(64);
}
