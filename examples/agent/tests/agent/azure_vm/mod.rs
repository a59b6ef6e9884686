//! An agent in a confidential VM: a software TPM behind an emulated paravisor, and this crate's verifier as the client.

mod certificates;
mod errors;
mod paravisor;
mod swtpm;

use std::path::PathBuf;
use std::sync::Arc;

use blindbox_agent::{Agent, AzureVm, Config, Source, StartError};
use blindbox_attestation::claims::TokenShape;
use blindbox_attestation::emulator::{Kds, Maa};
use blindbox_attestation::{
    AttestationError, Binding, Channel, GuestIdentity, Policy, Session, Sha256Digest, Trust, Verdict, Verifier,
    Violation,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, Client, get, post};
use crate::lab::{
    Handler, MaaEndpoint, TestServer, answer, application, config, host_certificates, moment, pass, soon,
};
use paravisor::Paravisor;

pub struct Scene {
    pub paravisor: Arc<Paravisor>,
    pub metadata: TestServer,
    pub application: TestServer,
    pub maa_endpoint: MaaEndpoint,
    files: TempDir,
}

impl Scene {
    /// `None`, and a test passes without having tested anything, where there is no `swtpm`: `.ci/run` says so.
    pub async fn start() -> Option<Self> {
        let paravisor = Paravisor::start().await?;
        let metadata = metadata(&paravisor).await;
        let maa_endpoint = MaaEndpoint::of(&paravisor.platform).await;
        let files = tempfile::tempdir().unwrap();
        let scene = Self { paravisor, metadata, application: application().await, maa_endpoint, files };
        let authority = scene.paravisor.authority.certificate_of_modulus(&scene.paravisor.swtpm.modulus());
        scene.write("issuers.pem", &pem(&authority.chain().unwrap()[1]));
        scene.write("roots.pem", &scene.maa_endpoint.root_pem);
        scene.write("ak-root.pem", &pem(scene.paravisor.authority.root()));
        Some(scene)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A configuration with these lines more in `[azure-vm]`, and these tables after it.
    pub fn config(&self, in_vm: &str, tables: &str) -> Config {
        let top =
            format!("maa = [{:?}]\nmaa-roots = {:?}", self.maa_endpoint.host(), self.files.path().join("roots.pem"));
        let vm = format!(
            "[azure-vm]\ntpm = {:?}\nmetadata = \"http://{}\"\nak-root = {:?}\n{in_vm}\n{tables}",
            self.paravisor.address().to_string(),
            self.metadata.address,
            self.files.path().join("ak-root.pem"),
        );
        config(&format!("http://{}", self.application.address), &top, &vm)
    }

    fn issuers(&self) -> String {
        format!("ak-issuers = {:?}", self.files.path().join("issuers.pem"))
    }

    pub async fn agent(&self) -> Agent {
        start(&self.config(&self.issuers(), "")).await.unwrap()
    }

    pub fn policy(&self, trust: Trust, binding: Binding) -> Policy {
        self.policy_of(GuestIdentity::by_id_key([self.paravisor.guest.snp.id_key_digest]), trust, binding)
    }

    fn policy_of(&self, guest: GuestIdentity, trust: Trust, binding: Binding) -> Policy {
        Policy::confidential_vm(trust, guest, binding).unwrap()
    }

    pub async fn connect(&self, agent: &Agent, policy: &Policy, kds: &Kds) -> Result<Session, AttestationError> {
        let verifier = Verifier::builder()
            .collateral_roots(self.maa_endpoint.root_pem.clone() + &kds.tls_root_pem())
            .amd_anchors(self.paravisor.platform.anchors())
            .ak_anchors(self.paravisor.authority.anchors())
            .kds(kds.url())
            .build()?;
        verifier.connect(format!("https://{}", agent.address()), policy).await
    }
}

pub async fn start(config: &Config) -> Result<Agent, StartError> {
    let vm = AzureVm::new(config.azure_vm.as_ref().unwrap()).unwrap();
    soon(Agent::start(config, Source::AzureVm(Arc::new(vm)))).await
}

/// Azure's metadata service, which has the certificate of the machine.
async fn metadata(paravisor: &Paravisor) -> TestServer {
    let report_data = blindbox_attestation::ReportData::new([0; 64]);
    let source: &dyn blindbox_attestation::emulator::ReportSource = &paravisor.platform;
    let certificates = host_certificates(&source.evidence(&paravisor.guest, &report_data, &[])).to_string();
    let handler: Handler = Arc::new(move |request, _| {
        let is_meant = request.headers().get("metadata").is_some_and(|value| value == "true");
        match request.uri().path() {
            "/metadata/THIM/amd/certification" if is_meant => answer(200, certificates.clone()),
            _ => answer(400, "{}"),
        }
    });
    TestServer::plain(handler).await
}

pub fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// Asks for evidence as a client that does not verify it.
pub async fn ask(agent: &Agent) -> Answer {
    let mut client = Client::connect(agent.address()).await;
    client.post("/attest/azure-vm", &json!({ "nonce": "0".repeat(64) }).to_string()).await
}

pub async fn evidence(agent: &Agent) -> Value {
    let answer = ask(agent).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test]
async fn the_quote_of_a_tpm_attests_the_key_and_the_connection() {
    let Some(scene) = Scene::start().await else { return };
    let (agent, kds) = (scene.agent().await, Kds::start().await.unwrap());
    for (binding, channel) in [(Binding::OwnKey, Channel::Bound), (Binding::OwnConnection, Channel::BoundConnection)] {
        let policy = scene.policy(Trust::amd(), binding).require_ak_certificate().unwrap();
        let session = scene.connect(&agent, &policy, &kds).await.unwrap();
        assert_eq!(session.channel(), channel);
        let attestation = session.attestation();
        let appraisal = attestation.appraisal();
        for name in ["tpm quote", "report of this boot", "paravisor"] {
            assert_eq!(appraisal.check(name).unwrap().verdict, Verdict::Passed, "{name}");
        }
        let certificate = appraisal.check("ak certificate").unwrap();
        assert!(certificate.actual.contains("ConfidentialVM.Azure.windows.net"), "{certificate:?}");
        assert_eq!(session.get("/hello").send().await.unwrap().text().await.unwrap(), "/hello ");
    }
    // The certificate of the chip came with the evidence. One report was made for the key, and none for a request.
    assert_eq!((kds.vcek_fetches(), scene.maa_endpoint.count()), (0, 0));
    assert_eq!(scene.paravisor.faults.lock().unwrap().reads, 1);
}

#[tokio::test]
async fn a_token_is_of_the_report_beside_it() {
    let Some(scene) = Scene::start().await else { return };
    let (agent, kds) = (scene.agent().await, Kds::start().await.unwrap());
    let trust = Trust::maa_and_amd(&scene.maa_endpoint.issuer).unwrap();
    let trust = trust.require_maa_policy_hash(Maa::policy_hash(TokenShape::SevSnpVm)).unwrap();
    let policy = scene.policy(trust, Binding::OwnKey).allow_direct_vm_token().unwrap();
    let session = scene.connect(&agent, &policy, &kds).await.unwrap();
    // The agent's request for the token, and the client's for the key set.
    assert_eq!((session.channel(), scene.maa_endpoint.count()), (Channel::Bound, 2));
}

#[tokio::test]
async fn the_pcrs_are_those_that_the_tpm_has_now() {
    let Some(scene) = Scene::start().await else { return };
    let (agent, kds) = (scene.agent().await, Kds::start().await.unwrap());
    let extended = |values: [[u8; 32]; 2]| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &values.concat());
        Sha256Digest::new(digest.as_ref().try_into().unwrap())
    };
    for pcr in [4, 11] {
        scene.paravisor.swtpm.extend(pcr, [7; 32]);
    }
    let started = extended([[0; 32], [7; 32]]);
    let guest = GuestIdentity::by_id_key([scene.paravisor.guest.snp.id_key_digest]);
    let guest = guest.pcr(4, [started]).pcr(11, [started]).pcr(12, [Sha256Digest::new([0; 32])]);
    let policy = scene.policy_of(guest, Trust::amd(), Binding::OwnKey);
    let session = scene.connect(&agent, &policy, &kds).await.unwrap();
    let attestation = session.attestation();
    assert_eq!(attestation.appraisal().check("workload").unwrap().verdict, Verdict::Passed);
    scene.paravisor.swtpm.extend(11, [8; 32]);
    let error = scene.connect(&agent, &policy, &kds).await.unwrap_err();
    let actual = extended([*started.as_bytes(), [8; 32]]);
    assert_eq!(error.violation(), Some(&Violation::WrongPcr { index: 11, expected: vec![started], actual }));
}

