//! What errors of the network say of their cause, and what they keep to themselves.

use std::error::Error as _;
use std::io::ErrorKind;

use AttestationError::*;
use blindbox_attestation::emulator::Knob;
use blindbox_attestation::{AttestationError, NetworkError};

use crate::lab::Lab;

/// The errors among the causes of an error, outermost first.
fn causes(error: &AttestationError) -> Vec<String> {
    let (mut causes, mut next) = (Vec::new(), error.source());
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

#[tokio::test]
async fn the_cause_of_an_unreachable_service_is_in_the_chain_of_sources() {
    let lab = Lab::start().await;
    let refused = |error: &AttestationError| {
        let network = error.source().and_then(|source| source.downcast_ref::<NetworkError>());
        assert_eq!(network.and_then(NetworkError::io).map(std::io::Error::kind), Some(ErrorKind::ConnectionRefused));
        // Stated once: the message of the error itself is not repeated as its cause.
        assert!(!causes(error).contains(&error.to_string()), "{error:?}");
    };
    let verifier = lab.builder().agent("https://127.0.0.1:1").build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &lab.policy()).await.unwrap_err();
    refused(&assert_error!(error, AgentUnreachable { .. }));
    lab.maa.stop().await;
    refused(&assert_error!(lab.refusal().await, MaaUnreachable { .. }));
    lab.maa.restart().await.unwrap();
    lab.blindbox.stop().await;
    refused(&assert_error!(lab.refusal().await, ApplicationUnreachable { .. }));
}

/// Paths of the KDS contain the chip id, which no log should have.
#[tokio::test]
async fn no_cause_contains_the_url_of_the_collateral() {
    let lab = Lab::start().await;
    lab.maa.stop().await;
    let error = assert_error!(lab.refusal().await, MaaUnreachable { .. });
    let causes = causes(&error);
    assert!(!causes.is_empty() && causes.iter().all(|cause| !cause.contains("http")), "{causes:?}");
}

#[tokio::test]
async fn an_agent_without_a_token_is_reported_with_the_instance() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::NoToken);
    let message = lab.refusal().await.to_string();
    let expected =
        format!("the attestation agent provided no MAA token of {} (status 404): ", lab.blindbox.maa_issuer());
    assert!(message.starts_with(&expected), "{message}");
}
