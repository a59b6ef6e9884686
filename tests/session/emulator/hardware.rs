//! Reports, certificates and endorsements of a machine, as the agent sends them, and everything that spoils them.

use blindbox_attestation::claims::Bit;
use blindbox_attestation::emulator::uvm::UvmSigner;
use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::{
    self, CaChain, CertificateError, CertificateRole, Collateral, Crl, ReportError, Revocation, TcbPart, Vek,
    VerifiedReport,
};
use blindbox_attestation::uvm::{
    self, EndorsementError, EndorsementExpectations, EndorsementForm, PRODUCTION_FEED, VerifiedEndorsement,
};
use blindbox_attestation::{
    AttestationError, Endorsements, Evidence, KeyDigest, Policy, Product, RecordedAttestation, ReportId, SigningKey,
    Tcb, Trust, UvmRequirement, Violation, Workload, verify_recorded, verify_unappraised,
};

use super::*;

const PRODUCTS: [Product; 3] = [Product::Milan, Product::Genoa, Product::Turin];

fn on(platform: &Platform, maa: &Maa) -> BlindBoxBuilder {
    BlindBox::builder(maa).platform(platform)
}

async fn milan() -> (Maa, BlindBox) {
    let maa = Maa::start().await.unwrap();
    let blindbox = on(&Platform::new(Product::Milan), &maa).start().await.unwrap();
    (maa, blindbox)
}

/// One attestation with hardware report in the bound form.
async fn combined(blindbox: &BlindBox) -> Value {
    let client = client(&blindbox.tls_root_pem());
    let response = post(&client, blindbox.agent_url() + "/attest/combined", bound_request(blindbox)).await;
    assert_eq!(response.status(), StatusCode::OK);
    json_of(response).await
}

fn bytes(answer: &Value, member: &str) -> Option<Vec<u8>> {
    answer.get(member).map(|text| STANDARD.decode(text.as_str().unwrap()).unwrap())
}

/// The certificates as they came, and the report under them.
fn verify_report(blindbox: &BlindBox, answer: &Value) -> Result<VerifiedReport, ReportError> {
    let platform = blindbox.platform().unwrap();
    let certificates = snp::certificates_from_pem(&bytes(answer, "endorsements").unwrap());
    let certificates = certificates.map_err(|cause| ReportError::Certificate { role: CertificateRole::Vek, cause })?;
    let crl = platform.crl();
    let mut collateral = Collateral::new(&certificates[0]).with_crl(&crl);
    if let [_, issuer, ark] = certificates.as_slice() {
        collateral = collateral.with_chain(CaChain { issuer, ark });
    }
    let report = bytes(answer, "evidence").unwrap();
    snp::verify(&report, &collateral, &platform.anchors(), Revocation::Require, blindbox.now())
}

fn verify_endorsement(blindbox: &BlindBox, answer: &Value) -> Result<VerifiedEndorsement, EndorsementError> {
    let issuer = blindbox.platform().unwrap().uvm_issuer().to_owned();
    let expected = EndorsementExpectations::new(&issuer, PRODUCTION_FEED);
    uvm::verify(&bytes(answer, "uvm_endorsements").unwrap(), &expected)
}

fn evidence(answer: &Value) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.token = answer["token"].as_str().map(str::to_owned);
    evidence.report = bytes(answer, "evidence");
    evidence.uvm_endorsement = bytes(answer, "uvm_endorsements");
    evidence.runtime_data = bytes(answer, "runtime_data");
    evidence
}

fn endorsements(maa: &Maa, blindbox: &BlindBox, answer: &Value) -> Endorsements {
    let platform = blindbox.platform().unwrap();
    let certificates = snp::certificates_from_pem(&bytes(answer, "endorsements").unwrap()).unwrap();
    let mut endorsements = Endorsements::default();
    endorsements.key_set = Some(KeySet::from_json(maa.key_set().as_bytes()).unwrap());
    endorsements.vek = Some(Vek::from_der(certificates[0].as_slice()));
    endorsements.crls = vec![Crl::Received(platform.crl())];
    endorsements.amd_anchors = platform.anchors();
    endorsements
}

