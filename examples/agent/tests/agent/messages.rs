//! Sealed messages: `docs/protocol-message.md`, with a client that is written from the document.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_agent::Agent;
use hyper::http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::client::{Client, holding};
use crate::lab::{
    MaaEndpoint, Machine, TestServer, agent_without_machine, application, config, long_answers, pass, passing, soon,
};
use crate::outer::{Outer, Received};
use crate::sealing::{Inner, Plain, Recipient};

const NONCE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SEALED: &str = "message/ohttp-chunked-req";
const SECRET: &str = "the-secret-of-this-test";

struct Scene {
    maa_endpoint: MaaEndpoint,
    application: TestServer,
    agent: Agent,
    outer: Outer,
}

impl Scene {
    async fn start(message: &str) -> Self {
        Self::before(application().await, message).await
    }

    async fn before(application: TestServer, message: &str) -> Self {
        Self::with(application, message, "").await
    }

    async fn with(application: TestServer, message: &str, limits: &str) -> Self {
        let machine = Machine::new();
        let maa_endpoint = MaaEndpoint::start(&machine).await;
        let context = machine.security_context();
        let root = context.path().join("maa-root.pem");
        std::fs::write(&root, &maa_endpoint.root_pem).unwrap();
        let top = format!("maa = [\"{}\"]\nmaa-roots = \"{}\"", maa_endpoint.host(), root.display());
        let tables = format!("[message]\n{message}\n[limits]\n{limits}");
        let config = config(&format!("http://{}", application.address), &top, &tables);
        let agent = Agent::start(&config, machine.source(&context)).await.unwrap();
        let _ = context.keep();
        let outer = Outer::connect(agent.address()).await;
        Self { maa_endpoint, application, agent, outer }
    }

    async fn attest(&mut self, path: &str) -> (Recipient, Value) {
        let request = json!({
            "maa_endpoint": self.maa_endpoint.host(),
            "nonce": NONCE,
            "protocol": "blindbox-bound-message/1",
        });
        let response = self.outer.post_json(path, &request).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        let answer = response.json();
        let key_config = STANDARD.decode(answer["key_config"].as_str().unwrap()).unwrap();
        (Recipient { key_config, session: answer["session"].as_str().unwrap().to_owned() }, answer)
    }

    async fn message(&mut self, sealed: Vec<u8>) -> Received {
        self.outer.post("/attest/message", SEALED, sealed).await
    }

    /// Seals a request and opens the response.
    async fn send(&mut self, to: &Recipient, number: u64, request: &Plain<'_>) -> Inner {
        let (sealed, opener) = to.seal(number, request);
        let response = self.message(sealed).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        assert_eq!(response.headers["content-type"], "message/ohttp-chunked-res");
        assert_eq!(response.headers["cache-control"], "no-store");
        opener.open(&response.body).expect("the response to this request")
    }
}

fn get(path: &str) -> Plain<'_> {
    Plain { method: "GET", path, fields: &[("x-secret", SECRET)], content: b"" }
}

fn post(content: &[u8]) -> Plain<'_> {
    Plain { method: "POST", path: "/generate?q=1", fields: &[("content-type", "text/plain")], content }
}

#[tokio::test]
async fn evidence_names_the_message_key_and_nothing_of_the_connection() {
    let mut scene = Scene::start("").await;
    for path in ["/attest/maa", "/attest/combined"] {
        let (to, answer) = scene.attest(path).await;
        let digest = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &to.key_config));
        let expected = format!(
            r#"{{"nonce":"{NONCE}","ohttp-key-config-sha256":"{digest}","protocol":"blindbox-bound-message/1"}}"#
        );
        let runtime_data = STANDARD.decode(answer["runtime_data"].as_str().unwrap()).unwrap();
        assert_eq!((String::from_utf8(runtime_data).unwrap(), expected.len()), (expected, 207));
        assert!(answer["token"].is_string());
        assert_eq!((to.key_config.len(), to.session.len()), (1225, 32));
    }
    let (first, _) = scene.attest("/attest/maa").await;
    let (second, _) = scene.attest("/attest/maa").await;
    assert_eq!(first.key_config, second.key_config);
    assert_ne!(first.session, second.session);
}

