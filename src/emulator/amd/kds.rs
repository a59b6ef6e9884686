//! AMD's Key Distribution Service, and Azure's cache of it (THIM).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::registry::{self, HierarchyOwner, hierarchy};
use crate::emulator::clock::EmulatedClock;
use crate::emulator::guest::platform::{Platform, new_chip_id};
use crate::emulator::network::fault::{Fault, Faults};
use crate::emulator::network::request::{Call, Handler, Reply, of_whole_requests};
use crate::emulator::network::response::BufferedResponse;
use crate::emulator::network::server::{Protocols, Server};
use crate::emulator::network::tls::{CertificateAuthority, CertificateRequest, KeyKind, TlsKey};
use crate::emulator::network::traffic::Traffic;
use crate::emulator::{lock, origin};
use crate::snp::CertificateRole;
use crate::types::{ChipId, Product, SigningKey, Tcb, UnixTime};

/// Where Azure's hosts hand out the certificates of their own chip.
const THIM_PATH: &str = "/metadata/THIM/amd/certification";

/// A running KDS: VCEKs of every chip of every [`Platform`] of this process, chains and revocation lists at AMD's paths.
/// Stops when dropped.
///
/// | path | response |
/// |---|---|
/// | `/vcek/v1/{product}/{hwid}?blSPL=&teeSPL=&snpSPL=&ucodeSPL=` (Turin: and `fmcSPL=`) | VCEK, DER |
/// | `/vcek/v1/{product}/cert_chain`, `/vlek/v1/{product}/cert_chain` | ASK or ASVK, then ARK, PEM |
/// | `/vcek/v1/{product}/crl`, `/vlek/v1/{product}/crl` | revocation list, DER |
/// | `/metadata/THIM/amd/certification` with `Metadata: true`, where asked for | THIM's JSON |
pub struct Kds {
    state: Arc<State>,
    server: Server,
    authority: CertificateAuthority,
    origin: String,
}

/// What a KDS hands out in place of the proper thing. Several act in the order set; each changes what it names only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KdsKnob {
    /// VCEKs of another chip.
    VcekOfAnotherChip,
    /// VCEKs for this TCB.
    VcekTcb(Tcb),
    /// VCEKs made by a forger with AMD's names.
    ForgedVcek,
    /// Chains of a forger with AMD's names.
    ForgedChain,
    /// Chains of this family.
    ChainOf(Product),
    /// CRLs by a forger with AMD's names.
    ForgedCrl,
    /// CRLs of this family.
    CrlOf(Product),
    /// The CRL for VLEK issuers in place of that for VCEK issuers, and the other way round.
    CrlOfOtherKind,
    /// CRLs that name no distribution point, as those that AMD issued in 2024 and 2025. The others name that of their path.
    CrlNamesNoDistributionPoint,
    /// CRLs that should have been replaced in 2021.
    ExpiredCrl,
    /// CRLs that were issued at this time.
    CrlMadeAt(UnixTime),
    /// CRLs with this CRL number. The others have 1.
    CrlNumber(u64),
    /// CRLs that revoke the issuer: the ASK, and for VLEKs the ASVK.
    IssuerRevoked,
    /// CRLs that revoke the root.
    RootRevoked,
}

/// Settings of a KDS before it starts.
#[derive(Debug, Default)]
pub struct KdsBuilder {
    clock: EmulatedClock,
    plain_http: bool,
    thim: Option<Platform>,
    knobs: Vec<KdsKnob>,
}

impl KdsBuilder {
    /// The clock for the TLS certificate.
    #[must_use]
    pub fn clock(mut self, clock: &EmulatedClock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// Serves without TLS, as Azure's hosts serve THIM.
    #[must_use]
    pub fn plain_http(mut self) -> Self {
        self.plain_http = true;
        self
    }

    /// Also serves as the THIM service of this machine.
    #[must_use]
    pub fn thim(mut self, platform: &Platform) -> Self {
        self.thim = Some(platform.clone());
        self
    }

    /// A change from the start; may be called again.
    #[must_use]
    pub fn knob(mut self, knob: KdsKnob) -> Self {
        self.knobs.push(knob);
        self
    }

    /// Starts the service.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start(self) -> io::Result<Kds> {
        let authority = CertificateAuthority::new("Emulated Web PKI of AMD");
        let request = CertificateRequest::new(["127.0.0.1", "localhost"], self.clock.now());
        let identity = authority.issue(&TlsKey::generate(KeyKind::P256), &request);
        let state = Arc::new(State {
            thim: self.thim,
            knobs: Mutex::new(self.knobs),
            faults: Faults::default(),
            traffic: Traffic::default(),
        });
        let shown = (!self.plain_http).then_some(&identity);
        let server = Server::start(shown, Protocols::default(), state.traffic.clone(), handler(&state)).await?;
        let scheme = if self.plain_http { "http" } else { "https" };
        let origin = origin(scheme, "127.0.0.1", server.address().port());
        Ok(Kds { state, server, authority, origin })
    }
}