/// Everything together, under a policy that trusts MAA and AMD.
fn appraise(maa: &Maa, blindbox: &BlindBox, answer: &Value) -> Result<RecordedAttestation, AttestationError> {
    let trust = Trust::maa_and_amd(maa.issuer()).unwrap().require_maa_policy_hash(blindbox.maa_policy_hash()).unwrap();
    let workload = Workload::binds_its_own_key(blindbox.host_data());
    let uvm = UvmRequirement::at_least(101).issued_by(blindbox.uvm_issuer().unwrap());
    let policy = Policy::confidential_container(trust, workload, uvm).unwrap();
    let key = blindbox.platform().unwrap().signing_key();
    let policy = policy.require_signing_keys([key]).unwrap();
    verify_recorded(&evidence(answer), &endorsements(maa, blindbox, answer), &policy, blindbox.now())
}

#[tokio::test]
async fn every_machine_tells_the_story_of_the_token() {
    let maa = Maa::start().await.unwrap();
    for product in PRODUCTS {
        for (builder, kind) in [
            (Platform::builder(product), SigningKey::Vcek),
            (Platform::builder(product).vlek(), SigningKey::Vlek),
            (Platform::builder(product).endorsement_form(EndorsementForm::CwtHashEnvelope), SigningKey::Vcek),
            (Platform::builder(product).report_version(2), SigningKey::Vcek),
            (Platform::builder(product).report_version(5), SigningKey::Vcek),
        ] {
            let platform = builder.build();
            let blindbox = on(&platform, &maa).start().await.unwrap();
            let answer = combined(&blindbox).await;
            let report = verify_report(&blindbox, &answer).unwrap();
            let data = report_data(runtime_data(&answer).as_bytes());
            assert_eq!(runtime_data(&answer), bound_text(NONCE, blindbox.tls_key()));
            let mut expected = blindbox.guest().snp;
            expected.report_data = data;
            assert_eq!(report.snp(), &expected);
            assert_eq!((report.product(), report.hardware().signing_key), (product, kind));
            assert_eq!(report.snp().chip_id.is_some(), kind == SigningKey::Vcek);
            let endorsement = verify_endorsement(&blindbox, &answer).unwrap();
            assert_eq!(Some(endorsement.claims()), blindbox.guest().uvm.as_ref());
            let raw = bytes(&answer, "evidence").unwrap();
            assert_eq!(answer["endorsed_tcb"], hex::encode(&raw[0x180..0x188]));
            let appraised = appraise(&maa, &blindbox, &answer);
            if (report.hardware().version, product) == (2, Product::Turin) || report.hardware().version != 2 {
                assert_eq!(appraised.err(), None, "{platform:?}");
                continue;
            }
            // A report of version 2 does not say its processor, and so not whether its microcode has the fix of AMD-SB-3019.
            let refused = appraised.unwrap_err();
            let Some(Violation::NotReported { claim, .. }) = refused.violation() else {
                panic!("{platform:?}: {refused}")
            };
            assert_eq!(*claim, "cpuid");
        }
    }
}

#[tokio::test]
async fn every_field_of_a_guest_is_in_token_and_report() {
    let maa = Maa::start().await.unwrap();
    let mut guest = Guest::container();
    guest.snp.author_key_digest = KeyDigest::new([0xa0; 48]);
    for bit in [
        &mut guest.snp.policy.single_socket,
        &mut guest.snp.policy.cxl_allow,
        &mut guest.snp.policy.mem_aes_256_xts,
        &mut guest.snp.policy.rapl_dis,
        &mut guest.snp.policy.ciphertext_hiding_dram,
        &mut guest.snp.policy.page_swap_disable,
    ] {
        *bit = Bit::Set;
    }
    guest.snp.vmpl = 3;
    guest.snp.policy.migrate_ma = true;
    guest.snp.policy.debug = true;
    guest.snp.policy.smt = false;
    let blindbox = on(&Platform::new(Product::Turin), &maa).guest(guest).start().await.unwrap();
    let answer = combined(&blindbox).await;
    let report = verify_report(&blindbox, &answer).unwrap();
    let mut expected = blindbox.guest().snp;
    expected.report_data = report_data(runtime_data(&answer).as_bytes());
    assert_eq!(report.snp(), &expected);
    assert!(report.hardware().author_key_en);
    let mut evidence = evidence(&answer);
    evidence.uvm_endorsement = None;
    let endorsements = endorsements(&maa, &blindbox, &answer);
    let issuer = blindbox.maa_issuer();
    assert!(verify_unappraised(&evidence, &endorsements, Some(&issuer), blindbox.now()).is_ok());
    // A guest deployed again runs on the same machine.
    blindbox.set_guest(Guest::container());
    let answer = combined(&blindbox).await;
    assert!(appraise(&maa, &blindbox, &answer).is_ok());
    assert_eq!(verify_report(&blindbox, &answer).unwrap().snp().chip_id, blindbox.platform().unwrap().chip_id());
}

