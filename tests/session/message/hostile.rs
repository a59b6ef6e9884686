//! What a front end, a relay or the owner of a stolen TLS key can do: each action by itself, with its exact error.

use blindbox_attestation::emulator::{Application, Fault, FrontEnd, FrontEndKnob, Knob, Relay};
use blindbox_attestation::{AttestationError, ChannelNotBound, Sha256Digest, Workload};

use super::received::Received;
use super::{Behind, unreachable_after_sending, unusable_keys};
use crate::lab::{Lab, hello};

#[tokio::test]
async fn a_front_end_with_a_message_key_of_its_own_gets_nothing() {
    let behind = Behind::start().await;
    behind.front_end.set(FrontEndKnob::OwnMessageKey);
    // It changes what the agent says it attested too; the evidence itself it cannot change.
    let error = behind.assert_refused().await;
    assert!(matches!(&error, AttestationError::FalseAttestationReport { what: "report data", .. }), "{error}");
}

#[tokio::test]
async fn an_earlier_attestation_is_refused() {
    let behind = Behind::start().await;
    let _first = behind.connect().await.unwrap();
    behind.front_end.set(FrontEndKnob::EarlierAttestation);
    let error = behind.connect().await.unwrap_err();
    assert!(matches!(&error, AttestationError::FalseAttestationReport { what: "runtime data", .. }), "{error}");
    assert_eq!(behind.front_end.traffic().count("/attest/message"), 0);
}

/// The policy decides on the form before the first byte.
#[tokio::test]
async fn there_is_no_negotiation_down_to_a_tls_key() {
    let not_named = AttestationError::ChannelNotBound { reason: ChannelNotBound::MessageKeyNotNamed };
    for knob in [Knob::RefuseMessageForm, Knob::AnswerInServerForm] {
        let behind = Behind::start().await;
        behind.lab.blindbox.set(knob.clone());
        assert_eq!(behind.assert_refused().await, not_named, "{knob:?}");
    }
}

/// And none up: a policy for the TLS key refuses a front end.
#[tokio::test]
async fn a_policy_for_the_tls_key_refuses_a_front_end() {
    let behind = Behind::start().await;
    let error = behind.lab.verifier().connect(behind.front_end.url(), &behind.lab.policy()).await.unwrap_err();
    let (attested, connected) = (behind.lab.blindbox.tls_key(), behind.front_end.tls_key());
    assert_eq!(error, AttestationError::ChannelMismatch { attested, connected });
    assert_eq!(behind.lab.blindbox.traffic().application_bytes(), 0);
}

/// No request could be sealed to it: that shows when it is attested, and not with each request.
#[tokio::test]
async fn a_message_key_that_nothing_can_be_sealed_to_is_refused_when_it_is_attested() {
    let behind = Behind::start().await;
    for (knob, error) in unusable_keys() {
        behind.lab.blindbox.reset();
        behind.lab.blindbox.set(knob);
        assert_eq!(behind.assert_refused().await, error);
    }
}

#[tokio::test]
async fn an_instance_that_names_another_message_key_is_refused() {
    let behind = Behind::start().await;
    behind.lab.blindbox.set(Knob::ForeignMessageKey(Sha256Digest::new([0xcd; 32])));
    let error = behind.assert_refused().await;
    assert!(matches!(&error, AttestationError::FalseAttestationReport { what: "runtime data", .. }), "{error}");
}

/// A relay, with or without the TLS key of the workload, is one more front end: it sees sealed bytes.
#[tokio::test]
async fn a_relay_and_a_stolen_tls_key_read_nothing() {
    let lab = Lab::start().await;
    let policy = lab.policy_for(Workload::binds_its_own_message_key(lab.blindbox.host_data()));
    for relay in [Relay::builder(), Relay::builder().stolen_key(lab.blindbox.steal_tls_key())] {
        let relay = relay.start(&lab.blindbox).await.unwrap();
        let session = lab.verifier().connect(relay.url(), &policy).await.unwrap();
        // This relay passes on JSON only.
        let error = session.post("/echo").body("the secret").send().await.unwrap_err();
        assert!(unreachable_after_sending(&error).contains("something else than a sealed message"), "{error}");
        assert_eq!((relay.traffic().count("/attest/message"), relay.traffic().application_bytes()), (1, 0));
        let secret = b"the secret";
        let seen = relay.traffic().requests();
        assert!(!seen.iter().any(|request| request.body.windows(secret.len()).any(|at| at == secret)));
    }
}

