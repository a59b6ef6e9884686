//! CCE policies: the digest that a report carries, and what a text leaves to others.

mod difference;
mod findings;
mod source;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::HostData;
use blindbox_attestation::cce_policy::{CcePolicy, CcePolicyError, CcePolicyFinding, find_cce_policies};
use proptest::prelude::*;

#[test]
fn recorded_policies_hash_to_the_host_data_of_their_reports_and_allow_everything() {
    let Some(vectors) = crate::common::vectors() else { return };
    for (directory, known) in
        [("snp-aci-milan-v2-uvm22", false), ("snp-aci-milan-v3-tav", true), ("snp-aci-genoa-v3-tav", true)]
    {
        let policy = CcePolicy::from_rego(std::fs::read(vectors.join(directory).join("security_policy.rego")).unwrap());
        let policy = policy.unwrap();
        let report = std::fs::read(vectors.join(directory).join("report.bin")).unwrap();
        assert_eq!(policy.digest().as_bytes(), &report[0xc0..0xe0]);
        assert_eq!(policy.digest().is_known_allow_all(), known);
        let findings = policy.findings();
        assert_eq!(findings.contains(&CcePolicyFinding::KnownAllowAll), known);
        assert!(findings.contains(&CcePolicyFinding::AllowsEveryContainer));
    }
}

#[test]
fn the_recorded_allow_all_policies_are_told_apart_by_their_framework() {
    let Some(vectors) = crate::common::vectors() else { return };
    let text = std::fs::read_to_string(vectors.join("security-context-aci/security-policy-base64")).unwrap();
    let policy = CcePolicy::from_base64(&text).unwrap();
    assert_eq!(policy.digest().to_string(), "4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10");
    assert_eq!(HostData::from_cce_policy(&text), Ok(policy.digest()));
    let everything = [
        CcePolicyFinding::KnownAllowAll,
        CcePolicyFinding::AllowsEveryContainer,
        CcePolicyFinding::AllowsEveryExec { enforcement_point: "exec_in_container".into() },
        CcePolicyFinding::AllowsEveryExec { enforcement_point: "exec_external".into() },
        CcePolicyFinding::AllowsUnconditionally {
            enforcement_points: [
                "mount_device",
                "mount_overlay",
                "unmount_device",
                "unmount_overlay",
                "shutdown_container",
                "signal_container_process",
                "plan9_mount",
                "plan9_unmount",
                "get_properties",
                "dump_stacks",
                "runtime_logging",
                "load_fragment",
                "scratch_mount",
                "scratch_unmount",
            ]
            .map(str::to_owned)
            .to_vec(),
        },
    ];
    assert_eq!(policy.findings(), everything);

    let older = vectors.join("maa-sharedweu-test-sevsnpvm-aci-2025/security_policy.rego");
    let older = CcePolicy::from_rego(std::fs::read(older).unwrap()).unwrap();
    assert!(older.digest().is_known_allow_all());
    assert_eq!(older.findings(), [&everything[..], &[CcePolicyFinding::NoFrameworkVersion]].concat());
}

#[test]
fn base64_has_one_form() {
    let text = "package policy\n";
    let base64 = STANDARD.encode(text);
    let digest = CcePolicy::from_rego(text).unwrap().digest();
    for good in [base64.clone(), format!("{base64}\n"), format!(" \t{base64}\r\n")] {
        assert_eq!(HostData::from_cce_policy(&good), Ok(digest));
    }
    let padded = STANDARD.encode("package policy\n#");
    for bad in [
        padded.trim_end_matches('=').to_owned(),
        "eB==".to_owned(),
        format!("{}\n{}", &base64[..4], &base64[4..]),
        format!("{base64}="),
        format!("\u{a0}{base64}"),
        "a_-a".to_owned(),
        "package policy".to_owned(),
    ] {
        assert_eq!(HostData::from_cce_policy(&bad), Err(CcePolicyError::NotBase64), "{bad}");
    }
    assert_eq!(HostData::from_cce_policy(" "), Err(CcePolicyError::Empty));
    assert_eq!(CcePolicy::from_rego(""), Err(CcePolicyError::Empty));
    let other = STANDARD.encode("package other\n\nsvn := \"1\"\n");
    assert_eq!(HostData::from_cce_policy(&other), Err(CcePolicyError::NotRego));
    assert_eq!(HostData::from_cce_policy(&STANDARD.encode([0xff, b'"'])), Err(CcePolicyError::NotUtf8));
    assert_ne!(CcePolicy::from_rego("package policy").unwrap().digest(), digest);
}