#[tokio::test]
async fn knobs_of_the_guest_show_in_the_report() {
    let (maa, blindbox) = milan().await;
    let old = Tcb::new(None, 3, 0, 20, 209);
    for (knob, shows) in [
        (Knob::Debug, "debug-mode"),
        (Knob::MigrationAllowed, "migration-allowed"),
        (Knob::HostData(blindbox_attestation::HostData::new([9; 32])), "invalid-enclave-code"),
        (Knob::Vmpl(2), "wrong-vmpl"),
        (Knob::ReportedTcb(old), "tcb-too-old"),
        (Knob::UvmSvn(100), "uvm-too-old"),
        (Knob::Measurement(Measurement::new([7; 48])), "evidence-mismatch"),
    ] {
        blindbox.set(knob.clone());
        let answer = combined(&blindbox).await;
        let report = verify_report(&blindbox, &answer).unwrap();
        match &knob {
            Knob::Debug => assert!(report.snp().policy.debug),
            Knob::MigrationAllowed => assert!(report.snp().policy.migrate_ma),
            Knob::HostData(data) => assert_eq!(report.snp().host_data, *data),
            Knob::Vmpl(vmpl) => assert_eq!(report.snp().vmpl, *vmpl),
            Knob::ReportedTcb(tcb) => assert_eq!(report.snp().reported_tcb, *tcb),
            Knob::UvmSvn(svn) => assert_eq!(verify_endorsement(&blindbox, &answer).unwrap().claims().svn, *svn),
            Knob::Measurement(measurement) => assert_eq!(report.snp().measurement, *measurement),
            _ => unreachable!(),
        }
        let refused = appraise(&maa, &blindbox, &answer).unwrap_err();
        assert_eq!(refused.code(), shows, "{knob:?}: {refused}");
        blindbox.reset();
    }
}

fn certificate(role: CertificateRole, cause: CertificateError) -> ReportError {
    ReportError::Certificate { role, cause }
}

