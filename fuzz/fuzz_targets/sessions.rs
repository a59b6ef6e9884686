//! The table of sessions admits each number once, and agrees with one that remembers everything.
#![cfg_attr(fuzzing, no_main)]

// The layers that this target uses are in the crate under `cfg(fuzzing)`, which `fuzz/run` sets.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| blindbox_attestation::message_properties::sessions(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run by fuzz/run, which sets cfg(fuzzing)");
    std::process::exit(64);
}
