//! How long an attestation is valid, and what ends it early.

use std::time::{Duration, Instant};

use blindbox_attestation::emulator::{BlindBox, EmulatedClock, Fault, HttpVersions, Knob, OpenConnections, TcpProxy};
use blindbox_attestation::maa::TokenError;
use blindbox_attestation::{AttestationError, Session, TimeProvider, UnixTime, Violation};

use crate::fleet::{Balancing, Fleet};
use crate::lab::{self, Lab, hello, in_time, interrupted, noticed, until};

const BOTH_VERSIONS: [HttpVersions; 2] = [HttpVersions::Http1, HttpVersions::Http2];

/// A request that has no response for a long time, once it has arrived.
async fn under_way(session: &Session, blindbox: &BlindBox) -> tokio::task::JoinHandle<AttestationError> {
    let (before, session) = (blindbox.traffic().count("/slow"), session.clone());
    let task = tokio::spawn(async move { session.get("/slow?ms=600000").send().await.unwrap_err() });
    until("the request arrives", || blindbox.traffic().count("/slow") > before).await;
    task
}

async fn soon(task: tokio::task::JoinHandle<AttestationError>) -> AttestationError {
    lab::soon(task).await.unwrap()
}

fn life_of(session: &Session) -> u64 {
    session.attestation().expires_at().as_secs() - session.attestation().issued_at().as_secs()
}

#[tokio::test]
async fn a_life_ends_at_the_earliest_of_its_ends() {
    let lab = Lab::start().await;
    let of = async |policy| life_of(&lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap());
    assert_eq!(of(lab.policy().require_max_session_age(Duration::from_secs(600)).unwrap()).await, 600);
    assert_eq!(of(lab.policy()).await, 3600);
    // The token's own end.
    let soon = lab.blindbox.now().as_secs() + 900;
    lab.blindbox.set(Knob::claim("exp", soon));
    let life = of(lab.policy()).await;
    assert!((895..=900).contains(&life), "{life}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_its_end_no_request_leaves_whatever_fails() {
    for http in BOTH_VERSIONS {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        hello(&session).await.unwrap();
        lab.blindbox.clock().advance(3600);
        lab.blindbox.traffic().clear_requests();
        lab.blindbox.fail("/attest/", Fault::status(500));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move { hello(&session).await.unwrap_err() })
            })
            .collect();
        for task in tasks {
            let error = task.await.unwrap();
            assert!(matches!(error, AttestationError::AgentUnreachable { .. }), "{error:?}");
        }
        lab.blindbox.recover();
        lab.blindbox.set(Knob::Debug);
        let error = hello(&session).await.unwrap_err();
        assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
        assert_eq!(lab.blindbox.traffic().application_requests(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_its_answer_ends_with_the_attestation() {
    for http in BOTH_VERSIONS {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        let task = under_way(&session, &lab.blindbox).await;
        lab.blindbox.clock().advance(3600);
        assert_eq!(soon(task).await, interrupted(AttestationError::AttestationExpired));
    }
}

#[tokio::test]
async fn an_answer_that_began_in_time_may_finish() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.fail("/", Fault::Drip(Duration::from_millis(20)));
    let answer = session.get("/").send().await.unwrap();
    lab.blindbox.clock().advance(3600);
    assert_eq!(answer.text().await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn whatever_keeps_a_renewal_from_a_verdict_leaves_the_old_one() {
    let lab = Lab::start().await;
    // Short, since a hanging agent costs a part of it; what it ends on a busy machine is repeated.
    let verifier = lab.builder().deadline(Duration::from_secs(2)).build().unwrap();
    let connect = || in_time(async || verifier.connect(lab.blindbox.url(), &lab.policy()).await);
    for (fault, of_maa) in [
        (Fault::status(500), false),
        (Fault::Hang, false),
        (Fault::CloseEarly, false),
        (Fault::status(404), false),
        (Fault::too_many_requests(3600), false),
        (Fault::status(500), true),
        (Fault::Hang, true),
        (Fault::Body("<html>maintenance</html>".to_owned()), true),
    ] {
        let session = connect().await;
        let issued_at = session.attestation().issued_at();
        lab.blindbox.clock().advance(2881);
        if of_maa {
            // The key set of the first attestation is almost an hour old: too old soon.
            lab.blindbox.clock().advance(600);
            drop(connect().await);
            lab.maa.rotate_key();
            lab.maa.fail(fault.clone());
            lab.blindbox.clock().advance(11);
        } else {
            lab.blindbox.fail("/attest/", fault.clone());
        }
        for _ in 0..2 {
            // The verifier's deadline limits the renewal, and not the request that waits for it.
            let request = session.get("/").timeout(Duration::from_secs(60));
            assert_eq!(request.send().await.unwrap().text().await.unwrap(), "hello from a BlindBox", "{fault:?}");
        }
        assert_eq!(session.attestation().issued_at(), issued_at, "{fault:?}");
        // To its end, and not beyond.
        lab.blindbox.clock().advance(3600);
        lab.blindbox.traffic().clear_requests();
        let error = hello(&session).await.unwrap_err();
        let codes = ["agent-unreachable", "maa-unreachable", "maa-token-not-found", "timeout", "invalid-key-set"];
        assert!(codes.contains(&error.code()), "{fault:?}: {error:?}");
        assert_eq!(lab.blindbox.traffic().application_requests(), 0);
        lab.blindbox.recover();
        lab.maa.recover();
        in_time(async || hello(&session).await).await;
        assert!(session.attestation().issued_at() > issued_at);
    }
}

#[tokio::test]
async fn an_agent_that_hangs_at_renewal_does_not_cost_a_request() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.clock().advance(2881);
    lab.blindbox.fail("/attest/", Fault::Hang);
    // Shorter than the verifier's deadline: the renewal may take a part of it.
    for _ in 0..3 {
        let request = session.get("/").timeout(Duration::from_secs(20));
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), "hello from a BlindBox");
    }
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2);
}