/// The paravisor makes a report at most once in two seconds, and serves the old one in between.
#[tokio::test]
async fn an_old_report_is_read_again() {
    let Some(scene) = Scene::start().await else { return };
    scene.paravisor.set(|faults| faults.old_reports = 1);
    let (agent, kds) = (scene.agent().await, Kds::start().await.unwrap());
    assert_eq!(scene.paravisor.faults.lock().unwrap().reads, 2);
    drop(scene.connect(&agent, &scene.policy(Trust::amd(), Binding::OwnKey), &kds).await.unwrap());
}

/// What another program of the VM writes later is in no report of this key.
#[tokio::test]
async fn each_key_has_a_report_of_its_own_before_it_is_used() {
    let Some(scene) = Scene::start().await else { return };
    let agent = start(&scene.config(&scene.issuers(), "[key]\nlifetime-seconds = 3600")).await.unwrap();
    let kds = Kds::start().await.unwrap();
    let policy = scene.policy(Trust::amd(), Binding::OwnKey);
    drop(scene.connect(&agent, &policy, &kds).await.unwrap());
    let first = agent.spki_digest();
    let stated = scene.paravisor.swtpm.user_data().unwrap();
    // The next key is made after two thirds of the lifetime, and its report with it.
    pass(2401).await;
    soon(async {
        while scene.paravisor.swtpm.user_data() == Some(stated) {
            moment().await;
        }
    })
    .await;
    assert_eq!(agent.spki_digest(), first);
    // The first key still has its own, although the index has the statement of the next one.
    drop(scene.connect(&agent, &policy, &kds).await.unwrap());
    pass(1200).await;
    soon(async {
        while agent.spki_digest() == first {
            moment().await;
        }
    })
    .await;
    // Its report may not be complete yet: the client waits for it, as for any outage.
    soon(async {
        while ask(&agent).await.status == 503 {
            moment().await;
        }
    })
    .await;
    drop(scene.connect(&agent, &policy, &kds).await.unwrap());
    assert_eq!(scene.paravisor.faults.lock().unwrap().reads, 2);
}

