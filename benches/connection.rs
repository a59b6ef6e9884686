//! What an attested session costs the client, beside the bare cost of the same connections.
//!
//! `cargo bench --bench connection`, or with some of its sections: `-- connections requests bulk`. The servers are the emulator's, on
//! loopback, on a thread of their own; the key set is cached and MAA is trusted, as with every connection but the first of an hour. All
//! cases of a section run in every round, in an order of its own; a figure is the median over the rounds. Two things are measured: the
//! time on the clock, in which the servers' work is included, and the processor time of the client's thread, in which it is not (Linux
//! only). Connections are closed after that.
//!
//! "Bare" is hyper as reqwest uses it, with the same TLS settings (TLS 1.3, no resumption, no early data, the server's key
//! proven but no name validated). Three sections: a connection with its attestation and one request; requests over open
//! connections, one after the other, 16 and 64 at once; bodies of 64 MiB. The goal is 1.05 of bare in each. A connection is compared with
//! three of them: without attestation, with the attestation requested and not read, and with the signature of its token verified and
//! nothing else of it read. "Sealed" is a session
//! whose messages are sealed to a message key (X-Wing), over the same TLS: the goal for bodies is 1.3 of bare.

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use blindbox_attestation::emulator::{Application, BlindBox, Guest, HttpVersions, IncomingBody, Maa};
use blindbox_attestation::{Nonce, Policy, Session, Trust, UvmRequirement, Verifier, Workload};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use reqwest::{Client, RequestBuilder};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use x509_parser::prelude::{FromDer, X509Certificate};

const ROUNDS: usize = 301;
/// Warm requests in each round.
const BATCH: u32 = 10;
/// The length of the application's response.
const HELLO: usize = "hello from a BlindBox".len();
/// Rounds of the sections that take longer.
const WARM_ROUNDS: usize = 51;
const BULK_ROUNDS: usize = 11;
/// The length of a large body.
const BULK: usize = 64 << 20;

fn main() {
    let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let maa = servers.block_on(Maa::start()).unwrap();
    let verifier = Verifier::builder().collateral_roots(maa.tls_root_pem()).build().unwrap();
    // Of the sections that are named, or of all.
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = |section: &str| named.is_empty() || named.iter().any(|name| name == section);
    if runs("connections") {
        connections(&servers, &maa, &verifier);
    }
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        if runs("requests") {
            requests(&servers, &maa, &verifier, http);
        }
        if runs("bulk") {
            bulk(&servers, &maa, &verifier, http);
        }
    }
}

fn policy(maa: &Maa, blindbox: &BlindBox) -> Policy {
    policy_for(maa, blindbox, Workload::binds_its_own_key(blindbox.host_data()))
}

fn sealed_policy(maa: &Maa, blindbox: &BlindBox) -> Policy {
    policy_for(maa, blindbox, Workload::binds_its_own_message_key(blindbox.host_data()))
}

fn policy_for(maa: &Maa, blindbox: &BlindBox, workload: Workload) -> Policy {
    let trust = Trust::maa(maa.issuer()).unwrap().require_maa_policy_hash(blindbox.maa_policy_hash()).unwrap();
    Policy::confidential_container(trust, workload, UvmRequirement::at_least(100)).unwrap()
}