#[tokio::test]
async fn a_renewal_that_is_given_up_is_not_begun_again_by_every_request() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.clock().advance(2881);
    lab.blindbox.fail("/attest/", Fault::Hang);
    let given_up = tokio::spawn({
        let session = session.clone();
        async move { hello(&session).await }
    });
    until("a renewal has begun", || lab.blindbox.traffic().count("/attest/maa") == 2).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_takes_the_key_out_at_once() {
    for http in BOTH_VERSIONS {
        // Untrusted and rejected evidence alike.
        for (knob, by_renewal) in [(Knob::Debug, true), (Knob::Debug, false), (Knob::OldNonce, true)] {
            let lab = Lab::with(|blindbox| blindbox.http(http)).await;
            let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
            let session = lab.verifier().connect(network.url(), &lab.policy()).await.unwrap();
            // A second connection under HTTP/1.1, so that one lies idle.
            let (one, two) = tokio::join!(hello(&session), hello(&session));
            one.unwrap();
            two.unwrap();
            let task = under_way(&session, &lab.blindbox).await;
            lab.blindbox.set(knob.clone());
            let refusal = if by_renewal {
                lab.blindbox.clock().advance(2881);
                hello(&session).await.unwrap_err()
            } else {
                session.reattest().await.unwrap_err()
            };
            let cause = if knob == Knob::Debug { "debug-mode" } else { "false-attestation-report" };
            assert_eq!(refusal.code(), cause);
            assert_eq!(soon(task).await, interrupted(refusal));
            // Its connections are closed.
            until("every connection is closed", || network.open_connections() == 0).await;
            // And nothing more is sent, whatever changes, until it is asked for.
            lab.blindbox.reset();
            lab.blindbox.rotate_tls_key(OpenConnections::Keep);
            let before = (network.connections(), lab.blindbox.traffic().application_requests());
            for _ in 0..3 {
                assert_eq!(hello(&session).await.unwrap_err(), AttestationError::SessionPoisoned { cause });
            }
            assert_eq!((network.connections(), lab.blindbox.traffic().application_requests()), before);
            session.reattest().await.unwrap();
            assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        }
    }
}

