//! Certificates that the agent sends with the report.

use super::*;

/// What `fetch` saves is what a session would have used.
async fn assert_collected_verifies(lab: &Lab) {
    let policy = lab.amd_policy();
    let collected = lab.verifier().collect(lab.blindbox.url(), &policy).await.unwrap();
    assert_eq!(collected.missing().next(), None);
    let (endorsements, now) = (collected.endorsements().unwrap(), lab.blindbox.clock().now());
    let outcome = verify_recorded(&collected.evidence, &endorsements, &policy, now);
    assert!(outcome.is_ok(), "{outcome:?}");
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
    for (knob, expected) in [
        // The certificate is not AMD's, and AMD's service has the one of the chip, whose key did not sign.
        (HardwareKnob::ForgedHierarchy, ReportError::WrongSignature),
        (HardwareKnob::ReportBitFlipped(0x90 * 8), ReportError::WrongSignature),
        (HardwareKnob::Unsigned, ReportError::Unsigned),
    ] {
        lab.blindbox.reset();
        lab.blindbox.set(Knob::Hardware(knob.clone()));
        assert_eq!(refused(&lab, &lab.amd_policy()).await, AttestationError::InvalidReport(expected), "{knob:?}");
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
    lab.blindbox.set(Knob::Hardware(HardwareKnob::ForgedEndorsement));
    let error = refused(&lab, &lab.amd_policy()).await;
    assert!(
        matches!(error, AttestationError::InvalidUvmEndorsement(EndorsementError::FingerprintNotInChain { .. })),
        "{error:?}"
    );
    lab.blindbox.reset();
    lab.blindbox.set(Knob::Hardware(HardwareKnob::EndorsedByAnother));
    let error = refused(&lab, &lab.amd_policy()).await;
    let AttestationError::InvalidUvmEndorsement(EndorsementError::WrongIssuer { expected, actual }) = error else {
        panic!("{error:?}")
    };
    let usual = lab.blindbox.uvm_issuer().unwrap();
    assert_eq!(expected, usual);
    assert_ne!(actual, usual);
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
