//! `advisories`: which published attacks a report's platform still allows.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::Product;
use blindbox_attestation::advisories::Advisory;
use blindbox_attestation::emulator::amd::AmdHierarchy;
use tempfile::TempDir;

use crate::tool::run;

#[test]
fn a_report_says_which_attacks_are_open() {
    let folder = TempDir::new().unwrap();
    let amd = AmdHierarchy::new(Product::Milan);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let all = |report: blindbox_attestation::emulator::amd::ReportBuilder| {
        report.version(5).launch_mitigation_vector(0xff).current_mitigation_vector(0xff)
    };
    let (old, new) = (amd.vcek().issue(), {
        let tcb = blindbox_attestation::Tcb::new(None, 4, 0, 29, 219);
        amd.vcek().tcb(tcb).issue()
    });
    fs::write(path("old.bin"), amd.report().sign(&old)).unwrap();
    fs::write(path("new.bin"), all(amd.report()).sign(&new)).unwrap();

    let outcome = run(&["advisories", &path("old.bin")]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (0, ""));
    let lines: Vec<_> = outcome.out.lines().collect();
    assert_eq!(
        lines[0],
        "not verified: a report of version 3 of Milan, reported tcb bootloader 4, tee 0, snp 24, microcode 219"
    );
    for (begin, name) in [
        ("fixed ", "AMD-SB-3019 EntrySign"),
        ("not reported ", "AMD-SB-3020 RMPocalypse"),
        ("unknown ", "AMD-SB-3027 StackWarp"),
        ("NOT FIXED ", "AMD-SB-3030 BreakFAST"),
    ] {
        let at = lines.iter().position(|line| line.contains(name)).unwrap_or_else(|| panic!("{}", outcome.out));
        assert!(lines[at].starts_with(begin), "{}", lines[at]);
        assert!(lines[at + 1].trim_start().starts_with("source: "), "{}", lines[at + 1]);
    }
    assert!(outcome.out.contains("; snp 29 or later is needed\n"), "{}", outcome.out);
    let as_of = format!("as of {}: later bulletins are not in the table of this release", Advisory::AS_OF);
    assert_eq!(lines.last(), Some(&as_of.as_str()));

    let outcome = run(&["advisories", &path("old.bin"), "--json", "--deny-open"]);
    assert_eq!((outcome.exit, outcome.err.as_str()), (1, ""));
    let told = outcome.json();
    assert_eq!((told["kind"].as_str(), told["verified"].as_bool()), (Some("advisories"), Some(false)));
    assert_eq!(told["as_of"], Advisory::AS_OF);
    assert_eq!(told["report"]["silicon"], "milan");
    let findings = told["report"]["findings"].as_array().unwrap();
    let last = findings.last().unwrap();
    let unmet = serde_json::json!({ "unmet": "tcb", "part": "snp", "minimum": 29, "actual": 24 });
    assert_eq!(last["status"], "not-fixed");
    assert!(unmet.as_object().unwrap().iter().all(|(name, value)| last[name] == *value), "{last}");
    assert_eq!(last["advisory"]["name"], "AMD-SB-3030");
    assert!(last["advisory"]["sources"].as_array().is_some_and(|sources| !sources.is_empty()));

    assert_eq!(run(&["advisories", &path("new.bin"), "--deny-open"]).exit, 0);
    // As every command reads a report.
    let base64 = STANDARD.encode(fs::read(path("new.bin")).unwrap());
    fs::write(path("new.txt"), base64).unwrap();
    assert_eq!(run(&["advisories", &path("new.txt"), "--deny-open"]).exit, 0);
    // A token says too little: no exit code of a verdict, with or without --deny-open.
    let token = format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#), URL_SAFE_NO_PAD.encode("{}"));
    fs::write(path("token.jwt"), token).unwrap();
    for more in [&[][..], &["--deny-open"]] {
        let outcome = run(&[&["advisories", &path("token.jwt")][..], more].concat());
        assert_eq!((outcome.exit, outcome.out.as_str()), (4, ""), "{}", outcome.err);
        assert!(outcome.err.contains("found a token (JWT): a token carries neither the CPUID"), "{}", outcome.err);
        assert!(outcome.err.contains("report.bin"), "{}", outcome.err);
    }
    fs::write(path("short.bin"), [0; 10]).unwrap();
    let outcome = run(&["advisories", &path("short.bin")]);
    assert_eq!((outcome.exit, outcome.out.as_str()), (4, ""));
    assert!(outcome.err.contains("1184"), "{}", outcome.err);
    assert_eq!(run(&["advisories"]).exit, 64);
}