/// The application processed the request; its response does not come through, and is not taken for another one.
#[tokio::test]
async fn a_response_that_is_not_whole_and_unchanged_is_an_error() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    session.post("/echo").body("before").send().await.unwrap().text().await.unwrap();
    let unopened = "a chunk does not decrypt";
    let cut = "the message ends before its final chunk";
    let mut processed = behind.processed("/echo");
    for (knob, expected) in [
        (FrontEndKnob::ChangeResponse(0), unopened),
        (FrontEndKnob::ChangeResponse(40), unopened),
        (FrontEndKnob::CutResponse(0), cut),
        (FrontEndKnob::CutResponse(40), cut),
        (FrontEndKnob::ResponseWithoutFinalChunk, cut),
        (FrontEndKnob::ReorderChunks, unopened),
        (FrontEndKnob::RepeatChunk, unopened),
        (FrontEndKnob::AppendToResponse, unopened),
        (FrontEndKnob::EarlierResponse, unopened),
    ] {
        let error = behind.post_while(&session, knob.clone()).await;
        let reason = unreachable_after_sending(&error);
        assert!(reason.contains(expected), "{knob:?}: {reason}");
        processed += 1;
        assert_eq!(behind.processed("/echo"), processed, "{knob:?}");
    }
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(behind.attestations(), 1);
    assert_eq!(behind.front_end.count_seen("the secret"), 0);
}

/// Of a response that is changed on its way, the caller gets nothing from the change on.
#[tokio::test]
async fn nothing_of_a_response_is_given_out_before_it_is_authenticated() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let body: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    // In the head, in the first chunk of the content, and further on.
    for (at, most) in [(40, 0), (2_000, 0), (12_000, 0), (30_000, 30_000), (99_000, 99_000)] {
        behind.front_end.set(FrontEndKnob::ChangeResponse(at));
        let mut given = Vec::new();
        let outcome = async {
            let mut response = session.post("/echo").body(body.clone()).send().await?;
            while let Some(chunk) = response.chunk().await? {
                given.extend_from_slice(&chunk);
            }
            Ok(())
        };
        let error: AttestationError = outcome.await.unwrap_err();
        assert!(unreachable_after_sending(&error).contains("a chunk does not decrypt"), "{at}: {error}");
        assert!(given.len() <= most && body.starts_with(&given), "{at}: {} bytes", given.len());
        behind.front_end.reset();
    }
}

/// What a front end says about a stream is no reason to send a request again, or to say that it was not sent.
#[tokio::test]
async fn a_front_end_cannot_say_that_a_request_was_not_processed() {
    let lab = Lab::start().await;
    let policy = lab.policy_for(Workload::binds_its_own_message_key(lab.blindbox.host_data()));
    for fault in [Fault::RefuseStream, Fault::GoAway] {
        let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
        lab.blindbox.fail("/attest/message", fault.clone());
        let error = session.get("/").send().await.unwrap_err();
        let reason = unreachable_after_sending(&error);
        assert!(reason.contains("nothing authenticates that; the request may have arrived"), "{fault:?}: {reason}");
        assert!(error.request_sent());
        lab.blindbox.reset();
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    }
}

#[tokio::test]
async fn a_request_that_is_changed_or_cut_is_not_processed() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    for knob in [FrontEndKnob::ChangeRequest(0), FrontEndKnob::ChangeRequest(200), FrontEndKnob::CutRequest(100)] {
        let error = behind.post_while(&session, knob.clone()).await;
        assert!(unreachable_after_sending(&error).contains("has the message key"), "{knob:?}: {error}");
        assert_eq!(behind.processed("/echo"), 0, "{knob:?}");
    }
    assert_eq!(session.post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
}

