//! A session under everything at once: keys rotate, replicas restart, a man in the middle comes and goes, agents, MAA and
//! networks fail. No request is processed by a peer that was not attested, none is done twice, none is lost without a typed
//! error, and memory stays flat. Each trouble lasts until it has been seen to bite, and has to bite at least once.
//!
//! The short form runs with the suite. The long one, with its figures:
//!
//! ```text
//! cargo test --test soak -- --ignored --nocapture
//! ```

#[path = "../common/fleet.rs"]
mod fleet;
mod front_end;
mod trouble;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blindbox_attestation::emulator::HttpVersions;
use blindbox_attestation::{AttestationError, Session};
use fleet::{Balancing, Fleet};
use trouble::{KINDS, Shared, TransportError};

/// How many requests are under way at the same time.
const WORKERS: usize = 16;

/// The long soaks run one after the other: memory is that of the whole process.
static MEMORY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// No request takes longer than this, whatever happens.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak() {
    soak(1_000, 40, HttpVersions::Both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes one to two minutes: cargo test --test soak -- --ignored --nocapture"]
async fn a_long_soak() {
    let _alone = MEMORY.lock().await;
    soak(20_000, 300, HttpVersions::Both).await;
    soak(20_000, 300, HttpVersions::Http1).await;
}

/// At least so many requests, and each kind of trouble at least once. A trouble follows when so many requests have been sent
/// since the last one had bitten: not at a time, since troubles that come faster than what they interrupt begins again leave
/// nothing to be seen but errors.
async fn soak(requests: usize, pace: usize, http: HttpVersions) {
    let mut fleet = Fleet::start(3, http, Balancing::AtRandom).await;
    let session = fleet.connect().await.unwrap();
    let begun = Instant::now();
    let (shared, over) = (Arc::<Shared>::default(), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(work(session.clone(), Arc::clone(&shared)))).collect();
    let watch = tokio::spawn(watch_memory(Arc::clone(&shared), Arc::clone(&over)));

    // How often each request arrived: small, since memory is looked at.
    let mut arrivals = Vec::with_capacity(requests * 2);
    let mut trouble = TransportError::new(&fleet, Arc::clone(&shared)).await;
    while shared.sent() < requests || trouble.bit.len() < KINDS.len() {
        trouble.next(&mut fleet).await;
        assert!(trouble.turn < 100 * KINDS.len(), "troubles that are never seen: {:?}", trouble.bit);
        fleet.audit();
        count(&mut fleet, &mut arrivals);
        assert_eq!(trouble.relay.traffic().application_bytes(), 0);
        let next = shared.sent() + pace;
        shared.phase.fetch_add(1, Ordering::SeqCst);
        while shared.sent() < next {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shared.phase.fetch_add(1, Ordering::SeqCst);
    }
    shared.done.store(true, Ordering::SeqCst);
    for worker in workers {
        tokio::time::timeout(PATIENCE, worker).await.expect("a worker is stuck").unwrap();
    }
    let took = begun.elapsed();
    over.store(true, Ordering::SeqCst);
    let memory = watch.await.unwrap();
    fleet.audit();
    count(&mut fleet, &mut arrivals);

    let (requests, tally) = (shared.sent(), shared.tally());
    eprintln!(
        "soak {http:?}: {requests} requests in {took:.1?}; answered {}, broken off {}, errors {:?}; healed {}; slowest {:.1?}",
        tally.answered.len(),
        tally.broken_off,
        tally.errors,
        tally.healed,
        tally.slowest,
    );
    eprintln!("  troubles that bit {:?}; keys asked for evidence {}", trouble.bit, fleet.attestations().len());
    eprintln!("  resident memory, MiB, every 1000 requests: {memory:?}");

    // Each kind of trouble bit. Nothing below says much of one that no one noticed.
    assert!(BITES.iter().all(|code| tally.errors.contains_key(code)), "{:?}", tally.errors);
    assert!(tally.healed > 0 && tally.broken_off > 0);
    // Not one byte to a man in the middle, nothing to a key that was not asked for evidence (see `Fleet::audit`), and nothing
    // to a key that was asked and refused.
    assert_eq!((trouble.relay.traffic().application_requests(), trouble.relay.traffic().application_bytes()), (0, 0));
    for (replica, refused) in &trouble.refused {
        assert!(fleet.attestations().contains_key(refused), "a key in debug mode was not asked for evidence");
        let connections = fleet.replicas[*replica].traffic().connections();
        let on_it: BTreeSet<_> =
            connections.iter().filter(|connection| connection.key == Some(*refused)).map(|one| one.id).collect();
        assert!(!on_it.is_empty() && on_it.is_disjoint(&fleet.application_connections(*replica)));
    }
    // Every response belongs to one request, and no request was done twice.
    let twice: Vec<_> = (0..requests).filter(|number| arrivals.get(*number).is_some_and(|times| *times > 1)).collect();
    assert!(twice.is_empty(), "arrived more than once: {twice:?}");
    let unseen: Vec<_> =
        tally.answered.iter().filter(|number| arrivals.get(**number).is_none_or(|times| *times == 0)).collect();
    assert!(unseen.is_empty(), "answered by no one: {unseen:?}");
    // None lost: each has a response, or its error.
    let failed: usize = tally.errors.values().sum();
    assert_eq!(tally.answered.len() + tally.broken_off + failed, requests);
    for code in tally.errors.keys() {
        assert!(EXPECTED.contains(code), "{code}: {:?}", tally.errors);
    }
    // How long a trouble lasts depends on how busy the machine is.
    let (undisturbed, answered) = tally.undisturbed;
    assert!(undisturbed > 0 && answered * 2 > undisturbed, "{answered} of {undisturbed}: {:?}", tally.errors);
    assert!(tally.slowest < PATIENCE);
    // Once everything has been used that is ever kept; servers and their records are in there too.
    if memory.len() >= 20 {
        let (middle, last) = (memory[memory.len() / 2], memory[memory.len() - 1]);
        assert!(last <= middle + middle / 4 + 8, "memory grows: {memory:?}");
    }
}

fn count(fleet: &mut Fleet, arrivals: &mut Vec<u8>) {
    for (id, times) in fleet.take_arrivals() {
        let number = id.parse::<usize>().unwrap();
        arrivals.resize(arrivals.len().max(number + 1), 0);
        arrivals[number] += u8::try_from(times).unwrap();
    }
}

/// What may come of a request here, besides a response.
const EXPECTED: &[&str] = &[
    "application-unreachable",
    "agent-unreachable",
    "maa-unreachable",
    "maa-token-not-found",
    "timeout",
    // A replica in debug mode, and the man in the middle.
    "debug-mode",
    "channel-mismatch",
    "session-poisoned",
    // MAA's keys changed within ten seconds.
    "invalid-token",
    "attestation-expired",
    "too-many-unattested-peers",
];

/// What has to come of some.
const BITES: &[&str] = &[
    "application-unreachable",
    "agent-unreachable",
    "maa-unreachable",
    "debug-mode",
    "channel-mismatch",
    "session-poisoned",
];

async fn work(session: Session, shared: Arc<Shared>) {
    while !shared.done.load(Ordering::SeqCst) {
        let number = shared.sent.fetch_add(1, Ordering::SeqCst);
        let id = number.to_string();
        let (begun, phase) = (Instant::now(), shared.phase.load(Ordering::SeqCst));
        let request = session.post("/echo").header("x-id", &id).body(id.clone().repeat(20)).timeout(PATIENCE / 2);
        let outcome = request.send().await;
        let had_response = outcome.is_ok();
        match outcome {
            Ok(answer) if answer.status() == 200 => match answer.text().await {
                Ok(text) => {
                    assert_eq!(text, id.repeat(20), "an answer to another request");
                    shared.tally().answered.push(number);
                }
                Err(_) => shared.tally().broken_off += 1,
            },
            Ok(answer) => panic!("{}", answer.status()),
            Err(error) => {
                *shared.tally().errors.entry(error.code()).or_default() += 1;
                if matches!(error, AttestationError::SessionPoisoned { .. }) && session.reattest().await.is_ok() {
                    shared.tally().healed += 1;
                }
                // As a caller would.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let mut tally = shared.tally();
        if phase % 2 == 1 && shared.phase.load(Ordering::SeqCst) == phase {
            tally.undisturbed.0 += 1;
            tally.undisturbed.1 += usize::from(had_response);
        }
        tally.slowest = tally.slowest.max(begun.elapsed());
    }
}

/// MiB of resident memory (`/proc/self/statm`, pages of 4 KiB), every thousand requests; nothing where that is not to be had.
async fn watch_memory(shared: Arc<Shared>, over: Arc<AtomicBool>) -> Vec<usize> {
    let (mut samples, mut next) = (Vec::new(), 0);
    while !over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = shared.sent();
        if now < next {
            continue;
        }
        next = now + 1_000;
        let Ok(statm) = std::fs::read_to_string("/proc/self/statm") else { return samples };
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        samples.push(pages * 4096 / (1 << 20));
    }
    samples
}
