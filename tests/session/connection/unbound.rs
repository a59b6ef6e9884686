//! Channels that evidence does not bind: what a policy must allow, and what is checked instead.

use blindbox_attestation::emulator::{AgentForm, AgentLocation, Knob, OpenConnections, ServerCertificate, Transport};
use blindbox_attestation::{
    AttestationError, Channel, ChannelNotAllowed, HostData, Policy, Session, Verdict, Violation, Workload,
};

use crate::lab::{Lab, hello, noticed, unreachable_reason};

fn first_line(session: &Session) -> String {
    session.attestation().to_string().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn an_unbound_channel_needs_leave_and_says_so_first() {
    let lab = Lab::legacy().await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let refused = verifier.connect(lab.blindbox.url(), &lab.unbound_policy()).await.unwrap_err();
    assert_eq!(refused, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::WorkloadDoesNotBind });
    assert_eq!(lab.blindbox.agent_traffic().connections().len(), 0);

    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(session.channel(), Channel::UnboundTls);
    assert_eq!(session.attestation().key(), None);
    assert!(first_line(&session).contains("NOT BOUND"), "{}", session.attestation());
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    let asked = lab.blindbox.agent_traffic().requests().remove(0).json().unwrap();
    assert!(asked.get("runtime_data").is_some() && asked.get("nonce").is_none(), "{asked}");

    // A new key is no matter, and neither is it looked at: that is what unbound means.
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    noticed().await;
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.agent_traffic().count("/attest/maa"), 1);

    // At the end of its life it is attested again as well.
    lab.blindbox.clock().advance(3601);
    lab.blindbox.set(Knob::Debug);
    let error = hello(&session).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::DebugMode)), "{error:?}");
    // It is the one peer of the session.
    lab.blindbox.reset();
    assert_eq!(hello(&session).await.unwrap_err(), AttestationError::SessionPoisoned { cause: "debug-mode" });
    session.reattest().await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn an_unbound_channel_goes_by_the_name_even_for_an_address() {
    let lab = Lab::with(|blindbox| blindbox.agent(AgentForm::Legacy).certificate(ServerCertificate::SelfSigned));
    let lab = lab.await;
    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::ServerNameNotValidated { .. }), "{error:?}");
    assert_eq!(lab.blindbox.traffic().requests(), []);
}

/// The record said that the name was validated, of an application that was never contacted.
#[tokio::test]
async fn an_unbound_application_is_reached_before_anything_is_said_of_it() {
    let lab = Lab::legacy().await;
    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let error = verifier.connect("https://127.0.0.1:1", &policy).await.unwrap_err();
    assert_eq!(unreachable_reason(&error), "https://127.0.0.1:1: connection refused");
    let error =
        verifier.connect("http://127.0.0.1:1", &policy.clone().allow_unbound_plain_http().unwrap()).await.unwrap_err();
    assert_eq!(unreachable_reason(&error), "http://127.0.0.1:1: connection refused");
    assert_eq!(lab.blindbox.agent_traffic().requests(), []);
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(session.attestation().appraisal().check("server name").unwrap().verdict, Verdict::Passed);
    // The connection that was looked at is the one that is used.
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.traffic().connections().len(), 1);
}

#[tokio::test]
async fn plain_http_needs_leave_of_its_own() {
    let lab = Lab::with(|blindbox| blindbox.agent(AgentForm::Legacy).transport(Transport::PlainHttp));
    let lab = lab.await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::InvalidUrl { .. }), "{error:?}");
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);

    let policy = policy.allow_unbound_plain_http().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(session.channel(), Channel::UnboundCleartext);
    assert!(first_line(&session).contains("IN CLEAR"), "{}", session.attestation());
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}

#[tokio::test]
async fn an_unbound_answer_is_for_our_nonce_too() {
    let lab = Lab::legacy().await;
    let policy: Policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    lab.blindbox.set(Knob::claim("x-ms-sevsnpvm-reportdata", "00".repeat(64)));
    let error = verifier.connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::FalseAttestationReport { what: "report data", .. }), "{error:?}");
    let other = lab.policy_for(Workload::attests_any_data(HostData::new([7; 32]))).allow_unbound_channel().unwrap();
    lab.blindbox.reset();
    let error = verifier.connect(lab.blindbox.url(), &other).await.unwrap_err();
    assert!(matches!(error.violation(), Some(Violation::InvalidEnclaveCode { .. })), "{error:?}");
}

#[tokio::test]
async fn an_agent_elsewhere_may_have_any_key() {
    let lab = Lab::with(|blindbox| blindbox.agent_place(AgentLocation::OwnPort)).await;
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap();
    lab.blindbox.rotate_tls_key(OpenConnections::Drop);
    noticed().await;
    session.reattest().await.unwrap();
    assert_eq!(session.attestation().key(), Some(&lab.blindbox.tls_key()));
}

#[tokio::test]
async fn an_agent_in_clear_makes_the_channel_a_channel_in_clear() {
    let lab = Lab::legacy().await;
    let agent = Lab::with(|blindbox| blindbox.agent(AgentForm::Legacy).transport(Transport::PlainHttp)).await;
    agent.blindbox.add_maa(&lab.maa);
    let verifier = lab.builder().agent(agent.blindbox.url()).build().unwrap();
    let policy = lab.unbound_policy().allow_unbound_channel().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::InvalidUrl { .. }), "{error:?}");
    let session = verifier.connect(lab.blindbox.url(), &policy.allow_unbound_plain_http().unwrap()).await.unwrap();
    assert_eq!(session.channel(), Channel::UnboundCleartext);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
}