#[tokio::test]
async fn the_application_gets_what_was_sealed_and_nothing_of_the_outer_request() {
    for kem in ["x-wing", "x25519"] {
        let mut scene = Scene::start(&format!("kem = \"{kem}\"")).await;
        let (to, _) = scene.attest("/attest/maa").await;
        let content = vec![b'x'; 70_000];
        let response = scene.send(&to, 0, &post(&content)).await;
        assert_eq!((response.status, response.field("x-application")), (200, Some("yes")));
        assert_eq!(response.field("keep-alive"), None);
        assert_eq!(response.content, [b"/generate?q=1 ".as_slice(), &content].concat());
        let (head, body) = scene.application.arrived().remove(0);
        assert_eq!((head.method, head.uri.to_string().as_str(), body.len()), (Method::POST, "/generate?q=1", 70_000));
        assert_eq!(head.headers["host"], "app.example");
        assert!(!head.headers.contains_key("blindbox-message"));
        // Nothing of the outer request, which had a cookie, a header of its own and an address.
        let mut names: Vec<&str> = head.headers.keys().map(hyper::header::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "host", "transfer-encoding", "x-forwarded-proto"]);
        assert_eq!(head.headers["x-forwarded-proto"], "https");

        let response = scene.send(&to, 1, &get("/")).await;
        assert_eq!(response.content, b"/ ");
        let (head, _) = scene.application.arrived().remove(0);
        assert_eq!(head.headers["x-secret"], SECRET);
        assert!(!head.headers.contains_key("transfer-encoding"), "a GET without content");
    }
}

