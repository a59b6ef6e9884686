//! Hardware reports over the network: from the agent, with certificates from it or from AMD's service.

use std::time::Duration;

use crate::lab::{Lab, hello, until};
use blindbox_attestation::emulator::amd::{self, AmdHierarchy};
use blindbox_attestation::emulator::{
    AgentForm, AgentLocation, BlindBox, Fault, Guest, HardwareKnob, Kds, KdsKnob, Knob, Maa, Platform, Relay,
};
use blindbox_attestation::snp::{CertificateError, CertificateRole, CrlError, ReportError};
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

#[tokio::test]
async fn what_the_agent_does_not_send_comes_from_amds_service_once() {
    for product in Product::ALL {
        let lab = Lab::on(&Platform::new(product)).await;
        lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
        let (verifier, policy) = (lab.verifier(), lab.amd_policy());
        for _ in 0..2 {
            let _ = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
        }
        assert_eq!((lab.kds().vcek_fetches(), lab.kds().crl_fetches()), (1, 1));
        // A list is looked at again after an hour.
        lab.blindbox.clock().advance(3600);
        let _ = verifier.connect(lab.blindbox.url(), &policy).await.unwrap();
        assert_eq!((lab.kds().vcek_fetches(), lab.kds().crl_fetches()), (1, 2));
    }
    // A report of version 2 does not say its family: the likeliest is tried first.
    let lab = Lab::on(&Platform::builder(Product::Genoa).report_version(2).build()).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    // Nor whether the processor has the fix of EntrySign, which a policy has to waive.
    let waived = lab.hardware_policy(Trust::amd().allow_tcb_below("AMD-SB-3019").unwrap());
    let _ = lab.verifier().connect(lab.blindbox.url(), &waived).await.unwrap();
    assert_eq!(lab.kds().vcek_fetches(), 2);
}

#[tokio::test]
async fn the_list_is_fetched_while_the_certificate_is() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let session = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    let chip = session.attestation().claims().tee.snp().unwrap().chip_id.unwrap();
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    lab.kds().fail(&format!("/vcek/v1/Milan/{}", hex::encode(chip.as_bytes())), Fault::Hang);
    let (verifier, url, policy) = (lab.verifier(), lab.blindbox.url(), lab.amd_policy());
    let connecting = tokio::spawn(async move { verifier.connect(url, &policy).await.map(drop) });
    until("both are fetched", || (lab.kds().vcek_fetches(), lab.kds().crl_fetches()) == (1, 2)).await;
    assert!(!connecting.is_finished());
    connecting.abort();
}

#[tokio::test]
async fn a_mirror_needs_no_trust() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let mirror = Kds::builder().plain_http().start().await.unwrap();
    let verifier = || lab.builder().kds(mirror.url()).build().unwrap();
    let _ = verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    assert_eq!(lab.kds().traffic().requests(), []);

    // A certificate that is not the one of the report's key is as good as none.
    for (knob, says) in [
        (KdsKnob::ForgedVcek, "it sent a certificate that does not verify"),
        (KdsKnob::VcekOfAnotherChip, "it sent the certificate of another chip, TCB or product"),
    ] {
        let mirror = Kds::builder().plain_http().knob(knob).start().await.unwrap();
        let verifier = lab.builder().kds(mirror.url()).build().unwrap();
        let error = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap_err();
        let AttestationError::KdsUnreachable { reason, .. } = error else { panic!("{error:?}") };
        assert!(reason.starts_with(&format!("{}: {says}", mirror.url())), "{reason}");
        assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    }
    for knob in [KdsKnob::ForgedCrl, KdsKnob::CrlOf(Product::Genoa), KdsKnob::IssuerRevoked, KdsKnob::RootRevoked] {
        let mirror = Kds::builder().plain_http().knob(knob.clone()).start().await.unwrap();
        let verifier = lab.builder().kds(mirror.url()).build().unwrap();
        let error = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap_err();
        assert!(matches!(error, AttestationError::InvalidReport(_)), "{knob:?}: {error:?}");
        assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
    }
    // An old CRL is no attack, and of no use either.
    let mirror = Kds::builder().plain_http().knob(KdsKnob::ExpiredCrl).start().await.unwrap();
    let verifier = lab.builder().kds(mirror.url()).build().unwrap();
    let error = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap_err();
    let AttestationError::RevocationUnavailable { reason: CrlError::Stale { .. } } = error else { panic!("{error:?}") };
    assert_eq!(lab.blindbox.traffic().application_bytes(), 0);
}

