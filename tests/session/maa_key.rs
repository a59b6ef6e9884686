//! The key of an MAA that a confidential container holds, over the network.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::lab::{Lab, hello};
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::emulator::{
    Guest, HardwareKnob, Kds, KdsKnob, KeyForm, KeySetKnob, MaaEvidence, MaaEvidenceKnob, Platform, UVM_FEED,
};
use blindbox_attestation::maa::{KeyEvidenceError, KeyEvidencePart};
use blindbox_attestation::snp::{CertificateError, CertificateRole, CrlError, ReportError};
use blindbox_attestation::uvm::EndorsementError;
use blindbox_attestation::{
    AttestationError, AttestedKeyRequirement, Endorsements, HostData, KeySetSource, MaaKeyError, Measurement, Policy,
    Product, Tcb, TcbMinima, TcbMinimum, Trust, UnixTime, UvmRequirement, Verdict, Violation, Workload,
    verify_recorded,
};

/// A BlindBox that is judged by MAA, and the machine of MAA: of another product than that of the BlindBox.
struct Scene {
    lab: Lab,
    of_maa: Platform,
}

impl Scene {
    async fn start() -> Self {
        let lab = Lab::on(&Platform::new(Product::Milan)).await;
        Self { lab, of_maa: Platform::new(Product::Genoa) }
    }

    fn requirement(&self) -> AttestedKeyRequirement {
        AttestedKeyRequirement::new([Guest::container().snp.host_data], 104).with_uvm_issuer(self.of_maa.uvm_issuer())
    }

    fn policy(&self, trust: Trust, requirement: AttestedKeyRequirement) -> Policy {
        let workload = Workload::binds_its_own_key(self.lab.blindbox.host_data());
        let uvm = UvmRequirement::at_least(100).issued_by(self.lab.blindbox.uvm_issuer().unwrap());
        Policy::confidential_container(trust.require_attested_maa_key(requirement).unwrap(), workload, uvm).unwrap()
    }

    fn maa_policy(&self) -> Policy {
        self.policy(self.lab.trust(), self.requirement())
    }

    fn evidence(&self) -> MaaEvidence {
        MaaEvidence::new(&self.of_maa)
    }

    fn publish(&self, evidence: MaaEvidence) {
        self.lab.maa.set(KeySetKnob::OwnEvidence(Box::new(evidence)));
    }

    async fn refusal(&self, policy: &Policy) -> AttestationError {
        let verifier = self.lab.verifier();
        let error = verifier.connect(self.lab.blindbox.url(), policy).await.expect_err("a session");
        assert_eq!(self.lab.blindbox.traffic().application_bytes(), 0);
        error
    }

    /// Publishes changed evidence, and returns the refusal.
    async fn refused(&self, knob: MaaEvidenceKnob) -> AttestationError {
        self.publish(self.evidence().knob(knob));
        self.refusal(&self.maa_policy()).await
    }
}

