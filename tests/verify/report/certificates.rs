//! Certificates that a hostile or careless AMD would sign, and chains that someone else made.

use blindbox_attestation::emulator::amd::{AmdHierarchy, VekBuilder};
use blindbox_attestation::snp::{
    self, AmdAnchors, CaChain, CertificateError, CertificateRole, Collateral, CustomAnchors, ReportError, Revocation,
    VekCertificate, VekIdentity, VerifiedVek,
};
use blindbox_attestation::{Product, SigningKey, Tcb, UnixTime};

use super::NOW;

const ARC: &str = "1.3.6.1.4.1.3704.1";

const AMD_ALGORITHM: &str = "RSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes";

fn oid(suffix: &str) -> String {
    format!("{ARC}.{suffix}")
}

/// Why a certificate of this hierarchy is refused.
fn refused(amd: &AmdHierarchy, builder: &VekBuilder) -> Option<CertificateError> {
    match VerifiedVek::verify(builder.issue().der(), None, &amd.anchors()) {
        Ok(_) => None,
        Err(ReportError::Certificate { role: CertificateRole::Vek, cause }) => Some(cause),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn spls_of_a_byte_are_der_integers() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let fmc = |value| (product == Product::Turin).then_some(value);
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let tcb = Tcb::new(fmc(value), value, value, value, value);
            let vek = amd.vcek().tcb(tcb).issue();
            assert_eq!(VekCertificate::from_der(vek.der()).unwrap().tcb(), tcb, "{product} {value}");
        }
        for suffix in ["3.1", "3.2", "3.3", "3.8"] {
            for wrong in [&[2, 1, 0x80][..], &[2, 2, 0, 0x7f], &[2, 2, 1, 0], &[2, 1, 1, 0], &[4, 1, 1], &[2, 0], &[]] {
                let cause = CertificateError::MalformedExtension { oid: oid(suffix) };
                let builder = amd.vcek().replace_extension(&oid(suffix), wrong);
                assert_eq!(refused(&amd, &builder), Some(cause), "{product} {suffix} {wrong:?}");
            }
        }
    }
}

#[test]
fn the_set_of_extensions_is_exact() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let fmc = if product == Product::Turin { "3.9" } else { "3.4" };
        for (builder, own) in [(amd.vcek(), "4"), (amd.vlek(), "5")] {
            for suffix in ["1", "2", "3.1", "3.2", "3.3", fmc, "3.5", "3.6", "3.7", "3.8", own] {
                let oid = oid(suffix);
                let without = builder.clone().remove_extension(&oid);
                let missing = CertificateError::MissingExtension { oid: oid.clone() };
                assert_eq!(refused(&amd, &without), Some(missing), "{product} {suffix}");
                let twice = builder.clone().add_extension(&oid, false, &[2, 1, 0]);
                let duplicate = CertificateError::DuplicateExtension { oid };
                assert_eq!(refused(&amd, &twice), Some(duplicate), "{product} {suffix}");
            }
            for unknown in ["2.5.29.15", "1.3.6.1.4.1.3704.1.6", "1.3.6.1.4.1.3704.1.3", "1.3.6.1.4.1.3704.1.3.10"] {
                // A good value of a key usage: its place is wrong, not its content.
                let more = builder.clone().add_extension(unknown, false, &[3, 2, 7, 0x80]);
                let cause = CertificateError::UnexpectedExtension { oid: unknown.into() };
                assert_eq!(refused(&amd, &more), Some(cause), "{product} {unknown}");
            }
            let other = if own == "4" { "5" } else { "4" };
            let both = builder.clone().add_extension(&oid(other), false, &[0x16, 1, b'x']);
            let cause = CertificateError::UnexpectedExtension { oid: oid(other) };
            assert_eq!(refused(&amd, &both), Some(cause), "{product}");
        }
    }
    let milan = AmdHierarchy::new(Product::Milan);
    let with_fmc = milan.vcek().add_extension(&oid("3.9"), false, &[2, 1, 0]);
    assert_eq!(refused(&milan, &with_fmc), Some(CertificateError::UnexpectedExtension { oid: oid("3.9") }));
    for suffix in ["3.4", "3.5", "3.6", "3.7"] {
        let used = milan.vcek().replace_extension(&oid(suffix), &[2, 1, 1]);
        assert_eq!(refused(&milan, &used), Some(CertificateError::MalformedExtension { oid: oid(suffix) }));
    }
}

