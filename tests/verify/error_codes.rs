//! The order of several violations, and the frozen codes, numbers and categories of errors.

use std::collections::BTreeSet;
use std::time::Duration;

use blindbox_attestation::azure_vm::{AkCertificateError, HclReportError, QuoteError};
use blindbox_attestation::claims::TokenShape;
use blindbox_attestation::emulator::Guest;
use blindbox_attestation::maa::{KeyEvidenceError, KeySetError, TokenError};
use blindbox_attestation::snp::{CrlError, ReportError};
use blindbox_attestation::uvm::EndorsementError;
use blindbox_attestation::{
    AttestationError, BitRequirement, Category, ChannelNotAllowed, ChannelNotBound, HostData, MaaIssuer, MaaKeyError,
    Measurement, PlatformInfoBit, Policy, PolicyError, Product, Sha256Digest, SpkiDigest, TcbMinima, TcbMinimum,
    TlsExporter, Verdict, Violation, VmConfigurationBit,
};

use crate::scene::*;

/// Violates as much as a token can at once, less and less of it.
#[test]
fn the_gravest_violation_is_the_error_and_the_appraisal_lists_all() {
    let mut guest = container();
    let uvm = guest.uvm.as_mut().unwrap();
    (uvm.issuer, uvm.feed, uvm.svn) = ("did:x509:0:sha256:y::eku:1.2".into(), "Feed".into(), 1);
    guest.compliance_status = None;
    let snp = &mut guest.snp;
    (snp.policy.debug, snp.policy.migrate_ma) = (true, true);
    (snp.host_data, snp.vmpl, snp.report_guest_svn) = (HostData::new([1; 32]), 3, 1);
    snp.chip_id = None;
    let policy = maa_policy()
        .require_measurements([Measurement::new([1; 48])])
        .and_then(|policy| policy.require_id_keys([blindbox_attestation::KeyDigest::new([1; 48])]))
        .and_then(|policy| policy.require_reported_tcb(TcbMinima::any(TcbMinimum::new().snp(255))))
        .and_then(|policy| policy.require_minimum_report_guest_svn(2))
        .and_then(|policy| {
            policy.require_guest_policy(blindbox_attestation::GuestPolicyBit::Smt, BitRequirement::Clear)
        })
        .and_then(|policy| policy.require_products([Product::Turin]))
        .and_then(|policy| policy.require_chip_ids([blindbox_attestation::ChipId::new([1; 64])]))
        .and_then(|policy| policy.require_max_token_age(Duration::from_secs(1)))
        .unwrap();
    // Each step fixes the gravest violation; the name is that of the check that it fixes.
    type Mend = fn(&mut Guest);
    let steps: [(&str, &[&str], Mend); 11] = [
        ("debug-mode", &["debug"], |guest| guest.snp.policy.debug = false),
        ("migration-allowed", &["migration"], |guest| guest.snp.policy.migrate_ma = false),
        ("non-compliant-uvm", &["compliance"], |guest| guest.compliance_status = container().compliance_status),
        ("invalid-enclave-code", &["workload"], |guest| guest.snp.host_data = host_data()),
        ("wrong-measurement", &["launch measurement"], |guest| {
            guest.snp.measurement = Measurement::new([1; 48]);
            guest.uvm.as_mut().unwrap().measurement = guest.snp.measurement;
        }),
        ("wrong-uvm", &["uvm issuer", "uvm feed"], |guest| {
            let good = container().uvm.unwrap();
            let uvm = guest.uvm.as_mut().unwrap();
            (uvm.issuer, uvm.feed) = (good.issuer, good.feed);
        }),
        ("uvm-too-old", &["uvm endorsement"], |guest| guest.uvm.as_mut().unwrap().svn = 104),
        ("wrong-vmpl", &["vmpl"], |guest| guest.snp.vmpl = 0),
        ("wrong-guest-identity", &["id key"], |guest| {
            guest.snp.id_key_digest = blindbox_attestation::KeyDigest::new([1; 48]);
        }),
        ("tcb-too-old", &["reported tcb"], |guest| guest.snp.reported_tcb.snp = 255),
        ("guest-svn-too-old", &["report guest svn"], |guest| guest.snp.report_guest_svn = 2),
    ];
    let attest_old = |guest: &Guest| {
        let at = NOW.minus(50).as_secs();
        attest_claims(guest, &policy, |claims| claims.claim("iat", at).claim("nbf", at)).unwrap_err()
    };
    let failed = |error: &AttestationError| -> BTreeSet<&'static str> {
        let checks = error.appraisal().unwrap().checks().iter();
        checks.filter(|check| check.verdict == Verdict::Failed).map(|check| check.name).collect()
    };
    let mut expected: BTreeSet<&str> = steps.iter().flat_map(|(_, names, _)| names.iter().copied()).collect();
    expected.extend(["policy smt", "product", "chip id", "token age"]);
    for (code, names, mend) in steps {
        let error = attest_old(&guest);
        assert_eq!(error.code(), code);
        assert_eq!(failed(&error), expected, "{code}");
        mend(&mut guest);
        names.iter().for_each(|name| assert!(expected.remove(name)));
    }
    for (code, name, mend) in [
        ("wrong-guest-policy", "policy smt", (|guest| guest.snp.policy.smt = false) as Mend),
        ("wrong-chip", "product", |guest| guest.snp.product = Some(Product::Turin)),
        ("not-reported", "chip id", |guest| guest.snp.chip_id = Some(blindbox_attestation::ChipId::new([1; 64]))),
    ] {
        let error = attest_old(&guest);
        assert_eq!((error.code(), failed(&error)), (code, expected.clone()));
        mend(&mut guest);
        assert!(expected.remove(name));
    }
    assert_eq!(attest_old(&guest).code(), "token-too-old");
    assert!(attest(&guest, &policy).is_ok());
}

