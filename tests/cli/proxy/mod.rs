//! `proxy`: its start, what it prints and logs, its end; and the client that its tests share.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::tool::{Emulator, Serving, command, run, skipped};

mod access;
mod bodies;
mod framing;
mod metrics_port;
mod redirects;
mod refusals;
#[cfg(unix)]
mod shutdown;
#[cfg(target_os = "linux")]
mod systemd;
mod truncated_responses;
#[cfg(unix)]
mod unix;

/// A proxy in front of an emulated BlindBox.
struct Proxy {
    emulator: Emulator,
    serving: Serving,
}

impl Proxy {
    fn start(more: &[&str]) -> Self {
        Self::in_front_of(Emulator::start(&[]), more)
    }

    fn in_front_of(emulator: Emulator, more: &[&str]) -> Self {
        Self::below("", emulator, more)
    }

    /// A proxy of one that is below a path.
    fn below(path: &str, emulator: Emulator, more: &[&str]) -> Self {
        Self { serving: Serving::start(Self::command(path, &emulator, more)), emulator }
    }

    fn command(path: &str, emulator: &Emulator, more: &[&str]) -> Command {
        let mut command = command();
        let url = format!("{}{path}", emulator.url());
        command.args(["proxy", &url, "--json"]).args(emulator.trusting()).args(more);
        command
    }

    /// `127.0.0.1:PORT`.
    fn host(&self) -> &str {
        self.serving.text("listen").strip_prefix("http://").unwrap()
    }

    fn token(&self) -> String {
        format!("X-Blindbox-Token: {}", self.serving.text("token"))
    }

    /// Sends a request line and headers, with the proper `Host` and token.
    fn ask(&self, line: &str, headers: &[&str]) -> Answer {
        let token = self.token();
        let mut all = vec![token.as_str()];
        all.extend(headers);
        self.ask_plainly(line, &all, "")
    }

    /// After a cut: a request on a connection whose end was not noticed yet fails without a verdict, and is not sent again.
    fn ask_once_noticed(&self, line: &str, headers: &[&str]) -> Answer {
        // A minute and more, of which one look takes a moment.
        for _ in 0..2000 {
            let answer = self.ask(line, headers);
            if answer.header("x-blindbox-error") != Some("application-unreachable") {
                return answer;
            }
            crate::tool::moment();
        }
        panic!("the application stays unreachable");
    }

    fn ask_plainly(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        self.send(&request(line, &format!("Host: {}", self.host()), headers, body))
    }

    fn send(&self, request: &str) -> Answer {
        Answer::read(self.begin(request))
    }

    /// A connection on which this was sent. No one waits for ever on it.
    fn begin(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.host()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        // The response may come before all of it is written.
        let _ = stream.write_all(request.as_bytes());
        stream
    }
}

fn request(line: &str, host: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{line} HTTP/1.1\r\n{host}\r\nConnection: close\r\n{headers}\r\n{body}")
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    /// The code of a response of the proxy's own, which stands in its body and in a header.
    fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        let code = body["error"]["code"].as_str().unwrap().to_owned();
        assert_eq!(self.header("x-blindbox-error"), Some(code.as_str()));
        assert_eq!(self.header("content-type"), Some("application/json"));
        code
    }
}

#[test]
fn curl_talks_to_an_attested_peer() {
    let proxy = Proxy::start(&[]);
    let (url, token) = (format!("http://{}/generate", proxy.host()), proxy.token());
    let arguments = ["-sS", "--fail", "-H", &token, "-d", r#"{"prompt":"who are you?"}"#, &url];
    let answer = match Command::new("curl").args(arguments).output() {
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        }
        Err(_) => {
            skipped("no curl; asking without it");
            let body = r#"{"prompt":"who are you?"}"#;
            let length = format!("Content-Length: {}", body.len());
            proxy.ask_plainly("POST /generate", &[&token, &length], body).body
        }
    };
    assert_eq!(answer, r#"{"text":"a response to: who are you?"}"#);
}

#[test]
fn answers_are_passed_on_as_they_come() {
    let mut proxy = Proxy::start(&[]);
    let hello = proxy.ask("GET /?x=1", &[]);
    assert_eq!((hello.status, hello.body.as_str()), (200, "hello from a BlindBox"));
    assert_eq!(hello.header("x-blindbox-error"), None);
    let head = proxy.ask("HEAD /", &[]);
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("21")));
    let large = proxy.ask("GET /large?bytes=3000000", &[]);
    assert_eq!((large.status, large.body.len()), (200, 3_000_000));
    assert_eq!(proxy.ask("GET /nothing-there", &[]).status, 404);
    let chunked = "POST /echo HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = proxy.send(&chunked.replace("HOST", proxy.host()).replace("TOKEN", &proxy.token()));
    assert_eq!((answer.status, answer.body.as_str()), (200, "abcde"));
    assert!(proxy.emulator.application_bytes() > 0);
}

