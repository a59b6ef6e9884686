//! Tests and scenarios that the pages for auditors cite exist.

use std::path::Path;

use super::{ASSURANCE, THREATS, codes, rows};

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

/// The directory is not part of the package.
#[test]
fn the_scenarios_of_the_models_that_the_threat_model_cites_exist() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let forms = ["bound_server", "bound_connection", "bound_message"];
    let cited: Vec<_> = codes(THREATS)
        .into_iter()
        .filter_map(|code| code.split_once("::"))
        .filter(|(form, _)| forms.contains(form))
        .collect();
    assert!(cited.len() >= 6, "{cited:?}");
    if !models.exists() {
        println!("skipped: {} is not there", models.display());
        return;
    }
    for (form, scenario) in cited {
        let source = std::fs::read_to_string(models.join(format!("tests/{form}.rs"))).unwrap();
        let test = format!("#[test]\nfn {scenario}()");
        assert!(source.contains(&test), "docs/threat-model.md cites {form}::{scenario}, which does not exist");
    }
}
