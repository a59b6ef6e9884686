//! A session that opens itself, and opens itself again.

use std::time::Duration;

use blindbox_attestation::emulator::{Fault, Gate, Knob, OpenConnections};
use blindbox_attestation::{AttestationError, ManagedSession, ManagedStatus};

use crate::lab::{Lab, noticed};

fn managed(lab: &Lab, cool_down: Duration) -> ManagedSession {
    lab.verifier().managed_session(lab.blindbox.url(), &lab.policy()).unwrap().cool_down(cool_down)
}

async fn hello(peer: &ManagedSession) -> Result<String, AttestationError> {
    peer.get("/").send().await?.text().await
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn it_connects_when_it_is_used_and_once_for_all() {
    let lab = Lab::start().await;
    let peer = managed(&lab, LONG);
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);
    peer.ready().await.unwrap();
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    let (one, two) = tokio::join!(hello(&peer), hello(&peer));
    assert_eq!((one.as_deref(), two.as_deref()), (Ok("hello from a BlindBox"), Ok("hello from a BlindBox")));
    peer.ready().await.unwrap();
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    assert_eq!(peer.last_error(), None);
}

#[tokio::test]
async fn what_is_wrong_with_the_settings_is_reported_at_once() {
    let lab = Lab::start().await;
    let url = lab.blindbox.url().replace("https", "http");
    let error = lab.verifier().managed_session(url, &lab.policy()).unwrap_err();
    assert_eq!(error.code(), "invalid-url");
}

#[tokio::test]
async fn a_failure_counts_for_the_cool_down() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::Debug);
    let peer = managed(&lab, LONG);
    let callers = (hello(&peer), hello(&peer), hello(&peer));
    let (one, two, three) = tokio::join!(callers.0, callers.1, callers.2);
    for outcome in [one, two, three, hello(&peer).await] {
        assert_eq!(outcome.unwrap_err().code(), "debug-mode");
    }
    assert_eq!(peer.ready().await.unwrap_err(), peer.last_error().unwrap());
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    // Without one, every call is an attempt.
    let peer = managed(&lab, Duration::ZERO);
    for attempts in [2, 3] {
        assert_eq!(hello(&peer).await.unwrap_err().code(), "debug-mode");
        assert_eq!(lab.blindbox.traffic().count("/attest/maa"), attempts);
    }
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    lab.blindbox.reset();
    assert_eq!(hello(&peer).await.as_deref(), Ok("hello from a BlindBox"));
    assert_eq!(peer.last_error(), None);
}

/// A refusal closes the session; the next request attests the peer again, and is sent only if it is good.
#[tokio::test]
async fn a_session_that_was_closed_is_attested_again() {
    let lab = Lab::start().await;
    let peer = managed(&lab, LONG);
    hello(&peer).await.unwrap();
    let handle = peer.session().await.unwrap();
    for still_refused in [false, true] {
        lab.blindbox.set(Knob::Debug);
        assert_eq!(handle.reattest().await.unwrap_err().code(), "debug-mode");
        let before = lab.blindbox.traffic().application_requests();
        if still_refused {
            assert_eq!(hello(&peer).await.unwrap_err().code(), "debug-mode");
            assert_eq!(lab.blindbox.traffic().application_requests(), before);
        } else {
            lab.blindbox.reset();
            assert_eq!(hello(&peer).await.as_deref(), Ok("hello from a BlindBox"));
            // It is the same session.
            assert_eq!(handle.get("/").send().await.unwrap().status().as_u16(), 200);
        }
    }
    // The refusal is in memory until the cool-down is over.
    lab.blindbox.reset();
    let attested = lab.blindbox.traffic().count("/attest/maa");
    assert_eq!(peer.ready().await.unwrap_err().code(), "debug-mode");
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), attested);
}

/// An attestation that has ended is no error of a request, which attests again; but nothing is ready before.
#[tokio::test]
async fn it_is_ready_only_with_an_attestation_that_is_valid() {
    let lab = Lab::start().await;
    let peer = managed(&lab, Duration::ZERO);
    peer.ready().await.unwrap();
    lab.blindbox.clock().advance(3600);
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    lab.blindbox.set(Knob::Debug);
    noticed().await;
    assert_eq!(peer.ready().await.unwrap_err().code(), "debug-mode");
    lab.blindbox.reset();
    peer.ready().await.unwrap();
    assert_eq!(hello(&peer).await.as_deref(), Ok("hello from a BlindBox"));
}