/// What `fetch` saves is what a session would have used.
async fn assert_collected_verifies(lab: &Lab) {
    let policy = lab.amd_policy();
    let collected = lab.verifier().collect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(collected.missing, []);
    let (endorsements, now) = (collected.endorsements().unwrap(), lab.blindbox.clock().now());
    let outcome = verify_recorded(&collected.evidence, &endorsements, &policy, now);
    assert!(outcome.is_ok(), "{outcome:?}");
}

fn vcek_path(platform: &Platform) -> String {
    format!("/vcek/v1/{}/{}", platform.product(), hex::encode(platform.chip_id().unwrap().as_bytes()))
}

/// A hint, not a verdict: what cannot be used is skipped, and AMD's service asked.
#[tokio::test]
async fn certificates_of_the_agent_that_do_not_fit_are_skipped() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    let mut other_tcb = platform.tcb();
    other_tcb.microcode -= 1;
    let (tcb, chip, forged) = (
        "expected a certificate for the reported TCB",
        "expected a VCEK of the chip that made the report",
        "its signature does not verify under",
    );
    for (knob, says) in [
        (HardwareKnob::CertificateTcb(other_tcb), tcb),
        (HardwareKnob::CertificateOfAnotherChip, chip),
        (HardwareKnob::CertificateOfOtherKind, "but the certificate is of a VLEK"),
        (HardwareKnob::Certificates("x".to_owned()), "expected certificates as PEM in \"endorsements\""),
        (HardwareKnob::Certificates(amd::pem(AmdHierarchy::impostor(Product::Milan).vcek().issue().der())), forged),
    ] {
        lab.blindbox.reset();
        lab.blindbox.set(Knob::Hardware(knob.clone()));
        let before = lab.kds().vcek_fetches();
        let verifier = lab.verifier();
        for _ in 0..2 {
            let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
        }
        assert_eq!(lab.kds().vcek_fetches(), before + 1, "{knob:?}");
        assert_collected_verifies(&lab).await;
        // If no source has it, the error names what each gave.
        lab.kds().fail(&vcek_path(&platform), Fault::status(404));
        let AttestationError::KdsUnreachable { reason, .. } = refused(&lab, &lab.amd_policy()).await else {
            panic!("{knob:?}")
        };
        let kds = lab.kds().url();
        let begins =
            format!("{kds}: it has no certificate for this chip and TCB (status 404); the agent's certificates: ");
        assert!(reason.starts_with(&begins) && reason.contains(says), "{knob:?}: {reason}");
        lab.kds().recover();
    }
}

/// The issuers are compiled in: what is wrong with a chain that was sent is no reason to refuse, nor to ask elsewhere.
#[tokio::test]
async fn a_chain_that_is_not_needed_does_no_harm() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    let vcek = platform.certificates_pem();
    let blocks: Vec<_> = vcek.split_inclusive("-----END CERTIFICATE-----\n").collect();
    let [vek, issuer, root] = blocks[..] else { panic!("{} certificates", blocks.len()) };
    let certificates = |parts: &[&str]| HardwareKnob::Certificates(parts.concat());
    for knob in [
        HardwareKnob::ForgedChain,
        HardwareKnob::ChainOf(Product::Genoa),
        HardwareKnob::GarbageChain,
        certificates(&[vek, root, issuer]),
        certificates(&[root, issuer, vek]),
        certificates(&[issuer, vek]),
        certificates(&["Bag Attributes\n    friendlyName: vcek\n", vek, issuer, root]),
    ] {
        lab.blindbox.reset();
        lab.blindbox.set(Knob::Hardware(knob.clone()));
        let outcome = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await;
        assert!(outcome.is_ok(), "{knob:?}: {outcome:?}");
        assert_collected_verifies(&lab).await;
    }
    assert_eq!(lab.kds().vcek_fetches(), 0);
}

