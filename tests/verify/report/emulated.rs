//! Reports of every product, version and kind of key, right and wrong in every single way.

use blindbox_attestation::claims::{Bit, Cpuid};
use blindbox_attestation::emulator::amd::{self, AmdHierarchy, ReportBuilder};
use blindbox_attestation::snp::{
    self, AmdAnchors, CertificateError, CertificateRole, Collateral, CollateralRequest, REPORT_LEN, ReportError,
    Revocation, TcbPart, Vek, VerifiedCrl, VerifiedReport, VerifiedVek,
};
use blindbox_attestation::{
    AttestationError, ChipId, Endorsements, Evidence, FirmwareVersion, Product, SigningKey, Tcb, verify_unappraised,
};

use super::NOW;

fn verify(amd: &AmdHierarchy, vek: &amd::SignedVek, report: &[u8]) -> Result<VerifiedReport, ReportError> {
    let cold = snp::verify(report, &Collateral::new(vek.der()), &amd.anchors(), Revocation::Off, NOW);
    let warm = VerifiedVek::verify(vek.der(), None, &amd.anchors());
    assert_eq!(warm.and_then(|warm| warm.verify_with(report, None, Revocation::Off, NOW)), cold);
    cold
}

/// Distinct values in every byte of every TCB.
fn tcbs(product: Product) -> [Tcb; 4] {
    let fmc = |value| (product == Product::Turin).then_some(value);
    [
        Tcb::new(fmc(0x11), 0x12, 0x13, 0x14, 0xd5),
        Tcb::new(fmc(0x21), 0x22, 0x23, 0x24, 0xd6),
        Tcb::new(fmc(0x31), 0x32, 0x33, 0x34, 0xd7),
        Tcb::new(fmc(0x41), 0x42, 0x43, 0x44, 0xd8),
    ]
}

#[test]
fn every_product_version_and_kind_of_key_verifies_with_every_field() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let [reported, committed, current, launch] = tcbs(product);
        for vek in [amd.vcek().tcb(reported).issue(), amd.vlek().tcb(reported).csp_id("CN=someone").issue()] {
            for version in 2..=5 {
                // A VCEK does not sign where MASK_CHIP_KEY is set.
                let key_info = if vek.chip_id().is_zero() { 3 } else { 1 };
                let report = amd
                    .report()
                    .version(version)
                    .policy(0x03fb_0137)
                    .platform_info(0xffff_ffff_ffff_ffff)
                    .key_info(key_info)
                    .vmpl(3)
                    .committed_tcb(committed)
                    .current_tcb(current)
                    .launch_tcb(launch)
                    .current_firmware(FirmwareVersion { major: 1, minor: 58, build: 3 })
                    .committed_firmware(FirmwareVersion { major: 1, minor: 57, build: 9 })
                    .launch_mitigation_vector(0x0102_0304_0506_0708)
                    .current_mitigation_vector(0x1112_1314_1516_1718)
                    .sign(&vek);
                let verified =
                    verify(&amd, &vek, &report).unwrap_or_else(|error| panic!("{product} {version}: {error}"));
                let (snp, hardware) = (verified.snp(), verified.hardware());
                assert_eq!(verified.product(), product);
                assert!(verified.has_custom_anchors());
                assert_eq!(snp.reported_tcb, reported);
                assert_eq!(
                    [hardware.committed_tcb, hardware.current_tcb, hardware.launch_tcb],
                    [committed, current, launch]
                );
                assert_eq!(hardware.current_firmware.to_string(), "1.58.3");
                assert_eq!(hardware.committed_firmware.to_string(), "1.57.9");
                assert!(hardware.is_firmware_provisional());
                assert_eq!(snp.chip_id, (!vek.chip_id().is_zero()).then_some(vek.chip_id()));
                assert_eq!(hardware.csp_id.as_deref(), vek.chip_id().is_zero().then_some("CN=someone"));
                assert_eq!(
                    (hardware.policy, hardware.policy_abi_major, hardware.policy_abi_minor),
                    (0x03fb_0137, 1, 0x37)
                );
                assert!(snp.policy.debug && snp.policy.smt && !snp.policy.migrate_ma);
                assert_eq!(snp.policy.page_swap_disable, Bit::Set);
                assert_eq!((hardware.author_key_en, hardware.mask_chip_key), (true, key_info & 2 != 0));
                assert_eq!(hardware.cpuid.is_some(), version > 2);
                let vectors = [hardware.launch_mitigation_vector, hardware.current_mitigation_vector];
                let expected =
                    [0x0102_0304_0506_0708, 0x1112_1314_1516_1718].map(|bits| (version == 5).then_some(bits));
                assert_eq!(vectors, expected);
                let info = hardware.platform_info;
                assert_eq!(info.raw, u64::MAX);
                assert_eq!(info.alias_check_complete, if version == 2 { Bit::NotReported } else { Bit::Set });
                assert_eq!(info.tio_en, if version == 5 { Bit::Set } else { Bit::NotReported });
            }
        }
    }
}

