//! A guest of another cloud: its agent's own reports, signed with the key of a cloud provider, and no MAA.

use crate::lab::{Lab, hello};
use blindbox_attestation::emulator::amd::CSP_ID;
use blindbox_attestation::emulator::{Guest, HardwareKnob, Knob, Platform, Relay};
use blindbox_attestation::{
    AttestationError, Binding, Channel, Measurement, Policy, Product, ReportSigner, Trust, Violation,
};

async fn lab(platform: &Platform) -> Lab {
    let kds = blindbox_attestation::emulator::Kds::start().await.unwrap();
    let lab = Lab::with(|blindbox| blindbox.guest(Guest::snp_guest()).platform(platform)).await;
    Lab { kds: Some(kds), ..lab }
}

fn policy(lab: &Lab, signer: ReportSigner) -> Policy {
    Policy::snp_guest(Trust::amd(), [lab.blindbox.measurement()], signer, Binding::OwnKey).unwrap()
}

#[tokio::test]
async fn a_guest_under_the_key_of_its_provider_or_chip_is_attested() {
    let provider = || ReportSigner::Provider(vec![CSP_ID.to_owned()]);
    for (platform, signer) in [
        (Platform::builder(Product::Milan).vlek().build(), provider()),
        (Platform::new(Product::Genoa), ReportSigner::Chip),
    ] {
        let lab = lab(&platform).await;
        let session = lab.verifier().connect(lab.blindbox.url(), &policy(&lab, signer)).await.unwrap();
        assert_eq!(session.channel(), Channel::Bound);
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        // MAA is not asked.
        assert_eq!((lab.maa.key_set_fetches(), lab.blindbox.traffic().count("/attest/maa")), (0, 0));
    }
}

#[tokio::test]
async fn a_relay_and_another_guest_get_nothing() {
    let platform = Platform::builder(Product::Milan).vlek().build();
    let lab = lab(&platform).await;
    let policy = policy(&lab, ReportSigner::Provider(vec![CSP_ID.to_owned()]));
    let relay = Relay::start(&lab.blindbox).await.unwrap();
    let refused = lab.verifier().connect(relay.url(), &policy).await.unwrap_err();
    let (attested, connected) = (lab.blindbox.tls_key(), relay.tls_key());
    assert_eq!(refused, AttestationError::ChannelMismatch { attested, connected });
    assert_eq!((relay.traffic().application_requests(), relay.traffic().application_bytes()), (0, 0));

    let refusal = async || {
        let refused = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap_err();
        assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
        refused
    };
    lab.blindbox.set(Knob::OldAnswer);
    assert_eq!(refusal().await.code(), "false-attestation-report");
    lab.blindbox.reset();
    lab.blindbox.set(Knob::Measurement(Measurement::new([1; 48])));
    let wrong = Violation::WrongMeasurement {
        expected: vec![Guest::snp_guest().snp.measurement],
        actual: Measurement::new([1; 48]),
    };
    assert_eq!(refusal().await.violation(), Some(&wrong));
    lab.blindbox.reset();
    lab.blindbox.set(Knob::Debug);
    assert_eq!(refusal().await.violation(), Some(&Violation::DebugMode));
    lab.blindbox.reset();
    // The certificate of a VLEK comes from the agent only.
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    assert_eq!(refusal().await.code(), "missing-evidence");
}
