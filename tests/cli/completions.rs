use std::process::Command;

use crate::tool::{run, skipped};

#[test]
fn completions_for_shells() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let outcome = run(&["completions", shell]);
        assert_eq!(outcome.exit, 0);
        assert!(outcome.out.contains("blindbox-attest") && outcome.out.contains("host-data"), "{shell}");
    }
    assert_eq!(run(&["completions", "abacus"]).exit, 64);
}

/// What bash offers behind these words.
fn offered(script: &str, words: &[&str]) -> Option<Vec<String>> {
    let complete = format!(
        "{script}\nCOMP_WORDS=(\"$@\")\nCOMP_CWORD=$(($# - 1))\n\
         of=$(complete -p blindbox-attest | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         \"$of\" \"$1\" \"${{!#}}\" \"${{@:$(($# - 1)):1}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash").args(["--norc", "-c", &complete, "bash"]).args(words).output().ok()?;
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && err.is_empty(), "{words:?}: {err}");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_what_stands_behind_a_command() {
    let script = run(&["completions", "bash"]).out;
    for (words, expected) in [
        (&["ve"][..], &["verify"][..]),
        (&["verify", "--pol"], &["--policy"]),
        (&["verify", "--"], &["--policy", "--json", "--kds"]),
        (&["policy", ""], &["new", "lint", "show"]),
        (&["policy", "lint", "--"], &["--deny-open"]),
        (&["host-data", "--"], &["--deny-findings"]),
        (&["emulate", "--product", ""], &["milan", "genoa", "turin"]),
    ] {
        let words = [&["blindbox-attest"], words].concat();
        let Some(offered) = offered(&script, &words) else { return skipped("no bash to complete with") };
        let missing: Vec<_> = expected.iter().filter(|word| !offered.iter().any(|offered| offered == *word)).collect();
        assert!(missing.is_empty(), "{words:?}: {missing:?} of {offered:?}");
    }
}
