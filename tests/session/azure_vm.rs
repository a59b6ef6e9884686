//! A confidential VM of Azure, judged by the quote of its virtual TPM.

use crate::lab::{Lab, hello, noticed};
use blindbox_attestation::azure_vm::{AkCertificateError, HclReportError, QuoteError};
use blindbox_attestation::emulator::azure_vm::{AzureVmKnob, QuoteBuilder};
use blindbox_attestation::emulator::{AgentForm, Guest, HardwareKnob, Knob, Platform, Relay, RelayMode};
use blindbox_attestation::{
    AttestationError, Binding, BitRequirement, Channel, ChannelNotBound, GuestIdentity, Policy, Product, Trust,
    Verdict, Violation, VmConfigurationBit, VmId,
};

async fn lab() -> Lab {
    Lab::azure_vm(&Platform::new(Product::Milan), Guest::confidential_vm()).await
}

/// AMD's word alone.
fn policy(lab: &Lab, binding: Binding) -> Policy {
    under(lab, Trust::amd(), binding)
}

/// MAA's word and AMD's.
fn both(lab: &Lab) -> Policy {
    let trust = Trust::maa_and_amd(lab.blindbox.maa_issuer().as_str()).unwrap();
    under(lab, trust.require_maa_policy_hash(lab.blindbox.maa_policy_hash()).unwrap(), Binding::OwnKey)
}

fn under(lab: &Lab, trust: Trust, binding: Binding) -> Policy {
    let guest = GuestIdentity::by_id_key([lab.blindbox.guest().snp.id_key_digest]);
    Policy::confidential_vm(trust, guest, binding).unwrap()
}

/// The error of a connection that must fail without a byte for the application.
async fn refusal(lab: &Lab, policy: &Policy, knob: Knob) -> AttestationError {
    lab.blindbox.reset();
    lab.blindbox.set(knob);
    let error = lab.verifier().connect(lab.blindbox.url(), policy).await.expect_err("a session");
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    error
}

#[tokio::test]
async fn it_is_attested_under_each_trust_and_binding() {
    let lab = lab().await;
    for (policy, channel, maa) in [
        (policy(&lab, Binding::OwnKey), Channel::Bound, 0),
        (policy(&lab, Binding::OwnConnection), Channel::BoundConnection, 0),
        (both(&lab), Channel::Bound, 1),
    ] {
        let vm_id = lab.blindbox.virtual_tpm().unwrap().vm_id();
        let policy = policy.require_vm_ids([vm_id]).unwrap();
        let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
        assert_eq!((session.channel(), lab.maa.key_set_fetches()), (channel, maa));
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        let attestation = session.attestation();
        let vm = attestation.claims().azure_vm.clone().unwrap();
        assert_eq!(vm.runtime_claims.vm_configuration.vm_id, vm_id);
        let appraisal = attestation.appraisal().clone();
        for name in ["tpm quote", "report of this boot", "paravisor", "vm id"] {
            assert_eq!(appraisal.check(name).unwrap().verdict, Verdict::Passed, "{name}");
        }
        // The emulator's roots, which are the caller's own.
        for name in ["ak certificate", "hardware report"] {
            let check = appraisal.check(name).unwrap();
            assert!(check.verdict == Verdict::Allowed && check.actual.contains("CALLER'S OWN"), "{check:?}");
        }
        let anchors = &appraisal.check("anchors").unwrap().actual;
        assert!(anchors.contains("root of virtual tpms"), "{anchors}");
    }
    // One request for all of it.
    let traffic = lab.blindbox.traffic();
    assert_eq!((traffic.count("/attest/azure-vm"), traffic.count("/attest/maa")), (3, 0));
    let asked = traffic.requests().into_iter().filter(|request| request.path == "/attest/azure-vm");
    let members: Vec<Vec<String>> =
        asked.map(|request| request.json().unwrap().as_object().unwrap().keys().cloned().collect()).collect();
    assert_eq!(members, [vec!["nonce"], vec!["nonce", "protocol"], vec!["maa_endpoint", "nonce"]]);
}