#[tokio::test]
async fn a_confidential_vm_has_one_request_for_evidence_and_a_container_not_this_one() {
    let Some(scene) = Scene::start().await else { return };
    let agent = scene.agent().await;
    let mut client = Client::connect(agent.address()).await;
    let nonce = json!({ "nonce": "0".repeat(64) }).to_string();
    let maa = json!({ "nonce": "0".repeat(64), "maa_endpoint": scene.maa_endpoint.host() }).to_string();
    for (status, request) in [
        (404, post("/attest/combined", &nonce)),
        (404, post("/attest/maa", &maa)),
        (404, post("/attest/raw", &nonce)),
        (405, get("/attest/azure-vm")),
        (404, post("/attest/azure-vm/", &nonce)),
        (400, post("/attest/azure-vm", r#"{"runtime_data":"e30="}"#)),
        (400, post("/attest/azure-vm", &nonce.replace('}', r#","runtime_data":"e30="}"#))),
        (403, post("/attest/azure-vm", &maa.replace(scene.maa_endpoint.host(), "evil.example"))),
    ] {
        assert_eq!(client.send(&request).await.status, status, "{request}");
    }
    assert_eq!((scene.application.count(), scene.maa_endpoint.count()), (0, 0));
    let (agent, reports) = crate::lab::agent_without_machine(&scene.application, "", "").await;
    assert_eq!(Client::connect(agent.address()).await.send(&post("/attest/azure-vm", &nonce)).await.status, 404);
    assert_eq!(reports.load(std::sync::atomic::Ordering::SeqCst), 0);
}
