//! Several instances behind one name, and instances that restart: each key is attested by itself, and nothing is sent to one
//! that is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use blindbox_attestation::emulator::{
    BlindBox, Fault, Gate, HttpVersions, Knob, OpenConnections, Relay, RelayMode, TcpProxy,
};
use blindbox_attestation::{AttestationError, Session, Violation};
use serde_json::json;

use crate::fleet::{Balancing, Fleet, assert_once};
use crate::lab::{Lab, hello, moment, noticed, soon, until};

const BOTH_VERSIONS: [HttpVersions; 2] = [HttpVersions::Http1, HttpVersions::Http2];

/// A request that must not be done twice.
async fn pay(session: &Session, id: &str) -> Result<String, AttestationError> {
    let answer = session.post("/echo").header("x-id", id).body(id.to_owned()).send().await?;
    Ok(answer.text().await.expect("an answer that began"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_balancer_every_version_one_after_the_other_and_at_once() {
    for (count, balancing, http) in [
        (2, Balancing::RoundRobin, HttpVersions::Http1),
        (2, Balancing::AtRandom, HttpVersions::Http2),
        (5, Balancing::RoundRobin, HttpVersions::Http2),
        (5, Balancing::AtRandom, HttpVersions::Http1),
        (5, Balancing::AtRandom, HttpVersions::Http2),
    ] {
        let mut fleet = Fleet::start(count, http, balancing).await;
        let session = fleet.connect().await.unwrap();
        let mut ids = Vec::new();
        // Each on a connection of its own.
        for round in 0..2 * count {
            fleet.balancer.cut();
            noticed().await;
            ids.push(format!("one after the other {round}"));
            assert_eq!(pay(&session, &ids[round]).await.unwrap(), ids[round]);
        }
        // All at once, on none, so that several connections are opened at the same time.
        fleet.balancer.cut();
        noticed().await;
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let (session, id) = (session.clone(), format!("at once {number}"));
                (id.clone(), tokio::spawn(async move { pay(&session, &id).await }))
            })
            .collect();
        for (id, task) in tasks {
            assert_eq!(task.await.unwrap().unwrap(), id);
            ids.push(id);
        }
        fleet.audit();
        assert_once(&fleet.arrivals(), &ids);
        let attestations = fleet.attestations();
        assert!(attestations.values().all(|times| *times == 1), "{count} {balancing:?} {http:?}: {attestations:?}");
        if balancing == Balancing::RoundRobin {
            assert_eq!(attestations.len(), count);
        }
    }
}

#[tokio::test]
async fn a_replica_that_is_refused_costs_what_meets_it_and_no_more() {
    for http in BOTH_VERSIONS {
        let mut fleet = Fleet::start(2, http, Balancing::RoundRobin).await;
        let session = fleet.connect().await.unwrap();
        fleet.replicas[1].set(Knob::Debug);
        let (mut good, mut refused) = (Vec::new(), 0);
        for round in 0..6 {
            fleet.balancer.cut();
            noticed().await;
            let id = round.to_string();
            match pay(&session, &id).await {
                Ok(_) => good.push(id),
                Err(error) if error.violation() == Some(&Violation::DebugMode) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!((good.len(), refused), (3, 3));
        assert_eq!(fleet.replicas[1].traffic().application_bytes(), 0);
        // Asked once: it is refused from memory afterwards, and the other one stays as it was.
        assert_eq!(fleet.replicas[1].traffic().count("/attest/maa"), 1);
        fleet.audit();
        assert_once(&fleet.arrivals(), &good);
    }
}

#[tokio::test]
async fn a_man_in_the_middle_among_the_replicas_gets_nothing() {
    for mode in [RelayMode::Forward, RelayMode::Replay, RelayMode::LegacyForm] {
        let mut fleet = Fleet::start(2, HttpVersions::Both, Balancing::AtRandom).await;
        let relay = Relay::builder().mode(mode).start(&fleet.replicas[0]).await.unwrap();
        let session = fleet.connect().await.unwrap();
        let mut targets = fleet.addresses();
        targets.push(relay.address());
        fleet.balancer.set_targets(&targets);
        let (mut good, mut caught) = (Vec::new(), 0);
        for round in 0..60 {
            if good.len() >= 3 && caught >= 3 {
                break;
            }
            fleet.balancer.cut();
            noticed().await;
            let id = round.to_string();
            match pay(&session, &id).await {
                Ok(_) => good.push(id),
                Err(
                    AttestationError::ChannelMismatch { .. }
                    | AttestationError::FalseAttestationReport { .. }
                    | AttestationError::ChannelNotBound { .. },
                ) => caught += 1,
                // The cut was noticed while the request was under way.
                Err(error) if matches!(error.reason(), AttestationError::ApplicationUnreachable { .. }) => {}
                Err(error) => panic!("{mode:?}: {error:?}"),
            }
        }
        assert!(good.len() >= 3 && caught >= 3, "{mode:?}: {} {caught}", good.len());
        assert_eq!((relay.traffic().application_requests(), relay.traffic().application_bytes()), (0, 0));
        assert_eq!(relay.traffic().count("/attest/maa"), 1);
        fleet.audit();
        assert_once(&fleet.arrivals(), &good);
    }
}

#[tokio::test]
async fn a_restart_under_way_is_an_error_and_the_next_request_finds_the_new_key() {
    for http in BOTH_VERSIONS {
        let mut fleet = Fleet::start(1, http, Balancing::RoundRobin).await;
        let session = fleet.connect().await.unwrap();
        let slow = tokio::spawn({
            let session = session.clone();
            async move { session.get("/slow?ms=600000").header("x-id", "slow").send().await }
        });
        until("the request arrives", || fleet.count("/slow") > 0).await;
        let old = fleet.replicas[0].tls_key();
        fleet.replicas[0].restart().await.unwrap();
        // It may have been done: it is not sent again.
        let error = soon(slow).await.unwrap().unwrap_err();
        assert!(error.request_sent(), "{error:?}");
        assert!(matches!(error.reason(), AttestationError::ApplicationUnreachable { .. }), "{error:?}");
        noticed().await;
        assert_eq!(pay(&session, "next").await.unwrap(), "next");
        assert_ne!(fleet.replicas[0].tls_key(), old);
        assert_eq!(session.attestation().key(), Some(&fleet.replicas[0].tls_key()));
        fleet.audit();
        assert_once(&fleet.arrivals(), [&"slow".to_owned(), &"next".to_owned()]);
        assert_eq!(fleet.attestations().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_and_rotations_under_load_lose_nothing_without_a_word() {
    for http in BOTH_VERSIONS {
        let mut fleet = Fleet::start(2, http, Balancing::RoundRobin).await;
        let session = fleet.connect().await.unwrap();
        let (answered, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let workers: Vec<_> = (0..6)
            .map(|worker| {
                let (session, answered, over) = (session.clone(), Arc::clone(&answered), Arc::clone(&over));
                tokio::spawn(async move {
                    let (mut good, mut bad) = (Vec::new(), Vec::new());
                    while !over.load(Ordering::SeqCst) {
                        let id = format!("{worker}-{}", good.len() + bad.len());
                        match pay(&session, &id).await {
                            Ok(answer) => {
                                assert_eq!(answer, id);
                                answered.fetch_add(1, Ordering::SeqCst);
                                good.push(id);
                            }
                            Err(error) => bad.push(error),
                        }
                        moment().await;
                    }
                    (good, bad)
                })
            })
            .collect();
        // Each when requests succeed again after the last one: however busy the machine is, it meets requests under way.
        let more_answers = async || {
            let before = answered.load(Ordering::SeqCst);
            until("requests are answered", || answered.load(Ordering::SeqCst) >= before + 20).await;
        };
        for round in 0..3 {
            more_answers().await;
            fleet.replicas[round % 2].restart().await.unwrap();
            more_answers().await;
            fleet.replicas[(round + 1) % 2].rotate_tls_key(OpenConnections::Keep);
            more_answers().await;
            fleet.replicas[(round + 1) % 2].rotate_tls_key(OpenConnections::Drop);
        }
        more_answers().await;
        over.store(true, Ordering::SeqCst);
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for worker in workers {
            let (more_good, more_bad) = worker.await.unwrap();
            good.extend(more_good);
            bad.extend(more_bad);
        }
        for error in &bad {
            // Under way when a connection was cut, or met a port that no one listened on for a moment.
            let passes = matches!(
                error.reason(),
                AttestationError::ApplicationUnreachable { .. } | AttestationError::AgentUnreachable { .. }
            );
            assert!(passes, "{error:?}");
        }
        fleet.audit();
        assert_once(&fleet.arrivals(), &good);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_64_keys_at_most() {
    // One response at a time on a connection, and one connection for each replica.
    let fleet = Fleet::start(66, HttpVersions::Http1, Balancing::RoundRobin).await;
    let session = fleet.connect().await.unwrap();
    let gate = Gate::closed();
    fleet.replicas.iter().for_each(|replica| replica.fail("/echo", Fault::Held(gate.clone())));
    let tasks: Vec<_> = (0..66).map(|_| tokio::spawn(session.get("/echo").send())).collect();
    gate.arrived(64).await;
    until("two have no key", || tasks.iter().filter(|task| task.is_finished()).count() == 2).await;
    gate.open();
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => {}
            Err(AttestationError::TooManyUnattestedPeers { .. }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(refused, 2);
    let used = fleet.replicas.iter().filter(|replica| replica.traffic().application_requests() > 0).count();
    assert_eq!(used, 64);
    // The end of the attestations makes room.
    fleet.maa.clock().advance(3600);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_attestations_are_under_way_at_most() {
    let lab = Lab::start().await;
    let mut replicas = Vec::new();
    for _ in 0..12 {
        replicas.push(BlindBox::builder(&lab.maa).http(HttpVersions::Http1).start().await.unwrap());
    }
    let balancer = TcpProxy::start(&[lab.blindbox.address()]).await.unwrap();
    let session = lab.verifier().connect(balancer.url(), &lab.policy()).await.unwrap();
    let addresses: Vec<_> = replicas.iter().map(BlindBox::address).collect();
    balancer.set_targets(&addresses);
    balancer.cut();
    noticed().await;
    replicas.iter().for_each(|replica| replica.fail("/attest/", Fault::Hang));
    let tasks: Vec<_> = (0..40)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.get("/").send().await })
        })
        .collect();
    let asked = || replicas.iter().map(|replica| replica.traffic().count("/attest/maa")).sum::<usize>();
    until("eight are under way", || asked() == 8).await;
    noticed().await;
    assert_eq!(asked(), 8);
    for task in tasks {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    let received: u64 = replicas.iter().map(|replica| replica.traffic().application_bytes()).sum();
    assert_eq!(received, 0);
    // All of them were given up, and nothing is stuck.
    replicas.iter().for_each(BlindBox::recover);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn a_peer_with_a_new_key_is_attested_before_it_gets_anything() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        let first = lab.blindbox.tls_key();

        lab.blindbox.rotate_tls_key(OpenConnections::Keep);
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        assert_eq!(lab.blindbox.traffic().connections().len(), 1, "a connection under an attested key stays good");

        lab.blindbox.drop_connections().await;
        noticed().await;
        lab.blindbox.traffic().clear_requests();
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        assert_ne!(lab.blindbox.tls_key(), first);
        assert_eq!(session.attestation().key(), Some(&lab.blindbox.tls_key()));
        let order: Vec<_> = lab.blindbox.traffic().requests().into_iter().map(|request| request.path).collect();
        assert_eq!(order, ["/attest/maa", "/"]);

        lab.blindbox.restart().await.unwrap();
        noticed().await;
        lab.blindbox.set(Knob::Debug);
        lab.blindbox.traffic().clear_requests();
        let error = hello(&session).await.unwrap_err();
        assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
        assert_eq!(lab.blindbox.traffic().application_requests(), 0);
    }
}

struct Replicas {
    lab: Lab,
    others: Vec<BlindBox>,
    balancer: TcpProxy,
}

impl Replicas {
    async fn start(count: usize, http: HttpVersions) -> Self {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let mut others = Vec::new();
        for _ in 1..count {
            others.push(BlindBox::builder(&lab.maa).http(http).start().await.unwrap());
        }
        let addresses: Vec<_> = std::iter::once(&lab.blindbox).chain(&others).map(BlindBox::address).collect();
        let balancer = TcpProxy::start(&addresses).await.unwrap();
        Self { lab, others, balancer }
    }

    fn all(&self) -> impl Iterator<Item = &BlindBox> {
        std::iter::once(&self.lab.blindbox).chain(&self.others)
    }

    fn count(&self, path: &str) -> usize {
        self.all().map(|replica| replica.traffic().count(path)).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_attested_once_each_and_no_request_is_sent_twice() {
    for (count, http) in [(2, HttpVersions::Http2), (2, HttpVersions::Http1), (5, HttpVersions::Http1)] {
        let replicas = Replicas::start(count, http).await;
        let session = replicas.lab.verifier().connect(replicas.balancer.url(), &replicas.lab.policy()).await.unwrap();
        // One after the other, each on a new connection, which the balancer sends to the next replica.
        for round in 1..=2 * count {
            replicas.balancer.cut();
            noticed().await;
            let answer = session.post("/generate").json(&json!({ "prompt": round })).send().await;
            assert_eq!(answer.unwrap().status().as_u16(), 400);
            assert_eq!(replicas.count("/generate"), round);
        }
        for replica in replicas.all() {
            assert_eq!(replica.traffic().count("/attest/maa"), 1, "{count} {http:?}");
            assert_eq!(replica.traffic().count("/generate"), 2, "{count} {http:?}");
        }
        // Every connection was used: none was opened in vain.
        assert_eq!(replicas.balancer.connections(), 2 * count + 1);

        // Many at the same time.
        let before = replicas.count("/echo");
        let tasks: Vec<_> = (0..60)
            .map(|number| {
                let session = session.clone();
                tokio::spawn(async move {
                    session.post("/echo").body(number.to_string()).send().await.unwrap().text().await
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().unwrap(), number.to_string());
        }
        assert_eq!(replicas.count("/echo") - before, 60);
        assert_eq!(replicas.count("/attest/maa"), count);
    }
}
