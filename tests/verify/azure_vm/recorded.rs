//! Evidence recorded from real machines verifies, and no byte of it can be changed.

use std::path::{Path, PathBuf};

use blindbox_attestation::azure_vm::{
    AkAnchors, AkCertificateError, HclReport, HclReportError, HclTee, Quote, QuoteError, RuntimeClaims,
    VerifiedAkCertificate, VerifiedQuote,
};
use blindbox_attestation::snp::{
    self, AmdAnchors, CertificateError, Collateral, Revocation, VekCertificate, VerifiedReport, certificates_from_pem,
};
use blindbox_attestation::{AttestationError, Sha256Digest, UnixTime};

use crate::common::vectors;

/// A time at which the recorded certificates of attestation keys are valid.
const NOW: UnixTime = UnixTime::from_secs(1_781_000_000);

/// The set that has everything.
const WHOLE: &str = "az-cvm-milan-v3-aik";

struct Set {
    name: String,
    blob: Vec<u8>,
    vek: Vec<u8>,
    quote: Quote,
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{}: {error}", folder.join(name).display()))
}

fn quote(folder: &Path) -> Quote {
    let pcrs: Vec<Sha256Digest> = serde_json::from_slice(&read(folder, "pcrs.json")).unwrap();
    Quote::new(read(folder, "tpm_quote.msg"), read(folder, "tpm_quote.sig"), pcrs)
}

fn set(folder: &Path) -> Set {
    Set {
        name: folder.file_name().unwrap().to_string_lossy().into_owned(),
        blob: read(folder, "hcl_report.bin"),
        vek: read(folder, "vcek.der"),
        quote: quote(folder),
    }
}

/// Every recorded confidential VM with SEV-SNP, and the directory of all vectors.
fn sets() -> Option<(PathBuf, Vec<Set>)> {
    let vectors = vectors()?;
    let mut sets: Vec<Set> = std::fs::read_dir(&vectors)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("hcl_report.bin").exists() && folder.join("vcek.der").exists())
        .map(|folder| set(&folder))
        .collect();
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(sets.len() >= 4, "{} sets", sets.len());
    Some((vectors, sets))
}

impl Set {
    fn report(&self, blob: &[u8]) -> Result<VerifiedReport, AttestationError> {
        let now = VekCertificate::from_der(&self.vek).unwrap().not_before().plus(86_400);
        let report = HclReport::read(blob)?.snp_report()?;
        Ok(snp::verify(report, &Collateral::new(&self.vek), &AmdAnchors::builtin(), Revocation::Off, now)?)
    }

    fn claims(&self, blob: &[u8]) -> Result<RuntimeClaims, AttestationError> {
        let report = self.report(blob)?;
        Ok(HclReport::read(blob)?.verify_with(&report)?)
    }

    fn verify(&self) -> Result<(RuntimeClaims, VerifiedQuote), AttestationError> {
        let claims = self.claims(&self.blob)?;
        let quote = self.quote.verify(&claims.attestation_key)?;
        Ok((claims, quote))
    }
}

/// The certificates of a set with one, leaf first.
fn chain(folder: &Path) -> Vec<Vec<u8>> {
    let pem = |name: &str| certificates_from_pem(&read(folder, name)).unwrap();
    match folder.join("aik_cert.der").exists() {
        true => vec![read(folder, "aik_cert.der")],
        false => ["aik_cert.pem", "aik_issuer_0.pem", "aik_issuer_1.pem"].into_iter().flat_map(pem).collect(),
    }
}

