//! Revocation lists: AMD publishes none that could be recorded here, so all of these are the emulator's.

use blindbox_attestation::emulator::amd::{AmdHierarchy, CrlBuilder};
use blindbox_attestation::snp::{
    self, CertificateRole, Collateral, CrlError, NotEvaluated, ReportError, Revocation, RevocationOutcome, VerifiedCrl,
    VerifiedVek,
};
use blindbox_attestation::{Product, SigningKey, UnixTime};

use crate::NOW;

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
        assert_eq!(outcome, RevocationOutcome::NotEvaluated { why: NotEvaluated::SwitchedOff });
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
fn the_serial_number_of_an_authority_issued_anew_counts() {
    let amd = AmdHierarchy::new(Product::Milan);
    let vek = amd.vcek().issue();
    let report = amd.report().sign(&vek);
    let anew = amd.ca(CertificateRole::Ask).serial(&[1, 0, 9]).issue();
    let chain = snp::CaChain { issuer: &anew, ark: amd.ark() };
    let verify = |crl: &[u8]| {
        let collateral = Collateral::new(vek.der()).with_chain(chain).with_crl(crl);
        snp::verify(&report, &collateral, &amd.anchors(), Revocation::Require, NOW).err()
    };
    assert_eq!(verify(&current(&amd).revoke(CertificateRole::Ask).issue()), None);
    let expected = ReportError::Revoked { role: CertificateRole::Ask, serial: "010009".into() };
    assert_eq!(verify(&current(&amd).revoke_serial(&[1, 0, 9]).issue()), Some(expected));
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
    let huge = vec![0x30; 1024 * 1024 + 1];
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
        (huge.clone(), CrlError::TooLarge { limit: 1024 * 1024, actual: huge.len() }),
    ];
    for (der, expected) in table {
        let required = verdict(SigningKey::Vcek, Some(&der), Revocation::Require);
        assert_eq!(required, Err(ReportError::Crl(expected.clone())));
        let (outcome, _) = verdict(SigningKey::Vcek, Some(&der), Revocation::BestEffort).unwrap();
        assert_eq!(outcome, RevocationOutcome::NotEvaluated { why: NotEvaluated::Unusable(expected) });
    }
    let missing = verdict(SigningKey::Vcek, None, Revocation::Require);
    assert_eq!(missing, Err(ReportError::Crl(CrlError::Missing)));
    let (outcome, _) = verdict(SigningKey::Vcek, None, Revocation::BestEffort).unwrap();
    assert_eq!(outcome, RevocationOutcome::NotEvaluated { why: NotEvaluated::Unusable(CrlError::Missing) });
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
    let point = [0x30, 0x07, 0xa0, 0x02, 0xa0, 0x00, 0x82, 0x01, 0xff];
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