#[test]
fn headers_of_the_hop_and_the_token_stay_here() {
    let proxy = Proxy::start(&[]);
    let own = format!("Origin: http://{}", proxy.host());
    let answer = proxy.ask(
        "GET /headers",
        &[
            "X-Kept: 1",
            "Cookie: a=b",
            "Authorization: Bearer secret",
            "Connection: x-dropped",
            "X-Dropped: 1",
            "Keep-Alive: 5",
            "Proxy-Authorization: Basic eDp5",
            "Proxy-Connection: keep-alive",
            "TE: trailers",
            "Trailer: x",
            "Expect: 100-continue",
            "Sec-Fetch-Site: same-origin",
            &own,
        ],
    );
    let headers: Vec<(String, String)> = serde_json::from_str(&answer.body).unwrap();
    let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    // The session asks for any type where the client did not say.
    assert_eq!(names, ["x-kept", "cookie", "authorization", "accept"], "{answer:?}");
    assert!(!answer.body.contains(proxy.serving.text("token")));
}

#[test]
fn a_peer_that_is_refused_later() {
    let mut proxy = Proxy::start(&[]);
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
    let before = proxy.emulator.application_bytes();
    proxy.emulator.order("knob debug");
    proxy.emulator.order("rotate-tls-key");
    let answer = proxy.ask_once_noticed("POST /generate", &["Content-Length: 0"]);
    assert_eq!((answer.status, answer.code().as_str()), (502, "debug-mode"), "{answer:?}");
    let error: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(error["error"]["category"], "rejected");
    assert_eq!(error["error"]["number"], 101);
    assert_eq!(proxy.ask("GET /", &[]).status, 502);
    assert_eq!(proxy.emulator.application_bytes(), before);

    // A restart in order has another key, which is asked at once; the refused one is refused for a while.
    proxy.emulator.order("reset");
    assert_eq!(proxy.ask("GET /", &[]).code(), "debug-mode");
    proxy.emulator.order("rotate-tls-key");
    assert_eq!(proxy.ask_once_noticed("GET /", &[]).status, 200);
}

/// An emulator whose policy allows debugging.
fn allowing_debug(more: &[&str]) -> Emulator {
    let emulator = Emulator::start(more);
    let policy = std::fs::read_to_string(emulator.file("policy.toml")).unwrap();
    std::fs::write(emulator.file("policy.toml"), policy + "\n[allow]\ndebug = true\n").unwrap();
    emulator
}

#[test]
fn exceptions_that_the_policy_allows_are_said_at_the_start() {
    let emulator = allowing_debug(&["--knob", "debug"]);
    let mut command = command();
    command.args(["proxy", emulator.url()]).args(emulator.trusting());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    let said: Vec<_> = BufReader::new(child.stderr.take().unwrap()).lines().take(4).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.ends_with(", attested with exceptions that the policy allows: anchors, debug"), "{first}");
    assert!(said[0].starts_with("attested until "), "{said:?}");
    // The web roots of the emulator, which are the caller's own.
    assert!(said[1].starts_with("ALLOWED anchors: "), "{said:?}");
    assert!(said[2].starts_with("ALLOWED debug: "), "{said:?}");
    assert!(said[3].starts_with("note: debug-allowed: "), "{said:?}");

    let proxy = Proxy::in_front_of(emulator, &[]);
    assert_eq!(proxy.serving.said["allowed"][1]["name"], "debug");
    assert_eq!(proxy.serving.said["lint"][0]["code"], "debug-allowed");
    assert!(proxy.serving.said["expires_at"].is_u64());
}

#[test]
fn exceptions_that_come_with_a_renewal_are_said_once() {
    let emulator = allowing_debug(&[]);
    let serving = Serving::saying_errors_to(Stdio::piped(), Proxy::command("", &emulator, &[]));
    let mut proxy = Proxy { serving, emulator };
    let allowed = proxy.serving.said["allowed"].as_array().unwrap();
    assert!(matches!(allowed.as_slice(), [one] if one["name"] == "anchors"), "{allowed:?}");
    let mut lines = proxy.serving.errors().lines().map(Result::unwrap);
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
    proxy.emulator.order("knob debug");
    proxy.emulator.order("rotate-tls-key");
    assert_eq!(proxy.ask_once_noticed("GET /", &[]).status, 200);
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
    let said: Vec<_> = lines.by_ref().filter(|line| !line.starts_with("error[")).take(3).collect();
    assert!(said[0].starts_with("renewed: attested until "), "{said:?}");
    assert!(said[0].ends_with(" with exceptions that the policy allows: anchors, debug"), "{said:?}");
    assert!(said[1].starts_with("ALLOWED anchors: "), "{said:?}");
    assert!(said[2].starts_with("ALLOWED debug: "), "{said:?}");
    drop(proxy);
    assert_eq!(lines.find(|line| !line.starts_with("error[")), None);
}

