//! A session under everything at once: keys rotate, replicas restart, a man in the middle comes and goes, agents, MAA and
//! networks fail. No request is answered by a peer that was not attested, none is done twice, none is lost without a typed
//! error, and memory stays flat.
//!
//! The short form runs with the suite. The long one, with its figures:
//!
//! ```text
//! cargo test --test soak -- --ignored --nocapture
//! ```
#![cfg(feature = "emulator")]

#[path = "common/fleet.rs"]
mod fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use blindbox_attestation::emulator::{Fault, HttpVersions, Knob, OpenConnections, Relay};
use blindbox_attestation::{AttestationError, Session};
use fleet::{Balancing, Fleet};

/// How many requests are under way at the same time.
const WORKERS: usize = 16;

/// How many requests are sent between two troubles. Not a time: troubles that come faster than what they interrupt begins
/// anew leave nothing to be seen but errors.
const PACE: usize = 60;

/// No request takes longer than this, whatever happens.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_soak() {
    soak(1_500, HttpVersions::Both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes: cargo test --test soak -- --ignored --nocapture"]
async fn a_long_soak() {
    soak(20_000, HttpVersions::Both).await;
    soak(20_000, HttpVersions::Http1).await;
}

#[derive(Default)]
struct Tally {
    /// The numbers of the requests that were answered.
    answered: Vec<usize>,
    /// Those whose answer broke off after it had begun.
    broken_off: usize,
    errors: BTreeMap<&'static str, usize>,
    slowest: Duration,
}

async fn soak(requests: usize, http: HttpVersions) {
    let mut fleet = Fleet::start(3, http, Balancing::AtRandom).await;
    let session = fleet.connect().await.unwrap();
    let begun = Instant::now();
    let (sent, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> =
        (0..WORKERS).map(|_| tokio::spawn(work(session.clone(), requests, Arc::clone(&sent)))).collect();
    let watch = tokio::spawn(watch_memory(Arc::clone(&sent), Arc::clone(&over)));

    // How often each request arrived: small, since memory is looked at.
    let mut arrivals = vec![0_u8; requests];
    let mut trouble = Trouble::new(&fleet).await;
    while sent.load(Ordering::SeqCst) < requests {
        trouble.next(&mut fleet).await;
        fleet.audit();
        count(&mut fleet, &mut arrivals);
        assert_eq!(trouble.relay.traffic().application_bytes(), 0);
        let next = sent.load(Ordering::SeqCst) + PACE;
        while sent.load(Ordering::SeqCst) < next.min(requests) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    trouble.stop(&fleet);

    let mut tally = Tally::default();
    for worker in workers {
        let one = tokio::time::timeout(PATIENCE, worker).await.expect("a worker is stuck").unwrap();
        tally.answered.extend(one.answered);
        tally.broken_off += one.broken_off;
        one.errors.into_iter().for_each(|(code, times)| *tally.errors.entry(code).or_default() += times);
        tally.slowest = tally.slowest.max(one.slowest);
    }
    let took = begun.elapsed();
    over.store(true, Ordering::SeqCst);
    let memory = watch.await.unwrap();
    fleet.audit();
    count(&mut fleet, &mut arrivals);

    // Not one byte to a man in the middle, nothing to a key that was not asked for evidence (see `Fleet::audit`), and nothing
    // to a key that was refused.
    assert_eq!((trouble.relay.traffic().application_requests(), trouble.relay.traffic().application_bytes()), (0, 0));
    for (replica, refused) in &trouble.refused {
        let connections = fleet.replicas[*replica].traffic().connections();
        let on_it: BTreeSet<_> =
            connections.iter().filter(|connection| connection.key == Some(*refused)).map(|one| one.id).collect();
        assert!(on_it.is_disjoint(&fleet.application_connections(*replica)), "a refused key got a request");
    }
    // Every answer belongs to one request, and no request was done twice.
    let twice: Vec<_> = (0..requests).filter(|number| arrivals[*number] > 1).collect();
    assert!(twice.is_empty(), "arrived more than once: {twice:?}");
    let unseen: Vec<_> = tally.answered.iter().filter(|number| arrivals[**number] == 0).collect();
    assert!(unseen.is_empty(), "answered by nobody: {unseen:?}");
    // None lost: each is answered, or has its error.
    let failed: usize = tally.errors.values().sum();
    assert_eq!(tally.answered.len() + tally.broken_off + failed, requests);
    for code in tally.errors.keys() {
        assert!(EXPECTED.contains(code), "{code}: {:?}", tally.errors);
    }
    assert!(tally.answered.len() * 2 > requests, "{} of {requests}: {:?}", tally.answered.len(), tally.errors);
    assert!(tally.slowest < PATIENCE);

    eprintln!(
        "soak {http:?}: {requests} requests in {took:.1?}; answered {}, broken off {}, errors {:?}; slowest {:.1?}",
        tally.answered.len(),
        tally.broken_off,
        tally.errors,
        tally.slowest,
    );
    eprintln!("  troubles {:?}; keys attested {}", trouble.counts, fleet.attestations().len());
    eprintln!("  resident memory, MiB, every 1000 requests: {memory:?}");
    // Once everything has been used that is ever kept; servers and their records are in there too.
    if memory.len() >= 20 {
        let (middle, last) = (memory[memory.len() / 2], memory[memory.len() - 1]);
        assert!(last <= middle + middle / 4 + 8, "memory grows: {memory:?}");
    }
}

fn count(fleet: &mut Fleet, arrivals: &mut [u8]) {
    for (id, times) in fleet.take_arrivals() {
        arrivals[id.parse::<usize>().unwrap()] += u8::try_from(times).unwrap();
    }
}

/// What may come of a request here, besides an answer.
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

async fn work(session: Session, requests: usize, sent: Arc<AtomicUsize>) -> Tally {
    let mut tally = Tally::default();
    loop {
        let number = sent.fetch_add(1, Ordering::SeqCst);
        if number >= requests {
            return tally;
        }
        let id = number.to_string();
        let begun = Instant::now();
        let request = session.post("/echo").header("x-id", &id).body(id.clone().repeat(20)).timeout(PATIENCE / 2);
        let outcome = request.send().await;
        match outcome {
            Ok(answer) if answer.status() == 200 => match answer.text().await {
                Ok(text) => {
                    assert_eq!(text, id.repeat(20), "an answer to another request");
                    tally.answered.push(number);
                }
                Err(_) => tally.broken_off += 1,
            },
            Ok(answer) => panic!("{}", answer.status()),
            Err(error) => {
                *tally.errors.entry(error.code()).or_default() += 1;
                if matches!(error, AttestationError::SessionPoisoned { .. }) {
                    let _ = session.reattest().await;
                }
                // As a caller would.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        tally.slowest = tally.slowest.max(begun.elapsed());
    }
}

/// One thing after the other goes wrong.
struct Trouble {
    relay: Relay,
    turn: usize,
    counts: BTreeMap<&'static str, usize>,
    refused: Vec<(usize, blindbox_attestation::SpkiDigest)>,
}

impl Trouble {
    async fn new(fleet: &Fleet) -> Self {
        let relay = Relay::start(&fleet.replicas[0]).await.unwrap();
        Self { relay, turn: 0, counts: BTreeMap::new(), refused: Vec::new() }
    }

    async fn next(&mut self, fleet: &mut Fleet) {
        let which = self.turn % fleet.replicas.len();
        let replica = &fleet.replicas[which];
        let name = match self.turn % 16 {
            0 => {
                replica.rotate_tls_key(OpenConnections::Keep);
                "rotation"
            }
            1 => {
                replica.rotate_tls_key(OpenConnections::Drop);
                "rotation with a cut"
            }
            2 => {
                replica.restart().await.unwrap();
                "restart"
            }
            3 => {
                fleet.balancer.cut();
                "cut of all connections"
            }
            4 => {
                replica.fail_times("/attest/", 2, Fault::status(503));
                replica.rotate_tls_key(OpenConnections::Drop);
                "agent away for two requests"
            }
            5 => {
                replica.fail_times("/attest/", 1, Fault::CloseEarly);
                replica.rotate_tls_key(OpenConnections::Drop);
                "agent closes early"
            }
            6 => {
                replica.fail_times("/echo", 3, Fault::CloseEarly);
                "application closes early"
            }
            7 => {
                replica.fail_times("/echo", 3, Fault::Truncated);
                "answer cut in the middle"
            }
            8 => {
                let mut targets = fleet.addresses();
                targets.push(self.relay.address());
                fleet.balancer.set_targets(&targets);
                fleet.balancer.cut();
                "man in the middle"
            }
            9 => {
                fleet.balancer.set_targets(&fleet.addresses());
                "man in the middle gone"
            }
            10 => {
                // Everything ends; keys of restarted replicas go with it.
                fleet.maa.clock().advance(3600);
                "end of every attestation"
            }
            11 => {
                fleet.maa.clock().advance(2900);
                "renewal"
            }
            12 => {
                fleet.maa.rotate_key();
                fleet.maa.clock().advance(11);
                "new key of MAA"
            }
            13 => {
                fleet.maa.fail_times(2, Fault::status(503));
                fleet.maa.clock().advance(3600);
                "MAA away for two requests"
            }
            14 => {
                replica.set(Knob::Debug);
                replica.rotate_tls_key(OpenConnections::Drop);
                let refused = replica.tls_key();
                tokio::time::sleep(Duration::from_millis(40)).await;
                // As it was, under another key: nothing is ever sent to that one.
                replica.rotate_tls_key(OpenConnections::Drop);
                replica.reset();
                self.refused.push((which, refused));
                "replica in debug mode"
            }
            _ => {
                fleet.balancer.delay(Duration::from_millis(self.turn as u64 % 3));
                "delay"
            }
        };
        *self.counts.entry(name).or_default() += 1;
        self.turn += 1;
    }

    fn stop(&self, fleet: &Fleet) {
        fleet.balancer.set_targets(&fleet.addresses());
        fleet.balancer.delay(Duration::ZERO);
        fleet.maa.recover();
        fleet.replicas.iter().for_each(blindbox_attestation::emulator::BlindBox::reset);
    }
}

/// MiB of resident memory (`/proc/self/statm`, pages of 4 KiB), every thousand requests; nothing where that is not to be had.
async fn watch_memory(sent: Arc<AtomicUsize>, over: Arc<AtomicBool>) -> Vec<usize> {
    let (mut samples, mut next) = (Vec::new(), 0);
    while !over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = sent.load(Ordering::SeqCst);
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
