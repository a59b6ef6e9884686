//! The pages about errors: every error, code and reason is documented as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use blindbox_attestation::{AttestationError, ChannelNotAllowed, PolicyError};

use super::{
    APPRAISAL_CHECKS, CHECKS, ERRORS, HARDWARE_CHECKS, PLATFORMS, POLICY, PROXY, REQUIREMENTS, THREATS, code, codes,
    rows, source, variants,
};

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

/// What the page says about one enum: from its name in bold to the next one. The reasons of two errors are in their rows.
fn part_about(name: &str) -> &'static str {
    let row_of =
        |error: &str| ERRORS.lines().find(|line| rows(line).any(|cells| cells.get(2).copied() == Some(error))).unwrap();
    match name {
        "ChannelNotBound" => row_of("`ChannelNotBound`"),
        "ChannelNotAllowed" => row_of("`ChannelNotAllowed`"),
        _ => {
            let part = ERRORS.split_once(&format!("**`{name}`**"));
            part.unwrap_or_else(|| panic!("{name} is not in bold")).1.split("**`").next().unwrap()
        }
    }
}

#[test]
fn every_error_of_a_step_is_named() {
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
        let source = source(path);
        let variants = variants(&source, name);
        assert!(!variants.is_empty(), "{name}");
        // Several enums have a variant of the same name.
        let named = codes(part_about(name));
        let missing: Vec<_> = variants.into_iter().filter(|variant| !named.contains(variant)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} are not in its part of docs/errors.md");
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
                    !is_name || known.contains(error) || error == "RecordedAttestation",
                    "{name} names {error}, which is no error"
                );
            }
        }
    }
}

#[test]
fn every_refusal_of_the_proxy_is_documented() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/blindbox-attest/proxy");
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file());
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
