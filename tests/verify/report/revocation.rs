//! Certificate revocation lists (CRLs) of the emulator; `amd_crls.rs` has AMD's own.

use std::time::Duration;

use blindbox_attestation::emulator::amd::{AmdHierarchy, CrlBuilder, pem};
use blindbox_attestation::snp::{
    self, CertificateBundle, CertificateRole, Collateral, CrlError, NotEvaluated, ReportError, Revocation,
    RevocationOutcome, VerifiedCrl, VerifiedVek,
};
use blindbox_attestation::{Product, SigningKey, UnixTime};

use super::NOW;

/// The verdict with a list, for a VCEK or VLEK of Milan.
fn verdict(
    kind: SigningKey,
    crl: Option<&[u8]>,
    revocation: Revocation,
) -> Result<(RevocationOutcome, UnixTime), ReportError> {
    let amd = AmdHierarchy::new(Product::Milan);
    let vek = if kind == SigningKey::Vcek { amd.vcek().issue() } else { amd.vlek().issue() };
    let report = amd.report().sign(&vek);
    let mut collateral = Collateral::new(vek.der());
    if let Some(der) = crl {
        collateral = collateral.with_crl(der);
    }
    let cold = snp::verify(&report, &collateral, &amd.anchors(), revocation, NOW);
    if let Some(Ok(verified)) = crl.map(|der| VerifiedCrl::verify(der, Product::Milan, &amd.anchors())) {
        let warm = VerifiedVek::verify(vek.der(), None, &amd.anchors()).unwrap();
        assert_eq!(warm.verify_with(&report, Some(&verified), revocation, NOW), cold);
        let collateral = Collateral::new(vek.der()).with_verified_crl(&verified);
        assert_eq!(snp::verify(&report, &collateral, &amd.anchors(), revocation, NOW), cold);
    }
    cold.map(|verified| (verified.revocation().clone(), verified.expires_at()))
}

fn current(amd: &AmdHierarchy) -> CrlBuilder {
    amd.crl().this_update(NOW.minus(10)).next_update(Some(NOW.plus(10)))
}

#[test]
fn a_current_list_that_revokes_nothing_is_part_of_the_result() {
    let crl = current(&AmdHierarchy::new(Product::Milan)).issue();
    let (this_update, next_update) = (NOW.minus(10), NOW.plus(10));
    for kind in [SigningKey::Vcek, SigningKey::Vlek] {
        for revocation in [Revocation::Require, Revocation::BestEffort] {
            let checked = RevocationOutcome::Checked { this_update, next_update };
            // The verdict does not outlive the list.
            assert_eq!(verdict(kind, Some(&crl), revocation), Ok((checked, next_update)));
        }
        let (outcome, expires_at) = verdict(kind, Some(&crl), Revocation::Off).unwrap();
        assert_eq!(outcome, RevocationOutcome::NotEvaluated { reason: NotEvaluated::SwitchedOff });
        assert!(expires_at > next_update);
    }
}

#[test]
fn what_amd_revoked_is_refused() {
    let amd = AmdHierarchy::new(Product::Milan);
    let revoked = |crl: CrlBuilder, kind| verdict(kind, Some(&crl.issue()), Revocation::Require).err();
    let refuse = |role| {
        let serial = hex::encode(amd.serial(role));
        Some(ReportError::Revoked { role, serial })
    };
    let (ark, ask, asvk) = (CertificateRole::Ark, CertificateRole::Ask, CertificateRole::Asvk);
    assert_eq!(revoked(current(&amd).revoke(ask), SigningKey::Vcek), refuse(ask));
    assert_eq!(revoked(current(&amd).revoke(ask), SigningKey::Vlek), None);
    assert_eq!(revoked(current(&amd).revoke(asvk), SigningKey::Vlek), refuse(asvk));
    assert_eq!(revoked(current(&amd).revoke(asvk), SigningKey::Vcek), None);
    assert_eq!(revoked(current(&amd).revoke(ark), SigningKey::Vcek), refuse(ark));
    let many = (0..200).fold(current(&amd), |crl, number| crl.revoke_serial(&[9, number]));
    assert_eq!(revoked(many.clone(), SigningKey::Vcek), None);
    assert_eq!(revoked(many.revoke(ask), SigningKey::Vcek), refuse(ask));
    // The certificates of reports have serial number 0 and another issuer: not what this list is about.
    assert_eq!(revoked(current(&amd).revoke_serial(&[0]), SigningKey::Vcek), None);
    // For a reason, which changes nothing.
    let with_reason = current(&amd).revoke_with_extension(&amd.serial(ask), "2.5.29.21", false, &[0x0a, 1, 4]);
    assert_eq!(revoked(with_reason, SigningKey::Vcek), refuse(ask));
}