impl Kds {
    /// Starts a KDS over TLS, without THIM.
    ///
    /// # Errors
    ///
    /// When no port on loopback can be had.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Settings before the start.
    #[must_use]
    pub fn builder() -> KdsBuilder {
        KdsBuilder::default()
    }

    /// In place of `https://kdsintf.amd.com`: `https://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.origin
    }

    /// The address of the THIM service.
    #[must_use]
    pub fn thim_url(&self) -> String {
        format!("{}{THIM_PATH}", self.origin)
    }

    /// The root of its TLS certificate: for the verifier's collateral roots.
    #[must_use]
    pub fn tls_root_pem(&self) -> String {
        self.authority.root_pem()
    }

    /// As [`Self::tls_root_pem`], in DER.
    #[must_use]
    pub fn tls_root_der(&self) -> &[u8] {
        self.authority.root_der()
    }

    /// Changes something; see [`KdsKnob`].
    pub fn set(&self, knob: KdsKnob) {
        lock(&self.state.knobs).push(knob);
    }

    /// Responds to every request whose path begins so with a fault, until [`Self::recover`]: `/vcek/v1/Milan/crl`, `/`.
    pub fn fail(&self, path: &str, fault: Fault) {
        self.state.faults.schedule(path, fault, None);
    }

    /// Responds to the next so many requests whose path begins so with a fault.
    pub fn fail_times(&self, path: &str, times: u32, fault: Fault) {
        self.state.faults.schedule(path, fault, Some(times));
    }

    /// Ends all faults and takes back all knobs.
    pub fn recover(&self) {
        self.state.faults.recover();
        lock(&self.state.knobs).clear();
    }

    /// How often a path was asked for, without its query.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.state.traffic.count(path)
    }

    /// How often VCEKs were asked for.
    #[must_use]
    pub fn vcek_fetches(&self) -> usize {
        self.fetches(|path| matches!(Asked::of(path), Some(Asked::Vcek(..))))
    }

    /// How often chains were asked for.
    #[must_use]
    pub fn chain_fetches(&self) -> usize {
        self.fetches(|path| matches!(Asked::of(path), Some(Asked::Chain(..))))
    }

    /// How often revocation lists were asked for.
    #[must_use]
    pub fn crl_fetches(&self) -> usize {
        self.fetches(|path| matches!(Asked::of(path), Some(Asked::Crl(..))))
    }

    /// Everything that reached this service.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.state.traffic
    }

    /// Stops listening and drops every connection: the service cannot be reached until [`Self::restart`].
    pub async fn stop(&self) {
        self.server.stop_listening().await;
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    ///
    /// If the port was taken by another process.
    pub async fn restart(&self) -> io::Result<()> {
        self.server.listen_again().await
    }

    fn fetches(&self, of: impl Fn(&str) -> bool) -> usize {
        self.state.traffic.requests().iter().filter(|request| of(&request.path)).count()
    }
}

impl std::fmt::Debug for Kds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kds({})", self.origin)
    }
}

struct State {
    thim: Option<Platform>,
    knobs: Mutex<Vec<KdsKnob>>,
    faults: Faults,
    traffic: Traffic,
}

/// What a path asks for.
enum Asked<'p> {
    Vcek(Product, &'p str),
    Chain(Product, SigningKey),
    Crl(Product, SigningKey),
}

impl<'p> Asked<'p> {
    fn of(path: &'p str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let [service, "v1", product, what] = parts.as_slice() else { return None };
        let kind = match *service {
            "vcek" => SigningKey::Vcek,
            "vlek" => SigningKey::Vlek,
            _ => return None,
        };
        let product = Product::ALL.into_iter().find(|known| known.as_str() == *product)?;
        match (*what, kind) {
            ("cert_chain", _) => Some(Self::Chain(product, kind)),
            ("crl", _) => Some(Self::Crl(product, kind)),
            (hardware_id, SigningKey::Vcek) => Some(Self::Vcek(product, hardware_id)),
            // VLEKs are for cloud providers who prove who they are.
            (_, SigningKey::Vlek) => None,
        }
    }
}

impl State {
    async fn answer(&self, call: Call) -> Reply {
        let knobs = lock(&self.knobs).clone();
        let answer = match (call.method.as_str(), Asked::of(&call.path), &self.thim) {
            ("GET", Some(Asked::Vcek(product, id)), _) => vcek(product, id, call.query.as_deref(), &knobs),
            ("GET", Some(Asked::Chain(product, kind)), _) => chain(product, kind, &knobs),
            ("GET", Some(Asked::Crl(product, kind)), _) => crl(product, kind, &knobs),
            ("GET", None, Some(platform)) if call.path == THIM_PATH => thim(&call, platform),
            _ => BufferedResponse::not_found(),
        };
        self.faults.reply(&call.path, answer).await
    }
}

