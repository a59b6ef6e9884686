//! Two policies side by side.

use blindbox_attestation::cce_policy::{CcePolicy, CcePolicyDifference};

fn policy(text: &str) -> CcePolicy {
    CcePolicy::from_rego(format!("package policy\n{text}\n")).unwrap()
}

#[test]
fn what_only_one_of_two_policies_says_is_shown() {
    let first = policy(
        r#"allow_dump_stacks := false
containers := [{"name": "app", "command": ["a", "b"], "env_rules": [{"pattern": "A=1", "strategy": "string"}, {"pattern": "B=1", "strategy": "string"}], "signals": []}]"#,
    );
    let other = policy(
        r#"allow_dump_stacks := true
containers := [{"name": "app", "command": ["b", "a"], "env_rules": [{"strategy": "string", "pattern": "B=1"}, {"pattern": "C=.*", "strategy": "re2"}], "signals": []}, {"id": "more", "allow_elevated": true}]
x { true }"#,
    );
    let found: Vec<String> = first.differences(&other).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "- allow_dump_stacks: false",
            "+ allow_dump_stacks: true",
            r#"- container "app" command: ["a", "b"]"#,
            r#"+ container "app" command: ["b", "a"]"#,
            r#"- container "app" env_rules: {"pattern": "A=1", "strategy": "string"}"#,
            r#"+ container "app" env_rules: {"pattern": "C=.*", "strategy": "re2"}"#,
            r#"+ container "more" allow_elevated: true"#,
            r#"+ container "more" id: "more""#,
            "+ statement: x { true } (not read)",
        ]
    );
}

#[test]
fn order_and_spelling_are_no_difference() {
    let first = policy("a := [1, 2]\nb := {\"x\": true, \"y\": \"z\"}");
    let other = policy("# the same\nb := {\n  \"y\": `z`,\n  \"x\": true,\n}\na := [2,\n  1]");
    assert_ne!(first.digest(), other.digest());
    assert_eq!(first.differences(&other), []);
    assert_eq!(
        first.differences(&policy("a := [1, 2]")),
        [CcePolicyDifference::OnlyFirst(r#"b: {"x": true, "y": "z"}"#.into())]
    );
}