#[test]
fn best_effort_and_an_old_list_do_not_undo_a_revocation() {
    let amd = AmdHierarchy::new(Product::Milan);
    let ask = CertificateRole::Ask;
    let expected = ReportError::Revoked { role: ask, serial: hex::encode(amd.serial(ask)) };
    let old = current(&amd).next_update(Some(NOW.minus(1))).revoke(ask).issue();
    for revocation in [Revocation::Require, Revocation::BestEffort] {
        assert_eq!(verdict(SigningKey::Vcek, Some(&old), revocation), Err(expected.clone()));
    }
    assert_eq!(verdict(SigningKey::Vcek, Some(&old), Revocation::Off).err(), None);
}

#[test]
fn any_revoked_certificate_of_an_authoritys_key_counts() {
    let amd = AmdHierarchy::new(Product::Milan);
    let vek = amd.vcek().issue();
    let report = amd.report().sign(&vek);
    let (ark, ask) = (CertificateRole::Ark, CertificateRole::Ask);
    // Outside its dates, which takes nothing from its revocation.
    let new_ask = amd.ca(ask).serial(&[1, 0, 9]).valid(NOW.minus(10), NOW.minus(1)).issue();
    let new_ark = amd.ca(ark).serial(&[1, 9, 9]).issue();
    let chain = snp::CaChain { issuer: &new_ask, ark: &new_ark };
    let pem = [vek.der(), &new_ask, &new_ark].map(pem).concat();
    let bundle = CertificateBundle::from_pem(pem.as_bytes()).unwrap();
    let verify = |collateral: Collateral, crl: &[u8]| {
        snp::verify(&report, &collateral.with_crl(crl), &amd.anchors(), Revocation::Require, NOW).err()
    };
    let revoked = |role, serial: &str| Some(ReportError::Revoked { role, serial: serial.into() });
    for (serial, expected) in [
        // The certificate that is pinned, and the one that was sent, of one key: either of them.
        (&[1, 0, 1][..], revoked(ask, "010001")),
        (&[1, 0, 9], revoked(ask, "010009")),
        (&[1, 0, 0], revoked(ark, "010000")),
        (&[1, 9, 9], revoked(ark, "010909")),
        (&[1, 0, 8], None),
    ] {
        let crl = current(&amd).revoke_serial(serial).issue();
        assert_eq!(verify(Collateral::new(vek.der()).with_chain(chain), &crl), expected);
        assert_eq!(verify(Collateral::bundle(&bundle), &crl), expected);
    }
    // Of another key: the revocation of the pinned certificate is not about it.
    let other_key = amd.ca(ask).serial(&[1, 0, 9]).with_key_of(CertificateRole::Asvk).issue();
    let other_vek = amd.vcek().signed_by(&amd, CertificateRole::Asvk).issue();
    let other_report = amd.report().sign(&other_vek);
    let crl = current(&amd).revoke(ask).issue();
    let chain = snp::CaChain { issuer: &other_key, ark: amd.ark() };
    let collateral = Collateral::new(other_vek.der()).with_chain(chain).with_crl(&crl);
    assert_eq!(snp::verify(&other_report, &collateral, &amd.anchors(), Revocation::Require, NOW).err(), None);
}