#[tokio::test]
async fn a_report_that_no_certificate_verifies_is_refused() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    for knob in [HardwareKnob::ForgedHierarchy, HardwareKnob::ReportBitFlipped(0x90 * 8), HardwareKnob::Unsigned] {
        lab.blindbox.reset();
        lab.blindbox.set(Knob::Hardware(knob.clone()));
        let error = refused(&lab, &lab.amd_policy()).await;
        assert!(matches!(error, AttestationError::InvalidReport(_)), "{knob:?}: {error:?}");
    }
    lab.blindbox.reset();
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoChain));
    let _ = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    lab.blindbox.set(Knob::Hardware(HardwareKnob::MaskedChipId));
    assert_eq!(refused(&lab, &lab.amd_policy()).await, AttestationError::InvalidReport(ReportError::ChipIdMasked));
    lab.blindbox.reset();
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoEndorsement));
    let missing = AttestationError::MissingEvidence { what: "the endorsement of the utility VM" };
    assert_eq!(refused(&lab, &lab.amd_policy()).await, missing);
    lab.blindbox.reset();
    for knob in [HardwareKnob::ForgedEndorsement, HardwareKnob::EndorsedByAnother] {
        lab.blindbox.set(Knob::Hardware(knob.clone()));
        let error = refused(&lab, &lab.amd_policy()).await;
        assert!(matches!(error, AttestationError::InvalidUvmEndorsement(_)), "{knob:?}: {error:?}");
        lab.blindbox.reset();
    }
}