#[test]
fn the_wrong_kind_of_tee_is_said_before_what_follows_from_it() {
    // A direct token of a VM has neither the host data nor the compliance of a container.
    let error = attest(&Guest::confidential_vm_direct(), &maa_policy()).unwrap_err();
    assert_eq!(error.code(), "wrong-tee-kind");
    let checks = error.appraisal().unwrap();
    for name in ["workload", "compliance", "kind of tee", "uvm endorsement"] {
        assert_eq!(checks.check(name).unwrap().verdict, Verdict::Failed, "{name}");
    }
    let mut in_debug = Guest::confidential_vm_direct();
    in_debug.snp.policy.debug = true;
    assert_eq!(attest(&in_debug, &maa_policy()).unwrap_err().code(), "debug-mode");
}

/// One of each violation with the code and number that it has for ever.
fn golden_violations() -> Vec<(Violation, &'static str, u16)> {
    use Violation::*;
    let text = || "text".to_owned();
    let digest = Sha256Digest::new([1; 32]);
    let measurement = Measurement::new([1; 48]);
    let second = Duration::from_secs(1);
    let tcb = TcbTooOld { tcb: "reported", part: "snp", minimum: 2, actual: Some(1), advisory: None };
    let platform = WrongPlatformInfo { bit: PlatformInfoBit::EccEn, must: BitRequirement::Set };
    let host = HostData::new([1; 32]);
    vec![
        (DebugMode, "debug-mode", 101),
        (MigrationAllowed, "migration-allowed", 102),
        (NonCompliantUvm { expected: text(), status: None }, "non-compliant-uvm", 103),
        (InvalidEnclaveCode { expected: vec![host], actual: host }, "invalid-enclave-code", 104),
        (WrongMeasurement { expected: vec![measurement], actual: measurement }, "wrong-measurement", 105),
        (WrongUvm { field: "feed", expected: text(), actual: text() }, "wrong-uvm", 106),
        (UvmTooOld { minimum: 2, actual: 1 }, "uvm-too-old", 107),
        (WrongMaaPolicy { expected: digest, actual: digest }, "wrong-maa-policy", 108),
        (WrongTeeKind { expected: "a", actual: "b" }, "wrong-tee-kind", 109),
        (WrongVmpl { expected: vec![0], actual: 1 }, "wrong-vmpl", 110),
        (WrongGuestIdentity { field: "id key", expected: text(), actual: text() }, "wrong-guest-identity", 111),
        (tcb, "tcb-too-old", 112),
        (FirmwareTooOld { firmware: "running", expected: text(), actual: text() }, "firmware-too-old", 113),
        (GuestSvnTooOld { minimum: 2, actual: 1 }, "guest-svn-too-old", 114),
        (WrongGuestPolicy { bit: None, expected: text(), actual: text() }, "wrong-guest-policy", 115),
        (platform, "wrong-platform-info", 116),
        (MissingMitigations { vector: "launch", expected: 1, actual: 0 }, "missing-mitigations", 117),
        (WrongChip { field: "product", expected: text(), actual: text() }, "wrong-chip", 118),
        (NotReported { claim: "chip id" }, "not-reported", 119),
        (TokenTooOld { maximum: second, actual: second }, "token-too-old", 120),
        (NotPostQuantum { actual: text() }, "not-post-quantum", 121),
        (WrongMaaKey { field: "uvm", expected: text(), actual: text() }, "wrong-maa-key", 122),
        (KeyNotInReport { expected: text(), actual: None }, "key-not-in-report", 123),
        (WrongTcbStatus { expected: text(), actual: text() }, "wrong-tcb-status", 124),
        (WrongPcr { index: 4, expected: Vec::new(), actual: Sha256Digest::new([0; 32]) }, "wrong-pcr", 125),
        (PcrNotQuoted { index: 4 }, "pcr-not-quoted", 126),
        (
            WrongVmConfiguration { setting: VmConfigurationBit::SecureBoot, must: BitRequirement::Set },
            "wrong-vm-configuration",
            127,
        ),
    ]
}