#[tokio::test]
async fn knobs_spoil_the_report_and_its_certificates() {
    use HardwareKnob as K;
    let (maa, blindbox) = milan().await;
    let not_pinned = certificate(CertificateRole::Ark, CertificateError::NotPinned { product: Product::Milan });
    let other_family =
        CertificateError::WrongSubject { expected: "ARK-Milan".to_owned(), actual: "ARK-Genoa".to_owned() };
    let kinds = ReportError::SigningKeyMismatch { report: SigningKey::Vcek, certificate: SigningKey::Vlek };
    for (knobs, expected) in [
        (vec![K::ReportBitFlipped(0x90 * 8 + 3)], ReportError::WrongSignature),
        (vec![K::ReportBytes(0x4c, vec![1])], ReportError::ReservedByte { offset: 0x4c }),
        (vec![K::Report(vec![2; 10])], ReportError::WrongLength { expected: 1184, actual: 10 }),
        (vec![K::ReportVersion(6)], ReportError::UnsupportedVersion { actual: 6 }),
        (vec![K::MaskedChipId], ReportError::ChipIdMasked),
        (vec![K::HostRequested], ReportError::UnsupportedVmpl { actual: u32::MAX }),
        (vec![K::Unsigned], ReportError::Unsigned),
        (vec![K::CertificateOfOtherKind], kinds),
        (vec![K::ForgedHierarchy], not_pinned.clone()),
        (vec![K::ForgedHierarchy, K::NoChain], certificate(CertificateRole::Vek, CertificateError::WrongSignature)),
        (vec![K::ForgedChain], not_pinned),
        (vec![K::ChainOf(Product::Genoa)], certificate(CertificateRole::Ark, other_family)),
        (vec![K::GarbageChain], certificate(CertificateRole::Ark, CertificateError::Malformed)),
        (vec![K::Certificates("no PEM".into())], certificate(CertificateRole::Vek, CertificateError::Malformed)),
    ] {
        knobs.iter().for_each(|knob| blindbox.set(Knob::Hardware(knob.clone())));
        let answer = combined(&blindbox).await;
        assert_eq!(verify_report(&blindbox, &answer), Err(expected), "{knobs:?}");
        // The token is as good as ever.
        assert_eq!(payload(answer["token"].as_str().unwrap())["x-ms-runtime"]["nonce"], NONCE);
        blindbox.reset();
    }
    blindbox.set(Knob::Hardware(K::CertificateOfAnotherChip));
    let refused = verify_report(&blindbox, &combined(&blindbox).await);
    assert!(matches!(refused, Err(ReportError::ChipIdMismatch { .. })), "{refused:?}");
    blindbox.reset();
    let provider = on(&Platform::builder(Product::Milan).vlek().build(), &maa).start().await.unwrap();
    provider.set(Knob::Hardware(K::CertificateOfOtherKind));
    let kinds = ReportError::SigningKeyMismatch { report: SigningKey::Vlek, certificate: SigningKey::Vcek };
    assert_eq!(verify_report(&provider, &combined(&provider).await), Err(kinds));
    blindbox.set(Knob::Hardware(K::NoChain));
    assert!(verify_report(&blindbox, &combined(&blindbox).await).is_ok());
    blindbox.reset();
    blindbox.set(Knob::Hardware(K::NoCertificates));
    assert_eq!(combined(&blindbox).await.get("endorsements"), None);
}

#[tokio::test]
async fn a_certificate_can_be_for_another_tcb_in_each_part() {
    let maa = Maa::start().await.unwrap();
    for product in PRODUCTS {
        let platform = Platform::new(product);
        let blindbox = on(&platform, &maa).start().await.unwrap();
        let report = platform.tcb();
        let with = |change: fn(&mut Tcb)| {
            let mut tcb = report;
            change(&mut tcb);
            tcb
        };
        let mut others = vec![
            (TcbPart::Bootloader, with(|tcb| tcb.bootloader += 1)),
            (TcbPart::Tee, with(|tcb| tcb.tee += 1)),
            (TcbPart::Snp, with(|tcb| tcb.snp -= 1)),
            (TcbPart::Microcode, with(|tcb| tcb.microcode -= 1)),
        ];
        if product == Product::Turin {
            others.push((TcbPart::Fmc, with(|tcb| tcb.fmc = Some(2))));
        }
        for (part, certified) in others {
            blindbox.set(Knob::Hardware(HardwareKnob::CertificateTcb(certified)));
            let answer = combined(&blindbox).await;
            let expected = ReportError::TcbMismatch { part, report, certificate: certified };
            assert_eq!(verify_report(&blindbox, &answer), Err(expected));
            blindbox.reset();
        }
    }
}