/// Connections that are opened, attested and used once.
fn connections(servers: &Runtime, maa: &Maa, verifier: &Verifier) {
    let blindbox = servers.block_on(BlindBox::builder(maa).start()).unwrap();
    let policy = policy(maa, &blindbox);
    // Each connection is attested, and named by the evidence.
    let own_connection = policy_for(maa, &blindbox, Workload::binds_its_own_connection(blindbox.host_data()));
    let (url, hello) = (blindbox.url(), &format!("{}/", blindbox.url()));

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    // The first connection fetches the key set.
    let session = runtime.block_on(verifier.connect(&url, &policy)).unwrap();
    let pooled = bare();
    let key = &signing_key(maa);
    let attestation = &|client: &Client| {
        let nonce = Nonce::new([7; 32]).to_string();
        let body = json!({ "maa_endpoint": maa.endpoint(), "nonce": nonce }).to_string();
        client.post(format!("{url}/attest/maa")).header("content-type", "application/json").body(body)
    };

    let names = [
        "bare: TLS, request",
        "bare: TLS, attestation unread, request",
        "bare: TLS, token's signature alone, request",
        "attested: connect(), request",
        "attested with own-connection: connect(), request",
        "bare: request over an open connection",
        "attested: request over an open connection",
        "the emulator signs one token",
    ];
    let mut cases = names.map(|_| Vec::new());
    for round in 0..ROUNDS {
        for case in order(round, cases.len()) {
            let client = bare();
            let times = match case {
                0 => measure(&runtime, 1, async move || assert_eq!(of_client(client.get(hello)).await, HELLO)),
                1 => measure(&runtime, 1, async move || {
                    assert!(of_client(attestation(&client)).await > 1000);
                    assert_eq!(of_client(client.get(hello)).await, HELLO);
                }),
                2 => measure(&runtime, 1, async move || {
                    let response = attestation(&client).send().await.unwrap().bytes().await.unwrap();
                    assert!(is_signed(&response, key));
                    assert_eq!(of_client(client.get(hello)).await, HELLO);
                }),
                3 => measure(&runtime, 1, async || {
                    let session = verifier.connect(&url, &policy).await.unwrap();
                    assert_eq!(of_session(&session, "/").await, HELLO);
                    session
                }),
                4 => measure(&runtime, 1, async || {
                    let session = verifier.connect(&url, &own_connection).await.unwrap();
                    assert_eq!(of_session(&session, "/").await, HELLO);
                    session
                }),
                5 => measure(&runtime, BATCH, async || assert_eq!(of_client(pooled.get(hello)).await, HELLO)),
                6 => measure(&runtime, BATCH, async || assert_eq!(of_session(&session, "/").await, HELLO)),
                _ => measure(&runtime, 1, async || {
                    assert!(maa.sign_with(maa.claims(&Guest::container(), b"{}"), &[]).len() > 1000);
                }),
            };
            cases[case].push(times);
        }
    }
    let connections = blindbox.traffic().tls_connections();
    assert_eq!(connections, 2 + 5 * ROUNDS, "connections are opened when measured, and at no other time");

    println!("{:<44} {:>10} {:>14}", "medians in us", "clock", "client's CPU");
    let medians = cases.map(|times| (median(times.iter().map(|it| it.0)), median(times.iter().map(|it| it.1))));
    for (name, (clock, cpu)) in names.iter().zip(medians) {
        println!("{name:<44} {clock:>10.0} {cpu:>14.0}");
    }
    let [cold_bare, cold_asking, cold_signed, cold, cold_own_connection, warm_bare, warm, _] = medians;
    for (name, ours, bare) in [
        ("connection / bare", cold, cold_bare),
        ("connection / bare with attestation unread", cold, cold_asking),
        ("connection / bare with its signature verified", cold, cold_signed),
        ("connection with own-connection / own-key", cold_own_connection, cold),
        ("open connection / bare", warm, warm_bare),
    ] {
        println!("{name:<44} {:>10.2} {:>14.2}", ours.0 / bare.0, ours.1 / bare.1);
    }
}

/// The key that the tokens are signed with, parsed as a client keeps it.
fn signing_key(maa: &Maa) -> ParsedPublicKey {
    let set: Value = serde_json::from_str(&maa.key_set()).unwrap();
    let key = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == maa.kid()).unwrap();
    let certificate = STANDARD.decode(key["x5c"][0].as_str().unwrap()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&certificate).unwrap();
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, certificate.public_key().raw).unwrap()
}

