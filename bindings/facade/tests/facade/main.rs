//! The facade against the emulator.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic,
    clippy::expect_used
)]

mod callers;
#[path = "../common/mod.rs"]
mod common;
mod uploads;

use std::collections::BTreeSet;
use std::time::Duration;

use blindbox_attestation::emulator::{Fault, Knob};
use blindbox_facade::{Error, Policy, Recorded, Request, Verifier, codes, log};
use common::{LONG, Scene, get, post, read, start, until, wait};

#[test]
fn a_small_body_comes_with_the_head() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let response = wait(session.send(post("/echo", b"a prompt"))).unwrap();
    assert_eq!((response.status, response.version), (200, "HTTP/2"));
    assert_eq!(response.url, scene.blindbox.url() + "/echo");
    let (body, pulls) = read(&response);
    assert_eq!(body, b"a prompt");
    // On a machine that is busy for a millisecond the body may come behind the head.
    assert!(pulls <= 2, "{pulls}");
    assert!(response.headers.iter().any(|(name, value)| name == "content-length" && value == b"8"));
}

#[test]
fn a_large_body_comes_in_chunks() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let response = wait(session.send(get("/large?bytes=4000000"))).unwrap();
    assert_eq!(response.early().bytes.len(), 0);
    // How many are gathered depends on the machine; the tests of the response itself cover that.
    assert_eq!(read(&response).0.len(), 4_000_000);
}

#[test]
fn a_body_that_stalls_does_not_hold_back_the_head() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    // The head announces 21 bytes, of which only the first comes.
    scene.blindbox.fail("/", Fault::Drip(Duration::from_secs(3600)));
    let response = wait(session.send(get("/"))).unwrap();
    assert_eq!(response.status, 200);
    let early = response.early();
    assert!(!early.complete);
    let first = if early.bytes.is_empty() { wait(response.chunk()).unwrap().unwrap() } else { early.bytes };
    assert_eq!(first, "h");
    let (_, outcomes) = start(response.chunk());
    response.close();
    assert_eq!(outcomes.recv_timeout(LONG).unwrap().unwrap_err().code, "closed");
}

#[test]
fn a_body_that_breaks_off_is_never_an_end() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    scene.blindbox.fail("/large", Fault::Truncated);
    let response = wait(session.send(get("/large?bytes=100000"))).unwrap();
    let error = loop {
        match wait(response.chunk()) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it looks like an end"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.code, error.request_sent), ("application-unreachable", true));
    assert_eq!(wait(response.chunk()).unwrap_err(), error);
}

#[test]
fn a_refusal_has_its_code_and_the_appraisal_apart_from_the_message() {
    let scene = Scene::new();
    scene.blindbox.set(Knob::Debug);
    let error = scene.session().unwrap_err();
    assert_eq!((error.code, error.number, error.category), ("debug-mode", 101, "rejected"));
    assert!(!error.retryable && !error.request_sent);
    let appraisal: serde_json::Value = serde_json::from_str(error.appraisal.as_deref().unwrap()).unwrap();
    let checks = appraisal.as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| check["verdict"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    let json: serde_json::Value = serde_json::from_str(&error.to_json()).unwrap();
    let members: BTreeSet<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["category", "code", "message", "number", "request_sent", "retryable"].into());
    assert_eq!(scene.blindbox.traffic().application_bytes(), 0);
}

#[test]
fn a_call_that_hangs_is_cancelled_and_completes_once() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    scene.blindbox.fail("/", Fault::Hang);
    let (cancel, outcomes) = start(session.send(get("/")));
    until("the request arrives", || scene.blindbox.traffic().count("/") == 1);
    cancel.cancel();
    cancel.cancel();
    let error = outcomes.recv_timeout(LONG).unwrap().unwrap_err();
    assert_eq!((error.code, error.number, error.request_sent), ("cancelled", 901, true));
    // The sender is gone: there is no second outcome.
    assert!(matches!(outcomes.recv_timeout(LONG), Err(std::sync::mpsc::RecvTimeoutError::Disconnected)));
}

#[test]
fn a_blocking_call_ends_when_its_caller_says_so() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    scene.blindbox.fail("/", Fault::Hang);
    let mut asked = 0;
    let stopped = blindbox_facade::wait(session.send(get("/")), Duration::from_millis(10), || {
        asked += 1;
        if asked < 3 { Ok(()) } else { Err("a signal came") }
    });
    assert_eq!(stopped.unwrap_err(), "a signal came");
    assert_eq!(asked, 3);
}

