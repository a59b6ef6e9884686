//! Tests do not depend on how fast the machine is: what waits or measures real time is in a few functions, each with its reason.

use std::fs;
use std::path::Path;

use crate::words::{files, root};

/// What waits for real time to pass, or measures how much did.
const REAL_TIME: &[&str] =
    &["sleep(", "elapsed()", "duration_since(", "time::timeout(", "park_timeout(", "wait_timeout("];

const POLLS: &str = "looks again and again until something is so; only a hang reaches its limit";
const HANGS: &str = "its limit is a minute or more: only a hang reaches it";
const MOMENT: &str = "lets others work; nothing depends on how long it is";
const AT_LEAST: &str = "a busy machine makes it longer, which is as good";
const DROPS: &str = "drops futures at many points, and nothing depends on which";
const PAUSED: &str = "the clock of tokio is paused: the test advances it";
const REPORT: &str = "the time is printed, or compared with the limit of a hang";

/// The functions that may: file, function, reason.
const HELPERS: &[(&str, &str, &str)] = &[
    ("bindings/facade/tests/common/mod.rs", "until", POLLS),
    ("bindings/facade/tests/facade/callers.rs", "later", AT_LEAST),
    ("bindings/facade/tests/facade/callers.rs", "moment", MOMENT),
    ("examples/agent/src/rotation.rs", "keys_end_in_time_while_files_hang_and_only_one_look_ever_hangs", PAUSED),
    ("examples/agent/src/rotation.rs", "when_no_key_can_be_made_the_last_one_does_not_serve_on", PAUSED),
    ("examples/agent/tests/agent/lab.rs", "moment", MOMENT),
    ("examples/agent/tests/agent/lab.rs", "passing", POLLS),
    ("examples/agent/tests/agent/lab.rs", "soon", HANGS),
    ("examples/agent/tests/agent/lab.rs", "until", POLLS),
    ("examples/gateway/tests/gateway.rs", "noticed", MOMENT),
    ("src/bin/blindbox-attest/proxy/forward/tests.rs", "bounded", HANGS),
    ("src/bin/blindbox-attest/proxy/tunnel/tests.rs", "bounded", HANGS),
    ("tests/cli/tool.rs", "moment", MOMENT),
    ("tests/common/lab.rs", "lasting", AT_LEAST),
    ("tests/common/lab.rs", "moment", MOMENT),
    ("tests/common/lab.rs", "soon", HANGS),
    ("tests/common/lab.rs", "until", POLLS),
    ("tests/session/concurrency.rs", "give_up", DROPS),
    ("tests/session/concurrency.rs", "futures_that_are_dropped_leave_nothing_stuck", DROPS),
    ("tests/session/faults.rs", "timed", AT_LEAST),
    ("tests/soak/front_end.rs", "soak", MOMENT),
    ("tests/soak/front_end.rs", "work", HANGS),
    ("tests/soak/main.rs", "soak", REPORT),
    ("tests/soak/main.rs", "watch_memory", MOMENT),
    ("tests/soak/main.rs", "work", REPORT),
    ("tests/soak/trouble.rs", "shows_within", POLLS),
];

/// The lines of tests that wait for real time or measure it, each with its number and the function that it is in.
fn real_time(source: &str, mut is_test: bool) -> Vec<(usize, String)> {
    let (mut function, mut found) = (String::new(), Vec::new());
    for (number, line) in source.lines().enumerate() {
        let line = line.trim_start();
        // Unit tests stand at the end of a file.
        is_test |= line.starts_with("#[cfg(test)]");
        if let Some((_, name)) = line.split_once("fn ").filter(|(before, _)| !before.contains('"')) {
            function = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        }
        if is_test && !line.starts_with("//") && REAL_TIME.iter().any(|text| line.contains(text)) {
            found.push((number + 1, function.clone()));
        }
    }
    found
}

#[test]
fn tests_wait_for_events_and_drive_their_clocks() {
    let mut paths = Vec::new();
    for directory in ["src", "tests", "bindings", "examples"] {
        let directory = root().join(directory);
        // What has a workspace of its own is not in the package.
        if directory.exists() {
            files(&directory, "rs", &mut paths);
        }
    }
    let (mut used, mut report) = (vec![false; HELPERS.len()], String::new());
    for path in &paths {
        let name = path.strip_prefix(root()).unwrap();
        if name == Path::new("tests/repository/waiting.rs") {
            continue;
        }
        let name = name.to_str().unwrap().replace('\\', "/");
        let is_test = name.split('/').any(|part| part == "tests" || part == "tests.rs");
        for (line, function) in real_time(&fs::read_to_string(path).unwrap(), is_test) {
            match HELPERS.iter().position(|(file, helper, _)| *file == name && *helper == function) {
                Some(helper) => used[helper] = true,
                None => report += &format!("{name}:{line}: `{function}` waits for real time, or measures it\n"),
            }
        }
    }
    assert!(report.is_empty(), "\n{report}See \"Tests\" in CONTRIBUTING.md.");
    let there = |file: &str| paths.iter().any(|path| path.ends_with(file));
    let unused: Vec<_> = HELPERS.iter().zip(used).filter(|((file, ..), used)| there(file) && !used).collect();
    assert!(unused.is_empty(), "these need no exception: {unused:#?}");
}

#[test]
fn what_waits_is_found() {
    let source = "fn f() { sleep(A) }\n#[cfg(test)]\nmod tests {\n  async fn g() {\n    // sleep(A)\n    \
                  tokio::time::sleep(B).await;\n    wait();\n  }\n  fn h() -> bool { begun.elapsed() < C }\n}\n";
    assert_eq!(real_time(source, false), [(6, "g".to_owned()), (9, "h".to_owned())]);
    assert_eq!(real_time(source, true)[0], (1, "f".to_owned()));
}