#[tokio::test]
async fn a_vlek_comes_along_or_not_at_all() {
    let lab = Lab::on(&Platform::builder(Product::Milan).vlek().build()).await;
    let _ = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    assert_eq!(lab.kds().count("/vlek/v1/Milan/crl"), 1);
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let missing = AttestationError::MissingEvidence { what: "the certificate of the key that signed the report" };
    assert_eq!(refused(&lab, &lab.amd_policy()).await, missing);
    // No other source can have it: what is wrong with the one that came is the error.
    lab.blindbox.reset();
    let forged = amd::pem(AmdHierarchy::impostor(Product::Milan).vlek().issue().der());
    lab.blindbox.set(Knob::Hardware(HardwareKnob::Certificates(forged)));
    let cause = CertificateError::WrongSignature;
    let expected = ReportError::Certificate { role: CertificateRole::Vek, cause };
    assert_eq!(refused(&lab, &lab.amd_policy()).await, AttestationError::InvalidReport(expected));
    lab.blindbox.set(Knob::Hardware(HardwareKnob::Certificates("x".to_owned())));
    let error = refused(&lab, &lab.amd_policy()).await;
    assert!(matches!(error, AttestationError::InvalidAgentAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_service_that_is_down_is_a_refusal_only_where_its_word_is_required() {
    let lab = Lab::on(&Platform::new(Product::Milan)).await;
    let best_effort = lab.hardware_policy(Trust::amd().allow_best_effort_revocation().unwrap());
    let off = lab.hardware_policy(Trust::amd().allow_no_revocation_check().unwrap());
    for fault in
        [Fault::status(500), Fault::too_many_requests(3600), Fault::CloseEarly, Fault::status(404), Fault::Gzip]
    {
        lab.kds().fail("/", fault);
        let error = refused(&lab, &lab.amd_policy()).await;
        assert!(matches!(error, AttestationError::KdsUnreachable { .. }), "{error:?}");
        for policy in [&best_effort, &off] {
            let _ = lab.verifier().connect(lab.blindbox.url(), policy).await.unwrap();
        }
        lab.kds().recover();
    }
    lab.kds().fail("/", Fault::Oversized(2 << 20));
    let error = refused(&lab, &lab.amd_policy()).await;
    assert_eq!(error, AttestationError::TooLarge { what: "AMD's response", limit: 64 << 10 });
    lab.kds().recover();
    // What passes is tried again.
    lab.kds().fail_times("/", 2, Fault::status(503));
    let _ = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
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

#[tokio::test]
async fn the_hosts_own_certificate_is_asked_for_first_and_used_only_if_it_fits() {
    let platform = Platform::new(Product::Genoa);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    let service = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
    let verifier = lab.builder().thim(service.thim_url()).build().unwrap();
    let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    assert_eq!(lab.kds().vcek_fetches(), 0);

    // Another machine's, none at all, or no response: AMD's own is asked.
    let elsewhere = Platform::builder(Product::Genoa).chip_id(ChipId::new([7; 64])).build();
    let other = Kds::builder().plain_http().thim(&elsewhere).start().await.unwrap();
    let down = Kds::builder().plain_http().start().await.unwrap();
    let hangs = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
    hangs.fail("/", Fault::Hang);
    for (service, fetches) in [(&other, 1), (&down, 2), (&hangs, 3)] {
        let verifier = lab.builder().thim(service.thim_url()).deadline(Duration::from_secs(60)).build().unwrap();
        let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
        assert_eq!(lab.kds().vcek_fetches(), fetches);
    }
}

/// As services of this kind were seen to send it.
#[tokio::test]
async fn a_thim_service_is_understood_or_named_in_the_error() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    lab.kds().fail(&vcek_path(&platform), Fault::status(404));
    let pem = platform.certificates_pem();
    let (vek, chain) = pem.split_once("-----END CERTIFICATE-----\n").unwrap();
    let vek = format!("{vek}-----END CERTIFICATE-----\n");
    let base64: String = vek.lines().filter(|line| !line.starts_with("-----")).collect();
    let service = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
    let connect = |body: String| {
        service.recover();
        service.fail("/", Fault::Body(body));
        let verifier = lab.builder().thim(service.thim_url()).build().unwrap();
        let (url, policy) = (lab.blindbox.url().to_owned(), lab.amd_policy());
        async move { verifier.connect(&url, &policy).await.map(drop) }
    };
    let with = |certificate: &str| serde_json::json!({ "vcekCert": certificate }).to_string();
    for certificate in [
        vek.clone(),
        vek.replace('\n', "\r\n"),
        vek.trim_end().to_owned(),
        vek.clone() + "\0",
        vek.replace('\n', "\\n"),
        base64.clone(),
        chain.to_owned() + &vek,
    ] {
        assert_eq!(connect(with(&certificate)).await, Ok(()), "{certificate:?}");
    }
    let host = service.thim_url().rsplit_once("/metadata").unwrap().0.to_owned();
    let elsewhere = amd::pem(AmdHierarchy::new(Product::Milan).vcek().tcb(platform.tcb()).issue().der());
    for (body, says) in [
        (with("x"), "\"vcekCert\" cannot be read: expected exactly one X.509 certificate"),
        (with(chain), "the VCEK/VLEK certificate is refused: "),
        (with(&elsewhere), "expected a VCEK of the chip that made the report"),
        ("{}".to_owned(), "expected the string \"vcekCert\" in its response"),
        ("[]".to_owned(), "expected a JSON object, found something else"),
    ] {
        let Err(AttestationError::KdsUnreachable { reason, .. }) = connect(body.clone()).await else {
            panic!("{body}")
        };
        let kds = lab.kds().url();
        let begins =
            format!("{kds}: it has no certificate for this chip and TCB (status 404); the THIM service at {host}: ");
        assert!(reason.starts_with(&begins) && reason.contains(says), "{body}: {reason}");
    }
}

/// AMD signs with a new key of the issuer of VCEKs, and says so in the certificates that it sends with them.
#[tokio::test]
async fn an_issuer_with_a_new_key_is_taken_from_the_services_and_only_if_the_root_signed_it() {
    let platform = Platform::new(Product::Milan);
    let lab = Lab::on(&platform).await;
    lab.blindbox.set(Knob::Hardware(HardwareKnob::NoCertificates));
    // The new key is one that nothing else here needs.
    let (amd, ask, new_key) = (AmdHierarchy::new(Product::Milan), CertificateRole::Ask, CertificateRole::Asvk);
    let own = platform.vek();
    let vcek = amd.vcek().chip_id(own.chip_id()).tcb(platform.tcb()).key_of(&own).signed_by(&amd, new_key).issue();
    let issuer = amd.ca(ask).with_key_of(new_key);
    let with_root = |issuer: Vec<u8>, root: &[u8]| amd::pem(&issuer) + &amd::pem(root);
    let genuine = with_root(issuer.issue(), amd.ark());
    let not_by_the_root = with_root(issuer.clone().signed_by(ask).issue(), amd.ark());
    let of_other_root = with_root(issuer.issue(), AmdHierarchy::impostor(Product::Milan).ark());
    let crl = platform.crl();
    let refused = "it sent a certificate that does not verify: the VCEK/VLEK certificate is refused: its signature does not verify";
    let unchanged = amd.chain_pem(SigningKey::Vcek);
    for (chain, accepted) in [
        (&genuine, true),
        (&not_by_the_root, false),
        (&of_other_root, false),
        (&unchanged, false),
        (&String::new(), false),
    ] {
        let files = vec![
            ("/vcek/v1/Milan/cert_chain", chain.clone().into_bytes()),
            ("/vcek/v1/Milan/crl", crl.clone()),
            ("/vcek/v1/Milan/", vcek.der().to_vec()),
        ];
        let kds = serving(files).await;
        let verifier = lab.builder().kds(kds.as_str()).build().unwrap();
        let outcome = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.map(drop);
        match outcome {
            Ok(()) => assert!(accepted, "{chain}"),
            Err(AttestationError::KdsUnreachable { reason, .. }) => {
                assert!(!accepted && reason.starts_with(&format!("{kds}: {refused}")), "{reason}");
            }
            Err(error) => panic!("{error:?}"),
        }

        // THIM sends the chain along; AMD's service has the certificate of the old issuer.
        let response = serde_json::json!({ "vcekCert": vcek.pem(), "certificateChain": chain });
        let service = Kds::builder().plain_http().thim(&platform).start().await.unwrap();
        service.fail("/", Fault::Body(response.to_string()));
        let verifier = lab.builder().thim(service.thim_url()).build().unwrap();
        let before = lab.kds().vcek_fetches();
        let _ = verifier.connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
        assert_eq!(lab.kds().vcek_fetches() - before, usize::from(!accepted), "{chain}");
    }
    // Under the pinned issuer nothing more is fetched.
    let before = lab.kds().chain_fetches();
    let _ = lab.verifier().connect(lab.blindbox.url(), &lab.amd_policy()).await.unwrap();
    assert_eq!(lab.kds().chain_fetches(), before);
}

/// A service that sends these files; the first that the path begins with.
async fn serving(files: Vec<(&'static str, Vec<u8>)>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await?);
            }
            let head = String::from_utf8(head).unwrap();
            let file = files.iter().find(|(path, _)| head.starts_with(&format!("GET {path}")));
            let (status, body) = file.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            client.write_all(&[head.as_bytes(), body].concat()).await?;
        }
        Ok::<_, std::io::Error>(())
    });
    url
}
