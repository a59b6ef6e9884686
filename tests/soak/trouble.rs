//! What goes wrong, one thing after the other, and how it is seen that it did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use blindbox_attestation::SpkiDigest;
use blindbox_attestation::emulator::{BlindBox, Fault, Knob, OpenConnections, Relay};

use crate::PATIENCE;
use crate::fleet::Fleet;

/// What came of the requests so far.
#[derive(Default)]
pub struct Tally {
    /// The numbers of the requests that had a response.
    pub answered: Vec<usize>,
    /// Those whose response broke off after it had begun.
    pub broken_off: usize,
    pub errors: BTreeMap<&'static str, usize>,
    /// How often a poisoned session was opened again.
    pub healed: usize,
    pub slowest: Duration,
    /// How many requests were begun and ended between two troubles, and how many of them had a response.
    pub undisturbed: (usize, usize),
}

/// What workers and troubles share.
#[derive(Default)]
pub struct Shared {
    pub sent: AtomicUsize,
    /// How often the state has changed between trouble and none: odd numbers are times without.
    pub phase: AtomicUsize,
    /// No further requests.
    pub done: AtomicBool,
    tally: Mutex<Tally>,
}

impl Shared {
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap()
    }

    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// How often this has been seen.
    fn seen(&self, sign: Sign, fleet: &mut Fleet) -> usize {
        match sign {
            Sign::Error(code) => self.tally().errors.get(code).copied().unwrap_or(0),
            Sign::BrokenOff => self.tally().broken_off,
            Sign::Healed => self.tally().healed,
            Sign::Answer => self.tally().answered.len(),
            Sign::Asked(key, before) => {
                fleet.audit();
                usize::from(asked(key, fleet) > before)
            }
        }
    }
}

/// By what a trouble is known to have bitten.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// A request failed with this code.
    Error(&'static str),
    BrokenOff,
    /// A poisoned session was opened again.
    Healed,
    /// A request had a response.
    Answer,
    /// This key was asked for evidence more often than so many times.
    Asked(SpkiDigest, usize),
}

/// Each of them has to bite at least once.
pub const KINDS: [&str; 14] = [
    "rotation",
    "restart",
    "cut of all connections",
    "agent away for two requests",
    "agent away",
    "application closes early",
    "answer cut in the middle",
    "man in the middle",
    "end of every attestation",
    "renewal",
    "new key of MAA",
    "MAA away",
    "replica in debug mode",
    "every key refused",
];

/// A renewal that breaks off or finds no connection free is put off by more than a minute, and no one waits for that here:
/// the next round shows it.
const SOON: Duration = Duration::from_secs(5);

/// One thing after the other goes wrong.
pub struct TransportError {
    pub relay: Relay,
    pub turn: usize,
    shared: Arc<Shared>,
    pub bit: BTreeMap<&'static str, usize>,
    pub refused: Vec<(usize, SpkiDigest)>,
}

impl TransportError {
    pub async fn new(fleet: &Fleet, shared: Arc<Shared>) -> Self {
        let relay = Relay::start(&fleet.replicas[0]).await.unwrap();
        Self { relay, turn: 0, shared, bit: BTreeMap::new(), refused: Vec::new() }
    }

    pub async fn next(&mut self, fleet: &mut Fleet) {
        let kind = KINDS[self.turn % KINDS.len()];
        // Of 3 replicas and 14 kinds each meets each.
        let which = self.turn % fleet.replicas.len();
        fleet.balancer.delay(Duration::from_millis(self.turn as u64 % 3));
        if self.happens(kind, which, fleet).await {
            *self.bit.entry(kind).or_default() += 1;
        }
        self.turn += 1;
    }