#[test]
fn identity_and_names_are_those_of_the_product() {
    for product in Product::ALL {
        let amd = AmdHierarchy::new(product);
        let length: u8 = if product == Product::Turin { 8 } else { 64 };
        for wrong in [0, 7, 9, 63, 65] {
            let builder = amd.vcek().replace_extension(&oid("4"), &vec![1; wrong]);
            let cause = CertificateError::MalformedExtension { oid: oid("4") };
            assert_eq!(refused(&amd, &builder), Some(cause), "{product} {wrong}");
        }
        // The bare bytes as AMD's service sends them, or an OCTET STRING of them as its table says.
        let mut id = vec![0; usize::from(length)];
        id[..2].copy_from_slice(&[4, length - 2]);
        for value in [id.clone(), [&[4, length], &id[..]].concat()] {
            let vek = amd.vcek().replace_extension(&oid("4"), &value).issue();
            let expected: Vec<u8> = id.iter().copied().chain(std::iter::repeat(0)).take(64).collect();
            let VekIdentity::Chip(chip) = VekCertificate::from_der(vek.der()).unwrap().identity().clone() else {
                panic!("a VCEK")
            };
            assert_eq!(chip.as_bytes()[..], expected, "{product}");
        }
        for (tag, header_length) in [(4, length - 1), (4, length + 1), (5, length), (0x24, length)] {
            let wrapped = [&[tag, header_length], &id[..]].concat();
            let builder = amd.vcek().replace_extension(&oid("4"), &wrapped);
            assert_eq!(refused(&amd, &builder), Some(CertificateError::MalformedExtension { oid: oid("4") }));
        }
        for other in [length - 1, length + 1] {
            let wrapped = [&[4, other], &vec![1; usize::from(other)][..]].concat();
            let builder = amd.vcek().replace_extension(&oid("4"), &wrapped);
            assert_eq!(refused(&amd, &builder), Some(CertificateError::MalformedExtension { oid: oid("4") }));
        }

        for other in Product::ALL.into_iter().filter(|other| *other != product) {
            let cause = CertificateError::WrongProductName { expected: product, actual: other.to_string() };
            assert_eq!(refused(&amd, &amd.vcek().product_name(other.as_str())), Some(cause));
        }
        let expected = u8::from(product == Product::Turin);
        let builder = amd.vcek().replace_extension(&oid("1"), &[2, 1, 1 - expected]);
        let cause = CertificateError::UnsupportedStructVersion { product, expected, actual: 1 - expected };
        assert_eq!(refused(&amd, &builder), Some(cause));
    }
    let amd = AmdHierarchy::new(Product::Genoa);
    let cause = CertificateError::WrongSubject { expected: "SEV-VCEK".into(), actual: "SEV-VLEK".into() };
    assert_eq!(refused(&amd, &amd.vcek().subject("SEV-VLEK")), Some(cause));
    assert_eq!(refused(&amd, &amd.vlek().csp_id("")), Some(CertificateError::MalformedExtension { oid: oid("5") }));
    let cause = CertificateError::WrongIssuer {
        expected: "SEV-{Milan,Genoa,Turin} or SEV-VLEK-{Milan,Genoa,Turin}".into(),
        actual: "SEV-Venice".into(),
    };
    assert_eq!(refused(&amd, &amd.vcek().issuer("SEV-Venice")), Some(cause));
}

#[test]
fn both_of_amds_encodings_of_the_algorithm_are_accepted_and_no_other() {
    let amd = AmdHierarchy::new(Product::Milan);
    assert_eq!(refused(&amd, &amd.vcek().older_algorithm_encoding()), None);
    assert_eq!(refused(&amd, &amd.vcek().differing_algorithms()), Some(CertificateError::AlgorithmsDiffer));
    assert_eq!(
        refused(&amd, &amd.vcek().salt_length(32)),
        Some(CertificateError::UnsupportedAlgorithm { expected: AMD_ALGORITHM })
    );
    assert_eq!(refused(&amd, &amd.vcek().version_1()), Some(CertificateError::UnsupportedVersion));
}

