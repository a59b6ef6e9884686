//! The documents in `docs/` say what the code does: codes, fields, checks, test vectors and files are compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::emulator::report_data;
use blindbox_attestation::{
    AttestationError, Challenge, ChannelNotAllowed, Policy, PolicyError, ServerNameCheck, SpkiDigest, TlsExporter,
    UnixTime,
};
use serde_json::Value;

const ERRORS: &str = include_str!("../../docs/errors.md");
const POLICY: &str = include_str!("../../docs/policy.md");
const REQUIREMENTS: &str = include_str!("../../docs/policy-requirements.md");
const POLICY_EXAMPLES: &str = include_str!("../../docs/policy-examples.md");
const CHECKS: &str = include_str!("../../docs/checks.md");
const HARDWARE_CHECKS: &str = include_str!("../../docs/checks-hardware.md");
const APPRAISAL_CHECKS: &str = include_str!("../../docs/checks-appraisal.md");
const PROTOCOL: &str = include_str!("../../docs/protocol.md");
const PROTOCOL_VECTORS: &str = include_str!("../../docs/protocol-vectors.md");
const PROTOCOL_MESSAGE: &str = include_str!("../../docs/protocol-message.md");
const COOKBOOK: &str = include_str!("../../docs/cookbook.md");
const THREATS: &str = include_str!("../../docs/threat-model.md");
const PLATFORMS: &str = include_str!("../../docs/platforms.md");
const TRUST: &str = include_str!("../../docs/trust.md");
const PROXY: &str = include_str!("../../docs/proxy.md");
const README: &str = include_str!("../../README.md");
/// Where links lead in the documentation of the crate.
const LINKS: &str = include_str!("../../src/manual/links.md");

const ASSURANCE: &str = include_str!("../../docs/assurance.md");

const DOCUMENTS: [(&str, &str); 27] = [
    ("errors.md", ERRORS),
    ("policy.md", POLICY),
    ("policy-requirements.md", REQUIREMENTS),
    ("policy-examples.md", POLICY_EXAMPLES),
    ("cce-policy.md", include_str!("../../docs/cce-policy.md")),
    ("checks.md", CHECKS),
    ("checks-hardware.md", HARDWARE_CHECKS),
    ("checks-appraisal.md", APPRAISAL_CHECKS),
    ("protocol.md", PROTOCOL),
    ("protocol-message.md", PROTOCOL_MESSAGE),
    ("protocol-vectors.md", PROTOCOL_VECTORS),
    ("cookbook.md", COOKBOOK),
    ("threat-model.md", THREATS),
    ("platforms.md", PLATFORMS),
    ("trust.md", TRUST),
    ("faults.md", include_str!("../../docs/faults.md")),
    ("session.md", include_str!("../../docs/session.md")),
    ("observability.md", include_str!("../../docs/observability.md")),
    ("performance.md", include_str!("../../docs/performance.md")),
    ("cli.md", include_str!("../../docs/cli.md")),
    ("proxy.md", PROXY),
    ("knobs.md", include_str!("../../docs/knobs.md")),
    ("languages.md", include_str!("../../docs/languages.md")),
    ("clients.md", include_str!("../../docs/clients.md")),
    ("troubleshooting.md", include_str!("../../docs/troubleshooting.md")),
    ("python-client.md", include_str!("../../docs/python-client.md")),
    ("assurance.md", ASSURANCE),
];

/// The cells of every table row.
fn rows(document: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = document.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect())
}

/// The text between backticks, if that is all.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|inner| !inner.contains('`'))
}

/// Every text between single backticks.
fn codes(document: &str) -> BTreeSet<&str> {
    document.split('\n').flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Fenced blocks whose first line begins like this: the rest of that line, and the text.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    let mut fences = document.split("\n```");
    fences.next();
    while let (Some(block), after) = (fences.next(), fences.next()) {
        assert!(after.is_some(), "a block has no end");
        let (first, text) = block.split_once('\n').unwrap();
        let (name, info) = first.split_once(' ').unwrap_or((first, ""));
        if name == language {
            found.push((info, text));
        }
    }
    found
}

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// From this line to the first line that is `}` with the same indentation.
fn body<'a>(source: &'a str, start: &str) -> &'a str {
    let (before, rest) = source.split_once(start).unwrap_or_else(|| panic!("no {start:?} in the source"));
    let line = before.rsplit('\n').next().unwrap();
    let indentation = &line[..line.len() - line.trim_start().len()];
    rest.split(&format!("\n{indentation}}}")).next().unwrap()
}

/// The variants of a public enum.
fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let body = body(source, &format!("pub enum {name} {{"));
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names.map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap()).collect()
}

