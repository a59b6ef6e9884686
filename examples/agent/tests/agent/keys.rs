//! The TLS key: made by the agent, certified from outside, replaced on a schedule.

use std::path::Path;

use blindbox_agent::Agent;
use rcgen::PublicKeyData as _;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair};
use rustls::NamedGroup;
use rustls::crypto::aws_lc_rs::default_provider;
use serde_json::json;

use crate::client::{Client, get};
use crate::lab::{
    self, Machine, TestServer, agent_without_machine, application, config, long_answers, moment, pass, soon,
};

/// The lifetime of a key without a certificate, in seconds.
const LIFETIME: u64 = 60 * 60;

/// Only the retirement of its key ends a connection, not silence or age.
const OPEN: &str =
    "[limits]\nidle-seconds = 1000000\nconnection-seconds = 1000000\nattestation-request-seconds = 1000000";

/// Someone who certifies what is asked, as ACME does.
struct Authority(Issuer<'static, KeyPair>, Vec<u8>);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self(Issuer::new(params, key), der)
    }

    fn certify(&self, request: &Path) -> String {
        let request = std::fs::read_to_string(request).unwrap();
        let request = CertificateSigningRequestParams::from_pem(&request).unwrap();
        request.signed_by(&self.0).unwrap().pem()
    }
}

async fn with_files(directory: &Path, lifetime: u64) -> (Agent, TestServer) {
    let application = application().await;
    let tables = format!(
        "[key]\nlifetime-seconds = {lifetime}\ncsr-file = {:?}\ncertificate-file = {:?}",
        directory.join("tls.csr"),
        directory.join("tls.pem")
    );
    let (agent, _) = agent_without_machine(&application, "", &tables).await;
    written(&directory.join("tls.csr"), |_| true).await;
    (agent, application)
}

/// The request, when there is one that is looked for. Files are not waited for by the agent.
async fn written(request: &Path, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let looking = async {
        loop {
            match std::fs::read(request) {
                Ok(text) if text.starts_with(b"-----BEGIN CERTIFICATE REQUEST-----") && wanted(&text) => return text,
                _ => moment().await,
            }
        }
    };
    soon(looking).await
}

/// Until a new connection shows what is looked for.
async fn until(agent: &Agent, seen: impl Fn(&Client) -> bool) -> Client {
    let looking = async {
        loop {
            let client = Client::connect(agent.address()).await;
            if seen(&client) {
                return client;
            }
            moment().await;
        }
    };
    soon(looking).await
}

/// How the certificate looks when it is not the agent's own.
fn certified(authority: &Authority, client: &Client) -> bool {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (_, leaf) = X509Certificate::from_der(&client.chain[0]).unwrap();
    let (_, root) = X509Certificate::from_der(&authority.1).unwrap();
    leaf.issuer() == root.subject() && leaf.issuer() != leaf.subject()
}

#[tokio::test]
async fn every_agent_makes_its_own_key_and_has_it_proven() {
    let application = application().await;
    let (one, _) = agent_without_machine(&application, "", "").await;
    let (other, _) = agent_without_machine(&application, "", "").await;
    assert_ne!(one.spki_digest(), other.spki_digest());
    assert_eq!(Client::connect(one.address()).await.spki_digest(), one.spki_digest());
}

