//! The verdict on evidence that was collected, which is the one of a session.

use std::sync::Arc;

use super::*;

/// Of the endorsements, those count that the policy needs: what is only of use where it can be had refuses nothing.
#[tokio::test]
async fn what_is_missing_counts_where_the_policy_needs_it() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    lab.kds().fail("/", Fault::status(404));
    let trust = Trust::amd;
    let off = lab.hardware_policy(trust().allow_no_revocation_check().unwrap());
    let best_effort = lab.hardware_policy(trust().allow_best_effort_revocation().unwrap());
    let required = lab.amd_policy();
    let collected = lab.verifier().collect(lab.blindbox.url(), &required).await.unwrap();
    let missing: Vec<_> = collected.missing().collect();
    let [missing] = missing[..] else { panic!("{missing:?}") };
    assert_eq!(missing.code(), "kds-unreachable");
    for policy in [off, best_effort] {
        let connected = lab.verifier().connect(lab.blindbox.url(), &policy).await;
        assert!(connected.is_ok(), "{connected:?}");
        let verdict = collected.verify(&policy);
        assert!(verdict.is_ok(), "{verdict:?}");
    }
    assert_eq!(collected.verify(&required).map(drop), Err(missing.clone()));
    assert_eq!(refused(&lab, &required).await, *missing);
    // One of MAA is needed where MAA is trusted.
    lab.maa.fail(Fault::status(404));
    let both = lab.both_policy();
    let collected = lab.verifier().collect(lab.blindbox.url(), &both).await.unwrap();
    let codes: Vec<_> = collected.missing().map(AttestationError::code).collect();
    assert_eq!(codes, ["maa-unreachable", "kds-unreachable"]);
    let none = trust().allow_no_revocation_check().unwrap();
    assert!(collected.verify(&lab.hardware_policy(none)).is_ok());
    assert_eq!(collected.verify(&both).map(drop), Err(refused(&lab, &both).await));
}

/// An agent may take longer than clocks may disagree: its token is issued when it responds.
#[tokio::test]
async fn evidence_is_verified_for_the_time_at_which_it_came() {
    let lab = Arc::new(Lab::on(&Platform::new(Product::Milan)).await);
    let now = lab.blindbox.clock().now();
    let clock = {
        let lab = Arc::clone(&lab);
        // 90 s pass until the agent is asked.
        move || if lab.blindbox.traffic().requests().is_empty() { now.minus(90) } else { now }
    };
    let verifier = lab.builder().clock(clock).build().unwrap();
    let policy = lab.both_policy();
    let collected = verifier.collect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!((collected.asked_at, collected.received_at), (now.minus(90), now));
    assert_eq!(collected.verify(&policy).unwrap().verified_for(), now);
}