#[test]
fn the_key_is_p_384() {
    let amd = AmdHierarchy::new(Product::Milan);
    let expected = CertificateError::UnsupportedKey { expected: "an uncompressed P-384 key" };
    let p384 = hex::decode("3076301006072a8648ce3d020106052b8104002203620004").unwrap();
    let p256 = hex::decode("3059301306072a8648ce3d020106082a8648ce3d03010703420004").unwrap();
    let off_the_curve = [&p384[..], &[1; 96]].concat();
    for spki in [[&p256[..], &[1; 64]].concat(), off_the_curve] {
        assert_eq!(refused(&amd, &amd.vcek().public_key(&spki)), Some(expected.clone()));
    }
}

#[test]
fn a_forged_chain_with_amds_names_is_refused() {
    for product in Product::ALL {
        let (amd, forger) = (AmdHierarchy::new(product), AmdHierarchy::impostor(product));
        for (forged, kind) in [(forger.vcek().issue(), SigningKey::Vcek), (forger.vlek().issue(), SigningKey::Vlek)] {
            let report = forger.report().sign(&forged);
            let role = if kind == SigningKey::Vcek { CertificateRole::Ask } else { CertificateRole::Asvk };
            let genuine = amd.chain(kind);
            let own = forger.chain(kind);
            let half = CaChain { issuer: own.issuer, ark: genuine.ark };
            for anchors in [amd.anchors(), AmdAnchors::builtin()] {
                let verify =
                    |collateral: Collateral| snp::verify(&report, &collateral, &anchors, Revocation::Off, NOW).err();
                let refuse = |role, cause| Some(ReportError::Certificate { role, cause });
                let alone = || Collateral::new(forged.der());
                let wrong = CertificateError::WrongSignature;
                assert_eq!(verify(alone()), refuse(CertificateRole::Vek, wrong.clone()));
                let not_pinned = CertificateError::NotPinned { product };
                assert_eq!(verify(alone().with_chain(own)), refuse(CertificateRole::Ark, not_pinned.clone()));
                if !anchors.is_custom() {
                    assert_eq!(verify(alone().with_chain(genuine)), refuse(CertificateRole::Ark, not_pinned));
                    continue;
                }
                assert_eq!(verify(alone().with_chain(half)), refuse(role, wrong.clone()));
                assert_eq!(verify(alone().with_chain(genuine)), refuse(CertificateRole::Vek, wrong));
            }
        }
    }
}

#[test]
fn a_genuine_chain_of_another_product_is_refused() {
    let (milan, genoa) = (AmdHierarchy::new(Product::Milan), AmdHierarchy::new(Product::Genoa));
    let both = AmdAnchors::custom([milan.custom_anchors(), genoa.custom_anchors()]).unwrap();
    let vcek = milan.vcek().issue();
    let wrong_subject = |role, expected: &str, actual: &str| {
        let cause = CertificateError::WrongSubject { expected: expected.into(), actual: actual.into() };
        Some(ReportError::Certificate { role, cause })
    };
    let refused = |chain| VerifiedVek::verify(vcek.der(), Some(chain), &both).err();
    let chain = milan.chain(SigningKey::Vcek);
    assert_eq!(refused(chain), None);
    let other = genoa.chain(SigningKey::Vcek);
    assert_eq!(refused(other), wrong_subject(CertificateRole::Ark, "ARK-Milan", "ARK-Genoa"));
    let mixed = CaChain { issuer: other.issuer, ..chain };
    assert_eq!(refused(mixed), wrong_subject(CertificateRole::Ask, "SEV-Milan", "SEV-Genoa"));
    let mixed = CaChain { issuer: milan.asvk(), ..chain };
    assert_eq!(refused(mixed), wrong_subject(CertificateRole::Ask, "SEV-Milan", "SEV-VLEK-Milan"));

    // Without roots for its product nothing is accepted.
    let cause = CertificateError::NotPinned { product: Product::Milan };
    let refused = VerifiedVek::verify(vcek.der(), None, &genoa.anchors()).err();
    assert_eq!(refused, Some(ReportError::Certificate { role: CertificateRole::Ark, cause }));
}