#[tokio::test]
async fn an_answer_of_a_refused_peer_is_cut_off() {
    for http in BOTH_VERSIONS {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
        let session = lab.verifier().connect(network.url(), &lab.policy()).await.unwrap();
        // Of its 21 bytes only the first comes.
        lab.blindbox.fail("/", Fault::Drip(Duration::from_secs(3600)));
        let mut answer = session.get("/?q").send().await.unwrap();
        // What a response says of itself is kept.
        let said = (answer.content_length(), answer.url(), answer.status().as_u16());
        assert_eq!(said, (Some(21), format!("{}/?q", network.url()).as_str(), 200));
        assert!(answer.headers().contains_key("content-type"));
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "h");
        lab.blindbox.recover();
        lab.blindbox.set(Knob::Debug);
        let refusal = session.reattest().await.unwrap_err();
        let error = loop {
            match answer.chunk().await {
                Ok(chunk) => drop(chunk.expect("an end without an error")),
                Err(error) => break error,
            }
        };
        let refusal = interrupted(refusal);
        assert_eq!(error, refusal);
        // It goes on saying so, and never looks like one that has ended.
        assert_eq!(answer.chunk().await.unwrap_err(), refusal);
        until("every connection is closed", || network.open_connections() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_from_before_the_end_is_cut_off_by_a_refusal_too() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http2)).await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.fail("/", Fault::Drip(Duration::from_secs(3600)));
    let mut answer = session.get("/").send().await.unwrap();
    answer.chunk().await.unwrap();
    lab.blindbox.recover();
    // Its attestation ends, the key is attested again, and then refused.
    lab.blindbox.clock().advance(3600);
    hello(&session).await.unwrap();
    lab.blindbox.set(Knob::Debug);
    let refusal = session.reattest().await.unwrap_err();
    assert!(matches!(refusal.violation(), Some(Violation::DebugMode)), "{refusal:?}");
    let error = loop {
        match answer.chunk().await {
            Ok(chunk) => drop(chunk.expect("an end without an error")),
            Err(error) => break error,
        }
    };
    assert_eq!(error, interrupted(refusal));
}

#[tokio::test]
async fn a_renewal_keeps_a_long_answer_going() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.fail_times("/echo", 1, Fault::Drip(Duration::from_millis(100)));
    let mut answer = session.post("/echo").body("0123456789012345678901234567890123456789").send().await.unwrap();
    answer.chunk().await.unwrap();
    lab.blindbox.clock().advance(2900);
    hello(&session).await.unwrap();
    // Long after the end of the attestation that it began under, and once more after one has ended.
    lab.blindbox.clock().advance(3605);
    hello(&session).await.unwrap();
    lab.blindbox.clock().advance(2500);
    assert_eq!(answer.text().await.unwrap().len(), 39);
}

