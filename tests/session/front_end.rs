//! A front end that ends TLS, before one or more BlindBoxes.

use blindbox_attestation::emulator::{FrontEnd, HttpVersions};
use blindbox_attestation::{AttestationError, Policy, Session, Workload};

use crate::lab::Lab;

async fn connect(lab: &Lab, front_end: &FrontEnd, policy: &Policy) -> Result<Session, AttestationError> {
    lab.verifier().connect(front_end.url(), policy).await
}

/// Its certificate is the rightful one for the name, and its key is not the attested one: it is a man in the middle.
#[tokio::test]
async fn behind_a_front_end_policies_of_tls_bindings_give_no_session_and_send_nothing() {
    let lab = Lab::start().await;
    let host_data = lab.blindbox.host_data();
    for versions in [HttpVersions::Http1, HttpVersions::Http2] {
        let front_end = FrontEnd::builder().http(versions).start([&lab.blindbox]).await.unwrap();
        for workload in [Workload::binds_its_own_key(host_data), Workload::binds_its_own_connection(host_data)] {
            let error = connect(&lab, &front_end, &lab.policy_for(workload)).await.unwrap_err();
            let mismatch =
                AttestationError::ChannelMismatch { attested: lab.blindbox.tls_key(), connected: front_end.tls_key() };
            assert_eq!(error, mismatch);
            assert_eq!(error.code(), "channel-mismatch");
        }
        let application = |traffic: &blindbox_attestation::emulator::Traffic| traffic.application_bytes();
        assert_eq!([application(front_end.traffic()), application(lab.blindbox.traffic())], [0, 0]);
        assert_eq!(front_end.traffic().count("/attest/maa"), 2);
    }
}
