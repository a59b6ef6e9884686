//! Message keys: replaced, lost with a restart, one for each replica; and how a session follows.

use blindbox_attestation::emulator::{Fault, FrontEndKnob, Gate, Knob};
use blindbox_attestation::{AttestationError, Channel, Workload};

use super::{Behind, unreachable_after_sending};
use crate::lab::{Lab, hello, interrupted, interrupted_reason, soon, until};

#[tokio::test]
async fn a_session_follows_the_key_when_it_is_replaced() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    let first = session.attestation().message_key().unwrap();
    // The attestation ends, and the key was replaced.
    behind.lab.blindbox.clock().advance(3_601);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    let second = session.attestation().message_key().unwrap();
    assert_ne!(first, second);
    assert_eq!((session.channel(), behind.attestations()), (Channel::BoundMessage, 2));
}

/// In its last fifth an attestation is renewed by a request, with a session of its own.
#[tokio::test]
async fn an_attestation_is_renewed_before_its_end() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let end = session.attestation().expires_at();
    let age = end.as_secs() - session.attestation().issued_at().as_secs();
    behind.lab.blindbox.clock().advance(age - age / 10);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert!(session.attestation().expires_at() > end);
    assert_eq!(behind.attestations(), 2);
}

/// The key is gone with its instance: what may be processed twice is not sent again by itself.
#[tokio::test]
async fn an_instance_that_restarts_is_attested_again() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let first = session.attestation().message_key();
    behind.lab.blindbox.restart().await.unwrap();
    let error = session.post("/echo").body("x").send().await.unwrap_err();
    assert!(unreachable_after_sending(&error).contains("has the message key"), "{error}");
    assert_eq!((behind.processed("/echo"), behind.attestations()), (0, 1));
    assert_eq!(session.post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
    assert_ne!(session.attestation().message_key(), first);
    behind.lab.blindbox.restart().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!((behind.processed("/"), behind.attestations()), (1, 3));
}

/// A refused instance closes the session, and another attestation opens it.
#[tokio::test]
async fn a_refusal_closes_the_session() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    behind.lab.blindbox.set(Knob::RuntimeData(b"{}".to_vec()));
    session.reattest().await.unwrap_err();
    let sent = behind.front_end.traffic().count("/attest/message");
    assert_eq!(hello(&session).await.unwrap_err().code(), "session-poisoned");
    assert_eq!(behind.front_end.traffic().count("/attest/message"), sent);
    behind.lab.blindbox.reset();
    session.reattest().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

/// The instance was lost before the next one was refused: that closes the session too.
#[tokio::test]
async fn a_refusal_after_the_loss_of_the_instance_closes_the_session() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    behind.post_while(&session, FrontEndKnob::ReportUnknownKey).await;
    behind.lab.blindbox.set(Knob::RuntimeData(b"{}".to_vec()));
    assert_eq!(hello(&session).await.unwrap_err().code(), "false-attestation-report");
    behind.lab.blindbox.reset();
    let sent = behind.front_end.traffic().count("/attest/maa");
    assert_eq!(hello(&session).await.unwrap_err().code(), "session-poisoned");
    assert_eq!(behind.front_end.traffic().count("/attest/maa"), sent);
    session.reattest().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

/// A sealed decline says that the request was not processed: it is sent again, at most twice.
#[tokio::test]
async fn a_declined_request_is_sent_again_and_never_processed_twice() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    behind.lab.blindbox.set(Knob::DeclineMessages);
    let error = session.post("/echo").body("x").send().await.unwrap_err();
    assert!(!error.request_sent(), "{error}");
    assert_eq!(error.code(), "application-unreachable");
    assert_eq!(behind.front_end.traffic().count("/attest/message"), 3);
    assert_eq!((behind.processed("/echo"), behind.attestations()), (0, 1));
    behind.lab.blindbox.reset();
    assert_eq!(session.post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
}