#[tokio::test]
async fn a_key_that_a_container_holds_is_accepted_and_reported() {
    let scene = Scene::start().await;
    scene.publish(scene.evidence());
    let both = Trust::maa_and_amd(scene.lab.blindbox.maa_issuer().as_str()).unwrap();
    let both = both.require_maa_policy_hash(scene.lab.blindbox.maa_policy_hash()).unwrap();
    for (trust, crls) in [(scene.lab.trust(), 1), (both, 2)] {
        let before = scene.lab.kds().crl_fetches();
        let minimum = TcbMinima::for_product(Product::Genoa, TcbMinimum::new().snp(24));
        let policy = scene.policy(trust, scene.requirement().with_reported_tcb(minimum));
        let session = scene.lab.verifier().connect(scene.lab.blindbox.url(), &policy).await.unwrap();
        let shown = |name| {
            let attestation = session.attestation();
            let check = attestation.appraisal().check(name).unwrap();
            (check.verdict, check.actual.to_string())
        };
        let passed = |actual: &str| (Verdict::Passed, actual.to_owned());
        assert_eq!(shown("maa key"), passed("held by a container on Genoa, as its report proves"));
        assert_eq!(shown("maa key host data"), passed(&Guest::container().snp.host_data.to_string()));
        assert_eq!(shown("maa key uvm"), passed("security version 104"));
        assert_eq!(shown("maa key tcb").0, Verdict::Passed);
        assert_eq!(shown("maa key advisories"), passed("fixed"));
        assert_eq!(shown("maa key revocation"), passed("not revoked"));
        let own = "CUSTOM, the caller's own: hardware roots, issuer of uvm endorsements, web roots of the key set";
        assert_eq!(shown("anchors"), (Verdict::Allowed, own.to_owned()));
        assert_eq!(hello(&session).await.unwrap(), "hello from a BlindBox");
        // The CRL of the product that MAA runs on, and under AMD trust that of the BlindBox.
        assert_eq!(scene.lab.kds().crl_fetches() - before, crls);
    }
    // No one looks at it where it is not required.
    scene.publish(scene.evidence().knob(MaaEvidenceKnob::OfAnotherKey));
    let usual = Policy::confidential_container(
        scene.lab.trust(),
        Workload::binds_its_own_key(scene.lab.blindbox.host_data()),
        UvmRequirement::at_least(100).issued_by(scene.lab.blindbox.uvm_issuer().unwrap()),
    );
    let session = scene.lab.verifier().connect(scene.lab.blindbox.url(), &usual.unwrap()).await.unwrap();
    assert_eq!(session.attestation().appraisal().check("maa key"), None);
}

#[tokio::test]
async fn a_container_that_is_not_as_required_is_refused() {
    let scene = Scene::start().await;
    let other = HostData::new([7; 32]);
    let usual = Guest::container().snp.host_data;
    for (knob, name, field, expected, actual) in [
        (MaaEvidenceKnob::HostData(other), "maa key host data", "host data", usual.to_string(), other.to_string()),
        (
            MaaEvidenceKnob::UvmSvn(103),
            "maa key uvm",
            "uvm",
            "security version 104 or later".to_owned(),
            "security version 103".to_owned(),
        ),
        (
            MaaEvidenceKnob::Debug,
            "maa key",
            "guest policy",
            "no debugging, no migration, vmpl 0".to_owned(),
            "debugging allowed".to_owned(),
        ),
        (
            MaaEvidenceKnob::MigrationAllowed,
            "maa key",
            "guest policy",
            "no debugging, no migration, vmpl 0".to_owned(),
            "migration allowed".to_owned(),
        ),
        (
            // REPORT_ID_MA of a guest that has a migration agent.
            MaaEvidenceKnob::Hardware(HardwareKnob::ReportBytes(0x160, vec![0x33; 32])),
            "maa key",
            "guest policy",
            "no debugging, no migration, vmpl 0".to_owned(),
            "migration allowed".to_owned(),
        ),
        (
            MaaEvidenceKnob::Vmpl(2),
            "maa key",
            "guest policy",
            "no debugging, no migration, vmpl 0".to_owned(),
            "another privilege level than 0".to_owned(),
        ),
        (
            MaaEvidenceKnob::ReportedTcb(Tcb::new(None, 4, 0, 24, 50)),
            "maa key advisories",
            "advisories",
            "the fixes of AMD-SB-3019".to_owned(),
            "not fixed: AMD-SB-3019".to_owned(),
        ),
    ] {
        let refused = scene.refused(knob.clone()).await;
        let appraisal = refused.appraisal().unwrap_or_else(|| panic!("{knob:?}: {refused}")).clone();
        let failed = appraisal.checks().iter().filter(|check| check.verdict == Verdict::Failed);
        assert_eq!(failed.map(|check| check.name).collect::<Vec<_>>(), [name], "{knob:?}");
        assert_eq!(refused.violation(), Some(&Violation::WrongMaaKey { field, expected, actual }));
    }
    // A key that many chips of a cloud provider have proves nothing about those of Azure.
    let of_provider = Platform::builder(Product::Genoa).vlek().build();
    scene.publish(MaaEvidence::new(&of_provider));
    let builder = scene.lab.builder().amd_anchors(scene.of_maa.anchors());
    let requirement = AttestedKeyRequirement::new([Guest::container().snp.host_data], 104);
    let policy = scene.policy(scene.lab.trust(), requirement.with_uvm_issuer(of_provider.uvm_issuer()));
    let verifier = builder.build().unwrap();
    let refused = verifier.connect(scene.lab.blindbox.url(), &policy).await.unwrap_err();
    let (expected, actual) = ("VCEK".to_owned(), "VLEK".to_owned());
    let wrong = Violation::WrongMaaKey { field: "signing key", expected, actual };
    assert_eq!(refused.violation(), Some(&wrong), "{refused:?}");
    // Without a CPUID the report does not say which microcode it needs.
    let refused = scene.refused(MaaEvidenceKnob::Hardware(HardwareKnob::ReportVersion(2))).await;
    assert_eq!(refused.violation(), Some(&Violation::NotReported { claim: "cpuid" }));
    scene.publish(scene.evidence());
    let minima = TcbMinima::for_product(Product::Genoa, TcbMinimum::new().snp(25));
    let policy = scene.policy(scene.lab.trust(), scene.requirement().with_reported_tcb(minima));
    let refused = scene.refusal(&policy).await;
    let Some(Violation::WrongMaaKey { field, expected, .. }) = refused.violation() else { panic!("{refused:?}") };
    assert_eq!((*field, expected.as_str()), ("tcb", "snp >= 25"));
    // A minimum for another product is none for this one.
    let minima = TcbMinima::for_product(Product::Turin, TcbMinimum::new().snp(1));
    let policy = scene.policy(scene.lab.trust(), scene.requirement().with_reported_tcb(minima));
    let refused = scene.refusal(&policy).await;
    let Some(Violation::WrongMaaKey { field, actual, .. }) = refused.violation() else { panic!("{refused:?}") };
    assert_eq!((*field, actual.as_str()), ("tcb", "Genoa"));
}

