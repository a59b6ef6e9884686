//! Where one request ends and the next begins: the application gets one request for each that was understood, framed again.

use super::{Answer, Proxy};

fn send(proxy: &Proxy, request: &str) -> Answer {
    proxy.send(&request.replace("HOST", proxy.host()).replace("TOKEN", &proxy.token()))
}

fn requests(proxy: &mut Proxy) -> u64 {
    proxy.emulator.order("traffic")["application_requests"].as_u64().unwrap()
}

#[test]
fn two_lengths() {
    let mut proxy = Proxy::start(&[]);
    // Chunked counts, and anyone who counted otherwise finds the connection closed.
    for lengths in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let both = format!(
            "POST /echo HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\n{lengths}\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
                            GET /smuggled HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\n\r\n"
        );
        let answer = send(&proxy, &both);
        assert_eq!((answer.status, answer.body.as_str()), (200, "abc"), "{answer:?}");
    }
    assert_eq!(requests(&mut proxy), 2);
    for lengths in
        ["Content-Length: 4\r\nContent-Length: 5", "Content-Length: 4, 4", "Content-Length: +4", "Content-Length: -1"]
    {
        let answer = send(&proxy, &format!("POST /echo HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\n{lengths}\r\n\r\nabcde"));
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{lengths}: {answer:?}");
    }
    assert_eq!(requests(&mut proxy), 2);
}

#[test]
fn a_transfer_coding_that_stays_on_the_body() {
    let mut proxy = Proxy::start(&[]);
    for codings in [
        "gzip, chunked",
        "chunked, chunked",
        "identity\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: chunked",
    ] {
        let answer = send(
            &proxy,
            &format!(
                "POST /echo HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nTransfer-Encoding: {codings}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
        );
        assert_eq!((answer.status, answer.code().as_str()), (501, "framing-refused"), "{codings}: {answer:?}");
    }
    for codings in ["gzip", "chunked, gzip", "chunkedx"] {
        let answer = send(
            &proxy,
            &format!(
                "POST /echo HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nTransfer-Encoding: {codings}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            ),
        );
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{codings}: {answer:?}");
    }
    assert_eq!(requests(&mut proxy), 0);
}

#[test]
fn heads_with_two_readings() {
    let mut proxy = Proxy::start(&[]);
    for head in [
        "GET / HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nX : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nX\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nX: a\u{0}b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nX: a\rb\r\n\r\n",
        "GET / x HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: HOST\r\nTOKEN\r\n\r\n",
        "GET /\r\n\r\n",
    ] {
        let answer = send(&proxy, head);
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{head:?}: {answer:?}");
    }
    assert_eq!(requests(&mut proxy), 0);
}

#[test]
fn trailers_go_no_further() {
    let proxy = Proxy::start(&[]);
    let chunked = "POST /echo HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\nConnection: close\r\nTrailer: X-Late\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\nX-Late: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = send(&proxy, chunked);
    assert_eq!((answer.status, answer.body.as_str()), (200, "abc"));
}

#[test]
fn an_older_version() {
    let proxy = Proxy::start(&[]);
    // Without chunks a response whose length is not known looks complete wherever it is cut off.
    let answer = send(&proxy, "GET / HTTP/1.0\r\nHost: HOST\r\nTOKEN\r\n\r\n");
    assert_eq!((answer.status, answer.code().as_str()), (505, "version-refused"), "{answer:?}");
}

#[test]
fn a_connection_ends_with_a_refusal() {
    let mut proxy = Proxy::start(&[]);
    let two = "GET / HTTP/1.1\r\nHost: HOST\r\n\r\nGET / HTTP/1.1\r\nHost: HOST\r\nTOKEN\r\n\r\n";
    let answer = send(&proxy, two);
    assert_eq!((answer.status, answer.code().as_str()), (401, "wrong-access-token"), "{answer:?}");
    assert_eq!(requests(&mut proxy), 0);
}
