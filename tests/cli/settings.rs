//! Options from the environment and from configuration files, and what `-v` and `--log-format` report.

use std::process::{Command, Output};

use serde_json::Value;

use crate::tool::{Emulator, Outcome, Serving, command, run};

fn outcome(command: &mut Command) -> Outcome {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { exit: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}

/// Gives what a client needs to trust what is emulated: the policy by its variable, and the roots, which have none.
fn trusting(command: &mut Command, emulator: &Emulator) {
    command.env("BLINDBOX_POLICY", emulator.path("policy.toml"));
    command.args(["--collateral-root", &emulator.path("collateral-root.pem")]);
    command.args(["--application-root", &emulator.path("application-root.pem")]);
}

#[test]
fn the_environment_does_not_decide_what_is_trusted() {
    let emulator = Emulator::start(&[]);
    let refused = |arguments: &[&str], variable: &str, value: &str| {
        let mut command = command();
        let outcome = outcome(command.args(arguments).env(variable, value));
        (outcome.exit, outcome.err.contains(&format!("{variable} is set")))
    };
    let verify = ["verify", "https://127.0.0.1:9", "--policy", &emulator.path("policy.toml")];
    let roots = emulator.path("collateral-root.pem");
    for variable in ["APPLICATION_ROOT", "COLLATERAL_ROOT", "KEY_SET", "AMD_ROOTS"] {
        assert_eq!(refused(&verify, &format!("BLINDBOX_{variable}"), &roots), (64, true), "{variable}");
    }
    assert_eq!(refused(&verify, "BLINDBOX_PLATFORM_COLLATERAL_ROOTS", "true"), (64, true));
    let saved = ["verify", "--evidence", "/nowhere", "--policy", "/nowhere"];
    assert_eq!(refused(&saved, "BLINDBOX_TRUST_SAVED_KEY_SET", "true"), (64, true));
    let new = ["policy", "new"];
    assert_eq!(refused(&new, "BLINDBOX_ALLOW_DEBUG", "true"), (64, true));
    // What says nothing, or has its option beside it, is no reason.
    assert_eq!(refused(&verify, "BLINDBOX_AMD_ROOTS", "").0, 3);
    let with_option = [&verify[..], &["--collateral-root", &roots]].concat();
    assert_eq!(refused(&with_option, "BLINDBOX_COLLATERAL_ROOT", "/nowhere").0, 3);

    // Nor does a file that the environment names.
    let path = configured(&emulator, "");
    let mut proxy = command();
    let outcome = outcome(proxy.args(["proxy", "--json"]).env("BLINDBOX_CONFIG", &path));
    assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{}", outcome.err);
    let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("collateral-root") || message.contains("application-root"), "{message}");
    assert!(
        message.ends_with("decides what is trusted, and BLINDBOX_CONFIG names this file; name it with --config"),
        "{message}"
    );
}

#[test]
fn openssls_variables_do_not_replace_the_roots_of_the_platform() {
    let emulator = Emulator::start(&["--host", "my-app.example"]);
    let address = emulator.url().replace("https://my-app.example:", "my-app.example=127.0.0.1:");
    let verify = |name: &str, value: &str| {
        let mut command = command();
        command.args([
            "verify",
            emulator.url(),
            "--resolve",
            &address,
            "--json",
            "--policy",
            &emulator.path("policy.toml"),
        ]);
        outcome(command.args(["--collateral-root", &emulator.path("collateral-root.pem")]).env(name, value))
    };
    // The root of the application is none of the platform, wherever these variables lead.
    for (name, value) in [("SSL_CERT_FILE", emulator.path("application-root.pem")), ("SSL_CERT_DIR", emulator.path(""))]
    {
        let outcome = verify(name, &value);
        assert_eq!(
            (outcome.exit, outcome.code().as_str()),
            (2, "server-name-not-validated"),
            "{name}: {}",
            outcome.out
        );
    }
    // Nor do they take the platform's away, which would be an error of the configuration.
    let outcome = verify("SSL_CERT_FILE", "/nowhere");
    assert_eq!((outcome.exit, outcome.code().as_str()), (2, "server-name-not-validated"), "{}", outcome.out);
}

#[test]
fn every_option_has_a_variable() {
    let emulator = Emulator::start(&[]);
    let verify = |change: &dyn Fn(&mut Command)| {
        let mut command = command();
        trusting(command.arg("verify").env("BLINDBOX_URL", emulator.url()).env("BLINDBOX_JSON", "yes"), &emulator);
        change(&mut command);
        outcome(&mut command)
    };
    assert_eq!(verify(&|_| {}).json()["verdict"], "accepted");
    // The command line comes first.
    let other = verify(&|command| {
        command.args(["--policy", "/nowhere"]);
    });
    assert_eq!((other.exit, other.code().as_str()), (4, "misconfigured"));
    // A variable that says nothing is none; neither is a flag that is false.
    let plain = verify(&|command| {
        command.env("BLINDBOX_KDS", "").env("BLINDBOX_JSON", "false");
    });
    assert!(plain.out.contains(" is attested until "), "{}", plain.err);
    let wrong = verify(&|command| {
        command.env("BLINDBOX_TIMEOUT", "soon");
    });
    assert_eq!(wrong.exit, 64);
    assert!(wrong.err.contains("'--timeout <SECONDS>': expected a number of seconds"), "{}", wrong.err);
    let flag = verify(&|command| {
        command.env("BLINDBOX_FULL", "perhaps");
    });
    assert_eq!(flag.exit, 64, "{}", flag.err);
}