/// RFC 5280 section 6.3.3 (b)(2).
#[test]
fn a_crl_counts_for_certificates_that_name_its_distribution_point() {
    let amd = AmdHierarchy::new(Product::Milan);
    let url = |kind: SigningKey| format!("https://kdsintf.amd.com/{}/v1/Milan/crl", kind.to_string().to_lowercase());
    for (kind, other, role) in [
        (SigningKey::Vcek, SigningKey::Vlek, CertificateRole::Ask),
        (SigningKey::Vlek, SigningKey::Vcek, CertificateRole::Asvk),
    ] {
        let crl = |kind| current(&amd).distribution_point(kind);
        let required = |crl: CrlBuilder| verdict(kind, Some(&crl.issue()), Revocation::Require).err();
        assert_eq!(required(crl(kind)), None);
        let wrong = CrlError::WrongDistributionPoint { expected: url(kind), actual: url(other) };
        assert_eq!(required(crl(other)), Some(ReportError::Crl(wrong.clone())));
        let (outcome, _) = verdict(kind, Some(&crl(other).issue()), Revocation::BestEffort).unwrap();
        assert_eq!(outcome, RevocationOutcome::NotEvaluated { reason: NotEvaluated::Unusable(wrong.clone()) });
        // What it revokes is revoked all the same: the root is one, and so are its serial numbers.
        let serial = hex::encode(amd.serial(role));
        assert_eq!(required(crl(other).revoke(role)), Some(ReportError::Revoked { role, serial }));

        let anchors = amd.anchors();
        let verified = VerifiedCrl::verify_for(&crl(kind).issue(), Product::Milan, kind, &anchors).unwrap();
        assert_eq!((verified.distribution_points(), verified.number().as_deref()), (&[url(kind)][..], Some("01")));
        let refused = VerifiedCrl::verify_for(&crl(other).issue(), Product::Milan, kind, &anchors).err();
        assert_eq!(refused, Some(wrong));
        // One that names none is about everything that the root issued.
        let unnamed = VerifiedCrl::verify_for(&current(&amd).issue(), Product::Milan, kind, &anchors).unwrap();
        assert_eq!(unnamed.distribution_points(), &[] as &[String]);
        assert_eq!(required(current(&amd)), None);
    }
}

#[test]
fn a_greatest_age_of_the_crl_can_be_required() {
    let crl = current(&AmdHierarchy::new(Product::Milan)).issue();
    let within = |seconds| Revocation::RequireIssuedWithin(Duration::from_secs(seconds));
    let (this_update, next_update) = (NOW.minus(10), NOW.plus(10));
    let checked = RevocationOutcome::Checked { this_update, next_update };
    // The attestation ends when the CRL gets too old for the policy, or with the CRL.
    for (age, ends) in [(10, NOW), (15, NOW.plus(5)), (20, next_update), (21, next_update), (u64::MAX, next_update)] {
        let expected = Ok((checked.clone(), ends));
        assert_eq!(verdict(SigningKey::Vcek, Some(&crl), within(age)), expected, "{age}");
    }
    let too_old = CrlError::TooOld { this_update, max_age_seconds: 9, now: NOW };
    assert_eq!(verdict(SigningKey::Vcek, Some(&crl), within(9)), Err(ReportError::Crl(too_old)));
    assert_eq!(verdict(SigningKey::Vcek, None, within(9)), Err(ReportError::Crl(CrlError::Missing)));
}