/// The application sees that the content breaks off.
#[tokio::test]
async fn a_request_without_its_final_chunk_is_never_whole() {
    let received = Received::default();
    let behind = Behind::with(|blindbox| blindbox.application(Application::service(received.clone()))).await;
    let session = behind.connect().await.unwrap();
    behind.front_end.set(FrontEndKnob::RequestWithoutFinalChunk);
    let response = session.post("/echo").body("the secret").send().await.unwrap();
    behind.front_end.reset();
    // What it responds then is its affair: it is sealed, and for this request.
    assert_eq!(response.status(), 502);
    let cut = "the content of the sealed request cannot be read to its end: the message ends before its final chunk";
    assert_eq!(received.bodies(), [Err(cut.to_owned())]);
    assert_eq!(session.post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
    assert_eq!(received.bodies(), [Err(cut.to_owned()), Ok("x".to_owned())]);

    // One that does not respond.
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let error = behind.post_while(&session, FrontEndKnob::RequestWithoutFinalChunk).await;
    let text = "the front end responded with the status 502, which the instance has not sealed";
    assert_eq!(unreachable_after_sending(&error), format!("{}: {text}", behind.front_end.url()));
    assert_eq!(session.post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
    assert_eq!(behind.attestations(), 2);
}

/// Each replica has a key of its own.
#[tokio::test]
async fn a_request_that_is_delivered_to_every_replica_is_processed_once() {
    let (behind, other) = Behind::with_replica().await;
    let session = behind.connect().await.unwrap();
    // The last response is that of the other replica.
    let error = behind.post_while(&session, FrontEndKnob::RequestToEveryReplica).await;
    let text = "no instance that was reached has the message key, as after a restart, or with several instances behind a front end without \
                affinity";
    assert_eq!(unreachable_after_sending(&error), format!("{}: {text}", behind.front_end.url()));
    assert_eq!((behind.processed("/echo"), other.traffic().count("/echo")), (1, 0));
    assert_eq!((other.traffic().count("/attest/message"), other.traffic().application_bytes()), (1, 0));
    assert_eq!(session.post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
    // The next request is of the instance that is attested then, and of no other.
    assert_eq!(behind.processed("/echo") + other.traffic().count("/echo"), 2);
}

/// The number of a request counts once. A refusal is no permission to send again what may not be processed twice.
#[tokio::test]
async fn a_request_that_is_delivered_twice_is_processed_once() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let error = behind.post_while(&session, FrontEndKnob::RepeatRequest).await;
    assert!(unreachable_after_sending(&error).contains("received the request before"), "{error}");
    assert_eq!(behind.processed("/echo"), 1);
    // Later: it is refused, and its response opens for nothing.
    let error = behind.post_while(&session, FrontEndKnob::EarlierRequest).await;
    assert!(unreachable_after_sending(&error).contains("a chunk does not decrypt"), "{error}");
    assert_eq!(behind.processed("/echo"), 1);
}

/// What a front end writes itself is never a response, whatever its status.
#[tokio::test]
async fn a_forged_response_is_never_a_response() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    for status in [200, 204, 302, 400, 401, 403, 404, 413, 429, 500, 502, 503] {
        let error = behind.post_while(&session, FrontEndKnob::ForgeResponse(status)).await;
        let reason = unreachable_after_sending(&error);
        let expected =
            if status == 200 { "something else than a sealed message".into() } else { format!("status {status}") };
        assert!(reason.contains(&expected), "{status}: {reason}");
        assert!(!reason.contains("written by the front end"), "{status}: {reason}");
    }
    // After 404 and 502 the next request attests an instance again: the one before may be gone.
    assert_eq!((behind.processed("/echo"), behind.attestations()), (0, 3));
    // Safe methods are not sent again for these either.
    behind.front_end.set(FrontEndKnob::ForgeResponse(503));
    let sent = behind.front_end.traffic().count("/attest/message");
    session.get("/").send().await.unwrap_err();
    assert_eq!(behind.front_end.traffic().count("/attest/message"), sent + 1);
}

#[tokio::test]
async fn a_response_that_is_withheld_is_not_asked_for_again() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let error = behind.post_while(&session, FrontEndKnob::WithholdResponse).await;
    assert!(unreachable_after_sending(&error).contains("may have arrived, and is not sent again"), "{error}");
    assert_eq!(behind.processed("/echo"), 1);
}

