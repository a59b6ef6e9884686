//! Evidence that is genuine, and would pass for more than it is.

use std::time::Duration;

use blindbox_attestation::emulator::amd::{AmdHierarchy, CSP_ID};
use blindbox_attestation::emulator::{Guest, TokenClaims};
use blindbox_attestation::snp::{AmdAnchors, CertificateError, CertificateRole, Crl, CrlError, ReportError, Vek};
use blindbox_attestation::uvm::EndorsementError;
use blindbox_attestation::{
    Attestation, AttestationError, Binding, Challenge, ChipId, Endorsements, Evidence, GuestIdentity, KeySetSource,
    Policy, Product, Sha256Digest, SigningKey, Trust, UvmRequirement, Verdict, Violation, Workload, verify,
};

use crate::scene::*;

type Change = fn(&mut Evidence, &mut Endorsements);

fn attest_with(guest: &Guest, policy: &Policy, change: impl FnOnce(&mut Evidence, &mut Endorsements)) -> Verdicts {
    let challenge = bound();
    let mut evidence = evidence(guest, &challenge.runtime_data());
    let mut endorsements = endorsements();
    change(&mut evidence, &mut endorsements);
    verify(&evidence, &endorsements, challenge, policy, NOW)
}

type Verdicts = Result<Attestation, AttestationError>;

fn violations(refused: &AttestationError) -> Vec<Violation> {
    let AttestationError::Rejected(rejection) = refused else { panic!("{refused:?}") };
    rejection.violations().cloned().collect()
}

fn check(attested: &Attestation, name: &str) -> (Verdict, String) {
    let check = attested.appraisal().check(name).unwrap_or_else(|| panic!("no {name} in\n{attested}"));
    (check.verdict, check.actual.to_string())
}

#[test]
fn evidence_that_the_policy_does_not_ask_for_has_no_say() {
    // Under MAA alone no one looks at a report, genuine or not; and the result does not speak of one.
    let nonsense: Change = |evidence, endorsements| {
        evidence.report = Some(vec![0; 1184]);
        evidence.uvm_endorsement = Some(vec![0; 100]);
        endorsements.vek = None;
    };
    let attested = attest_with(&container(), &maa_policy(), nonsense).unwrap();
    assert_eq!(attested.claims().hardware, None);
    // Nor at a token under AMD alone, whatever it allows itself to say.
    let attested = attest_with(&endorsed_container(), &amd_policy(), |evidence, endorsements| {
        evidence.token = Some("nonsense".into());
        endorsements.key_set = None;
    });
    let attested = attested.unwrap();
    assert_eq!(attested.claims().maa, None);
    assert!(matches!(check(&attested, "maa token").0, Verdict::NotEvaluated(_)));
    assert_eq!(attested.appraisal().check("compliance"), None);
}

#[test]
fn own_anchors_mark_the_result() {
    let built_in =
        |attested: &Attestation| assert_eq!(check(attested, "anchors"), (Verdict::Passed, "built-in".into()));
    let own = |attested: &Attestation, which: &str| {
        assert_eq!(check(attested, "anchors"), (Verdict::Allowed, format!("CUSTOM, the caller's own: {which}")));
    };
    built_in(&attest(&container(), &maa_policy()).unwrap());
    let pinned: Change = |_, endorsements| endorsements.key_set_source = KeySetSource::Pinned;
    own(&attest_with(&container(), &maa_policy(), pinned).unwrap(), "key set");
    let given: Change = |_, endorsements| endorsements.key_set_source = KeySetSource::Given;
    own(&attest_with(&container(), &maa_policy(), given).unwrap(), "key set");
    let fetched = |from| {
        let source = |_: &mut Evidence, endorsements: &mut Endorsements| endorsements.key_set_source = from;
        attest_with(&container(), &maa_policy(), source).unwrap()
    };
    built_in(&fetched(KeySetSource::BuiltInRoots));
    for roots in [KeySetSource::PlatformRoots, KeySetSource::OwnRoots] {
        own(&fetched(roots), "web roots of the key set");
    }
    own(&attest(&endorsed_container(), &amd_policy()).unwrap(), "hardware roots, issuer of uvm endorsements");
    let uvm = Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload(), own_uvm()).unwrap();
    own(&attest(&endorsed_container(), &uvm).unwrap(), "issuer of uvm endorsements");
    let all = attest_with(&endorsed_container(), &both_policy(), pinned).unwrap();
    own(&all, "hardware roots, issuer of uvm endorsements, key set");
    let measured =
        Policy::confidential_container_by_measurement(Trust::amd(), workload(), [container().snp.measurement]);
    own(&attest(&container(), &measured.unwrap()).unwrap(), "hardware roots");
}

