//! What is different where a person looks.

use std::process::{Command, Stdio};

use crate::tool::{Emulator, run, skipped};

/// The output of `verify` on a terminal of a width, if there is a way to make one.
fn on_a_terminal(emulator: &Emulator, width: &str, more: &str, no_colour: &str) -> Option<String> {
    let verify = format!(
        "stty rows 40 cols {width}; {} verify {} {} {more}",
        env!("CARGO_BIN_EXE_blindbox-attest"),
        emulator.url(),
        emulator.trusting().join(" ")
    );
    let script = Command::new("script")
        .args(["-qec", &verify, "/dev/null"])
        .env("TERM", "xterm")
        .env("NO_COLOR", no_colour)
        .stdin(Stdio::null())
        .output();
    let Ok(output) = script else {
        skipped("no `script` of util-linux to make a terminal with");
        return None;
    };
    Some(String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n"))
}

#[test]
fn colour_is_for_terminals_unless_told_otherwise() {
    let mut emulator = Emulator::start(&[]);
    assert!(!emulator.verify(&[]).out.contains('\x1b'));
    assert!(emulator.verify(&["--color", "always"]).out.contains("\x1b[32mpassed       \x1b[0m  channel"));
    assert_eq!(emulator.verify(&["--color", "x"]).exit, 64);
    let Some(coloured) = on_a_terminal(&emulator, "120", "", "") else { return };
    assert!(coloured.contains("\x1b[32mpassed       \x1b[0m  channel"), "{coloured:?}");
    for (more, no_colour) in [("", "1"), ("--color never", "")] {
        let plain = on_a_terminal(&emulator, "120", more, no_colour).unwrap();
        assert!(!plain.contains("\x1b[3") && !plain.contains("\x1b[1"), "{plain:?}");
    }
    assert!(on_a_terminal(&emulator, "120", "--color always", "1").unwrap().contains("\x1b[32m"));
    // A refusal is seen at once.
    emulator.order("knob debug");
    let coloured = on_a_terminal(&emulator, "120", "", "").unwrap();
    assert!(coloured.contains(&format!("\x1b[1;31m{} is REFUSED\x1b[0m", emulator.url())), "{coloured:?}");
    let refused = emulator.verify(&["--color", "always"]);
    assert!(refused.err.starts_with("\x1b[1;31merror[debug-mode]\x1b[0m: "), "{:?}", refused.err);
    assert!(!emulator.verify(&["--color", "always", "--json"]).out.contains('\x1b'));
}

#[test]
fn tables_are_as_wide_as_the_terminal() {
    let emulator = Emulator::start(&[]);
    let piped = emulator.verify(&[]).out;
    assert!(piped.lines().any(|line| line.chars().count() > 100), "{piped}");
    for width in [80, 50] {
        let Some(table) = on_a_terminal(&emulator, &width.to_string(), "--color never", "") else { return };
        // Without what says that it takes a while.
        let table = table.rsplit_once("\x1b[K").map_or(table.as_str(), |(_, table)| table);
        let rows = table.split_once("\n\n").unwrap().1;
        assert!(rows.lines().all(|line| line.chars().count() <= width), "{rows}");
        let indent = " ".repeat(if width == 80 { 41 } else { 4 });
        assert!(rows.lines().any(|line| line.starts_with(&indent)), "{rows}");
        let words = |text: &str| text.split_whitespace().collect::<String>();
        let expected = words(piped.split_once("\n\n").unwrap().1);
        // The nonce of freshness is not shown: the rows are the same each time.
        assert_eq!(words(rows), expected);
    }
}

#[test]
fn help_is_as_wide_as_the_terminal() {
    let script = Command::new("script")
        .args([
            "-qec",
            &format!("stty rows 40 cols 70; {} verify --help", env!("CARGO_BIN_EXE_blindbox-attest")),
            "/dev/null",
        ])
        .stdin(Stdio::null())
        .output();
    let Ok(output) = script else { return skipped("no `script` of util-linux to make a terminal with") };
    let help = String::from_utf8(output.stdout).unwrap();
    let options = help.split_once("Exit codes").unwrap().0;
    // Of the options; the usage line and what stands below is not folded.
    let long: Vec<_> =
        options.lines().filter(|line| line.starts_with("          ") && line.chars().count() > 75).collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(run(&["verify", "--help"]).out.lines().any(|line| line.chars().count() > 90));
}

/// The knobs that put a text of the peer's choice where people look.
#[test]
fn characters_that_a_terminal_obeys_are_escaped_in_everything_that_evidence_says() {
    const HOSTILE: &str = "x\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\u{85}\u{2028}\n\x1b[2Jpassed\t";
    let unfit = |text: &str| text.chars().any(|c| HOSTILE.contains(c) && !c.is_ascii_graphic() && c != '\n');
    let json = serde_json::json!(HOSTILE).to_string();
    let knobs = [
        format!("uvm-feed={HOSTILE}").replace('\n', ""),
        format!("uvm-issuer={HOSTILE}").replace('\n', ""),
        format!("claim=x-ms-compliance-status:{json}"),
        format!("claim=x-ms-attestation-type:{json}"),
        format!("token-kid={HOSTILE}").replace('\n', ""),
        format!("answer-member=token:{json}"),
    ];
    for knob in &knobs {
        let emulator = Emulator::start(&["--knob", knob]);
        for more in [&[][..], &["--json"]] {
            let outcome = emulator.verify(more);
            assert_ne!(outcome.exit, 0, "{knob:?}");
            assert!(!unfit(&outcome.out) && !unfit(&outcome.err), "{knob:?}: {:?} {:?}", outcome.out, outcome.err);
            // A line break adds no row of its own.
            assert!(!outcome.out.lines().any(|line| line.starts_with("\x1b[2J")), "{:?}", outcome.out);
        }
        let out = emulator.path("fetched");
        let url = emulator.url().to_owned();
        let mut fetch = vec!["fetch".to_owned(), url, "--out".to_owned(), out.clone()];
        fetch.extend(emulator.trusting());
        let fetched = run(&fetch);
        assert!(!unfit(&fetched.out) && !unfit(&fetched.err), "{knob:?}: {:?} {:?}", fetched.out, fetched.err);
        let Ok(files) = std::fs::read_dir(&out) else { continue };
        for file in files.map(|file| file.unwrap().path()) {
            let shown = run(&["inspect".as_ref(), file.as_os_str()]);
            assert!(!unfit(&shown.out) && !unfit(&shown.err), "{knob:?} {file:?}: {:?} {:?}", shown.out, shown.err);
        }
    }
}

#[test]
fn errors_are_as_wide_as_the_terminal() {
    let verify = format!(
        "stty rows 40 cols 60; {} verify https://127.0.0.1:1 --policy /no/such/file/of/a/policy.toml --color always 2>&1",
        env!("CARGO_BIN_EXE_blindbox-attest"),
    );
    let script = Command::new("script").args(["-qec", &verify, "/dev/null"]).stdin(Stdio::null()).output();
    let Ok(output) = script else { return skipped("no `script` of util-linux to make a terminal with") };
    let text = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
    let (error, rest) = text.split_once(": ").unwrap();
    assert_eq!(error, "\x1b[1;31merror[misconfigured]\x1b[0m");
    assert!(rest.contains("\n    ") && rest.contains("/no/such/file/of/a/policy.toml"), "{text:?}");
    assert!(rest.lines().skip(1).all(|line| line.chars().count() <= 60), "{text:?}");
}
