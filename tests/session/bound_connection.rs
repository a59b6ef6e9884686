//! Policies with `binding = "own-connection"`: each connection is attested by itself (`blindbox-bound-connection/1`).

use std::time::Duration;

use blindbox_attestation::emulator::{AgentLocation, BlindBoxBuilder, Fault, HttpVersions, Knob, OpenConnections};
use blindbox_attestation::{
    AttestationError, Channel, ChannelNotAllowed, ChannelNotBound, Policy, Session, SpkiDigest, TlsExporter, Workload,
};

use crate::lab::{Lab, hello, noticed};

fn policy(lab: &Lab) -> Policy {
    lab.policy_for(Workload::binds_its_own_connection(lab.blindbox.host_data()))
}

async fn connect(lab: &Lab) -> Result<Session, AttestationError> {
    lab.verifier().connect(lab.blindbox.url(), &policy(lab)).await
}

async fn refused(lab: &Lab, knob: Knob) -> AttestationError {
    lab.blindbox.reset();
    lab.blindbox.set(knob);
    let error = connect(lab).await.expect_err("a session, where there must be none");
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    error
}

fn attestations(lab: &Lab) -> usize {
    lab.blindbox.traffic().count("/attest/maa")
}

#[tokio::test]
async fn a_session_says_that_its_connections_are_attested() {
    let lab = Lab::start().await;
    let session = connect(&lab).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(session.channel(), Channel::BoundConnection);
    let attestation = session.attestation();
    assert_eq!(attestation.key(), Some(&lab.blindbox.tls_key()));
    let json = serde_json::to_value(&*attestation).unwrap();
    assert_eq!(json["channel"], "bound-connection");
    let shown = attestation.to_string();
    assert!(shown.contains("bound to this TLS connection and the attested TLS key"), "{shown}");
    let request = lab.blindbox.traffic().requests().remove(0).json().unwrap();
    let members: Vec<_> = request.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["maa_endpoint", "nonce", "protocol"]);
    assert_eq!(request["protocol"], "blindbox-bound-connection/1");
}

#[tokio::test]
async fn an_http2_session_needs_one_attestation() {
    let lab = Lab::start().await;
    let session = connect(&lab).await.unwrap();
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { hello(&session).await.unwrap() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), "hello from a BlindBox");
    }
    assert_eq!((lab.blindbox.traffic().tls_connections(), attestations(&lab)), (1, 1));
}

/// One after the other over a connection; several at once over several, each attested.
#[tokio::test]
async fn every_http1_connection_is_attested() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http1)).await;
    let session = connect(&lab).await.unwrap();
    for _ in 0..3 {
        hello(&session).await.unwrap();
    }
    assert_eq!((lab.blindbox.traffic().tls_connections(), attestations(&lab)), (1, 1));
    let requests: Vec<_> = (0..6)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.get("/slow?ms=300").send().await.unwrap().text().await.unwrap() })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    let connections = lab.blindbox.traffic().tls_connections();
    assert!(connections > 1, "{connections}");
    assert_eq!(attestations(&lab), connections);
}

#[tokio::test]
async fn requests_beyond_64_http1_connections_wait_for_one() {
    let lab = Lab::with(|blindbox| blindbox.http(HttpVersions::Http1)).await;
    let session = connect(&lab).await.unwrap();
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.get("/slow?ms=3000").send().await.unwrap().text().await.unwrap() })
        })
        .collect();
    for request in requests {
        request.await.unwrap();
    }
    let connections = lab.blindbox.traffic().tls_connections();
    assert!(connections <= 64, "{connections}");
    assert_eq!(attestations(&lab), connections);
}

#[tokio::test]
async fn a_new_connection_to_the_same_key_is_attested_again() {
    let lab = Lab::start().await;
    let session = connect(&lab).await.unwrap();
    hello(&session).await.unwrap();
    lab.blindbox.drop_connections().await;
    noticed().await;
    hello(&session).await.unwrap();
    assert_eq!((lab.blindbox.traffic().tls_connections(), attestations(&lab)), (2, 2));
    // Another key is no different.
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    noticed().await;
    hello(&session).await.unwrap();
    assert_eq!((lab.blindbox.traffic().tls_connections(), attestations(&lab)), (3, 3));
    assert_eq!(session.attestation().key(), Some(&lab.blindbox.tls_key()));
}

#[tokio::test]
async fn an_attestation_is_renewed_over_its_own_connection() {
    for http in [HttpVersions::Http1, HttpVersions::Http2] {
        let lab = Lab::with(|blindbox: BlindBoxBuilder| blindbox.http(http)).await;
        // The last fifth begins sooner than an idle connection is too old to be used.
        let policy = policy(&lab).require_max_session_age(Duration::from_secs(60)).unwrap();
        let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
        hello(&session).await.unwrap();
        lab.blindbox.clock().advance(49);
        hello(&session).await.unwrap();
        assert_eq!((lab.blindbox.traffic().tls_connections(), attestations(&lab)), (1, 2), "{http:?}");
        // And a refusal then ends it.
        lab.blindbox.set(Knob::ForeignExporter(TlsExporter::new([7; 32])));
        lab.blindbox.clock().advance(49);
        let error = hello(&session).await.unwrap_err();
        assert!(matches!(error, AttestationError::ConnectionMismatch { .. }), "{http:?}: {error:?}");
        assert_eq!(
            hello(&session).await.unwrap_err(),
            AttestationError::SessionPoisoned { cause: "connection-mismatch" }
        );
    }
}