#[tokio::test]
async fn connections_are_never_resumed() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let resumption = rustls::client::Resumption::in_memory_sessions(8);
    for _ in 0..3 {
        let mut client = Client::with(agent.address(), |config| config.resumption = resumption.clone()).await.unwrap();
        assert_eq!(client.send(&get("/status")).await.status, 200);
        assert_eq!(client.tls().handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(client.tls().tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_certificate_for_its_own_key_is_used_and_keeps_connections_open() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, _application) = with_files(directory.path(), 3600).await;
    let mut before = Client::connect(agent.address()).await;
    let authority = Authority::new();
    std::fs::write(directory.path().join("tls.pem"), authority.certify(&directory.path().join("tls.csr"))).unwrap();
    let after = until(&agent, |client| certified(&authority, client)).await;
    assert_eq!(after.spki_digest(), before.spki_digest());
    assert_eq!(before.send(&get("/status")).await.status, 200);
}

/// What the files of `rotation` refuse is refused here too, and what comes after it is used.
#[tokio::test]
async fn files_that_are_not_used_keep_no_good_one_from_being_used() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, _application) = with_files(directory.path(), 3600).await;
    let (authority, before) = (Authority::new(), Client::connect(agent.address()).await);
    let good = authority.certify(&directory.path().join("tls.csr"));
    let foreign = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let bad = [
        params.signed_by(&foreign, &authority.0).unwrap().pem(),
        good.clone() + &foreign.serialize_pem(),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
        String::new(),
    ];
    for file in bad {
        std::fs::write(directory.path().join("tls.pem"), file).unwrap();
        assert_eq!(Client::connect(agent.address()).await.chain, before.chain);
    }
    std::fs::write(directory.path().join("tls.pem"), good).unwrap();
    let after = until(&agent, |client| {
        assert!(client.chain == before.chain || certified(&authority, client));
        certified(&authority, client)
    });
    assert_eq!(after.await.spki_digest(), before.spki_digest());
}

#[tokio::test]
async fn the_request_is_for_the_key_and_names_and_no_file_holds_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, _application) = with_files(directory.path(), 3600).await;
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().flatten().collect();
    assert_eq!(files.len(), 1);
    let text = std::fs::read_to_string(files[0].path()).unwrap();
    assert!(text.starts_with("-----BEGIN CERTIFICATE REQUEST-----") && !text.contains("PRIVATE"));
    let request = CertificateSigningRequestParams::from_pem(&text).unwrap();
    let spki = request.public_key.subject_public_key_info();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &spki);
    assert_eq!(hex::encode(digest), agent.spki_digest());
    assert_eq!(request.params.subject_alt_names.len(), 2);
}

#[tokio::test]
async fn a_link_where_the_request_is_written_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let victim = directory.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    for name in ["tls.new", "tls.csr"] {
        std::os::unix::fs::symlink(&victim, directory.path().join(name)).unwrap();
    }
    let (_agent, _application) = with_files(directory.path(), 3600).await;
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(std::fs::read_to_string(directory.path().join("tls.csr")).unwrap().contains("CERTIFICATE REQUEST"));
}

#[tokio::test]
async fn a_key_ends_with_its_life_and_its_connections_with_it() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", OPEN).await;
    let mut old = Client::connect(agent.address()).await;
    let key = old.spki_digest();
    pass(LIFETIME).await;
    let mut new = until(&agent, |client| client.spki_digest() != key).await;
    assert_eq!(new.send(&get("/status")).await.status, 200);
    assert!(soon(old.closed()).await);
}

#[tokio::test]
async fn a_pipe_where_the_certificate_is_looked_for_keeps_no_key_alive() {
    let directory = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(directory.path().join("tls.pem")).status().unwrap();
    assert!(made.success());
    let (agent, _application) = with_files(directory.path(), LIFETIME).await;
    let first = agent.spki_digest();
    pass(LIFETIME).await;
    let second = until(&agent, |client| client.spki_digest() != first).await.spki_digest();
    pass(LIFETIME).await;
    until(&agent, |client| ![&first, &second].contains(&&client.spki_digest())).await;
}

#[tokio::test]
async fn the_next_key_takes_over_when_its_certificate_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (agent, _application) = with_files(directory.path(), 3600).await;
    let request = directory.path().join("tls.csr");
    let (first_key, first_request) = (agent.spki_digest(), std::fs::read(&request).unwrap());
    // At two thirds of the lifetime.
    pass(2400).await;
    written(&request, |request| {
        assert_eq!(agent.spki_digest(), first_key);
        request != first_request
    })
    .await;
    let authority = Authority::new();
    std::fs::write(directory.path().join("tls.pem"), authority.certify(&request)).unwrap();
    let client = until(&agent, |client| client.spki_digest() != first_key).await;
    assert!(certified(&authority, &client));
}

