//! What `packaging/` starts: the options exist, and the policy is one.

use std::path::Path;

use blindbox_attestation::Policy;

use crate::tool::run;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The options in a text, without their values.
fn options(text: &str) -> Vec<&str> {
    let words = text.split_whitespace().filter(|word| word.starts_with("--"));
    words.map(|word| word.split('=').next().unwrap()).collect()
}

#[test]
fn options_of_the_proxy_in_units_and_pods_exist() {
    let help = run(&["proxy", "--help"]).out;
    let unit = read("systemd/blindbox-proxy.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/blindbox-attest proxy ")).unwrap();
    let pod = read("kubernetes/sidecar.yaml");
    let arguments: String =
        pod.lines().filter_map(|line| line.trim().strip_prefix("- ")).map(|line| format!("{line} ")).collect();
    for (text, expected) in [(start, 3), (arguments.as_str(), 5)] {
        let options = options(text);
        assert_eq!(options.len(), expected, "{text}");
        for option in options {
            assert!(help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")), "{option}");
        }
    }
}

#[test]
fn the_policy_of_the_pod_is_one() {
    let pod = read("kubernetes/sidecar.yaml");
    let policy = pod.split("policy.toml: |\n").nth(1).unwrap().split("\n---").next().unwrap();
    let policy: String =
        policy.lines().map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n").collect();
    assert!(Policy::from_toml(&policy).is_ok(), "{:?}", Policy::from_toml(&policy));
}
