//! CCE policies: the digest that a report carries, and what a text gives away.

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::{CcePolicy, CcePolicyFinding, CcePolicyFlag, ContainerFinding, HostData, InvalidCcePolicy};
use proptest::prelude::*;

#[test]
fn recorded_policies_hash_to_the_host_data_of_their_reports_and_allow_everything() {
    let Some(vectors) = common::vectors() else { return };
    for (folder, known) in
        [("snp-aci-milan-v2-uvm22", false), ("snp-aci-milan-v3-tav", true), ("snp-aci-genoa-v3-tav", true)]
    {
        let policy = CcePolicy::from_rego(std::fs::read(vectors.join(folder).join("security_policy.rego")).unwrap());
        let policy = policy.unwrap();
        let report = std::fs::read(vectors.join(folder).join("report.bin")).unwrap();
        assert_eq!(policy.digest().as_bytes(), &report[0xc0..0xe0]);
        assert_eq!(policy.digest().is_known_allow_all(), known);
        let findings = policy.findings();
        assert_eq!(findings.contains(&CcePolicyFinding::KnownAllowAll), known);
        assert!(findings.contains(&CcePolicyFinding::AllowsEveryContainer));
    }
}

#[test]
fn the_recorded_allow_all_policies_are_told_apart_by_their_framework() {
    let Some(vectors) = common::vectors() else { return };
    let text = std::fs::read_to_string(vectors.join("security-context-aci/security-policy-base64")).unwrap();
    let policy = CcePolicy::from_base64(&text).unwrap();
    assert_eq!(policy.digest().to_string(), "4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10");
    assert_eq!(HostData::from_cce_policy(&text), Ok(policy.digest()));
    let everything = [
        CcePolicyFinding::KnownAllowAll,
        CcePolicyFinding::AllowsEveryContainer,
        CcePolicyFinding::AllowsEveryExec { enforcement_point: "exec_in_container" },
        CcePolicyFinding::AllowsEveryExec { enforcement_point: "exec_external" },
        CcePolicyFinding::AllowsUnconditionally {
            enforcement_points: vec![
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
            ],
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
    let padded = STANDARD.encode("x");
    for bad in [
        padded.trim_end_matches('=').to_owned(),
        "eB==".to_owned(),
        format!("{}\n{}", &base64[..4], &base64[4..]),
        format!("{base64}="),
        format!("\u{a0}{base64}"),
        "a_-a".to_owned(),
        "package policy".to_owned(),
    ] {
        assert_eq!(HostData::from_cce_policy(&bad), Err(InvalidCcePolicy::NotBase64), "{bad}");
    }
    assert_eq!(HostData::from_cce_policy(" "), Err(InvalidCcePolicy::Empty));
    assert_eq!(CcePolicy::from_rego(""), Err(InvalidCcePolicy::Empty));
    assert_ne!(CcePolicy::from_rego("package policy").unwrap().digest(), digest);
}

/// Wrapped, without padding, cut off: whoever is told that it is no base64 takes it for the Rego text, and its digest is
/// that of nothing that was ever deployed.
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
        assert_eq!(CcePolicy::from_rego(copy.clone()), Err(InvalidCcePolicy::Base64InsteadOfRego), "{what}");
        // What is one line of the one form is read as base64; nothing else is.
        let read = CcePolicy::from_base64(&String::from_utf8_lossy(&copy));
        match what {
            "whole" => assert_eq!(read.unwrap().text(), text.as_bytes()),
            "twice encoded" => assert_eq!(read, Err(InvalidCcePolicy::Base64InsteadOfRego)),
            _ => assert_eq!(read, Err(InvalidCcePolicy::NotBase64), "{what}"),
        }
    }
    for (blank, error) in [(" \r\n\t", InvalidCcePolicy::Empty), ("\n", InvalidCcePolicy::Empty)] {
        assert_eq!(CcePolicy::from_rego(blank), Err(error));
    }
    for rego in ["package policy", "package policy\r\n", "package policy\nx = y\n", "a := true", "{}"] {
        assert_eq!(CcePolicy::from_rego(rego).unwrap().text(), rego.as_bytes());
    }
    assert!(InvalidCcePolicy::Base64InsteadOfRego.to_string().contains("on one line"));
}

#[test]
fn recorded_policies_are_read_from_base64_and_from_rego_and_never_wrapped() {
    let Some(vectors) = common::vectors() else { return };
    let base64 = std::fs::read_to_string(vectors.join("security-context-aci/security-policy-base64")).unwrap();
    let policy = CcePolicy::from_base64(&base64).unwrap();
    assert_eq!(CcePolicy::from_rego(policy.text()), Ok(policy));
    let wrapped: Vec<_> = base64.trim().as_bytes().chunks(76).collect();
    assert_eq!(CcePolicy::from_rego(wrapped.join(&b'\n')), Err(InvalidCcePolicy::Base64InsteadOfRego));
}

const HEAD: &str =
    "package policy\n\nimport future.keywords.every\n\napi_version := \"0.10.0\"\nframework_version := \"0.2.3\"\n\n";
const TAIL: &str = "\nallow_properties_access := false\nallow_dump_stacks := false\n\nmount_device := data.framework.mount_device\ncreate_container := data.framework.create_container\nexec_in_container := data.framework.exec_in_container\n\nreason := {\"errors\": data.framework.errors}\n";

fn findings(middle: &str) -> Vec<CcePolicyFinding> {
    CcePolicy::from_rego(format!("{HEAD}{middle}{TAIL}")).unwrap().findings()
}