/// Neither the key of its connection, which a thief may have by then, nor the one that serves by now.
#[tokio::test]
async fn on_a_connection_of_a_retired_key_nothing_is_attested() {
    let machine = Machine::new();
    let (application, context) = (application().await, machine.security_context());
    let address = format!("http://{}", application.address);
    let config = config(&address, "", OPEN);
    let agent = Agent::start(&config, machine.source(&context)).await.unwrap();
    let mut client = Client::connect(agent.address()).await;
    // A request that has begun keeps its connection open over the change.
    let body = json!({ "nonce": "0".repeat(64) }).to_string();
    let (head, rest) = (crate::client::post("/attest/combined", &body), 10);
    client.write(&head[..head.len() - rest]).await;
    let key = client.spki_digest();
    // By the response to this the agent has seen it.
    assert_eq!(Client::connect(agent.address()).await.send(&get("/status")).await.status, 200);
    pass(LIFETIME).await;
    until(&agent, |client| client.spki_digest() != key).await;
    client.write(&head[head.len() - rest..]).await;
    let answer = client.read().await.unwrap();
    let expected = "the key of this connection has retired: open a new connection";
    assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some(expected)));
    assert_eq!(machine.reports(), 0);
    assert!(soon(client.closed()).await);
}

#[tokio::test]
async fn an_attestation_names_the_key_of_its_connection() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let machine = Machine::new();
    let (application, context) = (application().await, machine.security_context());
    let address = format!("http://{}", application.address);
    let agent = Agent::start(&config(&address, "", ""), machine.source(&context)).await.unwrap();
    let mut client = Client::connect(agent.address()).await;
    let answer = client.post("/attest/combined", &json!({ "nonce": "0".repeat(64) }).to_string()).await.json();
    let runtime_data = STANDARD.decode(answer["runtime_data"].as_str().unwrap()).unwrap();
    assert!(String::from_utf8(runtime_data).unwrap().contains(&client.spki_digest()));
}

#[tokio::test]
async fn a_connection_of_a_retired_key_is_cut_a_minute_later_whatever_goes_on_on_it() {
    let application = long_answers(48 * 1024 * 1024).await;
    let (agent, _) = agent_without_machine(&application, "", OPEN).await;
    let mut client = Client::connect(agent.address()).await;
    let key = client.spki_digest();
    client.write(&get("/")).await;
    lab::until("the application is asked", || application.count() > 0).await;
    pass(LIFETIME).await;
    until(&agent, |client| client.spki_digest() != key).await;
    // Nothing is read for now: what is cut ends in the middle. The minute counts from when the connection has seen its key retire.
    for _ in 0..20 {
        moment().await;
        pass(61).await;
    }
    let received = soon(client.rest()).await;
    assert!(received.len() < 48 * 1024 * 1024, "all of it arrived");
}

#[test]
fn a_key_lives_an_hour_where_no_authority_certifies_it_and_a_day_where_one_does() {
    let lifetime = |tables: &str| config("http://127.0.0.1:8000", "", tables).key.lifetime().as_secs();
    assert_eq!(lifetime(""), 60 * 60);
    assert_eq!(lifetime("[key]\ncsr-file = \"/a\""), 60 * 60);
    assert_eq!(lifetime("[key]\ncsr-file = \"/a\"\ncertificate-file = \"/b\""), 24 * 60 * 60);
    assert_eq!(lifetime("[key]\ncsr-file = \"/a\"\ncertificate-file = \"/b\"\nlifetime-seconds = 5"), 5);
}

#[tokio::test]
async fn key_exchange_is_x25519mlkem768_where_the_client_has_it_and_x25519_where_not() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let negotiated = async |classical: bool| {
        let mut provider = default_provider();
        provider.kx_groups.retain(|group| !(classical && group.name() == NamedGroup::X25519MLKEM768));
        let client = Client::offering(provider, agent.address()).await;
        client.tls().negotiated_key_exchange_group().unwrap().name()
    };
    assert_eq!(negotiated(false).await, NamedGroup::X25519MLKEM768);
    assert_eq!(negotiated(true).await, NamedGroup::X25519);
}