#[test]
fn the_claims_are_written_in_hexadecimal() {
    let amd = AmdHierarchy::new(Product::Turin);
    let vek = amd.vcek().issue();
    let report = amd.report().version(5).current_mitigation_vector(0xb).sign(&vek);
    let claims = serde_json::to_value(verify(&amd, &vek, &report).unwrap().hardware()).unwrap();
    assert_eq!(claims["policy"], "0x000000000003001f");
    assert_eq!(claims["platform_info"]["raw"], "0x0000000000000025");
    assert_eq!(claims["platform_info"]["alias_check_complete"], "set");
    assert_eq!(claims["current_mitigation_vector"], "0x000000000000000b");
    assert_eq!(claims["report_id_ma"], "ff".repeat(32));
    assert_eq!(claims["signing_key"], "vcek");
    assert_eq!(claims["current_firmware"], "1.55.29");
    assert_eq!(claims["cpuid"]["family"], 0x1a);
    assert_eq!(claims.get("csp_id"), None);
}

#[test]
fn a_clear_bit_of_version_2_may_be_unknown() {
    let amd = AmdHierarchy::new(Product::Milan);
    let vek = amd.vcek().issue();
    for (version, expected) in [(2, Bit::NotReported), (3, Bit::Clear)] {
        let report = amd.report().version(version).platform_info(0).sign(&vek);
        let info = verify(&amd, &vek, &report).unwrap().hardware().platform_info;
        assert_eq!(
            [info.ecc_en, info.rapl_dis, info.ciphertext_hiding_dram_en, info.alias_check_complete],
            [expected; 4]
        );
    }
}

#[test]
fn a_tcb_that_differs_in_any_one_part_is_refused() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let [certificate, ..] = tcbs(product);
        let vek = amd.vcek().tcb(certificate).issue();
        let part = |change: fn(&mut Tcb, i8), by: i8| {
            let mut tcb = certificate;
            change(&mut tcb, by);
            tcb
        };
        type Step = fn(&mut Tcb, i8);
        let mut parts: Vec<(TcbPart, Step)> = vec![
            (TcbPart::Bootloader, |tcb, by| tcb.bootloader = tcb.bootloader.wrapping_add_signed(by)),
            (TcbPart::Tee, |tcb, by| tcb.tee = tcb.tee.wrapping_add_signed(by)),
            (TcbPart::Snp, |tcb, by| tcb.snp = tcb.snp.wrapping_add_signed(by)),
            (TcbPart::Microcode, |tcb, by| tcb.microcode = tcb.microcode.wrapping_add_signed(by)),
        ];
        if product == Product::Turin {
            parts.push((TcbPart::Fmc, |tcb, by| tcb.fmc = tcb.fmc.map(|fmc| fmc.wrapping_add_signed(by))));
        }
        for version in 2..=5 {
            for (name, change) in &parts {
                for by in [-1, 1] {
                    let report_tcb = part(*change, by);
                    let report = amd.report().version(version).reported_tcb(report_tcb).sign(&vek);
                    let expected = ReportError::TcbMismatch { part: *name, report: report_tcb, certificate };
                    assert_eq!(verify(&amd, &vek, &report), Err(expected), "{product} {version} {name}");
                }
            }
        }
    }
}