#[test]
fn silent_connections_give_way_to_newer_ones() {
    let proxy = Proxy::start(&[]);
    let kept = format!("GET / HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n", proxy.host(), proxy.token());
    let mut admitted = proxy.begin(&kept);
    let mut is_kept = || {
        let mut received = Vec::new();
        while !String::from_utf8_lossy(&received).contains("hello from a BlindBox") {
            let mut more = [0; 1024];
            let read = admitted.read(&mut more).unwrap();
            assert_ne!(read, 0, "cut off");
            received.extend_from_slice(&more[..read]);
        }
        assert!(String::from_utf8_lossy(&received).contains("HTTP/1.1 200 OK"));
        admitted.write_all(kept.as_bytes()).unwrap();
    };
    // As many as there are places, without a word, with half a request, and without the token.
    let half = |n: usize| if n.is_multiple_of(2) { "" } else { "GET / HTTP/1.1\r\nHost: " };
    let mut silent = Vec::new();
    for n in 0..300 {
        // Who was let in keeps the connection, unless no request comes for 30 s.
        if n % 20 == 0 {
            is_kept();
        }
        silent.push(proxy.begin(half(n)));
    }
    assert_eq!(proxy.ask_plainly("GET /", &[], "").status, 401);
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
    is_kept();
    drop(silent);
}

#[test]
fn an_offer_of_http_2_in_clear_is_ignored() {
    let proxy = Proxy::start(&[]);
    for offer in ["h2c", "H2C", "h2c, h2c"] {
        let offer = format!("Upgrade: {offer}");
        let answer =
            proxy.ask("GET /headers", &["Connection: Upgrade, HTTP2-Settings", &offer, "HTTP2-Settings: AAMAAABk"]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body, r#"[["accept","*/*"]]"#);
    }
    let url = format!("http://{}/", proxy.host());
    match Command::new("curl").args(["-sS", "--fail", "--http2", "-H", &proxy.token(), &url]).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from a BlindBox", "{output:?}"),
        Err(_) => skipped("no curl; asked without it"),
    }
}

#[test]
fn the_token_as_a_bearer_token_is_taken_and_not_passed_on() {
    let proxy = Proxy::start(&[]);
    let token = proxy.serving.text("token").to_owned();
    for scheme in ["Bearer", "bearer"] {
        let answer = proxy.ask_plainly("GET /headers", &[&format!("Authorization: {scheme} {token}")], "");
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"[["accept","*/*"]]"#), "{answer:?}");
    }
    // Beside the other header it is the application's, unless it is the token all the same.
    assert!(proxy.ask("GET /headers", &["Authorization: Bearer its-own"]).body.contains("Bearer its-own"));
    assert!(!proxy.ask("GET /headers", &[&format!("Authorization: Bearer {token}")]).body.contains(&token));
    for wrong in ["Bearer x", "Basic eDp5", "Bearer"] {
        let answer = proxy.ask_plainly("GET /", &[&format!("Authorization: {wrong}")], "");
        assert_eq!((answer.status, answer.code().as_str()), (401, "wrong-access-token"), "{wrong}");
    }
}

#[test]
fn a_peer_that_is_gone() {
    let mut proxy = Proxy::start(&[]);
    proxy.emulator.order("stop");
    let answer = proxy.ask("GET /", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (503, "application-unreachable"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("5"));
    proxy.emulator.order("restart");
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
}

#[test]
fn errors_that_no_one_reads_hold_up_nothing() {
    let emulator = Emulator::start(&[]);
    let serving = Serving::saying_errors_to(Stdio::piped(), Proxy::command("", &emulator, &[]));
    let mut proxy = Proxy { serving, emulator };
    proxy.emulator.order("stop");
    // More of them than a pipe takes.
    for _ in 0..1000 {
        assert_eq!(proxy.ask("GET /", &[]).code(), "application-unreachable");
    }
}

#[test]
fn a_peer_that_is_refused_at_once_is_no_proxy() {
    let emulator = Emulator::start(&["--knob", "debug"]);
    let mut arguments = vec!["proxy".to_owned(), emulator.url().to_owned()];
    arguments.extend(emulator.trusting());
    let outcome = run(&arguments);
    assert_eq!((outcome.exit, outcome.out.as_str()), (1, ""));
    assert!(outcome.err.starts_with("error[debug-mode]: "), "{}", outcome.err);
}

#[test]
fn an_address_that_others_can_reach() {
    for listen in ["0.0.0.0:0", "192.0.2.1:80", "[::]:0", "localhost:0", "8080", "unix:"] {
        let outcome = run(&["proxy", "https://my-app.example", "--policy", "x", "--listen", listen]);
        assert_eq!(outcome.exit, 64, "{listen}: {}", outcome.err);
    }
}

#[test]
fn text_says_where_and_with_what_once() {
    let emulator = Emulator::start(&[]);
    let mut command = command();
    command.args(["proxy", emulator.url()]).args(emulator.trusting()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let (first, second) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(
        first.starts_with("http://127.0.0.1:")
            && first.ends_with(", attested with exceptions that the policy allows: anchors"),
        "{first}"
    );
    assert!(second.starts_with("X-Blindbox-Token: "), "{second}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lines.next(), None);
}