fn container(members: &str) -> Vec<CcePolicyFinding> {
    findings(&format!(
        "containers := [{{\"command\":[\"python3\",\"main.py\"],\"layers\":[\"00\"],\"name\":\"app\",{members}\"working_dir\":\"/\"}}]\n"
    ))
}

#[test]
fn a_closed_policy_has_no_findings() {
    assert_eq!(
        container(
            r#""allow_elevated":false,"allow_stdio_access":false,"exec_processes":[],"env_rules":[{"pattern":"A=.*","required":true,"strategy":"string"},{"pattern":"B=[0-9]+","required":false,"strategy":"re2"}],"#
        ),
        []
    );
}

#[test]
fn what_opens_a_container_is_named() {
    let one = |finding| vec![CcePolicyFinding::Container { container: "app".into(), finding }];
    assert_eq!(container(r#""allow_elevated":true,"#), one(ContainerFinding::Elevated));
    assert_eq!(container(r#""allow_stdio_access":true,"#), one(ContainerFinding::StdioAccess));
    assert_eq!(
        container(r#""exec_processes":[{"command":["sh"],"signals":[]},{"command":["ls"],"signals":[]}],"#),
        one(ContainerFinding::ExecProcesses { count: 2 })
    );
    for pattern in [".*", ".+", "^.*$", "(.*)", ".+=.+", "^(.+)=.*$"] {
        assert_eq!(
            container(&format!(r#""env_rules":[{{"pattern":"{pattern}","required":false,"strategy":"re2"}}],"#)),
            one(ContainerFinding::EnvironmentOpen { pattern: pattern.into() })
        );
    }
    assert_eq!(
        container(
            "\"env_rules\":[{\"pattern\":`HOSTNAME=.+`,\"strategy\":\"re2\"},{\"pattern\":\"^T(E)?MP=.*$\",\"strategy\":\"re2\"}],"
        ),
        one(ContainerFinding::EnvironmentValuesOpen { patterns: vec!["HOSTNAME=.+".into(), "^T(E)?MP=.*$".into()] })
    );
}

#[test]
fn what_opens_the_policy_is_named() {
    let closed = "containers := [{\"id\": \"app\"}]\n";
    let with = |more: &str| findings(&format!("{closed}{more}\n"));
    for (flag, name) in [
        (CcePolicyFlag::RuntimeLogging, "allow_runtime_logging"),
        (CcePolicyFlag::EnvironmentVariableDropping, "allow_environment_variable_dropping"),
        (CcePolicyFlag::UnencryptedScratch, "allow_unencrypted_scratch"),
        (CcePolicyFlag::CapabilityDropping, "allow_capability_dropping"),
    ] {
        assert_eq!(with(&format!("{name} := true")), [CcePolicyFinding::FlagSet(flag)]);
        assert_eq!(with(&format!("{name} := false")), []);
        assert_eq!(with(&format!("# {name} := true")), []);
        assert_eq!(with(&format!("{name} := true {{ input.x }}")), []);
        assert!(CcePolicyFinding::FlagSet(flag).to_string().starts_with(&format!("{name}: ")));
    }
    assert_eq!(
        with("external_processes := [\n  {\"command\": [\"bash\"]},\n]"),
        [CcePolicyFinding::ExternalProcesses { count: 1 }]
    );
    assert_eq!(
        with("exec_external := {\"allowed\": true, \"env_list\": null}"),
        [CcePolicyFinding::AllowsEveryExec { enforcement_point: "exec_external" }]
    );
    // Twice assigned is an error in Rego, not a permission.
    assert_eq!(with("allow_dump_stacks := true"), []);
}

#[test]
fn what_cannot_be_read_is_said() {
    assert_eq!(CcePolicy::from_rego(vec![0xff, 0xfe]).unwrap().findings(), [CcePolicyFinding::NotRead]);
    assert_eq!(CcePolicy::from_rego("{}").unwrap().findings(), [CcePolicyFinding::NotRead]);
    assert_eq!(findings(""), [CcePolicyFinding::ContainersNotRead]);
    assert_eq!(findings("containers := []"), [CcePolicyFinding::ContainersNotRead]);
    assert_eq!(findings("containers := data.other.containers"), [CcePolicyFinding::ContainersNotRead]);
    // A text that cannot be told apart from what follows hides the rest; what may stand there is not said to be missing.
    let broken = "package policy\nx := \"\\d\"\napi_version := \"1\"\nframework_version := \"1\"\n";
    assert_eq!(CcePolicy::from_rego(broken).unwrap().findings(), [CcePolicyFinding::ContainersNotRead]);
    assert_eq!(
        CcePolicy::from_rego("package policy\ncontainers := [{}]").unwrap().findings(),
        [CcePolicyFinding::NoApiVersion, CcePolicyFinding::NoFrameworkVersion]
    );
}

#[test]
fn text_from_a_policy_is_escaped() {
    let found = findings("containers := [{\"name\": \"\\u001b[31m\", \"allow_elevated\": true}]\n");
    let text = found[0].to_string();
    assert!(!text.contains('\u{1b}'), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_policies_never_panic(text in "package policy\n([a-z_]{1,3} ?:?= ?[\\[\\]{}\"`:,#\\\\a-z0-9 \n]{0,40}\n?){0,8}") {
        let _ = CcePolicy::from_rego(text).unwrap().findings();
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        let policy = CcePolicy::from_rego([b"package policy\na := ".as_slice(), &bytes].concat()).unwrap();
        let _ = policy.findings();
        let _ = CcePolicy::from_base64(&String::from_utf8_lossy(&bytes));
    }
}
