//! Everything around an agent, emulated: the guest device and its machine, MAA, the sidecar, the application, a client.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_agent::{Agent, Config, Device, EvidenceError, SecurityContext, Sidecar, Source};
use blindbox_attestation::claims::TokenShape;
use blindbox_attestation::emulator::{Guest, HardwareEvidence, Maa, Platform, ReportSource as _, UVM_FEED};
use blindbox_attestation::snp::{self, Collateral, Revocation};
use blindbox_attestation::uvm::{self, EndorsementExpectations};
use blindbox_attestation::{Policy, Product, ReportData, Trust, UnixTime, UvmRequirement, Workload};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

/// A machine of AMD's with a guest on it.
#[derive(Clone)]
pub struct Machine {
    pub platform: Platform,
    pub guest: Guest,
    reports: Arc<AtomicUsize>,
    /// What the firmware puts into its reports in place of what it is asked for.
    pub lie: Option<[u8; 64]>,
}

impl Machine {
    pub fn new() -> Self {
        let platform = Platform::new(Product::Genoa);
        let mut guest = Guest::container();
        platform.place(&mut guest);
        Self { platform, guest, reports: Arc::default(), lie: None }
    }

    pub fn reports(&self) -> usize {
        self.reports.load(Ordering::SeqCst)
    }

    fn evidence(&self, report_data: [u8; 64]) -> HardwareEvidence {
        self.reports.fetch_add(1, Ordering::SeqCst);
        self.platform.evidence(&self.guest, &ReportData::new(report_data), &[])
    }

    /// The files that the utility VM puts into a container.
    pub fn security_context(&self) -> TempDir {
        let evidence = self.platform.evidence(&self.guest, &ReportData::new([0; 64]), &[]);
        let certificates = host_certificates(&evidence);
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            std::fs::write(directory.path().join(name), STANDARD.encode(content)).unwrap();
        };
        write("host-amd-cert-base64", certificates.to_string().as_bytes());
        write("reference-info-base64", &evidence.uvm_endorsements);
        directory
    }

    pub fn source(&self, context: &TempDir) -> Source {
        Source::Device(Arc::new(self.clone()), SecurityContext::find(Some(context.path())).unwrap())
    }
}

/// What Azure hands to a machine: the certificates of its chip, and their TCB.
pub fn host_certificates(evidence: &HardwareEvidence) -> Value {
    let end = "-----END CERTIFICATE-----\n";
    let (first, chain) = evidence.endorsements_pem.split_once(end).unwrap();
    let mut tcb = hex::decode(&evidence.endorsed_tcb).unwrap();
    tcb.reverse();
    json!({
        "vcekCert": format!("{first}{end}"),
        "tcbm": hex::encode(tcb),
        "certificateChain": chain,
        "cacheControl": "86400",
    })
}

impl Device for Machine {
    fn report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, EvidenceError> {
        Ok(self.evidence(self.lie.unwrap_or(*report_data)).report)
    }
}

/// What a test server responds, and which requests it got.
pub type Handler = Arc<dyn Fn(&Request<()>, &Bytes) -> Response<Full<Bytes>> + Send + Sync>;

/// A request as it arrived: head and body.
pub type Arrived = (hyper::http::request::Parts, Bytes);

/// A server of a test's own.
pub struct TestServer {
    pub address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl TestServer {
    pub fn arrived(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.arrived.lock().unwrap())
    }

    pub fn count(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }

    /// One that a test serves by itself.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, arrived: Arc::default() }
    }

    pub async fn plain(handler: Handler) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = Self::at(listener.local_addr().unwrap());
        let arrived = Arc::clone(&server.arrived);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&handler), Arc::clone(&arrived)));
            }
        });
        server
    }

    pub fn unix(path: &std::path::Path, handler: Handler) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let server = Self::at((Ipv4Addr::LOCALHOST, 0).into());
        let arrived = Arc::clone(&server.arrived);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&handler), Arc::clone(&arrived)));
            }
        });
        server
    }
}

async fn serve<S>(stream: S, handler: Handler, arrived: Arc<Mutex<Vec<Arrived>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let (handler, arrived) = (Arc::clone(&handler), Arc::clone(&arrived));
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            arrived.lock().unwrap().push((head.clone(), body.clone()));
            Ok::<_, hyper::Error>(handler(&Request::from_parts(head, ()), &body))
        }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

pub fn answer(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
    answer
}

