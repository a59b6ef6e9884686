//! What the agent responds is accepted by the crate that its clients use.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_agent::{Agent, Source};
use blindbox_attestation::claims::{GuestPolicy, TokenShape};
use blindbox_attestation::emulator::{Kds, Maa};
use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::{Crl, Vek, certificates_from_pem};
use blindbox_attestation::{
    Attestation, AttestationError, Challenge, Channel, Endorsements, Evidence, Policy, ServerNameCheck, Session,
    SpkiDigest, TlsExporter, Trust, Verifier, Violation, verify,
};
use serde_json::{Value, json};

use crate::client::Client;
use crate::lab::{
    MaaEndpoint, Machine, TestServer, application, config, connection_policy, now, policy, sidecar, sidecar_source,
};

struct Scene {
    machine: Machine,
    maa_endpoint: MaaEndpoint,
    application: TestServer,
    agent: Agent,
}

impl Scene {
    async fn start() -> Self {
        Self::of(Machine::new()).await
    }

    async fn of(machine: Machine) -> Self {
        let maa_endpoint = MaaEndpoint::start(&machine).await;
        let application = application().await;
        let context = machine.security_context();
        let agent = agent(&maa_endpoint, &application, machine.source(&context)).await;
        // Read again for each report.
        let _ = context.keep();
        Self { machine, maa_endpoint, application, agent }
    }

    /// Asks, and verifies what comes back without any I/O.
    async fn appraise(&self, path: &str, trust: Trust, with_token: bool) -> Result<Attestation, AttestationError> {
        let mut client = Client::connect(self.agent.address()).await;
        let key = SpkiDigest::from_hex(&client.spki_digest()).unwrap();
        let challenge = Challenge::bound(key, ServerNameCheck::NotEvaluated, now()).unwrap();
        let mut request = json!({ "nonce": challenge.nonce().to_string() });
        if with_token {
            request["maa_endpoint"] = self.maa_endpoint.host().into();
        }
        self.verify_answer(&mut client, path, &request, challenge, &policy(trust, &self.machine)).await
    }

    /// Asks for evidence about the connection of a client, as one whose connection has this exporter.
    async fn appraise_connection(
        &self,
        client: &mut Client,
        exporter: [u8; 32],
        path: &str,
    ) -> Result<Attestation, AttestationError> {
        let key = SpkiDigest::from_hex(&client.spki_digest()).unwrap();
        let exporter = TlsExporter::new(exporter);
        let challenge = Challenge::bound_connection(key, exporter, ServerNameCheck::NotEvaluated, now()).unwrap();
        let request = json!({
            "nonce": challenge.nonce().to_string(),
            "maa_endpoint": self.maa_endpoint.host(),
            "protocol": "blindbox-bound-connection/1",
        });
        let policy = connection_policy(self.maa_endpoint.trust(), &self.machine);
        self.verify_answer(client, path, &request, challenge, &policy).await
    }

    async fn verify_answer(
        &self,
        client: &mut Client,
        path: &str,
        request: &Value,
        challenge: Challenge,
        policy: &Policy,
    ) -> Result<Attestation, AttestationError> {
        let answer = client.post(path, &request.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let (evidence, mut endorsements) = evidence(&answer.json());
        endorsements.key_set = Some(KeySet::from_json(self.maa_endpoint.key_set.as_bytes()).unwrap());
        endorsements.crls = vec![Crl::Received(self.machine.platform.crl())];
        endorsements.amd_anchors = self.machine.platform.anchors();
        verify(&evidence, &endorsements, challenge, policy, now())
    }
}

async fn agent(maa_endpoint: &MaaEndpoint, application: &TestServer, source: Source) -> Agent {
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), &maa_endpoint.root_pem).unwrap();
    let top = format!("maa = [{:?}]\nmaa-roots = {:?}", maa_endpoint.host(), roots.path());
    let config = config(&format!("http://{}", application.address), &top, "");
    Agent::start(&config, source).await.unwrap()
}

fn evidence(answer: &Value) -> (Evidence, Endorsements) {
    let decode = |name: &str| answer[name].as_str().map(|text| STANDARD.decode(text).unwrap());
    let (mut evidence, mut endorsements) = (Evidence::default(), Endorsements::default());
    evidence.token = answer["token"].as_str().map(str::to_owned);
    evidence.report = decode("evidence");
    evidence.uvm_endorsement = decode("uvm_endorsements");
    evidence.runtime_data = decode("runtime_data");
    if let Some(pem) = decode("endorsements") {
        let mut certificates = certificates_from_pem(&pem).unwrap().into_iter();
        let mut next = || certificates.next().unwrap();
        endorsements.vek = Some(Vek::Received { der: next(), chain: Some((next(), next())) });
    }
    (evidence, endorsements)
}