#[test]
fn a_certificate_issued_by_the_wrong_authority_is_refused() {
    let amd = AmdHierarchy::new(Product::Turin);
    for role in [CertificateRole::Ark, CertificateRole::Asvk] {
        let builder = amd.vcek().signed_by(&amd, role);
        assert_eq!(refused(&amd, &builder), Some(CertificateError::WrongSignature), "{role}");
    }
    let cause = CertificateError::WrongIssuer { expected: "SEV-Turin".into(), actual: "SEV-Turin".into() };
    assert_eq!(refused(&amd, &amd.vcek().issuer_of("Someone", "SEV-Turin")), Some(cause));
    // A VLEK that the issuer of VCEKs signed, under its own name.
    let cause = CertificateError::WrongSubject { expected: "SEV-VCEK".into(), actual: "SEV-VLEK".into() };
    let builder = amd.vlek().issuer("SEV-Turin").signed_by(&amd, CertificateRole::Ask);
    assert_eq!(refused(&amd, &builder), Some(cause));
}

#[test]
fn an_authority_that_amd_issued_again_is_accepted_and_checked() {
    let amd = AmdHierarchy::new(Product::Genoa);
    let vcek = amd.vcek().issue();
    let with = |issuer: &[u8]| {
        let chain = CaChain { issuer, ark: amd.ark() };
        VerifiedVek::verify(vcek.der(), Some(chain), &amd.anchors()).map(|vek| {
            let report = amd.report().sign(&vcek);
            vek.verify_with(&report, None, Revocation::Off, NOW).map(|verified| verified.expires_at())
        })
    };
    let refuse = |role, cause| ReportError::Certificate { role, cause };
    let ca = || amd.ca(CertificateRole::Ask);
    let (first, last) = (NOW.minus(10), NOW.plus(10));
    assert_eq!(with(&ca().serial(&[2, 0, 9]).valid(first, last).issue()), Ok(Ok(last)));
    // Outside its dates it is of no use, and no harm: the pinned one of the same key is valid.
    let (not_before, not_after) = (NOW.plus(1), NOW.minus(1));
    let pinned = with(amd.ask()).unwrap().unwrap();
    for serial in [&[2, 0, 9][..], &amd.serial(CertificateRole::Ask)] {
        assert_eq!(with(&ca().serial(serial).valid(not_before, last).issue()), Ok(Ok(pinned)));
        assert_eq!(with(&ca().serial(serial).valid(first, not_after).issue()), Ok(Ok(pinned)));
    }
    // With another key there is no other one.
    let of_other_key = amd.vcek().signed_by(&amd, CertificateRole::Asvk).issue();
    let alone = |(not_before, not_after)| {
        let issuer = ca().with_key_of(CertificateRole::Asvk).valid(not_before, not_after).issue();
        let chain = CaChain { issuer: &issuer, ark: amd.ark() };
        let vek = VerifiedVek::verify(of_other_key.der(), Some(chain), &amd.anchors()).unwrap();
        vek.verify_with(&amd.report().sign(&of_other_key), None, Revocation::Off, NOW)
            .map(|verified| verified.expires_at())
    };
    assert_eq!(alone((first, last)), Ok(last));
    let early = CertificateError::NotYetValid { not_before, now: NOW };
    assert_eq!(alone((not_before, last)), Err(refuse(CertificateRole::Ask, early)));
    let expired = CertificateError::Expired { not_after, now: NOW };
    assert_eq!(alone((first, not_after)), Err(refuse(CertificateRole::Ask, expired)));

    let refused = |issuer: &[u8]| with(issuer).err();
    let no_ca = Some(refuse(CertificateRole::Ask, CertificateError::NotACa));
    assert_eq!(refused(&ca().is_ca(false).issue()), no_ca);
    assert_eq!(refused(&ca().path_len(None).issue()), no_ca);
    assert_eq!(refused(&ca().path_len(Some(1)).issue()), no_ca);
    assert_eq!(refused(&ca().without_cert_sign().issue()), no_ca);
    let unknown = CertificateError::UnexpectedExtension { oid: "1.2.3.4".into() };
    let critical = ca().add_extension("1.2.3.4", true, &[5, 0]).issue();
    assert_eq!(refused(&critical), Some(refuse(CertificateRole::Ask, unknown)));
    assert_eq!(refused(&ca().add_extension("1.2.3.4", false, &[5, 0]).issue()), None);
    let twice = CertificateError::DuplicateExtension { oid: "2.5.29.19".into() };
    let not_a_ca_after_all = ca().add_extension("2.5.29.19", true, &[0x30, 0]).issue();
    assert_eq!(refused(&not_a_ca_after_all), Some(refuse(CertificateRole::Ask, twice)));
    let expected = "an RSA key of 4096 bits with exponent 65537";
    let p384 = hex::decode("3076301006072a8648ce3d020106052b8104002203620004").unwrap();
    for spki in [[&p384[..], &[1; 96]].concat(), rsa_2048(), exponent_3(&amd)] {
        let cause = CertificateError::UnsupportedKey { expected };
        assert_eq!(refused(&ca().public_key(&spki).issue()), Some(refuse(CertificateRole::Ask, cause)));
    }
    let wrong_signature = Some(refuse(CertificateRole::Ask, CertificateError::WrongSignature));
    assert_eq!(refused(&ca().signed_by(CertificateRole::Ask).issue()), wrong_signature);
    let wrong_issuer = CertificateError::WrongIssuer { expected: "ARK-Genoa".into(), actual: "ARK-Milan".into() };
    assert_eq!(refused(&ca().issuer("ARK-Milan").issue()), Some(refuse(CertificateRole::Ask, wrong_issuer)));
    // A genuine authority with another key did not sign this certificate.
    let other_key = ca().with_key_of(CertificateRole::Asvk).issue();
    assert_eq!(refused(&other_key), Some(refuse(CertificateRole::Vek, CertificateError::WrongSignature)));

    let ark = amd.ca(CertificateRole::Ark).serial(&[2, 0, 7]).issue();
    let chain = CaChain { issuer: amd.ask(), ark: &ark };
    assert_eq!(VerifiedVek::verify(vcek.der(), Some(chain), &amd.anchors()).err(), None);
}

