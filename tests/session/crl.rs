//! AMD's CRLs over the network: which one is for whom, and what is known of them when a refresh fails.

use crate::lab::Lab;
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::emulator::{Fault, Kds, KdsKnob, Platform};
use blindbox_attestation::snp::{CertificateRole, CrlError, ReportError};
use blindbox_attestation::{AttestationError, Policy, Product, SigningKey, Trust, UnixTime, Verdict, Verifier};

fn revoked(role: CertificateRole) -> AttestationError {
    let serial = hex::encode(AmdHierarchy::new(Product::Milan).serial(role));
    AttestationError::InvalidReport(ReportError::Revoked { role, serial })
}

async fn connect(lab: &Lab, verifier: &Verifier, policy: &Policy) -> Result<Verdict, AttestationError> {
    let session = verifier.connect(lab.blindbox.url(), policy).await?;
    Ok(session.attestation().appraisal().check("revocation").unwrap().verdict)
}

async fn mirror(knobs: &[KdsKnob]) -> Kds {
    knobs.iter().cloned().fold(Kds::builder().plain_http(), |kds, knob| kds.knob(knob)).start().await.unwrap()
}

fn best_effort(lab: &Lab) -> Policy {
    lab.hardware_policy(Trust::amd().allow_best_effort_revocation().unwrap())
}

const ROLES: [(SigningKey, CertificateRole); 2] =
    [(SigningKey::Vcek, CertificateRole::Ask), (SigningKey::Vlek, CertificateRole::Asvk)];

async fn lab(kind: SigningKey) -> Lab {
    let platform = Platform::builder(Product::Milan);
    Lab::on(&if kind == SigningKey::Vlek { platform.vlek() } else { platform }.build()).await
}

#[tokio::test]
async fn the_crl_for_the_other_kind_of_key_is_not_taken() {
    for (kind, role) in ROLES {
        let lab = lab(kind).await;
        let place = tempfile::tempdir().unwrap();
        let swapped = mirror(&[KdsKnob::CrlOfOtherKind, KdsKnob::IssuerRevoked]).await;
        let by = |kds: &Kds| lab.builder().kds(kds.url()).cache_dir(place.path().join("cache")).build().unwrap();
        let url =
            |kind: SigningKey| format!("https://kdsintf.amd.com/{}/v1/Milan/crl", kind.to_string().to_lowercase());
        let other = if kind == SigningKey::Vcek { SigningKey::Vlek } else { SigningKey::Vcek };
        let wrong = CrlError::WrongDistributionPoint { expected: url(kind), actual: url(other) };
        let refused = connect(&lab, &by(&swapped), &lab.amd_policy()).await;
        assert_eq!(refused, Err(AttestationError::InvalidReport(ReportError::Crl(wrong))));
        assert_eq!(connect(&lab, &by(&swapped), &best_effort(&lab)).await, Ok(Verdict::Allowed));
        // Nor is it kept for the hour in which the right one would not be looked for.
        let right = mirror(&[KdsKnob::IssuerRevoked]).await;
        assert_eq!(connect(&lab, &by(&right), &lab.amd_policy()).await, Err(revoked(role)));
        assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    }
}

/// As AMD's of 2024 and 2025: neither of the two says for which kind of key it is.
#[tokio::test]
async fn of_crls_that_name_no_distribution_point_either_counts() {
    const UNNAMED: KdsKnob = KdsKnob::CrlNamesNoDistributionPoint;
    for (kind, role) in ROLES {
        let lab = lab(kind).await;
        let by = |kds: &Kds| lab.builder().kds(kds.url()).build().unwrap();
        let kds = mirror(&[UNNAMED]).await;
        let verifier = by(&kds);
        for _ in 0..2 {
            assert_eq!(connect(&lab, &verifier, &lab.amd_policy()).await, Ok(Verdict::Passed));
        }
        assert_eq!(kds.crl_fetches(), 2);
        for knobs in
            [&[UNNAMED, KdsKnob::IssuerRevoked][..], &[UNNAMED, KdsKnob::CrlOfOtherKind, KdsKnob::IssuerRevoked]]
        {
            let kds = mirror(knobs).await;
            for policy in [lab.amd_policy(), best_effort(&lab)] {
                assert_eq!(connect(&lab, &by(&kds), &policy).await, Err(revoked(role)), "{knobs:?}");
            }
        }
        // The other one is a help, and its absence no reason to refuse.
        let other = if kind == SigningKey::Vcek { "/vlek" } else { "/vcek" };
        let kds = mirror(&[UNNAMED]).await;
        kds.fail(other, Fault::status(500));
        assert_eq!(connect(&lab, &by(&kds), &lab.amd_policy()).await, Ok(Verdict::Passed));
    }
}

