//! The agent behind a front end that ends TLS, with the crate's own client.

use blindbox_agent::Agent;
use blindbox_attestation::emulator::{CertificateAuthority, FrontEnd, FrontEndKnob};
use blindbox_attestation::{AttestationError, Channel, Session, Verifier};

use crate::client::{Client, holding};
use crate::lab::{MaaEndpoint, Machine, TestServer, application, config, message_policy, soon};

struct Scene {
    maa_endpoint: MaaEndpoint,
    machine: Machine,
    application: TestServer,
    front_end: FrontEnd,
    agent: Agent,
}

impl Scene {
    async fn start(message: &str) -> Self {
        let (machine, application) = (Machine::new(), application().await);
        let maa_endpoint = MaaEndpoint::start(&machine).await;
        let context = machine.security_context();
        let root = context.path().join("maa-root.pem");
        std::fs::write(&root, &maa_endpoint.root_pem).unwrap();
        let top = format!("maa = [{:?}]\nmaa-roots = {root:?}", maa_endpoint.host());
        let config = config(&format!("http://{}", application.address), &top, &format!("[message]\n{message}"));
        let agent = Agent::start(&config, machine.source(&context)).await.unwrap();
        let _ = context.keep();
        let front_end = before(&agent).await;
        Self { maa_endpoint, machine, application, front_end, agent }
    }

    async fn connect(&self) -> Session {
        let verifier = Verifier::builder().collateral_roots(&self.maa_endpoint.root_pem).build().unwrap();
        let policy = message_policy(self.maa_endpoint.trust(), &self.machine);
        verifier.connect(self.front_end.url(), &policy).await.unwrap()
    }
}

/// An honest front end before an agent.
pub async fn before(agent: &Agent) -> FrontEnd {
    let url = format!("https://{}", agent.address());
    FrontEnd::builder().start_at(&url, &CertificateAuthority::new("front end")).await.unwrap()
}

#[tokio::test]
async fn a_session_seals_requests_to_the_agent() {
    for kem in ["x-wing", "x25519"] {
        let scene = Scene::start(&format!("kem = \"{kem}\"")).await;
        let session = scene.connect().await;
        assert_eq!(session.channel(), Channel::BoundMessage);
        let response =
            session.post("/generate?n=1").header("x-key", "in-a-header").body("prompt").send().await.unwrap();
        assert_eq!(response.headers()["x-application"], "yes");
        assert_eq!(response.text().await.unwrap(), "/generate?n=1 prompt");
        let body = vec![b'x'; 300_000];
        let response = session.post("/large").body(body.clone()).send().await.unwrap();
        assert!(response.bytes().await.unwrap() == [b"/large ".as_slice(), &body].concat());
        assert_eq!(session.get("/hello").send().await.unwrap().text().await.unwrap(), "/hello ");
        assert_eq!((scene.machine.reports(), scene.application.count()), (1, 3));
        for text in ["/generate", "in-a-header", "prompt", "xxxx"] {
            assert_eq!(scene.front_end.count_seen(text), 0, "{text}");
        }
    }
}

#[tokio::test]
async fn a_front_end_has_nothing_processed_twice_and_changes_nothing() {
    let scene = Scene::start("").await;
    let session = scene.connect().await;
    for (knob, expected, processed) in [
        (FrontEndKnob::RepeatRequest, "received the request before", 1),
        (FrontEndKnob::EarlierRequest, "a chunk does not decrypt", 0),
        (FrontEndKnob::ChangeRequest(0), "has the message key", 0),
        (FrontEndKnob::ChangeResponse(40), "a chunk does not decrypt", 1),
        (FrontEndKnob::ResponseWithoutFinalChunk, "ends before its final chunk", 1),
        (FrontEndKnob::ForgeResponse(200), "something else than a sealed message", 0),
    ] {
        scene.front_end.set(knob.clone());
        let outcome = async { session.post("/generate").body("prompt").send().await?.text().await }.await;
        scene.front_end.reset();
        let error: AttestationError = outcome.unwrap_err();
        assert!(error.request_sent() && error.to_string().contains(expected), "{knob:?}: {error}");
        assert_eq!(scene.application.arrived().len(), processed, "{knob:?}");
    }
    assert_eq!(session.get("/hello").send().await.unwrap().text().await.unwrap(), "/hello ");
}

/// An agent that is busy is there all the same: its clients attest no other instance.
#[tokio::test]
async fn a_busy_agent_is_not_attested_again() {
    let scene = Scene::start("[limits]\nrequests-in-flight = 1\nopenings-per-address = 2").await;
    let session = scene.connect().await;
    let head = "POST /attest/message HTTP/1.1\r\nhost: a\r\ncontent-type: message/ohttp-chunked-req\r\ncontent-length: 9\r\n\r\n1";
    let connect = async || Client::connect(scene.agent.address()).await;
    let (held, error) = holding(connect, head, async || session.post("/hello").send().await.err()).await;
    assert!(error.to_string().contains("the status 429"), "{error}");
    drop(held);
    soon(async { while session.post("/hello").send().await.is_err() {} }).await;
    assert_eq!(scene.machine.reports(), 1);
}
