//! What the tests share.
#![allow(dead_code)]

use std::path::PathBuf;

/// The directory of evidence recorded from real machines, or a loud word that the test skips.
pub fn vectors() -> Option<PathBuf> {
    let found = match std::env::var_os("BLINDBOX_VECTORS") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
    };
    if found.is_dir() {
        return Some(found);
    }
    eprintln!("SKIPPED: no recorded evidence (set BLINDBOX_VECTORS to the directory that has it)");
    None
}
