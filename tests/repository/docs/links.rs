//! Links between the pages lead somewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::{DOCUMENTS, LINKS, README, source};

/// The targets of links by label (`[text][label]`, `[label]`), and of definitions (`[label]: target`).
fn labels(document: &str) -> (BTreeSet<String>, BTreeMap<&str, &str>) {
    let prose = document.split("\n```").step_by(2);
    let mut links = BTreeSet::new();
    let mut definitions = BTreeMap::new();
    for line in prose.flat_map(str::lines) {
        if let Some((label, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            definitions.insert(label, target);
            continue;
        }
        // The label is the last of the brackets that touch.
        let line = line.replace("][", "]\u{0}[");
        let brackets = line.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
        let labels = brackets.filter(|(label, after)| label.contains(".md") && !after.starts_with(['(', '\0']));
        links.extend(labels.map(|(label, _)| label.to_owned()));
    }
    (links, definitions)
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    let anchor = |heading: &str| -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    let anchors: BTreeMap<_, BTreeSet<_>> = DOCUMENTS
        .iter()
        .map(|(name, text)| {
            let headings = text.lines().filter(|line| line.starts_with('#'));
            (*name, headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect())
        })
        .collect();
    let (_, in_manual) = labels(LINKS);
    for (name, document) in DOCUMENTS {
        for target in document.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let Some(fragment) = target.strip_prefix('#') else {
                let advice =
                    "write [text][FILE.md] and define the label at the end of the file and in src/manual/links.md";
                assert!(target.starts_with("https://"), "{name} links to {target}: {advice}");
                continue;
            };
            assert!(anchors[name].contains(fragment), "{name} links to {target}");
        }
        let (links, definitions) = labels(document);
        for label in links.iter().map(String::as_str) {
            assert_eq!(definitions.get(label), Some(&label), "{name} links to {label}, which it does not define");
            let (file, fragment) = label.split_once('#').unwrap_or((label, ""));
            let headings = anchors.get(file).unwrap_or_else(|| panic!("{name} links to {label}"));
            assert!(fragment.is_empty() || headings.contains(fragment), "{name} links to {label}");
            let page = format!(
                "crate::manual::{}",
                label.replacen(".md", "", 1).replacen('-', "_", file.matches('-').count())
            );
            assert_eq!(in_manual.get(label), Some(&page.as_str()), "src/manual/links.md defines {label}");
        }
        let lines = document.lines().count() - definitions.len();
        assert!(lines <= 300, "{name} is too long to be read: {lines} lines");
    }
}

/// Where the README is shown without the repository, a relative link leads nowhere.
#[test]
fn the_readme_links_to_the_pages_of_the_manual() {
    for target in README.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(target.starts_with("https://") || target.starts_with('#'), "README.md links to {target}");
    }
    let (links, definitions) = labels(README);
    let (_, in_manual) = labels(LINKS);
    let manual = source("src/manual.rs");
    for (name, _) in DOCUMENTS {
        assert!(links.contains(&format!("docs/{name}")), "README.md does not lead to {name}");
    }
    for label in links.iter().map(String::as_str) {
        let page = label.trim_start_matches("docs/").trim_end_matches(".md").to_lowercase().replace('-', "_");
        let url = format!("https://docs.rs/blindbox-attestation/latest/blindbox_attestation/manual/{page}/index.html");
        assert_eq!(definitions.get(label), Some(&url.as_str()), "README.md defines {label}");
        assert_eq!(in_manual.get(label), Some(&format!("crate::manual::{page}").as_str()), "src/manual/links.md");
        assert!(manual.contains(&format!("{page} = \"../{label}\"")), "src/manual.rs has no page of {label}");
    }
}