#[tokio::test]
async fn a_key_without_evidence_of_its_own_is_refused() {
    let scene = Scene::start().await;
    let policy = scene.maa_policy();
    let none = || AttestationError::UnattestedMaaKey(MaaKeyError::Evidence(KeyEvidenceError::NoEvidence));
    assert_eq!(scene.refusal(&policy).await, none());
    for knob in [KeySetKnob::ChainOfThree, KeySetKnob::Form(KeyForm::NumbersOnly)] {
        scene.lab.maa.recover();
        scene.publish(scene.evidence());
        scene.lab.maa.set(knob);
        assert_eq!(scene.refusal(&policy).await, none());
    }
    scene.lab.maa.recover();
    // A key that another instance signs with is not proven by the evidence of this one.
    scene.publish(scene.evidence());
    scene.lab.maa.sign_with_unpublished_key();
    assert_eq!(scene.refusal(&policy).await.code(), "invalid-token");
    scene.lab.maa.publish_key();
    let session = scene.lab.verifier().connect(scene.lab.blindbox.url(), &policy).await;
    assert!(session.is_ok(), "{session:?}");
}

#[tokio::test]
async fn evidence_that_does_not_prove_the_key_is_refused() {
    let scene = Scene::start().await;
    let hardware = |knob| MaaEvidenceKnob::Hardware(knob);
    let malformed = |part| MaaKeyError::Evidence(KeyEvidenceError::Malformed { part });
    let member = |name: &str| MaaEvidenceKnob::WithoutMember(name.to_owned());
    for (knob, expected) in [
        (
            MaaEvidenceKnob::Kind("sgx".to_owned()),
            MaaKeyError::Evidence(KeyEvidenceError::OtherKind { found: "sgx".to_owned() }),
        ),
        (MaaEvidenceKnob::WithoutKind, malformed(KeyEvidencePart::Kind)),
        (MaaEvidenceKnob::Document("[]".to_owned()), malformed(KeyEvidencePart::Document)),
        (MaaEvidenceKnob::Document("{".to_owned()), malformed(KeyEvidencePart::Document)),
        (member("SnpReport"), malformed(KeyEvidencePart::Report)),
        (member("VcekCertChain"), malformed(KeyEvidencePart::Certificates)),
        (member("Endorsements"), malformed(KeyEvidencePart::Endorsements)),
        (
            hardware(HardwareKnob::Report(vec![0; 3])),
            MaaKeyError::Report(ReportError::WrongLength { expected: 1184, actual: 3 }),
        ),
        (hardware(HardwareKnob::ReportBitFlipped(0x50 * 8)), MaaKeyError::Report(ReportError::WrongSignature)),
        (
            hardware(HardwareKnob::EndorsedFeed("Another".to_owned())),
            MaaKeyError::Endorsement(EndorsementError::WrongFeed {
                expected: UVM_FEED.to_owned(),
                actual: "Another".to_owned(),
            }),
        ),
        (
            hardware(HardwareKnob::EndorsedMeasurement(Measurement::new([1; 48]))),
            MaaKeyError::OtherMeasurement {
                endorsed: Measurement::new([1; 48]),
                actual: Guest::container().snp.measurement,
            },
        ),
    ] {
        assert_eq!(scene.refused(knob.clone()).await, AttestationError::UnattestedMaaKey(expected), "{knob:?}");
    }
    let refused = scene.refused(MaaEvidenceKnob::OfAnotherKey).await;
    let AttestationError::UnattestedMaaKey(MaaKeyError::OtherKey { expected, actual }) = refused else {
        panic!("{refused:?}")
    };
    let mut other = actual.as_bytes()[..32].to_vec();
    other[0] ^= 1;
    assert_eq!((&expected.as_bytes()[..], &actual.as_bytes()[32..]), (&other[..], &[0; 32][..]));
    let unattested = AttestationError::UnattestedMaaKey;
    let cause = CertificateError::WrongSignature;
    let forged = MaaKeyError::Report(ReportError::Certificate { role: CertificateRole::Vek, cause });
    assert_eq!(scene.refused(hardware(HardwareKnob::ForgedHierarchy)).await, unattested(forged));
    let none = MaaKeyError::Certificates(CertificateError::Malformed);
    assert_eq!(scene.refused(hardware(HardwareKnob::NoCertificates)).await, unattested(none));
    let refused = scene.refused(hardware(HardwareKnob::EndorsedByAnother)).await;
    let AttestationError::UnattestedMaaKey(MaaKeyError::Endorsement(EndorsementError::WrongIssuer {
        expected, ..
    })) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(expected, scene.of_maa.uvm_issuer());
}