/// An MAA instance that takes reports at its REST interface: it verifies them, and signs with the emulator's keys.
pub struct MaaEndpoint {
    pub issuer: String,
    pub root_pem: String,
    pub key_set: String,
    /// Whether it says to try later.
    pub away: Arc<AtomicBool>,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl MaaEndpoint {
    pub async fn start(machine: &Machine) -> Self {
        Self::of(&machine.platform).await
    }

    pub async fn of(platform: &Platform) -> Self {
        let maa = Maa::start().await.unwrap();
        let (root_pem, tls) = tls_server();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let issuer = format!("https://{}", listener.local_addr().unwrap());
        let key_set = maa.key_set();
        let (platform, arrived) = (platform.clone(), Arc::<Mutex<Vec<Arrived>>>::default());
        let away = Arc::<AtomicBool>::default();
        let maa_endpoint = Self {
            issuer: issuer.clone(),
            root_pem,
            key_set: key_set.clone(),
            away: Arc::clone(&away),
            arrived: arrived.clone(),
        };
        let handler: Handler = Arc::new(move |request, body| match request.uri().to_string().as_str() {
            "/certs" => answer(200, key_set.clone()),
            "/attest/SevSnpVm?api-version=2022-08-01" if away.load(Ordering::SeqCst) => answer(503, "{}"),
            "/attest/SevSnpVm?api-version=2022-08-01" => match judge(&maa, &platform, &issuer, body) {
                Some(token) => answer(200, json!({ "token": token }).to_string()),
                None => answer(400, r#"{"error":{"code":"InvalidParameter"}}"#),
            },
            _ => answer(404, "{}"),
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, handler, arrived) = (tls.clone(), Arc::clone(&handler), Arc::clone(&arrived));
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, handler, arrived).await;
                    }
                });
            }
        });
        maa_endpoint
    }

    pub fn host(&self) -> &str {
        self.issuer.strip_prefix("https://").unwrap()
    }

    pub fn count(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }

    pub fn trust(&self) -> Trust {
        Trust::maa(&self.issuer).unwrap().require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm)).unwrap()
    }
}

/// Takes the request apart as MAA's documentation has it; anything that is not in its form or not genuine gets no token.
fn judge(maa: &Maa, platform: &Platform, issuer: &str, body: &[u8]) -> Option<String> {
    let decode = |value: &Value| URL_SAFE_NO_PAD.decode(value.as_str()?).ok();
    let request: Value = serde_json::from_slice(body).ok()?;
    assert_eq!(request["runtimeData"]["dataType"], "JSON");
    let runtime_data = decode(&request["runtimeData"]["data"])?;
    let report: Value = serde_json::from_slice(&decode(&request["report"])?).ok()?;
    let endorsements: Option<Value> =
        decode(&report["Endorsements"]).map(|json| serde_json::from_slice(&json).unwrap());
    let certificates = snp::certificates_from_pem(&decode(&report["VcekCertChain"])?).ok()?;
    let report = decode(&report["SnpReport"])?;

    let collateral = Collateral::new(certificates.first()?);
    let verified = snp::verify(&report, &collateral, &platform.anchors(), Revocation::Off, now()).ok()?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &runtime_data);
    let report_data = [digest.as_ref(), &[0; 32]].concat();
    if verified.snp().report_data.as_bytes().as_slice() != report_data {
        return None;
    }
    let claims = match endorsements {
        Some(endorsements) => {
            let expected = EndorsementExpectations::new(platform.uvm_issuer(), UVM_FEED);
            let endorsement = uvm::verify(&decode(&endorsements["Uvm"][0])?, &expected).ok()?;
            let mut guest = Guest::container();
            guest.snp = verified.snp().clone();
            guest.uvm = Some(endorsement.claims().clone());
            maa.claims(&guest, &runtime_data)
        }
        // A confidential VM, whose runtime data are the claims of its paravisor.
        None => {
            let mut guest = Guest::confidential_vm_direct();
            guest.snp = verified.snp().clone();
            let runtime: Value = serde_json::from_slice(&runtime_data).ok()?;
            let claims = maa.claims(&guest, &runtime_data).claim("x-ms-runtime", runtime);
            claims.claim("x-ms-sevsnpvm-reportdata", hex::encode(report_data))
        }
    };
    let claims = claims.claim("iss", issuer);
    let header = json!({ "alg": "RS256", "jku": format!("{issuer}/certs"), "kid": maa.kid(), "typ": "JWT" });
    Some(maa.sign_raw(&header.to_string(), &claims.to_text()))
}

/// Microsoft's SKR sidecar as far as an agent sees it: it attests whatever is posted to it.
pub async fn sidecar(machine: &Machine, maa: &Arc<Maa>) -> TestServer {
    let (machine, signer) = (machine.clone(), Arc::clone(maa));
    TestServer::plain(Arc::new(move |request, body| {
        let body: Value = serde_json::from_slice(body).unwrap();
        let runtime_data = STANDARD.decode(body["runtime_data"].as_str().unwrap()).unwrap();
        match request.uri().path() {
            "/attest/maa" => {
                assert_eq!(body["maa_endpoint"], signer.endpoint());
                let token = signer.sign(signer.claims(&machine.guest, &runtime_data).value());
                answer(200, json!({ "token": token }).to_string())
            }
            "/attest/combined" => {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &runtime_data);
                let mut report_data = [0; 64];
                report_data[..32].copy_from_slice(digest.as_ref());
                let evidence = machine.evidence(machine.lie.unwrap_or(report_data));
                let body = json!({
                    "evidence": STANDARD.encode(evidence.report),
                    "endorsements": STANDARD.encode(evidence.endorsements_pem),
                    "uvm_endorsements": STANDARD.encode(evidence.uvm_endorsements),
                    "endorsed_tcb": evidence.endorsed_tcb,
                });
                answer(200, body.to_string())
            }
            _ => answer(404, "{}"),
        }
    }))
    .await
}

