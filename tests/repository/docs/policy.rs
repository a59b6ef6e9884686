//! The pages about policies and the checks of an appraisal: fields, methods, lints, files, advisories.

use std::collections::BTreeSet;

use blindbox_attestation::Policy;

use super::{
    APPRAISAL_CHECKS, DOCUMENTS, POLICY, POLICY_EXAMPLES, README, REQUIREMENTS, TRUST, blocks, body, codes, fields,
    rows, source,
};

#[test]
fn every_field_of_a_policy_is_documented() {
    let documented: BTreeSet<_> = rows(POLICY).chain(rows(REQUIREMENTS)).flat_map(|cells| codes(cells[0])).collect();
    for (path, structure, table) in [
        ("src/policy/schema.rs", "Document", ""),
        ("src/policy/schema.rs", "Allowances", "allow."),
        ("src/policy/trust.rs", "MaaTrust", "trust.maa."),
        ("src/policy/attested_key.rs", "AttestedKeyRequirement", "trust.maa.require-attested-key."),
        ("src/policy/trust.rs", "AmdTrust", "trust.amd."),
        ("src/policy/workload.rs", "Workload", "workload."),
        ("src/policy/guest.rs", "GuestIdentity", "guest."),
        ("src/policy/uvm.rs", "UvmRequirement", "uvm."),
        ("src/policy/require_table.rs", "Requirements", "require."),
    ] {
        let fields = fields(&source(path), structure);
        assert!(fields.len() >= 3, "{structure}: {fields:?}");
        for field in fields {
            let field = format!("{table}{field}");
            assert!(
                documented.contains(field.as_str()),
                "`{field}` is not in docs/policy.md or docs/policy-requirements.md"
            );
        }
    }
    let all = codes(REQUIREMENTS);
    for (path, structure) in [("src/policy/tcb.rs", "TcbMinimum"), ("src/policy/tcb.rs", "TcbMinima")] {
        let source = source(path);
        let body = body(&source, &format!("pub struct {structure} {{"));
        for field in body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next()) {
            let field = field.replace('_', "-");
            assert!(all.contains(field.as_str()), "{field} of a TCB minimum is not in docs/policy-requirements.md");
        }
    }
}

#[test]
fn every_method_that_requires_or_allows_is_documented() {
    let documented: BTreeSet<_> = codes(POLICY).into_iter().chain(codes(REQUIREMENTS)).collect();
    let mut found = 0;
    for path in [
        "src/policy/mod.rs",
        "src/policy/allow_methods.rs",
        "src/policy/attested_key.rs",
        "src/policy/guest.rs",
        "src/policy/require_methods.rs",
        "src/policy/trust.rs",
        "src/policy/uvm.rs",
        "src/policy/workload.rs",
    ] {
        let source = source(path);
        let methods = source.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
        let methods = methods.map(|rest| rest.split(['(', '<']).next().unwrap());
        for method in methods.filter(|name| name.starts_with("require_") || name.starts_with("allow_")) {
            let named = documented.iter().any(|code| code.rsplit("::").next() == Some(method));
            assert!(named, "{method} is not in docs/policy.md or docs/policy-requirements.md");
            found += 1;
        }
    }
    assert!(found >= 58, "{found}");
}

#[test]
fn every_lint_is_documented() {
    let documented = codes(POLICY_EXAMPLES);
    let source = source("src/policy/lint.rs");
    let texts = source.split('"').skip(1).step_by(2);
    let is_code = |text: &&str| text.contains('-') && text.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let lints: Vec<_> = texts.filter(is_code).collect();
    assert!(lints.len() >= 18, "{lints:?}");
    for lint in lints {
        assert!(documented.contains(lint), "the lint {lint} is not in docs/policy-examples.md");
    }
}

#[test]
fn policy_files_in_the_documents_are_read_as_they_say() {
    let mut refusals = 0;
    for (name, document) in DOCUMENTS {
        for (info, text) in blocks(document, "toml") {
            let policy = Policy::from_toml(text);
            match info.strip_prefix("refused=") {
                None => {
                    let policy = policy.unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
                    assert_eq!(Policy::from_toml(&policy.to_toml()), Ok(policy), "{name}");
                }
                Some(variant) => {
                    refusals += 1;
                    let error = format!("{:?}", policy.expect_err(text));
                    assert!(error.starts_with(variant), "{name}: expected {variant}, found {error}");
                }
            }
        }
    }
    assert_eq!(refusals, 3);
    let readme: Vec<_> =
        blocks(README, "toml").into_iter().filter(|(_, text)| text.starts_with("version = 1")).collect();
    assert_eq!(readme.len(), 1);
    for (_, text) in readme {
        assert!(Policy::from_toml(text).is_ok(), "{:?}", Policy::from_toml(text));
    }
}