/// With affinity one attestation serves; without, each request to another replica needs one, and no request is processed twice.
#[tokio::test]
async fn replicas_have_keys_of_their_own() {
    let (behind, other) = Behind::with_replica().await;
    let session = behind.connect().await.unwrap();
    let Behind { lab, front_end } = &behind;
    let count = |path: &str| lab.blindbox.traffic().count(path) + other.traffic().count(path);
    for _ in 0..6 {
        assert_eq!(session.post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
    }
    assert_eq!((count("/echo"), count("/attest/maa")), (6, 1));
    front_end.set(FrontEndKnob::SpreadOverReplicas);
    let mut processed = 0;
    for _ in 0..6 {
        match session.post("/echo").body("x").send().await {
            Ok(_) => processed += 1,
            Err(error) => assert!(unreachable_after_sending(&error).contains("has the message key"), "{error}"),
        }
    }
    assert_eq!(count("/echo"), 6 + processed);
}

/// A renewal is of the instance that was attested, where the front end goes by its cookie.
#[tokio::test]
async fn a_renewal_reaches_the_same_instance() {
    let (behind, other) = Behind::with_replica().await;
    let session = behind.connect().await.unwrap();
    let lab = &behind.lab;
    let first = session.attestation();
    let age = first.expires_at().as_secs() - first.issued_at().as_secs();
    // The front end sets its cookie once: the second renewal returns it too. By then the instance has another key.
    for renewals in 1..=2 {
        let before = session.attestation();
        lab.blindbox.clock().advance(age - age / 10);
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        assert!(session.attestation().expires_at() > before.expires_at());
        assert_eq!(session.attestation().message_key() == first.message_key(), renewals == 1);
        let attestations = [&lab.blindbox, &other].map(|blindbox| blindbox.traffic().count("/attest/maa"));
        assert_eq!(attestations, [1 + renewals, 0]);
    }
}

/// The front end leads the renewal to another replica: what was sealed to the first one ends with the attestation of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_instance_does_not_prolong_what_was_sealed_to_the_first() {
    let (behind, other) = Behind::with_replica().await;
    let session = behind.connect().await.unwrap();
    let Behind { lab, front_end } = &behind;
    let first = session.attestation();
    let gate = Gate::closed();
    front_end.set(FrontEndKnob::HoldRequests(gate.clone()));
    let held = tokio::spawn(session.post("/echo").body("x").send());
    gate.arrived(1).await;
    front_end.reset();
    let age = first.expires_at().as_secs() - first.issued_at().as_secs();
    lab.blindbox.clock().advance(age - age / 10);
    front_end.set(FrontEndKnob::SpreadOverReplicas);
    // The renewal went to one replica, and the request to the other.
    let error = session.post("/echo").body("x").send().await.unwrap_err();
    assert!(unreachable_after_sending(&error).contains("has the message key"), "{error}");
    front_end.reset();
    assert_ne!(session.attestation().message_key(), first.message_key());
    assert!(!held.is_finished());
    lab.blindbox.clock().advance(age / 10);
    assert_eq!(soon(held).await.unwrap().unwrap_err(), interrupted(AttestationError::AttestationExpired));
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.traffic().count("/echo") + other.traffic().count("/echo"), 0);
}

/// An agent keeps 1,024 numbers: none is given out while the response to one that far below has not begun. Then another attestation gives
/// more, and what is under way goes on.
#[tokio::test]
async fn a_slow_request_holds_up_no_others() {
    let lab = Lab::start().await;
    let policy = lab.policy_for(Workload::binds_its_own_message_key(lab.blindbox.host_data()));
    let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let gate = Gate::closed();
    lab.blindbox.fail("/echo", Fault::Held(gate.clone()));
    let slow = tokio::spawn(session.post("/echo").body("slow").send());
    gate.arrived(1).await;
    let attestations = || lab.blindbox.traffic().count("/attest/maa");
    for _ in 1..1_024 {
        hello(&session).await.unwrap();
    }
    assert_eq!(attestations(), 1);
    // It has a body that can be read once, and nothing of it is read before it can be sealed.
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(b"x"))]);
    let response = session.post("/generate").body_stream(stream).send().await.unwrap();
    assert_eq!((response.status().as_u16(), attestations()), (400, 2));
    hello(&session).await.unwrap();
    assert_eq!(attestations(), 2);
    assert!(!slow.is_finished());
    gate.open();
    assert_eq!(soon(slow).await.unwrap().unwrap().text().await.unwrap(), "slow");
    assert_eq!(lab.blindbox.traffic().count("/echo"), 1);
}

