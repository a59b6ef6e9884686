//! What a policy leaves to others, and what of it is not known.

use blindbox_attestation::cce_policy::{CcePolicy, CcePolicyFinding, CcePolicyFlag, ContainerFinding, MountOrigin};

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

fn one(finding: ContainerFinding) -> Vec<CcePolicyFinding> {
    vec![CcePolicyFinding::Container { container: "app".into(), finding }]
}

fn with(more: &str) -> Vec<CcePolicyFinding> {
    findings(&format!("containers := [{{\"id\": \"app\"}}]\n{more}\n"))
}

#[test]
fn a_closed_policy_has_no_findings() {
    assert_eq!(
        container(
            r#""allow_elevated":false,"allow_stdio_access":false,"exec_processes":[],"env_rules":[{"pattern":"A=.*","required":true,"strategy":"string"},{"name":"B","name_strategy":"string","value":".*","value_strategy":"string","required":false},{"pattern":"^C=1$","strategy":"re2"}],"mounts":[{"source":"tmpfs","destination":"/tmp","type":"tmpfs","options":["rw"]}],"signals":[9,15],"no_new_privileges":true,"seccomp_profile_sha256":"ab","capabilities":{"ambient":[],"bounding":["CAP_CHOWN"],"effective":["CAP_CHOWN"],"inheritable":[],"permitted":["CAP_CHOWN"]},"user":{"user_idname":{"pattern":"1000","strategy":"id"},"group_idnames":[{"pattern":"app","strategy":"name"}],"umask":"0022"},"#
        ),
        []
    );
}