#[test]
fn every_check_of_the_appraisal_is_documented() {
    let documented = codes(APPRAISAL_CHECKS);
    let mut all = String::new();
    for (file, least) in [
        ("provenance", 7),
        ("workload", 6),
        ("guest", 9),
        ("paravisor", 1),
        ("azure_vm", 3),
        ("maa", 4),
        ("maa_key", 3),
        ("tcb", 4),
        ("tdx", 6),
        ("hardware", 12),
        ("advisories", 0),
    ] {
        let mut source = source(&format!("src/appraise/{file}.rs"));
        if file == "hardware" {
            // Where the names of the bits of the platform stand.
            source += &self::source("src/policy/advice.rs");
        }
        let mut found = BTreeSet::new();
        // The first text behind each call that records a check, and names that stand in a constant or a table.
        let calls =
            ["passed(", "allowed(", "failed(", "require(", "require_text(", "not_evaluated(", "not_reported(", "off("];
        let calls = calls.map(|call| format!("checks.{call}"));
        let constants = ["const NAME: &str = ".to_owned()];
        for before in calls.iter().chain(&constants) {
            for (at, _) in source.match_indices(before) {
                let argument = source[at + before.len()..].trim_start();
                found.extend(argument.strip_prefix('"').and_then(|rest| rest.split('"').next()));
            }
        }
        // These helpers take the checks of one requirement, then the name.
        for helper in ["require_one_of(", "require_chip(", "revocation("] {
            for call in source.split(helper).skip(1).filter(|call| call.trim_start().starts_with("&mut checks.of(")) {
                let argument = call.split_once("),").unwrap().1.trim_start();
                found.insert(argument.strip_prefix('"').and_then(|rest| rest.split('"').next()).unwrap());
            }
        }
        let endings = [" tcb", " firmware", " mitigations", "uvm issuer", "uvm feed"];
        found.extend(source.split('"').skip(1).step_by(2).filter(|text| {
            let is_bit = text.starts_with("policy ") || text.starts_with("platform ");
            (is_bit || endings.iter().any(|end| text.ends_with(end))) && text.split(' ').count() == 2
        }));
        assert!(found.len() >= least, "{file}.rs is not read as it is written: {found:?}");
        for name in found {
            assert!(documented.contains(name), "the check {name:?} is not in docs/checks-appraisal.md");
        }
        all += &source;
    }
    let appraisal =
        APPRAISAL_CHECKS.split("\n## ").find(|section| section.starts_with("Step 5: the appraisal")).unwrap();
    let names: BTreeSet<_> = rows(appraisal).flat_map(|cells| codes(cells[0])).collect();
    assert!(names.len() >= 50, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "AMD-SB-3019") {
        assert!(all.contains(&format!("\"{name}\"")), "{name} is documented, and no check of that name is made");
    }
}

#[test]
fn advisories_are_documented_with_their_floors() {
    use blindbox_attestation::claims::Silicon::{Bergamo, Genoa, GenoaX, Milan, MilanX, Turin};
    for advisory in blindbox_attestation::advisories::all() {
        let row = rows(TRUST).find(|cells| cells[0] == advisory.name).unwrap();
        assert_eq!((row[1], row[2]), (advisory.published, advisory.attack.unwrap_or_default()));
        assert_eq!(row[3], serde_json::to_value(advisory.grade).unwrap());
        for (cell, own, others) in
            [(row[4], Milan, &[MilanX][..]), (row[5], Genoa, &[GenoaX, Bergamo]), (row[6], Turin, &[])]
        {
            let microcode = |silicon| advisory.fix(silicon).and_then(|fix| fix.tcb.microcode);
            let Some(fix) = advisory.fix(own) else {
                assert_eq!(cell, "", "{}", advisory.name);
                continue;
            };
            let mut said = Vec::new();
            said.extend(fix.tcb.snp.map(|snp| format!("`snp` {snp}")));
            said.extend(fix.tcb.microcode.map(|microcode| format!("`microcode` {microcode}")));
            said.extend(fix.mitigation.map(|bit| format!("mitigation bit {}", bit.mask().trailing_zeros())));
            said.extend(fix.platform_info.map(|bit| format!("`{bit}`")));
            let mut said = said.join(", ");
            for silicon in others.iter().copied().filter(|silicon| microcode(*silicon) != fix.tcb.microcode) {
                let name = if silicon == Bergamo { "Bergamo" } else { "X" };
                let bit = advisory.fix(silicon).and_then(|fix| fix.mitigation);
                match (microcode(silicon), bit) {
                    (Some(microcode), _) => said += &format!("; {name} {microcode}"),
                    (None, Some(bit)) => said += &format!("; {name} bit {}", bit.mask().trailing_zeros()),
                    (None, None) => {}
                }
            }
            assert_eq!(cell, said, "{}", advisory.name);
        }
    }
}