#[test]
fn every_recorded_vm_verifies_down_to_amds_root() {
    let Some((vectors, sets)) = sets() else { return };
    for set in &sets {
        let (claims, quote) = set.verify().unwrap_or_else(|error| panic!("{}: {error}", set.name));
        let json = read(&vectors.join(&set.name), "runtime_data.json");
        assert_eq!(HclReport::read(&set.blob).unwrap().runtime_claims_json(), json, "{}", set.name);
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let vm = &json["vm-configuration"];
        let id = vm["vmUniqueId"].as_str().unwrap().to_lowercase();
        assert_eq!(claims.vm_configuration.vm_id.to_string(), id, "{}", set.name);
        assert_eq!(claims.vm_configuration.secure_boot, vm["secure-boot"], "{}", set.name);
        let user_data = claims.user_data.unwrap().to_string();
        assert_eq!(user_data, json["user-data"].as_str().unwrap().to_lowercase(), "{}", set.name);
        for index in 0..24 {
            assert_eq!(quote.pcrs().get(index), set.quote.pcrs.get(usize::from(index)), "{}: {index}", set.name);
        }
        assert_eq!(quote.pcrs().get(24), None);
        assert_eq!(quote.pcrs().names_vm(&claims.vm_configuration.vm_id), Some(true), "{}", set.name);
        assert_eq!(quote.pcrs().names_vm(&blindbox_attestation::VmId::new([0; 16])), Some(false), "{}", set.name);
    }
    let extra = |name: &str| {
        let set = sets.iter().find(|set| set.name == name).unwrap();
        hex::encode(set.verify().unwrap().1.extra_data())
    };
    assert_eq!(extra("az-cvm-milan-v2"), hex::encode("challenge"));
    assert_eq!(extra("az-cvm-milan-v3-trustee"), hex::encode("challenge"));
    assert_eq!(extra("az-cvm-milan-v3-live"), hex::encode("attestation-test-fixture"));
    let json: serde_json::Value = serde_json::from_slice(&read(&vectors.join(WHOLE), "snpCvm.json")).unwrap();
    let nonce = extra(WHOLE);
    assert!(nonce.starts_with("0a61737b"), "{nonce}");
    assert!(json.to_string().contains("0a61737b") || nonce.len() == 64);
}

/// A blob of 2023 has 2048 bytes, and no certificate was recorded with it.
#[test]
fn a_blob_of_2023_is_read() {
    let Some((vectors, _)) = sets() else { return };
    let folder = vectors.join("az-cvm-milan-v2-hcl-no-vcek");
    let blob = read(&folder, "hcl_report.bin");
    let hcl = HclReport::read(&blob).unwrap();
    assert_eq!(hcl.tee(), HclTee::SevSnp(read(&folder, "report.bin").first_chunk().unwrap()));
    assert_eq!((hcl.version(), hcl.runtime_claims_json()), (1, &read(&folder, "runtime_data.json")[..]));
}

#[test]
fn a_td_report_is_read_and_not_verified() {
    let Some((vectors, sets)) = sets() else { return };
    let folder = vectors.join("az-tdx-with-ak-chain");
    let blob = read(&folder, "hcl_report.bin");
    let hcl = HclReport::read(&blob).unwrap();
    assert!(matches!(hcl.tee(), HclTee::Tdx(_)), "{hcl:?}");
    assert_eq!(hcl.snp_report(), Err(HclReportError::NotSevSnp));
    let report = sets[0].report(&sets[0].blob).unwrap();
    assert_eq!(hcl.verify_with(&report), Err(HclReportError::NotSevSnp));
    // The bytes behind a TD report, up to the length of one of SEV-SNP.
    let mut changed = blob.clone();
    changed[0x4bf] = 1;
    assert_eq!(HclReport::read(&changed), Err(HclReportError::NotZero { offset: 0x4bf }));
}