/// One of each other error with the code, number and category that it has for ever.
fn golden() -> Vec<(AttestationError, &'static str, u16, Category, bool)> {
    use AttestationError::*;
    use Category::{Misconfigured as Mine, Unavailable, Untrusted};
    let text = || "text".to_owned();
    let issuer = || MaaIssuer::new(ISSUER).unwrap();
    let spki = SpkiDigest::new([1; 32]);
    let exporter = TlsExporter::new([1; 32]);
    let second = Duration::from_secs(1);
    let mismatch = EvidenceMismatch {
        field: "vmpl",
        left_source: "token",
        left: text(),
        right_source: "hardware report",
        right: text(),
    };
    let unsent = MaaTokenNotFound { issuer: None, status: 404, message: text() };
    vec![
        (NotAnEnclave { attestation_type: text() }, "not-an-enclave", 201, Untrusted, false),
        (WrongAttester { expected: issuer(), actual: text() }, "wrong-attester", 202, Untrusted, false),
        (ChannelMismatch { attested: spki, connected: spki }, "channel-mismatch", 203, Untrusted, false),
        (ChannelNotBound { reason: self::ChannelNotBound::NoRuntimeData }, "channel-not-bound", 204, Untrusted, false),
        (
            FalseAttestationReport { what: "report data", expected: text(), actual: text() },
            "false-attestation-report",
            205,
            Untrusted,
            false,
        ),
        (mismatch, "evidence-mismatch", 206, Untrusted, false),
        (InvalidToken(TokenError::CriticalExtensions), "invalid-token", 207, Untrusted, false),
        (InvalidKeySet(KeySetError::Malformed), "invalid-key-set", 208, Untrusted, false),
        (InvalidReport(ReportError::Crl(CrlError::WrongSignature)), "invalid-report", 209, Untrusted, false),
        (
            InvalidUvmEndorsement(EndorsementError::MissingHeader { header: "iss" }),
            "invalid-uvm-endorsement",
            210,
            Untrusted,
            false,
        ),
        (MissingEvidence { what: "an MAA token" }, "missing-evidence", 211, Untrusted, false),
        (InvalidAgentAnswer { reason: text() }, "invalid-agent-answer", 212, Untrusted, false),
        (ServerNameNotValidated { reason: text(), source: None }, "server-name-not-validated", 213, Untrusted, false),
        (InvalidHclReport(HclReportError::NotSevSnp), "invalid-hcl-report", 214, Untrusted, false),
        (InvalidTpmQuote(QuoteError::WrongSignature), "invalid-tpm-quote", 215, Untrusted, false),
        (InvalidAkCertificate(AkCertificateError::AnotherKey), "invalid-ak-certificate", 216, Untrusted, false),
        (ConnectionMismatch { attested: exporter, connected: exporter }, "connection-mismatch", 217, Untrusted, false),
        (
            UnattestedMaaKey(MaaKeyError::Evidence(KeyEvidenceError::NoEvidence)),
            "unattested-maa-key",
            218,
            Untrusted,
            false,
        ),
        (unsent, "maa-token-not-found", 301, Unavailable, false),
        (AgentUnreachable { reason: text(), source: None }, "agent-unreachable", 302, Unavailable, true),
        (MaaUnreachable { issuer: issuer(), reason: text(), source: None }, "maa-unreachable", 303, Unavailable, true),
        (KdsUnreachable { reason: text(), source: None }, "kds-unreachable", 304, Unavailable, true),
        (ApplicationUnreachable { reason: text(), source: None }, "application-unreachable", 305, Unavailable, true),
        (Timeout { what: "it", after: second }, "timeout", 306, Unavailable, true),
        (TooLarge { what: "it", limit: 1 }, "too-large", 307, Unavailable, false),
        (AttestationExpired, "attestation-expired", 308, Unavailable, false),
        (SessionPoisoned { cause: "debug-mode" }, "session-poisoned", 309, Unavailable, false),
        (TooManyUnattestedPeers { reason: "it" }, "too-many-unattested-peers", 310, Unavailable, true),
        (RevocationUnavailable { reason: CrlError::Missing }, "revocation-unavailable", 311, Unavailable, true),
        (KeySetNotAuthenticated { issuer: issuer() }, "key-set-not-authenticated", 312, Unavailable, false),
        (InvalidResponse { reason: text(), source: None }, "invalid-response", 313, Unavailable, false),
        (InvalidPolicy(self::PolicyError::HostDataNotAnchored), "invalid-policy", 401, Mine, false),
        (InvalidUrl { reason: "it" }, "invalid-url", 402, Mine, false),
        (InvalidRequest { reason: "it" }, "invalid-request", 403, Mine, false),
        (Misconfigured { reason: text() }, "misconfigured", 404, Mine, false),
        (ChannelNotAllowed { reason: self::ChannelNotAllowed::PlainHttp }, "channel-not-allowed", 405, Mine, false),
        (RequestBodyFailed { reason: text() }, "request-body-failed", 406, Mine, false),
    ]
}

