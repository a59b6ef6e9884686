//! How long an attestation is valid, what renews it, and what ends it. Steps of a renewal: `renewal.rs`.

use std::time::{Duration, Instant};

use blindbox_attestation::emulator::{EmulatedClock, Fault, Knob};
use blindbox_attestation::{AttestationError, TimeProvider, UnixTime, Violation};

use crate::lab::{Lab, hello, soon, until};

#[tokio::test]
async fn a_session_that_starts_at_its_end_is_attested_again_or_sends_nothing() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    let life = session.attestation().expires_at().as_secs() - session.attestation().issued_at().as_secs();
    assert_eq!(life, 3600);

    lab.blindbox.clock().advance(3600);
    lab.maa.stop().await;
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error, AttestationError::MaaUnreachable { .. }), "{error:?}");
    assert_eq!(lab.blindbox.traffic().count("/"), 1);

    lab.maa.restart().await.unwrap();
    let issued_at = session.attestation().issued_at();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert!(session.attestation().issued_at() > issued_at);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 3);
}

/// Only the monotonic clock advances.
struct WallClockStandsStill(UnixTime, EmulatedClock);

impl TimeProvider for WallClockStandsStill {
    fn now(&self) -> UnixTime {
        self.0
    }

    fn monotonic(&self) -> Instant {
        self.1.monotonic()
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_lengthen_a_life() {
    let lab = Lab::start().await;
    let policy = lab.policy().require_max_session_age(Duration::from_secs(1)).unwrap();
    let clock = WallClockStandsStill(lab.blindbox.now(), lab.blindbox.clock().clone());
    let verifier = lab.builder().clock(clock).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    lab.blindbox.clock().advance(1);
    lab.blindbox.set(Knob::Debug);
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
    assert_eq!(lab.blindbox.traffic().count("/"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_fifth_of_a_life_renews_it() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.clock().advance(2800);
    hello(&session).await.unwrap();
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);

    // No verdict to be had: the old one holds, and not every request tries again.
    lab.blindbox.clock().advance(100);
    lab.blindbox.fail("/attest/", Fault::status(500));
    for _ in 0..3 {
        hello(&session).await.unwrap();
    }
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2);
    lab.blindbox.recover();

    let session = lab.connect().await.unwrap();
    lab.blindbox.clock().advance(2900);
    let renewed_at = lab.blindbox.now();
    lab.blindbox.traffic().clear_requests();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { hello(&session).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    assert!(session.attestation().issued_at() >= renewed_at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_cancels_what_is_under_way() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let slow = tokio::spawn({
        let session = session.clone();
        async move { session.get("/slow?ms=30000").send().await }
    });
    until("the request arrives", || lab.blindbox.traffic().count("/slow") > 0).await;
    lab.blindbox.set(Knob::Debug);
    session.reattest().await.unwrap_err();
    let error = soon(slow).await.unwrap().unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
}
