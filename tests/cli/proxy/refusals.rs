//! Requests that go nowhere, one test a reason.

use serde_json::Value;

use super::{Answer, Proxy, request};
use crate::tool::Emulator;

/// What is refused never reaches the application.
fn refused(mut proxy: Proxy, answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    assert_eq!(proxy.emulator.application_bytes(), 0);
}

#[test]
fn no_token() {
    let proxy = Proxy::start(&[]);
    let answer = proxy.ask_plainly("GET /", &[], "");
    refused(proxy, &answer, 401, "wrong-access-token");
}

#[test]
fn a_wrong_token() {
    let proxy = Proxy::start(&[]);
    let answer = proxy.ask_plainly("GET /", &[&format!("X-Blindbox-Token: {}", "0".repeat(64))], "");
    refused(proxy, &answer, 401, "wrong-access-token");
}

#[test]
fn two_tokens() {
    let proxy = Proxy::start(&[]);
    let answer = proxy.ask("GET /", &["X-Blindbox-Token: x"]);
    refused(proxy, &answer, 401, "wrong-access-token");
}

#[test]
fn a_proxy_without_a_token_serves_everybody() {
    let proxy = Proxy::start(&["--no-access-token"]);
    assert_eq!(proxy.serving.said["token"], Value::Null);
    assert_eq!(proxy.ask_plainly("GET /", &[], "").status, 200);
}

#[test]
fn a_token_is_new_each_time() {
    let (one, two) = (Proxy::start(&[]), Proxy::start(&[]));
    assert_eq!(one.serving.text("token").len(), 64);
    assert_ne!(one.serving.text("token"), two.serving.text("token"));
}

#[test]
fn a_name_that_was_made_to_resolve_to_loopback() {
    let proxy = Proxy::start(&["--no-access-token"]);
    let port = proxy.host().split(':').next_back().unwrap();
    for host in
        [&format!("evil.example:{port}"), "127.0.0.1", "127.0.0.1:1", "localhost", "", "127.0.0.1:80@evil.example"]
    {
        let answer = proxy.send(&request("GET /", &format!("Host: {host}"), &[], ""));
        assert_eq!((answer.status, answer.code().as_str()), (403, "wrong-host"), "{host}: {answer:?}");
    }
    let answer = proxy.send(&request("GET /", &format!("Host: {0}\r\nHost: {0}", proxy.host()), &[], ""));
    assert_eq!((answer.status, answer.code().as_str()), (403, "wrong-host"));
    let answer = proxy.send("GET / HTTP/1.0\r\n\r\n");
    refused(proxy, &answer, 403, "wrong-host");
}

#[test]
fn localhost_is_the_same_place() {
    let proxy = Proxy::start(&["--no-access-token"]);
    let host = proxy.host().replace("127.0.0.1", "localhost");
    assert_eq!(proxy.send(&request("GET /", &format!("Host: {host}"), &[], "")).status, 200);
}

#[test]
fn a_page_of_another_site() {
    let proxy = Proxy::start(&["--no-access-token"]);
    let own = format!("Origin: http://{}", proxy.host());
    for header in ["Origin: https://evil.example", "Origin: null", "Origin: http://127.0.0.1:1"] {
        let answer = proxy.ask_plainly("GET /", &[header], "");
        assert_eq!((answer.status, answer.code().as_str()), (403, "cross-site"), "{header}");
        let answer = proxy.ask_plainly("GET /", &[&own, header], "");
        assert_eq!(answer.code(), "cross-site", "{header}");
    }
    for header in ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: x"] {
        let answer = proxy.ask_plainly("GET /", &[&own, header], "");
        assert_eq!((answer.status, answer.code().as_str()), (403, "cross-site"), "{header}");
    }
    // What needs no leave beforehand, from a browser that says where it comes from in one way or the other.
    for header in ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"] {
        let simple = [header, "Content-Type: text/plain", "Content-Length: 2", "Sec-Fetch-Mode: no-cors"];
        let answer = proxy.ask_plainly("POST /echo", &simple, "{}");
        assert_eq!((answer.status, answer.code().as_str()), (403, "cross-site"), "{header}");
    }
    // And what asks for leave gets none.
    let preflight = [
        "Origin: https://evil.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-blindbox-token",
        "Access-Control-Request-Private-Network: true",
    ];
    let answer = proxy.ask_plainly("OPTIONS /", &preflight, "");
    assert!(!answer.head.contains("access-control-"), "{answer:?}");
    refused(proxy, &answer, 403, "cross-site");
}