#[test]
fn the_reserved_bytes_of_every_tcb_are_zero() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let vek = amd.vcek().issue();
        let reserved: &[usize] = if product == Product::Turin { &[4, 5, 6] } else { &[2, 3, 4, 5] };
        for version in [2, 3, 5] {
            for field in [0x038, 0x180, 0x1e0, 0x1f0] {
                for byte in reserved {
                    let report = amd.report().version(version).patch(field + byte, &[1]).sign(&vek);
                    assert_eq!(verify(&amd, &vek, &report), Err(ReportError::NotCanonical), "{field:#x} {byte}");
                }
            }
        }
    }
}

#[test]
fn every_reserved_byte_is_zero_in_every_version() {
    let amd = AmdHierarchy::new(Product::Genoa);
    let vek = amd.vcek().issue();
    let warm = VerifiedVek::verify(vek.der(), None, &amd.anchors()).unwrap();
    for version in 2..=5 {
        let before = amd.report().version(version).sign(&vek);
        let cpuid = if version == 2 { 0x188 } else { 0x18b };
        let tail = if version == 5 { 0x208 } else { 0x1f8 };
        let ranges =
            [0x4c..0x50, cpuid..0x1a0, 0x1eb..0x1ec, 0x1ef..0x1f0, tail..0x2a0, 0x2d0..0x2e8, 0x318..REPORT_LEN];
        for offset in ranges.into_iter().flatten() {
            let mut report = before.clone();
            report[offset] = 0x80;
            let refused = warm.verify_with(&report, None, Revocation::Off, NOW);
            assert_eq!(refused, Err(ReportError::ReservedByte { offset }), "version {version}");
        }
    }
}

#[test]
fn what_no_guest_would_have_is_refused() {
    let amd = AmdHierarchy::new(Product::Milan);
    let vek = amd.vcek().issue();
    let refused = |report: ReportBuilder| verify(&amd, &vek, &report.sign(&vek)).err();
    let report = || amd.report();

    for actual in [0, 1, 6, 7, 0x0100_0003, u32::MAX] {
        assert_eq!(refused(report().version(actual)), Some(ReportError::UnsupportedVersion { actual }));
    }
    for actual in [4, 0xffff_ffff] {
        assert_eq!(refused(report().vmpl(actual)), Some(ReportError::UnsupportedVmpl { actual }));
    }
    for vmpl in 0..=3 {
        assert_eq!(refused(report().vmpl(vmpl)), None);
    }
    for actual in [0, 2, 0x101] {
        let expected = ReportError::UnsupportedSignatureAlgorithm { actual };
        assert_eq!(refused(report().signature_algorithm(actual)), Some(expected));
    }
    for bit in 0..64 {
        let policy = 0x3_001f ^ (1 << bit);
        let reserved = bit == 17 || bit >= 26;
        let expected = reserved.then_some(ReportError::ReservedBits { field: "POLICY", actual: policy });
        assert_eq!(refused(report().policy(policy)), expected, "bit {bit}");
        assert_eq!(refused(report().platform_info(1 << bit)), None, "bit {bit}");
    }
    for bit in 5..32 {
        let actual = 1 << bit;
        let expected = ReportError::ReservedBits { field: "KEY_INFO", actual: u64::from(actual) };
        assert_eq!(refused(report().key_info(actual)), Some(expected));
    }
    for actual in 2..=6 {
        assert_eq!(refused(report().signing_key(actual)), Some(ReportError::UnsupportedSigningKey { actual }));
    }
    assert_eq!(refused(report().signing_key(7)), Some(ReportError::Unsigned));
    let mut unsigned = report().sign(&vek);
    unsigned[0x2a0..].fill(0);
    assert_eq!(verify(&amd, &vek, &unsigned), Err(ReportError::Unsigned));

    for actual in [0, 1, REPORT_LEN - 1, REPORT_LEN + 1, 4096] {
        let expected = ReportError::WrongLength { expected: REPORT_LEN, actual };
        assert_eq!(verify(&amd, &vek, &vec![0; actual]), Err(expected));
    }
}

