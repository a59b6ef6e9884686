//! A response that is not complete never looks complete to a local client.

use std::io::Read as _;

use super::Proxy;

/// The bytes that were announced, and those that came.
fn lengths(answer: &super::Answer) -> (usize, usize) {
    (answer.header("content-length").unwrap().parse().unwrap(), answer.body.len())
}

#[test]
fn an_answer_that_the_application_cuts_off() {
    let mut proxy = Proxy::start(&[]);
    proxy.emulator.order("fail /large=truncated");
    let answer = proxy.ask("GET /large?bytes=200000", &[]);
    assert_eq!(answer.status, 200);
    let (announced, came) = lengths(&answer);
    assert_eq!(announced, 200_000);
    assert!(came < announced, "{came} bytes");
}

#[test]
fn an_answer_of_unknown_length_that_is_cut_off() {
    let mut proxy = Proxy::start(&["--max-answer", "100000"]);
    proxy.emulator.order("fail /large=oversized:1000");
    let whole = proxy.ask("GET /large?bytes=10", &[]);
    assert_eq!((whole.status, whole.header("transfer-encoding")), (200, Some("chunked")));
    assert!(whole.body.ends_with("\r\n0\r\n\r\n"));
    proxy.emulator.order("reset");
    proxy.emulator.order("fail /large=oversized:1000000");
    let cut = proxy.ask("GET /large?bytes=10", &[]);
    assert_eq!((cut.status, cut.header("transfer-encoding")), (200, Some("chunked")));
    assert!(!cut.body.ends_with("0\r\n\r\n"), "{}", cut.body.len());
}

#[test]
fn an_answer_that_is_announced_as_too_large() {
    let proxy = Proxy::start(&["--max-answer", "100000"]);
    let answer = proxy.ask("GET /large?bytes=100001", &[]);
    assert_eq!((answer.status, answer.code().as_str()), (502, "answer-too-large"), "{answer:?}");
    assert_eq!(lengths(&proxy.ask("GET /large?bytes=100000", &[])), (100_000, 100_000));
}

#[test]
fn answers_without_a_body() {
    let mut proxy = Proxy::start(&["--max-answer", "20"]);
    // What `HEAD` announces does not come, and is not too large.
    let head = proxy.ask("HEAD /", &[]);
    assert_eq!((head.status, head.header("content-length"), head.body.as_str()), (200, Some("21"), ""));
    for status in [204, 304] {
        proxy.emulator.order("reset");
        proxy.emulator.order(&format!("fail /=status:{status}"));
        let answer = proxy.ask("GET /", &[]);
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{answer:?}");
        assert_eq!((answer.header("transfer-encoding"), answer.header("x-blindbox-error")), (None, None));
    }
}

#[test]
fn clients_that_leave_their_answers_unread_hold_up_no_one_else() {
    let proxy = Proxy::start(&[]);
    let large = format!("GET /large?bytes=16000000 HTTP/1.1\r\nHost: {}\r\n{}\r\n\r\n", proxy.host(), proxy.token());
    let mut first = [0; 15];
    let unread: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = proxy.begin(&large);
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200 OK");
            stream
        })
        .collect();
    // What is on its way to them is as much as there will be.
    let whole = proxy.ask("GET /large?bytes=3000000", &[]);
    assert_eq!((whole.status, whole.body.len()), (200, 3_000_000));
    drop(unread);
}
