//! Under AMD trust: roots, certificates and keys.

use super::*;

#[test]
fn only_the_pinned_roots_count_whatever_comes_along() {
    let real = |_: &mut Evidence, endorsements: &mut Endorsements| endorsements.amd_anchors = AmdAnchors::builtin();
    // The emulator is not AMD.
    let not_amds = ReportError::Certificate { role: CertificateRole::Vek, cause: CertificateError::WrongSignature };
    let refused = attest_with(&endorsed_container(), &amd_policy(), real);
    assert_eq!(refused, Err(AttestationError::InvalidReport(not_amds)));
    // A chain of the same names, with a report and a VCEK that fit it.
    let forger = AmdHierarchy::impostor(Product::Milan);
    let forged = forger.vcek().issue();
    let guest = endorsed_container();
    let challenge = bound();
    let data = challenge.runtime_data();
    let mut evidence = evidence(&guest, &data);
    evidence.report = Some(report(&guest, &data).sign(&forged));
    let mut endorsements = endorsements();
    let chain = Some((forger.ask().to_vec(), forger.ark().to_vec()));
    endorsements.vek = Some(Vek::Received { der: forged.der().to_vec(), chain });
    let cause = CertificateError::NotPinned { product: Product::Milan };
    let not_pinned = ReportError::Certificate { role: CertificateRole::Ark, cause };
    let refused = verify(&evidence, &endorsements, challenge, &amd_policy(), NOW);
    assert_eq!(refused, Err(AttestationError::InvalidReport(not_pinned)));
}

/// The certificates that the agent sent are part of the evidence: they count where the caller has none, and are no more trusted.
#[test]
fn certificates_of_the_agent_count_where_the_caller_gives_none() {
    let with_certificates = |pem: &str| {
        let change = |evidence: &mut Evidence, endorsements: &mut Endorsements| {
            evidence.certificates = Some(pem.as_bytes().to_vec());
            endorsements.vek = None;
        };
        attest_with(&endorsed_container(), &amd_policy(), change).map(|_| ())
    };
    assert_eq!(with_certificates(&vek().pem()), Ok(()));
    let cause = CertificateError::WrongSignature;
    let forged = ReportError::Certificate { role: CertificateRole::Vek, cause };
    let impostor = AmdHierarchy::impostor(Product::Milan).vcek().issue().pem();
    assert_eq!(with_certificates(&impostor), Err(AttestationError::InvalidReport(forged)));
    let reason = format!("expected certificates as PEM with the report: {}", CertificateError::Malformed);
    assert_eq!(with_certificates("no PEM"), Err(AttestationError::InvalidAgentAnswer { reason }));
    // The caller's own come first.
    let both = |evidence: &mut Evidence, _: &mut Endorsements| evidence.certificates = Some(b"no PEM".to_vec());
    assert_eq!(attest_with(&endorsed_container(), &amd_policy(), both).map(|_| ()), Ok(()));
    let none = |_: &mut Evidence, endorsements: &mut Endorsements| endorsements.vek = None;
    let what = "the certificate of the key that signed the report";
    let missing = Err(AttestationError::MissingEvidence { what });
    assert_eq!(attest_with(&endorsed_container(), &amd_policy(), none).map(|_| ()), missing);
}

#[test]
fn someone_elses_endorsement_counts_only_where_the_policy_names_him() {
    let production = Policy::confidential_container(Trust::amd(), workload(), UvmRequirement::at_least(101)).unwrap();
    let refused = attest(&endorsed_container(), &production);
    let Err(AttestationError::InvalidUvmEndorsement(EndorsementError::WrongIssuer { expected, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(expected, UvmRequirement::PRODUCTION_ISSUER);
}

#[test]
fn a_key_of_many_chips_vouches_for_none() {
    // The chip id in the report is that of an accepted chip. Anyone who has the VLEK from any other chip can write it.
    let guest = endorsed_container();
    let vlek = amd().vlek().issue();
    let accepted = guest.snp.chip_id.unwrap();
    let by_vlek = |policy: &Policy| {
        let challenge = bound();
        let data = challenge.runtime_data();
        let mut evidence = evidence(&guest, &data);
        evidence.report = Some(report(&guest, &data).chip_id(accepted).sign(&vlek));
        let mut endorsements = endorsements();
        endorsements.vek = Some(Vek::from_der(vlek.der()));
        verify(&evidence, &endorsements, challenge, policy, NOW)
    };
    let vlek_only = |policy: Policy| policy.require_signing_keys([SigningKey::Vlek]).unwrap();
    for policy in [amd_policy(), both_policy()] {
        // A policy that accepts VLEKs alone takes no chip ids.
        let either = policy.require_signing_keys([SigningKey::Vcek, SigningKey::Vlek]).unwrap();
        let refused = by_vlek(&either.require_chip_ids([accepted]).unwrap()).unwrap_err();
        assert_eq!(violations(&refused), [Violation::NotReported { claim: "chip id" }]);
    }
    // Nor does it pass unless the policy names its kind or its provider.
    let wrong = |expected: &str, actual: &str| {
        let (expected, actual) = (expected.to_owned(), actual.to_owned());
        [Violation::WrongChip { field: "signing key", expected, actual }]
    };
    for policy in [amd_policy(), both_policy()] {
        assert_eq!(violations(&by_vlek(&policy).unwrap_err()), wrong("VCEK", "VLEK"));
        let vcek_only = policy.clone().require_signing_keys([SigningKey::Vcek]).unwrap();
        assert_eq!(violations(&by_vlek(&vcek_only).unwrap_err()), wrong("VCEK", "VLEK"));
        let both = policy.clone().require_signing_keys([SigningKey::Vcek, SigningKey::Vlek]).unwrap();
        for accepting in [vlek_only(policy.clone()), both] {
            let attested = by_vlek(&accepting).unwrap();
            assert_eq!(check(&attested, "signing key"), (Verdict::Passed, "VLEK".into()));
        }
        let attested = by_vlek(&policy.require_csp_ids([CSP_ID]).unwrap()).unwrap();
        let reason = "the provider is required, whose key is a VLEK";
        assert_eq!(check(&attested, "signing key"), (Verdict::NotEvaluated(reason), "VLEK".into()));
    }
    // Of a chip's own key the kind is checked too.
    let attested = attest(&guest, &amd_policy()).unwrap();
    assert_eq!(check(&attested, "signing key"), (Verdict::Passed, "VCEK".into()));
    let refused = attest(&guest, &vlek_only(amd_policy())).unwrap_err();
    assert_eq!(violations(&refused), wrong("VLEK", "VCEK"));
}

#[test]
fn an_author_key_counts_where_one_was_used() {
    let mut guest = endorsed_container();
    let digest = blindbox_attestation::KeyDigest::new([0x42; 48]);
    guest.snp.author_key_digest = digest;
    let policy = amd_policy().require_author_keys([digest]).unwrap();
    let refused = attest(&guest, &policy).unwrap_err();
    let Some(Violation::WrongGuestIdentity { field, expected, actual }) = refused.violation() else {
        panic!("the report says that no author key was used")
    };
    assert_eq!((*field, expected, actual.as_str()), ("author key", &digest.to_string(), "none"));
    assert!(attest_report(&guest, &policy, |report| report.key_info(1)).is_ok());
}
