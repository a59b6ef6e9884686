//! An emulated BlindBox, and the facade's side of it.
#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use blindbox_attestation::emulator::{BlindBox, BlindBoxBuilder, Maa};
use blindbox_attestation::{Trust, UvmRequirement, Workload};
use blindbox_facade::{Cancel, Error, Policy, Request, Response, Session, Verifier};

/// So long a test waits for what must happen.
pub const LONG: Duration = Duration::from_secs(60);

pub struct Scene {
    pub runtime: tokio::runtime::Runtime,
    pub maa: Maa,
    pub blindbox: BlindBox,
    pub policy: Policy,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(|blindbox| blindbox)
    }

    pub fn with(change: impl FnOnce(BlindBoxBuilder) -> BlindBoxBuilder) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (maa, blindbox) = runtime.block_on(async {
            let maa = Maa::start().await.unwrap();
            let blindbox = change(BlindBox::builder(&maa)).start().await.unwrap();
            (maa, blindbox)
        });
        let trust = Trust::maa(maa.issuer()).unwrap().require_maa_policy_hash(blindbox.maa_policy_hash()).unwrap();
        let workload = Workload::binds_its_own_key(blindbox.host_data());
        let policy = blindbox_attestation::Policy::confidential_container(trust, workload, UvmRequirement::at_least(1));
        let policy = Policy::parse(&policy.unwrap().to_json()).unwrap();
        Self { runtime, maa, blindbox, policy }
    }

    pub fn verifier(&self) -> Verifier {
        let settings = serde_json::json!({
            "collateral_roots": self.maa.tls_root_pem(),
            "application_roots": self.blindbox.tls_root_pem(),
        });
        Verifier::new(&settings.to_string()).unwrap()
    }

    pub fn session(&self) -> Result<Session, Error> {
        wait(self.verifier().connect(&self.blindbox.url(), &self.policy))
    }
}

/// The URL of an application that responds as soon as it has the headers of a request, and reads and sends nothing more as long as the
/// connection is open.
pub fn early_application() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept() {
            let mut headers = Vec::new();
            while !headers.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if connection.read_exact(&mut byte).is_err() {
                    break;
                }
                headers.extend_from_slice(&byte);
            }
            drop(connection.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"));
            open.push(connection);
        }
    });
    url
}

/// Waits until something is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Blocks until work has ended.
pub fn wait<T: Send + 'static>(work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Error> {
    blindbox_facade::wait(work, LONG, || Err("the work takes too long")).unwrap()
}

/// Starts work, whose outcomes (there must be one) come through a channel.
pub fn start<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> (Cancel, Receiver<Result<T, Error>>) {
    let (sender, outcomes) = channel();
    let cancel = blindbox_facade::start(work, move |outcome| sender.send(outcome).unwrap()).unwrap();
    (cancel, outcomes)
}

pub fn get(target: &str) -> Request {
    Request { method: "GET".to_owned(), target: target.to_owned(), ..Request::default() }
}

pub fn post(target: &str, body: &[u8]) -> Request {
    let target = target.to_owned();
    Request { method: "POST".to_owned(), target, body: Some(body.to_vec().into()), ..Request::default() }
}

/// The whole body, and how many pulls it took.
pub fn read(response: &Response) -> (Vec<u8>, usize) {
    let early = response.early();
    let (mut body, mut pulls) = (early.bytes.to_vec(), 0);
    if early.complete {
        return (body, pulls);
    }
    while let Some(chunk) = wait(response.chunk()).unwrap() {
        body.extend_from_slice(&chunk);
        pulls += 1;
    }
    (body, pulls)
}
