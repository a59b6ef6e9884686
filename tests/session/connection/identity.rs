//! Who the peer is: its key, its name, the keys of MAA, and the policy that a verdict is about.

use std::time::Duration;

use blindbox_attestation::emulator::{AgentLocation, Fault, HttpVersions, KeyKind, Knob};
use blindbox_attestation::{AttestationError, Channel, Session, Verdict, Violation};
use serde_json::{Value, json};

use crate::lab::{Lab, hello};

#[tokio::test]
async fn a_session_talks_to_the_attested_peer() {
    for http in [HttpVersions::Both, HttpVersions::Http1, HttpVersions::Http2] {
        let lab = Lab::with(|blindbox| blindbox.http(http)).await;
        let session = lab.connect().await.unwrap();
        assert_eq!(session.channel(), Channel::Bound);
        assert_eq!(session.attestation().key(), Some(&lab.blindbox.tls_key()));
        assert_eq!(lab.blindbox.traffic().application_requests(), 0);

        let answer = session.post("/generate").json(&json!({ "prompt": "hi" })).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "text": "a response to: hi" }));
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");

        // Evidence and application went over one and the same connection.
        let connections = lab.blindbox.traffic().connections();
        assert_eq!(connections.len(), 1, "{http:?}");
        let expected = if http == HttpVersions::Http1 { "http/1.1" } else { "h2" };
        assert_eq!(connections[0].protocol.as_deref(), Some(expected));
        assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 1);
    }
}

/// A resumed connection has no certificate, and so no proof that the peer holds the attested key. The emulator offers resumption.
#[tokio::test]
async fn no_connection_resumes_another() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http1)).await;
    let verifier = lab.verifier();
    let connect = async || verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    let session = connect().await;
    hello(&session).await.unwrap();
    // Its body never comes, so that its connection is in use.
    lab.blindbox.fail("/echo", Fault::Drip(Duration::from_secs(3600)));
    let _first = session.post("/echo").body("0123456789").send().await.unwrap();
    hello(&session).await.unwrap();
    // Nor does a session resume the connection of another.
    hello(&connect().await).await.unwrap();
    let resumed: Vec<_> = lab.blindbox.traffic().connections().iter().map(|connection| connection.resumed).collect();
    assert_eq!(resumed, [false; 3]);
}

#[tokio::test]
async fn keys_of_every_kind_are_attested() {
    for kind in [KeyKind::P256, KeyKind::P384] {
        let lab = Lab::with(|blindbox| blindbox.key_kind(kind)).await;
        assert_eq!(hello(&lab.connect().await.unwrap()).await.unwrap(), "hello from a BlindBox");
    }
}

#[tokio::test]
async fn a_name_is_validated_where_the_caller_went_by_one() {
    let lab = Lab::with(|blindbox| blindbox.name("my-app.example")).await;
    let verifier = lab.builder().resolve("my-app.example", lab.blindbox.address()).build().unwrap();
    let url = format!("https://my-app.example:{}", lab.blindbox.address().port());
    let session = verifier.connect(&url, &lab.policy()).await.unwrap();
    assert_eq!(session.attestation().appraisal().check("server name").unwrap().verdict, Verdict::Passed);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.traffic().connections()[0].server_name.as_deref(), Some("my-app.example"));

    // The port of the address stands for that of the scheme, and for no other.
    let session = verifier.connect("https://my-app.example", &lab.policy()).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(session.get("/").send().await.unwrap().url(), "https://my-app.example/");
    let error = verifier.connect("https://my-app.example:1", &lab.policy()).await.unwrap_err();
    assert_eq!(error.code(), "application-unreachable", "{error}");

    for url in [lab.blindbox.url(), lab.blindbox.url().replace("127.0.0.1", "localhost")] {
        let session = lab.verifier().connect(url, &lab.policy()).await.unwrap();
        let check = session.attestation().appraisal().check("server name").unwrap().clone();
        assert!(matches!(check.verdict, Verdict::NotEvaluated(_)), "{check:?}");
    }

    // By the key alone, under a certificate for no one: only with the policy's leave.
    let verifier = lab.builder().resolve("other.example", lab.blindbox.address()).build().unwrap();
    let url = format!("https://other.example:{}", lab.blindbox.address().port());
    let error = verifier.connect(&url, &lab.policy()).await.unwrap_err();
    assert!(matches!(error, AttestationError::ServerNameNotValidated { .. }), "{error:?}");
    let session = verifier.connect(&url, &lab.policy().allow_unverified_name().unwrap()).await.unwrap();
    let check = session.attestation().appraisal().check("server name").unwrap().clone();
    assert!(matches!(check.verdict, Verdict::NotEvaluated(_)), "{check:?}");
    assert_eq!(session.attestation().channel(), Channel::Bound);
}

#[tokio::test]
async fn the_result_says_how_the_key_set_was_come_by() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    let shown = |session: &Session| session.attestation().appraisal().check("key set").unwrap().actual.to_string();
    assert_eq!(shown(&session), "fetched from the instance, under the caller's own roots");
    let key_set = blindbox_attestation::maa::KeySet::from_json(lab.maa.key_set().as_bytes()).unwrap();
    let fetches = lab.maa.key_set_fetches();
    let verifier = lab.builder().pin_key_set(key_set).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    assert_eq!(shown(&session), "pinned by the caller");
    assert_eq!(lab.maa.key_set_fetches(), fetches);
}

#[tokio::test]
async fn a_verdict_is_about_one_policy() {
    let lab = Lab::start().await;
    let verifier = lab.verifier();
    let policy = lab.policy();
    let strict = lab.policy().require_vmpl([1]).unwrap();
    let (accepted, refused) =
        tokio::join!(verifier.connect(lab.blindbox.url(), &policy), verifier.connect(lab.blindbox.url(), &strict),);
    let _ = accepted.unwrap();
    assert!(matches!(refused.unwrap_err().violation(), Some(Violation::WrongVmpl { actual: 0, .. })));
    // Nor does one outlive the call.
    lab.blindbox.set(Knob::Debug);
    let error = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
}

#[tokio::test]
async fn an_agent_elsewhere_speaks_for_the_key_of_the_application() {
    let lab = Lab::with(|blindbox| blindbox.agent_place(AgentLocation::OwnPort)).await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    assert_eq!(session.channel(), Channel::Bound);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.agent_traffic().count("/attest/maa"), 1);
    assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 0);
    // Without the setting the agent is expected where the application is.
    let error = lab.connect().await.unwrap_err();
    assert!(matches!(error, AttestationError::MaaTokenNotFound { status: 404, .. }), "{error:?}");
}
