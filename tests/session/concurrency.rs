//! Many tasks at once, and tasks that are given up on the way.

use std::future::Future;
use std::time::Duration;

use blindbox_attestation::emulator::{Fault, Gate, HttpVersions, Knob, Maa, OpenConnections};
use blindbox_attestation::{
    AttestationError, Channel, HostData, Session, Trust, UvmRequirement, Verifier, Violation, Workload,
};

use crate::fleet::{Balancing, Fleet, assert_once};
use crate::lab::{Lab, begun, hello, noticed, soon, until};

#[test]
fn what_users_hold_can_be_shared_and_sent() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Session>();
    shared::<Verifier>();
    shared::<AttestationError>();
    shared::<blindbox_attestation::Policy>();
    fn sent<T: Send>(_: impl FnOnce(&'static Verifier, &'static Session) -> T) {}
    sent(|verifier, _| verifier.connect("https://my-app.example", static_policy()));
    sent(|_, session| session.get("/").send());
    sent(|_, session| session.reattest());
    sent(|_, _| blindbox_attestation::verify_connection("https://my-app.example", static_policy()));
}

fn static_policy() -> &'static blindbox_attestation::Policy {
    unreachable!("only the types count")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_before_replicas_cause_one_fetch_and_one_attestation_per_key() {
    let mut fleet = Fleet::start(3, HttpVersions::Http2, Balancing::RoundRobin).await;
    let verifier = fleet.builder().deadline(Duration::from_secs(600)).build().unwrap();
    let policy = fleet.policy();
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let (verifier, url, policy) = (verifier.clone(), fleet.balancer.url(), policy.clone());
            Box::pin(async move {
                let session = verifier.connect(url, &policy).await?;
                let id = format!("{number}");
                // Not all of them: it is the attestations that count here.
                if number % 20 == 0 {
                    let answer = session.post("/echo").header("x-id", &id).body(id.clone()).send().await?;
                    assert_eq!(answer.text().await.unwrap(), id);
                }
                Ok::<_, AttestationError>(())
            })
        })
        .collect();
    for task in begun(tasks).await {
        task.await.unwrap().unwrap();
    }
    fleet.audit();
    assert_eq!(fleet.maa.key_set_fetches(), 1);
    assert_eq!(fleet.attestations().into_values().collect::<Vec<_>>(), [1, 1, 1]);
    let ids: Vec<_> = (0..1000).step_by(20).map(|number| number.to_string()).collect();
    assert_once(&fleet.arrivals(), &ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_on_a_session_that_lost_its_connections() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let mut fleet = Fleet::start(1, http, Balancing::RoundRobin).await;
        let session = fleet.connect().await.unwrap();
        fleet.replicas[0].rotate_tls_key(OpenConnections::Drop);
        noticed().await;
        // One response at a time takes HTTP/1.1 longer.
        let count = if http == HttpVersions::Http1 { 200 } else { 1000 };
        let tasks: Vec<_> = (0..count)
            .map(|number| {
                let (session, id) = (session.clone(), format!("{number}"));
                tokio::spawn(async move {
                    let answer = session.post("/echo").header("x-id", &id).body(id.clone()).send().await?;
                    assert_eq!(answer.text().await.unwrap(), id);
                    Ok::<_, AttestationError>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        fleet.audit();
        // The key before and the key after.
        assert_eq!(fleet.attestations().into_values().collect::<Vec<_>>(), [1, 1]);
        let ids: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        assert_once(&fleet.arrivals(), &ids);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_verifier_and_two_policies_in_either_order_and_at_once() {
    let lab = Lab::start().await;
    let accepts = lab.policy();
    let other_code = Workload::binds_its_own_key(HostData::new([7; 32]));
    let another_maa = Maa::start().await.unwrap();
    let other_trust = Trust::maa(another_maa.issuer()).unwrap();
    let other_trust = other_trust.require_maa_policy_hash(lab.blindbox.maa_policy_hash()).unwrap();
    let same_code = Workload::binds_its_own_key(lab.blindbox.host_data());
    let refusing = [
        (lab.policy_for(other_code), "invalid-enclave-code"),
        (lab.policy().require_vmpl([1]).unwrap(), "wrong-vmpl"),
        (
            blindbox_attestation::Policy::confidential_container(
                lab.trust(),
                same_code.clone(),
                UvmRequirement::at_least(9999),
            )
            .unwrap(),
            "uvm-too-old",
        ),
        // The agent does not get tokens there.
        (
            blindbox_attestation::Policy::confidential_container(other_trust, same_code, UvmRequirement::at_least(100))
                .unwrap(),
            "maa-token-not-found",
        ),
    ];
    let roots = lab.maa.tls_root_pem() + &another_maa.tls_root_pem();
    for (refuses, code) in &refusing {
        let verifier = lab.builder().collateral_roots(&roots).build().unwrap();
        let connect = |policy| verifier.connect(lab.blindbox.url(), policy);
        for first in [&accepts, refuses] {
            let second = if first == &accepts { refuses } else { &accepts };
            for policy in [first, second, first] {
                match connect(policy).await {
                    Ok(session) => {
                        assert!(policy == &accepts, "{code}");
                        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
                    }
                    Err(error) => {
                        assert!(policy == refuses, "{error:?}");
                        assert_eq!(error.code(), *code);
                    }
                }
            }
        }
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let policy = if number % 2 == 0 { accepts.clone() } else { refuses.clone() };
                let (verifier, url) = (verifier.clone(), lab.blindbox.url());
                tokio::spawn(async move { (number % 2 == 0, verifier.connect(url, &policy).await.map(drop)) })
            })
            .collect();
        for task in tasks {
            let (accepted, outcome) = task.await.unwrap();
            assert_eq!(outcome.is_ok(), accepted, "{code}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn what_a_session_has_found_out_is_no_other_sessions() {
    let lab = Lab::start().await;
    let verifier = lab.verifier();
    let lenient = verifier.connect(lab.blindbox.url(), &lab.policy().allow_debug().unwrap()).await.unwrap();
    let strict = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    lab.blindbox.set(Knob::Debug);
    lenient.reattest().await.unwrap();
    assert_eq!(hello(&lenient).await.unwrap(), "hello from a BlindBox");
    let error = strict.reattest().await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
    let error = hello(&strict).await.unwrap_err();
    assert_eq!(error, AttestationError::SessionPoisoned { cause: "debug-mode" });
    assert_eq!(hello(&lenient).await.unwrap(), "hello from a BlindBox");
}

/// The other session would refuse the key too: what is under way there ends, and nothing more is sent.
#[tokio::test]
async fn a_refusal_reaches_every_session_with_the_same_policy() {
    let lab = Lab::start().await;
    let verifier = lab.verifier();
    let connect = async || verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    let (one, other, elsewhere) = (connect().await, connect().await, lab.connect().await.unwrap());
    let slow = one.get("/slow?ms=600000").send();
    let mut slow = std::pin::pin!(slow);
    while lab.blindbox.traffic().count("/slow") == 0 {
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(slow.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
        tokio::task::yield_now().await;
    }
    lab.blindbox.set(Knob::Debug);
    let debug_mode = |error: &AttestationError| matches!(error.violation(), Some(Violation::DebugMode));
    assert!(debug_mode(&other.reattest().await.unwrap_err()));
    let before = lab.blindbox.traffic().application_requests();
    let error = slow.await.unwrap_err();
    assert!(debug_mode(&error), "{error:?}");
    let error = hello(&one).await.unwrap_err();
    assert_eq!(error, AttestationError::SessionPoisoned { cause: "debug-mode" });
    assert_eq!(lab.blindbox.traffic().application_requests(), before);
    // Verdicts are not shared between verifiers, whose roots may differ.
    assert_eq!(hello(&elsewhere).await.unwrap(), "hello from a BlindBox");
}

/// Gives a future up after each of these times, in milliseconds; what it was is over in time later on.
async fn give_up<F: Future>(waits: &[u64], future: impl Fn() -> F) {
    for wait in waits {
        let _ = tokio::time::timeout(Duration::from_millis(*wait), future()).await;
    }
    // And after each of its first steps.
    for steps in 1..30 {
        let mut future = Box::pin(future());
        for _ in 0..steps {
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx))).await;
            if polled.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

const WAITS: &[u64] = &[0, 1, 2, 3, 5, 8, 13, 21, 34];

async fn in_time<T>(what: &str, future: impl Future<Output = Result<T, AttestationError>>) -> T {
    soon(future).await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
}

#[tokio::test]
async fn tasks_that_are_given_up_leave_nothing_stuck() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let (verifier, policy) = (lab.verifier(), lab.policy());
        let connect = || verifier.connect(lab.blindbox.url(), &policy);
        for slow in [false, true] {
            if slow {
                lab.blindbox.fail("/attest/", Fault::Slow(Duration::from_millis(15)));
                lab.maa.fail(Fault::Slow(Duration::from_millis(15)));
            }
            give_up(WAITS, connect).await;
            let session = in_time("a connection", connect()).await;

            give_up(WAITS, || session.reattest()).await;
            in_time("an attestation", session.reattest()).await;

            // Opening a connection to a new key.
            for wait in WAITS {
                lab.blindbox.rotate_tls_key(OpenConnections::Drop);
                give_up(&[*wait], || hello(&session)).await;
            }
            noticed().await;
            assert_eq!(in_time("a request", hello(&session)).await, "hello from a BlindBox");

            // Renewal.
            let issued_at = session.attestation().issued_at();
            lab.blindbox.clock().advance(2881);
            give_up(WAITS, || hello(&session)).await;
            noticed().await;
            assert_eq!(in_time("a request", hello(&session)).await, "hello from a BlindBox");
            lab.blindbox.clock().advance(3600);
            assert_eq!(in_time("a request", hello(&session)).await, "hello from a BlindBox");
            assert!(session.attestation().issued_at() > issued_at);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_take_over_what_a_task_gave_up() {
    let lab = Lab::start().await;
    let (verifier, url, policy) = (lab.verifier(), lab.blindbox.url(), lab.policy());
    lab.blindbox.fail_times("/attest/", 1, Fault::Hang);
    let connect = || {
        let (verifier, url, policy) = (verifier.clone(), url.clone(), policy.clone());
        tokio::spawn(async move { verifier.connect(url, &policy).await.map(drop) })
    };
    // The first asks and is left without a response; the others find that it has asked, and wait for it.
    let first = connect();
    until("the agent is asked", || lab.blindbox.traffic().count("/attest/maa") > 0).await;
    let others: Vec<_> = (0..20).map(|_| connect()).collect();
    until("all have a connection", || lab.blindbox.traffic().tls_connections() >= 21).await;
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    first.abort();
    for task in others {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 2);
}

/// Futures are moved through the stacks of callers and runtimes, of which a debug build uses much.
#[tokio::test]
async fn futures_are_small() {
    let lab = Lab::start().await;
    let (verifier, url, policy) = (lab.verifier(), lab.blindbox.url(), lab.policy());
    let session = verifier.connect(&url, &policy).await.unwrap();
    let sizes = [
        std::mem::size_of_val(&verifier.connect(&url, &policy)),
        std::mem::size_of_val(&blindbox_attestation::verify_connection(&url, &policy)),
        std::mem::size_of_val(&session.get("/").send()),
        std::mem::size_of_val(&session.reattest()),
    ];
    assert!(sizes.iter().all(|size| *size < 16 << 10), "{sizes:?}");
}

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
        lab.blindbox.drop_connections().await;
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
