//! Renewal: when and over which connection an attestation is renewed, what it costs requests, and keys that are no longer used.

use std::time::Duration;

use blindbox_attestation::emulator::{
    AgentLocation, BlindBox, Fault, Gate, HttpVersions, Knob, OpenConnections, TcpProxy,
};
use blindbox_attestation::{AttestationError, Session, Violation};

use crate::fleet::{Balancing, Fleet};
use crate::lab::{Lab, hello, noticed, soon, until};

/// The last fifth of an hour has begun.
const LATE: u64 = 2881;

/// Seven replicas whose agents have stopped to respond, and a session that has attested all of them.
async fn outage(deadline: Duration) -> (Fleet, Session) {
    let fleet = Fleet::start(7, HttpVersions::Http1, Balancing::RoundRobin).await;
    let verifier = fleet.builder().deadline(deadline).build().unwrap();
    let policy = fleet.policy().require_max_session_age(Duration::from_secs(60)).unwrap();
    let session = verifier.connect(fleet.balancer.url(), &policy).await.unwrap();
    // One request on each at the same time.
    let gate = Gate::closed();
    fleet.replicas.iter().for_each(|replica| replica.fail("/echo", Fault::Held(gate.clone())));
    let requests: Vec<_> = (0..7).map(|_| session.get("/echo").send()).map(tokio::spawn).collect();
    gate.arrived(7).await;
    gate.open();
    for request in requests {
        request.await.unwrap().unwrap();
    }
    assert_eq!(fleet.count("/attest/maa"), 7);
    // The last fifth has begun, and idle connections are not too old to be used.
    fleet.maa.clock().advance(49);
    fleet.replicas.iter().for_each(|replica| replica.fail("/attest/", Fault::Hang));
    (fleet, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_many_agents_leaves_half_of_a_requests_time() {
    let (_fleet, session) = outage(Duration::from_secs(60)).await;
    let request = session.get("/slow?ms=200").timeout(Duration::from_secs(20));
    assert_eq!(request.send().await.unwrap().text().await.unwrap(), "at last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_many_agents_costs_one_request_one_deadline() {
    let mut deadline = Duration::from_secs(10);
    // The last attempts are short. On a busy machine one may end before its agent has received anything.
    while !tries_each_agent_once(deadline).await {
        deadline *= 3;
        assert!(deadline < Duration::from_secs(100), "an agent is not tried");
    }
}

/// Returns false if an agent received nothing in the time of its attempt.
async fn tries_each_agent_once(deadline: Duration) -> bool {
    let (fleet, session) = outage(deadline).await;
    hello(&session).await.unwrap();
    // Each takes half of what is left of one deadline. With a deadline for each agent it would have been all of them.
    let mut tried = fleet.count("/attest/maa");
    assert!((7..14).contains(&tried), "{tried}");
    if tried == 7 {
        return false;
    }
    // What there was no time for is the next one's, until each of them was tried.
    while tried < 14 {
        hello(&session).await.unwrap();
        let more = fleet.count("/attest/maa");
        assert!((tried..=14).contains(&more), "{tried} {more}");
        if tried == more {
            return false;
        }
        tried = more;
    }
    // And the one after that waits for none of them.
    hello(&session).await.unwrap();
    assert_eq!(fleet.count("/attest/maa"), 14);
    true
}

/// The connections of all replicas are closed: each request opens one, and only the first of them tries a renewal.
#[tokio::test]
async fn of_many_agents_that_fail_one_is_tried_over_a_new_connection() {
    let (fleet, session) = outage(Duration::from_secs(60)).await;
    let next = async |requests| {
        for _ in 0..requests {
            fleet.balancer.cut();
            noticed().await;
            hello(&session).await.unwrap();
        }
        fleet.count("/attest/maa")
    };
    let expires_at = session.attestation().expires_at();
    for replica in &fleet.replicas {
        replica.recover();
        replica.fail("/attest/", Fault::status(500));
    }
    assert_eq!(next(9).await, 8);
    // A fiftieth of a minute later each may be tried again.
    fleet.maa.clock().advance(2);
    assert_eq!(next(9).await, 9);
    // A renewal that succeeds stops no other.
    fleet.replicas.iter().for_each(BlindBox::recover);
    fleet.maa.clock().advance(2);
    assert_eq!(next(7).await, 16);
    assert!(session.attestation().expires_at() > expires_at);
}

/// Connections that the server closes sooner than the next request comes: there is none open to renew over.
#[tokio::test]
async fn without_an_open_connection_the_one_for_the_request_renews() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
        let session = lab.verifier().connect(network.url(), &lab.policy()).await.unwrap();
        hello(&session).await.unwrap();
        let next = async || {
            network.cut();
            noticed().await;
            hello(&session).await
        };
        lab.blindbox.clock().advance(LATE);
        next().await.unwrap();
        assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2, "{http:?}");
        next().await.unwrap();
        assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2, "{http:?}");
        // And finds out that the peer is another.
        lab.blindbox.clock().advance(LATE);
        lab.blindbox.set(Knob::Debug);
        let (requests, error) = (lab.blindbox.traffic().application_requests(), next().await.unwrap_err());
        assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
        assert_eq!(lab.blindbox.traffic().application_requests(), requests);
    }
}

#[tokio::test]
async fn keys_of_instances_that_are_gone_cost_nothing() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http2)).await;
    let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    let session = lab.verifier().connect(network.url(), &lab.policy()).await.unwrap();
    for _ in 0..10 {
        lab.blindbox.rotate_tls_key(OpenConnections::Drop);
        noticed().await;
        hello(&session).await.unwrap();
    }
    let opened = network.connections();
    lab.blindbox.clock().advance(LATE);
    hello(&session).await.unwrap();
    assert_eq!(network.connections(), opened);
    until("the connections of the other keys are closed", || network.open_connections() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_no_one_uses_are_few() {
    let lab = Lab::with(|blindbox| blindbox.agent_place(AgentLocation::OwnPort).http(HttpVersions::Http2)).await;
    let network = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let session = verifier.connect(network.url(), &lab.policy()).await.unwrap();
    hello(&session).await.unwrap();
    // Each opens a connection, and evidence comes by another way.
    for _ in 0..40 {
        session.reattest().await.unwrap();
    }
    until("most of them are closed", || network.open_connections() <= 17).await;
    hello(&session).await.unwrap();
    until("one connection is left", || network.open_connections() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_restarts_all_the_time_does_not_lock_a_session_out() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http2)).await;
    let session = lab.connect().await.unwrap();
    // A response that is read slowly: its key stays while it is.
    lab.blindbox.fail("/echo", Fault::Drip(Duration::from_millis(600)));
    let echo = session.post("/echo").body("0123456789").send().await.unwrap();
    for _ in 0..70 {
        lab.blindbox.rotate_tls_key(OpenConnections::Keep);
        // The next request opens a connection, since the one there is was asked to end.
        session.reattest().await.unwrap();
    }
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(echo.text().await.unwrap(), "0123456789");
    // Responses that were read hold on to no key.
    let mut read = Vec::new();
    for _ in 0..66 {
        let mut answer = session.get("/").send().await.unwrap();
        while answer.chunk().await.unwrap().is_some() {}
        read.push(answer);
        lab.blindbox.rotate_tls_key(OpenConnections::Keep);
        session.reattest().await.unwrap();
    }
}

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
        async move { session.get("/slow?ms=600000").send().await }
    });
    until("the request arrives", || lab.blindbox.traffic().count("/slow") > 0).await;
    lab.blindbox.set(Knob::Debug);
    session.reattest().await.unwrap_err();
    let error = soon(slow).await.unwrap().unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
}