/// A message is a clause, to stand behind the name of a program.
#[track_caller]
fn check_message(text: &str) {
    assert!(text.starts_with(|first: char| !first.is_uppercase()) || text.starts_with("AMD's"), "{text}");
    assert!(!text.contains("  ") && !text.ends_with('.'), "{text}");
}

#[test]
fn codes_and_numbers_of_errors_are_frozen() {
    for (violation, code, number) in golden_violations() {
        assert_eq!((violation.code(), violation.number()), (code, number), "{violation}");
        let json = serde_json::json!({ "code": code, "number": number, "message": violation.to_string() });
        assert_eq!(serde_json::to_value(&violation).unwrap(), json);
        check_message(&violation.to_string());
    }
    for (error, code, number, category, retryable) in &golden() {
        let actual = (error.code(), error.number(), error.category(), error.is_retryable());
        assert_eq!(actual, (*code, *number, *category, *retryable), "{error}");
        assert!(error.appraisal().is_none() && error.violation().is_none(), "{code}");
        let json = serde_json::json!({
            "code": code,
            "number": number,
            "category": category,
            "retryable": retryable,
            "request_sent": *code == "invalid-response",
            "message": error.to_string(),
        });
        assert_eq!(serde_json::to_value(error).unwrap(), json);
        check_message(&error.to_string());
    }
}