/// A refusal closes the session before a request takes its stream: it is sent after the next attempt, whole.
#[tokio::test]
async fn a_stream_is_sent_by_the_session_that_is_opened_for_it() {
    let lab = Lab::start().await;
    let peer = managed(&lab, LONG);
    let echo = || peer.post("/echo").body_reader(&b"a stream"[..]).send();
    assert_eq!(echo().await.unwrap().text().await.as_deref(), Ok("a stream"));
    lab.blindbox.set(Knob::Debug);
    assert_eq!(peer.session().await.unwrap().reattest().await.unwrap_err().code(), "debug-mode");
    lab.blindbox.reset();
    assert_eq!(echo().await.unwrap().text().await.as_deref(), Ok("a stream"));
    assert_eq!(lab.blindbox.traffic().count("/echo"), 2);
}

#[tokio::test]
async fn the_timeout_of_a_request_limits_the_attempt_too() {
    let lab = Lab::start().await;
    lab.blindbox.fail("/attest/", Fault::Hang);
    let limit = Duration::from_millis(100);
    let error = managed(&lab, LONG).get("/").timeout(limit).send().await.unwrap_err();
    assert_eq!(error, AttestationError::Timeout { what: "the request", after: limit });
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}

#[tokio::test]
async fn default_headers_are_those_of_a_handle() {
    let lab = Lab::start().await;
    let peer = managed(&lab, LONG);
    let tenant =
        peer.with_default_headers([("x-tenant".parse().unwrap(), "one".parse().unwrap())].into_iter().collect());
    hello(&tenant.unwrap()).await.unwrap();
    hello(&peer).await.unwrap();
    let sent = lab.blindbox.traffic().requests();
    let tenants: Vec<_> =
        sent.iter().filter(|request| request.path == "/").map(|request| request.header("x-tenant")).collect();
    assert_eq!(tenants, [Some("one"), None]);
    let refused =
        peer.with_default_headers([("host".parse().unwrap(), "other".parse().unwrap())].into_iter().collect());
    assert_eq!(refused.unwrap_err().code(), "invalid-request");
}

/// Callers that hang up would otherwise cause an attempt each.
#[tokio::test]
async fn an_attempt_outlives_the_caller_that_caused_it() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::Debug);
    let gate = Gate::closed();
    lab.blindbox.fail_times("/attest/", 1, Fault::Held(gate.clone()));
    let peer = managed(&lab, LONG);
    let caller = tokio::spawn({
        let peer = peer.clone();
        async move { peer.ready().await }
    });
    gate.arrived(1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    gate.open();
    // Its outcome is that of the next caller.
    assert_eq!(hello(&peer).await.unwrap_err().code(), "debug-mode");
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}

/// The status is what the next call would find, and causes no traffic.
#[tokio::test]
async fn the_status_makes_no_attempt() {
    let lab = Lab::start().await;
    lab.blindbox.fail("/attest/", Fault::status(500));
    let peer = managed(&lab, LONG);
    assert!(matches!(peer.status(), ManagedStatus::New));
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);

    assert_eq!(peer.ready().await.unwrap_err().code(), "agent-unreachable");
    let ManagedStatus::Closed { session: None, reason, retry_after } = peer.status() else {
        panic!("{:?}", peer.status())
    };
    assert_eq!(Some(reason), peer.last_error());
    assert!(retry_after > Duration::from_secs(3000) && retry_after <= LONG, "{retry_after:?}");
    let impatient = peer.clone().cool_down(Duration::ZERO);
    assert!(matches!(impatient.status(), ManagedStatus::Closed { retry_after: Duration::ZERO, .. }));

    lab.blindbox.recover();
    hello(&impatient).await.unwrap();
    let ManagedStatus::Open(session) = peer.status() else { panic!("{:?}", peer.status()) };
    lab.blindbox.set(Knob::Debug);
    assert_eq!(session.reattest().await.unwrap_err().code(), "debug-mode");
    let attested = lab.blindbox.traffic().count("/attest/maa");
    for _ in 0..2 {
        let status = peer.status();
        let ManagedStatus::Closed { session: Some(_), reason, retry_after } = status else { panic!("{status:?}") };
        assert_eq!((reason.code(), retry_after), ("session-poisoned", Duration::ZERO));
    }
    // The error of an attempt is the later reason.
    assert_eq!(hello(&peer).await.unwrap_err().code(), "debug-mode");
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), attested + 1);
    let status = peer.status();
    assert!(matches!(&status, ManagedStatus::Closed { reason, .. } if reason.code() == "debug-mode"), "{status:?}");
}