/// The bytes of the blob: each is refused where it is wrong first.
#[test]
fn no_byte_of_a_blob_can_be_changed() {
    let Some((vectors, _)) = sets() else { return };
    let set = set(&vectors.join(WHOLE));
    let json = HclReport::read(&set.blob).unwrap().runtime_claims_json().len();
    for at in 0..set.blob.len() {
        let mut changed = set.blob.clone();
        changed[at] ^= 0x80;
        let refused = set.claims(&changed).err();
        let expected = match at {
            0x00..0x20 | 0x4c0..0x4d0 => {
                matches!(refused, Some(AttestationError::InvalidHclReport(HclReportError::WrongField { .. })))
            }
            // A length that is too large by 2^7 or more: the sizes that follow from it are not those that are stated.
            0x4d0..0x4d4 => matches!(
                refused,
                Some(AttestationError::InvalidHclReport(HclReportError::WrongField { field: "data size", .. }))
            ),
            0x20..0x4c0 => matches!(refused, Some(AttestationError::InvalidReport(_))),
            _ if at < 0x4d4 + json => {
                matches!(refused, Some(AttestationError::InvalidHclReport(HclReportError::WrongReportData { .. })))
            }
            offset => refused == Some(HclReportError::NotZero { offset }.into()),
        };
        assert!(expected, "{at:#x}: {refused:?}");
    }
    // Every value of the version, which is the one field with two that are accepted.
    for version in 0..=u8::MAX {
        let mut changed = set.blob.clone();
        changed[4] = version;
        let wrong = HclReportError::WrongField { field: "version", expected: vec![1, 2], actual: version.into() };
        let expected = if matches!(version, 1 | 2) { None } else { Some(AttestationError::from(wrong)) };
        assert_eq!(set.claims(&changed).err(), expected);
    }
}

#[test]
fn a_blob_that_is_cut_or_longer_is_refused() {
    let Some((vectors, _)) = sets() else { return };
    let set = set(&vectors.join(WHOLE));
    let end = 0x4d4 + HclReport::read(&set.blob).unwrap().runtime_claims_json().len();
    for len in 0..end {
        assert_eq!(HclReport::read(&set.blob[..len]), Err(HclReportError::Truncated { actual: len }));
    }
    assert!(set.claims(&set.blob[..end]).is_ok());
    let longer = |len: usize| [&set.blob[..], &vec![0; len - set.blob.len()]].concat();
    assert!(set.claims(&longer(4096)).is_ok());
    let too_large = HclReportError::TooLarge { limit: 4096, actual: 4097 };
    assert_eq!(set.claims(&longer(4097)), Err(too_large.into()));
}

#[test]
fn no_byte_of_a_quote_can_be_changed() {
    let Some((vectors, _)) = sets() else { return };
    let set = set(&vectors.join(WHOLE));
    let key = set.claims(&set.blob).unwrap().attestation_key;
    let Quote { message, signature, pcrs, .. } = &set.quote;
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        let quote = Quote::new(changed, signature.clone(), pcrs.clone());
        assert_eq!(quote.verify(&key), Err(QuoteError::WrongSignature), "{at}");
    }
    for at in 0..signature.len() {
        let mut changed = signature.clone();
        changed[at] ^= 1;
        let quote = Quote::new(message.clone(), changed, pcrs.clone());
        assert_eq!(quote.verify(&key), Err(QuoteError::WrongSignature), "{at}");
    }
    let genuine = set.verify().unwrap().1;
    for index in 0..pcrs.len() {
        for byte in 0..32 {
            let mut value = *pcrs[index].as_bytes();
            value[byte] ^= 1;
            let mut changed = pcrs.clone();
            changed[index] = Sha256Digest::new(value);
            let refused = Quote::new(message.clone(), signature.clone(), changed).verify(&key).err();
            assert!(matches!(refused, Some(QuoteError::WrongPcrs { .. })), "{index}: {refused:?}");
        }
    }
    let mut swapped = pcrs.clone();
    swapped.swap(4, 16);
    let refused = Quote::new(message.clone(), signature.clone(), swapped).verify(&key).err();
    assert!(matches!(refused, Some(QuoteError::WrongPcrs { .. })), "{refused:?}");
    for count in [0, 1, 23, 25] {
        let values: Vec<_> = pcrs.iter().copied().cycle().take(count).collect();
        let refused = Quote::new(message.clone(), signature.clone(), values).verify(&key);
        assert_eq!(refused, Err(QuoteError::WrongPcrCount { expected: 24, actual: count }));
    }
    // As the TPM wrote it: a length, the message, and the signature with its algorithms.
    let raw = read(&vectors.join(WHOLE), "tpm_quote_raw.bin");
    let (as_written, tpmt) = raw[2..].split_at(message.len());
    let quote = Quote::new(as_written, tpmt, pcrs.clone());
    assert_eq!(quote.verify(&key), Ok(genuine));
    for at in 0..6 {
        let mut changed = tpmt.to_vec();
        changed[at] ^= 1;
        let refused = Quote::new(as_written, changed, pcrs.clone()).verify(&key);
        assert_eq!(refused, Err(QuoteError::MalformedSignature { actual: 262 }));
    }
}