#[test]
fn what_opens_a_container_is_named() {
    assert_eq!(container(r#""allow_elevated":true,"#), one(ContainerFinding::Elevated));
    assert_eq!(container(r#""allow_stdio_access":true,"#), one(ContainerFinding::StdioAccess));
    assert_eq!(
        container(r#""exec_processes":[{"command":["sh","-c"],"signals":[]},{"command":"cmd /c","signals":[]}],"#),
        one(ContainerFinding::ExecProcesses { commands: vec!["sh -c".into(), "cmd /c".into()] })
    );
    assert_eq!(container(r#""signals":[9,10],"#), one(ContainerFinding::Signals { signals: vec!["10".into()] }));
    assert_eq!(container(r#""no_new_privileges":false,"#), one(ContainerFinding::NewPrivileges));
    assert_eq!(container(r#""seccomp_profile_sha256":"","#), one(ContainerFinding::NoSeccompProfile));
    assert_eq!(
        container(
            r#""capabilities":{"ambient":["CAP_SYS_ADMIN"],"bounding":["CAP_SYS_ADMIN","CAP_CHOWN"],"effective":[],"inheritable":[],"permitted":["CAP_BPF"]},"#
        ),
        one(ContainerFinding::Capabilities { names: vec!["CAP_BPF".into(), "CAP_SYS_ADMIN".into()] })
    );
    assert_eq!(container(r#""capabilities":null,"#), []);
    assert_eq!(
        container(
            r#""user":{"user_idname":{"pattern":"","strategy":"any"},"group_idnames":[{"pattern":".+","strategy":"re2"},{"pattern":"0","strategy":"id"}],"umask":"0022"},"#
        ),
        one(ContainerFinding::UserOpen { rules: vec!["user_idname any".into(), "group_idnames \".+\"".into()] })
    );
    assert_eq!(
        findings("containers := [{\"name\":\"app\",\"layers\":[],\"command\":[\"a\"]}]"),
        one(ContainerFinding::NoLayers)
    );
    for member in ["mounted_cim", "registry_changes"] {
        assert_eq!(
            container(&format!("\"{member}\":[\"00\"],")),
            one(ContainerFinding::WindowsMember { member: member.into() })
        );
    }
}

/// Both forms of rules, and patterns by what they fix: no list of known spellings.
#[test]
fn variables_that_the_host_chooses_are_named() {
    for pattern in [".*", ".+", "^.*$", "(.*)", ".+=.+", "^(.+)=.*$", r"[\\s\\S]*", "A=1|.*", "(?s).*=.*", r"\\w+=1"] {
        let shown: String = serde_json::from_str(&format!("\"{pattern}\"")).unwrap();
        assert_eq!(
            container(&format!(r#""env_rules":[{{"pattern":"{pattern}","required":false,"strategy":"re2"}}],"#)),
            one(ContainerFinding::EnvironmentOpen { pattern: shown }),
            "{pattern}"
        );
    }
    let newer = |name: &str, value: &str| {
        container(&format!(
            r#""env_rules":[{{"name":"{name}","name_strategy":"re2","value":"{value}","value_strategy":"re2"}}],"#
        ))
    };
    assert_eq!(newer(".*", ".*"), one(ContainerFinding::EnvironmentOpen { pattern: ".*=.*".into() }));
    assert_eq!(newer("A", ".*"), one(ContainerFinding::EnvironmentValuesOpen { patterns: vec!["A=.*".into()] }));
    assert_eq!(newer("A_.+", "1"), one(ContainerFinding::EnvironmentNamesOpen { patterns: vec!["A_.+=1".into()] }));
    assert_eq!(newer("A", "1"), []);
    let host = vec!["HOSTNAME=.+".to_owned()];
    let names = vec!["^T(E)?MP=.*$".to_owned()];
    let container_finding = |finding| CcePolicyFinding::Container { container: "app".into(), finding };
    assert_eq!(
        container(
            "\"env_rules\":[{\"pattern\":`HOSTNAME=.+`,\"strategy\":\"re2\"},{\"pattern\":\"^T(E)?MP=.*$\",\"strategy\":\"re2\"}],"
        ),
        [
            container_finding(ContainerFinding::EnvironmentNamesOpen { patterns: names }),
            container_finding(ContainerFinding::EnvironmentValuesOpen { patterns: host.clone() }),
            container_finding(ContainerFinding::UnanchoredPatterns { patterns: host }),
        ]
    );
}

/// Utility VMs from before November 2025 match patterns anywhere, so one without anchors admits `LD_PRELOAD=/x/A=1` too.
#[test]
fn patterns_without_anchors_are_named_however_fixed_they_are() {
    for (pattern, unanchored) in
        [("A=1", true), ("^A=1", true), ("^A=1|B=1$", true), ("", true), ("^A=1$", false), ("^A=1$|^A=2$", false)]
    {
        let found = container(&format!(r#""env_rules":[{{"pattern":"{pattern}","strategy":"re2"}}],"#));
        let finding = ContainerFinding::UnanchoredPatterns { patterns: vec![pattern.into()] };
        assert_eq!(found.contains(&one(finding)[0]), unanchored, "{pattern}: {found:?}");
    }
}

/// A runtime takes no notice of the type of a bind mount.
#[test]
fn a_bind_mount_is_named_whatever_its_type() {
    for (kind, option) in [("tmpfs", "rbind"), ("proc", "bind")] {
        let source = "sandbox:///tmp/atlas/azureFileVolume/.+";
        assert_eq!(
            container(&format!(
                r#""mounts":[{{"destination":"/etc/app","options":["{option}","ro"],"source":"{source}","type":"{kind}"}}],"#
            )),
            one(ContainerFinding::Mount {
                source: source.into(),
                destination: "/etc/app".into(),
                writable: false,
                origin: MountOrigin::AzureFiles
            })
        );
    }
}

#[test]
fn mounts_say_who_can_write_to_them() {
    let mount = |source: &str, options: &str| {
        container(&format!(
            r#""mounts":[{{"destination":"/etc/app","options":[{options}],"source":"{source}","type":"bind"}}],"#
        ))
    };
    let rw = r#""rbind","rshared","rw""#;
    for (source, origin) in [
        ("sandbox:///tmp/atlas/azureFileVolume/.+", MountOrigin::AzureFiles),
        ("sandbox://TMP/atlas/azureFileVolume/.+", MountOrigin::AzureFiles),
        ("sandbox:///tmp/atlas/secretsVolume/.+", MountOrigin::Secrets),
        ("sandbox:///tmp/atlas/emptydir/.+", MountOrigin::EmptyDir),
        ("sandbox:///tmp/atlas/resolvconf/.+", MountOrigin::NameServers),
        ("sandbox:///tmp/atlas/gitRepoVolume/.+", MountOrigin::GitRepository),
        ("sandbox:///.+", MountOrigin::AnyShared),
        ("sandbox:///.*/emptydir/.+", MountOrigin::AnyShared),
        ("sandbox:///tmp/atlas/emptydir/../azureFileVolume/.+", MountOrigin::AnyShared),
        ("plan9://", MountOrigin::Host),
        ("/run/host", MountOrigin::Unknown),
    ] {
        for (options, writable) in [(rw, true), (r#""rbind","rshared","ro""#, false), (r#""rbind""#, true)] {
            let finding =
                ContainerFinding::Mount { source: source.into(), destination: "/etc/app".into(), writable, origin };
            assert_eq!(mount(source, options), one(finding), "{source} {options}");
        }
    }
    let text = mount("sandbox:///tmp/atlas/azureFileVolume/.+", rw)[0].to_string();
    assert!(text.contains("/etc/app") && text.contains("writable") && text.contains("storage account"), "{text}");
}

/// `platform_rules` add to every container, so they are judged as a container's own.
#[test]
fn rules_of_the_platform_are_those_of_any_container() {
    let any = |finding| CcePolicyFinding::AnyContainer { rule: 0, finding };
    let found = with(
        r#"platform_rules := [{"env_rules": [{"name": ".*", "name_strategy": "re2", "value": ".*", "value_strategy": "re2"}], "mounts": [{"destination": "/x", "options": ["ro"], "source": "sandbox:///.+", "type": "bind"}], "other": 1}]"#,
    );
    assert_eq!(
        found,
        [
            any(ContainerFinding::EnvironmentOpen { pattern: ".*=.*".into() }),
            any(ContainerFinding::Mount {
                source: "sandbox:///.+".into(),
                destination: "/x".into(),
                writable: false,
                origin: MountOrigin::AnyShared
            }),
            CcePolicyFinding::Unknown { place: "platform_rules[0]: other".into() },
        ]
    );
    assert!(found[0].to_string().starts_with("any container, those of fragments too"), "{}", found[0]);
}

#[test]
fn fragments_of_others_say_who_may_add_what() {
    let issuer = "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.3";
    let feed = "mcr.microsoft.com/aci/aci-cc-infra-fragment";
    let fragment = |issuer: &str, feed: &str, includes: &str| {
        with(&format!(
            r#"fragments := [{{"feed": "{feed}", "includes": [{includes}], "issuer": "{issuer}", "minimum_svn": "4"}}]"#
        ))
    };
    let both = r#""containers", "fragments""#;
    assert_eq!(fragment(issuer, feed, both), []);
    for (issuer, feed, includes) in [
        ("did:x509:0:sha256:AAAA::subject:CN:Other", feed, both),
        (issuer, "registry.example/any", both),
        (issuer, feed, r#""containers", "namespace""#),
    ] {
        let found = fragment(issuer, feed, includes);
        let includes = includes.split(", ").map(|name| name.trim_matches('"').to_owned()).collect();
        let expected =
            CcePolicyFinding::Fragment { issuer: issuer.into(), feed: feed.into(), minimum_svn: "4".into(), includes };
        assert_eq!(found, [expected]);
        assert!(found[0].to_string().contains("SVN 4 or higher"), "{}", found[0]);
    }
    assert_eq!(with("fragments := [{}]"), [CcePolicyFinding::NotRead { place: "fragments[0]".into() }]);
    assert_eq!(
        with(
            r#"transparency_trust_lists := [{"issuer": "i", "subject": "s", "minimum_svn": 1, "allowed_ledgers": ["*"]}]"#
        ),
        [CcePolicyFinding::TrustList { issuer: "i".into(), subject: "s".into() }]
    );
    assert_eq!(with(r#"allowed_log_providers := ["p"]"#), [CcePolicyFinding::LogProviders { names: vec!["p".into()] }]);
    let provider = "p".repeat(100);
    let names = vec![provider.clone(), format!("{provider}…"), "(not a text)".into()];
    assert_eq!(
        with(&format!(r#"allowed_log_providers := ["{provider}", "{provider}p", 1]"#)),
        [CcePolicyFinding::LogProviders { names }]
    );
}

#[test]
fn what_opens_the_policy_is_named() {
    for (flag, name) in [
        (CcePolicyFlag::RuntimeLogging, "allow_runtime_logging"),
        (CcePolicyFlag::EnvironmentVariableDropping, "allow_environment_variable_dropping"),
        (CcePolicyFlag::UnencryptedScratch, "allow_unencrypted_scratch"),
        (CcePolicyFlag::CapabilityDropping, "allow_capability_dropping"),
        (CcePolicyFlag::HostNetwork, "allow_host_network"),
        (CcePolicyFlag::LogProviderDropping, "allow_log_provider_dropping"),
    ] {
        assert_eq!(with(&format!("{name} := true")), [CcePolicyFinding::FlagSet(flag)]);
        assert_eq!(with(&format!("{name} := false")), []);
        assert_eq!(with(&format!("# {name} := true")), []);
        assert_eq!(flag.name(), name);
        assert!(CcePolicyFinding::FlagSet(flag).to_string().starts_with(&format!("{name}: ")));
        let conditional = with(&format!("{name} := true {{ input.x }}"));
        assert!(matches!(&conditional[..], [CcePolicyFinding::StatementsNotRead { count: 1, .. }]), "{conditional:?}");
    }
    assert_eq!(
        with(
            "external_processes := [\n  {\"command\": [\"bash\"], \"env_rules\": [{\"pattern\": \".*\", \"strategy\": \"re2\"}]},\n]"
        ),
        [
            CcePolicyFinding::ExternalProcesses { commands: vec!["bash".into()] },
            CcePolicyFinding::ExternalProcess {
                command: "bash".into(),
                finding: ContainerFinding::EnvironmentOpen { pattern: ".*".into() }
            },
        ]
    );
    let stdio = |value: &str| {
        with(&format!("external_processes := [{{\"command\": [\"a\"], \"allow_stdio_access\": {value}}}]"))
            .pop()
            .unwrap()
    };
    let finding = ContainerFinding::StdioAccess;
    assert_eq!(stdio("true"), CcePolicyFinding::ExternalProcess { command: "a".into(), finding });
    let place = "external_processes[]: allow_stdio_access".into();
    assert_eq!(stdio("data.policy.x"), CcePolicyFinding::NotRead { place });
    assert_eq!(
        with("exec_external := {\"allowed\": true, \"env_list\": null}"),
        [CcePolicyFinding::AllowsEveryExec { enforcement_point: "exec_external".into() }]
    );
}

/// What the framework does with the two switches: it drops what the policy does not list, in place of a refusal.
#[test]
fn the_dropping_switches_say_what_is_dropped() {
    let text = |flag| CcePolicyFinding::FlagSet(flag).to_string();
    let variables = text(CcePolicyFlag::EnvironmentVariableDropping);
    assert!(variables.contains("the policy does not allow are dropped"), "{variables}");
    assert!(variables.contains("Required variables stay required"), "{variables}");
    let capabilities = text(CcePolicyFlag::CapabilityDropping);
    assert!(capabilities.contains("the policy does not list are dropped"), "{capabilities}");
    assert!(capabilities.contains("must equal the policy's lists"), "{capabilities}");
}

/// A newer framework is never silently clean.
#[test]
fn what_is_not_known_is_a_finding() {
    let unknown = |place: &str| vec![CcePolicyFinding::Unknown { place: place.into() }];
    let not_read = |place: &str| vec![CcePolicyFinding::NotRead { place: place.into() }];
    assert_eq!(with("allow_x := true"), [CcePolicyFinding::UnknownFlagSet { name: "allow_x".into() }]);
    assert_eq!(with("allow_x := false"), []);
    assert_eq!(with("allow_x := data.y"), not_read("allow_x"));
    assert_eq!(with("allow_runtime_logging := \"true\""), not_read("allow_runtime_logging"));
    assert_eq!(with("new_rules := []"), unknown("new_rules"));
    assert_eq!(with("new_point := data.framework.new_point"), unknown("new_point"));
    assert_eq!(
        with("new_point := {\"allowed\": true}"),
        [CcePolicyFinding::AllowsUnconditionally { enforcement_points: vec!["new_point".into()] }]
    );
    for value in ["data.framework.unmount_device", "data.policy.x", "{\"allowed\": \"true\"}", "true"] {
        assert_eq!(
            with(&format!("scratch_mount := {value}")),
            [CcePolicyFinding::EnforcementPointReplaced { enforcement_point: "scratch_mount".into() }]
        );
    }
    assert_eq!(with("scratch_mount := {\"allowed\": false}"), []);
    assert_eq!(container("\"devices\":[],"), unknown("container \"app\": devices"));
    assert_eq!(container("\"allow_elevated\":\"yes\","), not_read("container \"app\": allow_elevated"));
    assert_eq!(container("\"mounts\":{},"), not_read("container \"app\": mounts"));
    assert_eq!(container("\"mounts\":[{\"source\":\"x\"}],"), not_read("container \"app\": mounts[]"));
    assert_eq!(container("\"signals\":[null],"), not_read("container \"app\": signals"));
    assert_eq!(
        container("\"env_rules\":[{\"pattern\":\"A=1\",\"strategy\":\"glob\"}],"),
        unknown("container \"app\": env_rules[].strategy")
    );
    assert_eq!(
        container("\"env_rules\":[{\"pattern\":\"A=1\",\"strategy\":\"string\",\"unless\":\"x\"}],"),
        unknown("container \"app\": env_rules[].unless")
    );
    assert_eq!(container("\"env_rules\":[{\"required\":false}],"), not_read("container \"app\": env_rules[]"));
    assert_eq!(
        container("\"exec_processes\":[{\"command\":[\"a\"],\"as_root\":true}],").last(),
        unknown("container \"app\": exec_processes[].as_root").last()
    );
    assert_eq!(
        container("\"allow_elevated\":false,\"allow_elevated\":true,"),
        not_read("container \"app\": allow_elevated (twice)")
    );
    let other = |text: &str| CcePolicy::from_rego(text.to_owned()).unwrap().findings();
    let versions = |api: &str, framework: &str| {
        other(&format!(
            "package policy\napi_version := \"{api}\"\nframework_version := \"{framework}\"\ncontainers := [{{\"name\": \"a\", \"no_new_privileges\": true, \"user\": {{\"user_idname\": {{\"pattern\": \"1\", \"strategy\": \"id\"}}}}, \"seccomp_profile_sha256\": \"ab\"}}]\n"
        ))
    };
    assert_eq!(versions("0.12.0", "0.5.0"), []);
    assert_eq!(
        versions("0.13.0", "0.6.0"),
        [("api_version", "0.13.0"), ("framework_version", "0.6.0")]
            .map(|(name, version)| CcePolicyFinding::NewerVersion { name: name.into(), version: version.into() })
    );
    assert_eq!(versions("new", "0.5.0"), not_read("api_version"));
    assert_eq!(
        versions("0.9.0", "0.5.0"),
        [CcePolicyFinding::AllowedByOldApi {
            api_version: "0.9.0".into(),
            enforcement_points: vec!["scratch_mount", "scratch_unmount"]
        }]
    );
    // Older frameworks leave open what a container does not say; newer ones refuse such a container.
    let bare = |framework: &str| {
        other(&format!(
            "package policy\napi_version := \"0.10.0\"\nframework_version := \"{framework}\"\ncontainers := [{{\"name\": \"app\"}}]\n"
        ))
    };
    assert_eq!(bare("0.2.3"), []);
    assert_eq!(bare("0.2.2"), one(ContainerFinding::NoSeccompProfile));
    assert_eq!(bare("0.1.0").len(), 3);
}

#[test]
fn what_cannot_be_read_is_said() {
    assert_eq!(findings(""), [CcePolicyFinding::ContainersNotRead]);
    assert_eq!(findings("containers := []"), [CcePolicyFinding::ContainersNotRead]);
    assert_eq!(
        findings("containers := data.other.containers"),
        [CcePolicyFinding::ContainersNotRead, CcePolicyFinding::NotRead { place: "containers".into() }]
    );
    // A text that cannot be distinguished from what follows hides the rest, which is said.
    let broken = "package policy\nx := \"\\d\"\napi_version := \"1\"\nframework_version := \"1\"\n";
    let found = CcePolicy::from_rego(broken).unwrap().findings();
    assert_eq!(found[0], CcePolicyFinding::ContainersNotRead);
    assert_eq!(found[1..3], [CcePolicyFinding::NoApiVersion, CcePolicyFinding::NoFrameworkVersion]);
    assert!(
        matches!(&found[3..], [CcePolicyFinding::StatementsNotRead { count: 1, line: 2, text }] if text.starts_with("x := ")),
        "{found:?}"
    );
    // Twice assigned is an error in Rego, not a permission.
    assert!(
        matches!(&with("allow_dump_stacks := true")[..], [CcePolicyFinding::StatementsNotRead { count: 1, text, .. }] if text == "allow_dump_stacks := (assigned twice)")
    );
}

#[test]
fn text_from_a_policy_is_escaped() {
    let found = findings("containers := [{\"name\": \"\\u001b[31m\", \"allow_elevated\": true}]\n");
    let text = found[0].to_string();
    assert!(!text.contains('\u{1b}'), "{text}");
}

/// The recorded cases of policies that had no finding, where they are available.
#[test]
fn the_recorded_cases_have_their_findings() {
    let Some(cases) = crate::common::cases() else { return };
    let findings = |name: &str| {
        let text = std::fs::read_to_string(cases.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        CcePolicy::from_rego(text).unwrap().findings()
    };
    for (file, expected) in [
        (
            "02-env-rule-newer-form/env_new_form.rego",
            "takes any environment variable from the host (pattern \".*=.*\")",
        ),
        (
            "02-env-rule-newer-form/env_old_form.rego",
            "takes any environment variable from the host (pattern \".*=.*\")",
        ),
        (
            "05-fragment-of-third-party/fragment_third_party.rego",
            "may add containers, fragments with any signature over SVN 1",
        ),
        ("12-platform-rules/platform_rules.rego", "any container, those of fragments too (platform_rules[0])"),
        ("13-mounts/azure_file_share.rego", "has \"/etc/app\", writable"),
    ] {
        let found: Vec<String> = findings(file).iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|found| found.contains(expected)), "{file}: {found:#?}");
    }
    assert_eq!(findings("12-platform-rules/baseline.rego"), []);
    // What the switches do is in `the_dropping_switches_say_what_is_dropped`.
    assert_eq!(
        findings("04-dropping-flags/dropping.rego"),
        [CcePolicyFlag::EnvironmentVariableDropping, CcePolicyFlag::CapabilityDropping].map(CcePolicyFinding::FlagSet)
    );
}