#[test]
fn a_result_says_how_the_key_set_was_come_by() {
    for (source, expected) in [
        (
            KeySetSource::Pinned,
            (Verdict::NotEvaluated("pinned by the caller, who knows where it is from"), "pinned by the caller"),
        ),
        (KeySetSource::BuiltInRoots, (Verdict::Passed, "fetched from the instance, under the compiled-in web roots")),
        (KeySetSource::PlatformRoots, (Verdict::Passed, "fetched from the instance, under the platform's roots")),
        (KeySetSource::OwnRoots, (Verdict::Passed, "fetched from the instance, under the caller's own roots")),
        (KeySetSource::Given, (Verdict::NotEvaluated("given by the caller, who knows where it is from"), "given")),
    ] {
        let attested = attest_with(&container(), &maa_policy(), |_, given| given.key_set_source = source).unwrap();
        assert_eq!(check(&attested, "key set"), (expected.0, expected.1.to_owned()));
    }
}

#[test]
fn only_the_pinned_roots_count_whatever_comes_along() {
    let real = |_: &mut Evidence, endorsements: &mut Endorsements| endorsements.amd_anchors = AmdAnchors::builtin();
    let refused = attest_with(&endorsed_container(), &amd_policy(), real).unwrap_err();
    assert_eq!(refused.code(), "invalid-report", "the emulator is not AMD");
    // A chain of the same names, with a report and a VCEK that fit it.
    let forger = AmdHierarchy::impostor(Product::Milan);
    let forged = forger.vcek().issue();
    let guest = endorsed_container();
    let challenge = bound();
    let data = challenge.runtime_data();
    let mut evidence = evidence(&guest, &data);
    evidence.report = Some(report(&guest, &data).sign(&forged));
    let mut endorsements = endorsements();
    let chain = Some((forger.ask().to_vec(), forger.ark().to_vec()));
    endorsements.vek = Some(Vek::Received { der: forged.der().to_vec(), chain });
    let refused = verify(&evidence, &endorsements, challenge, &amd_policy(), NOW).unwrap_err();
    assert_eq!(refused.code(), "invalid-report");
}

/// The certificates that the agent sent are part of the evidence: they count where the caller has none, and are no more trusted.
#[test]
fn certificates_of_the_agent_count_where_the_caller_gives_none() {
    let with_certificates = |pem: &str| {
        let change = |evidence: &mut Evidence, endorsements: &mut Endorsements| {
            evidence.certificates = Some(pem.as_bytes().to_vec());
            endorsements.vek = None;
        };
        attest_with(&endorsed_container(), &amd_policy(), change).map(|_| ())
    };
    assert_eq!(with_certificates(&vek().pem()), Ok(()));
    let cause = CertificateError::WrongSignature;
    let forged = ReportError::Certificate { role: CertificateRole::Vek, cause };
    let impostor = AmdHierarchy::impostor(Product::Milan).vcek().issue().pem();
    assert_eq!(with_certificates(&impostor), Err(AttestationError::InvalidReport(forged)));
    let reason = format!("expected certificates as PEM with the report: {}", CertificateError::Malformed);
    assert_eq!(with_certificates("no PEM"), Err(AttestationError::InvalidAgentAnswer { reason }));
    // The caller's own come first.
    let both = |evidence: &mut Evidence, _: &mut Endorsements| evidence.certificates = Some(b"no PEM".to_vec());
    assert_eq!(attest_with(&endorsed_container(), &amd_policy(), both).map(|_| ()), Ok(()));
    let none = |_: &mut Evidence, endorsements: &mut Endorsements| endorsements.vek = None;
    let what = "the certificate of the key that signed the report";
    let missing = Err(AttestationError::MissingEvidence { what });
    assert_eq!(attest_with(&endorsed_container(), &amd_policy(), none).map(|_| ()), missing);
}