    /// Brings one about, sees it bite, and ends it. False where a renewal was put off, and with it what it was to show.
    async fn happens(&mut self, kind: &str, which: usize, fleet: &mut Fleet) -> bool {
        let mut bit = true;
        match kind {
            "rotation" => {
                let open = [OpenConnections::Keep, OpenConnections::Drop][self.turn / KINDS.len() % 2];
                fleet.replicas[which].rotate_tls_key(open);
                self.shows(Sign::Asked(lead_to(which, fleet), 0), fleet).await;
            }
            "restart" => {
                fleet.replicas[which].restart().await.unwrap();
                self.shows(Sign::Asked(lead_to(which, fleet), 0), fleet).await;
            }
            "cut of all connections" => {
                fleet.balancer.cut();
                self.shows(Sign::Answer, fleet).await;
            }
            "agent away for two requests" => {
                let fault = [Fault::status(503), Fault::CloseEarly][self.turn / KINDS.len() % 2].clone();
                fleet.replicas[which].fail_times("/attest/", 2, fault);
                fleet.replicas[which].rotate_tls_key(OpenConnections::Drop);
                self.shows(Sign::Asked(lead_to(which, fleet), 0), fleet).await;
            }
            "agent away" => {
                fleet.replicas[which].fail("/attest/", Fault::CloseEarly);
                fleet.replicas[which].rotate_tls_key(OpenConnections::Drop);
                lead_to(which, fleet);
                self.shows(Sign::Error("agent-unreachable"), fleet).await;
            }
            "application closes early" => {
                fleet.replicas.iter().for_each(|replica| replica.fail_times("/echo", 3, Fault::CloseEarly));
                self.shows(Sign::Error("application-unreachable"), fleet).await;
            }
            "answer cut in the middle" => {
                fleet.replicas.iter().for_each(|replica| replica.fail_times("/echo", 3, Fault::Truncated));
                self.shows(Sign::BrokenOff, fleet).await;
            }
            "man in the middle" => {
                fleet.balancer.set_targets(&[self.relay.address()]);
                fleet.balancer.cut();
                self.shows(Sign::Error("channel-mismatch"), fleet).await;
            }
            "end of every attestation" => {
                self.end_all_but(which, fleet).await;
            }
            "renewal" => {
                let key = lead_to(which, fleet);
                self.shows(Sign::Answer, fleet).await;
                let before = asked_of(which, fleet);
                fleet.maa.clock().advance(2900);
                bit = self.shows_within(SOON, Sign::Asked(key, before), fleet).await;
            }
            "new key of MAA" => {
                fleet.maa.rotate_key();
                fleet.maa.clock().advance(11);
                fleet.replicas[which].rotate_tls_key(OpenConnections::Drop);
                self.shows(Sign::Asked(lead_to(which, fleet), 0), fleet).await;
            }
            "MAA away" => {
                fleet.maa.fail(Fault::status(503));
                fleet.maa.clock().advance(3600);
                self.shows(Sign::Error("maa-unreachable"), fleet).await;
            }
            "replica in debug mode" => {
                fleet.replicas[which].set(Knob::Debug);
                fleet.replicas[which].rotate_tls_key(OpenConnections::Drop);
                let refused = lead_to(which, fleet);
                self.shows(Sign::Error("debug-mode"), fleet).await;
                // As it was, under another key: nothing is ever sent to that one.
                fleet.replicas[which].rotate_tls_key(OpenConnections::Drop);
                self.refused.push((which, refused));
            }
            "every key refused" => bit = self.poison(which, fleet).await,
            other => unreachable!("{other}"),
        }
        self.stop(fleet);
        // Whatever it was, it passes.
        self.shows(Sign::Answer, fleet).await;
        bit
    }

    /// A session that is left with one key, which is refused when it is to be renewed.
    async fn poison(&self, which: usize, fleet: &mut Fleet) -> bool {
        self.end_all_but(which, fleet).await;
        self.shows(Sign::Answer, fleet).await;
        fleet.replicas[which].set(Knob::Debug);
        fleet.maa.clock().advance(2900);
        let poisoned = self.shows_within(SOON, Sign::Error("session-poisoned"), fleet).await;
        fleet.replicas[which].rotate_tls_key(OpenConnections::Drop);
        self.stop(fleet);
        if poisoned {
            self.shows(Sign::Healed, fleet).await;
        }
        poisoned
    }

    /// Every attestation ends, and only this replica can be attested again.
    async fn end_all_but(&self, which: usize, fleet: &mut Fleet) {
        let before = asked_of(which, fleet);
        // First: what others are asked from here on has come too late to count.
        lead_to(which, fleet);
        fleet.maa.clock().advance(3600);
        self.shows(Sign::Asked(lead_to(which, fleet), before), fleet).await;
    }

    /// Waits until it is seen, once more than so far.
    async fn shows(&self, sign: Sign, fleet: &mut Fleet) {
        let seen = self.shows_within(PATIENCE, sign, fleet).await;
        assert!(seen, "{sign:?} is not seen: {:?}", self.shared.tally().errors);
    }

    async fn shows_within(&self, time: Duration, sign: Sign, fleet: &mut Fleet) -> bool {
        let begun = Instant::now();
        let before = match sign {
            Sign::Asked(..) => 0,
            sign => self.shared.seen(sign, fleet),
        };
        while begun.elapsed() < time {
            if self.shared.seen(sign, fleet) > before {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    pub fn stop(&self, fleet: &Fleet) {
        fleet.balancer.set_targets(&fleet.addresses());
        fleet.maa.recover();
        fleet.replicas.iter().for_each(BlindBox::reset);
    }
}

/// Every connection is opened again, to this replica. Gives its key.
fn lead_to(which: usize, fleet: &Fleet) -> SpkiDigest {
    fleet.balancer.set_targets(&[fleet.replicas[which].address()]);
    fleet.balancer.cut();
    fleet.replicas[which].tls_key()
}

/// How often a key was asked for evidence, as far as was looked.
fn asked(key: SpkiDigest, fleet: &Fleet) -> usize {
    fleet.attestations().get(&key).copied().unwrap_or(0)
}

/// How often a replica's key was asked for evidence.
fn asked_of(which: usize, fleet: &mut Fleet) -> usize {
    fleet.audit();
    asked(fleet.replicas[which].tls_key(), fleet)
}
