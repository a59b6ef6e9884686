//! Azure's certificate of the attestation key, and the certificate of the chip.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_attestation::emulator::Kds;
use blindbox_attestation::emulator::azure_vm::{AkCertificateBuilder, VirtualTpmAuthority};
use blindbox_attestation::{Binding, Trust, Violation};

use super::{Scene, evidence, pem, start};
use crate::lab::{ClosedPort, Handler, TestServer, answer, moment, passing};

impl Scene {
    /// A certificate of the attestation key to be filled in.
    fn certificate(&self) -> AkCertificateBuilder<'_> {
        self.paravisor.authority.certificate_of_modulus(&self.paravisor.swtpm.modulus())
    }
}

fn chain_of(evidence: &serde_json::Value) -> Option<String> {
    let chain = evidence.get("ak_chain")?.as_str().unwrap();
    Some(String::from_utf8(STANDARD.decode(chain).unwrap()).unwrap())
}

fn unfolded(pem: &str) -> String {
    pem.replace('\n', "")
}

/// The line that lets certificates of issuers be fetched from these servers.
fn hosts(servers: &[SocketAddr]) -> String {
    let servers: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    format!("ak-issuer-hosts = {servers:?}")
}

/// A server of certificates that knows one path.
async fn authority(der: Vec<u8>) -> TestServer {
    let handler: Handler = Arc::new(move |request, _| match request.uri().path() {
        "/ca.crt" => answer(200, der.clone()),
        _ => answer(404, "no certificate"),
    });
    TestServer::plain(handler).await
}

#[tokio::test]
async fn the_issuer_is_fetched_from_where_the_certificate_says() {
    let Some(scene) = Scene::start().await else { return };
    let [_, issuer] = &scene.certificate().chain().unwrap()[..] else { panic!("two certificates") };
    let authority = authority(issuer.clone()).await;
    let leaf =
        scene.certificate().issuer_url(&format!("http://{}/ca.crt", authority.address)).chain().unwrap().remove(0);
    scene.paravisor.swtpm.set_certificate(&leaf);
    let agent = start(&scene.config(&hosts(&[authority.address]), "")).await.unwrap();
    // Without the zeros that fill the index.
    let expected = unfolded(&(pem(&leaf) + &pem(issuer)));
    assert_eq!(chain_of(&evidence(&agent).await).map(|chain| unfolded(&chain)), Some(expected));
    assert_eq!(authority.count(), 1);
    let kds = Kds::start().await.unwrap();
    let policy = scene.policy(Trust::amd(), Binding::OwnKey).require_ak_certificate().unwrap();
    drop(scene.connect(&agent, &policy, &kds).await.unwrap());
}

/// The host writes the index. What it names there is not connected to, unless the configuration has it.
#[tokio::test]
async fn nothing_is_sent_to_an_address_that_the_configuration_does_not_have() {
    let Some(scene) = Scene::start().await else { return };
    let target = authority(scene.certificate().chain().unwrap().remove(1)).await;
    let port = target.address.port();
    for url in [
        format!("http://127.0.0.1:{port}/ca.crt"),
        format!("http://localhost:{port}/ca.crt"),
        format!("http://[::ffff:127.0.0.1]:{port}/ca.crt"),
        format!("http://crl.microsoft.com@127.0.0.1:{port}/ca.crt"),
        format!("http://{}/admin/reset?x=1", scene.application.address),
        format!("http://{}/metadata/THIM/amd/certification", scene.metadata.address),
    ] {
        scene.paravisor.swtpm.set_certificate(&scene.certificate().issuer_url(&url).chain().unwrap().remove(0));
        let before = scene.metadata.count();
        let agent = start(&scene.config("", "")).await.unwrap();
        assert_eq!(chain_of(&evidence(&agent).await), None, "{url}");
        // The one request for the certificate of the chip.
        assert_eq!((target.count(), scene.application.count(), scene.metadata.count()), (0, 0, before + 1), "{url}");
    }
}

/// Also a host of the list cannot lead the agent elsewhere.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let Some(scene) = Scene::start().await else { return };
    let location = format!("http://{}/admin", scene.application.address);
    let handler: Handler = Arc::new(move |_, _| {
        let mut redirect = answer(302, "");
        redirect.headers_mut().insert("location", location.parse().unwrap());
        redirect
    });
    let server = TestServer::plain(handler).await;
    let leaf = scene.certificate().issuer_url(&format!("http://{}/ca.crt", server.address)).chain().unwrap().remove(0);
    scene.paravisor.swtpm.set_certificate(&leaf);
    let agent = start(&scene.config(&hosts(&[server.address, scene.metadata.address]), "")).await.unwrap();
    assert_eq!(chain_of(&evidence(&agent).await), None);
    assert_eq!((server.count(), scene.application.count()), (1, 0));
}

