//! SIGTERM, SIGINT and SIGHUP: no new request, and the responses that run come to their end.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use super::{Answer, Proxy, request};
use crate::tool::{Emulator, Serving, moment};

/// A proxy with a request under way at the application.
fn asked(target: &str, more: &[&str]) -> (Proxy, TcpStream) {
    let emulator = Emulator::start(&[]);
    let serving = Serving::saying_errors_to(Stdio::piped(), Proxy::command("", &emulator, more));
    let mut proxy = Proxy { serving, emulator };
    let stream = proxy.begin(&request(target, &format!("Host: {}", proxy.host()), &[&proxy.token()], ""));
    let arrived = (0..2000).any(|_| {
        moment();
        proxy.emulator.order("traffic")["application_requests"] == 1
    });
    assert!(arrived);
    (proxy, stream)
}

fn signal(proxy: &Proxy, name: &str) {
    assert!(Command::new("kill").args([name, &proxy.serving.id().to_string()]).status().unwrap().success());
}

#[test]
fn an_answer_that_runs_comes_to_its_end() {
    for name in ["-TERM", "-INT", "-HUP"] {
        let application = TcpListener::bind("127.0.0.1:0").unwrap();
        let emulator = Emulator::start(&["--application", &format!("http://{}", application.local_addr().unwrap())]);
        let command = Proxy::command("", &emulator, &["--shutdown-grace", "600", "--shutdown-flush", "600"]);
        let mut proxy = Proxy { serving: Serving::saying_errors_to(Stdio::piped(), command), emulator };
        let stream = proxy.begin(&request("GET /", &format!("Host: {}", proxy.host()), &[&proxy.token()], ""));
        let mut at_application = BufReader::new(application.accept().unwrap().0);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(at_application.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let at_application = at_application.get_mut();
        let idle = TcpStream::connect(proxy.host()).unwrap();
        let mut lines = proxy.serving.errors().lines().map(Result::unwrap);
        signal(&proxy, name);
        let said = lines.next().unwrap();
        assert_eq!(said, "stopping: responses that run have 600 seconds to end; a second signal cuts them off at once");
        // No other client is let in from now on.
        assert_eq!(TcpStream::connect(proxy.host()).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        // The response begins when all that has been seen.
        at_application.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        let answer = Answer::read(stream);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(proxy.serving.wait(), 0);
        assert_eq!(lines.next(), None);
        drop(idle);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut proxy, stream) = asked("GET /slow?ms=600000", &["--shutdown-grace", "600", "--shutdown-flush", "600"]);
    let mut lines = proxy.serving.errors().lines().map(Result::unwrap);
    signal(&proxy, "-TERM");
    assert!(lines.next().unwrap().starts_with("stopping: "));
    signal(&proxy, "-INT");
    assert_eq!(Answer::read(stream).status, 0);
    assert_eq!(proxy.serving.wait(), 0);
    assert_eq!(lines.next().as_deref(), Some("stopped: responses that still ran are cut off"));
}

#[test]
fn an_answer_that_takes_too_long_is_cut_off() {
    let (mut proxy, stream) = asked("GET /slow?ms=600000", &["--shutdown-grace", "0.3", "--shutdown-flush", "600"]);
    let mut lines = proxy.serving.errors().lines().map(Result::unwrap);
    signal(&proxy, "-TERM");
    assert_eq!(Answer::read(stream).status, 0);
    assert_eq!(proxy.serving.wait(), 0);
    assert!(lines.next().unwrap().starts_with("stopping: "));
    assert_eq!(lines.next().as_deref(), Some("stopped: responses that still ran are cut off"));
}

#[test]
fn without_an_answer_that_runs_nothing_is_waited_for() {
    let emulator = Emulator::start(&[]);
    let serving = Serving::saying_errors_to(Stdio::piped(), Proxy::command("", &emulator, &["--shutdown-quiet", "60"]));
    let mut proxy = Proxy { serving, emulator };
    let silent = TcpStream::connect(proxy.host()).unwrap();
    let half = proxy.begin("GET / HTTP/1.1\r\nHost: ");
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
    signal(&proxy, "-TERM");
    assert_eq!(proxy.serving.wait(), 0);
    assert_eq!(proxy.serving.errors().lines().count(), 0);
    drop((silent, half));
}
