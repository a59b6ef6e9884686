//! What the agent must refuse, one a line; and that a refusal costs neither a report nor a request to the application.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blindbox_agent::{Agent, Config, Device, EvidenceError};
use blindbox_attestation::emulator::Maa;
use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;

use crate::client::{Answer, Client, get, post};
use crate::lab::{
    ClosedPort, MaaEndpoint, Machine, TestServer, agent_with_device, agent_without_machine, application, config,
    long_answers, moment, pass, passing, sidecar, sidecar_source, until,
};

const N: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const MAA: &str = "/attest/maa";
const COMBINED: &str = "/attest/combined";

/// The response of an agent whose list has `maa.example` and `maa.example:8443`, after which nothing has happened.
async fn refused(request: &str) -> Answer {
    let application = application().await;
    let hosts = r#"maa = ["maa.example", "maa.example:8443"]"#;
    let (agent, reports) = agent_without_machine(&application, hosts, "").await;
    let answer = Client::connect(agent.address()).await.send(request).await;
    assert_eq!((reports.load(Ordering::SeqCst), application.count()), (0, 0), "{answer:?}");
    assert!(!answer.body.contains("evil"), "an answer repeats what was sent: {}", answer.body);
    answer
}

macro_rules! refuses {
    ($($status:literal $name:ident: $request:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            assert_eq!(refused(&$request).await.status, $status);
        }
    )*};
}

fn at(host: &str) -> String {
    post(MAA, &json!({ "maa_endpoint": host, "nonce": N }).to_string())
}

fn nonce(nonce: &str) -> String {
    post(COMBINED, &json!({ "nonce": nonce }).to_string())
}

fn typed(content_type: &str) -> String {
    post(COMBINED, &json!({ "nonce": N }).to_string()).replace("application/json", content_type)
}

fn with(header: &str) -> String {
    get("/").replace("\r\n\r\n", &format!("\r\n{header}\r\n\r\n"))
}

