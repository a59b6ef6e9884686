//! Bodies of requests are held in memory: whose, and how many at a time.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{Answer, Proxy};

/// The head of a request that announces more than was sent.
fn head(proxy: &Proxy, token: &str, length: usize) -> String {
    format!(
        "POST /echo HTTP/1.1\r\nHost: {}\r\n{token}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n",
        proxy.host()
    )
}

fn finish(mut stream: TcpStream, rest: &str) -> Answer {
    stream.write_all(rest.as_bytes()).unwrap();
    Answer::read(stream)
}

#[test]
fn nothing_is_held_for_those_without_the_token() {
    let mut proxy = Proxy::start(&["--max-request", "2048", "--max-held", "2048"]);
    // Their responses come before their bodies have arrived, and they take no room.
    let waiting: Vec<_> = (0..20).map(|_| proxy.begin(&head(&proxy, "X-Other: x", 2048))).collect();
    for stream in waiting {
        let answer = Answer::read(stream);
        assert_eq!((answer.status, answer.code().as_str()), (401, "wrong-access-token"), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(proxy.emulator.application_bytes(), 0);
    let body = "x".repeat(2048);
    let length = format!("Content-Length: {}", body.len());
    assert_eq!(proxy.ask_plainly("POST /echo", &[&proxy.token(), &length], &body).body, body);
}

#[test]
fn a_body_waits_for_room() {
    let proxy = Proxy::start(&["--max-request", "2048", "--max-held", "2048", "--body-wait", "600"]);
    let mut first =
        proxy.begin(&(head(&proxy, &proxy.token(), 2048).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n")));
    // The proxy asks for the body once it has room for it.
    let mut invitation = [0; 25];
    first.read_exact(&mut invitation).unwrap();
    assert_eq!(&invitation, b"HTTP/1.1 100 Continue\r\n\r\n");

    // No room for another one; a request without a body needs none.
    let mut second = proxy.begin(&head(&proxy, &proxy.token(), 5));
    second.write_all(b"later").unwrap();
    assert_eq!(proxy.ask("GET /", &[]).status, 200);
    second.set_nonblocking(true).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();

    let body = "x".repeat(2048);
    assert_eq!(finish(first, &body).body, body);
    assert_eq!(Answer::read(second).body, "later");
}

#[test]
fn a_body_for_which_there_is_no_room_in_time() {
    let size = 16 << 20;
    let proxy = Proxy::start(&["--max-request", &size.to_string(), "--max-held", "1", "--body-discard", "600"]);
    let chunked = head(&proxy, &proxy.token(), 0)
        .replace("Content-Length: 0", "Transfer-Encoding: chunked\r\nExpect: 100-continue");
    let mut first = proxy.begin(&chunked);
    let mut invitation = [0; 25];
    first.read_exact(&mut invitation).unwrap();
    // It can be sent to its end all the same: many clients look for a response only then.
    let answer = finish(proxy.begin(&head(&proxy, &proxy.token(), size)), &"x".repeat(size));
    assert_eq!((answer.status, answer.code().as_str()), (503, "too-many-bodies"), "{answer:?}");
    // As long as it comes it may become as large as any; then it takes what it needs.
    assert_eq!(finish(first, "5\r\nfirst\r\n0\r\n\r\n").body, "first");
    assert_eq!(proxy.send(&(head(&proxy, &proxy.token(), 5) + "hello")).body, "hello");
}

#[test]
fn the_largest_body_always_has_room() {
    let proxy = Proxy::start(&["--max-request", "4096", "--max-held", "1"]);
    let body = "x".repeat(4096);
    assert_eq!(proxy.send(&(head(&proxy, &proxy.token(), 4096) + &body)).body, body);
}

#[test]
fn a_body_that_is_cut_off_gives_its_room_back() {
    let mut proxy = Proxy::start(&["--max-request", "2048", "--max-held", "2048"]);
    for _ in 0..3 {
        drop(proxy.begin(&(head(&proxy, &proxy.token(), 2048) + "half")));
    }
    assert_eq!(proxy.send(&(head(&proxy, &proxy.token(), 5) + "whole")).body, "whole");
    let counted = proxy.emulator.order("traffic")["application_requests"].as_u64();
    assert_eq!(counted, Some(1));
}
