//! Real evidence inside the published `sev` package, which cargo has unpacked on any machine that builds this crate.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A report of a Milan machine and the VCEK that signed it.
pub struct Milan {
    pub report: Vec<u8>,
    pub vcek: Vec<u8>,
}

pub fn milan() -> Milan {
    let data = package().join("tests/certs_data");
    let text = std::fs::read_to_string(data.join("report_milan.hex")).unwrap();
    let report = hex::decode(text.trim()).unwrap();
    Milan { report, vcek: std::fs::read(data.join("vcek_milan.der")).unwrap() }
}

/// Where cargo unpacked the `sev` package.
pub fn package() -> PathBuf {
    let run = |command: &mut Command| String::from_utf8(command.output().expect("it runs").stdout).unwrap();
    let tool = |name: &str| Command::new(std::env::var_os(name.to_uppercase()).unwrap_or_else(|| name.into()));
    // Only for this platform: what other platforms need was never downloaded.
    let version = run(tool("rustc").arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let metadata = run(tool("cargo")
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", host, "--manifest-path"])
        .arg(manifest));
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("cargo metadata has packages");
    let sev = packages.iter().find(|package| package["name"] == "sev").expect("this crate depends on sev");
    Path::new(sev["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}