/// Of two endorsements, either could be the one that is verified.
#[tokio::test]
async fn evidence_has_one_endorsement_of_the_utility_vm() {
    let scene = Scene::start().await;
    let refused = async |endorsements: &[&str]| {
        let endorsements = URL_SAFE_NO_PAD.encode(json!({ "Uvm": endorsements }).to_string());
        let document = json!({ "Endorsements": endorsements, "SnpReport": "AAAA", "VcekCertChain": "AAAA" });
        match scene.refused(MaaEvidenceKnob::Document(document.to_string())).await {
            AttestationError::UnattestedMaaKey(error) => error,
            other => panic!("{other:?}"),
        }
    };
    let ambiguous = KeyEvidenceError::Malformed { part: KeyEvidencePart::Endorsements };
    assert_eq!(refused(&[]).await, MaaKeyError::Evidence(ambiguous.clone()));
    assert_eq!(refused(&["AAAA", "AAAA"]).await, MaaKeyError::Evidence(ambiguous));
    // With one of them the certificates are next.
    assert_eq!(refused(&["AAAA"]).await, MaaKeyError::Certificates(CertificateError::Malformed));
}

#[tokio::test]
async fn the_revocation_of_the_authority_of_maas_machine_counts() {
    let scene = Scene::start().await;
    scene.publish(scene.evidence());
    let with = |knob| async { Kds::builder().plain_http().knob(knob).start().await.unwrap() };
    let refusal = async |kds: &Kds, policy: &Policy| {
        let verifier = scene.lab.builder().kds(kds.url()).build().unwrap();
        let outcome = verifier.connect(scene.lab.blindbox.url(), policy).await;
        assert_eq!(scene.lab.blindbox.traffic().application_bytes(), 0);
        outcome.map(|session| session.attestation().appraisal().check("maa key revocation").unwrap().actual.to_string())
    };
    let revoked = with(KdsKnob::IssuerRevoked).await;
    let refused = refusal(&revoked, &scene.maa_policy()).await.unwrap_err();
    let role = CertificateRole::Ask;
    let serial = hex::encode(AmdHierarchy::new(scene.of_maa.product()).serial(role));
    let is_revoked = AttestationError::UnattestedMaaKey(MaaKeyError::Report(ReportError::Revoked { role, serial }));
    assert_eq!(refused, is_revoked);
    let outdated = with(KdsKnob::ExpiredCrl).await;
    let refused = refusal(&outdated, &scene.maa_policy()).await.unwrap_err();
    let now = scene.lab.blindbox.clock().now();
    // A year after 2020-10-22, when the emulator's CRLs were made.
    let reason = CrlError::Stale { next_update: UnixTime::from_secs(1_634_923_385), now };
    assert_eq!(refused, AttestationError::RevocationUnavailable { reason });
    let best_effort = scene.policy(scene.lab.trust(), scene.requirement().allow_best_effort_revocation());
    let shown = refusal(&outdated, &best_effort).await;
    assert_eq!(shown.as_deref(), Ok("NOT CHECKED: no current list could be had"));
    let refused = refusal(&revoked, &best_effort).await.unwrap_err();
    assert_eq!(refused, is_revoked);
    let off = scene.policy(scene.lab.trust(), scene.requirement().allow_no_revocation_check());
    let shown = refusal(&revoked, &off).await;
    assert_eq!(shown.as_deref(), Ok("NOT CHECKED: the policy turns it off"));
}