#[test]
fn the_signature_is_verified_before_the_content_is_read() {
    let amd = AmdHierarchy::new(Product::Milan);
    let forger = AmdHierarchy::impostor(Product::Milan);
    let verify = |crl: CrlBuilder| VerifiedCrl::verify(&crl.issue(), Product::Milan, &amd.anchors()).err();
    // The same content: under the ARK's signature its fault is found, under another one it is not looked for.
    let many_extensions = |amd: &AmdHierarchy| {
        (0..16).fold(current(amd), |crl, arc| crl.add_extension(&format!("1.2.3.{arc}"), false, &[5, 0]))
    };
    let many_entries =
        |amd: &AmdHierarchy| (0..1025_u16).fold(current(amd), |crl, n| crl.revoke_serial(&n.to_be_bytes()));
    let long_serial = |amd: &AmdHierarchy| current(amd).revoke_serial(&[1; 21]);
    let not_an_entry = |amd: &AmdHierarchy| current(amd).raw_entry(&[4, 1, 0]);
    let too_many = |what, limit| CrlError::TooMany { what, limit };
    type Make<'a> = &'a dyn Fn(&AmdHierarchy) -> CrlBuilder;
    let table: [(Make<'_>, CrlError); 4] = [
        (&many_extensions, too_many("extensions", 16)),
        (&many_entries, too_many("revoked certificates", 1024)),
        (&long_serial, CrlError::Malformed),
        (&not_an_entry, CrlError::Malformed),
    ];
    for (make, expected) in table {
        assert_eq!(verify(make(&amd)), Some(expected));
        assert_eq!(verify(make(&forger)), Some(CrlError::WrongSignature));
    }
    // The most that is read of each is read.
    let most = (0..1024_u16).fold(current(&amd), |crl, n| crl.revoke_serial(&n.to_be_bytes()));
    assert_eq!(verify((0..15).fold(most, |crl, arc| crl.add_extension(&format!("1.2.3.{arc}"), false, &[5, 0]))), None);
}

#[test]
fn a_list_that_cannot_be_used_is_refused_where_one_is_required() {
    let amd = AmdHierarchy::new(Product::Milan);
    let genoa = AmdHierarchy::new(Product::Genoa);
    let forger = AmdHierarchy::impostor(Product::Milan);
    let crl = || current(&amd);
    let wrong_issuer = |actual: &str| CrlError::WrongIssuer { expected: "ARK-Milan".into(), actual: actual.into() };
    let unsupported = |oid: &str| CrlError::UnsupportedExtension { oid: oid.into() };
    let (later, earlier) = (NOW.plus(1), NOW.minus(1));
    let mut trailing = crl().issue();
    trailing.push(0);
    let mut flipped = crl().issue();
    *flipped.last_mut().unwrap() ^= 1;
    let huge = vec![0x30; 64 * 1024 + 1];
    let malformed_entry = crl().raw_entry(&[0x30, 3, 2, 1, 1]).revoke(CertificateRole::Ask).issue();
    let not_a_list = crl().raw_entry(&[4, 1, 0]).issue();
    let table: Vec<(Vec<u8>, CrlError)> = vec![
        (crl().this_update(later).issue(), CrlError::NotYetValid { this_update: later, now: NOW }),
        (crl().next_update(Some(earlier)).issue(), CrlError::Stale { next_update: earlier, now: NOW }),
        (crl().next_update(None).issue(), CrlError::NoNextUpdate),
        (current(&genoa).issue(), wrong_issuer("ARK-Genoa")),
        (crl().issuer("SEV-Milan").issue(), wrong_issuer("SEV-Milan")),
        (current(&forger).issue(), CrlError::WrongSignature),
        (crl().signed_by(&amd, CertificateRole::Ask).issue(), CrlError::WrongSignature),
        (flipped, CrlError::WrongSignature),
        (crl().differing_algorithms().issue(), CrlError::AlgorithmsDiffer),
        (crl().add_extension("1.2.3.4", true, &[5, 0]).issue(), unsupported("1.2.3.4")),
        (crl().add_extension("2.5.29.27", true, &[2, 1, 1]).issue(), unsupported("2.5.29.27")),
        (crl().add_extension("2.5.29.27", false, &[2, 1, 1]).issue(), unsupported("2.5.29.27")),
        // Only end entity certificates; only some reasons; indirect.
        (crl().add_extension("2.5.29.28", true, &[0x30, 3, 0x81, 1, 0xff]).issue(), unsupported("2.5.29.28")),
        (crl().add_extension("2.5.29.28", true, &[0x30, 4, 0x83, 2, 0, 0x80]).issue(), unsupported("2.5.29.28")),
        (crl().add_extension("2.5.29.28", true, &[0x30, 3, 0x84, 1, 0xff]).issue(), unsupported("2.5.29.28")),
        (crl().add_extension("2.5.29.20", false, &[2, 1, 1]).issue(), CrlError::Malformed),
        (crl().revoke_with_extension(&[9], "1.2.3.4", true, &[5, 0]).issue(), unsupported("1.2.3.4")),
        (crl().revoke_with_extension(&[9], "2.5.29.29", true, &[0x30, 0]).issue(), unsupported("2.5.29.29")),
        (malformed_entry, CrlError::Malformed),
        (not_a_list, CrlError::Malformed),
        (trailing, CrlError::Malformed),
        (amd.ark().to_vec(), CrlError::Malformed),
        (Vec::new(), CrlError::Malformed),
        (huge.clone(), CrlError::TooLarge { limit: 64 * 1024, actual: huge.len() }),
    ];
    for (der, expected) in table {
        let required = verdict(SigningKey::Vcek, Some(&der), Revocation::Require);
        assert_eq!(required, Err(ReportError::Crl(expected.clone())));
        let (outcome, _) = verdict(SigningKey::Vcek, Some(&der), Revocation::BestEffort).unwrap();
        assert_eq!(outcome, RevocationOutcome::NotEvaluated { reason: NotEvaluated::Unusable(expected) });
    }
    let missing = verdict(SigningKey::Vcek, None, Revocation::Require);
    assert_eq!(missing, Err(ReportError::Crl(CrlError::Missing)));
    let (outcome, _) = verdict(SigningKey::Vcek, None, Revocation::BestEffort).unwrap();
    assert_eq!(outcome, RevocationOutcome::NotEvaluated { reason: NotEvaluated::Unusable(CrlError::Missing) });
}

#[test]
fn a_list_is_good_from_its_first_to_its_last_second() {
    let amd = AmdHierarchy::new(Product::Milan);
    for (this_update, next_update) in [(NOW, NOW.plus(1)), (NOW.minus(1), NOW)] {
        let crl = amd.crl().this_update(this_update).next_update(Some(next_update)).issue();
        let checked = RevocationOutcome::Checked { this_update, next_update };
        assert_eq!(verdict(SigningKey::Vcek, Some(&crl), Revocation::Require), Ok((checked, next_update)));
    }
}

#[test]
fn extensions_that_take_nothing_away_are_accepted() {
    let amd = AmdHierarchy::new(Product::Milan);
    let point = [0x30, 0x03, 0x82, 0x01, 0xff];
    for crl in [
        current(&amd).add_extension("2.5.29.28", true, &point),
        current(&amd).add_extension("2.5.29.35", false, &[0x30, 0]),
        current(&amd).add_extension("1.2.3.4", false, &[5, 0]),
    ] {
        let refused = verdict(SigningKey::Vcek, Some(&crl.issue()), Revocation::Require).err();
        assert_eq!(refused, None);
    }
}

#[test]
fn a_list_of_one_root_is_not_taken_for_another() {
    let amd = AmdHierarchy::new(Product::Milan);
    let genoa = AmdHierarchy::new(Product::Genoa);
    let crl = VerifiedCrl::verify(&current(&genoa).issue(), Product::Genoa, &genoa.anchors()).unwrap();
    assert_eq!((crl.product(), crl.next_update()), (Product::Genoa, NOW.plus(10)));
    let vek = amd.vcek().issue();
    let report = amd.report().sign(&vek);
    let warm = VerifiedVek::verify(vek.der(), None, &amd.anchors()).unwrap();
    let actual = "ARK-Genoa with another key".into();
    let expected = ReportError::Crl(CrlError::WrongIssuer { expected: "ARK-Milan".into(), actual });
    assert_eq!(warm.verify_with(&report, Some(&crl), Revocation::Require, NOW), Err(expected));
}
