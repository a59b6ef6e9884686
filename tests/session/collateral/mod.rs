//! Hardware reports over the network: from the agent, with certificates from it or from AMD's service.

mod agent;
mod collected;
mod service;
mod thim;

use std::time::Duration;

use crate::lab::{Lab, hello, until};
use blindbox_attestation::emulator::amd::{self, AmdHierarchy};
use blindbox_attestation::emulator::{
    AgentForm, AgentLocation, BlindBox, Fault, Guest, HardwareKnob, Kds, KdsKnob, Knob, Maa, Platform, Relay,
};
use blindbox_attestation::snp::{CertificateError, CertificateRole, CrlError, ReportError};
use blindbox_attestation::uvm::EndorsementError;
use blindbox_attestation::{
    AttestationError, Channel, ChipId, Policy, Product, SigningKey, Trust, UvmRequirement, Verdict, Workload,
    verify_recorded,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn refused(lab: &Lab, policy: &Policy) -> AttestationError {
    let error = lab.verifier().connect(lab.blindbox.url(), policy).await.expect_err("a session");
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    error
}

#[tokio::test]
async fn a_report_is_verified_down_to_the_roots_with_and_without_maa() {
    for product in Product::ALL {
        let lab = Lab::on(&Platform::new(product)).await;
        for (policy, fetches) in [(lab.amd_policy(), 0), (lab.both_policy(), 1)] {
            let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
            assert_eq!(session.channel(), Channel::Bound);
            let attested = session.attestation();
            assert!(attested.claims().hardware.is_some());
            assert_eq!(attested.claims().maa.is_some(), fetches == 1);
            assert_eq!(attested.appraisal().check("anchors").unwrap().verdict, Verdict::Allowed);
            assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
            assert_eq!(lab.maa.key_set_fetches(), fetches);
        }
        // One request for one report, and the token of exactly this report.
        assert_eq!(lab.blindbox.traffic().count("/attest/combined"), 2);
        assert_eq!(lab.blindbox.traffic().count("/attest/maa"), 0);
        assert_eq!((lab.kds().vcek_fetches(), lab.kds().crl_fetches()), (0, 2));
    }
}

fn vcek_path(platform: &Platform) -> String {
    format!("/vcek/v1/{}/{}", platform.product(), hex::encode(platform.chip_id().unwrap().as_bytes()))
}

#[tokio::test]
async fn token_and_report_must_be_of_one_tee_and_one_question() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let mut other = Guest::container();
    lab.blindbox.platform().unwrap().place(&mut other);
    lab.blindbox.set(Knob::ReportOf(Box::new(other)));
    let error = refused(&lab, &lab.both_policy()).await;
    assert!(matches!(error, AttestationError::EvidenceMismatch { field: "report id", .. }), "{error:?}");
    lab.blindbox.reset();
    lab.blindbox.set(Knob::TokenOfAnotherReport);
    let error = refused(&lab, &lab.both_policy()).await;
    assert!(matches!(error, AttestationError::EvidenceMismatch { field: "report data", .. }), "{error:?}");
    lab.blindbox.reset();
    lab.blindbox.set(Knob::without_answer_member("token"));
    let error = refused(&lab, &lab.both_policy()).await;
    assert!(matches!(error, AttestationError::InvalidAgentAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_relay_gets_nothing_under_amds_word_either() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let relay = Relay::start(&lab.blindbox).await.unwrap();
    let error = lab.verifier().connect(relay.url(), &lab.amd_policy()).await.unwrap_err();
    let expected = AttestationError::ChannelMismatch { attested: lab.blindbox.tls_key(), connected: relay.tls_key() };
    assert_eq!(error, expected);
    assert_eq!(relay.traffic().application_bytes(), 0);
}

#[tokio::test]
async fn an_unbound_agent_gives_reports_too() {
    let platform = Platform::new(Product::Milan);
    let maa = Maa::start().await.unwrap();
    let blindbox =
        BlindBox::builder(&maa).platform(&platform).agent(AgentForm::Legacy).agent_place(AgentLocation::OwnPort);
    let blindbox = blindbox.start().await.unwrap();
    let lab = Lab { maa, blindbox, kds: Some(Kds::start().await.unwrap()) };
    let trust = Trust::maa_and_amd(lab.blindbox.maa_issuer().as_str()).unwrap();
    let trust = trust.require_maa_policy_hash(lab.blindbox.maa_policy_hash()).unwrap();
    let uvm = UvmRequirement::at_least(100).issued_by(lab.blindbox.uvm_issuer().unwrap());
    let workload = Workload::attests_any_data(lab.blindbox.host_data());
    let policy = Policy::confidential_container(trust, workload, uvm).unwrap().allow_unbound_channel().unwrap();
    let verifier = lab.builder().agent(lab.blindbox.agent_url()).build().unwrap();
    let session = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(session.channel(), Channel::UnboundTls);
    assert!(session.attestation().claims().hardware.is_some());
}