#[tokio::test]
async fn knobs_spoil_the_endorsement() {
    use HardwareKnob as K;
    let (maa, blindbox) = milan().await;
    let production = EndorsementExpectations::production();
    for (knob, expected) in [
        (
            K::EndorsedFeed("other".into()),
            EndorsementError::WrongFeed { expected: PRODUCTION_FEED.to_owned(), actual: "other".to_owned() },
        ),
        (
            K::EndorserUse("1.3.6.1.4.1.311.76.59.1.5".into()),
            EndorsementError::WrongLeafUse {
                expected: "1.3.6.1.4.1.311.76.59.1.2".to_owned(),
                actual: vec!["1.3.6.1.4.1.311.76.59.1.5".to_owned()],
            },
        ),
    ] {
        blindbox.set(Knob::Hardware(knob.clone()));
        assert_eq!(verify_endorsement(&blindbox, &combined(&blindbox).await), Err(expected), "{knob:?}");
        blindbox.reset();
    }
    blindbox.set(Knob::Hardware(K::EndorsedByAnother));
    let refused = verify_endorsement(&blindbox, &combined(&blindbox).await);
    assert!(matches!(refused, Err(EndorsementError::WrongIssuer { .. })), "{refused:?}");
    blindbox.reset();
    blindbox.set(Knob::Hardware(K::ForgedEndorsement));
    let refused = verify_endorsement(&blindbox, &combined(&blindbox).await);
    assert!(matches!(refused, Err(EndorsementError::FingerprintNotInChain { .. })), "{refused:?}");
    blindbox.reset();
    blindbox.set(Knob::Hardware(K::Endorsement(b"garbage".to_vec())));
    let refused = verify_endorsement(&blindbox, &combined(&blindbox).await);
    assert!(matches!(refused, Err(EndorsementError::Malformed(_))), "{refused:?}");
    blindbox.reset();
    // The last byte of an endorsement is the signature's.
    let whole = bytes(&combined(&blindbox).await, "uvm_endorsements").unwrap();
    blindbox.set(Knob::Hardware(K::EndorsementBitFlipped(whole.len() * 8 - 1)));
    let refused = verify_endorsement(&blindbox, &combined(&blindbox).await);
    assert_eq!(refused, Err(EndorsementError::BadSignature));
    blindbox.reset();
    // Good endorsements, but not of this guest: token and document disagree.
    let other = Measurement::new([7; 48]);
    for (knob, field) in
        [(K::EndorsedSvn(100), "uvm security version"), (K::EndorsedMeasurement(other), "launch measurement")]
    {
        blindbox.set(Knob::Hardware(knob.clone()));
        let answer = combined(&blindbox).await;
        let claims = verify_endorsement(&blindbox, &answer).unwrap().claims().clone();
        assert_eq!(
            (claims.svn == 100, claims.measurement == other),
            (field.contains("security"), !field.contains("security"))
        );
        let refused = appraise(&maa, &blindbox, &answer);
        let Err(AttestationError::EvidenceMismatch { field: found, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(found, field);
        blindbox.reset();
    }
    for knob in [Knob::NoUvmEndorsement, Knob::Hardware(K::NoEndorsement)] {
        blindbox.set(knob);
        let answer = combined(&blindbox).await;
        assert_eq!(answer.get("uvm_endorsements"), None);
        let refused = appraise(&maa, &blindbox, &answer).err();
        let missing = AttestationError::MissingEvidence { what: "the endorsement of the utility VM" };
        assert_eq!(refused, Some(missing));
        blindbox.reset();
    }
    blindbox.set(Knob::Hardware(K::EndorsementForm(EndorsementForm::CwtHashEnvelope)));
    let endorsement = verify_endorsement(&blindbox, &combined(&blindbox).await).unwrap();
    assert_eq!(endorsement.form(), EndorsementForm::CwtHashEnvelope);
    let document = bytes(&combined(&blindbox).await, "uvm_endorsements").unwrap();
    assert!(matches!(uvm::verify(&document, &production), Err(EndorsementError::WrongIssuer { .. })));
}

#[tokio::test]
async fn an_endorser_of_ones_own() {
    let maa = Maa::start().await.unwrap();
    let signer = UvmSigner::new().unwrap();
    let platform = Platform::builder(Product::Genoa).endorser(&signer).build();
    let blindbox = on(&platform, &maa).start().await.unwrap();
    assert_eq!(blindbox.uvm_issuer().as_deref(), Some(signer.issuer()));
    let answer = combined(&blindbox).await;
    let headers = &payload(answer["token"].as_str().unwrap())["x-ms-sevsnpvm-uvm-endorsement-headers"];
    assert_eq!(headers["iss"], signer.issuer());
    assert!(appraise(&maa, &blindbox, &answer).is_ok());
    assert_ne!(Platform::new(Product::Genoa).uvm_issuer(), signer.issuer());
}

#[tokio::test]
async fn token_and_report_can_be_of_two_guests_or_two_questions() {
    let (maa, blindbox) = milan().await;
    let mut same_machine = blindbox.guest();
    same_machine.snp.report_id = ReportId::new([3; 32]);
    let mut other_vmpl = blindbox.guest();
    other_vmpl.snp.vmpl = 1;
    for (knob, expected) in [
        (Knob::ReportOf(Box::new(Guest::container())), "report id"),
        (Knob::ReportOf(Box::new(same_machine)), "report id"),
        (Knob::ReportOf(Box::new(other_vmpl)), "vmpl"),
        (Knob::TokenOfAnotherReport, "report data"),
        (Knob::Hardware(HardwareKnob::ReportData(ReportData::new([5; 64]))), "report data"),
        (Knob::UvmIssuer("did:x509:0:sha256:other".into()), "uvm issuer"),
        (Knob::claim("x-ms-sevsnpvm-snpfw-svn", 25), "reported tcb snp"),
    ] {
        blindbox.set(knob.clone());
        let answer = combined(&blindbox).await;
        assert!(verify_report(&blindbox, &answer).is_ok(), "{knob:?}");
        assert!(verifies(answer["token"].as_str().unwrap(), &maa.key_set()));
        let refused = appraise(&maa, &blindbox, &answer);
        let Err(AttestationError::EvidenceMismatch { field, .. }) = refused else { panic!("{knob:?}: {refused:?}") };
        assert_eq!(field, expected, "{knob:?}");
        blindbox.reset();
    }
}

#[tokio::test]
async fn answers_have_the_members_of_their_form() {
    let maa = Maa::start().await.unwrap();
    let blindbox = on(&Platform::new(Product::Genoa), &maa).agent(AgentForm::Both).start().await.unwrap();
    let client = client(&blindbox.tls_root_pem());
    let ask = async |path: &str, body: Value| json_of(post(&client, blindbox.url() + path, body).await).await;
    let members = |answer: &Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let hardware = "endorsed_tcb endorsements evidence";
    let bound = ask("/attest/combined", bound_request(&blindbox)).await;
    assert_eq!(members(&bound), format!("{hardware} runtime_data token uvm_endorsements"));
    let without_maa = ask("/attest/combined", json!({ "nonce": NONCE })).await;
    assert_eq!(members(&without_maa), format!("{hardware} runtime_data uvm_endorsements"));
    let legacy = json!({ "maa_endpoint": maa.endpoint(), "runtime_data": STANDARD.encode("anything") });
    let combined = ask("/attest/combined", legacy.clone()).await;
    assert_eq!(members(&combined), format!("{hardware} uvm_endorsements"));
    let report = verify_report(&blindbox, &combined).unwrap();
    assert_eq!(report.snp().report_data, report_data(b"anything"));
    let raw = ask("/attest/raw", legacy).await;
    assert_eq!(members(&raw), "report");
    let raw = hex::decode(raw["report"].as_str().unwrap()).unwrap();
    assert_eq!(&raw[0x50..0x90], report_data(b"anything").as_bytes());
    blindbox.set(Knob::AnswerInLegacyForm);
    let legacy_in_disguise = ask("/attest/combined", bound_request(&blindbox)).await;
    assert_eq!(legacy_in_disguise.get("runtime_data"), None);
    blindbox.reset();
    blindbox.set(Knob::without_answer_member("token"));
    blindbox.set(Knob::answer_member("evidence", 7));
    let changed = ask("/attest/combined", bound_request(&blindbox)).await;
    assert_eq!((changed.get("token"), &changed["evidence"]), (None, &json!(7)));
}

#[tokio::test]
async fn a_machine_fills_in_what_the_guest_does_not_decide() {
    let maa = Maa::start().await.unwrap();
    // Not below what is reported nor above what runs, which firmware does not allow.
    let committed = Tcb::new(None, 5, 0, 27, 223);
    let platform = Platform::builder(Product::Milan)
        .tcb(Tcb::new(Some(9), 4, 0, 26, 222))
        .report_version(5)
        .report(move |report| {
            report.committed_tcb(committed).current_tcb(committed).platform_info(1).launch_mitigation_vector(3)
        })
        .build();
    let blindbox = on(&platform, &maa).start().await.unwrap();
    let report = verify_report(&blindbox, &combined(&blindbox).await).unwrap();
    let hardware = report.hardware();
    assert_eq!((hardware.version, hardware.committed_tcb, hardware.platform_info.raw), (5, committed, 1));
    assert_eq!(hardware.launch_mitigation_vector, Some(3));
    assert_eq!(report.snp().reported_tcb, Tcb::new(None, 4, 0, 26, 222));
}
