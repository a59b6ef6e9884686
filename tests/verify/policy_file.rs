//! What a policy file may say, and that there is one way to say it.

use blindbox_attestation::advisories::Mitigation;
use blindbox_attestation::{
    AbiVersion, Binding, BitRequirement, GuestIdentity, GuestPolicyBit, PlatformInfoBit, Policy, PolicyError,
    TcbMinima, TcbMinimum, Trust, UvmRequirement, Workload,
};
use serde_json::{Value, json};

/// Files that together have every table there is, each with every field.
fn files() -> [Value; 2] {
    let tcb = json!({ "any": { "fmc": 1, "bootloader": 1, "tee": 1, "snp": 1, "microcode": 1 }, "milan": { "snp": 2 },
                      "milan-x": { "microcode": 1 }, "genoa": { "snp": 3 }, "genoa-x": { "microcode": 1 },
                      "bergamo": { "microcode": 1 }, "turin": { "fmc": 4 }, "turin-dense": { "microcode": 1 } });
    let container = json!({
        "version": 1,
        "kind": "confidential-container",
        "trust": {
            "maa": { "issuer": "https://sharedneu.neu.attest.azure.net", "policy-hash": "5a".repeat(32), "key-id": "kid",
                     "allow-any-policy": false, "allow-test-attester": true },
            "amd": { "products": ["milan"], "revocation": "required", "max-crl-age-seconds": 1,
                     "waived-advisories": ["AMD-SB-3019"] },
        },
        "workload": { "binding": "none", "host-data": ["5a".repeat(32)], "allow-permissive": true },
        "uvm": { "minimum-svn": 101, "issuer": UvmRequirement::PRODUCTION_ISSUER, "feed": "Feed" },
        "require": {
            "measurements": ["5a".repeat(48)],
            "compliance-status": ["azure-compliant-uvm"],
            "vmpl": [0],
            "minimum-report-guest-svn": 1,
            "id-keys": ["5a".repeat(48)],
            "author-keys": ["5a".repeat(48)],
            "family-ids": ["5a".repeat(16)],
            "image-ids": ["5a".repeat(16)],
            "report-ids": ["5a".repeat(32)],
            "reported-tcb": tcb, "committed-tcb": tcb, "current-tcb": tcb, "launch-tcb": tcb,
            "advisories": ["AMD-SB-3016"],
            "advisories-until": "2026-05-12",
            "mitigations": ["AMD-SB-3016"],
            "csp-ids": ["AWS"],
            "guest-policy": { "smt": "set", "rapl-dis": "clear" },
            "minimum-guest-abi": { "major": 1, "minor": 55 },
            "platform-info": { "ecc-en": "set" },
            "minimum-firmware": "1.55.29",
            "minimum-committed-firmware": "1.55.29",
            "committed-firmware-only": true,
            "signing-keys": ["vlek"],
            "author-key": true,
            "launch-mitigations": 1,
            "current-mitigations": 1,
            "max-token-age-seconds": 1,
            "max-session-age-seconds": 1,
            "post-quantum": true,
        },
        "allow": { "debug": true, "migration": true, "unbound-channel": true, "plain-http": true },
    });
    let vm = json!({
        "version": 1,
        "kind": "confidential-vm",
        "binding": "own-key",
        "trust": { "maa": { "issuer": "https://sharedneu.neu.attest.azure.net" } },
        "guest": { "measurements": ["5a".repeat(48)], "id-keys": ["5a".repeat(48)], "mrtd": ["5a".repeat(48)] },
        "require": {
            "chip-ids": ["5a".repeat(64)], "products": ["milan"], "tee": ["snp", "tdx"], "tcb-status": ["UpToDate"],
            "vm-ids": ["5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a"],
        },
        "allow": { "unverified-name": true, "direct-vm-token": true },
    });
    [container, vm]
}

fn read_json(file: &Value) -> Result<Policy, PolicyError> {
    Policy::from_json(&file.to_string())
}

fn read_toml(file: &Value) -> Result<Policy, PolicyError> {
    Policy::from_toml(&toml::to_string(file).unwrap())
}