fn vcek(product: Product, id: &str, query: Option<&str>, knobs: &[KdsKnob]) -> BufferedResponse {
    let id_len = if product == Product::Turin { 8 } else { ChipId::LEN };
    let id = hex::decode(id).ok().filter(|id| id.len() == id_len);
    let tcb = query.and_then(|query| asked_tcb(product, query));
    let (Some(id), Some(mut tcb)) = (id, tcb) else {
        return BufferedResponse::text(400, "the hardware id or the SPLs are not those of the product");
    };
    let Some(mut chip) = registry::chip_with_id(product, &id) else { return BufferedResponse::not_found() };
    let mut owner = HierarchyOwner::Amd;
    for knob in knobs {
        match knob {
            KdsKnob::VcekOfAnotherChip => chip = new_chip_id(product),
            KdsKnob::VcekTcb(other) => tcb = *other,
            KdsKnob::ForgedVcek => owner = HierarchyOwner::Forger,
            _ => {}
        }
    }
    der(registry::vek(owner, product, Some(chip), tcb).der())
}

/// Each part that the product has exactly once, in decimal, and nothing else.
fn asked_tcb(product: Product, query: &str) -> Option<Tcb> {
    let mut parts: BTreeMap<&str, u8> = BTreeMap::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=')?;
        if parts.insert(name, value.parse().ok()?).is_some() {
            return None;
        }
    }
    let fmc = match product {
        Product::Turin => Some(parts.remove("fmcSPL")?),
        Product::Milan | Product::Genoa => None,
    };
    let mut take = |name| parts.remove(name);
    let tcb = Tcb::new(fmc, take("blSPL")?, take("teeSPL")?, take("snpSPL")?, take("ucodeSPL")?);
    parts.is_empty().then_some(tcb)
}

fn chain(product: Product, kind: SigningKey, knobs: &[KdsKnob]) -> BufferedResponse {
    let (mut owner, mut family) = (HierarchyOwner::Amd, product);
    for knob in knobs {
        match knob {
            KdsKnob::ForgedChain => owner = HierarchyOwner::Forger,
            KdsKnob::ChainOf(other) => family = *other,
            _ => {}
        }
    }
    BufferedResponse::bytes(200, "application/x-pem-file", hierarchy(owner, family).chain_pem(kind))
}

fn crl(product: Product, kind: SigningKey, knobs: &[KdsKnob]) -> BufferedResponse {
    const YEAR: u64 = 365 * 24 * 60 * 60;
    /// 2020-10-22.
    const MADE_AT: u64 = 1_603_387_385;
    let (mut owner, mut family, mut kind) = (HierarchyOwner::Amd, product, kind);
    for knob in knobs {
        match knob {
            KdsKnob::ForgedCrl => owner = HierarchyOwner::Forger,
            KdsKnob::CrlOf(other) => family = *other,
            KdsKnob::CrlOfOtherKind => kind = kind.other(),
            _ => {}
        }
    }
    let issuer = match kind {
        SigningKey::Vcek => CertificateRole::Ask,
        SigningKey::Vlek => CertificateRole::Asvk,
    };
    let unnamed = knobs.contains(&KdsKnob::CrlNamesNoDistributionPoint);
    let crl = hierarchy(owner, family).crl();
    let crl = if unnamed { crl } else { crl.distribution_point(kind) };
    let crl = knobs.iter().fold(crl, |crl, knob| match knob {
        KdsKnob::ExpiredCrl => crl.next_update(Some(UnixTime::from_secs(MADE_AT).plus(YEAR))),
        KdsKnob::CrlMadeAt(time) => crl.this_update(*time),
        KdsKnob::CrlNumber(number) => crl.number(Some(*number)),
        KdsKnob::IssuerRevoked => crl.revoke(issuer),
        KdsKnob::RootRevoked => crl.revoke(CertificateRole::Ark),
        _ => crl,
    });
    der(&crl.issue())
}

fn thim(call: &Call, platform: &Platform) -> BufferedResponse {
    // As Azure's instance metadata service: a request that a server was tricked into making lacks this header.
    if call.headers.get("metadata").is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"true")) {
        return BufferedResponse::error(400, "the header Metadata: true is required");
    }
    BufferedResponse::json(&platform.thim())
}

fn der(bytes: &[u8]) -> BufferedResponse {
    BufferedResponse::bytes(200, "application/octet-stream", bytes.to_vec())
}

fn handler(state: &Arc<State>) -> Handler {
    let state = Arc::clone(state);
    of_whole_requests(move |call| {
        let state = Arc::clone(&state);
        async move { state.answer(call).await }
    })
}
