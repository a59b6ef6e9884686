//! Errors of the category Rejected: genuine evidence that the policy does not accept.

use std::time::Duration;

use blindbox_attestation::emulator::{AgentForm, Knob, TokenFault};
use blindbox_attestation::{
    AttestationError, Binding, BitRequirement, Category, ChannelNotAllowed, ChannelNotBound, ChipId, GuestIdentity,
    GuestPolicyBit, HostData, KeyDigest, Measurement, Policy, Tcb, TcbMinima, TcbMinimum, Verdict, Violation,
};

use super::{refused, same};
use crate::lab::Lab;

#[tokio::test]
async fn genuine_evidence_that_the_policy_does_not_accept() {
    let lab = Lab::start().await;
    let check = |error: AttestationError, code: &str| {
        assert_eq!((error.code(), error.category()), (code, Category::Rejected), "{error:?}");
        let appraisal = error.appraisal().expect("every check is listed");
        assert!(appraisal.checks().iter().any(|check| check.verdict == Verdict::Failed));
        assert!(!error.is_retryable());
    };
    let other = Measurement::new([7; 48]);
    let digest = KeyDigest::new([7; 48]);

    let error = assert_rejected!(refused(&lab, Knob::Debug, same).await, Violation::DebugMode);
    check(error, "debug-mode");
    let error = assert_rejected!(refused(&lab, Knob::MigrationAllowed, same).await, Violation::MigrationAllowed);
    check(error, "migration-allowed");
    let error = refused(&lab, Knob::ComplianceStatus(None), same).await;
    check(assert_rejected!(error, Violation::NonCompliantUvm { status: None, .. }), "non-compliant-uvm");
    let error = refused(&lab, Knob::HostData(HostData::new([7; 32])), same).await;
    let error = assert_rejected!(error, Violation::InvalidEnclaveCode { expected, actual, .. }
        if *expected == [lab.blindbox.host_data()] && *actual == HostData::new([7; 32]));
    check(error, "invalid-enclave-code");
    let error =
        refused(&lab, Knob::Vmpl(0), |policy| policy.require_measurements([Measurement::new([7; 48])]).unwrap());
    check(
        assert_rejected!(error.await, Violation::WrongMeasurement { expected, .. } if *expected == [other]),
        "wrong-measurement",
    );
    let error = refused(&lab, Knob::UvmIssuer("did:x509:0:sha256:x::eku:1".into()), same).await;
    check(assert_rejected!(error, Violation::WrongUvm { field: "issuer", .. }), "wrong-uvm");
    let error = refused(&lab, Knob::UvmFeed("ConfAKS-AMD-UVM".into()), same).await;
    check(assert_rejected!(error, Violation::WrongUvm { field: "feed", .. }), "wrong-uvm");
    let error = refused(&lab, Knob::UvmSvn(99), same).await;
    check(assert_rejected!(error, Violation::UvmTooOld { minimum: 100, actual: 99, .. }), "uvm-too-old");
    let error =
        refused(&lab, Knob::claim("x-ms-policy-hash", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), same).await;
    check(assert_rejected!(error, Violation::WrongMaaPolicy { .. }), "wrong-maa-policy");
    let error = assert_rejected!(refused(&lab, Knob::Vmpl(1), same).await, Violation::WrongVmpl { actual: 1, .. });
    check(error, "wrong-vmpl");
    let error = refused(&lab, Knob::Vmpl(0), |policy| policy.require_id_keys([KeyDigest::new([7; 48])]).unwrap()).await;
    check(
        assert_rejected!(error, Violation::WrongGuestIdentity { expected, .. } if *expected == digest.to_string()),
        "wrong-guest-identity",
    );
    let error = refused(&lab, Knob::ReportedTcb(Tcb::new(None, 4, 0, 23, 219)), |policy| {
        let mut minimum = TcbMinimum::default();
        minimum.snp = Some(24);
        policy.require_reported_tcb(TcbMinima::any(minimum)).unwrap()
    });
    let error = assert_rejected!(
        error.await,
        Violation::TcbTooOld { tcb: "reported", part: "snp", minimum: 24, actual: Some(23), .. }
    );
    check(error, "tcb-too-old");
    let error =
        refused(&lab, Knob::ReportGuestSvn(2), |policy| policy.require_minimum_report_guest_svn(3).unwrap()).await;
    check(assert_rejected!(error, Violation::GuestSvnTooOld { minimum: 3, actual: 2, .. }), "guest-svn-too-old");
    let error = refused(&lab, Knob::claim("x-ms-sevsnpvm-smt-allowed", true), |policy| {
        policy.require_guest_policy(GuestPolicyBit::Smt, BitRequirement::Clear).unwrap()
    });
    check(
        assert_rejected!(error.await, Violation::WrongGuestPolicy { bit: Some(GuestPolicyBit::Smt), .. }),
        "wrong-guest-policy",
    );
    let error = refused(&lab, Knob::Vmpl(0), |policy| policy.require_chip_ids([ChipId::new([7; 64])]).unwrap()).await;
    check(assert_rejected!(error, Violation::WrongChip { field: "chip id", .. }), "wrong-chip");
    let error = refused(&lab, Knob::without_claim("x-ms-sevsnpvm-chipid"), |policy| {
        policy.require_chip_ids([ChipId::new([7; 64])]).unwrap()
    });
    check(assert_rejected!(error.await, Violation::NotReported { .. }), "not-reported");
    let error = refused(&lab, Knob::Token(TokenFault::IssuedAgo(30)), |policy| {
        policy.require_max_token_age(Duration::from_secs(10)).unwrap()
    });
    check(assert_rejected!(error.await, Violation::TokenTooOld { .. }), "token-too-old");

    lab.blindbox.reset();
    let policy = Policy::confidential_vm(lab.trust(), GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap();
    let policy = policy.require_compliance_status(["azure-compliant-uvm"]).unwrap();
    let error = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap_err();
    check(assert_rejected!(error, Violation::WrongTeeKind { .. }), "wrong-tee-kind");
}

#[tokio::test]
async fn several_violations_are_all_listed_and_the_gravest_is_the_error() {
    let lab = Lab::start().await;
    lab.blindbox.set(Knob::UvmSvn(3));
    lab.blindbox.set(Knob::Debug);
    let error = assert_rejected!(lab.refusal().await, Violation::DebugMode);
    let failed = error.appraisal().unwrap().checks().iter().filter(|check| check.verdict == Verdict::Failed);
    assert_eq!(failed.count(), 2);
}

#[tokio::test]
async fn a_workload_that_does_not_bind() {
    let lab = Lab::with(|blindbox| blindbox.agent(AgentForm::Legacy)).await;
    let error = lab.verifier().connect(lab.blindbox.url(), &lab.unbound_policy()).await.unwrap_err();
    assert_eq!(error, AttestationError::ChannelNotAllowed { reason: ChannelNotAllowed::WorkloadDoesNotBind });
    assert_eq!(lab.blindbox.traffic().connections().len(), 0);
    assert_eq!(lab.refusal().await, AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData });
}