/// A chain that clients would refuse is not sent: to those that do not require it, it is of no use.
#[tokio::test]
async fn a_certificate_that_clients_would_refuse_is_left_out() {
    let Some(scene) = Scene::start().await else { return };
    let kds = Kds::start().await.unwrap();
    let closed = ClosedPort::new();
    let unreachable = scene.certificate().issuer_url(&format!("http://{}/ca.crt", closed.address()));
    let [_, issuer] = &scene.certificate().chain().unwrap()[..] else { panic!("two certificates") };
    let another = authority(scene.certificate().chain().unwrap().remove(0)).await;
    let wrong = scene.certificate().issuer_url(&format!("http://{}/ca.crt", another.address));
    let missing = scene.certificate().issuer_url(&format!("http://{}/other.crt", another.address));
    let trusted_launch = scene.certificate().subject("01d451636602.TrustedVM.Azure.windows.net");
    let expired = scene.certificate().not_after("260101000000Z");
    let of_another_key = scene.paravisor.authority.certificate_of_modulus(&[0xc5; 256]);
    let no_certificate = vec![0x30, 0x03, 0x02, 0x01, 0x01];
    let first = |builder: &AkCertificateBuilder<'_>| builder.chain().unwrap().remove(0);
    for content in [
        first(&unreachable),
        first(&wrong),
        first(&missing),
        // Neither names an address, and clients have no authority of the name.
        first(&scene.certificate()),
        first(&trusted_launch),
        first(&expired),
        first(&of_another_key),
        no_certificate,
        Vec::new(),
    ] {
        scene.paravisor.swtpm.set_certificate(&content);
        let agent = start(&scene.config(&hosts(&[closed.address(), another.address]), "")).await.unwrap();
        assert_eq!(chain_of(&evidence(&agent).await), None);
        let policy = scene.policy(Trust::amd(), Binding::OwnKey);
        drop(scene.connect(&agent, &policy, &kds).await.unwrap());
        let policy = policy.require_ak_certificate().unwrap();
        let error = scene.connect(&agent, &policy, &kds).await.unwrap_err();
        assert!(matches!(error.violation(), Some(Violation::NotReported { .. })), "{error:?}");
    }
    // The file has it, whatever the address does.
    scene.paravisor.swtpm.set_certificate(&first(&unreachable));
    let agent = scene.agent().await;
    let expected = unfolded(&(pem(&first(&unreachable)) + &pem(issuer)));
    assert_eq!(chain_of(&evidence(&agent).await).map(|chain| unfolded(&chain)), Some(expected));
}

/// An attacker on the path of plain HTTP can end neither evidence nor the chain that was fetched before.
#[tokio::test]
async fn a_chain_stays_where_its_issuer_is_later_not_available_or_forged() {
    let Some(scene) = Scene::start().await else { return };
    let issuer = scene.certificate().chain().unwrap().remove(1);
    let forger = VirtualTpmAuthority::impostor().unwrap();
    let forged = forger.certificate_of_modulus(&scene.paravisor.swtpm.modulus()).chain().unwrap().remove(1);
    let served = Arc::new(Mutex::new((200, issuer.clone())));
    let serving = Arc::clone(&served);
    let authority = TestServer::plain(Arc::new(move |_, _| {
        let (status, body) = serving.lock().unwrap().clone();
        answer(status, body)
    }))
    .await;
    let leaf =
        scene.certificate().issuer_url(&format!("http://{}/ca.crt", authority.address)).chain().unwrap().remove(0);
    scene.paravisor.swtpm.set_certificate(&leaf);
    // From the start, there is none.
    *served.lock().unwrap() = (200, forged.clone());
    let config = scene.config(&hosts(&[authority.address]), "");
    let without = start(&config).await.unwrap();
    assert_eq!(chain_of(&evidence(&without).await), None);
    drop(without);
    *served.lock().unwrap() = (200, issuer.clone());
    let agent = start(&config).await.unwrap();
    let expected = Some(unfolded(&(pem(&leaf) + &pem(&issuer))));
    let kds = Kds::start().await.unwrap();
    let policy = scene.policy(Trust::amd(), Binding::OwnKey).require_ak_certificate().unwrap();
    for (status, body) in [(200, forged), (503, Vec::new()), (200, vec![0; 9000])] {
        *served.lock().unwrap() = (status, body);
        // When the second attempt asks, the first is over.
        let second = authority.count() + 2;
        passing(5, async {
            while authority.count() < second {
                moment().await;
            }
        })
        .await;
        assert_eq!(chain_of(&evidence(&agent).await).map(|chain| unfolded(&chain)), expected, "{status}");
        drop(scene.connect(&agent, &policy, &kds).await.unwrap());
    }
}

#[tokio::test]
async fn without_the_metadata_service_clients_ask_amd_for_the_chips_certificate() {
    let Some(mut scene) = Scene::start().await else { return };
    let closed = ClosedPort::new();
    scene.metadata = TestServer::at(closed.address());
    let agent = scene.agent().await;
    let evidence = evidence(&agent).await;
    assert_eq!(evidence.get("endorsements"), None);
    let kds = Kds::start().await.unwrap();
    drop(scene.connect(&agent, &scene.policy(Trust::amd(), Binding::OwnKey), &kds).await.unwrap());
    assert_eq!(kds.vcek_fetches(), 1);
}
