//! An emulated MAA and BlindBox, and a verifier that knows the roots of both. Their clock stands still: a test advances it.
#![allow(dead_code)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use blindbox_attestation::emulator::amd::CSP_ID;
use blindbox_attestation::emulator::{
    AgentForm, AgentLocation, BlindBox, BlindBoxBuilder, EmulatedClock, Guest, Kds, Maa, Platform,
};
use blindbox_attestation::{
    AttestationError, Policy, Session, SigningKey, Trust, UvmRequirement, Verifier, VerifierBuilder, Workload,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

pub struct Lab {
    pub maa: Maa,
    pub blindbox: BlindBox,
    pub kds: Option<Kds>,
}

impl Lab {
    pub async fn start() -> Self {
        Self::with(|blindbox| blindbox).await
    }

    pub async fn with(change: impl FnOnce(BlindBoxBuilder) -> BlindBoxBuilder) -> Self {
        let maa = Maa::builder().clock(&EmulatedClock::stopped()).start().await.unwrap();
        let blindbox = change(BlindBox::builder(&maa)).start().await.unwrap();
        Self { maa, blindbox, kds: None }
    }

    /// A BlindBox on a machine whose reports are verified down to the emulated AMD.
    pub async fn on(platform: &Platform) -> Self {
        let kds = Kds::start().await.unwrap();
        let lab = Self::with(|blindbox| blindbox.platform(platform)).await;
        Self { kds: Some(kds), ..lab }
    }

    /// A confidential VM on a machine whose reports are verified down to the emulated AMD.
    pub async fn azure_vm(platform: &Platform, guest: Guest) -> Self {
        let kds = Kds::start().await.unwrap();
        let lab = Self::with(|blindbox| blindbox.guest(guest).platform(platform)).await;
        Self { kds: Some(kds), ..lab }
    }

    pub fn kds(&self) -> &Kds {
        self.kds.as_ref().unwrap()
    }

    /// AMD's word alone.
    pub fn amd_policy(&self) -> Policy {
        self.hardware_policy(Trust::amd())
    }

    /// MAA's word and AMD's, about the same TEE.
    pub fn both_policy(&self) -> Policy {
        let trust = Trust::maa_and_amd(self.blindbox.maa_issuer().as_str()).unwrap();
        self.hardware_policy(trust.require_maa_policy_hash(self.blindbox.maa_policy_hash()).unwrap())
    }

    pub fn hardware_policy(&self, trust: Trust) -> Policy {
        let workload = Workload::binds_its_own_key(self.blindbox.host_data());
        let uvm = UvmRequirement::at_least(100).issued_by(self.blindbox.uvm_issuer().unwrap());
        let policy = Policy::confidential_container(trust, workload, uvm).unwrap();
        match self.blindbox.platform().unwrap().signing_key() {
            SigningKey::Vlek => policy.require_csp_ids([CSP_ID]).unwrap(),
            _ => policy,
        }
    }

    /// A BlindBox as first released: attests what it is sent, on a port of its own.
    pub async fn legacy() -> Self {
        Self::with(|blindbox| blindbox.agent(AgentForm::Legacy).agent_place(AgentLocation::OwnPort)).await
    }

    pub fn trust(&self) -> Trust {
        Trust::maa(self.blindbox.maa_issuer().as_str())
            .unwrap()
            .require_maa_policy_hash(self.blindbox.maa_policy_hash())
            .unwrap()
    }

    /// Everything that is expected of the BlindBox as it was started.
    pub fn policy(&self) -> Policy {
        self.policy_for(Workload::binds_its_own_key(self.blindbox.host_data()))
    }

    /// The same, of a workload that attests what it is sent.
    pub fn unbound_policy(&self) -> Policy {
        self.policy_for(Workload::attests_any_data(self.blindbox.host_data()))
    }

    pub fn policy_for(&self, workload: Workload) -> Policy {
        Policy::confidential_container(self.trust(), workload, UvmRequirement::at_least(100)).unwrap()
    }

    pub fn builder(&self) -> VerifierBuilder {
        let builder = Verifier::builder()
            .clock(self.blindbox.clock().clone())
            .only_application_roots(self.blindbox.tls_root_pem())
            .deadline(Duration::from_secs(60))
            .optional_timeout(Duration::from_secs(60));
        let Some(kds) = &self.kds else { return builder.collateral_roots(self.maa.tls_root_pem()) };
        let builder = match self.blindbox.ak_anchors() {
            Some(anchors) => builder.ak_anchors(anchors),
            None => builder,
        };
        builder
            .collateral_roots(self.maa.tls_root_pem() + &kds.tls_root_pem())
            .kds(kds.url())
            .amd_anchors(self.blindbox.platform().unwrap().anchors())
    }

    pub fn verifier(&self) -> Verifier {
        self.builder().build().unwrap()
    }

    /// A new verifier, and a session of it with the BlindBox.
    pub async fn connect(&self) -> Result<Session, AttestationError> {
        self.verifier().connect(self.blindbox.url(), &self.policy()).await
    }

    /// The error of a connection that must fail without a byte for the application.
    pub async fn refusal(&self) -> AttestationError {
        let error = self.connect().await.expect_err("a session, where there must be none");
        assert_eq!(self.blindbox.traffic().application_bytes(), 0);
        error
    }
}

/// The error of a request that may have arrived.
pub fn interrupted(reason: AttestationError) -> AttestationError {
    let error = AttestationError::RequestInterrupted { reason: Box::new(reason) };
    assert!(error.request_sent());
    error
}

/// One request, to the replica that is reached.
pub async fn hello(session: &Session) -> Result<String, AttestationError> {
    Ok(session.get("/").send().await?.text().await.unwrap())
}

/// Until the client has seen that its connections were cut: a request that is written to one of them may have arrived for all
/// it knows, and is not sent again.
///
/// No time alone says so on a busy machine. The client's runtime is the one of the test: when it has reported the ends of 20
/// connections that were cut later, one after the other, it has reported those of the client. Of several workers each one then has
/// a turn, so that none has yet to look at what was reported to it.
pub async fn noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..20 {
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        drop(theirs.unwrap());
        assert_eq!(ours.unwrap().read(&mut [0]).await.unwrap(), 0);
        moment().await;
    }
    let workers = Handle::current().metrics().num_workers();
    // A worker takes new tasks before its own ones now and then, but not every time.
    for _ in 0..3 {
        let had_turns = Arc::new(Mutex::new(HashSet::new()));
        let turns: Vec<_> = (0..workers)
            .map(|_| {
                let had_turns = Arc::clone(&had_turns);
                tokio::spawn(async move {
                    // Without blocking: a worker that sleeps is woken by what is left to do.
                    while had_turn(&had_turns) < workers {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for turn in turns {
            turn.await.unwrap();
        }
    }
}

/// Notes that the worker of this thread has a turn, and returns how many have had one.
fn had_turn(workers: &Mutex<HashSet<ThreadId>>) -> usize {
    let mut workers = workers.lock().unwrap();
    workers.insert(thread::current().id());
    workers.len()
}

/// A moment in which others get to work. Nothing depends on how long it is.
pub async fn moment() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// Ends a test that would hang: longer than anything takes on a machine with much else to do.
const HANG: Duration = Duration::from_secs(120);

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < HANG, "{what}");
        moment().await;
    }
}

/// Waits for what only a fault makes long.
pub async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, event).await.expect("it does not happen")
}