#[test]
fn the_quote_and_the_claims_of_two_vms_do_not_fit_together() {
    let Some((_, sets)) = sets() else { return };
    for (one, other) in sets.iter().zip(sets.iter().skip(1)) {
        let key = other.claims(&other.blob).unwrap().attestation_key;
        assert_eq!(one.quote.verify(&key), Err(QuoteError::WrongSignature), "{} {}", one.name, other.name);
        let report = other.report(&other.blob).unwrap();
        let hcl = HclReport::read(&one.blob).unwrap();
        assert_eq!(hcl.verify_with(&report), Err(HclReportError::AnotherReport), "{} {}", one.name, other.name);
        // The hardware report of one VM with the claims of the other.
        let mut spliced = one.blob.clone();
        spliced[0x20..0x4c0].copy_from_slice(&other.blob[0x20..0x4c0]);
        let refused = HclReport::read(&spliced).unwrap().verify_with(&report).err();
        assert!(matches!(refused, Some(HclReportError::WrongReportData { .. })), "{refused:?}");
    }
}

#[test]
fn the_recorded_certificates_lead_to_azures_root() {
    let Some((vectors, _)) = sets() else { return };
    let folder = vectors.join(WHOLE);
    let key = set(&folder).verify().unwrap().0.attestation_key;
    let verify = |chain: &[Vec<u8>], now| VerifiedAkCertificate::verify(chain, &key, &AkAnchors::builtin(), now);
    let leaf = chain(&folder);
    let pem = |name: &str| certificates_from_pem(&read(&vectors.join("azure-vtpm-ca"), name)).unwrap().remove(0);
    let (ca_01, ca_03) = (pem("azure_tpm_intermediate_01.pem"), pem("azure_tpm_intermediate_03.pem"));
    let (root, other_root) = (pem("azure_tpm_root_2023.pem"), pem("microsoft-rsa-devices-root-ca-2021.pem"));
    let verified = verify(&leaf, NOW).unwrap();
    assert_eq!(verified.subject(), "01d451636602.ConfidentialVM.Azure.windows.net");
    // The last second of 2027-03-12T00:00:00Z.
    assert_eq!(verified.expires_at(), UnixTime::from_secs(1_804_809_600));
    assert!(!verified.has_custom_anchors());
    let with = |above: &[&Vec<u8>]| [&leaf[..], &above.iter().map(|der| (*der).clone()).collect::<Vec<_>>()].concat();
    assert_eq!(verify(&with(&[&ca_03]), NOW), Ok(verified.clone()));
    assert_eq!(verify(&with(&[&ca_03, &root]), NOW), Ok(verified));

    // Other authorities: the name is wrong before the signature is looked at.
    let wrong_issuer = |index, expected: &str, actual: &str| {
        let cause = CertificateError::WrongIssuer { expected: expected.into(), actual: actual.into() };
        Err(AkCertificateError::Certificate { index, cause })
    };
    let refused = wrong_issuer(0, "CN=Global Virtual TPM CA - 01", "CN=Global Virtual TPM CA - 03");
    assert_eq!(verify(&with(&[&ca_01]), NOW), refused);
    assert_eq!(verify(&with(&[&ca_01, &root]), NOW), refused);
    let name = "Azure Virtual TPM Root Certificate Authority 2023";
    let refused = AkCertificateError::NotUnderRoot {
        root: name.into(),
        index: 2,
        issuer: "C=US, O=Microsoft Corporation, CN=Microsoft RSA Devices Root CA 2021".into(),
    };
    assert_eq!(verify(&with(&[&ca_03, &other_root]), NOW), Err(refused));
    // Each has its time. The leaf ends first, and begins last.
    let expired = CertificateError::Expired {
        not_after: UnixTime::from_secs(1_804_809_600),
        now: UnixTime::from_secs(1_804_809_601),
    };
    let refused = AkCertificateError::Certificate { index: 0, cause: expired };
    assert_eq!(verify(&leaf, UnixTime::from_secs(1_804_809_601)), Err(refused));
    let early = CertificateError::NotYetValid {
        not_before: UnixTime::from_secs(1_773_360_000),
        now: UnixTime::from_secs(1_773_359_999),
    };
    let refused = AkCertificateError::Certificate { index: 0, cause: early };
    assert_eq!(verify(&leaf, UnixTime::from_secs(1_773_359_999)), Err(refused));
    // The certificate of one VM and the key of another.
    let other = set(&vectors.join("az-cvm-milan-v3-live")).verify().unwrap().0.attestation_key;
    let refused = VerifiedAkCertificate::verify(&leaf, &other, &AkAnchors::builtin(), NOW);
    assert_eq!(refused, Err(AkCertificateError::AnotherKey));
    // Of an authority, where that of a key is expected.
    let refused = verify(&[ca_03], NOW);
    assert_eq!(refused, Err(AkCertificateError::Certificate { index: 0, cause: CertificateError::NotAnEndEntity }));
}