#[tokio::test]
async fn collected_evidence_verifies_with_the_crl_for_the_key() {
    let scene = Scene::start().await;
    scene.publish(scene.evidence());
    let policy = scene.maa_policy();
    let mut collected = scene.lab.verifier().collect(scene.lab.blindbox.url(), &policy).await.unwrap();
    assert!(collected.maa_revocation_list.is_some());
    let recorded = collected.verify(&policy).unwrap();
    assert_eq!(recorded.appraisal().check("maa key revocation").unwrap().actual, "not revoked");
    // Its files hold it too.
    let files = collected.files();
    assert_eq!(files.get("revocation-list-maa.der"), collected.maa_revocation_list.as_deref());
    let mut endorsements = files.endorsements().unwrap();
    endorsements.key_set_source = KeySetSource::Given;
    endorsements.amd_anchors = collected.endorsements().unwrap().amd_anchors;
    let verify = |endorsements: &Endorsements| {
        verify_recorded(&files.evidence().unwrap(), endorsements, &policy, collected.asked_at)
    };
    let recorded = verify(&endorsements).unwrap();
    assert_eq!(recorded.appraisal().check("maa key revocation").unwrap().actual, "not revoked");
    endorsements.crls.clear();
    assert_eq!(verify(&endorsements), Err(AttestationError::RevocationUnavailable { reason: CrlError::Missing }));
    collected.maa_revocation_list = None;
    let refused = collected.verify(&policy);
    assert_eq!(refused, Err(AttestationError::RevocationUnavailable { reason: CrlError::Missing }));
}