#[tokio::test]
async fn a_token_for_the_key_of_the_connection() {
    let scene = Scene::start().await;
    let attested = scene.appraise("/attest/maa", scene.maa_endpoint.trust(), true).await.unwrap();
    assert_eq!(attested.channel(), Channel::Bound);
    assert_eq!((scene.machine.reports(), scene.application.count()), (1, 0));
}

#[tokio::test]
async fn a_report_without_maa() {
    let scene = Scene::start().await;
    let attested = scene.appraise("/attest/combined", Trust::amd(), false).await.unwrap();
    assert_eq!(attested.channel(), Channel::Bound);
    assert_eq!(scene.maa_endpoint.count(), 0);
}

#[tokio::test]
async fn a_token_and_the_very_report_it_was_made_from() {
    let scene = Scene::start().await;
    let trust = Trust::maa_and_amd(&scene.maa_endpoint.issuer).unwrap();
    let trust = trust.require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm)).unwrap();
    let attested = scene.appraise("/attest/combined", trust, true).await.unwrap();
    assert_eq!(attested.channel(), Channel::Bound);
    assert_eq!((scene.machine.reports(), scene.maa_endpoint.count()), (1, 1));
}

#[tokio::test]
async fn evidence_about_the_connection_it_is_requested_on() {
    let scene = Scene::start().await;
    let mut client = Client::connect(scene.agent.address()).await;
    let exporter = client.exporter();
    for path in ["/attest/maa", "/attest/combined"] {
        let attested = scene.appraise_connection(&mut client, exporter, path).await.unwrap();
        assert_eq!(attested.channel(), Channel::BoundConnection);
    }
    // Another connection with the same key gives evidence about itself.
    let mut another = Client::connect(scene.agent.address()).await;
    assert_eq!(another.spki_digest(), client.spki_digest());
    let expected = AttestationError::ConnectionMismatch {
        attested: TlsExporter::new(another.exporter()),
        connected: TlsExporter::new(exporter),
    };
    let error = scene.appraise_connection(&mut another, exporter, "/attest/maa").await.unwrap_err();
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_session_whose_connections_are_attested() {
    let scene = Scene::start().await;
    let policy = connection_policy(scene.maa_endpoint.trust(), &scene.machine);
    let session = session(&scene.maa_endpoint, &scene.agent, &policy).await.unwrap();
    assert_eq!(session.channel(), Channel::BoundConnection);
    let answer = session.post("/generate?n=1").body("prompt").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "/generate?n=1 prompt");
    assert_eq!(scene.machine.reports(), 1);
}

#[tokio::test]
async fn the_tcb_of_the_certificate_is_said_as_it_stands_in_the_report() {
    let scene = Scene::start().await;
    let mut client = Client::connect(scene.agent.address()).await;
    let answer = client.post("/attest/combined", &json!({ "nonce": "0".repeat(64) }).to_string()).await.json();
    let report = STANDARD.decode(answer["evidence"].as_str().unwrap()).unwrap();
    assert_eq!(answer["endorsed_tcb"], hex::encode(&report[0x180..0x188]));
}

#[tokio::test]
async fn a_session_over_it_reaches_the_application_and_nothing_else() {
    let scene = Scene::start().await;
    let policy = policy(scene.maa_endpoint.trust(), &scene.machine);
    let session = session(&scene.maa_endpoint, &scene.agent, &policy).await.unwrap();
    assert_eq!(session.channel(), Channel::Bound);
    assert_eq!(scene.application.count(), 0);
    let answer = session.post("/generate?n=1").body("prompt").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "/generate?n=1 prompt");
    assert_eq!(scene.application.count(), 1);
}

#[tokio::test]
async fn a_session_that_takes_nobodys_word_alone() {
    let scene = Scene::start().await;
    let kds = Kds::start().await.unwrap();
    let trust = Trust::maa_and_amd(&scene.maa_endpoint.issuer).unwrap();
    let trust = trust.require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm)).unwrap();
    let verifier = Verifier::builder()
        .collateral_roots(scene.maa_endpoint.root_pem.clone() + &kds.tls_root_pem())
        .amd_anchors(scene.machine.platform.anchors())
        .kds(kds.url())
        .build()
        .unwrap();
    let url = format!("https://{}", scene.agent.address());
    let session = verifier.connect(url, &policy(trust, &scene.machine)).await.unwrap();
    assert_eq!(session.get("/hello").send().await.unwrap().text().await.unwrap(), "/hello ");
    // The agent's certificates were enough; only the revocation list came from AMD.
    assert_eq!((scene.machine.reports(), kds.vcek_fetches(), kds.crl_fetches()), (1, 0, 1));
}