#[test]
fn a_panic_is_an_error_and_no_verdict() {
    let error = wait(async { panic!("a secret") as Result<(), Error> }).unwrap_err();
    assert_eq!((error.code, error.number, error.category), ("internal", 902, "internal"));
    assert!(!error.message.contains("secret"), "{error}");
}

#[test]
fn urls_of_the_session_are_targets_and_others_are_refused() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let own = scene.blindbox.url();
    assert_eq!(wait(session.send(get(&format!("{own}/headers")))).unwrap().status, 200);
    let sent = scene.blindbox.traffic().application_requests();
    let port = scene.blindbox.address().port();
    for other in [
        "https://evil.example/".to_owned(),
        format!("http://127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{}/", port ^ 1),
        format!("https://user@127.0.0.1:{port}/"),
        format!("//127.0.0.1:{port}/"),
        "data:text/plain,x".to_owned(),
        String::new(),
    ] {
        let error = wait(session.send(get(&other))).unwrap_err();
        assert_eq!((error.code, error.request_sent), ("invalid-request", false), "{other}");
    }
    assert_eq!(scene.blindbox.traffic().application_requests(), sent);
}

#[test]
fn a_closed_session_sends_nothing() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    assert!(session.attestation_json().unwrap().contains("\"channel\":\"bound\""));
    session.close();
    let sent = scene.blindbox.traffic().application_requests();
    for error in [
        wait(session.send(get("/"))).unwrap_err(),
        wait(session.reattest()).unwrap_err(),
        session.attestation_text().unwrap_err(),
    ] {
        assert_eq!((error.code, error.number), ("closed", 903));
    }
    assert_eq!(scene.blindbox.traffic().application_requests(), sent);
}