#[test]
fn connect() {
    let proxy = Proxy::start(&[]);
    let answer = proxy.ask("CONNECT my-app.example:443", &[]);
    refused(proxy, &answer, 405, "method-refused");
}

#[test]
fn trace() {
    let proxy = Proxy::start(&[]);
    let answer = proxy.ask("TRACE /", &[]);
    refused(proxy, &answer, 405, "method-refused");
}

#[test]
fn an_absolute_target() {
    let proxy = Proxy::start(&[]);
    let absolute = format!("GET {}/", proxy.emulator.url());
    assert_eq!(proxy.ask(&absolute, &[]).code(), "target-refused");
    let answer = proxy.ask("GET http://evil.example/", &[]);
    refused(proxy, &answer, 400, "target-refused");
}

#[test]
fn a_target_that_is_no_path() {
    let proxy = Proxy::start(&[]);
    let answer = proxy.ask("OPTIONS *", &[]);
    refused(proxy, &answer, 400, "target-refused");
}

#[test]
fn a_target_that_the_session_refuses() {
    let proxy = Proxy::start(&[]);
    for target in ["//evil.example/", "/\\evil.example/", "/a\\b", "/..", "/a/../b", "/a/%2E%2e/b", "/a/.%2e", "/%2e"] {
        let answer = proxy.ask(&format!("GET {target}"), &[]);
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid-request"), "{target}");
    }
    let below = Proxy::below("/api", Emulator::start(&[]), &[]);
    let answer = below.ask("GET /../echo", &[]);
    refused(below, &answer, 400, "invalid-request");
    let answer = proxy.ask("GET /a/../b", &[]);
    refused(proxy, &answer, 400, "invalid-request");
}

#[test]
fn a_header_that_is_no_text() {
    let proxy = Proxy::start(&[]);
    let answer = proxy.ask("GET /", &["X-Name: caf\u{e9}"]);
    refused(proxy, &answer, 400, "invalid-request");
}

#[test]
fn an_upgrade() {
    let proxy = Proxy::start(&[]);
    for offer in ["websocket", "h2c, websocket", "TLS/1.0", ""] {
        let answer = proxy.ask("GET /", &[&format!("Upgrade: {offer}")]);
        assert_eq!(answer.code(), "upgrade-refused", "{offer}");
    }
    assert_eq!(proxy.ask("GET /", &["Upgrade: h2c", "Upgrade: websocket"]).code(), "upgrade-refused");
    let answer = proxy.ask("GET /", &["Connection: Upgrade, HTTP2-Settings"]);
    refused(proxy, &answer, 501, "upgrade-refused");
}

#[test]
fn http_2_without_asking() {
    let mut proxy = Proxy::start(&["--no-access-token"]);
    let answer = proxy.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(answer.status == 0 || answer.status == 400, "{answer:?}");
    assert_eq!(proxy.emulator.application_bytes(), 0);
}

#[test]
fn a_body_that_is_too_large() {
    let proxy = Proxy::start(&["--max-request", "10"]);
    let token = proxy.token();
    let announced = proxy.ask_plainly("POST /echo", &[&token, "Content-Length: 11"], "");
    assert_eq!((announced.status, announced.code().as_str()), (413, "request-too-large"));
    let chunked = ["Transfer-Encoding: chunked", &token];
    let answer = proxy.ask_plainly("POST /echo", &chunked, "b\r\nhello world\r\n0\r\n\r\n");
    assert_eq!(proxy.ask_plainly("POST /echo", &[&token, "Content-Length: 10"], "0123456789").body, "0123456789");
    assert_eq!((answer.status, answer.code().as_str()), (413, "request-too-large"));
}

#[test]
fn an_answer_that_is_too_large() {
    let proxy = Proxy::start(&["--max-answer", "100000"]);
    assert_eq!(proxy.ask("GET /large?bytes=100000", &[]).body.len(), 100_000);
    // It has begun, so all that is left is to break off.
    assert!(proxy.ask("GET /large?bytes=1000000", &[]).body.len() <= 100_000);
}

#[test]
fn a_head_that_is_too_large() {
    let proxy = Proxy::start(&[]);
    assert_eq!(proxy.ask("GET /", &[&format!("X: {}", "x".repeat(10_000))]).status, 200);
    assert_eq!(proxy.ask("GET /", &[&format!("X: {}", "x".repeat(66_000))]).code(), "head-too-large");
    assert_eq!(proxy.ask("GET /", &[&format!("X: {}", "x".repeat(1_000_000))]).status, 431);
}
