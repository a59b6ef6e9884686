//! The header is that of the source, with the codes of the core.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::path::Path;

/// The beginning of the header: rules, the version and the codes.
fn beginning() -> String {
    let mut text = include_str!("../header.txt").trim_end().to_owned();
    text.push_str("\n\n/* The version of this header; bb_version() gives that of the library. */\n");
    writeln!(text, "#define BB_VERSION \"{}\"\n", blindbox_facade::version()).unwrap();
    text.push_str("/* The results of functions: the frozen numbers of errors. docs/errors.md describes each. */\n");
    text.push_str("enum {\n  BB_OK = 0,\n");
    for code in blindbox_facade::codes() {
        let name = code.code.replace('-', "_").to_uppercase();
        writeln!(text, "  BB_{name} = {},", code.number).unwrap();
    }
    text.push_str("};");
    text
}

/// In the order in which a reader meets them.
const MODULES: [&str; 12] = [
    "library",
    "error",
    "policy",
    "cancel",
    "verifier",
    "session",
    "request",
    "response",
    "collected",
    "offline",
    "log",
    "text",
];

#[test]
fn the_header_is_that_of_the_source() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(here.join("cbindgen.toml")).expect("cbindgen.toml");
    config.after_includes = Some(beginning());
    let mut builder = cbindgen::Builder::new().with_config(config);
    for module in MODULES {
        builder = builder.with_src(here.join("src").join(module).with_extension("rs"));
    }
    let mut bytes = Vec::new();
    builder.generate().expect("the source can be read").write(&mut bytes);
    let generated = String::from_utf8(bytes).unwrap();
    let path = here.join("include/blindbox.h");
    if std::env::var_os("BLINDBOX_WRITE_HEADER").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/blindbox.h is not that of the source: set BLINDBOX_WRITE_HEADER=1 and run this test"
    );
}