#[test]
fn the_processor_decides_the_product_and_not_the_version() {
    for (product, cpuids) in [
        (Product::Milan, [(0x19, 0x00), (0x19, 0x0f)].as_slice()),
        (Product::Genoa, &[(0x19, 0x10), (0x19, 0x1f), (0x19, 0xa0), (0x19, 0xaf)]),
        (Product::Turin, &[(0x1a, 0x00), (0x1a, 0x11)]),
    ] {
        let amd = AmdHierarchy::new(product);
        let vek = amd.vcek().issue();
        for (version, &(family, model)) in (3..=5).flat_map(|version| cpuids.iter().map(move |cpuid| (version, cpuid)))
        {
            let cpuid = Cpuid { family, model, stepping: 0xff };
            let report = amd.report().version(version).cpuid(cpuid).sign(&vek);
            assert_eq!(verify(&amd, &vek, &report).map(|verified| verified.hardware().cpuid), Ok(Some(cpuid)));
        }
        for (family, model) in
            [(0x19, 0x20), (0x19, 0x9f), (0x19, 0xb0), (0x1a, 0x12), (0x1a, 0x50), (0x1a, 0xc7), (0x17, 0x31), (0, 0)]
        {
            let cpuid = Cpuid { family, model, stepping: 1 };
            let report = amd.report().cpuid(cpuid).sign(&vek);
            assert_eq!(verify(&amd, &vek, &report), Err(ReportError::UnsupportedProduct { cpuid }));
            assert_eq!(CollateralRequest::from_report(&report), Err(ReportError::UnsupportedProduct { cpuid }));
        }
        for other in Product::ALL.into_iter().filter(|other| *other != product) {
            let theirs = AmdHierarchy::new(other);
            let report = theirs.report().sign(&vek);
            let expected = ReportError::ProductMismatch { report: other, certificate: product };
            assert_eq!(verify(&amd, &vek, &report), Err(expected));
        }
    }
}

#[test]
fn the_kind_of_key_is_the_certificates() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let vcek = amd.vcek().issue();
        let vlek = amd.vlek().key_of(&vcek).issue();
        for (named, certificate, kind) in
            [(0, &vlek, [SigningKey::Vcek, SigningKey::Vlek]), (1, &vcek, [SigningKey::Vlek, SigningKey::Vcek])]
        {
            let [report, other] = kind;
            let signed = amd.report().signing_key(named).sign(certificate);
            let expected = ReportError::SigningKeyMismatch { report, certificate: other };
            assert_eq!(verify(&amd, certificate, &signed), Err(expected));
        }
    }
}

#[test]
fn the_chip_is_the_certificates() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let vek = amd.vcek().issue();
        for version in 2..=5 {
            let masked = amd.report().version(version).chip_id(ChipId::new([0; 64])).sign(&vek);
            assert_eq!(verify(&amd, &vek, &masked), Err(ReportError::ChipIdMasked));
            assert_eq!(CollateralRequest::from_report(&masked).unwrap().vcek_path(product), None);
            for byte in [0, 7, 8, 63] {
                let mut other = *vek.chip_id().as_bytes();
                other[byte] ^= 1;
                let other = ChipId::new(other);
                let report = amd.report().version(version).chip_id(other).sign(&vek);
                let expected = ReportError::ChipIdMismatch { report: other.into(), certificate: vek.chip_id().into() };
                assert_eq!(verify(&amd, &vek, &report), Err(expected), "{product} {version} {byte}");
            }
        }
        // Under a VLEK the chip does not matter.
        let vlek = amd.vlek().issue();
        for version in 2..=5 {
            let report = amd.report().version(version).chip_id(vek.chip_id()).sign(&vlek);
            let verified = verify(&amd, &vlek, &report).unwrap();
            assert_eq!(verified.snp().chip_id, Some(vek.chip_id()));
        }
    }
}

#[test]
fn another_key_of_the_same_chip_did_not_sign() {
    let amd = AmdHierarchy::new(Product::Genoa);
    let (one, other) = (amd.vcek().issue(), amd.vcek().issue());
    let report = amd.report().sign(&one);
    assert_eq!(verify(&amd, &one, &report).err(), None);
    assert_eq!(verify(&amd, &other, &report), Err(ReportError::WrongSignature));
}