#[test]
fn settings_are_read_strictly() {
    let scene = Scene::new();
    let roots = serde_json::to_string(&scene.maa.tls_root_pem()).unwrap();
    for good in [
        String::new(),
        "{}".to_owned(),
        r#"{"deadline_ms": 1000, "request_timeout_ms": 5000, "resolve": {"a.example": "127.0.0.1:1"}}"#.to_owned(),
        format!(r#"{{"collateral_roots": {roots}, "kds": "http://127.0.0.1:1"}}"#),
        r#"{"front_end_headers": {"ocp-apim-subscription-key": "k"}}"#.to_owned(),
    ] {
        Verifier::new(&good).unwrap();
    }
    for (bad, code, message) in [
        (r#"{"deadlin": 1}"#, "misconfigured", "unknown field `deadlin`"),
        (r#"{"deadline_ms": 1, "deadline_ms": 2}"#, "misconfigured", "duplicate field"),
        (r#"{"resolve": {"a": "127.0.0.1:1", "a": "127.0.0.1:2"}}"#, "misconfigured", r#"the member "a" is repeated"#),
        (r#"{"front_end_headers": {"a": "1", "\u0061": "2"}}"#, "misconfigured", r#"the member "a" is repeated"#),
        (r#"{"front_end_headers": {"a b": "1"}}"#, "misconfigured", "header"),
        (r#"{"application_roots": null}"#, "misconfigured", "expected a value for application_roots, found null"),
        (r#"{"deadline_ms": "1"}"#, "misconfigured", "invalid type"),
        (r#"{"deadline_ms": -1}"#, "misconfigured", "invalid value"),
        ("[]", "misconfigured", "expected a JSON object"),
        (r#"{"agent": "nonsense"}"#, "invalid-url", "agent's address"),
        (r#"{"collateral_roots": "nonsense"}"#, "misconfigured", "certificate"),
        (r#"{"amd_roots": "nonsense"}"#, "misconfigured", "amd_roots: "),
        (r#"{"key_set": "nonsense"}"#, "invalid-key-set", ""),
        (r#"{"collateral_roots": "x", "platform_collateral_roots": true}"#, "misconfigured", "found both"),
        (r#"{"application_roots": "x", "extra_application_roots": "x"}"#, "misconfigured", "either"),
    ] {
        let error = Verifier::new(bad).unwrap_err();
        assert_eq!(error.code, code, "{bad}: {error}");
        assert!(error.message.contains(message), "{bad}: {error}");
    }
}

#[test]
fn a_document_is_given_once() {
    let arguments = r#"{"at": 1, "documents": {"token.jwt": "AA==", "token.jwt": "AQ=="}}"#;
    let outcome: serde_json::Value =
        serde_json::from_str(&blindbox_facade::call("verify_unappraised", arguments.as_bytes())).unwrap();
    assert_eq!(outcome["error"]["code"], "misconfigured");
    assert!(
        outcome["error"]["message"].as_str().unwrap().contains(r#"the member "token.jwt" is repeated"#),
        "{outcome}"
    );
}

#[test]
fn a_bad_policy_says_where() {
    let error = Policy::parse("kind = 1").unwrap_err();
    assert_eq!((error.code, error.category), ("invalid-policy", "misconfigured"));
    assert!(error.message.contains("line 1"), "{error}");
}

#[test]
fn bad_requests_are_the_callers_errors() {
    let scene = Scene::new();
    let session = scene.session().unwrap();
    let with = |name: &str, value: &[u8]| {
        let headers = vec![(name.to_owned(), value.to_vec())];
        Request { headers, ..get("/headers") }
    };
    for request in
        [with("host", b"evil.example"), with("x", b"a\r\nb"), Request { method: "G T".to_owned(), ..get("/") }]
    {
        assert_eq!(wait(session.send(request)).unwrap_err().code, "invalid-request");
    }
    assert_eq!(wait(session.send(with("x-mine", b"1"))).unwrap().status, 200);
}

#[test]
fn collected_evidence_verifies_as_a_record() {
    let scene = Scene::new();
    let collected = wait(scene.verifier().collect(&scene.blindbox.url(), &scene.policy)).unwrap();
    assert!(collected.verify(&scene.policy).unwrap().contains("\"verified_for\""));
    let documents = collected.documents();
    let names: Vec<_> = documents.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["token.jwt", "runtime-data.json", "key-set.json"]);
    let documents: Vec<_> = documents.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    let key_set = documents[2].1.clone();
    let mut recorded = Recorded { documents, key_set: Some(key_set), ..Recorded::default() };
    let about: serde_json::Value = serde_json::from_str(&collected.about_json()).unwrap();
    let now = about["asked_at"].as_u64().unwrap_or_else(|| scene.blindbox.clock().now().as_secs());
    let verify = |recorded: &Recorded| blindbox_facade::verify_recorded(recorded, &scene.policy, now);
    assert!(verify(&recorded).unwrap().contains("\"appraisal\""));
    let found = blindbox_facade::inspect(&recorded.documents[0].1).unwrap();
    assert!(found.contains("\"kind\":\"token\""));
    recorded.key_set = None;
    assert_eq!(verify(&recorded).unwrap_err().code, "key-set-not-authenticated");
    for (name, message) in [
        ("token.jwx", "found \"token.jwx\""),
        ("token.jwt", "expected one token.jwt, found two"),
        ("pcrs.json", "pcrs.json: expected a JSON array of 1 to 24 SHA-256 digests"),
    ] {
        let mut wrong = recorded.clone();
        wrong.documents.push((name.to_owned(), Vec::new()));
        let error = verify(&wrong).unwrap_err();
        assert_eq!((error.code, error.message.contains(message)), ("misconfigured", true), "{}", error.message);
    }
}

#[test]
fn codes_are_unique_and_the_core_never_uses_those_of_bindings() {
    let codes = codes();
    for distinct in [
        codes.iter().map(|code| code.code.to_owned()).collect::<BTreeSet<_>>(),
        codes.iter().map(|code| code.name.to_owned()).collect(),
        codes.iter().map(|code| code.number.to_string()).collect(),
    ] {
        assert_eq!(distinct.len(), codes.len());
    }
    let own: Vec<_> = codes.iter().filter(|code| code.number > 900).map(|code| code.code).collect();
    assert_eq!(own, ["cancelled", "internal", "closed", "forked"]);
    let hundreds = ["rejected", "untrusted", "unavailable", "misconfigured"];
    for code in codes.iter().filter(|code| code.number < 900) {
        assert_eq!(code.category, hundreds[usize::from(code.number / 100) - 1], "{}", code.code);
    }
}

#[test]
fn events_are_pulled_when_they_are_asked_for() {
    let scene = Scene::new();
    scene.blindbox.set(Knob::Debug);
    log::set_level("info").unwrap();
    scene.session().unwrap_err();
    // Other tests run in the same process.
    loop {
        let event = log::next(LONG).unwrap().expect("no event of the refusal came");
        assert!(["info", "warn", "error"].contains(&event.level), "{event:?}");
        if event.fields.contains("debug-mode") {
            break;
        }
    }
    log::set_level("off").unwrap();
    assert_eq!(log::set_level("loud").unwrap_err().code, "misconfigured");
}
