//! Certificates of attestation keys that are signed and not acceptable.

use blindbox_attestation::UnixTime;
use blindbox_attestation::azure_vm::{
    AkAnchors, AkCertificateError, AttestationKey, HclReport, KeyUse, MAX_AK_CERTIFICATE_LEN, VerifiedAkCertificate,
    check_ak_issuer,
};
use blindbox_attestation::emulator::amd::AmdHierarchy;
use blindbox_attestation::emulator::azure_vm::{AkCertificateBuilder, AkIssuer, VirtualTpm, VirtualTpmAuthority};
use blindbox_attestation::snp::{self, CertificateError, Collateral, Revocation};

use super::NOW;

struct Azure {
    authority: VirtualTpmAuthority,
    anchors: AkAnchors,
    tpm: VirtualTpm,
    key: AttestationKey,
}

/// The key of a virtual TPM, as a verified report names it.
fn key_of(tpm: &VirtualTpm) -> AttestationKey {
    let amd = AmdHierarchy::new(blindbox_attestation::Product::Milan);
    let vcek = amd.vcek().issue();
    let blob = tpm.hcl_report().sign(amd.report(), &vcek);
    let hcl = HclReport::read(&blob).unwrap();
    let collateral = Collateral::new(vcek.der());
    let report = snp::verify(hcl.snp_report().unwrap(), &collateral, &amd.anchors(), Revocation::Off, NOW).unwrap();
    hcl.verify_with(&report).unwrap().attestation_key
}

impl Azure {
    fn new() -> Self {
        let (authority, tpm) = (VirtualTpmAuthority::new().unwrap(), VirtualTpm::new());
        Self { anchors: AkAnchors::custom(authority.root()).unwrap(), authority, key: key_of(&tpm), tpm }
    }

    fn certificate(&self) -> AkCertificateBuilder<'_> {
        self.authority.certificate(&self.tpm)
    }

    fn verify(&self, chain: &[Vec<u8>], now: UnixTime) -> Result<VerifiedAkCertificate, AkCertificateError> {
        VerifiedAkCertificate::verify(chain, &self.key, &self.anchors, now)
    }

    fn refused(&self, certificate: &AkCertificateBuilder<'_>) -> AkCertificateError {
        self.verify(&certificate.chain().unwrap(), NOW).unwrap_err()
    }
}

#[test]
fn a_certificate_of_a_confidential_vm_is_accepted_under_its_root_only() {
    let azure = Azure::new();
    let chain = azure.certificate().chain().unwrap();
    let verified = azure.verify(&chain, NOW).unwrap();
    assert_eq!(verified.subject(), "01d451636602.ConfidentialVM.Azure.windows.net");
    assert!(verified.has_custom_anchors());
    let with_root = [&chain[..], &[azure.authority.root().to_vec()]].concat();
    assert_eq!(azure.verify(&with_root, NOW), Ok(verified));

    let refused = VerifiedAkCertificate::verify(&chain, &azure.key, &AkAnchors::builtin(), NOW);
    let not_under_root = |root: &str, index, issuer: &str| {
        Err(AkCertificateError::NotUnderRoot { root: root.into(), index, issuer: issuer.into() })
    };
    let (emulated, azures) =
        ("Emulated Virtual TPM Root (do not trust)", "Azure Virtual TPM Root Certificate Authority 2023");
    assert_eq!(refused, not_under_root(azures, 1, &format!("CN={emulated}")));
    // The root alone, a chain without its authority, and one in the wrong order.
    assert_eq!(
        azure.verify(&chain[..1], NOW),
        not_under_root(emulated, 0, "CN=Emulated Virtual TPM CA (do not trust)")
    );
    let turned: Vec<_> = chain.iter().rev().cloned().collect();
    assert_eq!(azure.verify(&turned, NOW), not_under_root(emulated, 1, "CN=Emulated Virtual TPM CA (do not trust)"));
    // A forger with the same names.
    let forged = VirtualTpmAuthority::impostor().unwrap();
    let refused = azure.verify(&forged.certificate(&azure.tpm).chain().unwrap(), NOW);
    let cause = CertificateError::WrongSignature;
    assert_eq!(refused, Err(AkCertificateError::Certificate { index: 1, cause: cause.clone() }));
    // Genuine authority, forged leaf.
    let mixed = [forged.certificate(&azure.tpm).chain().unwrap()[0].clone(), chain[1].clone()];
    assert_eq!(azure.verify(&mixed, NOW), Err(AkCertificateError::Certificate { index: 0, cause }));
    // How many certificates there may be.
    assert_eq!(azure.verify(&[], NOW), Err(AkCertificateError::ChainLength { max: 5, actual: 0 }));
    let many = vec![chain[0].clone(); 6];
    assert_eq!(azure.verify(&many, NOW), Err(AkCertificateError::ChainLength { max: 5, actual: 6 }));
}