/// Wrapped, without padding, cut off: text that is no whole base64 is easily taken for the Rego text, and its digest is that of
/// nothing that was ever deployed.
#[test]
fn base64_is_never_taken_for_the_text() {
    let text = "package policy\n\napi_version := \"0.10.0\"\nmount_device := {\"allowed\": true}\n# end\n";
    let base64 = STANDARD.encode(text);
    assert!(base64.ends_with('='), "{base64}");
    let lines: Vec<_> = base64.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    for (what, copy) in [
        ("whole", base64.clone().into_bytes()),
        ("wrapped by `fold` or `base64`", lines.join("\n").into_bytes()),
        ("wrapped with a line feed at the end", format!("{}\n", lines.join("\n")).into_bytes()),
        ("wrapped on Windows", lines.join("\r\n").into_bytes()),
        ("with spaces", lines.join(" ").into_bytes()),
        ("without padding", base64.trim_end_matches('=').to_owned().into_bytes()),
        ("cut off", base64.as_bytes()[..base64.len() - 6].to_vec()),
        ("in the alphabet of URLs", b"cGFja2FnZSBwb2xpY3kK_-_-".to_vec()),
        ("with a byte order mark", format!("\u{feff}{base64}").into_bytes()),
        ("as PowerShell writes it", [vec![0xff, 0xfe], utf16(&base64)].concat()),
        ("in UTF-16 without a mark", utf16(&base64)),
        ("twice encoded", STANDARD.encode(&base64).into_bytes()),
    ] {
        assert_eq!(CcePolicy::from_rego(copy.clone()), Err(CcePolicyError::Base64InsteadOfRego), "{what}");
        // What is one line of the one form is read as base64; nothing else is.
        let read = CcePolicy::from_base64(&String::from_utf8_lossy(&copy));
        match what {
            "whole" => assert_eq!(read.unwrap().text(), text),
            "twice encoded" => assert_eq!(read, Err(CcePolicyError::Base64InsteadOfRego)),
            _ => assert_eq!(read, Err(CcePolicyError::NotBase64), "{what}"),
        }
    }
    for (blank, error) in [(" \r\n\t", CcePolicyError::Empty), ("\n", CcePolicyError::Empty)] {
        assert_eq!(CcePolicy::from_rego(blank), Err(error));
    }
    for rego in
        ["package policy", "package policy\r\n", "package policy\nx = y\n", "# made\n\n package  policy # by hand\n"]
    {
        assert_eq!(CcePolicy::from_rego(rego).unwrap().text(), rego);
    }
    for (text, error) in [
        ("a := true", CcePolicyError::NotRego),
        ("{}", CcePolicyError::NotRego),
        ("# package policy\n", CcePolicyError::NotRego),
        ("package policy.sub\n", CcePolicyError::NotRego),
        ("package policy1 {}\n", CcePolicyError::NotRego),
        ("WARNING: x\npackage policy\n", CcePolicyError::NotRego),
        ("\u{feff}package policy\nx := 1\n", CcePolicyError::ByteOrderMark),
    ] {
        assert_eq!(CcePolicy::from_rego(text), Err(error), "{text}");
    }
    // What is deployed with a mark is hashed with it.
    let marked = "\u{feff}package policy\nx := 1\n";
    assert_eq!(CcePolicy::from_base64(&STANDARD.encode(marked)).unwrap().text(), marked);
    assert!(CcePolicyError::Base64InsteadOfRego.to_string().contains("on one line"));
}

