//! Where recorded evidence is.

use std::io::Write;
use std::path::PathBuf;

/// The directory of recorded evidence, which `BLINDBOX_VECTORS` names; without it, one beside the repository. If it does not exist,
/// says so and gives nothing: the test returns.
#[must_use]
pub fn vectors() -> Option<PathBuf> {
    let named = std::env::var_os("BLINDBOX_VECTORS").map(PathBuf::from);
    let directory = named.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"));
    if directory.is_dir() {
        return Some(directory);
    }
    skipped(&format!("no recorded evidence in {}; name its directory in BLINDBOX_VECTORS", directory.display()));
    None
}

/// The directory of reported cases, `cases` beside that of recorded evidence. As [`vectors`], it says so where there is none.
#[must_use]
#[allow(dead_code, reason = "not every test program reads them")]
pub fn cases() -> Option<PathBuf> {
    let directory = vectors()?.parent()?.join("cases");
    if directory.is_dir() {
        return Some(directory);
    }
    skipped(&format!("no reported cases in {}", directory.display()));
    None
}

/// Says that a test returns early, and why.
pub fn skipped(why: &str) {
    // Not `eprintln!`: the test harness swallows what that prints in a test that passes, as this one will.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