/// The `SubjectPublicKeyInfo` of an odd number of 2048 bits.
fn rsa_2048() -> Vec<u8> {
    let before = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100";
    [&hex::decode(before).unwrap()[..], &[0xff; 256], &[2, 3, 1, 0, 1]].concat()
}

/// The key of the ASK, with another exponent in as many bytes.
fn exponent_3(amd: &AmdHierarchy) -> Vec<u8> {
    let before = hex::decode("30820222300d06092a864886f70d01010105000382020f003082020a0282020100").unwrap();
    let start = amd.ask().windows(before.len()).position(|window| window == before).unwrap();
    let mut spki = amd.ask()[start..start + 550].to_vec();
    *spki.last_mut().unwrap() = 3;
    spki
}

#[test]
fn the_dates_of_the_anchors_count() {
    let amd = AmdHierarchy::new(Product::Milan);
    let vcek = amd.vcek().issue();
    let report = amd.report().sign(&vcek);
    for (role, first, last) in [
        (CertificateRole::Ark, NOW.plus(1), NOW.plus(2)),
        (CertificateRole::Ark, NOW.minus(2), NOW.minus(1)),
        (CertificateRole::Ask, NOW.plus(1), NOW.plus(2)),
        (CertificateRole::Ask, NOW.minus(2), NOW.minus(1)),
    ] {
        let other = amd.ca(role).valid(first, last).issue();
        let mut files: CustomAnchors<'_> = amd.custom_anchors();
        if role == CertificateRole::Ark {
            files.ark = &other
        } else {
            files.ask = &other
        }
        let anchors = AmdAnchors::custom([files]).unwrap();
        let verify = |now| snp::verify(&report, &Collateral::new(vcek.der()), &anchors, Revocation::Off, now);
        let cause = if first > NOW {
            CertificateError::NotYetValid { not_before: first, now: NOW }
        } else {
            CertificateError::Expired { not_after: last, now: NOW }
        };
        assert_eq!(verify(NOW).err(), Some(ReportError::Certificate { role, cause }));
        assert_eq!(verify(first).map(|verified| verified.expires_at()), Ok(last));
        assert_eq!(verify(last).map(|verified| verified.expires_at()), Ok(last));
    }
}