#[test]
fn a_report_says_what_to_ask_amd_for() {
    let amd = AmdHierarchy::new(Product::Turin);
    let vek = amd.vcek().tcb(Tcb::new(Some(1), 2, 3, 4, 5)).issue();
    for (version, product) in [(2, None), (5, Some(Product::Turin))] {
        let request = CollateralRequest::from_report(&amd.report().version(version).sign(&vek)).unwrap();
        assert_eq!((request.product(), request.candidates()), (product, &[Product::Turin][..]));
        let path = "/vcek/v1/Turin/0102030405060708?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=05";
        assert_eq!(request.vcek_path(Product::Turin).as_deref(), Some(path));
        assert_eq!(request.chip_id(), Some(vek.chip_id()));
        assert_eq!(request.crl_path(Product::Turin), "/vcek/v1/Turin/crl");
    }
    let milan = AmdHierarchy::new(Product::Milan);
    let vlek = milan.vlek().issue();
    let request = CollateralRequest::from_report(&milan.report().version(2).sign(&vlek)).unwrap();
    assert_eq!(request.candidates(), [Product::Milan, Product::Genoa]);
    assert_eq!((request.signing_key(), request.vcek_path(Product::Milan)), (SigningKey::Vlek, None));
    assert_eq!(request.chain_path(Product::Milan), "/vlek/v1/Milan/cert_chain");
}

#[test]
fn handles_are_shared_between_threads() {
    fn check<T: Send + Sync + Clone>() {}
    check::<VerifiedVek>();
    check::<VerifiedCrl>();
    check::<snp::AmdAnchors>();
    check::<ReportError>();
}

#[test]
fn a_handle_counts_under_its_own_anchors_only() {
    let (amd, other) = (AmdHierarchy::new(Product::Milan), AmdHierarchy::impostor(Product::Milan));
    let vek = amd.vcek().issue();
    let mut evidence = Evidence::default();
    evidence.report = Some(amd.report().sign(&vek));
    let verify = |anchors: Option<AmdAnchors>| {
        let mut endorsements = Endorsements::default();
        endorsements.vek = Some(Vek::Verified(VerifiedVek::verify(vek.der(), None, &amd.anchors()).unwrap()));
        endorsements.amd_anchors = anchors.unwrap_or_default();
        verify_unappraised(&evidence, &endorsements, None, NOW).err()
    };
    assert_eq!(verify(Some(amd.anchors())), None);
    let cause = CertificateError::NotPinned { product: Product::Milan };
    let not_pinned = ReportError::Certificate { role: CertificateRole::Ark, cause };
    let genoa_only = AmdHierarchy::new(Product::Genoa).anchors();
    for anchors in [None, Some(other.anchors()), Some(genoa_only)] {
        assert_eq!(verify(anchors), Some(AttestationError::InvalidReport(not_pinned.clone())));
    }
}

#[test]
fn a_masked_chip_key_signs_nothing() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let (vcek, vlek) = (amd.vcek().issue(), amd.vlek().issue());
        for key_info in [2, 3] {
            let report = amd.report().key_info(key_info).sign(&vcek);
            assert_eq!(verify(&amd, &vcek, &report), Err(ReportError::MaskedChipKey));
            assert_eq!(CollateralRequest::from_report(&report).err(), Some(ReportError::MaskedChipKey));
            let report = amd.report().key_info(key_info).sign(&vlek);
            assert!(verify(&amd, &vlek, &report).unwrap().hardware().mask_chip_key);
        }
    }
}

/// The order of P-384, most significant byte first.
const ORDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";

#[test]
fn the_other_signature_of_a_report_leaves_its_digest() {
    let amd = AmdHierarchy::new(Product::Genoa);
    let vek = amd.vcek().issue();
    let report = amd.report().sign(&vek);
    let mut other = report.clone();
    let mut borrow = false;
    // `S` stands least significant byte first: n - s, byte for byte.
    for (byte, order) in other[0x2e8..0x318].iter_mut().zip(hex::decode(ORDER).unwrap().into_iter().rev()) {
        let (difference, first) = order.overflowing_sub(*byte);
        let (difference, second) = difference.overflowing_sub(u8::from(borrow));
        (*byte, borrow) = (difference, first || second);
    }
    assert!(!borrow && other != report);
    let (one, two) = (verify(&amd, &vek, &report).unwrap(), verify(&amd, &vek, &other).unwrap());
    assert_eq!(one, two);
    let signed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &report[..0x2a0]);
    assert_eq!(one.report_digest().as_bytes(), signed.as_ref());
}
