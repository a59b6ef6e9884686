//! A confidential VM with Intel TDX, under MAA trust, over the network.

use crate::lab::{Lab, hello};
use blindbox_attestation::emulator::{Guest, Knob, Relay};
use blindbox_attestation::{AttestationError, Binding, Channel, GuestIdentity, Policy, TeeKind, Violation};

async fn lab() -> Lab {
    Lab::with(|blindbox| blindbox.guest(Guest::tdx_vm())).await
}

fn policy(lab: &Lab) -> Policy {
    let guest = GuestIdentity::measured_tdx([lab.blindbox.measurement()]);
    Policy::confidential_vm(lab.trust(), guest, Binding::OwnKey).unwrap()
}

#[tokio::test]
async fn a_vm_with_tdx_is_attested_where_it_is_named() {
    let lab = lab().await;
    let session = lab.verifier().connect(lab.blindbox.url(), &policy(&lab)).await.unwrap();
    assert_eq!(session.channel(), Channel::Bound);
    assert_eq!(session.attestation().claims().tee.kind(), TeeKind::Tdx);
    assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");

    let snp = Policy::confidential_vm(lab.trust(), GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap();
    let refused = lab.verifier().connect(lab.blindbox.url(), &snp).await.unwrap_err();
    let wrong = Violation::WrongTeeKind { expected: "SEV-SNP", actual: "Intel TDX" };
    assert_eq!(refused.violation(), Some(&wrong));
}

#[tokio::test]
async fn a_relay_a_replay_and_an_unbound_token_get_nothing() {
    let lab = lab().await;
    let policy = policy(&lab);
    let relay = Relay::start(&lab.blindbox).await.unwrap();
    let refused = lab.verifier().connect(relay.url(), &policy).await.unwrap_err();
    let (attested, connected) = (lab.blindbox.tls_key(), relay.tls_key());
    assert_eq!(refused, AttestationError::ChannelMismatch { attested, connected });
    assert_eq!((relay.traffic().application_requests(), relay.traffic().application_bytes()), (0, 0));

    for (knob, code) in [
        (Knob::OldAnswer, "false-attestation-report"),
        (Knob::OldToken, "false-attestation-report"),
        (Knob::without_claim("x-ms-runtime"), "false-attestation-report"),
        (Knob::without_claim("x-ms-runtime/user-data"), "false-attestation-report"),
        (Knob::claim("x-ms-sevsnpvm-hostdata", "5a".repeat(32)), "invalid-token"),
        (Knob::Debug, "debug-mode"),
        (Knob::TcbStatus("OutOfDate".to_owned()), "wrong-tcb-status"),
    ] {
        lab.blindbox.reset();
        lab.blindbox.set(knob.clone());
        let refused = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap_err();
        assert_eq!(refused.code(), code, "{knob:?}: {refused}");
        assert_eq!(lab.blindbox.traffic().application_bytes(), 0, "{knob:?}");
    }
}
