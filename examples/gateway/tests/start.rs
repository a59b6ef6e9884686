//! What the gateway says when it cannot start.

use std::process::Command;

/// The exit code, and what is said on standard error.
fn start(settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.env_remove("BLINDBOX_URL").env_remove("BLINDBOX_POLICY").envs(settings.iter().copied());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_setting_that_is_not_there_is_named_with_an_example() {
    let url = "gateway: the variable BLINDBOX_URL is not set: where the BlindBox is, such as \
               BLINDBOX_URL=https://my-app.example\n";
    assert_eq!(start(&[]), (Some(1), url.to_owned()));
    assert_eq!(start(&[("BLINDBOX_URL", "")]), (Some(1), url.to_owned()));
    let policy = "gateway: the variable BLINDBOX_POLICY is not set: the file that says what must run there, such as \
                  BLINDBOX_POLICY=policy.toml\n";
    assert_eq!(start(&[("BLINDBOX_URL", "https://my-app.example")]), (Some(1), policy.to_owned()));
}

#[test]
fn a_policy_that_is_none() {
    let file = format!("{}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    for file in ["/none", &file] {
        let (exit, said) = start(&[("BLINDBOX_URL", "https://my-app.example"), ("BLINDBOX_POLICY", file)]);
        assert_eq!(exit, Some(1), "{said}");
        assert!(said.starts_with(&format!("gateway: BLINDBOX_POLICY: {file}: ")), "{said}");
        // Text for people, not the name of a type.
        assert!(!said.contains("Malformed"), "{said}");
    }
}