#[test]
fn recorded_policies_are_read_from_base64_and_from_rego_and_never_wrapped() {
    let Some(vectors) = crate::common::vectors() else { return };
    let base64 = std::fs::read_to_string(vectors.join("security-context-aci/security-policy-base64")).unwrap();
    let policy = CcePolicy::from_base64(&base64).unwrap();
    assert_eq!(CcePolicy::from_rego(policy.text()), Ok(policy));
    let wrapped: Vec<_> = base64.trim().as_bytes().chunks(76).collect();
    assert_eq!(CcePolicy::from_rego(wrapped.join(&b'\n')), Err(CcePolicyError::Base64InsteadOfRego));
}

#[test]
fn a_text_is_bounded() {
    let max = CcePolicy::MAX_BYTES;
    let of_length = |length: usize| {
        let head = "package policy\n";
        format!("{head}{}", " ".repeat(length - head.len()))
    };
    assert_eq!(CcePolicy::from_rego(of_length(max)).unwrap().text().len(), max);
    let error = CcePolicyError::TooLarge { found: max + 1, max };
    assert_eq!(CcePolicy::from_rego(of_length(max + 1)), Err(error));
    assert_eq!(CcePolicy::from_base64(&STANDARD.encode(of_length(max))).unwrap().text().len(), max);
    // Base64 is refused for its length before it is decoded.
    let longest = STANDARD.encode(of_length(max)).len();
    let no_base64 = |length: usize| CcePolicy::from_base64(&"!".repeat(length));
    assert_eq!(no_base64(longest), Err(CcePolicyError::NotBase64));
    assert_eq!(no_base64(longest + 1), Err(CcePolicyError::TooLarge { found: longest / 4 * 3, max }));
}

/// Reads in one pass: a reader that looks at the rest of the text again for each token takes minutes for these, so the test
/// would not end.
#[test]
fn large_texts_are_read_in_one_pass() {
    const LENGTH: usize = CcePolicy::MAX_BYTES / 4;
    let fill = |piece: &str| {
        let head = "package policy\n";
        format!("{head}{}", piece.repeat((LENGTH - head.len()) / piece.len()))
    };
    for piece in
        ["a := true\n", "a {\n", "x := [\n", "\"", "a := 1 2\n", "# \n", "b := {\"a\": [[1]]}\n", "}\n", "(", "a:=\n"]
    {
        let policy = CcePolicy::from_rego(fill(piece)).unwrap();
        assert!(policy.findings().contains(&CcePolicyFinding::ContainersNotRead), "{piece}");
        assert_eq!(policy.differences(&policy), []);
    }
    let rule = r#"{"pattern":"((((.|A)+)?))=(.*)","strategy":"re2","required":false},"#;
    let (head, tail) = ("package policy\ncontainers := [{\"env_rules\": [", "]}]\n");
    let many = rule.repeat((LENGTH - head.len() - tail.len()) / rule.len());
    let policy = CcePolicy::from_rego(format!("{head}{many}{tail}")).unwrap();
    assert!(policy.findings().len() > 1_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_policies_never_panic(text in "package policy\n([a-z_]{1,3} ?:?= ?[\\[\\]{}\"`:,#\\\\a-z0-9 \n]{0,40}\n?){0,8}") {
        let policy = CcePolicy::from_rego(text).unwrap();
        // Nothing else is in these texts: each has a finding.
        prop_assert_ne!(policy.findings(), []);
        prop_assert_eq!(policy.differences(&policy), []);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        if let Ok(policy) = CcePolicy::from_rego([b"package policy\na := ".as_slice(), &bytes].concat()) {
            prop_assert_ne!(policy.findings(), []);
        }
        let _ = find_cce_policies(&bytes);
        let _ = CcePolicy::from_base64(&String::from_utf8_lossy(&bytes));
    }
}