refuses! {
    400 runtime_data_of_the_caller: post(MAA, r#"{"maa_endpoint":"maa.example","runtime_data":"e30="}"#);
    400 runtime_data_beside_the_nonce: post(MAA, &format!(r#"{{"maa_endpoint":"maa.example","nonce":"{N}","runtime_data":"e30="}}"#));
    400 runtime_data_for_a_report: post(COMBINED, r#"{"runtime_data":"e30="}"#);
    400 runtime_data_beside_the_nonce_for_a_report: post(COMBINED, &format!(r#"{{"nonce":"{N}","runtime_data":"e30="}}"#));
    400 an_unknown_member: post(COMBINED, &format!(r#"{{"nonce":"{N}","evil":1}}"#));
    400 another_protocol: post(COMBINED, &format!(r#"{{"nonce":"{N}","protocol":"blindbox-bound-connection/2"}}"#));
    400 the_protocol_that_has_no_name: post(COMBINED, &format!(r#"{{"nonce":"{N}","protocol":"blindbox-bound-server/1"}}"#));
    400 a_protocol_that_is_null: post(COMBINED, &format!(r#"{{"nonce":"{N}","protocol":null}}"#));
    400 two_protocols: post(COMBINED, &format!(r#"{{"nonce":"{N}","protocol":"blindbox-bound-connection/1","protocol":"blindbox-bound-connection/1"}}"#));
    400 runtime_data_beside_the_protocol: post(COMBINED, &format!(r#"{{"nonce":"{N}","protocol":"blindbox-bound-connection/1","runtime_data":"e30="}}"#));
    400 an_exporter_of_the_caller: post(COMBINED, &format!(r#"{{"nonce":"{N}","protocol":"blindbox-bound-connection/1","tls-exporter":"{N}"}}"#));
    400 a_nonce_too_short: nonce(&N[2..]);
    400 a_nonce_too_long: nonce(&format!("{N}00"));
    400 a_nonce_in_upper_case: nonce(&N.to_uppercase());
    400 a_nonce_that_is_json: nonce(r#"","tls-spki-sha256":"00112233445566778899aabbccddeeff001122334455"#);
    400 a_nonce_with_white_space: nonce(&format!("{} ", &N[1..]));
    400 a_nonce_that_is_a_number: post(COMBINED, r#"{"nonce":1}"#);
    400 a_nonce_that_is_null: post(COMBINED, r#"{"nonce":null}"#);
    400 no_nonce: post(MAA, r#"{"maa_endpoint":"maa.example"}"#);
    400 no_host: post(MAA, &format!(r#"{{"nonce":"{N}"}}"#));
    400 a_host_that_is_null: post(COMBINED, &format!(r#"{{"nonce":"{N}","maa_endpoint":null}}"#));
    400 two_nonces: post(COMBINED, &format!(r#"{{"nonce":"{N}","nonce":"{N}"}}"#));
    400 two_hosts: post(MAA, &format!(r#"{{"maa_endpoint":"maa.example","maa_endpoint":"evil","nonce":"{N}"}}"#));
    400 an_array_for_an_object: post(MAA, &format!(r#"["maa.example","{N}"]"#));
    400 a_second_object: post(COMBINED, &format!(r#"{{"nonce":"{N}"}}{{}}"#));
    400 no_json: post(COMBINED, "nonce=1");
    400 an_empty_request: post(COMBINED, "");
    400 another_content_type: typed("text/plain");
    400 a_form: typed("application/x-www-form-urlencoded");
    413 a_long_request: post(COMBINED, &format!(r#"{{"nonce":"{N}"{}}}"#, " ".repeat(1024)));
    403 a_host_that_is_not_on_the_list: at("evil.example");
    403 another_port: at("maa.example:444");
    403 a_host_in_upper_case: at("MAA.example");
    403 a_host_with_a_scheme: at("https://maa.example");
    403 a_host_with_a_path: at("maa.example/evil");
    403 a_host_with_a_user: at("evil@maa.example");
    403 a_host_with_a_query: at("maa.example?evil");
    403 a_host_with_a_final_dot: at("maa.example.");
    403 a_host_below_one_on_the_list: at("evil.maa.example");
    403 an_empty_host: at("");
    403 a_host_for_a_token_beside_a_report: post(COMBINED, &json!({ "maa_endpoint": "evil.example", "nonce": N }).to_string());
    404 a_raw_report: post("/attest/raw", r#"{"runtime_data":"e30="}"#);
    404 a_raw_report_by_nonce: post("/attest/raw", &json!({ "nonce": N }).to_string());
    404 a_key_release: post("/key/release", "{}");
    404 the_root_of_the_agents_paths: get("/attest");
    404 a_path_below_status: get("/status/evil");
    404 a_query: get("/status?evil");
    404 a_final_slash: post("/attest/maa/", "{}");
    404 two_slashes: post("//attest/raw", "{}");
    404 another_case: post("/Attest/Raw", "{}");
    404 an_encoded_letter: post("/%61ttest/raw", "{}");
    404 a_letter_encoded_twice: post("/%2561ttest/raw", "{}");
    404 an_encoded_slash: post("/attest%2fraw", "{}");
    404 a_backslash: post("/attest%5craw", "{}");
    404 a_parameter_of_a_segment: post("/attest;evil/raw", "{}");
    404 an_absolute_target: post("http://evil.example/attest/raw", "{}");
    400 dot_segments: post("/x/../attest/raw", "{}");
    400 encoded_dot_segments: post("/x/%2e%2e/attest/raw", "{}");
    400 a_nul: post("/attest%00/raw", "{}");
    400 the_asterisk: "OPTIONS * HTTP/1.1\r\nhost: agent\r\n\r\n";
    405 attestation_by_get: get(MAA);
    405 a_status_by_post: post("/status", "{}");
    405 an_attestation_by_delete: get(COMBINED).replace("GET", "DELETE");
    501 an_upgrade: with("connection: upgrade\r\nupgrade: websocket");
    501 an_upgrade_to_websocket_or_http2: with("connection: upgrade\r\nupgrade: h2c, websocket");
    501 an_upgrade_to_websocket_beside_one_to_http2: with("connection: upgrade\r\nupgrade: h2c\r\nupgrade: websocket");
    400 two_hosts_in_a_request: with("host: evil.example");
    400 no_host_in_a_request: "GET / HTTP/1.1\r\n\r\n";
    400 another_host_in_the_target: "GET http://evil.example/ HTTP/1.1\r\nhost: agent\r\n\r\n";
    413 a_long_body: get("/").replace("\r\n\r\n", "\r\ncontent-length: 16777217\r\n\r\n");
    400 a_user_in_the_host: get("/").replace("host: agent", "host: evil@agent");
    400 a_path_in_the_host: get("/").replace("host: agent", "host: agent/evil");
    400 an_empty_host_in_a_request: get("/").replace("host: agent", "host:");
    501 a_coding_beside_chunked: with("transfer-encoding: gzip, chunked");
    501 chunked_twice: with("transfer-encoding: chunked, chunked");
    501 chunked_in_two_headers: with("transfer-encoding: chunked\r\ntransfer-encoding: chunked");
    400 two_content_types: typed("application/json\r\ncontent-type: text/plain");
    404 a_final_dot: post("/attest./raw", "{}");
    400 an_overlong_letter: post("/%C1%A1ttest/raw", "{}");
    400 two_lengths: with("content-length: 1\r\ncontent-length: 2");
    400 an_unknown_coding: with("transfer-encoding: evil");
    431 long_headers: with(&format!("evil: {}", "x".repeat(33_000)));
}

#[tokio::test]
async fn a_tunnel() {
    let answer = refused("CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n\r\n").await;
    // A target without a path belongs neither to the agent nor to the application.
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn the_status_says_that_something_answers_and_no_more() {
    let answer = refused(&get("/status")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"message":"Status OK"}"#));
}

#[tokio::test]
async fn too_many_attestations_at_once() {
    let application = application().await;
    let limits = "[limits]\nattestation-burst = 2\nattestations-per-second = 0.0001";
    let (agent, reports) = agent_without_machine(&application, "", limits).await;
    let mut client = Client::connect(agent.address()).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(client.send(&nonce(N)).await.status);
    }
    assert_eq!(statuses, [403, 403, 429, 429]);
    assert_eq!(reports.load(Ordering::SeqCst), 2);
    let answer = client.send(&nonce(N)).await;
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    // What is refused for its form takes no place.
    assert_eq!(client.send(&nonce("")).await.status, 400);
}

#[tokio::test]
async fn too_many_connections() {
    // More than the buffers between an application and a client hold.
    let application = long_answers(48 * 1024 * 1024).await;
    let (agent, _) = agent_without_machine(&application, "", "[limits]\nconnections = 1").await;
    let mut first = Client::connect(agent.address()).await;
    // A connection with a request gives way to no other.
    first.write(&get("/")).await;
    until("the application is asked", || application.count() > 0).await;
    let address = agent.address();
    let second = tokio::spawn(async move { Client::connect(address).await });
    // However often the agent runs until then.
    for _ in 0..20 {
        moment().await;
        assert!(!second.is_finished(), "a connection beyond the bound was served");
    }
    drop(first);
    assert_eq!(second.await.unwrap().send(&get("/status")).await.status, 200);
}

#[tokio::test]
async fn a_report_over_other_data_from_the_device() {
    let mut machine = Machine::new();
    machine.lie = Some([7; 64]);
    let context = machine.security_context();
    let agent = with_source(machine.source(&context), "").await;
    assert_eq!(Client::connect(agent.address()).await.send(&nonce(N)).await.status, 403);
}

#[tokio::test]
async fn a_report_over_other_data_from_the_sidecar() {
    let mut machine = Machine::new();
    machine.lie = Some([7; 64]);
    let maa = Arc::new(Maa::start().await.unwrap());
    let sidecar = sidecar(&machine, &maa).await;
    let agent = with_source(sidecar_source(&sidecar), "").await;
    assert_eq!(Client::connect(agent.address()).await.send(&nonce(N)).await.status, 403);
}

/// Redirects are not followed, and responses bounded in length and time. Requests to MAA use the same code, over TLS.
#[tokio::test]
async fn a_sidecar_that_sends_elsewhere_or_too_much() {
    for (status, length) in [(302, 0), (307, 0), (200, 300_000), (200, 2), (403, 0)] {
        let sidecar = TestServer::plain(Arc::new(move |_, _| {
            let answer = hyper::Response::builder().status(status).header("location", "/elsewhere");
            answer.body(Full::new(Bytes::from(" ".repeat(length)))).unwrap()
        }))
        .await;
        let agent = with_source(sidecar_source(&sidecar), "").await;
        let answer = Client::connect(agent.address()).await.send(&nonce(N)).await;
        assert_eq!((answer.status, sidecar.count()), (403, 1), "{status}");
    }
}

#[tokio::test]
async fn a_sidecar_that_does_not_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sidecar = TestServer::at(listener.local_addr().unwrap());
    let agent = with_source(sidecar_source(&sidecar), "").await;
    let mut client = Client::connect(agent.address()).await;
    client.write(&nonce(N)).await;
    let _held = listener.accept().await.unwrap();
    pass(16).await;
    assert_later(&client.read().await.unwrap());
}

#[tokio::test]
async fn a_sidecar_that_says_to_try_later() {
    for status in [408, 429, 500, 503] {
        let sidecar = TestServer::plain(Arc::new(move |_, _| {
            hyper::Response::builder().status(status).body(Full::default()).unwrap()
        }))
        .await;
        let agent = with_source(sidecar_source(&sidecar), "").await;
        assert_later(&Client::connect(agent.address()).await.send(&nonce(N)).await);
        assert_eq!(sidecar.count(), 1);
    }
}

#[tokio::test]
async fn a_sidecar_that_is_not_there() {
    let closed = ClosedPort::new();
    let sidecar = TestServer::at(closed.address());
    let agent = with_source(sidecar_source(&sidecar), "").await;
    assert_later(&Client::connect(agent.address()).await.send(&nonce(N)).await);
}

#[tokio::test]
async fn a_device_that_is_not_there() {
    struct Gone;
    impl Device for Gone {
        fn report(&self, _: &[u8; 64]) -> Result<Vec<u8>, EvidenceError> {
            Err(EvidenceError::Away("the device: no such file".to_owned()))
        }
    }
    let application = application().await;
    let agent = agent_with_device(Gone, &application, "", "").await;
    assert_later(&Client::connect(agent.address()).await.send(&nonce(N)).await);
}

fn assert_later(answer: &Answer) {
    assert_eq!((answer.status, answer.head.contains("retry-after: 1\r\n")), (503, true), "{answer:?}");
}

#[tokio::test]
async fn a_certificate_of_the_host_for_another_tcb() {
    let machine = Machine::new();
    let context = machine.security_context();
    let file = context.path().join("host-amd-cert-base64");
    let mut host: serde_json::Value =
        serde_json::from_slice(&STANDARD.decode(std::fs::read(&file).unwrap()).unwrap()).unwrap();
    host["tcbm"] = "0000000000000001".into();
    std::fs::write(file, STANDARD.encode(host.to_string())).unwrap();
    let agent = with_source(machine.source(&context), "").await;
    assert_eq!(Client::connect(agent.address()).await.send(&nonce(N)).await.status, 403);
}

#[tokio::test]
async fn an_maa_that_its_roots_do_not_vouch_for() {
    let machine = Machine::new();
    let (maa_endpoint, context) = (MaaEndpoint::start(&machine).await, machine.security_context());
    let agent = with_source(machine.source(&context), &format!("maa = [{:?}]", maa_endpoint.host())).await;
    let answer = Client::connect(agent.address()).await.send(&at(maa_endpoint.host())).await;
    // That server is not MAA, which may be reached another time.
    assert_later(&answer);
    assert_eq!(maa_endpoint.count(), 0);
}

/// Each status of the table in `docs/protocol.md`, brought about; and no other is in it.
#[tokio::test]
async fn the_statuses_are_those_of_the_protocol() {
    let protocol = include_str!("../../../../docs/protocol.md");
    let table = protocol.split("| status | when |").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells = table.lines().skip(2).filter_map(|row| row.split('|').nth(1));
    let said: BTreeSet<u16> = cells.flat_map(|cell| cell.split(',')).map(|code| code.trim().parse().unwrap()).collect();

    let mut seen = BTreeSet::new();
    for request in [
        nonce(""),
        at("evil.example"),
        post("/attest/raw", "{}"),
        get(MAA),
        post(COMBINED, &" ".repeat(1025)),
        with(&format!("evil: {}", "x".repeat(33_000))),
        with("connection: upgrade\r\nupgrade: websocket"),
    ] {
        seen.insert(refused(&request).await.status);
    }
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let application = TestServer::at(silent.local_addr().unwrap());
    let limits = "[limits]\nattestation-burst = 1\nattestations-per-second = 0.0001\nidle-seconds = 3600";
    let (agent, _) = agent_without_machine(&application, "", limits).await;
    let mut client = Client::connect(agent.address()).await;
    seen.extend([client.send(&nonce(N)).await.status, client.send(&nonce(N)).await.status]);
    let closed = ClosedPort::new();
    let sidecar = TestServer::at(closed.address());
    let other = with_source(sidecar_source(&sidecar), "").await;
    seen.insert(Client::connect(other.address()).await.send(&nonce(N)).await.status);
    // A body that does not come.
    client.write(&nonce(N)[..nonce(N).len() - 1]).await;
    seen.insert(after(11, client).await);
    let mut client = Client::connect(agent.address()).await;
    client.write(&get("/")).await;
    seen.insert(after(301, client).await);
    let (alone, _) = agent_without_machine(&TestServer::at(closed.address()), "", "").await;
    seen.insert(Client::connect(alone.address()).await.send(&get("/")).await.status);
    // Not sealed, where messages are; and without their content type.
    let (sealed, _) = agent_without_machine(&TestServer::at(closed.address()), "", "[message]").await;
    for request in [get("/"), post("/attest/message", "{}")] {
        seen.insert(Client::connect(sealed.address()).await.send(&request).await.status);
    }
    assert_eq!(seen, said);
}

/// The status of a response that comes when so much time has gone by, from whenever it counts.
async fn after(seconds: u64, mut client: Client) -> u16 {
    let answer = tokio::spawn(async move { client.read().await.unwrap().status });
    passing(seconds, answer).await.unwrap()
}

async fn with_source(source: blindbox_agent::Source, top: &str) -> Agent {
    let application: TestServer = application().await;
    Agent::start(&config(&format!("http://{}", application.address), top, ""), source).await.unwrap()
}

#[tokio::test]
async fn tls_1_2() {
    let application = application().await;
    let (agent, _) = agent_without_machine(&application, "", "").await;
    let refused = Client::speaking(&[&rustls::version::TLS12], agent.address(), |_| {}).await;
    assert!(refused.is_err());
    let client = Client::connect(agent.address()).await;
    assert_eq!(client.tls().protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
}

macro_rules! refuses_configuration {
    ($($name:ident: $change:expr;)*) => {$(
        #[test]
        fn $name() {
            let good = "listen = \"127.0.0.1:0\"\napplication = \"http://127.0.0.1:8000\"\nnames = [\"a.example\"]\n";
            assert!(Config::from_toml(good).is_ok());
            let (from, to): (&str, &str) = $change;
            let changed = if from.is_empty() { format!("{good}{to}\n") } else { good.replace(from, to) };
            assert_ne!(changed, good);
            assert!(Config::from_toml(&changed).is_err(), "{changed}");
        }
    )*};
}

refuses_configuration! {
    a_configuration_with_a_key_file: ("", "key-file = \"tls.key\"");
    a_configuration_with_a_key_file_among_the_keys: ("", "[key]\nfile = \"tls.key\"");
    a_configuration_with_a_certificate_but_no_request: ("", "[key]\ncertificate-file = \"/run/tls.pem\"");
    a_configuration_with_a_key_for_ever: ("", "[key]\nlifetime-seconds = 31536000");
    a_configuration_with_a_limit_of_zero: ("", "[limits]\nconnections = 0");
    a_configuration_with_a_limit_of_zero_requests: ("", "[limits]\nrequests-in-flight = 0");
    a_configuration_with_a_limit_of_zero_requests_per_address: ("", "[limits]\nrequests-in-flight-per-address = 0");
    a_configuration_with_a_limit_of_zero_openings: ("", "[limits]\nopenings-per-address = 0");
    a_configuration_with_a_rate_that_is_no_number: ("", "[limits]\nattestations-per-second = nan");
    a_configuration_with_a_negative_rate: ("", "[limits]\nattestations-per-second-per-address = -1.0");
    a_configuration_with_a_rate_of_zero: ("", "[limits]\nattestations-per-second = 0");
    a_configuration_with_handshakes_for_ever: ("", "[limits]\nhandshake-seconds = 9223372036854775807");
    a_configuration_with_silence_for_ever: ("", "[limits]\nidle-seconds = 9223372036854775807");
    a_configuration_with_connections_for_ever: ("", "[limits]\nconnection-seconds = 9223372036854775807");
    a_configuration_whose_request_is_its_certificate: ("", "[key]\ncsr-file = \"/run/tls\"\ncertificate-file = \"/run/tls\"");
    a_configuration_with_a_misspelt_limit: ("", "[limits]\nconnectoins = 1");
    a_configuration_with_a_wildcard_for_maa: ("", "maa = [\"*.attest.azure.net\"]");
    a_configuration_with_a_url_for_maa: ("", "maa = [\"https://sharedneu.neu.attest.azure.net\"]");
    a_configuration_with_an_application_elsewhere: ("127.0.0.1:8000", "10.0.0.1:8000");
    a_configuration_with_a_name_for_the_application: ("127.0.0.1:8000", "localhost:8000");
    a_configuration_with_a_sidecar_elsewhere: ("", "sidecar = \"http://10.0.0.1:8080\"");
    a_configuration_with_the_sidecar_as_the_application: ("", "sidecar = \"http://127.0.0.1:8000\"");
    a_configuration_without_names: ("[\"a.example\"]", "[]");
}

/// The example has every member, switched on or off, and is understood.
#[test]
fn the_example_of_a_configuration_is_understood() {
    let text = include_str!("../../agent.toml");
    let all: String = text
        .lines()
        .map(|line| {
            let is_set = |rest: &&str| rest.contains(" = ") || rest.starts_with('[');
            line.strip_prefix("# ").filter(is_set).unwrap_or(line)
        })
        .fold(String::new(), |all, line| all + line + "\n");
    for member in [
        "maa-roots",
        "security-context",
        "sidecar",
        "csr-file",
        "certificate-file",
        "tpm",
        "ak-issuers",
        "ak-issuer-hosts",
        "ak-root",
        "kept-seconds",
        "origins",
    ] {
        assert!(all.lines().any(|line| line.starts_with(member)), "{member}");
    }
    // A confidential VM has neither a sidecar nor a security context.
    let reason = "azure-vm is for a confidential VM, sidecar and security-context for a confidential container: drop one of them";
    assert_eq!(Config::from_toml(&all).unwrap_err().to_string(), reason);
    let without = |text: &str, names: &[&str]| {
        let kept = text.lines().filter(|line| !names.iter().any(|name| line.starts_with(name)));
        kept.fold(String::new(), |all, line| all + line + "\n")
    };
    // Nor sealed messages: the table ends where the next one begins.
    let (before, message) = all.split_once("\n[message]\n").unwrap();
    let (_, after) = message.split_once("\n[").unwrap();
    let of_a_vm = without(&format!("{before}\n[{after}"), &["sidecar", "security-context"]);
    let of_a_container = without(&all, &["[azure-vm]", "tpm", "metadata", "ak-"]);
    for text in [text, &of_a_vm, &of_a_container] {
        Config::from_toml(text).unwrap();
    }
}
