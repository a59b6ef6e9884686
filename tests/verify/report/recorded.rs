//! Evidence recorded from real machines gives what its description says, every field included.

use std::path::Path;

use blindbox_attestation::snp::{
    self, AmdAnchors, CaChain, CertificateError, CertificateRole, Collateral, CollateralRequest, ReportError,
    Revocation, VekCertificate, VekIdentity, VerifiedReport, VerifiedVek, certificates_from_pem,
};
use blindbox_attestation::{Product, SigningKey, Tcb};
use serde_json::Value;

use crate::common::vectors;

struct Set {
    name: String,
    report: Vec<u8>,
    vek: Vec<u8>,
    issuer: Vec<u8>,
    ark: Vec<u8>,
    /// The fields of the report, where the set has them.
    expected: Option<Value>,
}

/// Every directory that has a report and the certificate of its key.
fn sets() -> Option<Vec<Set>> {
    let mut sets = Vec::new();
    let vectors = vectors()?;
    for entry in std::fs::read_dir(&vectors).unwrap() {
        let folder = entry.unwrap().path();
        let read = |name: &str| std::fs::read(folder.join(name)).ok();
        let pem = |name: &str| read(name).map(|text| certificates_from_pem(&text).unwrap().remove(0));
        let (Some(report), Some(vek)) = (read("report.bin"), read("vcek.der").or_else(|| read("vlek.der"))) else {
            continue;
        };
        // A set without a chain is under one of AMD's published ones.
        let published = |role: &str| {
            let product = VekCertificate::from_der(&vek).unwrap().product().to_string().to_lowercase();
            std::fs::read(vectors.join("amd-roots").join(format!("{product}_{role}.der"))).unwrap()
        };
        sets.push(Set {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            issuer: pem("ask.pem").or_else(|| pem("asvk.pem")).unwrap_or_else(|| published("ask")),
            ark: pem("ark.pem").unwrap_or_else(|| published("ark")),
            expected: read("expected.json").map(|json| serde_json::from_slice(&json).unwrap()),
            report,
            vek,
        });
    }
    assert!(sets.len() >= 14, "{} sets", sets.len());
    Some(sets)
}

impl Set {
    fn verify(&self) -> Result<VerifiedReport, ReportError> {
        let now = VekCertificate::from_der(&self.vek).unwrap().not_before().plus(86_400);
        let chain = CaChain { issuer: &self.issuer, ark: &self.ark };
        let anchors = AmdAnchors::builtin();
        let alone = snp::verify(&self.report, &Collateral::new(&self.vek), &anchors, Revocation::Off, now);
        let collateral = Collateral::new(&self.vek).with_chain(chain);
        assert_eq!(snp::verify(&self.report, &collateral, &anchors, Revocation::Off, now), alone, "{}", self.name);
        alone
    }
}

#[test]
fn every_genuine_set_verifies_with_every_field() {
    let Some(sets) = sets() else { return };
    for set in sets.iter().filter(|set| !set.name.contains("invalid")) {
        let verified = set.verify().unwrap_or_else(|error| panic!("{}: {error}", set.name));
        let Some(expected) = &set.expected else { continue };
        check_fields(&set.name, &verified, expected);
        if let Some(product) = expected["product"].as_str() {
            assert_eq!(verified.product().as_str().to_lowercase(), product, "{}", set.name);
        }
        if let Some(name) = expected["cert_product_name"].as_str() {
            assert_eq!(VekCertificate::from_der(&set.vek).unwrap().product_name(), name);
        }
    }
}

