//! Sealed messages over three replicas behind a hostile front end, while keys rotate and instances restart: none is processed twice,
//! none is lost without a typed error, and the front end reads nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use blindbox_attestation::emulator::{BlindBox, EmulatedClock, FrontEnd, FrontEndKnob, Maa};
use blindbox_attestation::{Policy, Session, Trust, UvmRequirement, Verifier, Workload};

use crate::{MEMORY, PATIENCE};

/// What no front end may see.
const SECRET: &str = "the-secret-of-this-soak";
/// How many requests are under way at the same time.
const WORKERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak_behind_a_front_end() {
    soak(600, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --test soak -- --ignored --nocapture"]
async fn a_long_soak_behind_a_front_end() {
    let _alone = MEMORY.lock().await;
    soak(20_000, 200).await;
}

/// What the front end does, one after the other.
fn actions() -> Vec<Option<FrontEndKnob>> {
    [
        FrontEndKnob::RepeatRequest,
        FrontEndKnob::RequestToEveryReplica,
        FrontEndKnob::SpreadOverReplicas,
        FrontEndKnob::ReportUnknownKey,
        FrontEndKnob::WithholdResponse,
        FrontEndKnob::ForgeResponse(503),
        FrontEndKnob::ChangeRequest(1_150),
        FrontEndKnob::CutRequest(1_200),
        FrontEndKnob::RequestWithoutFinalChunk,
        FrontEndKnob::ChangeResponse(40),
        FrontEndKnob::ResponseWithoutFinalChunk,
        FrontEndKnob::ReorderChunks,
        FrontEndKnob::EarlierResponse,
        FrontEndKnob::EarlierRequest,
        FrontEndKnob::EarlierSession,
        FrontEndKnob::OwnMessageKey,
    ]
    .into_iter()
    .flat_map(|knob| [Some(knob), None])
    .collect()
}

struct Scene {
    _maa: Maa,
    replicas: Vec<BlindBox>,
    front_end: FrontEnd,
    verifier: Verifier,
    policy: Policy,
}

#[derive(Default)]
struct Tally {
    answered: Vec<usize>,
    errors: BTreeMap<&'static str, usize>,
    /// How often the front end has changed what it does, and how many requests and attestations were begun and ended since.
    turn: usize,
    ended: usize,
}

impl Tally {
    fn ended(&mut self, turn: usize) {
        self.ended += usize::from(self.turn == turn);
    }
}

#[derive(Default)]
struct Shared {
    sent: AtomicUsize,
    done: AtomicBool,
    tally: Mutex<Tally>,
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap()
    }
}

impl Scene {
    async fn start() -> Self {
        let maa = Maa::builder().clock(&EmulatedClock::stopped()).start().await.unwrap();
        let mut replicas = Vec::new();
        for _ in 0..3 {
            replicas.push(BlindBox::builder(&maa).start().await.unwrap());
        }
        let front_end = FrontEnd::builder().start(&replicas).await.unwrap();
        let first = &replicas[0];
        let trust = Trust::maa(first.maa_issuer().as_str()).unwrap().require_maa_policy_hash(first.maa_policy_hash());
        let workload = Workload::binds_its_own_message_key(first.host_data());
        let policy = Policy::confidential_container(trust.unwrap(), workload, UvmRequirement::at_least(100)).unwrap();
        let verifier = Verifier::builder()
            .clock(first.clock().clone())
            .only_application_roots(first.tls_root_pem())
            .collateral_roots(maa.tls_root_pem())
            .deadline(PATIENCE)
            .build()
            .unwrap();
        Self { _maa: maa, replicas, front_end, verifier, policy }
    }

    async fn connect(&self) -> Result<Session, &'static str> {
        self.verifier.connect(self.front_end.url(), &self.policy).await.map_err(|error| error.code())
    }

    /// How often each request arrived, since the last time.
    fn count(&self, arrivals: &mut BTreeMap<usize, usize>) {
        for request in self.replicas.iter().flat_map(|replica| replica.traffic().take_requests()) {
            if let (false, Some(number)) = (request.for_agent, request.header("x-number")) {
                *arrivals.entry(number.parse().unwrap()).or_default() += 1;
            }
        }
    }
}

