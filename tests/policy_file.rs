//! What a policy file may say, and that there is one way to say it.

use blindbox_attestation::{InvalidPolicy, Policy};
use serde_json::{Value, json};

/// Files that together have every table there is, each with every field.
fn files() -> [Value; 2] {
    let tcb = json!({ "any": { "fmc": 1, "bootloader": 1, "tee": 1, "snp": 1, "microcode": 1 }, "milan": { "snp": 2 },
                      "genoa": { "snp": 3 }, "turin": { "fmc": 4 } });
    let container = json!({
        "version": 1,
        "kind": "confidential-container",
        "trust": {
            "maa": { "issuer": "https://sharedneu.neu.attest.azure.net", "policy-hash": "5a".repeat(32), "key-id": "kid",
                     "allow-any-policy": false, "allow-test-attester": true },
            "amd": { "products": ["milan"], "revocation": "required", "waived-advisories": ["AMD-SB-3019"] },
        },
        "workload": { "binding": "none", "host-data": ["5a".repeat(32)], "allow-permissive": true },
        "uvm": { "minimum-svn": 101, "issuer": "did:x509:0", "feed": "Feed" },
        "require": {
            "measurements": ["5a".repeat(48)],
            "compliance-status": ["azure-compliant-uvm"],
            "vmpl": [0],
            "minimum-report-guest-svn": 1,
            "id-keys": ["5a".repeat(48)],
            "author-keys": ["5a".repeat(48)],
            "family-ids": ["5a".repeat(16)],
            "image-ids": ["5a".repeat(16)],
            "chip-ids": ["5a".repeat(64)],
            "report-ids": ["5a".repeat(32)],
            "reported-tcb": tcb, "committed-tcb": tcb, "current-tcb": tcb, "launch-tcb": tcb,
            "guest-policy": { "smt": "set", "rapl-dis": "clear" },
            "minimum-guest-abi": { "major": 1, "minor": 55 },
            "platform-info": { "ecc-en": "set" },
            "minimum-firmware": "1.55.29",
            "minimum-committed-firmware": "1.55.29",
            "committed-firmware-only": true,
            "signing-keys": ["vcek"],
            "author-key": true,
            "launch-mitigations": 1,
            "current-mitigations": 1,
            "max-token-age-seconds": 1,
            "max-session-age-seconds": 1,
        },
        "allow": { "debug": true, "migration": true, "unbound-channel": true, "plain-http": true },
    });
    let vm = json!({
        "version": 1,
        "kind": "confidential-vm",
        "binding": "own-key",
        "trust": { "maa": { "issuer": "https://sharedneu.neu.attest.azure.net" } },
        "guest": { "measurements": ["5a".repeat(48)], "id-keys": ["5a".repeat(48)] },
        "require": { "products": ["milan"] },
        "allow": { "unverified-name": true, "direct-vm-token": true },
    });
    [container, vm]
}

fn read_json(file: &Value) -> Result<Policy, InvalidPolicy> {
    Policy::from_json(&file.to_string())
}

fn read_toml(file: &Value) -> Result<Policy, InvalidPolicy> {
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

fn assert_malformed(read: &Result<Policy, InvalidPolicy>, what: &Value) {
    assert!(matches!(read, Err(InvalidPolicy::Malformed { .. })), "{what}: {read:?}");
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
    assert!(matches!(Policy::from_json(r#"[1,"confidential-vm"]"#), Err(InvalidPolicy::Malformed { .. })));
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

/// Logs are made of lines, and whoever mends a file looks for the place.
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
        let Err(InvalidPolicy::Malformed { why }) = &read else { panic!("{text:?}: {read:?}") };
        assert!(why.starts_with(begins), "{text:?}: {why:?}");
        let message = read.unwrap_err().to_string();
        assert!(message.chars().all(|c| !c.is_control()) && message.chars().count() < 1000, "{message:?}");
    }
}