/// "The key is not known" is said by anyone. It costs another attestation, and no second processing.
#[tokio::test]
async fn a_claim_that_the_key_is_not_known_repeats_safe_methods_only() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    let error = behind.post_while(&session, FrontEndKnob::ReportUnknownKey).await;
    assert!(unreachable_after_sending(&error).contains("has the message key"), "{error}");
    assert_eq!((behind.processed("/echo"), behind.attestations()), (1, 1));
    // The next request attests an instance again.
    assert_eq!(session.post("/echo").body("x").send().await.unwrap().text().await.unwrap(), "x");
    assert_eq!((behind.processed("/echo"), behind.attestations()), (2, 2));
    behind.front_end.set(FrontEndKnob::ReportUnknownKey);
    let error = session.get("/").send().await.unwrap_err();
    assert!(unreachable_after_sending(&error).contains("has the message key"), "{error}");
    assert_eq!((behind.processed("/"), behind.attestations()), (3, 4));
}

/// The caller states that processing it twice does no harm: then it is sealed again for the instance that is attested next.
#[tokio::test]
async fn an_idempotent_request_is_sent_again_after_an_error_that_is_not_authenticated() {
    let behind = Behind::start().await;
    let session = behind.connect().await.unwrap();
    behind.lab.blindbox.restart().await.unwrap();
    let response = session.post("/echo").body("x").idempotent().send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "x");
    assert_eq!((behind.processed("/echo"), behind.attestations()), (1, 2));
    // Twice at most; a body that can be read once is sent once.
    behind.front_end.set(FrontEndKnob::ReportUnknownKey);
    session.post("/echo").body("x").idempotent().send().await.unwrap_err();
    assert_eq!(behind.processed("/echo"), 1 + 3);
    let stream = futures::stream::iter([Ok::<_, std::convert::Infallible>(bytes::Bytes::from_static(b"x"))]);
    session.post("/echo").body_stream(stream).idempotent().send().await.unwrap_err();
    assert_eq!(behind.processed("/echo"), 1 + 3 + 1);
    // Of an error of another form, nothing is sent again.
    behind.front_end.reset();
    behind.front_end.set(FrontEndKnob::ForgeResponse(503));
    let sent = behind.front_end.traffic().count("/attest/message");
    session.post("/echo").body("x").idempotent().send().await.unwrap_err();
    assert_eq!(behind.front_end.traffic().count("/attest/message"), sent + 1);
}

#[tokio::test]
async fn the_session_of_another_attestation_only_makes_requests_be_refused() {
    let behind = Behind::start().await;
    let first = behind.connect().await.unwrap();
    assert_eq!(hello(&first).await.unwrap(), "hello from a BlindBox");
    behind.front_end.set(FrontEndKnob::EarlierSession);
    let second = behind.connect().await.unwrap();
    // Its first number was used by the other session.
    let error = second.post("/echo").body("x").send().await.unwrap_err();
    assert!(unreachable_after_sending(&error).contains("received the request before"), "{error}");
    assert_eq!(behind.processed("/echo"), 0);
    behind.front_end.reset();
    assert_eq!(hello(&second).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn the_name_of_a_front_end_is_reported_as_such() {
    // The application goes by the name too, which no server of names knows.
    let lab = Lab::with(|blindbox| blindbox.host("app.example")).await;
    let front_end = FrontEnd::builder().host("app.example").start([&lab.blindbox]).await.unwrap();
    let policy = lab.policy_for(Workload::binds_its_own_message_key(lab.blindbox.host_data()));
    let verifier = lab.builder().resolve("app.example", front_end.address()).build().unwrap();
    let session = verifier.connect(front_end.url(), &policy).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    let attestation = session.attestation();
    assert_eq!(attestation.appraisal().check("server name").unwrap().actual, "validated (front end)");
    let json = serde_json::to_value(&*attestation).unwrap();
    assert_eq!(json["server_name"], "validated-front-end");
    assert!(attestation.to_string().contains("validated (front end)"));
    // A front end without a certificate for the name is refused before it is asked.
    let other = lab.builder().resolve("other.example", front_end.address()).build().unwrap();
    let url = front_end.url().replace("app.example", "other.example");
    let error = other.connect(url, &policy).await.unwrap_err();
    assert_eq!(error.code(), "server-name-not-validated");
}