/// Checks that work takes so long, and not how much longer.
pub async fn lasting<T>(least: Duration, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let outcome = work.await;
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
    outcome
}

/// Returns a deadline that ends what a test is about. On a busy machine a short one may end what comes before that; then `attempt`
/// returns false, and gets a longer one.
pub async fn long_enough(mut attempt: impl AsyncFnMut(Duration) -> bool) -> Duration {
    let mut deadline = Duration::from_millis(300);
    while !attempt(deadline).await {
        deadline *= 3;
        assert!(deadline < HANG, "no deadline ends what it should end");
    }
    deadline
}

/// Polls each future once, so that all of them have begun, and goes on with them in tasks: however busy the machine is, none
/// begins after another has ended.
pub async fn begun<F: Future<Output: Send> + Send + 'static>(
    futures: Vec<std::pin::Pin<Box<F>>>,
) -> Vec<tokio::task::JoinHandle<F::Output>> {
    let mut begun = Vec::new();
    for mut future in futures {
        std::future::poll_fn(|cx| {
            assert!(future.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        begun.push(future);
    }
    begun.into_iter().map(tokio::spawn).collect()
}

/// Repeats what a deadline has ended that is short for a busy machine.
pub async fn in_time<T>(mut attempt: impl AsyncFnMut() -> Result<T, AttestationError>) -> T {
    loop {
        match attempt().await {
            Ok(outcome) => return outcome,
            Err(AttestationError::Timeout { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// The reason of an `ApplicationUnreachable`, and nothing else.
pub fn unreachable_reason(error: &AttestationError) -> &str {
    match error {
        AttestationError::ApplicationUnreachable { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// Why a request failed that was under way.
pub fn interrupted_reason(error: &AttestationError) -> &AttestationError {
    match error {
        AttestationError::RequestInterrupted { reason } => reason,
        other => panic!("{other:?}"),
    }
}
