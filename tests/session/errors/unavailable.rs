//! Errors of the category Unavailable: services that give no response, or none in time, or one that is too large.

use std::time::Duration;

use AttestationError::*;
use blindbox_attestation::emulator::{Fault, Gate, Knob, Transport};
use blindbox_attestation::{AttestationError, Violation};

use super::{refused, same};
use crate::lab::{Lab, hello, interrupted, long_enough, unreachable_reason};

#[tokio::test]
async fn the_two_messages_of_old() {
    let lab = Lab::start().await;
    let error = refused(&lab, Knob::ComplianceStatus(Some("azure-signed-katacc-uvm".into())), same).await;
    assert_rejected!(&error, Violation::NonCompliantUvm { status: Some(status), .. } if status == "azure-signed-katacc-uvm");
    assert_eq!(
        error.to_string(),
        "attestation validation failed (non-compliant uvm): expected azure-compliant-uvm, found azure-signed-katacc-uvm"
    );
    let error = refused(&lab, Knob::Debug, same).await;
    assert_rejected!(&error, Violation::DebugMode);
    let message = error.to_string();
    let expected = "attestation validation failed (enclave is in debug mode): expected a guest policy without debugging, \
                    found debugging allowed";
    assert!(message.starts_with(expected), "{message}");
}