/// The paths of all values that `is` holds for.
fn paths(value: &Value, is: fn(&Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    if is(value) {
        found.push(String::new());
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        found.extend(paths(value, is).into_iter().map(|path| format!("/{name}{path}")));
    }
    found
}

fn with(file: &Value, path: &str, value: Value) -> Value {
    let mut file = file.clone();
    *file.pointer_mut(path).unwrap() = value;
    file
}

fn assert_malformed(read: &Result<Policy, PolicyError>, what: &Value) {
    assert!(matches!(read, Err(PolicyError::Malformed { .. })), "{what}: {read:?}");
}

#[test]
fn the_files_here_are_policies() {
    for file in files() {
        let policy = read_json(&file).unwrap();
        assert_eq!(read_toml(&file), Ok(policy));
    }
}

/// A list in place of a table would give its items to the fields by their places: `allow = [true]` for `allow.debug`.
#[test]
fn a_list_is_never_a_table() {
    for file in files() {
        for path in paths(&file, Value::is_object) {
            let table = file.pointer(&path).unwrap().as_object().unwrap();
            let values: Vec<_> = table.values().cloned().collect();
            for kept in 0..=values.len() {
                let changed = with(&file, &path, json!(values[..kept]));
                assert_malformed(&read_json(&changed), &changed);
                if !path.is_empty() {
                    assert_malformed(&read_toml(&changed), &changed);
                }
            }
        }
    }
}

/// The same in the order in which the fields stand in the code.
#[test]
fn a_list_in_the_order_of_the_fields_is_never_a_table() {
    let [container, _] = files();
    let digest = "5a".repeat(32);
    let issuer = "https://sharedneu.neu.attest.azure.net";
    for (path, list) in [
        ("/allow", json!([true])),
        ("/allow", json!([true, true])),
        ("/workload", json!(["none", [digest]])),
        ("/uvm", json!([101])),
        ("/trust", json!([[issuer], []])),
        ("/trust/maa", json!([issuer])),
        ("/trust/amd", json!([])),
        ("/require", json!([])),
        ("/require/reported-tcb", json!([])),
        ("/require/reported-tcb", json!([{ "snp": 1 }])),
        ("/require/reported-tcb/any", json!([1, 1])),
        ("/require/minimum-guest-abi", json!([1, 55])),
    ] {
        let changed = with(&container, path, list);
        assert_malformed(&read_json(&changed), &changed);
        assert_malformed(&read_toml(&changed), &changed);
    }
    assert!(matches!(Policy::from_json(r#"[1,"confidential-vm"]"#), Err(PolicyError::Malformed { .. })));
}

/// A table of one member would be the name of a variant.
#[test]
fn a_table_is_never_a_name() {
    let [container, _] = files();
    for path in ["/kind", "/workload/binding", "/trust/amd/revocation", "/require/guest-policy/smt"] {
        let name = container.pointer(path).unwrap().as_str().unwrap();
        for value in [json!({ name: {} }), json!({ name: [] }), json!([name])] {
            let changed = with(&container, path, value);
            assert_malformed(&read_json(&changed), &changed);
            assert_malformed(&read_toml(&changed), &changed);
        }
    }
}

/// Logs are made of lines, and anyone who fixes a file looks for the place.
#[test]
fn what_is_wrong_with_a_file_is_one_line_with_its_place() {
    let long = "x".repeat(5000);
    for (text, begins) in [
        ("\n\nversoin = 1\n", "line 3, column 1: unknown field `versoin`, expected one of `version`, `kind`, "),
        ("version = 1\nkind = 'confidential-pod'\n", "line 2, column 8: unknown variant `confidential-pod`, expected "),
        ("version = 1\nversion = 1\n", "line 2, column 1: duplicate key"),
        ("é = [\n", "line "),
        ("version = 1\n[allow]\n\"de\\nbug\" = true\n", "line 3, column 1: unknown field `de, bug`, expected one of "),
        ("\"\\u001b[31m\" = 1\n", "line 1, column 1: unknown field `\\u{1b}[31m`, expected one of "),
        (&format!("{long} = 1"), "line 1, column 1: unknown field `xxx"),
        ("version = 1\nallow = [true]\n", "line 2, column 9: invalid type: sequence, expected a table"),
        ("{\n  \"version\": 1,\n  \"knid\": 1}", "line 3, column 8: unknown field `knid`, expected one of "),
        ("{\"version\": 1, \"allow\": [true]}", "line 1, column 25: invalid type: sequence, expected a table"),
        ("{\"version\": null}", "`null` is no value of a policy"),
        ("{\"version\": 1", "not JSON at byte 13"),
    ] {
        let read = if text.starts_with('{') { Policy::from_json(text) } else { Policy::from_toml(text) };
        let Err(PolicyError::Malformed { reason }) = &read else { panic!("{text:?}: {read:?}") };
        assert!(reason.starts_with(begins), "{text:?}: {reason:?}");
        let message = read.unwrap_err().to_string();
        assert!(message.chars().all(|c| !c.is_control()) && message.chars().count() < 1000, "{message:?}");
    }
}

/// Of every list and table: empty it says nothing, and saying nothing is not how a requirement is left out.
#[test]
fn an_empty_list_or_table_is_refused_wherever_it_stands() {
    // Trust in AMD with all that goes with it, and no relaxation: both are said by an empty table.
    let may_be_empty = ["/trust/amd", "/allow"];
    for file in files() {
        let empty = |value: &Value| if value.is_array() { json!([]) } else { json!({}) };
        for path in paths(&file, |value| value.is_array() || value.is_object()) {
            let changed = with(&file, &path, empty(file.pointer(&path).unwrap()));
            let name = path.trim_start_matches('/').replace('/', ".");
            for read in [read_json(&changed), read_toml(&changed)] {
                match (name.as_str(), read) {
                    (_, Ok(_)) if may_be_empty.contains(&path.as_str()) => {}
                    (_, Err(PolicyError::EmptyList { requirement })) => {
                        assert!(name.starts_with(requirement), "{name}")
                    }
                    // Something that must be there is not.
                    (
                        "" | "trust.maa" | "workload" | "uvm" | "require" | "require.minimum-guest-abi",
                        Err(PolicyError::Malformed { .. }),
                    ) => {}
                    ("trust" | "guest", Err(PolicyError::Contradiction { .. })) => {}
                    (_, other) => panic!("{name}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_value_twice_is_refused_in_every_list() {
    for file in files() {
        for path in paths(&file, Value::is_array) {
            let values = file.pointer(&path).unwrap().as_array().unwrap();
            let changed = with(&file, &path, json!([values[0], values[0]]));
            let name = path.trim_start_matches('/').replace('/', ".");
            for read in [read_json(&changed), read_toml(&changed)] {
                let Err(PolicyError::DuplicateValue { requirement, .. }) = read else { panic!("{name}: {read:?}") };
                assert_eq!(requirement, name);
            }
        }
    }
}

#[test]
fn what_every_evidence_meets_is_no_requirement() {
    let [container, _] = files();
    for (path, nothing) in [
        ("/uvm/minimum-svn", json!(0)),
        ("/uvm/issuer", json!("")),
        ("/uvm/feed", json!("")),
        ("/trust/maa/key-id", json!("")),
        ("/require/compliance-status", json!([""])),
        ("/require/minimum-report-guest-svn", json!(0)),
        ("/require/minimum-guest-abi", json!({ "major": 0, "minor": 0 })),
        ("/require/minimum-firmware", json!("0.0.0")),
        ("/require/minimum-committed-firmware", json!("0.0.0")),
        ("/require/reported-tcb/any/snp", json!(0)),
        ("/require/reported-tcb/milan", json!({ "tee": 0 })),
        ("/require/committed-tcb/any/fmc", json!(0)),
        ("/require/current-tcb/any/bootloader", json!(0)),
        ("/require/launch-tcb/turin", json!({ "fmc": 1, "microcode": 0 })),
        ("/require/launch-mitigations", json!(0)),
        ("/require/max-token-age-seconds", json!(0)),
    ] {
        let read = read_json(&with(&container, path, nothing));
        let Err(PolicyError::UnusableValue { requirement, .. }) = read else { panic!("{path}: {read:?}") };
        assert!(path.replace('/', ".")[1..].starts_with(requirement), "{path}: {requirement}");
    }
}

#[test]
fn a_firmware_version_has_one_form() {
    let [container, _] = files();
    for field in ["/require/minimum-firmware", "/require/minimum-committed-firmware"] {
        for text in
            ["+1.55.29", "1.+55.29", "01.55.29", "1.55.029", "1.055.29", "1.55", "1.55.29.0", "1.55.256", " 1.55.29"]
        {
            assert_malformed(&read_json(&with(&container, field, json!(text))), &json!(text));
            assert_malformed(&read_toml(&with(&container, field, json!(text))), &json!(text));
        }
        assert!(read_json(&with(&container, field, json!("1.0.255"))).is_ok());
    }
}

/// The types of a policy can be read from a caller's own file: by the rule of policy files there too.
#[test]
fn a_public_type_takes_no_list_and_no_table_of_one_member_anywhere() {
    fn refused<T: serde::de::DeserializeOwned + std::fmt::Debug>(table: Value, others: &[Value]) {
        assert!(serde_json::from_value::<T>(table.clone()).is_ok(), "{table}");
        for other in others {
            let error = serde_json::from_value::<T>(other.clone()).expect_err(&other.to_string()).to_string();
            assert!(error.ends_with("expected a table") || error.contains("expected a string"), "{other}: {error}");
        }
    }
    let digest = "5a".repeat(32);
    refused::<Workload>(
        json!({ "binding": "none", "host-data": [digest] }),
        &[json!(["none", [digest]]), json!(["none", [digest], true])],
    );
    refused::<Trust>(
        json!({ "maa": { "issuer": "https://sharedneu.neu.attest.azure.net" } }),
        &[json!([["https://sharedneu.neu.attest.azure.net"], []]), json!({ "amd": [] }), json!([null, {}])],
    );
    refused::<UvmRequirement>(json!({ "minimum-svn": 101 }), &[json!([101]), json!([101, null, null])]);
    refused::<GuestIdentity>(json!({ "allow-any-azure-cvm": true }), &[json!([null, null, true]), json!([])]);
    refused::<TcbMinimum>(json!({ "snp": 1 }), &[json!([null, null, null, 1]), json!([])]);
    refused::<TcbMinima>(json!({ "any": { "snp": 1 } }), &[json!([{ "snp": 1 }]), json!({ "any": [1, 1] }), json!([])]);
    refused::<AbiVersion>(json!({ "major": 1, "minor": 55 }), &[json!([1, 55])]);
    refused::<Binding>(json!("none"), &[json!({ "none": null }), json!(["none"])]);
    refused::<BitRequirement>(json!("set"), &[json!({ "set": null }), json!(["set"])]);
    refused::<Mitigation>(json!("AMD-SB-3016"), &[json!({ "AMD-SB-3016": null })]);
    refused::<GuestPolicyBit>(json!("smt"), &[json!({ "smt": null })]);
    refused::<PlatformInfoBit>(json!("ecc-en"), &[json!({ "ecc-en": null })]);
}

#[test]
fn any_vm_is_not_a_certain_one() {
    let [_, vm] = files();
    let digest = "5a".repeat(48);
    let any = |more: Value| {
        let mut guest = json!({ "allow-any-azure-cvm": true });
        guest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with(&vm, "/guest", guest)
    };
    assert!(read_json(&any(json!({}))).is_ok());
    let require = |more: Value| with(&any(json!({})), "/require", more);
    for changed in [
        any(json!({ "measurements": [digest] })),
        any(json!({ "id-keys": [digest] })),
        require(json!({ "measurements": [digest] })),
        require(json!({ "id-keys": [digest] })),
    ] {
        let read = read_json(&changed);
        assert!(matches!(&read, Err(PolicyError::Contradiction { reason }) if reason.contains("any VM")), "{read:?}");
    }
}

#[test]
fn what_to_do_about_an_empty_list_is_true_of_that_list() {
    for (requirement, expected) in [
        ("workload.host-data", "cannot be left out"),
        ("guest.measurements", "allow-any-azure-cvm"),
        ("require.measurements", "uvm.minimum-svn"),
        ("require.vmpl", "only level 0"),
        ("require.compliance-status", "the usual one of the kind"),
        ("require.reported-tcb", "no least version"),
        ("require.guest-policy", "require none"),
        ("trust.amd.waived-advisories", "waive none"),
        ("require.chip-ids", "leave it out to accept any"),
    ] {
        let message = PolicyError::EmptyList { requirement }.to_string();
        assert!(message.contains(expected) && message.starts_with(&format!("`{requirement}` is empty; ")), "{message}");
        assert_eq!(message.contains("to accept any"), requirement == "require.chip-ids", "{message}");
    }
}