#[test]
fn a_rejection_is_its_gravest_violation_and_names_the_others() {
    let mut guest = container();
    guest.snp.policy.debug = true;
    guest.uvm.as_mut().unwrap().svn = 1;
    let error = attest(&guest, &maa_policy()).unwrap_err();
    assert_eq!(error.violation(), Some(&Violation::DebugMode));
    let old = Violation::UvmTooOld { minimum: 101, actual: 1 };
    assert_eq!(error.violations().collect::<Vec<_>>(), [&Violation::DebugMode, &old]);
    let AttestationError::Rejected(rejection) = &error else { panic!("{error}") };
    assert_eq!(rejection.violations().collect::<Vec<_>>(), error.violations().collect::<Vec<_>>());
    assert_eq!((rejection.to_string(), error.to_string()), (Violation::DebugMode.to_string(), rejection.to_string()));
    let json = serde_json::json!({
        "code": "debug-mode",
        "number": 101,
        "category": "rejected",
        "retryable": false,
        "request_sent": false,
        "message": Violation::DebugMode.to_string(),
        "violations": [
            { "code": "debug-mode", "number": 101, "message": Violation::DebugMode.to_string() },
            { "code": "uvm-too-old", "number": 107, "message": old.to_string() },
        ],
    });
    assert_eq!(serde_json::to_value(&error).unwrap(), json);
}

#[test]
fn the_public_table_of_codes_has_every_error_once_and_in_order() {
    let violations = golden_violations().into_iter().map(|(_, code, number)| (code, number, Category::Rejected, false));
    let others = golden().into_iter().map(|(_, code, number, category, retryable)| (code, number, category, retryable));
    let golden: Vec<_> = violations.chain(others).collect();
    let public = AttestationError::codes();
    let listed: Vec<_> = public.map(|row| (row.code, row.number, row.category, row.retryable)).collect();
    assert_eq!(listed, golden);
    let numbers: BTreeSet<_> = AttestationError::codes().map(|row| row.number).collect();
    assert!(numbers.into_iter().eq(listed.iter().map(|(_, number, ..)| *number)), "ascending, each once");
    let codes: BTreeSet<_> = AttestationError::codes().map(|row| row.code).collect();
    assert_eq!(codes.len(), golden.len());
    // The name is the code in another spelling.
    for row in AttestationError::codes() {
        let words = row.code.split('-').map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]));
        assert_eq!(row.name, words.collect::<String>());
    }
}

/// Names of the source are not text for a reader.
#[test]
fn a_message_names_a_type_of_token_as_maa_does() {
    let error = TokenError::MixedShapes { shape: TokenShape::AzureVm, claim: "x-ms-sevsnpvm-vmpl".into() };
    assert_eq!(error.to_string(), "a token of the type azurevm must not have the claim \"x-ms-sevsnpvm-vmpl\"");
}

#[test]
fn a_policy_is_not_a_verdict() {
    // Of two policies that differ the digests do, so that no cache takes the verdict of one for that of the other.
    let policies: [Policy; 4] = [maa_policy(), both_policy(), amd_policy(), vm_policy()];
    let digests: BTreeSet<_> = policies.iter().map(|policy| policy.digest().to_string()).collect();
    assert_eq!(digests.len(), policies.len());
}