pub fn sidecar_source(server: &TestServer) -> Source {
    Source::Sidecar(Sidecar::new(format!("http://{}", server.address).parse().unwrap()))
}

/// An application that says what it was asked.
pub async fn application() -> TestServer {
    TestServer::plain(echo()).await
}

pub fn echo() -> Handler {
    Arc::new(|request, body| {
        let mut answer = answer(200, [request.uri().to_string().as_bytes(), b" ", body].concat());
        answer.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
        answer.headers_mut().insert("x-application", "yes".parse().unwrap());
        answer
    })
}

/// A configuration for tests, with more lines at its top and its end.
pub fn config(application: &str, top: &str, tables: &str) -> Config {
    Config::from_toml(&format!(
        "listen = \"127.0.0.1:0\"\napplication = \"{application}\"\nnames = [\"127.0.0.1\", \"localhost\"]\n{top}\n{tables}"
    ))
    .unwrap()
}

/// What a client requires of the machine.
pub fn policy(trust: Trust, machine: &Machine) -> Policy {
    policy_for(Workload::binds_its_own_key(machine.guest.snp.host_data), trust, machine)
}

/// The same, of evidence about each connection.
pub fn connection_policy(trust: Trust, machine: &Machine) -> Policy {
    policy_for(Workload::binds_its_own_connection(machine.guest.snp.host_data), trust, machine)
}

/// The same, of evidence about a message key.
pub fn message_policy(trust: Trust, machine: &Machine) -> Policy {
    policy_for(Workload::binds_its_own_message_key(machine.guest.snp.host_data), trust, machine)
}

fn policy_for(workload: Workload, trust: Trust, machine: &Machine) -> Policy {
    Policy::confidential_container(
        trust,
        workload,
        UvmRequirement::at_least(100).issued_by(machine.platform.uvm_issuer()),
    )
    .unwrap()
}

pub fn now() -> UnixTime {
    std::time::SystemTime::now().into()
}

/// A root, and a server under it for loopback.
fn tls_server() -> (String, TlsAcceptor) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    (root_pem, TlsAcceptor::from(Arc::new(config)))
}

/// Starts an agent without a genuine machine, for what does not come as far as a report.
pub async fn agent_without_machine(application: &TestServer, top: &str, tables: &str) -> (Agent, Arc<AtomicUsize>) {
    struct Counting(Arc<AtomicUsize>);
    impl Device for Counting {
        fn report(&self, _: &[u8; 64]) -> Result<Vec<u8>, EvidenceError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(EvidenceError::Device("not a machine".to_owned()))
        }
    }
    let reports = Arc::<AtomicUsize>::default();
    (agent_with_device(Counting(Arc::clone(&reports)), application, top, tables).await, reports)
}

/// Starts an agent with a device of a test's own, and files in the form of a security context.
pub async fn agent_with_device(device: impl Device, application: &TestServer, top: &str, tables: &str) -> Agent {
    let directory = tempfile::tempdir().unwrap();
    let host = json!({ "vcekCert": "", "tcbm": "0000000000000000", "certificateChain": "" });
    std::fs::write(directory.path().join("host-amd-cert-base64"), STANDARD.encode(host.to_string())).unwrap();
    std::fs::write(directory.path().join("reference-info-base64"), STANDARD.encode("no document")).unwrap();
    let context = SecurityContext::find(Some(directory.path())).unwrap();
    // The files have to be there for as long as reports are asked for.
    let _ = directory.keep();
    let config = config(&format!("http://{}", application.address), top, tables);
    Agent::start(&config, Source::Device(Arc::new(device), context)).await.unwrap()
}

/// An application whose every response has so many bytes.
pub async fn long_answers(bytes: usize) -> TestServer {
    let body = Bytes::from(vec![b'x'; bytes]);
    TestServer::plain(Arc::new(move |_, _| answer(200, body.clone()))).await
}

/// Time in which everything here gets to work, and nothing that depends on how long it is.
pub async fn moment() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Waits until something is so. The limit ends a test that would hang.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < HANG, "{what}");
        moment().await;
    }
}

/// Lets time go by, so many seconds at a time, until something has happened.
pub async fn passing<T>(seconds: u64, event: impl Future<Output = T>) -> T {
    let (begun, mut event) = (Instant::now(), std::pin::pin!(event));
    loop {
        tokio::select! {
            biased;
            outcome = &mut event => return outcome,
            () = moment() => {}
        }
        assert!(begun.elapsed() < HANG, "it does not happen, however much time goes by");
        pass(seconds).await;
    }
}

/// Limits a wait that only a fault makes long. It is real time, or less where a test lets time go by.
pub async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, event).await.expect("it does not happen")
}

const HANG: Duration = Duration::from_secs(120);

/// A port of this host on which no one listens. It is held, so that no one else comes to listen on it.
pub struct ClosedPort(tokio::net::TcpSocket);

impl ClosedPort {
    pub fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// Time goes by for everything here, and none for the network.
pub async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}