/// Verifies the signature of the token in an attestation, and reads nothing else of it: what no client that attests can go without.
fn is_signed(attestation: &[u8], key: &ParsedPublicKey) -> bool {
    let mut texts = attestation.split(|byte| *byte == b'"');
    let token = texts.find(|text| text.starts_with(b"eyJ") && text.contains(&b'.')).unwrap();
    let dot = token.iter().rposition(|byte| *byte == b'.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(&token[dot + 1..]).unwrap();
    key.verify_sig(&token[..dot], &signature).is_ok()
}

/// Requests over connections that are open: alone, and many at once.
fn requests(servers: &Runtime, maa: &Maa, verifier: &Verifier, http: HttpVersions) {
    let blindbox = servers.block_on(BlindBox::builder(maa).http(http).start()).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let session = runtime.block_on(verifier.connect(blindbox.url(), &policy(maa, &blindbox))).unwrap();
    let sealed = runtime.block_on(verifier.connect(blindbox.url(), &sealed_policy(maa, &blindbox))).unwrap();
    let (client, hello) = (bare(), format!("{}/", blindbox.url()));
    let at_once = [1, 16, 64];
    let mut cases: [_; 9] = std::array::from_fn(|_| Vec::new());
    // The first round opens the connections.
    for round in 0..=WARM_ROUNDS {
        for case in order(round, cases.len()) {
            let count = at_once[case / 3];
            let session = [None, Some(&session), Some(&sealed)][case % 3].cloned();
            let (client, hello) = (client.clone(), hello.clone());
            let times = measure(&runtime, BATCH, async || {
                let tasks: Vec<_> = (0..count)
                    .map(|_| {
                        let (client, session, hello) = (client.clone(), session.clone(), hello.clone());
                        tokio::spawn(async move {
                            match session {
                                Some(session) => of_session(&session, "/").await,
                                None => of_client(client.get(hello)).await,
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    assert_eq!(task.await.unwrap(), HELLO);
                }
            });
            if round > 0 {
                cases[case].push(times);
            }
        }
    }
    for (place, count) in at_once.into_iter().enumerate() {
        let name = format!("{http:?}: a request, {count} at once");
        compare(&name, &cases[3 * place], &cases[3 * place + 1], count);
        compare(&format!("{name}, sealed"), &cases[3 * place], &cases[3 * place + 2], count);
    }
}

/// Large bodies, up and down.
fn bulk(servers: &Runtime, maa: &Maa, verifier: &Verifier, http: HttpVersions) {
    let blindbox = BlindBox::builder(maa).http(http).application(Application::service(Bulk));
    let blindbox = servers.block_on(blindbox.start()).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let session = runtime.block_on(verifier.connect(blindbox.url(), &policy(maa, &blindbox))).unwrap();
    let sealed = runtime.block_on(verifier.connect(blindbox.url(), &sealed_policy(maa, &blindbox))).unwrap();
    let (client, url, body) = (bare(), format!("{}/", blindbox.url()), vec![7_u8; BULK]);
    let mut cases: [_; 6] = std::array::from_fn(|_| Vec::new());
    for round in 0..=BULK_ROUNDS {
        for case in order(round, cases.len()) {
            let session = if case < 4 { &session } else { &sealed };
            let times = match case {
                0 => measure(&runtime, 1, async || assert_eq!(read(client.get(&url)).await, BULK)),
                1 | 4 => measure(&runtime, 1, async || {
                    let mut response = session.get("/").send().await.unwrap();
                    let mut length = 0;
                    while let Some(chunk) = response.chunk().await.unwrap() {
                        length += chunk.len();
                    }
                    assert_eq!(length, BULK);
                }),
                2 => measure(&runtime, 1, async || {
                    assert_eq!(of_client(client.post(&url).body(body.clone())).await, BULK.to_string().len());
                }),
                _ => measure(&runtime, 1, async || {
                    let response = session.post("/").body(body.clone()).send().await.unwrap();
                    assert_eq!(response.text().await.unwrap(), BULK.to_string());
                }),
            };
            if round > 0 {
                cases[case].push(times);
            }
        }
    }
    compare(&format!("{http:?}: 64 MiB down"), &cases[0], &cases[1], 1);
    compare(&format!("{http:?}: 64 MiB down, sealed"), &cases[0], &cases[4], 1);
    compare(&format!("{http:?}: 64 MiB up"), &cases[2], &cases[3], 1);
    compare(&format!("{http:?}: 64 MiB up, sealed"), &cases[2], &cases[5], 1);
}

async fn of_session(session: &Session, target: &str) -> usize {
    session.get(target).send().await.unwrap().bytes().await.unwrap().len()
}

async fn of_client(request: RequestBuilder) -> usize {
    request.send().await.unwrap().bytes().await.unwrap().len()
}

async fn read(request: RequestBuilder) -> usize {
    let mut response = request.send().await.unwrap();
    let mut length = 0;
    while let Some(chunk) = response.chunk().await.unwrap() {
        length += chunk.len();
    }
    length
}

fn compare(name: &str, bare: &[(f64, f64)], ours: &[(f64, f64)], requests: u32) {
    let of = |times: &[(f64, f64)], part: fn(&(f64, f64)) -> f64| median(times.iter().map(part)) / f64::from(requests);
    for (what, part) in [("clock", (|it| it.0) as fn(&(f64, f64)) -> f64), ("client's CPU", |it| it.1)] {
        let (bare, ours) = (of(bare, part), of(ours, part));
        println!("{name:<32} {what:<12} bare {bare:>8.0} us, attested {ours:>8.0} us: {:>5.2}", ours / bare);
    }
}

/// An application that sends a large body, and counts those that it is sent.
#[derive(Clone)]
struct Bulk;

impl tower_service::Service<Request<IncomingBody>> for Bulk {
    type Response = Response<Zeros>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<IncomingBody>) -> Self::Future {
        if request.method() == http::Method::GET {
            return Box::pin(ready(Ok(Response::new(Zeros { text: None, left: BULK }))));
        }
        let mut body = Box::pin(request.into_body());
        Box::pin(async move {
            let mut length = 0;
            while let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                length += frame.into_data().map_or(0, |data| data.len());
            }
            Ok(Response::new(Zeros { text: Some(length.to_string().into()), left: 0 }))
        })
    }
}

/// A text, or zeros.
struct Zeros {
    text: Option<Bytes>,
    left: usize,
}

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; 64 << 10] = [0; 64 << 10];
        if let Some(text) = self.text.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let length = self.left.min(CHUNK.len());
        self.left -= length;
        Poll::Ready((length > 0).then(|| Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.left + self.text.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(length).unwrap())
    }
}

/// The cases of a round, each once. The order differs from round to round, so that no case always follows the same one: what that
/// leaves in the caches of the processor is no case's advantage.
fn order(round: usize, cases: usize) -> Vec<usize> {
    // splitmix64: any generator will do, but two runs have the same orders.
    let mut state = u64::try_from(round).unwrap();
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut order: Vec<_> = (0..cases).collect();
    order.sort_by_cached_key(|_| random());
    order
}

/// Time on the clock and of this thread's processor, in microseconds. Everything the client does is on this thread. What `run` owns and
/// returns is kept until the time was taken, and then dropped: no case closes its own connections, or those of another.
fn measure<T>(runtime: &Runtime, times: u32, mut run: impl AsyncFnMut() -> T) -> (f64, f64) {
    let used = processor_time();
    let start = Instant::now();
    let kept = runtime.block_on(async {
        let mut kept = Vec::with_capacity(usize::try_from(times).unwrap());
        for _ in 0..times {
            kept.push(run().await);
        }
        kept
    });
    let clock = start.elapsed();
    let used = processor_time() - used;
    drop((kept, run));
    // Connections are closed here.
    runtime.block_on(async { tokio::time::sleep(Duration::from_millis(2)).await });
    (clock.as_secs_f64() * 1e6 / f64::from(times), used / f64::from(times))
}

/// What this thread has used of the processor, in microseconds; not a number where the system does not say.
fn processor_time() -> f64 {
    // The kernel counts up to the last time that the thread gave up the processor.
    std::thread::sleep(Duration::from_micros(1));
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split(' ').next().and_then(|used| used.parse::<f64>().ok());
    nanoseconds.map_or(f64::NAN, |used| used / 1e3)
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A client of its own connections, with the settings of the crate's.
fn bare() -> Client {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ProvenKey(provider)))
        .with_no_client_auth();
    tls.resumption = Resumption::disabled();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // The window as the session's: large bodies are compared under the same flow control.
    let client = Client::builder().http2_initial_connection_window_size(1 << 30);
    client.tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}

/// The server must hold the key that it shows; whose it is does not matter, as in a session that goes by the key.
#[derive(Debug)]
struct ProvenKey(Arc<CryptoProvider>);

impl ServerCertVerifier for ProvenKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
