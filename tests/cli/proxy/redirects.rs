//! A client that follows a redirect stays within the proxy, or gets an error.

use super::{Answer, Proxy};
use crate::tool::Emulator;

/// The response of an application that redirects to there from below `/r/`.
fn redirected(proxy: &mut Proxy, from: &str, to: &str) -> Answer {
    proxy.emulator.order("reset");
    proxy.emulator.order(&format!("fail /r/=redirect:{to}"));
    proxy.emulator.order(&format!("fail /api/r/=redirect:{to}"));
    proxy.ask(&format!("GET {from}"), &[])
}

fn leads_to(proxy: &mut Proxy, from: &str, to: &str, expected: &str) {
    let answer = redirected(proxy, from, to);
    assert_eq!((answer.status, answer.header("location")), (307, Some(expected)), "{to:?}: {answer:?}");
}

fn refused(proxy: &mut Proxy, from: &str, to: &str) {
    let answer = redirected(proxy, from, to);
    assert_eq!((answer.status, answer.code().as_str()), (502, "redirect-refused"), "{to:?}: {answer:?}");
    assert_eq!(answer.header("location"), None);
}

#[test]
fn within_the_application() {
    let mut proxy = Proxy::start(&[]);
    let own = proxy.emulator.url().to_owned();
    for (to, expected) in [
        (format!("{own}/echo?a=b"), "/echo?a=b"),
        (format!("{own}/x#part"), "/x#part"),
        (own, "/"),
        ("/x?y=/z#w".to_owned(), "/x?y=/z#w"),
        ("/a/../b".to_owned(), "/b"),
        ("/a//b".to_owned(), "/a//b"),
        ("/%5cevil.example".to_owned(), "/%5cevil.example"),
        // As the URL of the request has it, not as the root has it.
        ("next".to_owned(), "/r/next"),
        ("./next?page=2#top".to_owned(), "/r/next?page=2#top"),
        ("../up".to_owned(), "/up"),
        ("?page=2".to_owned(), "/r/here?page=2"),
        ("#top".to_owned(), "/r/here?page=1#top"),
    ] {
        leads_to(&mut proxy, "/r/here?page=1", &to, expected);
    }
}

#[test]
fn what_a_client_would_take_for_another_host() {
    let mut proxy = Proxy::start(&[]);
    let own = proxy.emulator.url().to_owned();
    for to in [
        format!("{own}//evil.example/x"),
        format!("{own}/\\evil.example/x"),
        format!("{own}/a/..//evil.example/x"),
        "//evil.example/x".to_owned(),
        "///evil.example/x".to_owned(),
        "/\\evil.example/x".to_owned(),
        "\\\\evil.example/x".to_owned(),
        "/.//evil.example/x".to_owned(),
        "/a/..//evil.example/x".to_owned(),
        "/%2e%2e//evil.example/x".to_owned(),
        "..//evil.example/x".to_owned(),
    ] {
        refused(&mut proxy, "/r/here", &to);
    }
}

#[test]
fn another_origin() {
    let elsewhere = |own: &str| {
        [
            "https://elsewhere.example/x".to_owned(),
            "http://elsewhere.example".to_owned(),
            own.replace("https://", "http://"),
            "https://127.0.0.1:1/".to_owned(),
        ]
    };
    let neither = [
        "https://",
        "http:elsewhere.example",
        "//elsewhere.example/",
        "ftp://elsewhere.example/",
        "javascript:alert(1)",
        "https://elsewhere.example\\@x/",
    ];
    let mut proxy = Proxy::start(&[]);
    let own = proxy.emulator.url().to_owned();
    for to in elsewhere(&own).iter().map(String::as_str).chain(neither) {
        refused(&mut proxy, "/r/here", to);
    }
    // Where that is wanted, it is another origin for every reader, and said as the application says it.
    let mut proxy = Proxy::start(&["--allow-redirects-elsewhere"]);
    let own = proxy.emulator.url().to_owned();
    for to in elsewhere(&own) {
        leads_to(&mut proxy, "/r/here", &to, &to);
    }
    for to in neither {
        refused(&mut proxy, "/r/here", to);
    }
    refused(&mut proxy, "/r/here", &format!("{own}//evil.example/x"));
}

#[test]
fn below_a_path() {
    let mut proxy = Proxy::below("/api", Emulator::start(&[]), &["--allow-redirects-elsewhere"]);
    let own = proxy.emulator.url().to_owned();
    for (to, expected) in [
        ("/api/x", "/x"),
        ("/api/", "/"),
        ("next", "/r/next"),
        ("../up", "/up"),
        (&format!("{own}/api/x?y#z"), "/x?y#z"),
    ] {
        leads_to(&mut proxy, "/r/here", to, expected);
    }
    // What is beside the path cannot be reached by way of this proxy, and without it there would be no attestation.
    for to in ["/", "/login", "/apix", "/api", "/api%2f..", "../../up", "/api//evil.example", &format!("{own}/login")] {
        refused(&mut proxy, "/r/here", to);
    }
}
