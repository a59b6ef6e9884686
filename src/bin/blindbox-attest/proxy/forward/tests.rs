//! A session that a refusal closed: when it is tried again, and when not. No time passes in these tests: the pause is zero or longer
//! than any test.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "tests; clippy does not see that, since they need a feature besides"
)]

use std::future::Future;
use std::time::Duration;

use blindbox_attestation::emulator::{BlindBox, EmulatedClock, Fault, Gate, Knob, Maa};
use blindbox_attestation::{Trust, UvmRequirement, Verifier, Workload};

use super::*;
use crate::proxy::origins::Origins;
use crate::proxy::redirects::Redirects;
use crate::proxy::session::Start;

const NEVER: Duration = Duration::from_secs(3600);

/// A forwarder whose session has just been closed by a refusal, and the BlindBox, which is not debugged any more.
async fn closed(retry_pause: Duration) -> (BlindBox, Forwarder) {
    let maa = Maa::builder().clock(&EmulatedClock::stopped()).start().await.unwrap();
    let blindbox = BlindBox::builder(&maa).start().await.unwrap();
    let issuer = blindbox.maa_issuer();
    let trust = Trust::maa(issuer.as_str()).unwrap().require_maa_policy_hash(blindbox.maa_policy_hash()).unwrap();
    let workload = Workload::binds_its_own_key(blindbox.host_data());
    let policy =
        blindbox_attestation::Policy::confidential_container(trust, workload, UvmRequirement::at_least(100)).unwrap();
    let verifier = Verifier::builder()
        .clock(blindbox.clock().clone())
        .only_application_roots(blindbox.tls_root_pem())
        .collateral_roots(maa.tls_root_pem())
        .build()
        .unwrap();
    let peer = match ProxySession::open(verifier, &blindbox.url(), policy, Start::Attested, retry_pause).await {
        Ok(peer) => Arc::new(peer),
        Err(_) => panic!("the emulated BlindBox is refused"),
    };
    let session = peer.session().unwrap();
    let forwarder = Forwarder {
        guard: Guard::new(Vec::new(), "", None, Origins::new(Vec::new())),
        peer,
        bodies: Bodies::new(0, 0, Duration::ZERO, Duration::ZERO),
        answers: Answers { redirects: Redirects::new(&blindbox.url(), false).unwrap(), most: 0 },
        attestations: Arc::new(AttestationLog::new(None)),
    };
    // In the last fifth of an attestation a request renews it.
    let attested = session.attestation();
    blindbox.clock().advance((attested.expires_at().as_secs() - attested.issued_at().as_secs()) * 9 / 10);
    blindbox.set(Knob::Debug);
    assert_eq!(code(&forwarder).await, Err("debug-mode"));
    (blindbox, forwarder)
}

/// The status of a response to a request, or the error's code.
async fn code(forwarder: &Forwarder) -> Result<StatusCode, &'static str> {
    let session = forwarder.peer.session().map_err(|error| error.code())?;
    forwarder.send(session.get("/")).await.map(|response| response.status()).map_err(|error| error.code())
}

fn attempts(blindbox: &BlindBox) -> usize {
    blindbox.agent_traffic().count("/attest/maa")
}

/// Until it is so, for at most a minute, which only a test that hangs takes.
async fn bounded<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_closed_opens_again_when_the_peer_is_in_order() {
    let (blindbox, forwarder) = closed(Duration::ZERO).await;
    assert_eq!(code(&forwarder).await, Err("debug-mode"));
    assert_eq!(forwarder.peer.not_ready().map(|error| error.code()), Some("debug-mode"));
    blindbox.reset();
    assert_eq!(code(&forwarder).await, Ok(StatusCode::OK));
    assert_eq!(forwarder.peer.not_ready(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_closed_is_not_tried_again_all_the_time() {
    let (blindbox, forwarder) = closed(NEVER).await;
    assert_eq!(code(&forwarder).await, Err("debug-mode"));
    // It was tried again just now, and that was enough for a while.
    blindbox.reset();
    let before = attempts(&blindbox);
    let session = forwarder.peer.session().unwrap();
    let error = forwarder.send(session.get("/")).await.unwrap_err();
    assert_eq!(error.code(), "session-poisoned");
    assert_eq!(response::of_error(&error).status(), StatusCode::BAD_GATEWAY);
    assert_eq!((attempts(&blindbox), blindbox.traffic().application_bytes()), (before, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_hangs_up_has_no_session_tried_all_the_time() {
    let (blindbox, forwarder) = closed(NEVER).await;
    blindbox.reset();
    let gate = Gate::closed();
    blindbox.fail("/attest/", Fault::Held(gate.clone()));
    let before = attempts(&blindbox);
    // The request is dropped when its attempt has reached the agent.
    tokio::select! {
        outcome = code(&forwarder) => panic!("{outcome:?}"),
        () = bounded(gate.arrived(1)) => {}
    }
    assert_eq!(blindbox.traffic().application_bytes(), 0);
    // Its attempt goes on without it, and the next request has the outcome.
    gate.open();
    assert_eq!(bounded(code(&forwarder)).await, Ok(StatusCode::OK));
    assert_eq!(attempts(&blindbox), before + 1);
}
