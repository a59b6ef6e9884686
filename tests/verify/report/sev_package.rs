//! Real evidence that is on every machine: the Milan report and VCEK inside the published `sev` package, which cargo
//! has unpacked to build this crate.

use blindbox_attestation::claims::Bit;
use blindbox_attestation::snp::{
    self, AmdAnchors, CertificateError, CertificateRole, Collateral, NotEvaluated, ReportError, Revocation,
    RevocationOutcome, VekCertificate, VekIdentity, VerifiedVek,
};
use blindbox_attestation::{Product, SigningKey, Tcb};

use crate::sev_data::{Milan, milan, package};

#[test]
fn the_milan_report_verifies_under_amds_roots() {
    let Milan { report, vcek } = milan();
    let now = VekCertificate::from_der(&vcek).unwrap().not_before();
    let anchors = AmdAnchors::builtin();
    let verified = snp::verify(&report, &Collateral::new(&vcek), &anchors, Revocation::Off, now).unwrap();

    assert_eq!(verified.product(), Product::Milan);
    assert_eq!(verified.revocation(), &RevocationOutcome::NotEvaluated { reason: NotEvaluated::SwitchedOff });
    assert!(!verified.has_custom_anchors());
    let hardware = verified.hardware();
    assert_eq!((hardware.version, hardware.signing_key), (2, SigningKey::Vcek));
    assert_eq!(hardware.cpuid, None);
    assert_eq!(hardware.platform_info.alias_check_complete, Bit::NotReported);
    assert_eq!(verified.snp().reported_tcb, Tcb::new(None, 3, 0, 8, 115));
    assert_eq!(verified.snp().report_data.as_bytes(), &report[0x50..0x90]);
    let warm = VerifiedVek::verify(&vcek, None, &anchors).unwrap();
    assert_eq!(warm.verify_with(&report, None, Revocation::Off, now), Ok(verified));
}

#[test]
fn a_certificate_is_valid_from_its_first_to_its_last_second() {
    let Milan { report, vcek } = milan();
    let parsed = VekCertificate::from_der(&vcek).unwrap();
    let (not_before, not_after) = (parsed.not_before(), parsed.not_after());
    let anchors = AmdAnchors::builtin();
    let warm = VerifiedVek::verify(&vcek, None, &anchors).unwrap();
    let at = |now| {
        let cold = snp::verify(&report, &Collateral::new(&vcek), &anchors, Revocation::Off, now);
        assert_eq!(warm.verify_with(&report, None, Revocation::Off, now), cold);
        cold.map(|verified| verified.expires_at())
    };
    let refuse = |cause| Err(ReportError::Certificate { role: CertificateRole::Vek, cause });
    assert_eq!(at(not_before), Ok(not_after));
    assert_eq!(at(not_after), Ok(not_after));
    let early = not_before.minus(1);
    assert_eq!(at(early), refuse(CertificateError::NotYetValid { not_before, now: early }));
    let late = not_after.plus(1);
    assert_eq!(at(late), refuse(CertificateError::Expired { not_after, now: late }));
}

#[test]
fn every_single_flipped_bit_of_the_report_is_refused() {
    let Milan { report, vcek } = milan();
    let warm = VerifiedVek::verify(&vcek, None, &AmdAnchors::builtin()).unwrap();
    let now = warm.certificate().not_before();
    let mut by_signature = 0;
    for bit in 0..report.len() * 8 {
        let mut changed = report.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        match warm.verify_with(&changed, None, Revocation::Off, now) {
            Err(ReportError::WrongSignature) => by_signature += 1,
            Err(
                ReportError::ReservedByte { .. }
                | ReportError::ReservedBits { .. }
                | ReportError::UnsupportedVersion { .. }
                | ReportError::UnsupportedVmpl { .. }
                | ReportError::UnsupportedSignatureAlgorithm { .. }
                | ReportError::UnsupportedSigningKey { .. }
                | ReportError::SigningKeyMismatch { .. }
                | ReportError::UnsupportedProduct { .. }
                | ReportError::ProductMismatch { .. }
                | ReportError::ChipIdMismatch { .. }
                | ReportError::TcbMismatch { .. }
                | ReportError::MaskedChipKey
                | ReportError::NotCanonical,
            ) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
    // What has no meaning of its own is caught by the signature alone: at least report data, host data, measurement,
    // digests, ids (16 + 16 + 64 + 48 + 32 + 48 + 48 + 32 + 32 bytes) and the two numbers of the signature.
    assert!(by_signature >= 8 * (336 + 96), "{by_signature}");
}

#[test]
fn every_single_flipped_bit_of_the_certificate_is_refused() {
    let Milan { report, vcek } = milan();
    let now = VekCertificate::from_der(&vcek).unwrap().not_before();
    let anchors = AmdAnchors::builtin();
    for bit in 0..vcek.len() * 8 {
        let mut changed = vcek.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        match snp::verify(&report, &Collateral::new(&changed), &anchors, Revocation::Off, now) {
            Err(ReportError::Certificate { role: CertificateRole::Vek, .. }) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn a_certificate_has_one_encoding() {
    let Milan { vcek, .. } = milan();
    assert_eq!(vcek[..2], [0x30, 0x82]);
    let refused = |der: &[u8]| VekCertificate::from_der(der).err();
    assert_eq!(refused(&[&vcek[..], &[0]].concat()), Some(CertificateError::Malformed));
    assert_eq!(refused(&vcek[..vcek.len() - 1]), Some(CertificateError::Malformed));
    let longer = [&[0x30, 0x83, 0], &vcek[2..]].concat();
    assert_eq!(refused(&longer), Some(CertificateError::Malformed));
    assert_eq!(refused(&[]), Some(CertificateError::Malformed));
    let (limit, actual) = (8 * 1024, 9_000);
    assert_eq!(refused(&vec![0x30; actual]), Some(CertificateError::TooLarge { limit, actual }));
}

#[test]
fn a_turin_certificate_verifies_under_amds_roots() {
    let der = std::fs::read(package().join("tests/certs_data/vcek_turin.der")).unwrap();
    let vek = VerifiedVek::verify(&der, None, &AmdAnchors::builtin()).unwrap();
    let certificate = vek.certificate();
    assert_eq!((certificate.product(), certificate.product_name()), (Product::Turin, "Turin"));
    assert!(certificate.tcb().fmc.is_some());
    let VekIdentity::Chip(chip) = certificate.identity() else { panic!("a VCEK") };
    assert!(chip.as_bytes()[8..].iter().all(|byte| *byte == 0));

    let Milan { report, .. } = milan();
    let now = certificate.not_before();
    // A version 2 report does not say its product: the chip and the TCB tell.
    match vek.verify_with(&report, None, Revocation::Off, now) {
        Err(ReportError::ChipIdMismatch { certificate, .. }) => assert_eq!(&*certificate, chip),
        other => panic!("{other:?}"),
    }
}