fn check_fields(name: &str, verified: &VerifiedReport, expected: &Value) {
    let snp = serde_json::to_value(verified.snp()).unwrap();
    for (ours, theirs) in [
        ("measurement", "measurement"),
        ("host_data", "host_data"),
        ("report_data", "report_data"),
        ("report_id", "report_id"),
        ("report_guest_svn", "guest_svn"),
        ("vmpl", "vmpl"),
        ("id_key_digest", "id_key_digest"),
        ("author_key_digest", "author_key_digest"),
        ("family_id", "family_id"),
        ("image_id", "image_id"),
    ] {
        assert_eq!(snp[ours], expected[theirs], "{name}: {ours}");
    }
    let hex_number = |field: &str| u64::from_str_radix(expected[field].as_str().unwrap().trim_start_matches("0x"), 16);
    let hardware = verified.hardware();
    assert_eq!(u64::from(hardware.version), expected["version"], "{name}");
    assert_eq!(Ok(hardware.policy), hex_number("policy"), "{name}");
    assert_eq!(verified.snp().policy.debug, hardware.policy >> 19 & 1 == 1, "{name}");
    assert_eq!(Ok(hardware.platform_info.raw), hex_number("platform_info"), "{name}");
    let key_info = hex_number("key_info").unwrap();
    assert_eq!((hardware.author_key_en, hardware.mask_chip_key), (key_info & 1 == 1, key_info & 2 == 2), "{name}");
    assert_eq!(hardware.signing_key.to_string(), expected["signing_key"], "{name}");
    assert_eq!(hardware.report_id_ma.to_string(), expected["report_id_ma"], "{name}");

    let tcb = |field: &str| tcb_of(verified.product(), expected[field].as_str().unwrap());
    assert_eq!(verified.snp().reported_tcb, tcb("reported_tcb"), "{name}");
    assert_eq!(hardware.current_tcb, tcb("current_tcb"), "{name}");
    assert_eq!(hardware.committed_tcb, tcb("committed_tcb"), "{name}");
    assert_eq!(hardware.launch_tcb, tcb("launch_tcb"), "{name}");
    for (ours, theirs) in [(hardware.current_firmware, "current_ver"), (hardware.committed_firmware, "committed_ver")] {
        let text = format!("build {} minor {} major {}", ours.build, ours.minor, ours.major);
        assert_eq!(text, expected[theirs], "{name}");
    }
    let cpuid = hardware.cpuid.map(|cpuid| format!("{:02x}{:02x}{:02x}", cpuid.family, cpuid.model, cpuid.stepping));
    assert_eq!(cpuid.as_deref().unwrap_or("000000"), expected["cpuid"], "{name}");
    for (ours, theirs) in
        [(hardware.launch_mitigation_vector, "launch_mit"), (hardware.current_mitigation_vector, "current_mit")]
    {
        assert_eq!(ours.is_some(), hardware.version >= 5, "{name}");
        assert_eq!(hex::encode(ours.unwrap_or(0).to_le_bytes()), expected[theirs], "{name}");
    }
    let chip = expected["chip_id"].as_str().unwrap();
    let chip = chip.bytes().any(|digit| digit != b'0').then(|| chip.to_owned());
    assert_eq!(verified.snp().chip_id.map(|id| id.to_string()), chip, "{name}");
    assert_eq!(verified.snp().product, Some(verified.product()));
}

/// A TCB from its 8 bytes in hexadecimal.
fn tcb_of(product: Product, text: &str) -> Tcb {
    let bytes = hex::decode(text).unwrap();
    match product {
        Product::Turin => Tcb::new(Some(bytes[0]), bytes[1], bytes[2], bytes[3], bytes[7]),
        _ => Tcb::new(None, bytes[0], bytes[1], bytes[6], bytes[7]),
    }
}

#[test]
fn certificates_that_amd_did_not_sign_are_refused_for_their_signature() {
    let Some(sets) = sets() else { return };
    let forged: Vec<_> = sets.iter().filter(|set| set.name.contains("invalid")).collect();
    let names: Vec<_> = forged.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["snp-milan-v2-invalid-vcek-legacy"]);
    for set in forged {
        let now = VekCertificate::from_der(&set.vek).map(|vek| vek.not_before());
        let refused = match now {
            Ok(now) => {
                let collateral = Collateral::new(&set.vek);
                snp::verify(&set.report, &collateral, &AmdAnchors::builtin(), Revocation::Off, now).err()
            }
            Err(cause) => Some(ReportError::Certificate { role: CertificateRole::Vek, cause }),
        };
        let cause = CertificateError::WrongSignature;
        assert_eq!(refused, Some(ReportError::Certificate { role: CertificateRole::Vek, cause }), "{}", set.name);
    }
}

#[test]
fn a_vlek_says_whose_it_is() {
    let Some(sets) = sets() else { return };
    let set = sets.iter().find(|set| set.name == "snp-milan-v3-vlek-aws-ue2").unwrap();
    let verified = set.verify().unwrap();
    assert_eq!(verified.hardware().signing_key, SigningKey::Vlek);
    assert_eq!(verified.hardware().csp_id.as_deref(), Some("CN=cc-us-east-2.amazonaws.com"));
    assert_eq!(verified.snp().chip_id, None);
    let hardware = verified.hardware();
    // Three different TCBs on one platform: they are shown, not judged.
    let microcode =
        [verified.snp().reported_tcb, hardware.committed_tcb, hardware.current_tcb].map(|tcb| tcb.microcode);
    assert_eq!(microcode, [0xd9, 0xdb, 0xdc]);
    assert!(hardware.is_firmware_provisional());
    assert_eq!(verified.snp().vmpl, 1);
}