/// An application takes these for what its proxy says.
#[tokio::test]
async fn what_only_an_intermediary_should_say_does_not_arrive_from_inside_either() {
    let mut scene = Scene::start("").await;
    let (to, _) = scene.attest("/attest/maa").await;
    let fields = [
        ("x-forwarded-for", "10.0.0.2"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=10.0.0.2"),
        ("x-real-ip", "10.0.0.2"),
        ("x_forwarded_for", "10.0.0.2"),
    ];
    assert_eq!(scene.send(&to, 0, &Plain { fields: &fields, ..get("/") }).await.status, 200);
    let (head, _) = scene.application.arrived().remove(0);
    let mut fields: Vec<_> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    fields.sort_unstable();
    assert_eq!(fields, [("host", "app.example"), ("x-forwarded-proto", "https")]);
}

#[tokio::test]
async fn a_number_is_taken_once_and_a_refusal_is_sealed() {
    let mut scene = Scene::start("kem = \"x25519\"").await;
    let (to, _) = scene.attest("/attest/maa").await;
    let (sealed, opener) = to.seal(5, &post(b"once"));
    let first = scene.message(sealed.clone()).await;
    let second = scene.message(sealed).await;
    assert_eq!(opener.open(&first.body).unwrap().content, b"/generate?q=1 once");
    let refused = opener.open(&second.body).unwrap();
    assert_eq!((refused.status, refused.field("blindbox-message")), (409, Some("refused")));
    let stranger = Recipient { session: "ab".repeat(16), key_config: to.key_config.clone() };
    assert_eq!(scene.send(&stranger, 0, &post(b"")).await.field("blindbox-message"), Some("refused"));
    assert_eq!(scene.send(&to, 4, &post(b"late")).await.status, 200);
    assert_eq!(scene.application.arrived().len(), 2);
}

#[tokio::test]
async fn what_does_not_open_has_one_response_and_does_not_reach_the_application() {
    let mut scene = Scene::start("").await;
    let (to, _) = scene.attest("/attest/maa").await;
    let sealed = || to.seal(0, &post(SECRET.as_bytes())).0;
    let mut cases = vec![Vec::new(), b"hello".to_vec(), sealed()[..600].to_vec(), sealed()[..1_200].to_vec()];
    for at in [0, 2, 4, 6, 10, 1_126, 1_130, 1_150] {
        let mut changed = sealed();
        changed[at] ^= 1;
        cases.push(changed);
    }
    let mut seen: Option<(StatusCode, Vec<u8>, HeaderMap)> = None;
    for case in cases {
        let Received { status, body, mut headers } = scene.message(case).await;
        headers.remove("date");
        let first = seen.get_or_insert_with(|| (status, body.clone(), headers.clone()));
        assert_eq!(*first, (status, body, headers));
    }
    let (status, body, headers) = seen.unwrap();
    assert_eq!(
        (status, headers["content-type"].to_str().unwrap()),
        (StatusCode::BAD_REQUEST, "application/problem+json")
    );
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#ohttp-key");
    assert_eq!(scene.application.arrived().len(), 0);
    // None of that used up the number.
    assert_eq!(scene.send(&to, 0, &post(b"")).await.status, 200);
}

#[tokio::test]
async fn a_cut_request_is_never_whole_for_the_application() {
    let mut scene = Scene::start("").await;
    let (to, _) = scene.attest("/attest/maa").await;
    let (sealed, opener) = to.seal(0, &post(SECRET.as_bytes()));
    let response = scene.message(sealed[..sealed.len() - 19].to_vec()).await;
    let inner = opener.open(&response.body).unwrap();
    assert_eq!(inner.status, 502, "the application's server got no end");
    assert_eq!(scene.application.arrived().len(), 0);
}

#[tokio::test]
async fn behind_a_front_end_the_application_has_no_other_way_in() {
    let mut scene = Scene::start("").await;
    let response = scene.outer.request(Method::GET, "/", &[]).await;
    assert_eq!(response.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(response.json()["error"], "the application takes sealed messages only");
    assert_eq!(scene.application.arrived().len(), 0);
    let mut both = Scene::start("only = false").await;
    assert_eq!(both.outer.request(Method::GET, "/", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn paths_of_the_agent_are_refused_inside() {
    let mut scene = Scene::start("").await;
    let (to, _) = scene.attest("/attest/maa").await;
    for (number, (path, status)) in
        [("/attest/maa", 404), ("/%61ttest/raw", 404), ("/status", 404), ("/attest/message", 404), ("/x/../key", 400)]
            .into_iter()
            .enumerate()
    {
        let request = Plain { method: "POST", ..get(path) };
        assert_eq!(scene.send(&to, u64::try_from(number).unwrap(), &request).await.status, status, "{path}");
    }
    assert_eq!(scene.application.arrived().len(), 0);
}

#[tokio::test]
async fn a_request_that_finds_no_place_is_declined_for_good() {
    for limits in ["requests-in-flight = 1", "requests-in-flight-per-address = 1"] {
        is_declined_for_good(limits).await;
    }
}

async fn is_declined_for_good(limits: &str) {
    // An application that accepts a request, and does not respond.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let application = TestServer::at(listener.local_addr().unwrap());
    let mut scene = Scene::with(application, "", limits).await;
    let (to, _) = scene.attest("/attest/maa").await;
    let (held, _) = to.seal(0, &post(b"held"));
    let mut holding = Outer::connect(scene.agent.address()).await;
    let holding = tokio::spawn(async move { holding.post("/attest/message", SEALED, held).await.status });
    let _accepted = soon(listener.accept()).await.unwrap();
    let (sealed, opener) = to.seal(1, &post(b"no place"));
    for (status, reason) in [(503, "declined"), (409, "refused")] {
        let inner = opener.open(&scene.message(sealed.clone()).await.body).unwrap();
        assert_eq!((inner.status, inner.field("blindbox-message")), (status, Some(reason)));
    }
    holding.abort();
}

/// Anyone can send a request that never arrives whole. It takes a place of its sender, and none of others.
#[tokio::test]
async fn one_address_has_a_share_of_the_places_for_opening() {
    let limits = "openings-per-address = 1\nrequests-in-flight = 2";
    let scene = Scene::with(application().await, "", limits).await;
    let from = async |last| Client::from(IpAddr::from([127, 0, 0, last]), scene.agent.address()).await.unwrap();
    let head = |length: usize| {
        format!(
            "POST /attest/message HTTP/1.1\r\nhost: a\r\ncontent-type: {SEALED}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    // What is sent whole is opened, and is sealed to no key of this agent.
    let status = async |last| from(last).await.send(&(head(1) + "x")).await.status;
    assert_eq!((status(1).await, status(2).await), (400, 400));
    // One of an address that has a place, and the refusal of another address.
    let hold = async |last, other| {
        let refused =
            async || Some(from(other).await.send(&(head(1) + "x")).await).filter(|answer| answer.status != 400);
        holding(async || from(last).await, &head(1), refused).await
    };
    let (mut first, answer) = hold(1, 1).await;
    let shown = json!({ "error": "too many requests of this address at the moment" });
    assert_eq!((answer.status, answer.json()), (429, shown));
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    assert_eq!(status(2).await, 400);
    // Both places are taken, and no third address has one.
    let (_second, answer) = hold(2, 3).await;
    let shown = json!({ "error": "too many requests at the moment" });
    assert_eq!((answer.status, answer.json()), (429, shown));
    // Each is given back.
    first.write("x").await;
    assert_eq!(first.read().await.unwrap().status, 400);
    assert_eq!(status(1).await, 400);
}

#[tokio::test]
async fn keys_end_in_time() {
    let mut scene = Scene::start("lifetime-seconds = 100\nkept-seconds = 50").await;
    let (first, _) = scene.attest("/attest/maa").await;
    pass(101).await;
    // Its connection was idle for too long.
    scene.outer = Outer::connect(scene.agent.address()).await;
    let (second, _) = scene.attest("/attest/maa").await;
    assert_ne!(first.key_config, second.key_config);
    assert_eq!(scene.send(&first, 0, &get("/")).await.status, 200);
    pass(50).await;
    let (sealed, _) = first.seal(1, &get("/"));
    assert_eq!(scene.message(sealed).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(scene.send(&second, 0, &get("/")).await.status, 200);
}

#[tokio::test]
async fn only_pages_of_the_list_are_let_in_by_browsers() {
    let mut scene = Scene::start("origins = [\"https://chat.example\"]").await;
    let preflight = |origin: &'static str| [("origin", origin), ("access-control-request-method", "POST")];
    for path in ["/attest/maa", "/attest/combined", "/attest/message"] {
        let allowed = scene.outer.request(Method::OPTIONS, path, &preflight("https://chat.example")).await;
        assert_eq!(allowed.status, StatusCode::NO_CONTENT);
        for (name, value) in [
            ("access-control-allow-origin", "https://chat.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "POST"),
            ("access-control-allow-headers", "content-type, blindbox-instance"),
            ("access-control-max-age", "600"),
            ("vary", "origin"),
        ] {
            assert_eq!(allowed.headers[name], value);
        }
        for origin in ["https://other.example", "https://chat.example.evil", "http://chat.example", "null"] {
            let refused = scene.outer.request(Method::OPTIONS, path, &preflight(origin)).await;
            assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{origin}");
            assert!(!refused.headers.contains_key("access-control-allow-origin"));
        }
    }
    let request = json!({ "nonce": "x" }).to_string().into_bytes();
    let of_page = [("origin", "https://chat.example"), ("content-type", "application/json")];
    let response = scene.outer.send(Method::POST, "/attest/maa", &of_page, request).await;
    assert_eq!(response.headers["access-control-allow-origin"], "https://chat.example");
    let elsewhere = scene.outer.request(Method::OPTIONS, "/", &preflight("https://chat.example")).await;
    assert!(!elsewhere.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn an_agent_without_the_table_serves_no_sealed_messages() {
    let application = application().await;
    let (agent, reports) = agent_without_machine(&application, "maa = [\"maa.example\"]", "").await;
    let mut outer = Outer::connect(agent.address()).await;
    let response = outer.post("/attest/message", SEALED, Vec::new()).await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    let request = json!({ "maa_endpoint": "maa.example", "nonce": NONCE, "protocol": "blindbox-bound-message/1" });
    let response = outer.post_json("/attest/maa", &request).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    assert_eq!(reports.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn another_media_type_is_refused() {
    let mut scene = Scene::start("").await;
    for media_type in ["application/json", "message/ohttp-req", "message/ohttp-chunked-req; x=1"] {
        let response = scene.outer.post("/attest/message", media_type, Vec::new()).await;
        assert_eq!(response.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media_type}");
    }
}

#[tokio::test]
async fn long_responses_are_sealed_in_pieces() {
    let mut scene = Scene::before(long_answers(3_000_000).await, "").await;
    let (to, _) = scene.attest("/attest/maa").await;
    assert_eq!(scene.send(&to, 0, &get("/")).await.content.len(), 3_000_000);
}

/// What is beside the content counts as well: one byte in a chunk costs as much work as a thousand.
#[tokio::test]
async fn a_request_of_many_small_chunks_is_too_long_by_its_encoding() {
    let mut scene = Scene::with(application().await, "", "body-bytes = 20000").await;
    let (to, _) = scene.attest("/attest/maa").await;
    let content = vec![b'x'; 16_000];
    let (sealed, opener) = to.seal_in_pieces(0, &post(&content), 1);
    assert!(sealed.len() > 2 * 20_000 + 256 * 1024);
    let response = scene.message(sealed).await;
    assert_ne!(opener.open(&response.body).map(|inner| inner.status), Some(200));
    assert_eq!(scene.application.arrived().len(), 0);
    assert_eq!(scene.send(&to, 1, &post(&content)).await.status, 200);
}

/// A sender is not authenticated before its head has been opened: it has a place for some seconds.
#[tokio::test]
async fn a_request_whose_head_is_late_gives_up_its_place() {
    let mut scene =
        Scene::with(application().await, "", "requests-in-flight = 1\nattestation-request-seconds = 20").await;
    let (to, _) = scene.attest("/attest/maa").await;
    let head =
        format!("POST /attest/message HTTP/1.1\r\nhost: x\r\ncontent-type: {SEALED}\r\ncontent-length: 9\r\n\r\n1");
    let (sealed, _) = to.seal(0, &get("/"));
    // Until the slow one has the only place.
    let address = scene.agent.address();
    let refused = async || (scene.message(sealed.clone()).await.status == StatusCode::TOO_MANY_REQUESTS).then_some(());
    let (mut slow, ()) = holding(async || Client::connect(address).await, &head, refused).await;
    let late = passing(20, slow.read()).await.unwrap();
    assert_eq!((late.status, late.json()["error"].as_str()), (408, Some("the request did not arrive in time")));
    assert_eq!(scene.send(&to, 1, &get("/")).await.status, 200);
}
