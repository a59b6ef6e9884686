//! Which calls share a verdict, and which must not.

use std::collections::BTreeMap;
use std::future::{Future as _, poll_fn};
use std::task::Poll;
use std::time::Duration;

use crate::lab::{Lab, begun, hello, noticed, until};
use blindbox_attestation::emulator::{BlindBox, Fault, Gate, Knob, TcpProxy};
use blindbox_attestation::{AttestationError, Violation};

async fn another(lab: &Lab) -> BlindBox {
    BlindBox::builder(&lab.maa).start().await.unwrap()
}

#[track_caller]
fn debug_mode<T>(outcome: Result<T, AttestationError>) {
    match outcome {
        Err(error) => assert_eq!(error.violation(), Some(&Violation::DebugMode), "{error:?}"),
        Ok(_) => panic!("accepted"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_after_a_refusal_at_renewal_gets_no_older_verdict() {
    let lab = Lab::start().await;
    let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    let (verifier, policy) = (lab.verifier(), lab.policy());
    let session = verifier.connect(network.url(), &policy).await.unwrap();
    lab.blindbox.clock().advance(2881);
    // A call that takes until its end here: the way is slow for its connection only. All that begin later overlap with it.
    network.delay(Duration::from_secs(3600));
    let before = network.connections();
    let slow = tokio::spawn({
        let (verifier, url, policy) = (verifier.clone(), network.url(), policy.clone());
        async move { verifier.connect(url, &policy).await.map(drop) }
    });
    until("the slow call has begun", || network.connections() > before).await;
    network.delay(Duration::ZERO);
    let _ = verifier.connect(network.url(), &policy).await.unwrap();
    lab.blindbox.set(Knob::Debug);
    debug_mode(hello(&session).await);
    debug_mode(verifier.connect(network.url(), &policy).await);
    slow.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reattest_is_about_evidence_from_after_the_call() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let gate = Gate::closed();
    lab.blindbox.fail_times("/attest/", 1, Fault::Held(gate.clone()));
    let first = tokio::spawn({
        let session = session.clone();
        async move { session.reattest().await.map(drop) }
    });
    // Its response is made, and on its way. From here on the peer is another.
    gate.arrived(1).await;
    lab.blindbox.set(Knob::Debug);
    let mut second = Box::pin(session.reattest());
    let begun = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
    assert!(begun);
    gate.open();
    // First, since an older response does not outweigh the refusal that the second call finds.
    first.await.unwrap().unwrap();
    debug_mode(second.await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_that_breaks_is_not_everybodys() {
    let lab = Lab::start().await;
    lab.blindbox.fail_times("/attest/", 1, Fault::CloseEarly);
    let (verifier, policy) = (lab.verifier(), lab.policy());
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, url, policy) = (verifier.clone(), lab.blindbox.url(), policy.clone());
            Box::pin(async move { verifier.connect(url, &policy).await.map(drop).map_err(|error| error.code()) })
        })
        .collect();
    let mut outcomes = BTreeMap::<_, usize>::new();
    for call in begun(calls).await {
        *outcomes.entry(call.await.unwrap()).or_default() += 1;
    }
    assert_eq!(outcomes, BTreeMap::from([(Ok(()), 49), (Err("agent-unreachable"), 1)]));
    // An agent that is down is not tried by one after the other.
    lab.blindbox.fail("/attest/", Fault::CloseEarly);
    let asked = lab.blindbox.traffic().count("/attest/maa");
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, url, policy) = (verifier.clone(), lab.blindbox.url(), policy.clone());
            Box::pin(async move { verifier.connect(url, &policy).await.map(drop).unwrap_err().code() })
        })
        .collect();
    for call in begun(calls).await {
        assert_eq!(call.await.unwrap(), "agent-unreachable");
    }
    let tried = lab.blindbox.traffic().count("/attest/maa") - asked;
    assert_eq!(tried, 2);
}

#[tokio::test]
async fn a_key_that_is_refused_again_and_again_crowds_out_no_other() {
    let lab = Lab::start().await;
    let (one, other) = (another(&lab).await, another(&lab).await);
    let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    let session = lab.verifier().connect(network.url(), &lab.policy()).await.unwrap();
    one.set(Knob::Debug);
    other.set(Knob::Debug);
    network.set_targets(&[one.address()]);
    // More often than refused keys are remembered.
    for _ in 0..257 {
        debug_mode(session.reattest().await);
    }
    network.set_targets(&[other.address()]);
    network.cut();
    noticed().await;
    for _ in 0..3 {
        debug_mode(hello(&session).await);
    }
    assert_eq!(other.traffic().count("/attest/maa"), 1);
}
