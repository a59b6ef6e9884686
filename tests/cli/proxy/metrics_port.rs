//! How the proxy is run: its start while the peer is down, its log, counters and health.

use std::io::{BufRead as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{Answer, Proxy};
use crate::tool::{Emulator, Serving};

/// A proxy whose standard error can be read.
fn heard(emulator: Emulator, more: &[&str]) -> Proxy {
    let serving = Serving::saying_errors_to(Stdio::piped(), Proxy::command("", &emulator, more));
    Proxy { serving, emulator }
}

/// A response of the port for operations.
fn operations(proxy: &Proxy, line: &str) -> Answer {
    let host = proxy.serving.text("metrics").strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    Answer::read(stream)
}

fn down() -> Emulator {
    let mut emulator = Emulator::start(&[]);
    emulator.order("fail /attest/=status:503");
    emulator
}

#[test]
fn a_peer_that_is_down_at_the_start_is_attested_later() {
    let mut proxy = heard(down(), &["--metrics", "127.0.0.1:0", "--retry-pause", "0.01"]);
    let mut errors = proxy.serving.errors().lines().map(Result::unwrap);
    let said = &proxy.serving.said;
    assert_eq!((&said["expires_at"], &said["allowed"]), (&Value::Null, &Value::Null));
    assert_eq!(said["error"]["code"], "agent-unreachable");
    let answer = proxy.ask("GET /", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (503, "agent-unreachable"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("5"));
    // Those who are not let in learn nothing.
    assert_eq!(proxy.ask_plainly("GET /", &[], "").code(), "wrong-access-token");
    assert_eq!(operations(&proxy, "GET /livez").status, 200);
    let ready = operations(&proxy, "GET /readyz");
    assert_eq!((ready.status, ready.body.as_str()), (503, "agent-unreachable\n"));
    assert!(operations(&proxy, "GET /metrics").body.contains("\nblindbox_proxy_ready 0\n"));
    assert_eq!(proxy.emulator.application_bytes(), 0);

    proxy.emulator.order("reset");
    assert!(errors.any(|line| line.starts_with("attested until ")));
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
    assert_eq!(operations(&proxy, "GET /readyz").status, 200);
}

#[test]
fn a_peer_that_is_down_ends_a_proxy_that_waits_for_it() {
    let emulator = down();
    let output = Proxy::command("", &emulator, &["--wait"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["verdict"], &said["error"]["code"]), (&"no-verdict".into(), &"agent-unreachable".into()));
}

#[test]
fn a_refusal_at_the_start_ends_the_proxy() {
    let emulator = Emulator::start(&["--knob", "debug"]);
    let output = Proxy::command("", &emulator, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_log_in_json_has_a_line_for_each_request_and_nothing_of_its_content() {
    let mut proxy = heard(Emulator::start(&[]), &["--log-format", "json", "--max-answer", "100000"]);
    let errors = proxy.serving.errors();
    assert_eq!(proxy.ask("GET /secret-path?secret-query", &["X-Secret: secret-header"]).status, 404);
    let length = "Content-Length: 11";
    assert_eq!(proxy.ask_plainly("POST /echo", &[&proxy.token(), length], "secret-body").status, 200);
    assert_eq!(proxy.ask("HEAD /", &[]).status, 200);
    assert_eq!(proxy.ask("PROPFIND /", &["Upgrade: websocket"]).status, 501);
    assert_eq!(proxy.ask("GET /large?bytes=1000000", &[]).status, 502);
    proxy.emulator.order("fail /large=truncated");
    assert_eq!(proxy.ask("GET /large?bytes=50000", &[]).status, 200);
    let refused = proxy.ask_plainly("GET /", &[], "");
    assert_eq!(refused.status, 401);
    let token = proxy.serving.text("token").to_owned();
    let mut lines = Vec::new();
    let mut requests = Vec::new();
    for line in errors.lines() {
        let line = line.unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        lines.push(line);
        if event["message"] == "request" {
            requests.push(event);
        }
        if requests.len() == 7 {
            break;
        }
    }
    assert!(lines.iter().all(|line| !line.contains("secret") && !line.contains(&token)), "{lines:?}");
    let expected = [
        ("GET", Some(404), None, "complete"),
        ("POST", Some(200), None, "complete"),
        ("HEAD", Some(200), None, "complete"),
        ("other", Some(501), Some("upgrade-refused"), "complete"),
        ("GET", Some(502), Some("answer-too-large"), "complete"),
        ("GET", Some(200), None, "cut"),
        ("GET", Some(401), Some("wrong-access-token"), "complete"),
    ];
    for (event, (method, status, code, outcome)) in requests.iter().zip(expected) {
        let found =
            (event["method"].as_str(), event["status"].as_u64(), event["code"].as_str(), event["outcome"].as_str());
        assert_eq!(found, (Some(method), status, code, Some(outcome)), "{event}");
        assert!(event["duration_ms"].is_f64() && event["timestamp"].as_str().unwrap().ends_with('Z'), "{event}");
    }
    assert!(lines.iter().any(|line| line.contains("\"expires_at\"") && line.contains("\"attested\"")), "{lines:?}");
}

#[test]
fn counters_and_health_have_a_port_of_their_own() {
    let proxy = Proxy::start(&["--metrics", "127.0.0.1:0"]);
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
    assert_eq!(proxy.ask("GET /readyz", &[]).status, 404, "a path of the application");
    let metrics = operations(&proxy, "GET /metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for expected in [
        "# TYPE blindbox_attestations_total counter\n",
        "blindbox_attestations_total{outcome=\"accepted\",category=\"accepted\"} 1\n",
        "blindbox_attestation_duration_seconds_count{category=\"accepted\"} 1\n",
        "blindbox_proxy_requests_total{method=\"GET\",status=\"200\",outcome=\"complete\"} 1\n",
        "blindbox_proxy_requests_total{method=\"GET\",status=\"404\",outcome=\"complete\"} 1\n",
        "blindbox_proxy_request_duration_seconds_count{outcome=\"complete\"} 2\n",
        "blindbox_proxy_ready 1\n",
        "# TYPE blindbox_proxy_attestation_expires_timestamp_seconds gauge\n",
    ] {
        assert!(metrics.body.contains(expected), "{expected} in {}", metrics.body);
    }
    let page = include_str!("../../../docs/observability.md");
    for (name, kind) in metrics.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        assert!(page.contains(&format!("| `{name}` | {kind} |")), "{name} is not documented as a {kind}");
    }
    let expires = format!("timestamp_seconds {}\n", proxy.serving.said["expires_at"]);
    assert!(metrics.body.contains(&expires), "{expires} in {}", metrics.body);
    let ready = operations(&proxy, "GET /readyz");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ok\n"));
    assert_eq!(operations(&proxy, "GET /echo").status, 404);
    let posted = operations(&proxy, "POST /metrics");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("get, head")));
}

#[test]
fn without_the_option_nothing_is_counted_or_served() {
    let proxy = Proxy::start(&[]);
    assert_eq!(proxy.serving.said["metrics"], Value::Null);
}
