//! Whatever a front end does with sealed messages, it reads nothing, changes nothing unnoticed and has no request processed twice.
#![cfg_attr(fuzzing, no_main)]

// The layers that this target uses are in the crate under `cfg(fuzzing)`, which `fuzz/run` sets.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| blindbox_attestation::message_properties::front_end(data));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("run by fuzz/run, which sets cfg(fuzzing)");
    std::process::exit(64);
}
