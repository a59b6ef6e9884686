//! Sessions without a runtime: the same verdicts as those of the async API.

use std::sync::Arc;
use std::time::Duration;

use blindbox_attestation::blocking::{self};
use blindbox_attestation::emulator::{HttpVersions, Knob, Relay, RelayMode};
use blindbox_attestation::{AttestationError, Category, Channel, HeaderMap, HostData, Violation};
use serde_json::{Value, json};

use super::{Bench, hello};

#[test]
fn a_session_talks_to_the_attested_peer_and_to_no_one_else() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let bench = Bench::with(|blindbox| blindbox.http(http));
        let blindbox = &bench.lab.blindbox;
        let session = bench.connect();
        assert_eq!((session.channel(), session.attestation().key()), (Channel::Bound, Some(&blindbox.tls_key())));
        assert_eq!(blindbox.traffic().application_requests(), 0);
        let answer = session.post("/generate").json(&json!({ "prompt": "hi" })).send().unwrap();
        assert_eq!(answer.json::<Value>().unwrap(), json!({ "text": "a response to: hi" }));
        // Evidence and application went over one and the same connection.
        assert_eq!(blindbox.traffic().connections().len(), 1, "{http:?}");
    }
}

#[test]
fn refusals_are_those_of_the_async_api() {
    let bench = Bench::start();
    let blindbox = &bench.lab.blindbox;
    let refused = |knob: Knob| {
        blindbox.set(knob);
        let error = bench.refusal();
        blindbox.reset();
        error
    };
    assert!(matches!(refused(Knob::Debug).violation(), Some(Violation::DebugMode)));
    assert!(matches!(refused(Knob::ComplianceStatus(None)).violation(), Some(Violation::NonCompliantUvm { .. })));
    let other = HostData::new([0x66; 32]);
    assert!(
        matches!(refused(Knob::HostData(other)).violation(), Some(Violation::InvalidEnclaveCode { actual, .. }) if *actual == other)
    );
    assert!(matches!(refused(Knob::OldNonce), AttestationError::FalseAttestationReport { .. }));

    let relay = bench.runtime.block_on(Relay::builder().mode(RelayMode::Forward).start(blindbox)).unwrap();
    let error = bench.verifier().connect(relay.url(), &bench.lab.policy()).unwrap_err();
    assert!(matches!(error, AttestationError::ChannelMismatch { .. }), "{error:?}");
    assert_eq!(relay.traffic().application_bytes(), 0);

    let error = bench.verifier().connect("my-app.example", &bench.lab.policy()).unwrap_err();
    assert!(matches!(error, AttestationError::InvalidUrl { .. }), "{error:?}");
    bench.runtime.block_on(blindbox.stop());
    for outcome in [
        bench.verifier().connect(blindbox.url(), &bench.lab.policy()),
        blocking::verify_connection(blindbox.url(), &bench.lab.policy()),
    ] {
        assert!(matches!(outcome, Err(AttestationError::ApplicationUnreachable { .. })), "{outcome:?}");
    }
    let error = bench.lab.builder().proxy("ftp://proxy.example").build_blocking().unwrap_err();
    assert_eq!(error.category(), Category::Misconfigured);
}

#[test]
fn a_session_that_was_refused_is_closed_until_it_is_attested_again() {
    let bench = Bench::start();
    let session = bench.connect();
    bench.lab.blindbox.set(Knob::Debug);
    assert!(matches!(session.reattest().unwrap_err().violation(), Some(Violation::DebugMode)));
    assert_eq!(hello(&session).unwrap_err(), AttestationError::SessionPoisoned { cause: "debug-mode" });
    assert_eq!(bench.lab.blindbox.traffic().application_bytes(), 0);
    bench.lab.blindbox.reset();
    let attested = session.reattest().unwrap();
    assert!(Arc::ptr_eq(&attested, &session.attestation()));
    assert_eq!(hello(&session).unwrap(), "hello from a BlindBox");
}

#[test]
fn evidence_of_a_peer_that_refuses_can_be_kept() {
    let bench = Bench::start();
    bench.lab.blindbox.set(Knob::Debug);
    let collected = bench.verifier().collect(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap();
    assert!(collected.evidence.token.is_some());
    assert_eq!(collected.missing().next(), None);
    assert_eq!(collected.tls_key, Some(bench.lab.blindbox.tls_key()));
    assert_eq!(bench.lab.blindbox.traffic().application_bytes(), 0);
}

#[test]
fn a_managed_session_opens_itself() {
    let bench = Bench::start();
    let peer = bench.verifier().managed_session(bench.lab.blindbox.url(), &bench.lab.policy()).unwrap();
    assert_eq!(bench.lab.blindbox.traffic().connections().len(), 0);
    bench.lab.blindbox.set(Knob::Debug);
    let refused = peer.get("/").send().unwrap_err();
    assert_eq!(
        (refused.code(), peer.ready(), peer.last_error()),
        ("debug-mode", Err(refused.clone()), Some(refused.clone()))
    );
    assert_eq!(bench.lab.blindbox.traffic().application_bytes(), 0);
    bench.lab.blindbox.reset();
    // The error is kept for the cool-down, unless a handle has none.
    assert_eq!(peer.session().unwrap_err(), refused);
    let peer = peer.cool_down(Duration::ZERO).with_default_headers(HeaderMap::new()).unwrap();
    assert_eq!(peer.get("/").send().unwrap().text().unwrap(), "hello from a BlindBox");
    assert_eq!((peer.ready(), peer.last_error()), (Ok(()), None));
    assert_eq!(hello(&peer.session().unwrap()).unwrap(), "hello from a BlindBox");
    let url = bench.lab.blindbox.url();
    assert_eq!(format!("{peer:?}"), format!("blocking::ManagedSession({url}, Some(Session({url}/, Bound)))"));
}
