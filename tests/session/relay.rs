//! A man in the middle, with everything that such a party can have: the network, the server's name, a certificate for it, and the
//! responses of a genuine BlindBox. What must not arrive there is one byte of the application.

use crate::lab::{Lab, hello, noticed};
use blindbox_attestation::emulator::{AgentForm, Knob, Relay, RelayCertificate, RelayMode};
use blindbox_attestation::{AttestationError, Channel, ChannelNotAllowed, ChannelNotBound, Session, Workload};

async fn lured(lab: &Lab, relay: &Relay) -> Result<Session, AttestationError> {
    lab.verifier().connect(relay.url(), &lab.policy()).await
}

fn assert_nothing_leaked(relay: &Relay) {
    assert_eq!((relay.traffic().application_requests(), relay.traffic().application_bytes()), (0, 0));
}

#[tokio::test]
async fn genuine_answers_do_not_vouch_for_the_relays_key() {
    let lab = Lab::start().await;
    let relay = Relay::start(&lab.blindbox).await.unwrap();
    let error = lured(&lab, &relay).await.unwrap_err();
    assert_eq!(
        error,
        AttestationError::ChannelMismatch { attested: lab.blindbox.tls_key(), connected: relay.tls_key() }
    );
    assert_eq!(relay.traffic().count("/attest/maa"), 1);
    assert_nothing_leaked(&relay);
}

#[tokio::test]
async fn a_relay_that_lies_in_wait_gets_nothing_from_a_running_session() {
    let lab = Lab::start().await;
    let relay = Relay::builder().mode(RelayMode::Tunnel).start(&lab.blindbox).await.unwrap();
    let session = lured(&lab, &relay).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");

    relay.set_mode(RelayMode::Forward);
    relay.drop_connections().await;
    noticed().await;
    let mismatch = AttestationError::ChannelMismatch { attested: lab.blindbox.tls_key(), connected: relay.tls_key() };
    assert_eq!(session.post("/generate").body("secret").send().await.unwrap_err(), mismatch);
    assert_nothing_leaked(&relay);
    assert_eq!(relay.traffic().count("/attest/maa"), 1);

    // The refused key is remembered: it is not asked for evidence again.
    assert_eq!(session.post("/generate").body("secret").send().await.unwrap_err(), mismatch);
    assert_eq!(relay.traffic().count("/attest/maa"), 1);
    assert_nothing_leaked(&relay);

    // The attested key is still good where it is met.
    relay.set_mode(RelayMode::Tunnel);
    relay.drop_connections().await;
    noticed().await;
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_eq!(lab.blindbox.traffic().count("/generate"), 0);
    assert_nothing_leaked(&relay);
}

#[tokio::test]
async fn an_agent_that_attests_what_it_is_sent_can_be_made_to_attest_the_relays_key() {
    for form in [AgentForm::Legacy, AgentForm::Both] {
        let lab = Lab::with(|blindbox| blindbox.agent(form)).await;
        let relay = Relay::builder().mode(RelayMode::AttestOwnKey).start(&lab.blindbox).await.unwrap();

        // Who says what the workload is like is safe: nothing is even asked.
        let attests_any_data = lab.unbound_policy();
        let error = lab.verifier().connect(relay.url(), &attests_any_data).await.unwrap_err();
        assert_eq!(error, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::WorkloadDoesNotBind });
        assert_eq!(relay.traffic().connections().len(), 0);
        assert_nothing_leaked(&relay);

        // Who says `binds_its_own_key` of a workload that attests what it is sent has said that this cannot happen, and it
        // goes through: the evidence is genuine in every respect. This is the one mistake that no check can find.
        let wrong = lab.policy_for(Workload::binds_its_own_key(lab.blindbox.host_data()));
        let session = lab.verifier().connect(relay.url(), &wrong).await.unwrap();
        assert_eq!(session.channel(), Channel::Bound);
        assert_eq!(hello(&session).await.unwrap(), "intercepted");
    }
}

/// A relay that holds the serving key of the genuine BlindBox, and a certificate for it.
async fn relay_with_stolen_key(lab: &Lab, mode: RelayMode) -> Relay {
    let relay =
        Relay::builder().stolen_key(lab.blindbox.steal_tls_key()).mode(mode).start(&lab.blindbox).await.unwrap();
    assert_eq!(relay.tls_key(), lab.blindbox.tls_key());
    relay
}

/// As docs/threat-model.md says of evidence that names the key alone ("A stolen key"), and what evidence about the connection
/// changes: the model's `a_stolen_serving_key_is_of_no_use`.
#[tokio::test]
async fn a_stolen_serving_key_relays_unless_the_evidence_names_the_connection() {
    let lab = Lab::start().await;
    let own_connection = lab.policy_for(Workload::binds_its_own_connection(lab.blindbox.host_data()));

    let relay = relay_with_stolen_key(&lab, RelayMode::Forward).await;
    let session = lured(&lab, &relay).await.unwrap();
    assert_eq!(session.channel(), Channel::Bound);
    let sent = session.post("/generate").body("secret").send().await.unwrap();
    assert_eq!(sent.text().await.unwrap(), "intercepted");
    let received = relay.traffic().requests().pop().unwrap();
    assert_eq!((relay.traffic().application_requests(), received.body.as_slice()), (1, b"secret".as_slice()));

    let relay = relay_with_stolen_key(&lab, RelayMode::Forward).await;
    let error = lab.verifier().connect(relay.url(), &own_connection).await.unwrap_err();
    assert!(matches!(error, AttestationError::ConnectionMismatch { .. }), "{error:?}");
    // The genuine agent was asked, and named the connection of the relay.
    assert_eq!(relay.traffic().count("/attest/maa"), 1);
    assert_nothing_leaked(&relay);
}

