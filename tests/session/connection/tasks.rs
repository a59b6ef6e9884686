//! Sessions among tasks and threads: shared, many at once, dropped at any point.

use std::time::Duration;

use blindbox_attestation::emulator::{Fault, Gate};
use blindbox_attestation::{Channel, Session};

use crate::lab::{Lab, hello, noticed, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_at_once_cause_one_fetch_and_one_attestation() {
    let lab = Lab::start().await;
    let verifier = lab.builder().deadline(Duration::from_secs(600)).build().unwrap();
    // No response comes before all calls run: one that began after the others had ended would rightly attest again. Nor does a
    // machine that is busy with a thousand handshakes interrupt a response for longer than the client waits for its next bytes.
    let gate = Gate::closed();
    lab.blindbox.fail("/attest/", Fault::Held(gate.clone()));
    lab.maa.fail(Fault::Held(gate.clone()));
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let (verifier, url, policy) = (verifier.clone(), lab.blindbox.url(), lab.policy());
            tokio::spawn(async move { verifier.connect(url, &policy).await.map(|session| session.channel()) })
        })
        .collect();
    until("each call has opened its connection", || lab.blindbox.traffic().tls_connections() == 1000).await;
    gate.open();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(Channel::Bound));
    }
    assert_eq!(lab.maa.key_set_fetches(), 1);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
}

#[tokio::test]
async fn futures_that_are_dropped_leave_nothing_stuck() {
    let lab = Lab::start().await;
    let verifier = lab.verifier();
    let policy = lab.policy();
    for path in ["certs", "/attest/"] {
        match path {
            "certs" => lab.maa.fail(Fault::Slow(Duration::from_secs(60))),
            path => lab.blindbox.fail(path, Fault::Hang),
        }
        for wait in [0, 1, 5, 20, 100] {
            let connecting = verifier.connect(lab.blindbox.url(), &policy);
            let _ = tokio::time::timeout(Duration::from_millis(wait), connecting).await.unwrap_err();
        }
        lab.maa.recover();
        lab.blindbox.recover();
    }
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    for wait in [0, 1, 5, 20] {
        lab.blindbox.drop_connections();
        let _ = tokio::time::timeout(Duration::from_millis(wait), session.get("/slow?ms=5000").send()).await;
    }
    noticed().await;
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[test]
fn sessions_and_verifiers_can_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Session>();
    shared::<blindbox_attestation::Verifier>();
}

#[tokio::test]
async fn what_a_caller_waits_for_fits_on_its_stack() {
    let lab = Lab::start().await;
    let (verifier, policy) = (lab.verifier(), lab.policy());
    let connecting = verifier.connect(lab.blindbox.url(), &policy);
    assert!(size_of_val(&connecting) < 8 * 1024, "connect: {}", size_of_val(&connecting));
    let session = connecting.await.unwrap();
    let sending = session.get("/").send();
    assert!(size_of_val(&sending) < 8 * 1024, "send: {}", size_of_val(&sending));
    let attesting = session.reattest();
    assert!(size_of_val(&attesting) < 8 * 1024, "reattest: {}", size_of_val(&attesting));
}