async fn work(scene: Arc<Scene>, shared: Arc<Shared>) {
    let mut session = None;
    while !shared.done.load(Ordering::SeqCst) {
        let turn = shared.tally().turn;
        let open = match session.take() {
            Some(open) => open,
            None => match scene.connect().await {
                Ok(open) => open,
                // An attestation that the front end changed.
                Err(_) => {
                    shared.tally().ended(turn);
                    continue;
                }
            },
        };
        let number = shared.sent.fetch_add(1, Ordering::SeqCst);
        let body = format!("{SECRET} {number}");
        let request = open.post("/echo").header("x-number", number.to_string()).body(body.clone());
        let outcome = match tokio::time::timeout(PATIENCE, request.send()).await.expect("a request is stuck") {
            Ok(response) => response.text().await.map_err(|error| error.code()),
            Err(error) => Err(error.code()),
        };
        let mut tally = shared.tally();
        tally.ended(turn);
        match outcome {
            Ok(text) => {
                assert_eq!(text, body, "the response of another request");
                tally.answered.push(number);
                session = Some(open);
            }
            Err(code) => *tally.errors.entry(code).or_default() += 1,
        }
    }
}

async fn soak(requests: usize, pace: usize) {
    let (scene, shared) = (Arc::new(Scene::start().await), Arc::<Shared>::default());
    let workers: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(work(Arc::clone(&scene), Arc::clone(&shared)))).collect();
    let mut arrivals = BTreeMap::new();
    let sent = || shared.sent.load(Ordering::SeqCst);
    let actions = actions();
    let mut turn = 0usize;
    while sent() < requests || turn < actions.len() {
        let action = &actions[turn % actions.len()];
        if let Some(knob) = action {
            scene.front_end.set(knob.clone());
        }
        {
            let mut tally = shared.tally();
            (tally.turn, tally.ended) = (tally.turn + 1, 0);
        }
        // Attestations can fail for as long as an action lasts: no request is sent then, so it ends after a time too, but not before it
        // had an effect.
        let (next, mut waited, begun) = (sent() + pace, 0, Instant::now());
        while (sent() < next && (action.is_none() || waited < 100)) || shared.tally().ended == 0 {
            assert!(begun.elapsed() < PATIENCE, "nothing comes of {action:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
            waited += 1;
        }
        scene.front_end.reset();
        scene.count(&mut arrivals);
        assert_eq!(scene.front_end.count_seen(SECRET), 0, "{action:?}");
        scene.front_end.forget_seen();
        // A key has an hour, and is kept for another.
        scene.replicas[0].clock().advance(300);
        if turn % 10 == 9 {
            scene.replicas[turn % 3].restart().await.unwrap();
        }
        turn += 1;
    }
    shared.done.store(true, Ordering::SeqCst);
    for worker in workers {
        tokio::time::timeout(PATIENCE, worker).await.expect("a worker is stuck").unwrap();
    }
    scene.count(&mut arrivals);
    assert_eq!(scene.front_end.count_seen(SECRET), 0);
    let tally = shared.tally();
    let (requests, failed) = (sent(), tally.errors.values().sum::<usize>());
    eprintln!(
        "soak behind a front end: {requests} requests, answered {}, errors {:?}",
        tally.answered.len(),
        tally.errors
    );
    let twice: Vec<_> = arrivals.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "processed more than once: {twice:?}");
    let unseen: Vec<_> = tally.answered.iter().filter(|number| !arrivals.contains_key(number)).collect();
    assert!(unseen.is_empty(), "answered by no instance: {unseen:?}");
    assert_eq!(tally.answered.len() + failed, requests, "lost without an error");
    assert!(failed > 0 && tally.answered.len() * 3 > requests, "{} of {requests}", tally.answered.len());
    for code in tally.errors.keys() {
        assert!(EXPECTED.contains(code), "{code}: {:?}", tally.errors);
    }
}

/// What may come of a request here, besides a response.
const EXPECTED: &[&str] = &[
    "application-unreachable",
    "agent-unreachable",
    // An attestation that the front end changed, when a session attests again.
    "false-attestation-report",
    "invalid-response",
    "attestation-expired",
    "timeout",
];
