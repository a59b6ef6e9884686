//! Bounds the memory of the module: an input that wants more ends the instance, and not the host.

/// 128 MiB. Evidence takes 2 MiB.
const MAX_MEMORY: u32 = 128 << 20;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-cdylib-link-arg=--max-memory={MAX_MEMORY}");
    }
}