/// What an agent checks before it sends a chain: everything but the key.
#[test]
fn an_agent_checks_a_chain_as_clients_do() {
    let azure = Azure::new();
    let chain = azure.certificate().chain().unwrap();
    let end = azure.verify(&chain, NOW).unwrap().expires_at();
    assert_eq!(azure.anchors.check_chain(&chain, NOW), Ok(end));
    // For another key too, which it compares itself.
    let of_another = azure.authority.certificate(&VirtualTpm::new()).chain().unwrap();
    assert_eq!(azure.anchors.check_chain(&of_another, NOW), Ok(end));
    let forged = VirtualTpmAuthority::impostor().unwrap().certificate(&azure.tpm).chain().unwrap();
    let of_forger = |index| AkCertificateError::Certificate { index, cause: CertificateError::WrongSignature };
    assert_eq!(azure.anchors.check_chain(&forged, NOW), Err(of_forger(1)));
    let late = UnixTime::from_secs(end.as_secs() + 1);
    let expired = CertificateError::Expired { not_after: end, now: late };
    let refused = azure.anchors.check_chain(&chain, late);
    assert_eq!(refused, Err(AkCertificateError::Certificate { index: 0, cause: expired }));
    // One link: the same name and another key.
    assert_eq!(check_ak_issuer(&chain[0], &chain[1]), Ok(()));
    assert_eq!(check_ak_issuer(&chain[0], &forged[1]), Err(CertificateError::WrongSignature));
    let (expected, actual) = (
        "CN=Emulated Virtual TPM Root (do not trust)".to_owned(),
        "CN=Emulated Virtual TPM CA (do not trust)".to_owned(),
    );
    let refused = check_ak_issuer(&chain[0], azure.authority.root());
    assert_eq!(refused, Err(CertificateError::WrongIssuer { expected, actual }));
    let large = [&chain[1][..], &[0; MAX_AK_CERTIFICATE_LEN]].concat();
    let refused = CertificateError::TooLarge { limit: MAX_AK_CERTIFICATE_LEN, actual: large.len() };
    assert_eq!(check_ak_issuer(&chain[0], &large), Err(refused));
}

#[test]
fn trusted_launch_is_no_confidential_vm() {
    let azure = Azure::new();
    for subject in [
        "01d451636602.TrustedVM.Azure.windows.net",
        "01d451636602.ConfidentialVM.Azure.windows.net.example",
        "01d451636602ConfidentialVM.Azure.windows.net",
        ".ConfidentialVM.Azure.windows.net",
        "a.TrustedVM.Azure.windows.net.ConfidentialVM.Azure.windows.net",
        "01d451636602.confidentialvm.azure.windows.net",
        "",
    ] {
        let refused = azure.refused(&azure.certificate().subject(subject));
        assert_eq!(refused, AkCertificateError::NotAConfidentialVm { subject: subject.into() });
    }
}

#[test]
fn a_certificate_is_for_an_attestation_key_of_this_vm() {
    let azure = Azure::new();
    let refused = azure.refused(&azure.certificate().uses(&["2.23.133.8.1"]));
    assert_eq!(refused, AkCertificateError::NotForAttestation { found: vec!["2.23.133.8.1".into()] });
    let refuse = |cause| AkCertificateError::Certificate { index: 0, cause };
    let refused = azure.refused(&azure.certificate().key_usage(0x20));
    assert_eq!(refused, refuse(CertificateError::WrongKeyUsage(KeyUse::Documents)));
    let refused = azure.refused(&azure.certificate().is_authority(true));
    assert_eq!(refused, refuse(CertificateError::NotAnEndEntity));
    let other = VirtualTpm::new();
    let refused = azure.refused(&azure.authority.certificate(&other));
    assert_eq!(refused, AkCertificateError::AnotherKey);
}

#[test]
fn an_authority_may_issue_such_certificates() {
    let azure = Azure::new();
    let refuse = |index, cause| AkCertificateError::Certificate { index, cause };
    let refused = azure.refused(&azure.certificate().authority_uses(&["2.23.133.8.1"]));
    let cause =
        CertificateError::ExcludedUse { expected: vec!["2.23.133.8.3".into()], allowed: vec!["2.23.133.8.1".into()] };
    assert_eq!(refused, refuse(1, cause));
    let refused = azure.refused(&azure.certificate().authority_key_usage(0x80));
    assert_eq!(refused, refuse(1, CertificateError::WrongKeyUsage(KeyUse::Certificates)));
    // Two authorities, of which the upper one allows none below it.
    let below = azure.certificate().issuer(AkIssuer::AuthorityBelow);
    let refused = azure.refused(&below);
    assert_eq!(refused, refuse(2, CertificateError::PathTooLong { allowed: 0, actual: 1 }));
    for allowed in [Some(1), None] {
        let chain = below.clone().authority_path_len(allowed).chain().unwrap();
        assert!(azure.verify(&chain, NOW).is_ok(), "{allowed:?}");
    }
}

/// The owner of a confidential VM has a genuine certificate, and is no authority.
#[test]
fn the_owner_of_a_vm_certifies_no_other() {
    let azure = Azure::new();
    let chain = azure.certificate().issuer(AkIssuer::OwnerOfAnotherVm).authority_path_len(None).chain().unwrap();
    assert!(azure.anchors.check_chain(&chain[1..], NOW).is_ok());
    let refused = azure.verify(&chain, NOW);
    assert_eq!(refused, Err(AkCertificateError::Certificate { index: 1, cause: CertificateError::NotACa }));
}

#[test]
fn all_certificates_are_valid_now() {
    let azure = Azure::new();
    let end = UnixTime::from_secs(1_830_297_600);
    for (certificate, index) in [
        (azure.certificate().not_after("280101000000Z"), 0),
        (azure.certificate().authority_not_after("280101000000Z"), 1),
    ] {
        let chain = certificate.chain().unwrap();
        assert_eq!(azure.verify(&chain, end).unwrap().expires_at(), end);
        let now = end.plus(1);
        let cause = CertificateError::Expired { not_after: end, now };
        assert_eq!(azure.verify(&chain, now), Err(AkCertificateError::Certificate { index, cause }));
    }
    let now = UnixTime::from_secs(1_700_000_000);
    let cause = CertificateError::NotYetValid { not_before: UnixTime::from_secs(1_748_736_000), now };
    let refused = azure.verify(&azure.certificate().chain().unwrap(), now);
    assert_eq!(refused, Err(AkCertificateError::Certificate { index: 0, cause }));
}