#[test]
fn someone_elses_endorsement_counts_only_where_the_policy_names_him() {
    let production = Policy::confidential_container(Trust::amd(), workload(), UvmRequirement::at_least(101)).unwrap();
    let refused = attest(&endorsed_container(), &production);
    let Err(AttestationError::InvalidUvmEndorsement(EndorsementError::WrongIssuer { expected, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(expected, UvmRequirement::PRODUCTION_ISSUER);
}

#[test]
fn a_crl_that_is_older_than_required_is_as_good_as_none() {
    let issued = NOW.minus(86_400);
    let crl = move |_: &mut Evidence, endorsements: &mut Endorsements| {
        endorsements.crls = vec![Crl::Received(amd().crl().this_update(issued).issue())];
    };
    let policy = |seconds| {
        let trust = Trust::amd().require_max_crl_age(Duration::from_secs(seconds)).unwrap();
        Policy::confidential_container(trust, workload(), own_uvm()).unwrap()
    };
    let attested = attest_with(&endorsed_container(), &policy(86_400), crl).unwrap();
    assert_eq!(check(&attested, "crl age"), (Verdict::Passed, format!("issued at {issued}")));
    let refused = attest_with(&endorsed_container(), &policy(86_399), crl);
    let reason = CrlError::TooOld { this_update: issued, max_age_seconds: 86_399, now: NOW };
    assert_eq!(refused, Err(AttestationError::RevocationUnavailable { reason }));
}

/// Offline both CRLs of a family can be given, in any order, as a verifier with a network asks for both.
#[test]
fn of_several_crls_each_revokes_and_one_must_be_about_the_issuer() {
    let named = |kind| amd().crl().distribution_point(kind);
    let with = |crls: Vec<Vec<u8>>| {
        attest_with(&endorsed_container(), &amd_policy(), move |_: &mut Evidence, endorsements: &mut Endorsements| {
            endorsements.crls = crls.iter().cloned().map(Crl::Received).collect();
        })
    };
    let (vcek, vlek) = (named(SigningKey::Vcek).issue(), named(SigningKey::Vlek).issue());
    for both in [vec![vcek.clone(), vlek.clone()], vec![vlek.clone(), vcek.clone()]] {
        assert_eq!(check(&with(both).unwrap(), "revocation"), (Verdict::Passed, "not revoked".into()));
    }
    let refused = with(vec![vlek.clone()]);
    let of_another = |refused: &Result<Attestation, AttestationError>| {
        matches!(
            refused,
            Err(AttestationError::InvalidReport(ReportError::Crl(CrlError::WrongDistributionPoint { .. })))
        )
    };
    assert!(of_another(&refused), "{refused:?}");
    // Whichever of them names it, and however old that one is.
    let revoked = named(SigningKey::Vlek).revoke(CertificateRole::Ask);
    for revoked in [revoked.issue(), revoked.next_update(Some(NOW.minus(1))).issue()] {
        for crls in [vec![vcek.clone(), revoked.clone()], vec![revoked, vcek.clone()]] {
            let refused = with(crls).unwrap_err();
            assert!(matches!(refused, AttestationError::InvalidReport(ReportError::Revoked { .. })), "{refused:?}");
        }
    }
    // Of what cannot be used the one that is about the issuer is reported.
    let stale = named(SigningKey::Vcek).next_update(Some(NOW.minus(1))).issue();
    let expected = CrlError::Stale { next_update: NOW.minus(1), now: NOW };
    for crls in [vec![vlek.clone(), stale.clone()], vec![stale, vlek.clone()]] {
        assert_eq!(with(crls), Err(AttestationError::RevocationUnavailable { reason: expected.clone() }));
    }
    // One that is forged takes nothing from a genuine one.
    let forged = AmdHierarchy::impostor(Product::Milan).crl().issue();
    assert_eq!(check(&with(vec![forged, vcek]).unwrap(), "revocation"), (Verdict::Passed, "not revoked".into()));
}

#[test]
fn a_list_that_is_needed_is_there_genuine_and_current() {
    let crl = |make: fn() -> Option<Vec<u8>>| {
        move |_: &mut Evidence, endorsements: &mut Endorsements| {
            endorsements.crls = make().map(Crl::Received).into_iter().collect()
        }
    };
    let ended = NOW.minus(1);
    let stale = move || Some(amd().crl().next_update(Some(NOW.minus(1))).issue());
    let refused = attest_with(&endorsed_container(), &amd_policy(), crl(stale));
    let expected = CrlError::Stale { next_update: ended, now: NOW };
    assert_eq!(refused, Err(AttestationError::RevocationUnavailable { reason: expected }));
    let refused = attest_with(&endorsed_container(), &amd_policy(), crl(|| None));
    assert_eq!(refused, Err(AttestationError::RevocationUnavailable { reason: CrlError::Missing }));
    let foreign = || Some(AmdHierarchy::impostor(Product::Milan).crl().issue());
    let refused = attest_with(&endorsed_container(), &amd_policy(), crl(foreign)).unwrap_err();
    assert!(matches!(refused, AttestationError::InvalidReport(ReportError::Crl(_))), "{refused:?}");
    let future = || Some(amd().crl().this_update(NOW.plus(1)).issue());
    let refused = attest_with(&endorsed_container(), &amd_policy(), crl(future));
    let expected = CrlError::NotYetValid { this_update: NOW.plus(1), now: NOW };
    assert_eq!(refused, Err(AttestationError::InvalidReport(ReportError::Crl(expected))));

    let with = |trust| Policy::confidential_container(trust, workload(), own_uvm()).unwrap();
    let best_effort = with(Trust::amd().allow_best_effort_revocation().unwrap());
    let none = "NOT CHECKED: no current list could be had";
    for change in [crl(|| None), crl(foreign), crl(stale)] {
        let attested = attest_with(&endorsed_container(), &best_effort, change).unwrap();
        assert_eq!(check(&attested, "revocation"), (Verdict::Allowed, none.into()));
    }
    // What a genuine list revokes is revoked, with the best effort too, and also when the list is old.
    let revoked = || Some(amd().crl().revoke(CertificateRole::Ask).issue());
    let old = || Some(amd().crl().revoke(CertificateRole::Ask).next_update(Some(NOW.minus(1))).issue());
    for policy in [amd_policy(), best_effort] {
        for change in [crl(revoked), crl(old)] {
            let refused = attest_with(&endorsed_container(), &policy, change).unwrap_err();
            assert!(matches!(refused, AttestationError::InvalidReport(ReportError::Revoked { .. })), "{refused:?}");
        }
    }
    let off = with(Trust::amd().allow_no_revocation_check().unwrap());
    let attested = attest_with(&endorsed_container(), &off, crl(|| None)).unwrap();
    assert_eq!(check(&attested, "revocation"), (Verdict::Allowed, "NOT CHECKED: the policy turns it off".into()));
    let attested = attest(&endorsed_container(), &amd_policy()).unwrap();
    assert_eq!(check(&attested, "revocation"), (Verdict::Passed, "not revoked".into()));
}

#[test]
fn a_key_of_many_chips_vouches_for_none() {
    // The chip id in the report is that of an accepted chip. Anyone who has the VLEK from any other chip can write it.
    let guest = endorsed_container();
    let vlek = amd().vlek().issue();
    let accepted = guest.snp.chip_id.unwrap();
    let by_vlek = |policy: &Policy| {
        let challenge = bound();
        let data = challenge.runtime_data();
        let mut evidence = evidence(&guest, &data);
        evidence.report = Some(report(&guest, &data).chip_id(accepted).sign(&vlek));
        let mut endorsements = endorsements();
        endorsements.vek = Some(Vek::from_der(vlek.der()));
        verify(&evidence, &endorsements, challenge, policy, NOW)
    };
    let vlek_only = |policy: Policy| policy.require_signing_keys([SigningKey::Vlek]).unwrap();
    for policy in [amd_policy(), both_policy()] {
        let policy = vlek_only(policy).require_chip_ids([accepted]).unwrap();
        let refused = by_vlek(&policy).unwrap_err();
        assert_eq!(violations(&refused), [Violation::NotReported { claim: "chip id" }]);
    }
    // Nor does it pass unless the policy names its kind or its provider.
    let wrong = |expected: &str, actual: &str| {
        let (expected, actual) = (expected.to_owned(), actual.to_owned());
        [Violation::WrongChip { field: "signing key", expected, actual }]
    };
    for policy in [amd_policy(), both_policy()] {
        assert_eq!(violations(&by_vlek(&policy).unwrap_err()), wrong("VCEK", "VLEK"));
        let vcek_only = policy.clone().require_signing_keys([SigningKey::Vcek]).unwrap();
        assert_eq!(violations(&by_vlek(&vcek_only).unwrap_err()), wrong("VCEK", "VLEK"));
        let both = policy.clone().require_signing_keys([SigningKey::Vcek, SigningKey::Vlek]).unwrap();
        for accepting in [vlek_only(policy.clone()), both] {
            let attested = by_vlek(&accepting).unwrap();
            assert_eq!(check(&attested, "signing key"), (Verdict::Passed, "VLEK".into()));
        }
        let attested = by_vlek(&policy.require_csp_ids([CSP_ID]).unwrap()).unwrap();
        let reason = "the provider is required, whose key is a VLEK";
        assert_eq!(check(&attested, "signing key"), (Verdict::NotEvaluated(reason), "VLEK".into()));
    }
    // Of a chip's own key the kind is checked too.
    let attested = attest(&guest, &amd_policy()).unwrap();
    assert_eq!(check(&attested, "signing key"), (Verdict::Passed, "VCEK".into()));
    let refused = attest(&guest, &vlek_only(amd_policy())).unwrap_err();
    assert_eq!(violations(&refused), wrong("VLEK", "VCEK"));
}

#[test]
fn an_author_key_counts_where_one_was_used() {
    let mut guest = endorsed_container();
    let digest = blindbox_attestation::KeyDigest::new([0x42; 48]);
    guest.snp.author_key_digest = digest;
    let policy = amd_policy().require_author_keys([digest]).unwrap();
    let refused = attest(&guest, &policy).unwrap_err();
    let Some(Violation::WrongGuestIdentity { field, expected, actual }) = refused.violation() else {
        panic!("the report says that no author key was used")
    };
    assert_eq!((*field, expected, actual.as_str()), ("author key", &digest.to_string(), "none"));
    assert!(attest_report(&guest, &policy, |report| report.key_info(1)).is_ok());
}

#[test]
fn a_measured_container_is_judged_by_its_measurement_alone() {
    let mut guest = container();
    guest.compliance_status = None;
    guest.uvm = None;
    let trust = || Trust::maa(ISSUER).unwrap();
    let measured = |of| Policy::confidential_container_by_measurement(trust(), workload(), [of]).unwrap();
    let attested = attest(&guest, &measured(guest.snp.measurement)).unwrap();
    assert!(matches!(check(&attested, "compliance").0, Verdict::NotEvaluated(_)));
    let other = blindbox_attestation::Measurement::new([1; 48]);
    assert!(matches!(
        attest(&guest, &measured(other)).unwrap_err().violation(),
        Some(Violation::WrongMeasurement { .. })
    ));
    // The host data of a measured utility VM is as fixed as ever.
    let mut other = guest.clone();
    other.snp.host_data = blindbox_attestation::HostData::new([0; 32]);
    let refused = attest(&other, &measured(guest.snp.measurement));
    assert!(matches!(refused.as_ref().unwrap_err().violation(), Some(Violation::InvalidEnclaveCode { .. })));
    // A VM of the same measurement is no container, whatever else is required of its status.
    guest.compliance_status = Some("azure-compliant-cvm".into());
    for policy in [
        measured(guest.snp.measurement),
        measured(guest.snp.measurement).require_compliance_status(["azure-compliant-cvm"]).unwrap(),
    ] {
        assert!(matches!(attest(&guest, &policy).unwrap_err().violation(), Some(Violation::WrongTeeKind { .. })));
    }
}

#[test]
fn one_kind_of_tee_never_passes_for_another() {
    const CONTAINER: &str = "a confidential container";
    const VM: &str = "a confidential VM";
    const DIRECT: &str = "a confidential VM, attested directly";
    let any_vm = || {
        let any = GuestIdentity::allow_any_azure_cvm();
        Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), any, Binding::OwnKey).unwrap()
    };
    let direct = || any_vm().allow_direct_vm_token().unwrap();
    let mut silent_direct = Guest::confidential_vm_direct();
    silent_direct.compliance_status = None;
    for (guest, policy, expected, actual) in [
        (Guest::confidential_vm(), maa_policy(), CONTAINER, VM),
        (Guest::confidential_vm_direct(), maa_policy(), CONTAINER, DIRECT),
        (container(), any_vm(), VM, CONTAINER),
        (container(), direct(), VM, CONTAINER),
        (Guest::confidential_vm_direct(), any_vm(), VM, DIRECT),
        (silent_direct, direct(), VM, CONTAINER),
    ] {
        let refused = attest(&guest, &policy).unwrap_err();
        assert_eq!(refused.violation(), Some(&Violation::WrongTeeKind { expected, actual }));
    }
    let attested = attest(&Guest::confidential_vm_direct(), &direct()).unwrap();
    assert_eq!(check(&attested, "kind of tee"), (Verdict::Allowed, DIRECT.into()));
    let attested = attest(&Guest::confidential_vm(), &direct()).unwrap();
    assert_eq!(check(&attested, "kind of tee"), (Verdict::Passed, VM.into()));
}

#[test]
fn a_vm_must_be_compliant_where_its_tee_is() {
    let mut guest = Guest::confidential_vm();
    guest.compliance_status = None;
    // Said at the top, where anyone who asked for the attestation of the VM does not write, but where no one judges either.
    let said = |claims: TokenClaims| claims.claim("x-ms-compliance-status", "azure-compliant-cvm");
    let refused = attest_claims(&guest, &vm_policy(), said).unwrap_err();
    let expected = Violation::NonCompliantUvm { expected: "azure-compliant-cvm".to_owned(), status: None };
    assert_eq!(refused.violation(), Some(&expected));
}

#[test]
fn an_instance_of_the_test_ring_or_of_anybody_is_said_so() {
    let at = |issuer: &str, trust: Trust| {
        let policy = Policy::confidential_container(trust, workload(), UvmRequirement::at_least(101)).unwrap();
        attest_claims(&container(), &policy, |claims| claims.claim("iss", issuer))
    };
    let test = "https://sharedneu.neu.test.attest.azure.net";
    let attested = at(test, Trust::maa(test).unwrap().allow_test_attester().unwrap()).unwrap();
    let (verdict, actual) = check(&attested, "maa token");
    assert_eq!(verdict, Verdict::Allowed);
    assert!(actual.starts_with("TEST RING of Azure: signed by https://sharedneu.neu.test.attest"), "{actual}");
    assert!(matches!(check(&attested, "maa policy hash").0, Verdict::NotEvaluated(_)));

    let own = "https://mine.neu.attest.azure.net";
    let attested = at(own, Trust::maa(own).unwrap().allow_any_maa_policy().unwrap()).unwrap();
    let (verdict, actual) = check(&attested, "maa policy hash");
    assert!(verdict == Verdict::Allowed && actual.starts_with("ANY: "), "{actual}");
    let applied = attested.claims().maa.as_ref().unwrap().policy_hash;
    let attested = at(own, Trust::maa(own).unwrap().require_maa_policy_hash(applied).unwrap()).unwrap();
    assert_eq!(check(&attested, "maa policy hash"), (Verdict::Passed, applied.to_string()));
    let pinned = Sha256Digest::new([1; 32]);
    let refused = at(own, Trust::maa(own).unwrap().require_maa_policy_hash(pinned).unwrap()).unwrap_err();
    assert_eq!(refused.violation(), Some(&Violation::WrongMaaPolicy { expected: pinned, actual: applied }));
}

#[test]
fn a_token_of_another_instance_is_no_token_of_this_one() {
    let refused = attest_claims(&container(), &maa_policy(), |claims| {
        claims.claim("iss", "https://sharedweu.weu.attest.azure.net")
    });
    match refused {
        Err(AttestationError::WrongAttester { expected, actual }) => {
            assert_eq!((expected.as_str(), actual.as_str()), (ISSUER, "https://sharedweu.weu.attest.azure.net"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn relaxations_of_the_channel_show_first() {
    let any_data = Workload::attests_any_data(host_data());
    let policy =
        Policy::confidential_container(Trust::maa(ISSUER).unwrap(), any_data, UvmRequirement::at_least(101)).unwrap();
    let policy = policy.allow_unbound_plain_http().unwrap();
    let challenge = Challenge::unbound_cleartext(NOW).unwrap();
    let evidence = evidence(&container(), &challenge.runtime_data());
    let attested = verify(&evidence, &endorsements(), challenge, &policy, NOW).unwrap();
    let table = attested.to_string();
    let expected = "ALLOWED        channel                   NOT BOUND AND IN CLEAR: anyone on the path reads and changes \
                    everything";
    assert_eq!(table.lines().next(), Some(expected));
    let reason = "plain HTTP has no certificate: nothing says who the peer is";
    assert_eq!(check(&attested, "server name"), (Verdict::NotEvaluated(reason), "any".to_owned()));
}

#[test]
fn a_product_of_the_callers_choice_is_required_of_every_evidence() {
    let milan = maa_policy().require_products([Product::Milan]).unwrap();
    assert!(attest(&container(), &milan).is_ok());
    // An older token does not say it.
    let refused = attest_claims(&container(), &milan, |claims| claims.without("x-ms-sevsnpvm-chip-family"));
    assert!(
        matches!(refused.as_ref().unwrap_err().violation(), Some(Violation::NotReported { claim: "product", .. })),
        "{refused:?}"
    );
    let chips = maa_policy().require_chip_ids([vek().chip_id()]).unwrap();
    for masked in [None, Some(ChipId::new([0; 64]))] {
        let mut guest = container();
        guest.snp.chip_id = masked;
        let refused = attest(&guest, &chips);
        assert!(
            matches!(refused.as_ref().unwrap_err().violation(), Some(Violation::NotReported { claim: "chip id", .. })),
            "{refused:?}"
        );
    }
}