/// The fields of a struct, as they stand in a policy file.
/// The fields that a file can have.
fn fields(source: &str, name: &str) -> Vec<String> {
    let body = body(source, &format!("struct {name} {{"));
    let lines: Vec<_> = body.lines().collect();
    let body: String = lines
        .iter()
        .enumerate()
        .filter(|(at, _)| *at == 0 || lines[at - 1].trim() != "#[serde(skip)]")
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    let lines = body.lines().filter_map(|line| line.trim().strip_prefix("pub(")?.split_once(") "));
    lines.map(|(_, field)| field.split(':').next().unwrap().replace('_', "-")).collect()
}

#[derive(Debug, PartialEq)]
struct Facts {
    code: String,
    number: u16,
    category: String,
    retryable: String,
}

/// The frozen codes: what `docs/errors.md` says is what every release before this one said.
#[test]
fn every_error_is_documented_with_its_frozen_code() {
    let mut coded = BTreeMap::new();
    for row in AttestationError::codes() {
        let facts = Facts {
            code: row.code.to_owned(),
            number: row.number,
            category: format!("{:?}", row.category),
            retryable: if row.retryable { "yes" } else { "no" }.to_owned(),
        };
        coded.insert(row.name, facts);
    }

    let mut documented = BTreeMap::new();
    let mut category = "";
    for line in ERRORS.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            category = heading;
        }
        let cells = rows(line).next().unwrap_or_default();
        let [number, error_code, variant, retryable, when, _] = cells[..] else { continue };
        let (Ok(number), Some(error_code), Some(variant)) = (number.parse(), code(error_code), code(variant)) else {
            continue;
        };
        assert!(!when.is_empty(), "{variant} has no explanation");
        let (code, category, retryable) = (error_code.to_owned(), category.to_owned(), retryable.to_owned());
        let before = documented.insert(variant, Facts { code, number, category, retryable });
        assert_eq!(before, None, "{variant} stands twice");
    }
    for (variant, facts) in &coded {
        assert_eq!(documented.get(variant), Some(facts), "{variant} in docs/errors.md and in src/error/codes.rs");
    }
    let gone = documented.keys().find(|variant| !coded.contains_key(**variant));
    assert_eq!(gone, None, "documented, and not in the source: a frozen code must not disappear");
    let numbers: BTreeSet<_> = documented.values().map(|facts| facts.number).collect();
    assert_eq!(numbers.len(), documented.len(), "a number is used twice");
}

/// The same through the public interface, for the variants that can be made without evidence.
#[test]
fn the_codes_in_the_document_are_those_of_the_values() {
    let reason = String::new;
    let errors = [
        AttestationError::NotAnEnclave { attestation_type: reason() },
        AttestationError::MissingEvidence { what: "" },
        AttestationError::InvalidAgentAnswer { reason: reason() },
        AttestationError::AgentUnreachable { reason: reason(), source: None },
        AttestationError::KdsUnreachable { reason: reason(), source: None },
        AttestationError::AttestationExpired,
        AttestationError::SessionPoisoned { cause: "debug-mode" },
        AttestationError::TooManyUnattestedPeers { reason: "" },
        AttestationError::InvalidPolicy(PolicyError::HostDataNotAnchored),
        AttestationError::InvalidUrl { reason: "" },
        AttestationError::Misconfigured { reason: reason() },
        AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::WorkloadDoesNotBind },
    ];
    for error in errors {
        let row = rows(ERRORS).find(|cells| cells.get(1).and_then(|cell| code(cell)) == Some(error.code())).unwrap();
        assert_eq!(row[0], error.number().to_string());
        assert_eq!(row[3] == "yes", error.is_retryable(), "{}", error.code());
        let hundred = match format!("{:?}", error.category()).as_str() {
            "Rejected" => 1,
            "Untrusted" => 2,
            "Unavailable" => 3,
            _ => 4,
        };
        assert_eq!(error.number() / 100, hundred);
    }
}

#[test]
fn every_error_of_a_step_is_named() {
    let named = codes(ERRORS);
    for (path, name) in [
        ("src/error/channel.rs", "ChannelNotBound"),
        ("src/error/channel.rs", "ChannelNotAllowed"),
        ("src/maa/error.rs", "TokenError"),
        ("src/maa/jwks.rs", "KeySetError"),
        ("src/maa/jwks.rs", "UnusableKey"),
        ("src/snp/error.rs", "ReportError"),
        ("src/x509/error.rs", "CertificateError"),
        ("src/snp/error.rs", "CrlError"),
        ("src/uvm/error.rs", "EndorsementError"),
        ("src/azure_vm/error.rs", "HclReportError"),
        ("src/azure_vm/error.rs", "RuntimeClaimsError"),
        ("src/azure_vm/error.rs", "QuoteError"),
        ("src/azure_vm/error.rs", "AkCertificateError"),
        ("src/error/maa_key.rs", "MaaKeyError"),
        ("src/maa/key_evidence.rs", "KeyEvidenceError"),
        ("src/policy/error.rs", "PolicyError"),
    ] {
        assert!(named.contains(name), "{name} is not in docs/errors.md");
        let source = source(path);
        let variants = variants(&source, name);
        assert!(!variants.is_empty(), "{name}");
        for variant in variants {
            assert!(named.contains(variant), "{name}::{variant} is not in docs/errors.md");
        }
    }
}