/// The newer hierarchy, with two authorities, as a VM with TDX had it.
#[test]
fn the_chain_of_the_newer_authorities_verifies_and_names_its_key() {
    let Some((vectors, _)) = sets() else { return };
    let chain = chain(&vectors.join("az-tdx-with-ak-chain"));
    let key = set(&vectors.join(WHOLE)).verify().unwrap().0.attestation_key;
    let verify = |chain: &[Vec<u8>]| VerifiedAkCertificate::verify(chain, &key, &AkAnchors::builtin(), NOW).err();
    // Everything but the key: TDX is not verified here, so that no key of such a VM is known.
    assert_eq!(verify(&chain), Some(AkCertificateError::AnotherKey));
    let refused = AkCertificateError::NotUnderRoot {
        root: "Azure Virtual TPM Root Certificate Authority 2023".into(),
        index: 0,
        issuer: "CN=Azure Cloud Virtual TPM CA - 24".into(),
    };
    assert_eq!(verify(&chain[..1]), Some(refused));
}

#[test]
fn no_byte_of_a_certificate_can_be_changed() {
    let Some((vectors, _)) = sets() else { return };
    let folder = vectors.join(WHOLE);
    let key = set(&folder).verify().unwrap().0.attestation_key;
    let verify = |chain: &[Vec<u8>]| VerifiedAkCertificate::verify(chain, &key, &AkAnchors::builtin(), NOW).err();
    let mut chain = chain(&folder);
    let ca_03 = read(&vectors.join("azure-vtpm-ca"), "azure_tpm_intermediate_03.pem");
    chain.extend(certificates_from_pem(&ca_03).unwrap());
    assert_eq!(verify(&chain), None);
    for index in 0..chain.len() {
        for at in 0..chain[index].len() {
            let mut changed = chain.clone();
            changed[index][at] ^= 1;
            let refused = verify(&changed);
            let is_certificate = matches!(
                &refused,
                Some(AkCertificateError::Certificate { .. } | AkCertificateError::NotUnderRoot { .. })
            );
            assert!(is_certificate, "{index} {at}: {refused:?}");
        }
        let mut longer = chain.clone();
        longer[index].push(0);
        let malformed = AkCertificateError::Certificate { index, cause: CertificateError::Malformed };
        assert_eq!(verify(&longer), Some(malformed));
    }
}