/// The first attempt was delivered, and the attestation for the second one fails: the error does not say that nothing was sent.
#[tokio::test]
async fn an_error_after_a_delivered_attempt_says_so() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    behind.front_end.set(FrontEndKnob::ReportUnknownKey);
    behind.lab.blindbox.fail("/attest/maa", Fault::status(500));
    let error = session.get("/echo").send().await.unwrap_err();
    assert_eq!((behind.processed("/echo"), behind.attestations()), (1, 2));
    assert!(matches!(interrupted_reason(&error), AttestationError::AgentUnreachable { .. }), "{error:?}");
}

/// A front end that says of each request that its key is not known would have the client attest for each.
#[tokio::test]
async fn attestations_that_a_front_end_causes_have_a_limit() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    behind.front_end.set(FrontEndKnob::ReportUnknownKey);
    let mut sent = 0;
    let limited = loop {
        let error = session.post("/echo").body("x").send().await.unwrap_err();
        if error.code() == "too-many-unattested-peers" {
            break error;
        }
        assert!(unreachable_after_sending(&error).contains("has the message key"), "{error}");
        sent += 1;
    };
    assert!(!limited.request_sent());
    // The first one was for `connect`.
    assert_eq!((sent, behind.attestations()), (31, 31));
    behind.front_end.reset();
    assert_eq!(hello(&session).await.unwrap_err(), limited);
    assert_eq!(behind.attestations(), 31);
    behind.lab.blindbox.clock().advance(60);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(behind.attestations(), 32);
}

/// A request that fails with an outage causes one attestation without a verdict, and uses up nothing.
#[tokio::test]
async fn an_outage_uses_up_no_attestations() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    behind.post_while(&session, FrontEndKnob::ReportUnknownKey).await;
    behind.lab.blindbox.fail("/attest/maa", Fault::status(500));
    for _ in 0..31 {
        assert_eq!(hello(&session).await.unwrap_err().code(), "agent-unreachable");
    }
    assert_eq!(behind.attestations(), 32);
    behind.lab.blindbox.reset();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

/// What many requests wait for counts once.
#[tokio::test]
async fn requests_that_share_an_attestation_count_once() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    for _ in 0..4 {
        behind.lab.blindbox.restart().await.unwrap();
        let gate = Gate::closed();
        behind.lab.blindbox.fail("/attest/maa", Fault::Held(gate.clone()));
        let open = || behind.front_end.traffic().connections().len();
        let before = open();
        let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(session.get("/").send())).collect();
        gate.arrived(1).await;
        // One for each that found the instance gone.
        until("all wait for it", || open() == before + 8).await;
        gate.open();
        for task in tasks {
            assert_eq!(soon(task).await.unwrap().unwrap().text().await.unwrap(), "hello from a BlindBox");
        }
        behind.lab.blindbox.reset();
    }
    assert_eq!(behind.attestations(), 5);
}

/// Attestations that are refused count, and those of the caller do not.
#[tokio::test]
async fn refusals_that_a_front_end_causes_have_a_limit() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let mut refused = 0;
    let limited = loop {
        behind.post_while(&session, FrontEndKnob::ReportUnknownKey).await;
        behind.lab.blindbox.set(Knob::RuntimeData(b"{}".to_vec()));
        let error = hello(&session).await.unwrap_err();
        behind.lab.blindbox.reset();
        if error.code() != "false-attestation-report" {
            break error;
        }
        refused += 1;
        assert!(refused <= 30, "no limit");
        session.reattest().await.unwrap();
    };
    assert_eq!((limited.code(), refused), ("too-many-unattested-peers", 30));
}
