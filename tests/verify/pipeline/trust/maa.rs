//! Under MAA trust: key sets, instances, kinds of TEE.

use super::*;

const CONTAINER: &str = "a confidential container";
const VM: &str = "a confidential VM";
const DIRECT: &str = "a confidential VM, attested directly";

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
fn a_measured_container_is_judged_by_its_measurement_alone() {
    let mut guest = container();
    guest.compliance_status = None;
    guest.uvm = None;
    let trust = || Trust::maa(ISSUER).unwrap();
    let measured = |of| Policy::confidential_container_by_measurement(trust(), workload(), [of]).unwrap();
    let attested = attest(&guest, &measured(guest.snp.measurement)).unwrap();
    assert!(matches!(check(&attested, "compliance").0, Verdict::NotEvaluated(_)));
    let other = blindbox_attestation::Measurement::new([1; 48]);
    let wrong = Violation::WrongMeasurement { expected: vec![other], actual: guest.snp.measurement };
    assert_eq!(violations(&attest(&guest, &measured(other)).unwrap_err()), [wrong]);
    // The host data of a measured utility VM is as fixed as ever.
    let mut other = guest.clone();
    other.snp.host_data = blindbox_attestation::HostData::new([0; 32]);
    let refused = attest(&other, &measured(guest.snp.measurement)).unwrap_err();
    let wrong = Violation::InvalidEnclaveCode { expected: vec![host_data()], actual: other.snp.host_data };
    assert_eq!(violations(&refused), [wrong]);
    // A VM of the same measurement is no container, whatever else is required of its status.
    guest.compliance_status = Some("azure-compliant-cvm".into());
    let wrong = Violation::WrongTeeKind { expected: CONTAINER, actual: DIRECT };
    for policy in [
        measured(guest.snp.measurement),
        measured(guest.snp.measurement).require_compliance_status(["azure-compliant-cvm"]).unwrap(),
    ] {
        assert_eq!(attest(&guest, &policy).unwrap_err().violation(), Some(&wrong));
    }
}

#[test]
fn one_kind_of_tee_never_passes_for_another() {
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