/// A token with the claims at top level is about the same report, whose quote covers the runtime data.
#[tokio::test]
async fn a_direct_token_goes_with_the_quote() {
    let lab = Lab::azure_vm(&Platform::new(Product::Milan), Guest::confidential_vm_direct()).await;
    let policy = both(&lab).allow_direct_vm_token().unwrap();
    let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(session.channel(), Channel::Bound);
    lab.blindbox.set(Knob::AzureVm(AzureVmKnob::ExtraData(vec![7; 32])));
    let error = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::FalseAttestationReport { what: "quote extra data", .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_not_genuine_is_refused_with_its_own_error() {
    let lab = lab().await;
    let policy = policy(&lab, Binding::OwnKey);
    let vm = |knob| refusal(&lab, &policy, Knob::AzureVm(knob));
    let quote = AttestationError::InvalidTpmQuote;
    let certificate = AttestationError::InvalidAkCertificate;

    assert_eq!(vm(AzureVmKnob::HclReportOfAnotherVm).await, quote(QuoteError::WrongSignature));
    let error = vm(AzureVmKnob::RuntimeClaimsOfAnotherVm).await;
    assert!(matches!(error, AttestationError::InvalidHclReport(HclReportError::WrongReportData { .. })), "{error:?}");
    assert_eq!(vm(AzureVmKnob::QuoteOfAnotherVm).await, quote(QuoteError::WrongSignature));
    assert_eq!(vm(AzureVmKnob::SignatureBitFlipped(9)).await, quote(QuoteError::WrongSignature));
    let another_type = HclReportError::WrongField { field: "report type", expected: vec![2, 4], actual: 1 };
    let error = vm(AzureVmKnob::HclReportBytes(0x4c8, vec![1, 0, 0, 0])).await;
    assert_eq!(error, AttestationError::InvalidHclReport(another_type));
    let error = vm(AzureVmKnob::HclReportBytes(0x4c8, vec![4, 0, 0, 0])).await;
    let not_tdx = HclReportError::WrongField { field: "type of the td report", expected: vec![0x81], actual: 3 };
    assert_eq!(error, AttestationError::InvalidHclReport(not_tdx));
    let count = QuoteError::WrongPcrCount { expected: 24, actual: 1 };
    assert_eq!(vm(AzureVmKnob::PcrValues(vec![blindbox_attestation::Sha256Digest::new([0; 32])])).await, quote(count));

    for knob in [Knob::OldToken, Knob::AzureVm(AzureVmKnob::ExtraData(vec![7; 32]))] {
        let error = refusal(&lab, &policy, knob).await;
        assert!(
            matches!(error, AttestationError::FalseAttestationReport { what: "quote extra data", .. }),
            "{error:?}"
        );
    }

    assert_eq!(vm(AzureVmKnob::AkCertificateOfAnotherVm).await, certificate(AkCertificateError::AnotherKey));
    let error = vm(AzureVmKnob::AkCertificateOfTrustedLaunch).await;
    let subject = "01d451636602.TrustedVM.Azure.windows.net".to_owned();
    assert_eq!(error, certificate(AkCertificateError::NotAConfidentialVm { subject }));
    for (knob, code) in [
        (AzureVmKnob::AkCertificateExpired, "invalid-ak-certificate"),
        (AzureVmKnob::ForgedAkCertificate, "invalid-ak-certificate"),
        (AzureVmKnob::NoAkAuthority, "invalid-ak-certificate"),
    ] {
        assert_eq!(vm(knob).await.code(), code);
    }
    // The hardware's own knobs act on the report in the blob.
    let error = refusal(&lab, &policy, Knob::Hardware(HardwareKnob::ReportBitFlipped(0x90 * 8))).await;
    assert_eq!(error.code(), "invalid-report");
    let error = refusal(&lab, &policy, Knob::Hardware(HardwareKnob::ForgedHierarchy)).await;
    assert_eq!(error.code(), "invalid-report");
}

/// The certificate of the chip is the one that the report in the blob names: from the agent, or from AMD's service.
#[tokio::test]
async fn the_certificate_of_the_chip_comes_from_amd_where_the_agent_has_none() {
    let lab = lab().await;
    for (knob, fetched) in [(None, 0), (Some(HardwareKnob::NoCertificates), 1)] {
        knob.into_iter().for_each(|knob| lab.blindbox.set(Knob::Hardware(knob)));
        let session = lab.verifier().connect(lab.blindbox.url(), &policy(&lab, Binding::OwnKey)).await.unwrap();
        assert_eq!(session.channel(), Channel::Bound);
        assert_eq!(lab.kds().vcek_fetches(), fetched);
    }
}

#[tokio::test]
async fn what_the_policy_does_not_accept_is_a_violation() {
    let lab = lab().await;
    let policy = policy(&lab, Binding::OwnKey);
    let violation = async |knob| refusal(&lab, &policy, knob).await.violation().cloned().unwrap();

    // A report of an earlier boot goes with a fresh quote of the same key.
    let earlier = [AzureVmKnob::EarlierBoot, AzureVmKnob::UserData(None), AzureVmKnob::UserData(Some([0; 64]))];
    for knob in earlier.clone() {
        let found = violation(Knob::AzureVm(knob)).await;
        assert!(matches!(found, Violation::KeyNotInReport { .. }), "{found:?}");
    }
    // A policy can accept it, and the result says so.
    let relaxed = policy.clone().allow_report_of_earlier_boot().unwrap();
    for knob in earlier {
        lab.blindbox.reset();
        lab.blindbox.set(Knob::AzureVm(knob));
        let session = lab.verifier().connect(lab.blindbox.url(), &relaxed).await.unwrap();
        let check = session.attestation().appraisal().check("report of this boot").cloned().unwrap();
        assert_eq!(check.verdict, Verdict::Allowed);
    }
    // As it can a VM without a certificate: that it stands in Azure is not shown then.
    lab.blindbox.reset();
    lab.blindbox.set(Knob::AzureVm(AzureVmKnob::NoAkCertificate));
    let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let check = session.attestation().appraisal().check("ak certificate").cloned().unwrap();
    assert!(matches!(check.verdict, Verdict::NotEvaluated(_)), "{check:?}");
    drop(session);
    lab.blindbox.drop_connections().await;
    noticed().await;

    let old = Violation::GuestSvnTooOld { minimum: 10, actual: 7 };
    let refused = async |knob| {
        lab.blindbox.reset();
        lab.blindbox.set(knob);
        lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap_err()
    };
    assert_eq!(refused(Knob::ReportGuestSvn(7)).await.violation(), Some(&old));
    assert_eq!(refused(Knob::Debug).await.violation(), Some(&Violation::DebugMode));
    let vmpl = HclReportError::NotOfParavisor { vmpl: 2 };
    assert_eq!(refused(Knob::Vmpl(2)).await, AttestationError::InvalidHclReport(vmpl));
    let elsewhere = policy.clone().require_vm_ids([VmId::new([7; 16])]).unwrap();
    lab.blindbox.reset();
    let error = lab.verifier().connect(lab.blindbox.url(), &elsewhere).await.unwrap_err();
    let wrong = error.violation().unwrap();
    assert!(matches!(wrong, Violation::WrongGuestIdentity { field: "vm id", .. }), "{wrong:?}");
}

/// Token, report, claims and quote are about one VM.
#[tokio::test]
async fn a_token_of_another_vm_is_refused() {
    let lab = lab().await;
    let policy = both(&lab);
    let mut another = lab.blindbox.guest();
    another.snp.report_id = Guest::confidential_vm().snp.report_id;
    let error = refusal(&lab, &policy, Knob::ReportOf(Box::new(another))).await;
    assert!(matches!(error, AttestationError::EvidenceMismatch { field: "report id", .. }), "{error:?}");

    let id = "11111111-2222-3333-4444-555555555555";
    lab.blindbox.reset();
    lab.blindbox.set(Knob::claim("x-ms-azurevm-vmid", id));
    let error = refusal_after(&lab, &policy, "x-ms-isolation-tee/x-ms-runtime/vm-configuration/vmUniqueId", id).await;
    assert!(matches!(error, AttestationError::EvidenceMismatch { field: "vm id", .. }), "{error:?}");
    // Nor one of another boot: the report says that Secure Boot was on, and the log of the firmware that it is off.
    lab.blindbox.reset();
    let error = refusal(&lab, &both(&lab), Knob::claim("secureboot", false)).await;
    let expected = AttestationError::EvidenceMismatch {
        field: "secure boot",
        left_source: "token",
        left: "clear".to_owned(),
        right_source: "runtime claims",
        right: "set".to_owned(),
    };
    assert_eq!(error, expected);

    // Nor one that says nothing of it, where the policy requires Secure Boot: the log would be that of this boot.
    let issuer = lab.blindbox.maa_issuer();
    for trust in [Trust::maa(issuer.as_str()), Trust::maa_and_amd(issuer.as_str())] {
        let trust = trust.unwrap();
        let policy =
            under(&lab, trust.require_maa_policy_hash(lab.blindbox.maa_policy_hash()).unwrap(), Binding::OwnKey);
        let policy = policy.require_vm_configuration(VmConfigurationBit::SecureBoot, BitRequirement::Set).unwrap();
        lab.blindbox.reset();
        let _ = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
        let error = refusal(&lab, &policy, Knob::without_claim("secureboot")).await;
        let violations: Vec<_> = error.violations().collect();
        assert_eq!(violations, [&Violation::NotReported { claim: "secure boot" }]);
    }

    let error = refusal(&lab, &policy, Knob::TokenOfAnotherReport).await;
    let what = "x-ms-runtime.client-payload.nonce";
    assert!(
        matches!(&error, AttestationError::FalseAttestationReport { what: found, .. } if *found == what),
        "{error:?}"
    );
}

async fn refusal_after(lab: &Lab, policy: &Policy, claim: &str, value: &str) -> AttestationError {
    lab.blindbox.set(Knob::claim(claim, value));
    let error = lab.verifier().connect(lab.blindbox.url(), policy).await.expect_err("a session");
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    error
}

#[tokio::test]
async fn a_response_without_a_part_or_with_another_is_refused() {
    let lab = lab().await;
    let policy = policy(&lab, Binding::OwnKey);
    for name in ["hcl_report", "tpm_quote", "tpm_signature", "pcrs"] {
        let error = refusal(&lab, &policy, Knob::without_answer_member(name)).await;
        let reason = format!("expected a member {name:?}, found none");
        assert_eq!(error, AttestationError::InvalidAgentAnswer { reason });
    }
    let error = refusal(&lab, &policy, Knob::without_answer_member("runtime_data")).await;
    assert_eq!(error, AttestationError::ChannelNotBound { reason: ChannelNotBound::NoRuntimeData });
    for (name, value, reason) in [
        ("pcrs", serde_json::json!(["00"]), r#"expected as "pcrs" strings of 64 lower-case hexadecimal digits"#),
        ("pcrs", serde_json::json!(vec!["00"; 25]), r#"expected at most 24 values as "pcrs", found 25"#),
        ("tpm_quote", serde_json::json!("!"), r#"expected base64 as "tpm_quote""#),
    ] {
        let error = refusal(&lab, &policy, Knob::answer_member(name, value)).await;
        assert_eq!(error, AttestationError::InvalidAgentAnswer { reason: reason.to_owned() });
    }
    let error = refusal(&lab, &policy, Knob::answer_member("ak_chain", "AAAA")).await;
    assert_eq!(error.code(), "invalid-agent-answer");
}

#[tokio::test]
async fn a_relay_gets_nothing() {
    let lab = lab().await;
    for (mode, policy) in [
        (RelayMode::Forward, policy(&lab, Binding::OwnKey)),
        (RelayMode::Forward, both(&lab)),
        (RelayMode::Replay, policy(&lab, Binding::OwnKey)),
        (RelayMode::LegacyForm, policy(&lab, Binding::OwnKey)),
        (RelayMode::AttestOwnKey, policy(&lab, Binding::OwnKey)),
    ] {
        let relay = Relay::builder().mode(mode).start(&lab.blindbox).await.unwrap();
        let error = lab.verifier().connect(relay.url(), &policy).await.unwrap_err();
        let (attested, connected) = (lab.blindbox.tls_key(), relay.tls_key());
        match mode {
            RelayMode::Forward => assert_eq!(error, AttestationError::ChannelMismatch { attested, connected }),
            RelayMode::Replay => assert_eq!(error.code(), "false-attestation-report"),
            RelayMode::LegacyForm => assert_eq!(error.code(), "channel-not-bound"),
            _ => assert!(matches!(error.code(), "maa-token-not-found" | "channel-not-bound"), "{error:?}"),
        }
        assert_eq!((relay.traffic().application_requests(), relay.traffic().application_bytes()), (0, 0));
    }
    // One that has the key of the VM, where the evidence names the connection.
    let policy = policy(&lab, Binding::OwnConnection);
    let relay = Relay::builder().stolen_key(lab.blindbox.steal_tls_key()).start(&lab.blindbox).await.unwrap();
    let error = lab.verifier().connect(relay.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::ConnectionMismatch { .. }), "{error:?}");
    assert_eq!((relay.traffic().application_requests(), relay.traffic().application_bytes()), (0, 0));
}

/// PCR 4 and 7 of the emulated image, and the PCRs of the system.
fn image(lab: &Lab) -> Policy {
    let value = QuoteBuilder::default_pcr;
    let guest = GuestIdentity::allow_any_azure_cvm()
        .pcr(4, [value(9), value(4)])
        .pcr(7, [value(7)])
        .pcr(11, [value(11)])
        .pcr(12, [value(12)]);
    let policy = Policy::confidential_vm(Trust::amd(), guest, Binding::OwnKey).unwrap();
    let policy = policy.require_vm_configuration(VmConfigurationBit::SecureBoot, BitRequirement::Set).unwrap();
    let policy = policy.require_vm_ids([lab.blindbox.virtual_tpm().unwrap().vm_id()]).unwrap();
    policy.require_ak_certificate().unwrap()
}

#[tokio::test]
async fn the_image_is_proven_by_its_pcrs() {
    let lab = lab().await;
    let policy = image(&lab);
    let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
    let appraisal = session.attestation().appraisal().clone();
    for (name, actual) in [
        ("workload", "boot chain up to the initial file system, by PCR 4, 7, 11, 12"),
        ("pcr 4", &QuoteBuilder::default_pcr(4).to_string()),
        ("pcr 7", &QuoteBuilder::default_pcr(7).to_string()),
        ("secure boot", "set"),
        ("vm id in pcr 6", "that of the runtime claims"),
    ] {
        let check = appraisal.check(name).unwrap();
        assert_eq!((check.verdict, &*check.actual), (Verdict::Passed, actual), "{name}");
    }
}

/// PCR 4 is the boot loader: nothing is said of the system unless the policy requires what the boot loader was given.
#[tokio::test]
async fn a_boot_loader_alone_does_not_prove_the_system() {
    let lab = lab().await;
    let workload = async |pcrs: &[u8]| {
        let guest = pcrs.iter().fold(GuestIdentity::allow_any_azure_cvm(), |guest, index| {
            guest.pcr(*index, [QuoteBuilder::default_pcr(*index)])
        });
        let policy = Policy::confidential_vm(Trust::amd(), guest, Binding::OwnKey).unwrap();
        let session = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap();
        let check = session.attestation().appraisal().check("workload").unwrap().clone();
        (check.verdict, check.actual.to_string())
    };
    for (pcrs, missing) in [
        (&[][..], "the evidence does not show which operating system or application runs"),
        (&[7], "requires no value of PCR 4, the boot loader"),
        (&[8, 9, 11, 12], "requires no value of PCR 4, the boot loader"),
        (&[4], "in PCR 8, 9 and 12 (GRUB), 9 and 12 (a kernel with its stub) or 11 and 12 (a unified kernel image)"),
        (
            &[4, 7, 12],
            "in PCR 8, 9 and 12 (GRUB), 9 and 12 (a kernel with its stub) or 11 and 12 (a unified kernel image)",
        ),
        (&[4, 11], "PCR 12 is not required"),
        (&[4, 8], "PCR 9 is not required"),
        (&[4, 8, 12], "PCR 9 is not required"),
        (&[4, 9], "PCR 12, and 8 with GRUB, beside 4 and 9"),
        (&[4, 8, 9], "when GRUB (PCR 4, 8 and 9) starts it"),
        (&[4, 8, 9, 11, 13], "when GRUB (PCR 4, 8 and 9) starts it"),
    ] {
        let (verdict, actual) = workload(pcrs).await;
        let Verdict::NotEvaluated(reason) = verdict else { panic!("{pcrs:?}: {verdict:?}") };
        assert!(reason.starts_with("Azure CVM: ") && reason.contains(missing), "{pcrs:?}: {reason}");
        assert!(actual.starts_with("host data "), "{actual}");
    }
    let proven = [(&[4, 8, 9, 12][..], "4, 8, 9, 12"), (&[4, 9, 12], "4, 9, 12"), (&[4, 11, 12], "4, 11, 12")];
    for (pcrs, named) in proven {
        let system = format!("boot chain up to the initial file system, by PCR {named}");
        assert_eq!(workload(pcrs).await, (Verdict::Passed, system), "{pcrs:?}");
    }
}

#[tokio::test]
async fn another_image_or_setting_is_refused() {
    let lab = lab().await;
    let policy = image(&lab);
    let value = QuoteBuilder::default_pcr;
    let violations = async |knob| {
        let error = refusal(&lab, &policy, Knob::AzureVm(knob)).await;
        error.violations().cloned().collect::<Vec<_>>()
    };
    let wrong = Violation::WrongPcr { index: 4, expected: vec![value(9), value(4)], actual: value(0) };
    assert_eq!(violations(AzureVmKnob::Pcr(4, value(0))).await, [wrong]);
    // PCR 16, which every guest can reset, has the value of PCR 4: it is not taken for it.
    let shown = violations(AzureVmKnob::SelectedPcrs(vec![0, 1, 2, 3, 16, 17, 18, 23])).await;
    assert_eq!(shown, [4, 7, 11, 12].map(|index| Violation::PcrNotQuoted { index }));
    let shown = violations(AzureVmKnob::SelectedPcrs(vec![4, 7, 12])).await;
    assert_eq!(shown, [Violation::PcrNotQuoted { index: 11 }]);
    let off = Violation::WrongVmConfiguration { setting: VmConfigurationBit::SecureBoot, must: BitRequirement::Set };
    assert_eq!(violations(AzureVmKnob::SecureBoot(false)).await, [off]);
    let uncertified = Violation::NotReported { claim: "ak certificate" };
    assert_eq!(violations(AzureVmKnob::NoAkCertificate).await, [uncertified]);
    // The appraisal of a refused image does not say that it was proven.
    let error = refusal(&lab, &policy, Knob::AzureVm(AzureVmKnob::Pcr(11, value(0)))).await;
    let check = error.appraisal().unwrap().check("workload").unwrap();
    assert!(matches!(check.verdict, Verdict::NotEvaluated(_)), "{check:?}");

    // What a paravisor of before 2026 does not state is not assumed.
    let strict = policy.clone().require_vm_configuration(VmConfigurationBit::InteractiveConsole, BitRequirement::Clear);
    let strict = strict.unwrap();
    lab.blindbox.reset();
    let error = lab.verifier().connect(lab.blindbox.url(), &strict).await.unwrap_err();
    assert_eq!(error.violation(), Some(&Violation::NotReported { claim: "interactive console" }));
    let stated = r#","interactive-console-enabled":false"#.to_owned();
    lab.blindbox.set(Knob::AzureVm(AzureVmKnob::FurtherConfiguration(stated)));
    let session = lab.verifier().connect(lab.blindbox.url(), &strict).await.unwrap();
    assert_eq!(session.channel(), Channel::Bound);
    // Another value of PCR 6 is shown, and is no failure: the guest can extend it.
    lab.blindbox.set(Knob::AzureVm(AzureVmKnob::Pcr(6, value(0))));
    let session = lab.verifier().connect(lab.blindbox.url(), &strict).await.unwrap();
    let check = session.attestation().appraisal().check("vm id in pcr 6").cloned().unwrap();
    assert!(matches!(check.verdict, Verdict::NotEvaluated(_)), "{check:?}");
}

/// There is no unbound form of the request, so that nothing can be downgraded to it.
#[tokio::test]
async fn an_agent_of_the_legacy_form_does_not_have_it() {
    let lab = Lab::azure_vm(&Platform::new(Product::Milan), Guest::confidential_vm()).await;
    let kds = lab.kds;
    let legacy = Lab::with(|blindbox| {
        blindbox.guest(Guest::confidential_vm()).platform(&Platform::new(Product::Milan)).agent(AgentForm::Legacy)
    })
    .await;
    let lab = Lab { kds, ..legacy };
    let policy = policy(&lab, Binding::OwnKey);
    let error = lab.verifier().connect(lab.blindbox.url(), &policy).await.unwrap_err();
    assert!(matches!(error, AttestationError::MaaTokenNotFound { issuer: None, status: 404, .. }), "{error:?}");
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}