#[test]
fn a_variable_gives_way_to_an_option_that_excludes_it() {
    let directory = tempfile::TempDir::new().unwrap();
    let mut command = command();
    command.args(["verify", "--json", "--policy", "/nowhere", "--evidence"]).arg(directory.path());
    command.env("BLINDBOX_URL", "https://app.example").env("BLINDBOX_TIMEOUT", "3");
    let outcome = outcome(&mut command);
    // Not 64, a conflict: the policy was looked for.
    assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{}", outcome.err);
}

#[test]
fn help_and_manual_name_the_variables() {
    let help = run(&["verify", "--help"]).out;
    assert!(help.contains("[env: BLINDBOX_POLICY]"), "{help}");
    let directory = tempfile::TempDir::new().unwrap();
    assert_eq!(run(&["man-pages", directory.path().to_str().unwrap()]).exit, 0);
    let page = std::fs::read_to_string(directory.path().join("blindbox-attest-proxy.1")).unwrap();
    assert!(page.contains("BLINDBOX_LISTEN"), "{page}");
}

/// A configuration file of a proxy in front of an emulated BlindBox.
fn configured(emulator: &Emulator, more: &str) -> String {
    let path = emulator.path("proxy.toml");
    let text = format!(
        "url = \"{}\"\npolicy = \"{}\"\ncollateral-root = [\"{}\"]\napplication-root = [\"{}\"]\n{more}",
        emulator.url(),
        emulator.path("policy.toml"),
        emulator.path("collateral-root.pem"),
        emulator.path("application-root.pem"),
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_proxy_is_configured_by_a_file() {
    let emulator = Emulator::start(&[]);
    let path = configured(&emulator, "json = true\nno-access-token = true\nlisten = \"127.0.0.1:0\"\ntimeout = 20\n");
    let mut from_file = command();
    from_file.args(["proxy", "--config", &path]);
    let serving = Serving::start(from_file);
    assert_eq!(serving.said["url"], emulator.url());
    assert_eq!(serving.said["token"], Value::Null);

    // Option, variable, file: in this order.
    let mut layers = command();
    layers.args(["proxy", "--config", &path, "--listen", "127.0.0.2:0"]);
    layers.env("BLINDBOX_NO_ACCESS_TOKEN", "true").env("BLINDBOX_LISTEN", "127.0.0.3:0");
    let serving = Serving::start(layers);
    assert!(serving.text("listen").starts_with("http://127.0.0.2:"), "{}", serving.said);
    let mut variable = command();
    variable.args(["proxy", "--config", &path]).env("BLINDBOX_LISTEN", "127.0.0.3:0");
    let serving = Serving::start(variable);
    assert!(serving.text("listen").starts_with("http://127.0.0.3:"), "{}", serving.said);
}

#[test]
fn a_file_with_a_setting_that_cannot_be_used_is_refused() {
    let emulator = Emulator::start(&[]);
    let cases = [
        ("polcy = \"x\"\n", "polcy: unknown setting; expected the long name of an option, or url"),
        ("config = \"x\"\n", "config: unknown setting; expected the long name of an option, or url"),
        ("max_request = 1\n", "max_request: unknown setting; expected the long name of an option, or url"),
        ("no-access-token = \"yes\"\n", "no-access-token: expected true or false, found a string"),
        ("kds = true\n", "kds: expected a string or a number, found a boolean"),
        ("timeout = \"soon\"\n", "invalid value 'soon' for '--timeout <SECONDS>': expected a number of seconds"),
        ("listen = [\"127.0.0.1:0\"]\n", "listen: expected a string or a number, found a array"),
        ("[listen]\n", "listen: expected a string or a number, found a table"),
        ("listen = \n", "line 5: "),
        ("timeout = 1\ntimeout = 2\n", "line 6: duplicate key"),
    ];
    for (more, expected) in cases {
        let path = configured(&emulator, more);
        let outcome = run(&["proxy", "--json", "--config", &path]);
        assert_eq!((outcome.exit, outcome.code().as_str()), (4, "misconfigured"), "{more}: {}", outcome.err);
        let message = outcome.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(&format!("{path}: {expected}")), "{more}: {message}");
    }
    let absent = run(&["proxy", "--json", "--config", "/nowhere"]);
    assert_eq!((absent.exit, absent.code().as_str()), (4, "misconfigured"));
}

#[test]
fn verbosity_reports_attestations_and_steps() {
    let emulator = Emulator::start(&[]);
    assert_eq!(emulator.verify(&[]).err, "");
    let once = emulator.verify(&["-v"]).err;
    assert!(once.contains("INFO ") && once.contains("blindbox_attestation: attested outcome=\"accepted\""), "{once}");
    assert!(!once.contains("DEBUG"), "{once}");
    let twice = emulator.verify(&["-vv"]).err;
    assert!(twice.contains("DEBUG ") && twice.contains("step=\"verify\" outcome=\"ok\""), "{twice}");
    let filtered = emulator.verify(&["-vv", "--log", "error"]).err;
    assert_eq!(filtered, "");
    let wrong = emulator.verify(&["--log", "loud"]);
    assert_eq!(wrong.exit, 64);
    assert!(wrong.err.contains("expected a level (error, warn, info, debug, trace or off)"), "{}", wrong.err);
}

#[test]
fn a_log_in_json_has_one_object_a_line() {
    let emulator = Emulator::start(&["--knob", "debug"]);
    let lines = emulator.verify(&["--log-format", "json"]).err;
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused = lines.iter().find(|line| line["message"] == "not attested").unwrap();
    assert_eq!((&refused["level"], &refused["outcome"]), (&"WARN".into(), &"debug-mode".into()), "{refused}");
    let time = refused["timestamp"].as_str().unwrap();
    assert!(time.as_bytes()[10] == b'T' && time.ends_with('Z'), "{time}");
    let error = lines.last().unwrap();
    assert_eq!((&error["level"], &error["code"]), (&"ERROR".into(), &"debug-mode".into()), "{error}");
}
