//! How the gateway behaves when its BlindBox is what it should be, is something else, or is not there: shown with emulated
//! ones, over real TLS and with real signatures.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Request, StatusCode};
use blindbox_attestation::emulator::{BlindBox, EmulatedClock, Fault, Knob, Maa, Relay, RelayMode};
use blindbox_attestation::{Policy, Trust, UvmRequirement, Verifier, Workload};
use gateway::{Config, gateway};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

/// An emulated MAA and a BlindBox that it attests.
struct Lab {
    maa: Maa,
    blindbox: BlindBox,
}

impl Lab {
    async fn start() -> Self {
        let maa = Maa::builder().clock(&EmulatedClock::stopped()).start().await.unwrap();
        let blindbox = BlindBox::builder(&maa).start().await.unwrap();
        Self { maa, blindbox }
    }

    /// The configuration of production with other values: the policy names the emulated MAA and what the emulated BlindBox
    /// runs, and the verifier is given the root of the one and the clock of the other.
    fn config(&self) -> Config {
        let trust = Trust::maa(self.maa.issuer()).unwrap();
        let trust = trust.require_maa_policy_hash(self.blindbox.maa_policy_hash()).unwrap();
        let workload = Workload::binds_its_own_key(self.blindbox.host_data());
        Config {
            blindbox: self.blindbox.url(),
            policy: Policy::confidential_container(trust, workload, UvmRequirement::at_least(100)).unwrap(),
            verifier: Verifier::builder()
                .collateral_roots(self.maa.tls_root_pem())
                .clock(self.blindbox.clock().clone())
                .deadline(Duration::from_secs(30)),
            cool_down: Duration::ZERO,
        }
    }

    fn gateway(&self) -> Router {
        gateway(self.config()).unwrap()
    }

    /// What must hold of a peer that was not attested: of the application it got nothing.
    fn assert_nothing_was_sent(&self) {
        assert_eq!(self.blindbox.traffic().application_bytes(), 0);
    }
}

/// What a caller of the gateway gets.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    content_type: Option<String>,
    body: Value,
}

impl Answer {
    /// An error: this status and code, and not a word more.
    #[track_caller]
    fn assert_is(&self, status: StatusCode, code: &str) {
        assert_eq!((self.status, &self.body), (status, &json!({ "error": code })), "{self:?}");
        assert_eq!(self.retry_after.is_some(), status == StatusCode::SERVICE_UNAVAILABLE, "{self:?}");
    }

    #[track_caller]
    fn assert_is_an_answer_to(&self, prompt: &str) {
        assert_eq!(
            (self.status, &self.body),
            (StatusCode::OK, &json!({ "text": format!("a response to: {prompt}") })),
            "{self:?}"
        );
        assert!(self.content_type.as_deref().is_some_and(|it| it.starts_with("application/json")), "{self:?}");
    }
}

async fn generate(gateway: &Router, prompt: &str) -> Answer {
    let body = Body::from(json!({ "prompt": prompt }).to_string());
    let request = Request::post("/v1/generate").header(CONTENT_TYPE, "application/json").body(body).unwrap();
    call(gateway, request).await
}

async fn call(gateway: &Router, request: Request<Body>) -> Answer {
    let response = gateway.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, retry_after, content_type) = (head.status, header(RETRY_AFTER), header(CONTENT_TYPE));
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
    Answer { status, retry_after, content_type, body }
}

#[tokio::test]
async fn a_prompt_goes_to_the_attested_blindbox() {
    let lab = Lab::start().await;
    let gateway = lab.gateway();
    // Nothing is connected before a caller asks.
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);
    assert_eq!(call(&gateway, Request::get("/ready").body(Body::empty()).unwrap()).await.status, StatusCode::OK);
    lab.assert_nothing_was_sent();

    for prompt in ["hi", "and again"] {
        generate(&gateway, prompt).await.assert_is_an_answer_to(prompt);
    }
    assert_eq!(lab.blindbox.traffic().count("/generate"), 2);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
}

#[tokio::test]
async fn a_debug_guest_gets_nothing() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::Debug);
    generate(&lab.gateway(), "secret").await.assert_is(StatusCode::BAD_GATEWAY, "debug-mode");
    lab.assert_nothing_was_sent();
}

#[tokio::test]
async fn a_non_compliant_uvm_gets_nothing() {
    for status in [None, Some("azure-signed-katacc-uvm".to_owned())] {
        let lab = Lab::start().await;
        lab.blindbox.set(Knob::ComplianceStatus(status));
        generate(&lab.gateway(), "secret").await.assert_is(StatusCode::BAD_GATEWAY, "non-compliant-uvm");
        lab.assert_nothing_was_sent();
    }
}

#[tokio::test]
async fn a_gateway_starts_during_an_outage_and_recovers() {
    let lab = Lab::start().await;
    let gateway = lab.gateway();

    lab.blindbox.fail("/attest/", Fault::status(500));
    generate(&gateway, "secret").await.assert_is(StatusCode::SERVICE_UNAVAILABLE, "agent-unreachable");
    lab.assert_nothing_was_sent();

    lab.blindbox.stop().await;
    generate(&gateway, "secret").await.assert_is(StatusCode::SERVICE_UNAVAILABLE, "application-unreachable");

    lab.blindbox.recover();
    lab.blindbox.restart().await.unwrap();
    lab.maa.stop().await;
    generate(&gateway, "secret").await.assert_is(StatusCode::SERVICE_UNAVAILABLE, "maa-unreachable");
    lab.assert_nothing_was_sent();

    lab.maa.restart().await.unwrap();
    generate(&gateway, "hi").await.assert_is_an_answer_to("hi");
}

