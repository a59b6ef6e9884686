//! `completions`: scripts for shells, and that the shells accept them.

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
        (&["advisories", "--"], &["--deny-open", "--json"]),
        (&["emulate", "--product", ""], &["milan", "genoa", "turin"]),
    ] {
        let words = [&["blindbox-attest"], words].concat();
        let Some(offered) = offered(&script, &words) else { return skipped("no bash to complete with") };
        let missing: Vec<_> = expected.iter().filter(|word| !offered.iter().any(|offered| offered == *word)).collect();
        assert!(missing.is_empty(), "{words:?}: {missing:?} of {offered:?}");
    }
}

#[test]
fn manual_pages_for_each_command() {
    let directory = tempfile::TempDir::new().unwrap();
    let to = directory.path().to_str().unwrap();
    let outcome = run(&["man-pages", to]);
    assert_eq!((outcome.exit, outcome.out.as_str(), outcome.err.as_str()), (0, "", ""));
    let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(page("blindbox-attest.1").contains("blindbox\\-attest\\-verify(1)"));
    assert!(page("blindbox-attest-verify.1").contains("misconfigured   a file, a policy or a setting cannot be used"));
    assert!(page("blindbox-attest-policy-lint.1").contains("deny\\-open"));
    assert!(!directory.path().join("blindbox-attest-man-pages.1").exists());
    assert_eq!(run(&["man-pages", "/none"]).exit, 4);
    assert!(!run(&["--help"]).out.contains("man-pages"));
}

#[test]
fn the_version_names_the_commit_where_the_build_was_given_one() {
    let package = env!("CARGO_PKG_VERSION");
    let commit = option_env!("BLINDBOX_COMMIT").map(|commit| format!(" ({commit})")).unwrap_or_default();
    assert_eq!(run(&["--version"]).out, format!("blindbox-attest {package}{commit}\n"));
}
