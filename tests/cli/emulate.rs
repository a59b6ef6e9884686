//! `emulate` as other programs start it: a command of its own, a file that says when it serves, and text on a terminal.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::tool::{Emulator, Outcome, Serving, command, free_port, run, skipped};

/// Runs a script of a shell while the emulation serves.
fn with_command(options: &[&str], script: &str) -> Outcome {
    let arguments = [&["emulate"], options, &["--", "sh", "-c", script]].concat();
    run(&arguments)
}

#[test]
fn a_command_gets_what_a_client_needs_and_its_end_is_the_end() {
    if cfg!(windows) {
        return skipped("no `sh`");
    }
    let program = env!("CARGO_BIN_EXE_blindbox-attest");
    let verify = format!(
        "{program} verify \"$BLINDBOX_URL\" --policy \"$BLINDBOX_POLICY\" --application-root \"$BLINDBOX_APPLICATION_ROOT\" \
         --collateral-root \"$BLINDBOX_COLLATERAL_ROOT\" --json; code=$?; dirname \"$BLINDBOX_POLICY\" >&2; exit $code"
    );
    let outcome = with_command(&[], &verify);
    assert_eq!((outcome.exit, outcome.json()["verdict"].as_str()), (0, Some("accepted")), "{}", outcome.err);
    let directory = Path::new(outcome.err.trim());
    assert!(directory.is_absolute() && !directory.exists(), "the temporary files are removed: {directory:?}");

    let outcome = with_command(&["--knob", "debug"], &verify);
    assert_eq!((outcome.exit, outcome.code()), (1, "debug-mode".to_owned()));

    // `--out` keeps the files.
    let directory = TempDir::new().unwrap();
    let outcome = with_command(&["--out", directory.path().to_str().unwrap()], "cat \"$BLINDBOX_POLICY\"");
    assert_eq!(
        (outcome.exit, outcome.out),
        (0, std::fs::read_to_string(directory.path().join("policy.toml")).unwrap())
    );

    assert_eq!(with_command(&[], "exit 7").exit, 7);
    #[cfg(unix)]
    assert_eq!(with_command(&[], "kill -9 $$").exit, 128 + 9);
    let missing = run(&["emulate", "--", "/none"]);
    assert_eq!((missing.exit, missing.err.starts_with("error[misconfigured]: /none: ")), (4, true), "{}", missing.err);
}

#[test]
#[cfg(unix)]
fn a_command_is_asked_to_end_with_the_emulation() {
    let mut command = command();
    command.args(["emulate", "--", "sh", "-c"]);
    command.arg("trap 'exit 9' TERM; echo '{}'; while :; do sleep 0.05; done");
    let mut serving = Serving::start(command);
    let id = serving.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status().unwrap().success());
    assert_eq!(serving.wait(), 9);
}

#[test]
#[cfg(target_os = "linux")]
fn a_closed_terminal_ends_it_in_good_order_unless_that_is_ignored() {
    let hang_up = |serving: &Serving| {
        let id = serving.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -HUP \"$0\"", &id]).status().unwrap().success());
    };
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("ready.json");
    let mut emulator = Emulator::start(&["--ready-file", file.to_str().unwrap()]);
    hang_up(&emulator.serving);
    assert_eq!(emulator.serving.wait(), 0);
    assert!(!file.exists());

    // As `nohup` starts it.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" emulate --out \"$1\""]);
    command.arg(env!("CARGO_BIN_EXE_blindbox-attest")).arg(directory.path());
    let mut emulator = Emulator { serving: Serving::start(command), folder: directory };
    hang_up(&emulator.serving);
    assert!(emulator.order("traffic")["application_requests"].is_number());
    emulator.serving.close_input();
    assert_eq!(emulator.serving.wait(), 0);
}

#[test]
fn a_port_that_kubernetes_sets_is_not_one() {
    let emulate = |value: &str| {
        let mut command = command();
        command.args(["emulate", "--json"]).env("BLINDBOX_PORT", value).env("BLINDBOX_AGENT_PORT", value);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // Standard input has ended, so it serves for a moment only.
    assert_eq!(emulate("tcp://10.0.0.1:443"), (Some(0), String::new()));
    let (exit, error) = emulate("https");
    assert_eq!((exit, error.contains("'https' for '--port <PORT>'")), (Some(64), true), "{error}");
}

#[test]
fn a_file_says_when_it_serves() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("ready.json");
    std::fs::write(&file, "of an earlier emulation").unwrap();
    let emulator = Emulator::start(&["--ready-file", file.to_str().unwrap()]);
    // It is written before the line is printed.
    let ready: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(ready, emulator.serving.said);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["ready.json"]);
    let mut emulator = emulator;
    emulator.serving.close_input();
    assert_eq!(emulator.serving.wait(), 0);
    assert!(!file.exists());
}