/// The same within a session: the key is attested already.
#[tokio::test]
async fn a_stolen_serving_key_takes_over_a_session_unless_the_evidence_names_the_connection() {
    let lab = Lab::start().await;
    let own_connection = lab.policy_for(Workload::binds_its_own_connection(lab.blindbox.host_data()));

    let relay = relay_with_stolen_key(&lab, RelayMode::Tunnel).await;
    let session = lured(&lab, &relay).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    relay.set_mode(RelayMode::Forward);
    relay.drop_connections().await;
    noticed().await;
    assert_eq!(hello(&session).await.unwrap(), "intercepted");
    assert_eq!(relay.traffic().count("/attest/maa"), 0);

    let relay = relay_with_stolen_key(&lab, RelayMode::Tunnel).await;
    let session = lab.verifier().connect(relay.url(), &own_connection).await.unwrap();
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    relay.set_mode(RelayMode::Forward);
    relay.drop_connections().await;
    noticed().await;
    let error = session.post("/generate").body("secret").send().await.unwrap_err();
    assert!(matches!(error, AttestationError::ConnectionMismatch { .. }), "{error:?}");
    assert_nothing_leaked(&relay);
    // The genuine peer is still good where it is met.
    relay.set_mode(RelayMode::Tunnel);
    relay.drop_connections().await;
    noticed().await;
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
    assert_nothing_leaked(&relay);
}

/// Runtime data of the relay's making name the victim's connection, which the relay ends. A genuine agent has no use for them; one
/// that attests any data gives the relay everything, in this form too.
#[tokio::test]
async fn an_agent_that_attests_what_it_is_sent_breaks_the_binding_of_connections_too() {
    let lab = Lab::start().await;
    let own_connection = lab.policy_for(Workload::binds_its_own_connection(lab.blindbox.host_data()));
    let relay = relay_with_stolen_key(&lab, RelayMode::AttestOwnKey).await;
    let error = lab.verifier().connect(relay.url(), &own_connection).await.unwrap_err();
    assert_eq!(error, AttestationError::ChannelNotBound { reason: ChannelNotBound::ConnectionNotNamed });
    assert_nothing_leaked(&relay);

    let lab = Lab::with(|blindbox| blindbox.agent(AgentForm::Both)).await;
    let wrong = lab.policy_for(Workload::binds_its_own_connection(lab.blindbox.host_data()));
    let relay = Relay::builder().mode(RelayMode::AttestOwnKey).start(&lab.blindbox).await.unwrap();
    let session = lab.verifier().connect(relay.url(), &wrong).await.unwrap();
    assert_eq!((session.channel(), hello(&session).await.unwrap().as_str()), (Channel::BoundConnection, "intercepted"));
}

#[tokio::test]
async fn an_old_answer_is_no_answer() {
    let lab = Lab::start().await;
    let relay = Relay::builder().mode(RelayMode::Replay).start(&lab.blindbox).await.unwrap();
    let error = lured(&lab, &relay).await.unwrap_err();
    assert!(matches!(error, AttestationError::FalseAttestationReport { what: "runtime data", .. }), "{error:?}");
    assert_nothing_leaked(&relay);

    // In the form that names the connection too, by a relay that holds the key.
    let relay = relay_with_stolen_key(&lab, RelayMode::Replay).await;
    let own_connection = lab.policy_for(Workload::binds_its_own_connection(lab.blindbox.host_data()));
    let error = lab.verifier().connect(relay.url(), &own_connection).await.unwrap_err();
    assert!(matches!(error, AttestationError::FalseAttestationReport { what: "runtime data", .. }), "{error:?}");
    assert_nothing_leaked(&relay);

    // The genuine peer itself, with the response to another request.
    lab.blindbox.set(Knob::OldAnswer);
    let error = lab.refusal().await;
    assert!(matches!(error, AttestationError::FalseAttestationReport { what: "runtime data", .. }), "{error:?}");

    // With the right text beside the old token: it covers another one.
    lab.blindbox.reset();
    lab.blindbox.set(Knob::OldNonce);
    let error = lab.refusal().await;
    assert!(matches!(error, AttestationError::FalseAttestationReport { what: "runtime data", .. }), "{error:?}");
}

#[tokio::test]
async fn there_is_no_negotiation_down_to_an_unbound_answer() {
    let lab = Lab::start().await;
    let relay = Relay::builder().mode(RelayMode::LegacyForm).start(&lab.blindbox).await.unwrap();
    let error = lured(&lab, &relay).await.unwrap_err();
    assert_eq!(error, AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData });
    assert_nothing_leaked(&relay);
    // What was asked had no room for what the relay would have attested.
    let asked = relay.traffic().requests().remove(0).json().unwrap();
    let members: Vec<_> = asked.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["maa_endpoint", "nonce"]);
}

#[tokio::test]
async fn a_name_counts_beside_the_key() {
    let lab = Lab::with(|blindbox| blindbox.name("my-app.example")).await;
    let relay = Relay::builder().mode(RelayMode::Forward).certificate(RelayCertificate::SelfSigned);
    let relay = relay.start(&lab.blindbox).await.unwrap();
    let url = format!("https://my-app.example:{}", relay.address().port());
    let verifier = lab.builder().resolve("my-app.example", relay.address()).build().unwrap();
    let error = verifier.connect(&url, &lab.policy()).await.unwrap_err();
    assert!(matches!(error, AttestationError::ServerNameNotValidated { .. }), "{error:?}");
    // Not even the question was asked.
    assert_eq!(relay.traffic().requests(), []);
}
