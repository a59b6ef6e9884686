//! Several violations at once, and the names and numbers of errors.

use std::collections::BTreeSet;
use std::time::Duration;

use blindbox_attestation::emulator::Guest;
use blindbox_attestation::maa::{KeySetError, TokenError};
use blindbox_attestation::snp::{CrlError, ReportError};
use blindbox_attestation::uvm::EndorsementError;
use blindbox_attestation::{
    Appraisal, AttestationError, BitRequirement, Category, ChannelNotAllowed, ChannelNotBound, HostData, Issuer,
    Measurement, PlatformInfoBit, Policy, PolicyError, Product, Sha256Digest, SpkiDigest, TcbMinima, TcbMinimum,
    Verdict,
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
        .and_then(|policy| policy.require_report_guest_svn(2))
        .and_then(|policy| {
            policy.require_guest_policy(blindbox_attestation::GuestPolicyBit::Smt, BitRequirement::Clear)
        })
        .and_then(|policy| policy.require_products([Product::Turin]))
        .and_then(|policy| policy.require_chip_ids([blindbox_attestation::ChipId::new([1; 64])]))
        .and_then(|policy| policy.require_token_younger_than(1))
        .unwrap();
    // Each step mends the gravest violation; the name is that of the check that it mends.
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

/// One of each variant with the code, number and category that it has for ever.
fn golden() -> Vec<(AttestationError, &'static str, u16, Category, bool)> {
    use AttestationError::*;
    use Category::{Misconfigured as Mine, Rejected, Unavailable, Untrusted};
    let appraisal = || -> Appraisal { attest(&container(), &maa_policy()).unwrap().appraisal().clone() };
    let text = || "text".to_owned();
    let issuer = || Issuer::new(ISSUER).unwrap();
    let digest = Sha256Digest::new([1; 32]);
    let measurement = Measurement::new([1; 48]);
    let spki = SpkiDigest::new([1; 32]);
    let second = Duration::from_secs(1);
    let a = appraisal();
    let a = || a.clone();
    let identity = WrongGuestIdentity { field: "id key", expected: text(), actual: text(), appraisal: a() };
    let tcb = TcbTooOld { tcb: "reported", part: "snp", minimum: 2, actual: Some(1), advisory: None, appraisal: a() };
    let firmware = FirmwareTooOld { firmware: "running", expected: text(), actual: text(), appraisal: a() };
    let guest_policy = WrongGuestPolicy { bit: None, expected: text(), actual: text(), appraisal: a() };
    let platform = WrongPlatformInfo { bit: PlatformInfoBit::EccEn, must: BitRequirement::Set, appraisal: a() };
    let mismatch = EvidenceMismatch {
        field: "vmpl",
        left_source: "token",
        left: text(),
        right_source: "hardware report",
        right: text(),
    };
    let unsent = MaaTokenNotFound { issuer: None, status: 404, message: text() };
    let hosts = vec![HostData::new([1; 32])];
    vec![
        (DebugMode { appraisal: a() }, "debug-mode", 101, Rejected, false),
        (MigrationAllowed { appraisal: a() }, "migration-allowed", 102, Rejected, false),
        (NonCompliantUvm { expected: text(), status: None, appraisal: a() }, "non-compliant-uvm", 103, Rejected, false),
        (
            InvalidEnclaveCode { expected: hosts.clone(), actual: hosts[0], appraisal: a() },
            "invalid-enclave-code",
            104,
            Rejected,
            false,
        ),
        (
            WrongMeasurement { expected: vec![measurement], actual: measurement, appraisal: a() },
            "wrong-measurement",
            105,
            Rejected,
            false,
        ),
        (
            WrongUvm { field: "feed", expected: text(), actual: text(), appraisal: a() },
            "wrong-uvm",
            106,
            Rejected,
            false,
        ),
        (UvmTooOld { minimum: 2, actual: 1, appraisal: a() }, "uvm-too-old", 107, Rejected, false),
        (WrongMaaPolicy { expected: digest, actual: digest, appraisal: a() }, "wrong-maa-policy", 108, Rejected, false),
        (WrongTeeKind { expected: "a", actual: "b", appraisal: a() }, "wrong-tee-kind", 109, Rejected, false),
        (WrongVmpl { expected: vec![0], actual: 1, appraisal: a() }, "wrong-vmpl", 110, Rejected, false),
        (identity, "wrong-guest-identity", 111, Rejected, false),
        (tcb, "tcb-too-old", 112, Rejected, false),
        (firmware, "firmware-too-old", 113, Rejected, false),
        (GuestSvnTooOld { minimum: 2, actual: 1, appraisal: a() }, "guest-svn-too-old", 114, Rejected, false),
        (guest_policy, "wrong-guest-policy", 115, Rejected, false),
        (platform, "wrong-platform-info", 116, Rejected, false),
        (
            MissingMitigations { vector: "launch", expected: 1, actual: 0, appraisal: a() },
            "missing-mitigations",
            117,
            Rejected,
            false,
        ),
        (
            WrongChip { field: "product", expected: text(), actual: text(), appraisal: a() },
            "wrong-chip",
            118,
            Rejected,
            false,
        ),
        (NotReported { claim: "chip id", appraisal: a() }, "not-reported", 119, Rejected, false),
        (TokenTooOld { maximum: second, actual: second, appraisal: a() }, "token-too-old", 120, Rejected, false),
        (NotPostQuantum { actual: text(), appraisal: a() }, "not-post-quantum", 121, Rejected, false),
        (NotAnEnclave { attestation_type: text() }, "not-an-enclave", 201, Untrusted, false),
        (WrongAttester { expected: issuer(), actual: text() }, "wrong-attester", 202, Untrusted, false),
        (ChannelMismatch { attested: spki, connected: spki }, "channel-mismatch", 203, Untrusted, false),
        (ChannelNotBound { reason: self::ChannelNotBound::LegacyAnswer }, "channel-not-bound", 204, Untrusted, false),
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
    ]
}

#[test]
fn codes_and_numbers_of_errors_are_frozen() {
    let golden = golden();
    for (error, code, number, category, retryable) in &golden {
        let actual = (error.code(), error.number(), error.category(), error.is_retryable());
        assert_eq!(actual, (*code, *number, *category, *retryable), "{error}");
        assert_eq!(error.appraisal().is_some(), *category == Category::Rejected, "{code}");
        let json = serde_json::json!({
            "code": code,
            "number": number,
            "category": category,
            "retryable": retryable,
            "request_sent": *code == "invalid-response",
            "message": error.to_string(),
        });
        assert_eq!(serde_json::to_value(error).unwrap(), json);
        let text = error.to_string();
        assert!(text.starts_with(|first: char| !first.is_uppercase()) || text.starts_with("AMD's"), "{text}");
        assert!(!text.contains("  ") && !text.ends_with('.'), "{text}");
    }
    let codes: BTreeSet<_> = golden.iter().map(|(_, code, ..)| code).collect();
    let numbers: BTreeSet<_> = golden.iter().map(|(_, _, number, ..)| number).collect();
    assert_eq!((codes.len(), numbers.len()), (golden.len(), golden.len()), "one name and number for each");
}

#[test]
fn the_golden_table_has_every_error() {
    let source = include_str!("../../../src/error/codes.rs");
    let facts = source.split("fn code_number_category(&self)").nth(1).unwrap();
    let frozen: BTreeSet<&str> = facts
        .match_indices("(\"")
        .map(|(at, _)| {
            let rest = &facts[at + 2..];
            &rest[..rest.find('"').unwrap()]
        })
        .collect();
    let golden = golden();
    let listed: BTreeSet<&str> = golden.iter().map(|(_, code, ..)| *code).collect();
    assert_eq!(frozen, listed);
}

#[test]
fn a_policy_is_not_a_verdict() {
    // Of two policies that differ the digests do, so that no cache takes the verdict of one for that of the other.
    let policies: [Policy; 4] = [maa_policy(), both_policy(), amd_policy(), vm_policy()];
    let digests: BTreeSet<_> = policies.iter().map(|policy| policy.digest().to_string()).collect();
    assert_eq!(digests.len(), policies.len());
}