#[tokio::test]
async fn answers_that_are_none() {
    let lab = Lab::start().await;
    let faults = [
        (Fault::TrailingJson, "one JSON object"),
        (Fault::DuplicateMember, "twice"),
        (Fault::MalformedJson, "one JSON object"),
        (Fault::Body("[]".to_owned()), "a JSON object, found an array"),
        (Fault::Body("{}".to_owned()), "\"token\", found none"),
        (Fault::Body(r#"{"token":null}"#.to_owned()), "found null"),
        (Fault::Body(r#"{"token":"x","runtime_data":"%"}"#.to_owned()), "base64"),
        (Fault::ContentType("text/html".to_owned()), "application/json"),
        (Fault::ContentType(String::new()), "application/json"),
        (Fault::Redirect("https://evil.example/".to_owned()), "redirect"),
        (Fault::Gzip, "compressed"),
        (Fault::status(204), "status 200"),
    ];
    for (fault, word) in faults {
        lab.blindbox.fail("/attest/", fault.clone());
        let error = assert_error!(lab.refusal().await, InvalidAgentAnswer { .. });
        assert!(error.to_string().contains(word), "{fault:?}: {error}");
        lab.blindbox.recover();
    }
}

#[tokio::test]
async fn no_token_to_give() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::NoToken);
    assert_error!(lab.refusal().await, MaaTokenNotFound { status: 404, .. });
    lab.blindbox.reset();
    for (fault, said) in [
        (Fault::forbidden(), "attestation is not available"),
        // As BlindBox's agent was first released: two objects in a row, shown as they are.
        (Fault::forbidden_twice(), r#"{"error":"attestation is not available"}{"token":""}"#),
        (
            Fault::Status {
                code: 403,
                retry_after: None,
                body: format!("{{\"error\":\"\\u001b[31m{}\"}}", "x".repeat(5000)),
            },
            "\u{5c}u{1b}[31mxxx",
        ),
    ] {
        lab.blindbox.fail("/attest/", fault);
        let error = assert_error!(lab.refusal().await, MaaTokenNotFound { status: 403, .. });
        let MaaTokenNotFound { message, .. } = &error else { unreachable!() };
        assert!(message.starts_with(said) && message.len() < 300 && !message.contains('\u{1b}'), "{message}");
        lab.blindbox.recover();
    }
}

#[tokio::test]
async fn no_one_there() {
    let lab = Lab::start().await;
    for fault in
        [Fault::status(500), Fault::status(503), Fault::too_many_requests(3600), Fault::CloseEarly, Fault::Truncated]
    {
        lab.blindbox.fail("/attest/", fault);
        let error = assert_error!(lab.refusal().await, AgentUnreachable { .. });
        assert!(error.is_retryable());
        lab.blindbox.recover();
    }
    let verifier = lab.builder().agent("https://127.0.0.1:1").build().unwrap();
    assert_error!(verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err(), AgentUnreachable { .. });

    for fault in [
        Fault::status(500),
        Fault::status(404),
        Fault::too_many_requests(3600),
        Fault::CloseEarly,
        Fault::Redirect("https://evil.example/".to_owned()),
        Fault::ContentType("text/html".to_owned()),
        Fault::Gzip,
    ] {
        lab.maa.fail(fault);
        let issuer = lab.blindbox.maa_issuer();
        assert_error!(lab.refusal().await, MaaUnreachable { issuer: named, .. } if *named == issuer);
        lab.maa.recover();
    }
    lab.maa.stop().await;
    assert_error!(lab.refusal().await, MaaUnreachable { .. });
    lab.maa.restart().await.unwrap();

    lab.blindbox.stop().await;
    let error = assert_error!(lab.refusal().await, ApplicationUnreachable { .. });
    assert_eq!(unreachable_reason(&error), format!("{}: connection refused", lab.blindbox.url()));
}

#[tokio::test]
async fn too_slow() {
    let lab = Lab::start().await;
    let ends_in = async |what: &'static str, url: &str| {
        long_enough(async |after| {
            let verifier = lab.builder().deadline(after).build().unwrap();
            let error = verifier.connect(url, &lab.policy()).await.unwrap_err();
            assert!(matches!(error, Timeout { after: reported, .. } if reported == after), "{error:?}");
            error == Timeout { what, after }
        })
        .await;
    };
    let url = lab.blindbox.url();
    for fault in [Fault::Hang, Fault::Drip(Duration::from_millis(5)), Fault::Held(Gate::closed())] {
        lab.blindbox.fail("/attest/", fault.clone());
        ends_in("waiting for the attestation agent", &url).await;
        lab.blindbox.recover();
        lab.maa.fail(fault.clone());
        ends_in("fetching the key set of the MAA instance", &url).await;
        lab.maa.recover();
    }
    // A peer accepts the connection, and that is all.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    ends_in("opening a connection", &format!("https://{}", silent.local_addr().unwrap())).await;
}

#[tokio::test]
async fn too_large() {
    let lab = Lab::start().await;
    for fault in [Fault::Oversized(300 << 10), Fault::OversizedAnnounced(300 << 10), Fault::Oversized(100 << 20)] {
        lab.blindbox.fail("/attest/", fault);
        let error = lab.refusal().await;
        assert_eq!(error, TooLarge { what: "the response of the attestation agent", limit: 256 << 10 });
        lab.blindbox.recover();
    }
    for fault in [Fault::Oversized(3 << 20), Fault::OversizedAnnounced(100 << 20)] {
        lab.maa.fail(fault);
        assert_eq!(lab.refusal().await, TooLarge { what: "the key set of the MAA instance", limit: 512 << 10 });
        lab.maa.recover();
    }
}

#[tokio::test]
async fn an_older_tls_does_not_do() {
    let lab = Lab::with(|blindbox| blindbox.transport(Transport::Tls12)).await;
    let error = assert_error!(lab.refusal().await, ApplicationUnreachable { .. });
    assert!(error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time() {
    let lab = Lab::start().await;
    let session = lab.connect().await.unwrap();
    long_enough(async |after| {
        let error = session.get("/slow?ms=600000").timeout(after).send().await.unwrap_err();
        error == interrupted(Timeout { what: "the request", after })
    })
    .await;

    // The attestation ends while the response is awaited.
    let gate = Gate::closed();
    lab.blindbox.fail_times("/echo", 1, Fault::Held(gate.clone()));
    let waiting = tokio::spawn(session.get("/echo").send());
    gate.arrived(1).await;
    lab.blindbox.clock().advance(3600);
    assert_eq!(waiting.await.unwrap().unwrap_err(), interrupted(AttestationExpired));
    // The next request has it made again.
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}