#[tokio::test]
async fn a_poisoned_session_stays_so_until_an_attestation_succeeds() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.set(Knob::Debug);
    session.reattest().await.unwrap_err();
    let poisoned = AttestationError::SessionPoisoned { cause: "debug-mode" };
    assert_eq!(hello(&session).await.unwrap_err(), poisoned);
    let error = session.reattest().await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
    assert_eq!(hello(&session).await.unwrap_err(), poisoned);
    lab.blindbox.reset();
    lab.blindbox.fail("/attest/", Fault::status(500));
    let error = session.reattest().await.unwrap_err();
    assert!(matches!(error, AttestationError::AgentUnreachable { .. }), "{error:?}");
    assert_eq!(hello(&session).await.unwrap_err(), poisoned);
    // Nor does time heal it.
    lab.blindbox.recover();
    lab.blindbox.clock().advance(7200);
    assert_eq!(hello(&session).await.unwrap_err(), poisoned);
    assert_eq!(lab.blindbox.traffic().application_requests(), 0);
    session.reattest().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn the_refusal_of_one_key_leaves_the_others() {
    let fleet = Fleet::start(2, HttpVersions::Http1, Balancing::RoundRobin).await;
    let session = fleet.connect().await.unwrap();
    // One request on each replica.
    let on_first = under_way(&session, &fleet.replicas[0]).await;
    let on_second = under_way(&session, &fleet.replicas[1]).await;
    assert_eq!(fleet.count("/attest/maa"), 2);
    // The next connection goes to the first.
    fleet.replicas[0].set(Knob::Debug);
    let refusal = session.reattest().await.unwrap_err();
    assert!(matches!(refusal.violation(), Some(Violation::DebugMode)), "{refusal:?}");
    assert_eq!(soon(on_first).await, interrupted(refusal));
    noticed().await;
    assert!(!on_second.is_finished());
    // The next connection goes to the second.
    let before = fleet.replicas[0].traffic().application_requests();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(fleet.replicas[0].traffic().application_requests(), before);
    on_second.abort();
}

#[tokio::test]
async fn an_outage_is_over_when_it_is_over() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    lab.blindbox.fail("/attest/", Fault::status(500));
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    noticed().await;
    // More attempts than there may be new keys in a minute: it is always the same key.
    for _ in 0..150 {
        let error = hello(&session).await.unwrap_err();
        assert!(matches!(error, AttestationError::AgentUnreachable { .. }), "{error:?}");
    }
    lab.blindbox.recover();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn keys_that_maa_takes_out_of_use_are_out_of_use_here() {
    let lab = Lab::start().await;
    let verifier = lab.verifier();
    let session = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    hello(&session).await.unwrap();
    // The attestation was made under the old key and holds to its end.
    lab.maa.rotate_key();
    hello(&session).await.unwrap();
    lab.blindbox.clock().advance(2881);
    hello(&session).await.unwrap();
    assert_eq!(lab.maa.key_set_fetches(), 2);
    // A token under a key that MAA does not publish ends it.
    lab.maa.sign_with_unpublished_key();
    lab.blindbox.clock().advance(2881);
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error, AttestationError::InvalidToken(TokenError::UnknownKey { .. })), "{error:?}");
    assert_eq!(hello(&session).await.unwrap_err(), AttestationError::SessionPoisoned { cause: "invalid-token" });
}

/// MAA uses a new key a moment after its key set was fetched: that says nothing about the peer, which keeps its attestation.
#[tokio::test]
async fn a_key_that_maa_changes_just_after_a_fetch_ends_no_session() {
    let lab = Lab::start().await;
    let policy = lab.policy().require_max_session_age(Duration::from_secs(20)).unwrap();
    let verifier = lab.verifier();
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    // Another session has the key set fetched again.
    lab.maa.rotate_key();
    lab.blindbox.clock().advance(12);
    let _ = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(lab.maa.key_set_fetches(), 2);
    lab.maa.rotate_key();
    lab.blindbox.clock().advance(4);
    let requested = lab.blindbox.traffic().count("/attest/maa");
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), requested + 1, "a renewal");
    // The attestation ends without another one, and the session does not.
    lab.blindbox.clock().advance(4);
    let error = hello(&session).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), ("maa-unreachable", true), "{error:?}");
    assert_eq!(lab.maa.key_set_fetches(), 2);
    lab.blindbox.clock().advance(10);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.maa.key_set_fetches(), 3);
    // A set that was requested for the attestation itself does not have the key: that is a verdict.
    lab.maa.sign_with_unpublished_key();
    lab.blindbox.clock().advance(16);
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error, AttestationError::InvalidToken(TokenError::UnknownKey { .. })), "{error:?}");
    assert_eq!(hello(&session).await.unwrap_err(), AttestationError::SessionPoisoned { cause: "invalid-token" });
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