#[test]
fn evidence_of_two_sets_does_not_mix() {
    let Some(sets) = sets() else { return };
    let genuine = || sets.iter().filter(|set| !set.name.contains("invalid"));
    for (one, other) in genuine().flat_map(|one| genuine().map(move |other| (one, other))) {
        let vek = VerifiedVek::verify(&other.vek, None, &AmdAnchors::builtin()).unwrap();
        let now = vek.certificate().not_before().plus(86_400);
        let (one_parsed, other_parsed) = (VekCertificate::from_der(&one.vek).unwrap(), vek.certificate());
        let mixed = vek.verify_with(&one.report, None, Revocation::Off, now);
        if one_parsed.identity() == other_parsed.identity() && one_parsed.tcb() == other_parsed.tcb() {
            // The same machine recorded twice: one key.
            assert_eq!(mixed.err(), None, "{} {}", one.name, other.name);
            continue;
        }
        let v2 = one.report[0] == 2;
        match mixed {
            Err(ReportError::SigningKeyMismatch { .. }) => assert_ne!(one_parsed.kind(), other_parsed.kind()),
            Err(ReportError::ProductMismatch { report, certificate }) => {
                assert_eq!((report, certificate), (one_parsed.product(), other_parsed.product()));
                assert!(report != certificate && !v2);
            }
            Err(ReportError::ChipIdMismatch { report, certificate }) => {
                assert_eq!(one_parsed.identity(), &VekIdentity::Chip(*report));
                assert_eq!(other_parsed.identity(), &VekIdentity::Chip(*certificate));
                assert!(v2 || one_parsed.product() == other_parsed.product());
            }
            Err(ReportError::TcbMismatch { report, certificate, .. }) => {
                assert_eq!((report, certificate), (one_parsed.tcb(), other_parsed.tcb()));
                assert_eq!(one_parsed.identity(), other_parsed.identity());
            }
            other => panic!("{}: {other:?}", one.name),
        }
    }
}

#[test]
fn a_report_says_what_to_fetch_for_it() {
    let Some(sets) = sets() else { return };
    for set in &sets {
        let request = CollateralRequest::from_report(&set.report).unwrap();
        let certificate = VekCertificate::from_der(&set.vek).unwrap();
        let product = certificate.product();
        assert!(request.candidates().contains(&product), "{}", set.name);
        assert_eq!(request.signing_key(), certificate.kind(), "{}", set.name);
        assert_eq!(request.product().is_none(), set.report[0] == 2, "{}", set.name);
        if set.name.contains("invalid") {
            continue;
        }
        assert_eq!(request.reported_tcb(product), certificate.tcb(), "{}", set.name);
        let path = request.vcek_path(product);
        assert_eq!(path.is_some(), certificate.kind() == SigningKey::Vcek, "{}", set.name);
        if set.name == "snp-aci-genoa-v3-tav" {
            let chip = set.expected.as_ref().unwrap()["chip_id"].as_str().unwrap();
            let query = "blSPL=10&teeSPL=00&snpSPL=23&ucodeSPL=84";
            assert_eq!(path.unwrap(), format!("/vcek/v1/Genoa/{chip}?{query}"));
        }
    }
}

#[test]
fn what_azure_hands_to_a_container_verifies() {
    use base64::Engine as _;
    let Some(folder) = vectors() else { return };
    let text = std::fs::read(folder.join("security-context-aci/host-amd-cert-base64")).unwrap();
    let text = base64::engine::general_purpose::STANDARD.decode(text.trim_ascii()).unwrap();
    let host: Value = serde_json::from_slice(&text).unwrap();
    let vek = VekCertificate::from_pem(host["vcekCert"].as_str().unwrap().as_bytes()).unwrap();
    let chain = certificates_from_pem(host["certificateChain"].as_str().unwrap().as_bytes()).unwrap();
    let [issuer, ark] = &chain[..] else { panic!("two certificates") };
    let chain = CaChain { issuer, ark };
    let verified = VerifiedVek::verify(vek.as_der(), Some(chain), &AmdAnchors::builtin()).unwrap();
    // `tcbm` is the TCB of the certificate as one big number, and its 8 bytes are in memory the other way round.
    let mut tcb = hex::decode(host["tcbm"].as_str().unwrap()).unwrap();
    tcb.reverse();
    assert_eq!(verified.certificate().tcb(), tcb_of(Product::Milan, &hex::encode(tcb)));
}

#[test]
fn what_a_container_sent_to_maa_verifies() {
    let Some(folder) = vectors() else { return };
    let folder = folder.join("maa-sharedweu-test-sevsnpvm-aci-2025");
    let read = |name: &str| std::fs::read(Path::new(&folder).join(name)).unwrap();
    let pem = read("chain.pem");
    let [vek, issuer, ark] = &certificates_from_pem(&pem).unwrap()[..] else { panic!("three certificates") };
    assert_eq!(VekCertificate::from_pem(&pem).unwrap().as_der(), vek);
    let expected: Value = serde_json::from_slice(&read("expected.json")).unwrap();
    let now = blindbox_attestation::UnixTime::from_secs(expected["iat"].as_u64().unwrap());
    let collateral = Collateral::new(vek).with_chain(CaChain { issuer, ark });
    let report = read("report.bin");
    let verified = snp::verify(&report, &collateral, &AmdAnchors::builtin(), Revocation::Off, now).unwrap();
    let snp = serde_json::to_value(verified.snp()).unwrap();
    for field in ["measurement", "host_data", "report_data", "report_id"] {
        assert_eq!(snp[field], expected[field], "{field}");
    }
    assert_eq!(u64::from(verified.snp().reported_tcb.snp), expected["tcb"]["snpfw"]);
}
