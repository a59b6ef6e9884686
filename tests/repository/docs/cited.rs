//! Tests and scenarios that the pages for auditors cite exist.

use std::collections::BTreeSet;
use std::path::Path;

use super::{ASSURANCE, PROTOCOL_MESSAGE, THREATS, code, codes, rows, source};

/// The sources of the tests, all in one.
fn tests(directory: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *sources += &std::fs::read_to_string(&path).unwrap();
        }
    }
}

/// An auditor looks for them. A test that is renamed or removed changes the page.
#[test]
fn the_tests_that_the_page_for_auditors_names_exist() {
    let mut sources = String::new();
    for directory in ["tests", "src"] {
        tests(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut sources);
    }
    let is_test = |name: &str| {
        let start = sources.find(&format!("fn {name}("));
        // The attribute is within the few lines above.
        start.is_some_and(|start| {
            sources[..start]
                .lines()
                .rev()
                .take(6)
                .any(|line| line.trim_start().ends_with("test]") || line.contains("tokio::test"))
        })
    };
    let threats = ASSURANCE.split("\n## ").find(|section| section.starts_with("Threat, check, tests")).unwrap();
    let mut named = 0;
    for row in rows(threats).skip(2) {
        let tests = codes(row[2]);
        assert!(!tests.is_empty(), "no test shows that {} is stopped", row[0]);
        for test in tests {
            named += 1;
            assert!(is_test(test), "docs/assurance.md names the test {test}, which does not exist");
        }
    }
    assert!(named >= 60, "{named}");
    let oracles = ASSURANCE.split("\n## ").find(|section| section.starts_with("Oracles")).unwrap();
    for test in codes(oracles).into_iter().filter(|code| code.matches('_').count() > 2) {
        assert!(is_test(test), "docs/assurance.md names the test {test}, which does not exist");
    }
}

/// A target without a figure is named as one that was not measured. The directory is not part of the package.
#[test]
fn every_target_of_the_fuzzer_is_on_the_page_for_auditors() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    if !targets.exists() {
        println!("skipped: {} is not there", targets.display());
        return;
    }
    let row = rows(ASSURANCE).find(|cells| cells[0].starts_with("fuzzing: inputs")).unwrap();
    let named: Vec<_> = row.iter().flat_map(|cell| codes(cell)).collect();
    for entry in std::fs::read_dir(targets).unwrap() {
        let path = entry.unwrap().path();
        let target = path.file_stem().unwrap().to_str().unwrap();
        assert!(named.contains(&target), "docs/assurance.md does not name the target {target}");
    }
}

/// The tests of the models, each with its form; `None` where the directory is not there, which is not part of the package.
fn scenarios() -> Option<BTreeSet<String>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    if !models.exists() {
        println!("skipped: {} is not there", models.display());
        return None;
    }
    let mut found = BTreeSet::new();
    for form in FORMS {
        let source = source(&format!("models/tests/{form}.rs"));
        let names = source.split("#[test]\nfn ").skip(1).map(|rest| rest.split('(').next().unwrap());
        found.extend(names.map(|name| format!("{form}::{name}")));
    }
    Some(found)
}

/// The forms of the protocol, by the files of their scenarios.
const FORMS: [&str; 3] = ["bound_server", "bound_connection", "bound_message"];

fn is_scenario(code: &str) -> bool {
    code.split_once("::").is_some_and(|(form, _)| FORMS.contains(&form))
}

#[test]
fn the_scenarios_of_the_models_that_documents_cite_exist() {
    let Some(scenarios) = scenarios() else { return };
    let readme = source("models/README.md");
    for (name, document, at_least) in [
        ("docs/threat-model.md", THREATS, 20),
        ("docs/protocol-message.md", PROTOCOL_MESSAGE, 5),
        ("models/README.md", readme.as_str(), scenarios.len()),
    ] {
        let cited: Vec<_> = codes(document).into_iter().filter(|code| is_scenario(code)).collect();
        assert!(cited.len() >= at_least, "{name}: {cited:?}");
        for scenario in cited {
            assert!(scenarios.contains(scenario), "{name} cites {scenario}, which does not exist");
        }
    }
}

/// The tests of the models compare their results with the rows. Here: there is a row of each, and none without a test.
#[test]
fn the_readme_of_the_models_has_a_row_of_each_scenario_and_counts_them() {
    let Some(scenarios) = scenarios() else { return };
    let readme = source("models/README.md");
    let listed: Vec<_> = rows(&readme).filter_map(|cells| code(cells[0])).filter(|code| is_scenario(code)).collect();
    assert_eq!(listed.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), scenarios);
    assert_eq!(listed.len(), scenarios.len(), "a scenario has two rows");
    for form in FORMS {
        let file = format!("`tests/{form}.rs`");
        let row = rows(&readme).find(|cells| cells[0] == file).unwrap();
        let tests = scenarios.iter().filter(|name| name.starts_with(&format!("{form}::"))).count();
        assert_eq!(row[2], tests.to_string(), "{file}");
    }
}