#[tokio::test]
async fn what_is_known_to_be_revoked_stays_so_when_a_refresh_fails() {
    let lab = lab(SigningKey::Vcek).await;
    let expected = Err(revoked(CertificateRole::Ask));
    for (in_memory, on_disk) in [(true, false), (false, true), (true, true)] {
        for unnamed in [false, true] {
            for policy in [lab.amd_policy(), best_effort(&lab)] {
                let place = tempfile::tempdir().unwrap();
                let knobs = [KdsKnob::IssuerRevoked, KdsKnob::CrlNamesNoDistributionPoint];
                let kds = mirror(&knobs[..if unnamed { 2 } else { 1 }]).await;
                let verifier = || {
                    let builder = lab.builder().kds(kds.url());
                    if on_disk { builder.cache_dir(place.path().join("cache")) } else { builder }.build().unwrap()
                };
                let kept = verifier();
                assert_eq!(connect(&lab, &kept, &policy).await, expected);
                kds.stop().await;
                for _ in 0..2 {
                    lab.blindbox.clock().advance(3601);
                    let later = if in_memory { &kept } else { &verifier() };
                    assert_eq!(connect(&lab, later, &policy).await, expected, "{in_memory} {on_disk} {unnamed}");
                }
            }
        }
    }
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}

/// A CRL that is known and names no one does not replace the one that is required to be looked for.
#[tokio::test]
async fn a_failed_refresh_of_a_crl_that_revokes_nothing_is_a_failure_where_one_is_required() {
    let lab = lab(SigningKey::Vcek).await;
    let kds = mirror(&[]).await;
    let verifier = lab.builder().kds(kds.url()).build().unwrap();
    assert_eq!(connect(&lab, &verifier, &lab.amd_policy()).await, Ok(Verdict::Passed));
    kds.stop().await;
    lab.blindbox.clock().advance(3601);
    let refused = connect(&lab, &verifier, &lab.amd_policy()).await;
    let Err(AttestationError::KdsUnreachable { reason, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(reason, format!("{}: connection refused", kds.url()));
    // Its own dates say that it is current, which is what the best effort asks for.
    assert_eq!(connect(&lab, &verifier, &best_effort(&lab)).await, Ok(Verdict::Passed));
    kds.restart().await.unwrap();
    assert_eq!(connect(&lab, &verifier, &lab.amd_policy()).await, Ok(Verdict::Passed));
}

#[tokio::test]
async fn crls_are_ordered_by_number_then_date_and_doubt_keeps_both() {
    let lab = lab(SigningKey::Vcek).await;
    let made = |day: u64| KdsKnob::CrlMadeAt(UnixTime::from_secs(1_700_000_000 + day * 86_400));
    let revoked = Err(revoked(CertificateRole::Ask));
    for unnamed in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let mut verdicts = Vec::new();
        for (number, day, revokes) in [
            (5, 2, true),
            // An earlier number; a tie; a number and a date that contradict each other, both ways; later beyond doubt.
            (4, 3, false),
            (5, 2, false),
            (5, 1, false),
            (6, 1, false),
            (7, 4, false),
        ] {
            let mut knobs = vec![KdsKnob::CrlNumber(number), made(day)];
            knobs.extend(revokes.then_some(KdsKnob::IssuerRevoked));
            knobs.extend(unnamed.then_some(KdsKnob::CrlNamesNoDistributionPoint));
            let kds = mirror(&knobs).await;
            lab.blindbox.clock().advance(3601);
            // As another process each time, with the directory of the one before.
            let verifier = lab.builder().kds(kds.url()).cache_dir(place.path().join("cache")).build().unwrap();
            verdicts.push(connect(&lab, &verifier, &lab.amd_policy()).await);
            assert!(kds.crl_fetches() > 0);
        }
        // One that names no distribution point may be about other certificates, however late it is.
        let last = if unnamed { revoked.clone() } else { Ok(Verdict::Passed) };
        let expected = [revoked.clone(), revoked.clone(), revoked.clone(), revoked.clone(), revoked.clone(), last];
        assert_eq!(verdicts, expected, "{unnamed}");
    }
}
