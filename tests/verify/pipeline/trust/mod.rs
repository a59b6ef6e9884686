//! Evidence that is genuine, and would pass for more than it is.

mod amd;
mod maa;
mod revocation;

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
    assert_eq!(violations(&refused.unwrap_err()), [Violation::NotReported { claim: "product" }]);
    let chips = maa_policy().require_chip_ids([vek().chip_id()]).unwrap();
    for masked in [None, Some(ChipId::new([0; 64]))] {
        let mut guest = container();
        guest.snp.chip_id = masked;
        let refused = attest(&guest, &chips).unwrap_err();
        assert_eq!(violations(&refused), [Violation::NotReported { claim: "chip id" }]);
    }
}