#[test]
fn own_anchors_must_be_a_hierarchy() {
    let (amd, forger) = (AmdHierarchy::new(Product::Milan), AmdHierarchy::impostor(Product::Milan));
    let files = amd.custom_anchors();
    let refused = |files| AmdAnchors::custom([files]).err();
    let wrong = |role| Some(ReportError::Certificate { role, cause: CertificateError::WrongSignature });
    assert_eq!(refused(files), None);
    assert_eq!(refused(CustomAnchors { ask: forger.ask(), ..files }), wrong(CertificateRole::Ask));
    assert_eq!(refused(CustomAnchors { asvk: forger.asvk(), ..files }), wrong(CertificateRole::Asvk));
    assert_eq!(refused(CustomAnchors { ark: forger.ark(), ..files }), wrong(CertificateRole::Ask));
    let not_self_signed = amd.ca(CertificateRole::Ark).signed_by(CertificateRole::Ask).issue();
    assert_eq!(refused(CustomAnchors { ark: &not_self_signed, ..files }), wrong(CertificateRole::Ark));
    let cannot_revoke = amd.ca(CertificateRole::Ark).without_crl_sign().issue();
    let cause = CertificateError::NotACa;
    let expected = Some(ReportError::Certificate { role: CertificateRole::Ark, cause });
    assert_eq!(refused(CustomAnchors { ark: &cannot_revoke, ..files }), expected);
    assert!(amd.anchors().is_custom());
    assert_eq!(amd.anchors().fingerprint(), amd.anchors().fingerprint());
    assert_ne!(amd.anchors().fingerprint(), forger.anchors().fingerprint());
}

#[test]
fn dates_beyond_2049_are_read() {
    let amd = AmdHierarchy::new(Product::Milan);
    let last = UnixTime::from_secs(2_600_000_000);
    let vek = amd.vcek().valid(NOW, last).issue();
    assert_eq!(VekCertificate::from_der(vek.der()).map(|vek| vek.not_after()), Ok(last));
}

#[test]
fn an_issuer_for_other_uses_issues_no_report_keys() {
    let amd = AmdHierarchy::new(Product::Milan);
    let vek = amd.vcek().issue();
    // SEQUENCE of serverAuth, of anyExtendedKeyUsage, and of both.
    let server = hex::decode("300a06082b06010505070301").unwrap();
    let any = hex::decode("30060604551d2500").unwrap();
    let both = [&[0x30, 16][..], &server[2..], &any[2..]].concat();
    let verdict = |value: &[u8], critical| {
        let ask = amd.ca(CertificateRole::Ask).add_extension("2.5.29.37", critical, value).issue();
        let chain = CaChain { issuer: &ask, ark: amd.ark() };
        VerifiedVek::verify(vek.der(), Some(chain), &amd.anchors()).map(|_| ())
    };
    for critical in [false, true] {
        assert_eq!(verdict(&any, critical), Ok(()));
        assert_eq!(verdict(&both, critical), Ok(()));
        let cause = CertificateError::ExcludedUse { expected: vec![], allowed: vec!["1.3.6.1.5.5.7.3.1".into()] };
        assert_eq!(verdict(&server, critical), Err(ReportError::Certificate { role: CertificateRole::Ask, cause }));
        let cause = CertificateError::MalformedExtension { oid: "2.5.29.37".into() };
        assert_eq!(verdict(&[0x30, 0], critical), Err(ReportError::Certificate { role: CertificateRole::Ask, cause }));
    }
}

#[test]
fn more_extensions_than_any_certificate_has_are_not_read() {
    let amd = AmdHierarchy::new(Product::Milan);
    let with = |count: usize| {
        (0..count).fold(amd.ca(CertificateRole::Ask), |ca, arc| ca.add_extension(&format!("1.2.{arc}"), false, &[]))
    };
    let verdict = |count| {
        let ask = with(count).issue();
        let chain = CaChain { issuer: &ask, ark: amd.ark() };
        VerifiedVek::verify(amd.vcek().issue().der(), Some(chain), &amd.anchors()).map(|_| ())
    };
    // The emulator's have three of their own.
    assert_eq!(verdict(29), Ok(()));
    let cause = CertificateError::TooManyExtensions { limit: 32 };
    assert_eq!(verdict(30), Err(ReportError::Certificate { role: CertificateRole::Ask, cause }));
}
