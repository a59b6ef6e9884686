//! Under AMD trust: what CRLs say.

use super::*;

fn ask_revoked() -> AttestationError {
    let role = CertificateRole::Ask;
    AttestationError::InvalidReport(ReportError::Revoked { role, serial: hex::encode(amd().serial(role)) })
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
    let url = |kind: &str| format!("https://kdsintf.amd.com/{kind}/v1/Milan/crl");
    let of_another = CrlError::WrongDistributionPoint { expected: url("vcek"), actual: url("vlek") };
    assert_eq!(refused, Err(AttestationError::InvalidReport(ReportError::Crl(of_another))));
    // Whichever of them names it, and however old that one is.
    let revoked = named(SigningKey::Vlek).revoke(CertificateRole::Ask);
    for revoked in [revoked.issue(), revoked.next_update(Some(NOW.minus(1))).issue()] {
        for crls in [vec![vcek.clone(), revoked.clone()], vec![revoked, vcek.clone()]] {
            assert_eq!(with(crls), Err(ask_revoked()));
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
    let refused = attest_with(&endorsed_container(), &amd_policy(), crl(foreign));
    assert_eq!(refused, Err(AttestationError::InvalidReport(ReportError::Crl(CrlError::WrongSignature))));
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
            assert_eq!(attest_with(&endorsed_container(), &policy, change), Err(ask_revoked()));
        }
    }
    let off = with(Trust::amd().allow_no_revocation_check().unwrap());
    let attested = attest_with(&endorsed_container(), &off, crl(|| None)).unwrap();
    assert_eq!(check(&attested, "revocation"), (Verdict::Allowed, "NOT CHECKED: the policy turns it off".into()));
    let attested = attest(&endorsed_container(), &amd_policy()).unwrap();
    assert_eq!(check(&attested, "revocation"), (Verdict::Passed, "not revoked".into()));
}