#[test]
fn names_of_errors_in_the_documents_exist() {
    let mut known = BTreeSet::new();
    for (path, names) in [
        ("src/error.rs", &["AttestationError"][..]),
        ("src/error/rejection.rs", &["Violation"]),
        ("src/error/channel.rs", &["ChannelNotAllowed", "ChannelNotBound"]),
        ("src/error/codes.rs", &["Category"]),
        ("src/error/maa_key.rs", &["MaaKeyError"]),
        ("src/maa/error.rs", &["TokenError"]),
        ("src/maa/key_evidence.rs", &["KeyEvidenceError"]),
        ("src/maa/jwks.rs", &["KeySetError", "UnusableKey"]),
        ("src/snp/error.rs", &["ReportError", "CrlError", "CertificateRole"]),
        ("src/x509/error.rs", &["CertificateError"]),
        ("src/uvm/error.rs", &["EndorsementError"]),
        ("src/azure_vm/error.rs", &["HclReportError", "RuntimeClaimsError", "QuoteError", "AkCertificateError"]),
        ("src/policy/error.rs", &["PolicyError"]),
    ] {
        let source = source(path);
        for name in names {
            known.extend(variants(&source, name).into_iter().map(str::to_owned));
        }
    }
    // The last column of a table of checks, attacks or requirements.
    for (name, document) in [
        ("checks.md", CHECKS),
        ("checks-hardware.md", HARDWARE_CHECKS),
        ("checks-appraisal.md", APPRAISAL_CHECKS),
        ("threat-model.md", THREATS),
        ("policy.md", POLICY),
        ("policy-requirements.md", REQUIREMENTS),
        ("platforms.md", PLATFORMS),
    ] {
        for row in rows(document) {
            for error in codes(row.last().unwrap()) {
                let is_name = error.starts_with(|c: char| c.is_ascii_uppercase())
                    && error.chars().all(|c| c.is_ascii_alphanumeric())
                    && error.contains(|c: char| c.is_ascii_lowercase());
                assert!(
                    !is_name || known.contains(error) || error == "OfflineAttestation",
                    "{name} names {error}, which is no error"
                );
            }
        }
    }
}

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
        ("src/policy/workload.rs", "GuestIdentity", "guest."),
        ("src/policy/workload.rs", "UvmRequirement", "uvm."),
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
    for path in ["src/policy/mod.rs", "src/policy/attested_key.rs", "src/policy/trust.rs", "src/policy/workload.rs"] {
        let source = source(path);
        let methods = source.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
        let methods = methods.map(|rest| rest.split(['(', '<']).next().unwrap());
        for method in methods.filter(|name| name.starts_with("require_") || name.starts_with("allow_")) {
            let named = documented.iter().any(|code| code.rsplit("::").next() == Some(method));
            assert!(named, "{method} is not in docs/policy.md or docs/policy-requirements.md");
        }
    }
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
fn every_refusal_of_the_proxy_is_documented() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/blindbox-attest/proxy");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
    let mut refusals = BTreeSet::new();
    for file in files.map(|path| std::fs::read_to_string(path).unwrap()) {
        for refusal in file.split(" refusal(StatusCode::").chain(file.split("(refusal(StatusCode::")).skip(1) {
            let Some((status, rest)) = refusal.split_once(", \"") else { continue };
            if status.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
                refusals.insert((status.to_lowercase().replace('_', " "), rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    let documented = rows(PROXY).filter_map(|row| match row[..] {
        [status, code_, _] => Some((status.split_once(' ')?.1.to_lowercase(), code(code_)?.to_owned())),
        _ => None,
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), refusals);
    assert_eq!(refusals.len(), 16);
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
        let calls = ["passed(", "allowed(", "failed(", "require(", "not_evaluated(", "not_reported(", "off("];
        let calls = calls.map(|call| format!("checks.{call}"));
        let constants = ["const NAME: &str = ".to_owned()];
        for before in calls.iter().chain(&constants) {
            for (at, _) in source.match_indices(before) {
                let argument = source[at + before.len()..].trim_start();
                found.extend(argument.strip_prefix('"').and_then(|rest| rest.split('"').next()));
            }
        }
        // These helpers take the checks of one requirement, then the name.
        for helper in ["require_one_of(", "require_chip("] {
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
    use blindbox_attestation::Silicon::{Bergamo, Genoa, GenoaX, Milan, MilanX, Turin};
    for advisory in blindbox_attestation::advisories() {
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

/// The tests of the crate seal and open this one.
#[test]
fn the_test_vector_of_sealed_messages_is_the_one_that_is_tested() {
    let json = blocks(PROTOCOL_MESSAGE, "json");
    let [("vectors", text)] = json[..] else { panic!("one block of vectors: {json:?}") };
    let shown: Value = serde_json::from_str(text).unwrap();
    let tested: Value = serde_json::from_str(&source("src/message/vectors.json")).unwrap();
    assert_eq!(shown, tested);
}

#[test]
fn the_test_vectors_of_the_protocol_hold() {
    let json = blocks(PROTOCOL_VECTORS, "json");
    let [("vectors", text)] = json[..] else { panic!("one block of vectors: {json:?}") };
    let Value::Array(vectors) = serde_json::from_str(text).unwrap() else { panic!("an array") };
    let (mut bound, mut statements) = (0, 0);
    for vector in &vectors {
        let field = |name: &str| vector.get(name).and_then(Value::as_str);
        let runtime_data = field("runtime_data").unwrap();
        let nonce = field("nonce").unwrap();
        match field("spki_sha256") {
            Some(key) => {
                bound += 1;
                let (form, exporter, length) = match field("tls_exporter") {
                    Some(exporter) => ("connection", format!("\"tls-exporter\":\"{exporter}\","), 284),
                    None => ("server", String::new(), 198),
                };
                let written = format!(
                    "{{\"nonce\":\"{nonce}\",\"protocol\":\"blindbox-bound-{form}/1\",{exporter}\"tls-spki-sha256\":\"{key}\"}}"
                );
                assert_eq!(runtime_data, written);
                assert_eq!(runtime_data.len(), length);
                if let Some(der) = field("spki_der") {
                    assert_eq!(key, sha256(&hex::decode(der).unwrap()));
                }
            }
            None => {
                assert_eq!(runtime_data, format!("{{\"nonce\":\"{nonce}\"}}"));
                assert_eq!(runtime_data.len(), 76);
            }
        }
        let digest = sha256(runtime_data.as_bytes());
        assert_eq!(field("sha256"), Some(digest.as_str()));
        let expected = digest.clone() + &"00".repeat(32);
        assert_eq!(field("report_data"), Some(expected.as_str()));
        assert_eq!(report_data(runtime_data.as_bytes()).to_string(), expected);
        if let Some(text) = field("runtime_data_base64") {
            assert_eq!(text, STANDARD.encode(runtime_data));
        }
        if let Some(statement) = field("key_statement") {
            let form = blocks(PROTOCOL, "text")[2].1.lines().next().unwrap();
            let key = field("spki_sha256").unwrap();
            assert_eq!(statement, form.replace("<SPKI digest, 64 hex digits>", key));
            let expected = sha256(statement.as_bytes()) + &"00".repeat(32);
            assert_eq!((statement.len(), field("user_data")), (120, Some(expected.as_str())));
            statements += 1;
        }
        if let Some(text) = field("client_payload_nonce") {
            assert_eq!(text, STANDARD.encode(&digest));
        }
    }
    assert_eq!((vectors.len(), bound, statements), (4, 3, 1));
}

/// Nonces are random, so the vectors themselves cannot be asked of a challenge: the form of the document is.
#[test]
fn a_challenge_expects_the_runtime_data_of_the_document() {
    let form = blocks(PROTOCOL, "text")[0].1;
    let (now, key) = (UnixTime::from_secs(0), SpkiDigest::new([0xab; 32]));
    let challenge = Challenge::bound(key, ServerNameCheck::Validated, now).unwrap();
    let text = form
        .replace("<nonce, 64 hex digits>", &challenge.nonce().to_string())
        .replace("<SPKI digest, 64 hex digits>", &key.to_string());
    assert_eq!(challenge.runtime_data(), text.as_bytes());

    let form = blocks(PROTOCOL, "text")[1].1;
    let exporter = TlsExporter::new([0xcd; 32]);
    let challenge = Challenge::bound_connection(key, exporter, ServerNameCheck::Validated, now).unwrap();
    let text = form
        .replace("<nonce, 64 hex digits>", &challenge.nonce().to_string())
        .replace("<exporter, 64 hex digits>", &exporter.to_string())
        .replace("<SPKI digest, 64 hex digits>", &key.to_string());
    assert_eq!(challenge.runtime_data(), text.as_bytes());

    let challenge = Challenge::unbound_tls(ServerNameCheck::Validated, now).unwrap();
    let text = format!("{{\"nonce\":\"{}\"}}", challenge.nonce());
    assert_eq!(challenge.runtime_data(), text.as_bytes());
}

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

fn sha256(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}
