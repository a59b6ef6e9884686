//! Replicas of one BlindBox behind a load balancer, and what must hold of all that reached them.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use blindbox_attestation::emulator::{BlindBox, EmulatedClock, HttpVersions, Maa, RequestRecord, TcpProxy};
use blindbox_attestation::{
    AttestationError, Policy, Session, SpkiDigest, Trust, UvmRequirement, Verifier, VerifierBuilder, Workload,
};

pub struct Fleet {
    pub maa: Maa,
    pub replicas: Vec<BlindBox>,
    pub balancer: TcpProxy,
    audits: Vec<Audit>,
}

/// How a balancer chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancing {
    RoundRobin,
    AtRandom,
}

impl Fleet {
    pub async fn start(count: usize, http: HttpVersions, balancing: Balancing) -> Self {
        let maa = Maa::builder().clock(&EmulatedClock::stopped()).start().await.unwrap();
        let mut replicas = Vec::new();
        for _ in 0..count {
            replicas.push(BlindBox::builder(&maa).http(http).start().await.unwrap());
        }
        let addresses: Vec<_> = replicas.iter().map(BlindBox::address).collect();
        let balancer = TcpProxy::start(&addresses).await.unwrap();
        balancer.balance_at_random(balancing == Balancing::AtRandom);
        let audits = replicas.iter().map(|_| Audit::default()).collect();
        Self { maa, replicas, balancer, audits }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(BlindBox::address).collect()
    }

    pub fn policy(&self) -> Policy {
        let first = &self.replicas[0];
        let trust = Trust::maa(first.maa_issuer().as_str()).unwrap();
        let trust = trust.require_maa_policy_hash(first.maa_policy_hash()).unwrap();
        let workload = Workload::binds_its_own_key(first.host_data());
        Policy::confidential_container(trust, workload, UvmRequirement::at_least(100)).unwrap()
    }

    pub fn builder(&self) -> VerifierBuilder {
        Verifier::builder().clock(self.maa.clock().clone()).collateral_roots(self.maa.tls_root_pem())
    }

    pub fn verifier(&self) -> Verifier {
        self.builder().deadline(Duration::from_secs(60)).build().unwrap()
    }

    pub async fn connect(&self) -> Result<Session, AttestationError> {
        self.verifier().connect(self.balancer.url(), &self.policy()).await
    }

    pub fn count(&self, path: &str) -> usize {
        self.replicas.iter().map(|replica| replica.traffic().count(path)).sum()
    }

    /// Looks at what arrived since the last time, and forgets it.
    pub fn audit(&mut self) {
        for (replica, audit) in self.replicas.iter().zip(&mut self.audits) {
            audit.look_at(replica);
        }
    }

    /// How often each request arrived, by its `x-id`.
    pub fn arrivals(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for (id, times) in self.audits.iter().flat_map(|audit| &audit.arrivals) {
            *all.entry(id.clone()).or_default() += times;
        }
        all
    }

    /// The same, to be forgotten here.
    pub fn take_arrivals(&mut self) -> BTreeMap<String, usize> {
        let all = self.arrivals();
        self.audits.iter_mut().for_each(|audit| audit.arrivals.clear());
        all
    }

    /// The connections of a replica on which requests for the application arrived.
    pub fn application_connections(&self, replica: usize) -> BTreeSet<u64> {
        self.audits[replica].used.clone()
    }

    /// How often each key was asked for evidence.
    pub fn attestations(&self) -> BTreeMap<SpkiDigest, usize> {
        self.audits.iter().flat_map(|audit| audit.asked.clone()).collect()
    }
}

/// What reached one replica.
#[derive(Default)]
struct Audit {
    asked: BTreeMap<SpkiDigest, usize>,
    arrivals: BTreeMap<String, usize>,
    keys: BTreeMap<u64, SpkiDigest>,
    used: BTreeSet<u64>,
}

impl Audit {
    fn look_at(&mut self, replica: &BlindBox) {
        let requests = replica.traffic().take_requests();
        // Taken afterwards: every request is on a connection that is known by now.
        let connections = replica.traffic().connections();
        self.keys = connections.iter().filter_map(|connection| Some((connection.id, connection.key?))).collect();
        assert!(connections.iter().all(|connection| !connection.resumed));
        for request in &requests {
            self.see(request);
        }
    }

    fn see(&mut self, request: &RequestRecord) {
        let key = self.keys[&request.connection];
        if request.for_agent {
            *self.asked.entry(key).or_default() += 1;
            return;
        }
        assert!(self.asked.contains_key(&key), "{} went to a key that no one had asked for evidence", request.path);
        self.used.insert(request.connection);
        if let Some(id) = request.header("x-id") {
            *self.arrivals.entry(id.to_owned()).or_default() += 1;
        }
    }
}

/// Each of these arrived exactly once.
pub fn assert_once<'a>(arrivals: &BTreeMap<String, usize>, ids: impl IntoIterator<Item = &'a String>) {
    let ids: BTreeSet<_> = ids.into_iter().collect();
    for id in ids {
        assert_eq!(arrivals.get(id), Some(&1), "{id}");
    }
    let twice: Vec<_> = arrivals.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "arrived more than once: {twice:?}");
}