#[tokio::test]
async fn a_restarted_blindbox_is_attested_before_it_gets_anything() {
    let lab = Lab::start().await;
    let gateway = lab.gateway();
    generate(&gateway, "hi").await.assert_is_an_answer_to("hi");
    lab.blindbox.traffic().clear_requests();

    lab.blindbox.restart().await.unwrap();
    lab.blindbox.set(Knob::Debug);
    noticed().await;
    generate(&gateway, "secret").await.assert_is(StatusCode::BAD_GATEWAY, "debug-mode");
    lab.assert_nothing_was_sent();
}

#[tokio::test]
async fn prompts_are_answered_while_a_renewal_fails_until_the_attestation_ends() {
    let lab = Lab::start().await;
    let gateway = lab.gateway();
    generate(&gateway, "hi").await.assert_is_an_answer_to("hi");

    // An attestation holds for an hour, and its last fifth is for renewing it. The agent cannot.
    lab.blindbox.clock().advance(50 * 60);
    lab.blindbox.fail("/attest/", Fault::status(500));
    generate(&gateway, "still").await.assert_is_an_answer_to("still");
    assert!(lab.blindbox.traffic().count("/attest/maa") > 1, "a renewal was tried");

    lab.blindbox.clock().advance(10 * 60);
    lab.blindbox.traffic().clear_requests();
    generate(&gateway, "too late").await.assert_is(StatusCode::SERVICE_UNAVAILABLE, "agent-unreachable");
    lab.assert_nothing_was_sent();

    lab.blindbox.recover();
    generate(&gateway, "again").await.assert_is_an_answer_to("again");
}

#[tokio::test]
async fn a_blindbox_that_fails_its_renewal_gets_nothing_until_it_is_mended() {
    let lab = Lab::start().await;
    let gateway = lab.gateway();
    generate(&gateway, "hi").await.assert_is_an_answer_to("hi");
    lab.blindbox.traffic().clear_requests();

    lab.blindbox.clock().advance(50 * 60);
    lab.blindbox.set(Knob::Debug);
    // The first is refused by the renewal, which closes the session; the second by a new connection.
    for _ in 0..2 {
        generate(&gateway, "secret").await.assert_is(StatusCode::BAD_GATEWAY, "debug-mode");
    }
    lab.assert_nothing_was_sent();

    lab.blindbox.reset();
    generate(&gateway, "again").await.assert_is_an_answer_to("again");
}

#[tokio::test]
async fn a_man_in_the_middle_gets_nothing() {
    let lab = Lab::start().await;
    let relay = Relay::start(&lab.blindbox).await.unwrap();
    let gateway = gateway(Config { blindbox: relay.url(), ..lab.config() }).unwrap();
    generate(&gateway, "secret").await.assert_is(StatusCode::BAD_GATEWAY, "channel-mismatch");
    assert_eq!(relay.traffic().application_bytes(), 0);
    lab.assert_nothing_was_sent();
}

#[tokio::test]
async fn a_man_in_the_middle_who_comes_later_gets_nothing() {
    let lab = Lab::start().await;
    let relay = Relay::builder().mode(RelayMode::Tunnel).start(&lab.blindbox).await.unwrap();
    let gateway = gateway(Config { blindbox: relay.url(), ..lab.config() }).unwrap();
    generate(&gateway, "hi").await.assert_is_an_answer_to("hi");

    relay.set_mode(RelayMode::Forward);
    relay.drop_connections().await;
    noticed().await;
    generate(&gateway, "secret").await.assert_is(StatusCode::BAD_GATEWAY, "channel-mismatch");
    assert_eq!(relay.traffic().application_bytes(), 0);
    assert_eq!(lab.blindbox.traffic().count("/generate"), 1);
}

#[tokio::test]
async fn many_callers_make_one_attempt_and_get_its_outcome() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::Debug);
    let gateway = gateway(Config { cool_down: Duration::from_secs(30), ..lab.config() }).unwrap();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let gateway = gateway.clone();
            tokio::spawn(async move { generate(&gateway, "secret").await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().assert_is(StatusCode::BAD_GATEWAY, "debug-mode");
    }
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    lab.assert_nothing_was_sent();
}

#[tokio::test]
async fn callers_are_told_when_to_come_again() {
    let lab = Lab::start().await;
    lab.blindbox.stop().await;
    for (cool_down, said) in [(0, "1"), (7, "7")] {
        let config = Config { cool_down: Duration::from_secs(cool_down), ..lab.config() };
        let answer = generate(&gateway(config).unwrap(), "secret").await;
        answer.assert_is(StatusCode::SERVICE_UNAVAILABLE, "application-unreachable");
        assert_eq!(answer.retry_after.as_deref(), Some(said));
    }
}

#[tokio::test]
async fn what_is_set_up_wrongly_is_not_blamed_on_the_peer() {
    let lab = Lab::start().await;
    let config = Config { blindbox: lab.blindbox.url().replace("https", "http"), ..lab.config() };
    assert_eq!(gateway(config).map(drop).unwrap_err().code(), "invalid-url");
    lab.assert_nothing_was_sent();
}

#[tokio::test]
async fn without_the_emulators_roots_it_is_nobody() {
    let lab = Lab::start().await;
    let config = Config { verifier: Verifier::builder().deadline(Duration::from_secs(30)), ..lab.config() };
    generate(&gateway(config).unwrap(), "secret").await.assert_is(StatusCode::SERVICE_UNAVAILABLE, "maa-unreachable");
    lab.assert_nothing_was_sent();
}

/// Until the gateway has seen that its connections were cut: a request that is written to one of them may have arrived for
/// all it knows, and is not sent again. No time says so on a busy machine, but the ends of connections that were cut later.
async fn noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..20 {
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        drop(theirs.unwrap());
        assert_eq!(ours.unwrap().read(&mut [0]).await.unwrap(), 0);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