#[test]
fn a_terminal_shows_the_next_command() {
    // The shell in the terminal prints the exit status: the one of `script` is a failure where it sees the terminal close
    // before it learns that its child has ended.
    let program = env!("CARGO_BIN_EXE_blindbox-attest");
    let commands = format!("trap : INT; {program} emulate --ignore-stdin; echo status=$?");
    let Ok(mut child) = Command::new("script")
        .args(["-qc", &commands, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    else {
        return skipped("no `script` of util-linux to make a terminal with");
    };
    let mut text = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    while !text.contains("see --help") {
        assert_ne!(std::io::BufRead::read_line(&mut lines, &mut text).unwrap(), 0, "{text}");
    }
    assert!(text.len() < 1000 && !text.contains('{'), "{text}");
    let start = text.find("  blindbox-attest verify https://127.0.0.1:").unwrap_or_else(|| panic!("{text}"));
    let pasted = text[start..].split("\r\n\r\n").next().unwrap().replace('\r', "");
    let output = shell(&pasted, Path::new("."));
    assert!(output.status.success(), "{pasted}\n{}", String::from_utf8_lossy(&output.stderr));
    // Ctrl-C, as a person ends it.
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\x03").unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    child.wait().unwrap();
    assert!(rest.contains("status=0"), "{rest}");
    let policy = pasted.split("--policy ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert!(policy.starts_with('/') && !Path::new(policy).exists(), "the temporary files are removed: {policy}");
}

/// Runs a script with the program in the search path, for two minutes at most: a script may wait for what does not come.
fn shell(script: &str, directory: &Path) -> std::process::Output {
    let program = Path::new(env!("CARGO_BIN_EXE_blindbox-attest"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-ec", script]).env("PATH", path).current_dir(directory).stdin(Stdio::null());
    // With what it starts, so that all of that can be ended.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let group = format!("-{}", child.id());
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    if let Ok(output) = end.recv_timeout(std::time::Duration::from_secs(120)) {
        return output.unwrap();
    }
    let killed = Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
    let output = end.recv().unwrap().unwrap();
    panic!("{script}\nstill runs after two minutes ({killed}): {}", String::from_utf8_lossy(&output.stderr));
}

/// The recipes of `docs/cli.md`, pasted, with a free port.
#[test]
fn the_recipes_of_the_page_work_when_pasted() {
    if cfg!(windows) {
        return skipped("no `sh`");
    }
    let page = include_str!("../../docs/cli.md");
    let blocks = page.split("```console\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let blocks: Vec<_> = blocks.filter(|block| block.contains("blindbox-attest emulate")).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let directory = TempDir::new().unwrap();
        let commands = block.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line).to_owned() + "\n");
        let background = if block.contains("&\n") { "trap 'kill $!' EXIT\n" } else { "" };
        let script = background.to_owned() + &commands.collect::<String>();
        let script = script.replace("8443", &free_port("127.0.0.1").to_string());
        let output = shell(&script, directory.path());
        let out = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{script}\n{out}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(out.contains("attested"), "{script}\n{out}");
    }
}

/// A published CCE policy that allows everything is for development, which an emulation is.
#[test]
fn an_allow_all_policy_is_emulated_and_accepted() {
    let Some(vectors) = crate::common::vectors() else { return };
    let policy = vectors.join("snp-aci-milan-v3-tav/security_policy.rego");
    let emulator = Emulator::start(&["--cce-policy", policy.to_str().unwrap()]);
    let printed: blindbox_attestation::Policy = emulator.serving.text("policy").parse().unwrap();
    assert!(printed.lint().iter().any(|lint| lint.code == "permissive-workload-allowed"), "{:?}", printed.lint());
    let url = emulator.url().to_owned();
    let mut arguments = vec!["verify".to_owned(), url, "--json".to_owned()];
    arguments.extend(emulator.trusting());
    let outcome = run(&arguments);
    assert_eq!((outcome.exit, outcome.json()["verdict"].as_str()), (0, Some("accepted")), "{}", outcome.err);
}

/// A server of the test, in the emulated guest, behind the proxy.
#[test]
fn an_application_is_emulated_and_streams_through_the_proxy() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    let application = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", application.local_addr().unwrap());
    let emulator = Emulator::start(&["--application", &url]);
    let mut command = command();
    command.args(["proxy", emulator.url(), "--json"]).args(emulator.trusting());
    let proxy = Serving::start(command);
    let host = proxy.text("listen").strip_prefix("http://").unwrap();

    let mut client = TcpStream::connect(host).unwrap();
    client.set_read_timeout(Some(std::time::Duration::from_secs(45))).unwrap();
    let token = proxy.text("token");
    write!(client, "GET /v1/events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nX-Api-Key: k\r\n\r\n")
        .unwrap();
    let mut at_application = BufReader::new(application.accept().unwrap().0);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(at_application.read_line(&mut head).unwrap(), 0, "{head}");
    }
    assert!(head.starts_with("GET /v1/events HTTP/1.1\r\n") && head.contains("x-api-key: k\r\n"), "{head}");
    assert!(!head.contains(token), "the access token stays here: {head}");
    let at_application = at_application.get_mut();
    at_application.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").unwrap();
    let mut at_client = BufReader::new(client);
    let mut read = String::new();
    // Each event is written when the one before has arrived.
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        at_application.write_all(event.as_bytes()).unwrap();
        while !read.contains(event) {
            assert_ne!(at_client.read_line(&mut read).unwrap(), 0, "{read}");
        }
    }
    at_application.shutdown(std::net::Shutdown::Both).unwrap();
    let mut end = String::new();
    while !end.ends_with("\r\n0\r\n\r\n") {
        assert_ne!(at_client.by_ref().take(1).read_to_string(&mut end).unwrap(), 0, "{end:?}");
    }
}

#[test]
fn an_application_with_tls_is_refused() {
    let outcome = run(&["emulate", "--application", "https://127.0.0.1:8000"]);
    let why = "expected the application as a URL such as http://127.0.0.1:8000: only http: TLS ends at the emulator";
    assert_eq!((outcome.exit, outcome.err.contains(why)), (64, true), "{}", outcome.err);
}