#[tokio::test]
async fn a_debug_guest_is_attested_and_refused_by_the_client() {
    let mut machine = Machine::new();
    machine.guest.snp.policy = GuestPolicy::new(true, false, true);
    let scene = Scene::of(machine).await;
    let policy = policy(scene.maa_endpoint.trust(), &scene.machine);
    let error = session(&scene.maa_endpoint, &scene.agent, &policy).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error}");
    assert_eq!(scene.application.count(), 0);
}

#[tokio::test]
async fn an_outage_of_maa_is_one_that_clients_wait_for() {
    let scene = Scene::start().await;
    let policy = policy(scene.maa_endpoint.trust(), &scene.machine);
    scene.maa_endpoint.away.store(true, Ordering::SeqCst);
    let error = session(&scene.maa_endpoint, &scene.agent, &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::AgentUnreachable { .. }), "{error}");
    assert!(error.is_retryable());
    assert_eq!((scene.machine.reports(), scene.application.count()), (3, 0));
    scene.maa_endpoint.away.store(false, Ordering::SeqCst);
    assert!(session(&scene.maa_endpoint, &scene.agent, &policy).await.is_ok());
}

/// The report is genuine, and this MAA judges no report of this machine: asking again would not help.
#[tokio::test]
async fn a_refusal_of_maa_is_final() {
    let scene = Scene::start().await;
    let context = Machine::new().security_context();
    let agent = agent(&scene.maa_endpoint, &scene.application, Machine::new().source(&context)).await;
    let policy = policy(scene.maa_endpoint.trust(), &scene.machine);
    let error = session(&scene.maa_endpoint, &agent, &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::MaaTokenNotFound { status: 403, .. }), "{error}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn the_sidecar_is_the_second_source() {
    let machine = Machine::new();
    let maa = Arc::new(Maa::start().await.unwrap());
    let (sidecar, application) = (sidecar(&machine, &maa).await, application().await);
    let top = format!("maa = [{:?}]", maa.endpoint());
    let config = config(&format!("http://{}", application.address), &top, "");
    let agent = Agent::start(&config, sidecar_source(&sidecar)).await.unwrap();
    let trust = Trust::maa(maa.issuer()).unwrap();
    let trust = trust.require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm)).unwrap();
    let verifier = Verifier::builder().collateral_roots(maa.tls_root_pem()).build().unwrap();
    let url = format!("https://{}", agent.address());
    let session = verifier.connect(url, &policy(trust, &machine)).await.unwrap();
    assert_eq!(session.get("/hello").send().await.unwrap().text().await.unwrap(), "/hello ");
    let paths: Vec<String> = sidecar.arrived().iter().map(|(head, _)| head.uri.to_string()).collect();
    assert_eq!(paths, ["/attest/maa"]);
}

#[tokio::test]
async fn with_the_sidecar_too_a_token_is_made_from_the_report_beside_it() {
    let machine = Machine::new();
    let maa = Arc::new(Maa::start().await.unwrap());
    let (maa_endpoint, sidecar) = (MaaEndpoint::start(&machine).await, sidecar(&machine, &maa).await);
    let application = application().await;
    let agent = agent(&maa_endpoint, &application, sidecar_source(&sidecar)).await;
    let scene = Scene { machine, maa_endpoint, application, agent };
    let trust = Trust::maa_and_amd(&scene.maa_endpoint.issuer).unwrap();
    let trust = trust.require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm)).unwrap();
    let attested = scene.appraise("/attest/combined", trust, true).await.unwrap();
    assert_eq!(attested.channel(), Channel::Bound);
    assert_eq!((scene.machine.reports(), sidecar.count(), scene.maa_endpoint.count()), (1, 1, 1));
}

async fn session(maa_endpoint: &MaaEndpoint, agent: &Agent, policy: &Policy) -> Result<Session, AttestationError> {
    let verifier = Verifier::builder().collateral_roots(&maa_endpoint.root_pem).build()?;
    verifier.connect(format!("https://{}", agent.address()), policy).await
}