#[tokio::test]
async fn evidence_about_another_connection_is_refused() {
    let lab = Lab::start().await;
    let foreign = TlsExporter::new([7; 32]);
    let error = refused(&lab, Knob::ForeignExporter(foreign)).await;
    let AttestationError::ConnectionMismatch { attested, connected } = error else { panic!("{error:?}") };
    assert_eq!(attested, foreign);
    assert_ne!(connected, foreign);
    // Another key comes first, whatever the connection.
    let key = SpkiDigest::new([7; 32]);
    let error = refused(&lab, Knob::ForeignKey(key)).await;
    assert_eq!(error, AttestationError::ChannelMismatch { attested: key, connected: lab.blindbox.tls_key() });
}

#[tokio::test]
async fn there_is_no_negotiation_down_to_evidence_about_the_key() {
    let lab = Lab::start().await;
    let not_named = AttestationError::ChannelNotBound { reason: ChannelNotBound::ConnectionNotNamed };
    // An agent that does not know the form, and one that responds in the other form.
    assert_eq!(refused(&lab, Knob::RefuseConnectionForm).await, not_named);
    assert_eq!(refused(&lab, Knob::AnswerInServerForm).await, not_named);
    let legacy = AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData };
    assert_eq!(refused(&lab, Knob::AnswerInLegacyForm).await, legacy);
    assert_eq!(refused(&lab, Knob::RefuseBoundForm).await, legacy);
    // Nor is there one up: the policy for the key does not ask for the connection.
    lab.blindbox.reset();
    let session = lab.connect().await.unwrap();
    assert_eq!(session.channel(), Channel::Bound);
    let last = lab.blindbox.traffic().requests().pop().unwrap().json().unwrap();
    assert!(last.get("protocol").is_none(), "{last}");
}

#[tokio::test]
async fn old_and_forged_evidence_is_refused() {
    let lab = Lab::start().await;
    let text = b"{}".to_vec();
    for (knob, expected) in [
        (Knob::OldNonce, "runtime data"),
        (Knob::OldAnswer, "runtime data"),
        // The right text beside a token of another time.
        (Knob::OldToken, "report data"),
        (Knob::RuntimeData(text.clone()), "runtime data"),
        (Knob::RuntimeDataInAnswer(text), "runtime data"),
    ] {
        let error = refused(&lab, knob.clone()).await;
        let AttestationError::FalseAttestationReport { what, .. } = error else { panic!("{knob:?}: {error:?}") };
        assert_eq!(what, expected, "{knob:?}");
    }
}

/// The refusal of a connection says nothing of others: another one with the same key is asked. Not without end.
#[tokio::test]
async fn connections_that_are_refused_are_bounded() {
    let lab = Lab::start().await;
    let session = connect(&lab).await.unwrap();
    lab.blindbox.drop_connections().await;
    noticed().await;
    lab.blindbox.set(Knob::ForeignExporter(TlsExporter::new([7; 32])));
    let mut refused = 0;
    let error = loop {
        match hello(&session).await.unwrap_err() {
            AttestationError::ConnectionMismatch { .. } => refused += 1,
            error => break error,
        }
    };
    let reason = "more than 120 connections needed an attestation within a minute";
    assert_eq!((refused, error), (120, AttestationError::TooManyUnattestedPeers { reason }));
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}

/// Attestations without a verdict, in an outage, use up nothing.
#[tokio::test]
async fn an_outage_keeps_no_connections_out() {
    let lab = Lab::start().await;
    let session = connect(&lab).await.unwrap();
    lab.blindbox.drop_connections().await;
    noticed().await;
    lab.blindbox.fail("/attest/", Fault::status(500));
    for _ in 0..121 {
        assert_eq!(hello(&session).await.unwrap_err().code(), "agent-unreachable");
    }
    lab.blindbox.reset();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn an_agent_at_another_address_is_refused_before_the_first_byte() {
    let lab = Lab::with(|blindbox| blindbox.agent_place(AgentLocation::OwnPort)).await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &policy(&lab)).await.unwrap_err();
    let AttestationError::Misconfigured { reason } = error else { panic!("{error:?}") };
    assert!(reason.contains("would name another connection"), "{reason}");
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);
    assert_eq!(lab.blindbox.agent_traffic().connections().len(), 0);
}

#[tokio::test]
async fn collected_evidence_is_of_the_connection() {
    let lab = Lab::start().await;
    let collected = lab.verifier().collect(lab.blindbox.url(), &policy(&lab)).await.unwrap();
    assert_eq!(collected.channel, Channel::BoundConnection);
    assert_eq!(collected.tls_key, Some(lab.blindbox.tls_key()));
    let runtime_data = String::from_utf8(collected.evidence.runtime_data.clone().unwrap()).unwrap();
    assert!(runtime_data.contains("blindbox-bound-connection/1"), "{runtime_data}");
    let _ = collected.verify(&policy(&lab)).unwrap();
    // It was collected over a channel of one kind, which another policy does not allow.
    let refused = collected.verify(&lab.policy()).unwrap_err();
    assert_eq!(refused, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::ChannelMustBeBound });
}
