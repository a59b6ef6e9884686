//! Evidence recorded from real confidential VMs under whole policies that trust AMD.
//!
//! No runtime data were recorded with it, so that it is appraised as recorded evidence; with a challenge it is a replay.

use std::path::{Path, PathBuf};

use blindbox_attestation::azure_vm::{AkCertificateError, HclReportError, Quote, QuoteError};
use blindbox_attestation::snp::{CertificateError, Vek, certificates_from_pem};
use blindbox_attestation::{
    AttestationError, Binding, BitRequirement, Challenge, Endorsements, Evidence, GuestIdentity, KeyDigest,
    Measurement, Policy, RecordedAttestation, ServerNameCheck, Sha256Digest, SpkiDigest, Trust, UnixTime, Verdict,
    Violation, VmConfigurationBit, VmId, verify, verify_recorded,
};

use crate::common::vectors;

/// A time at which the recorded certificates of attestation keys are valid.
const NOW: UnixTime = UnixTime::from_secs(1_781_000_000);

/// Three VMs of one image, with a paravisor that has the fix of CVE-2025-49707.
const FIXED: [&str; 3] = ["az-cvm-milan-v3-aik", "az-cvm-milan-v3-live", "az-cvm-milan-v3-trustee"];
/// One with a paravisor of before the fix.
const OLD: &str = "az-cvm-milan-v2";
/// The PCRs of an image of Ubuntu for confidential VMs: it starts without GRUB, and has no sections in PCR 11.
const IMAGE: [u8; 8] = [4, 7, 8, 9, 11, 12, 13, 14];

struct Set {
    evidence: Evidence,
    endorsements: Endorsements,
    pcrs: Vec<Sha256Digest>,
    measurement: Measurement,
    id_key: KeyDigest,
    vm_id: VmId,
}

fn read(directory: &Path, name: &str) -> Vec<u8> {
    std::fs::read(directory.join(name)).unwrap_or_else(|error| panic!("{}: {error}", directory.join(name).display()))
}

fn set(vectors: &Path, name: &str) -> Set {
    let directory = vectors.join(name);
    let pcrs: Vec<Sha256Digest> = serde_json::from_slice(&read(&directory, "pcrs.json")).unwrap();
    let blob = read(&directory, "hcl_report.bin");
    let report = &blob[0x20..];
    let claims: serde_json::Value = serde_json::from_slice(&read(&directory, "runtime_data.json")).unwrap();
    let vm_id = claims["vm-configuration"]["vmUniqueId"].as_str().unwrap().to_lowercase().parse().unwrap();
    let measurement = Measurement::new(*report[0x90..].first_chunk().unwrap());
    let id_key = KeyDigest::new(*report[0xe0..].first_chunk().unwrap());
    let mut evidence = Evidence::default();
    evidence.quote =
        Some(Quote::new(read(&directory, "tpm_quote.msg"), read(&directory, "tpm_quote.sig"), pcrs.clone()));
    evidence.hcl_report = Some(blob);
    if directory.join("aik_cert.der").exists() {
        evidence.ak_chain = vec![read(&directory, "aik_cert.der")];
    }
    let mut endorsements = Endorsements::default();
    endorsements.vek = Some(Vek::from_der(read(&directory, "vcek.der")));
    Set { evidence, endorsements, pcrs, measurement, id_key, vm_id }
}

impl Set {
    fn verify(&self, policy: &Policy) -> Result<RecordedAttestation, AttestationError> {
        verify_recorded(&self.evidence, &self.endorsements, policy, NOW)
    }

    /// The image of this VM, on any paravisor with the fix.
    fn image(&self) -> GuestIdentity {
        self.pinning(GuestIdentity::allow_any_azure_cvm(), &IMAGE)
    }

    fn pinning(&self, guest: GuestIdentity, indices: &[u8]) -> GuestIdentity {
        indices.iter().fold(guest, |guest, index| guest.pcr(*index, [self.pcrs[usize::from(*index)]]))
    }
}

fn policy(guest: GuestIdentity) -> Policy {
    Policy::confidential_vm(Trust::amd().allow_no_revocation_check().unwrap(), guest, Binding::OwnKey).unwrap()
}

/// For the oldest set, whose host is below the floor of AMD-SB-3019 as well.
fn old_policy(guest: GuestIdentity) -> Policy {
    let trust = Trust::amd().allow_no_revocation_check().unwrap().allow_tcb_below("AMD-SB-3019").unwrap();
    Policy::confidential_vm(trust, guest, Binding::OwnKey).unwrap()
}

fn vector_sets() -> Option<(PathBuf, Vec<Set>)> {
    let vectors = vectors()?;
    let sets = FIXED.iter().map(|name| set(&vectors, name)).collect();
    Some((vectors, sets))
}

#[test]
fn recorded_vms_of_one_image_pass_a_policy_for_it() {
    let Some((_, sets)) = vector_sets() else { return };
    for of_policy in &sets {
        // The values of one VM are those of the others of its image.
        let policy = policy(of_policy.image())
            .require_vm_configuration(VmConfigurationBit::SecureBoot, BitRequirement::Set)
            .and_then(|policy| policy.require_vm_ids(sets.iter().map(|set| set.vm_id)))
            .unwrap();
        assert!(policy.lint().iter().all(|lint| lint.code != "any-guest-os"));
        for (set, name) in sets.iter().zip(FIXED) {
            let recorded = set.verify(&policy).unwrap_or_else(|error| {
                panic!("{name}: {error}\n{}", error.appraisal().map(ToString::to_string).unwrap_or_default())
            });
            let check = |check| {
                let check = recorded.appraisal().check(check).unwrap_or_else(|| panic!("{name}: {check}"));
                (check.verdict, check.actual.to_string())
            };
            let system = "boot chain up to the initial file system, by PCR 4, 7, 8, 9, 11, 12, 13, 14".to_owned();
            assert_eq!(check("workload"), (Verdict::Passed, system), "{name}");
            let fixed = "guest svn 10 of family 02212000000000000000000000000000".to_owned();
            assert_eq!(check("paravisor"), (Verdict::Passed, fixed), "{name}");
            assert_eq!(check("secure boot"), (Verdict::Passed, "set".to_owned()), "{name}");
            assert_eq!(check("vm id"), (Verdict::Passed, set.vm_id.to_string()), "{name}");
            for passed in ["hardware report", "tpm quote", "vm id in pcr 6", "debug", "vmpl", "pcr 4", "pcr 14"] {
                assert_eq!(check(passed).0, Verdict::Passed, "{name}: {passed}");
            }
            // No runtime data say which TLS key the report would have to name.
            assert!(matches!(check("report of this boot").0, Verdict::NotEvaluated(_)), "{name}");
        }
    }
}

/// The stub of the kernel in this image extends PCR 9 and 12, and zeros are in 8 and 11.
#[test]
fn only_the_pcrs_that_the_image_uses_identify_it() {
    let Some((_, sets)) = vector_sets() else { return };
    let set = &sets[0];
    let workload = |indices: &[u8]| {
        let guest = set.pinning(GuestIdentity::allow_any_azure_cvm(), indices);
        let recorded = set.verify(&policy(guest)).unwrap();
        recorded.appraisal().check("workload").unwrap().verdict
    };
    for indices in [&[4, 9, 12][..], &[4, 8, 9, 12], &[4, 9, 11, 12]] {
        assert_eq!(workload(indices), Verdict::Passed, "{indices:?}");
    }
    for indices in [&[][..], &[4], &[4, 7, 8], &[4, 8, 9], &[4, 11, 12], &[9, 12]] {
        assert!(matches!(workload(indices), Verdict::NotEvaluated(_)), "{indices:?}");
    }
}

#[test]
fn another_image_vm_or_setting_is_refused() {
    let Some((_, sets)) = vector_sets() else { return };
    let set = &sets[0];
    let violations = |policy: &Policy| {
        let refused = set.verify(policy).unwrap_err();
        refused.violations().cloned().collect::<Vec<_>>()
    };
    let other = Sha256Digest::new([0x5a; 32]);
    for index in IMAGE {
        let rest: Vec<u8> = IMAGE.into_iter().filter(|one| *one != index).collect();
        let guest = set.pinning(GuestIdentity::allow_any_azure_cvm(), &rest).pcr(index, [other]);
        let wrong = Violation::WrongPcr { index, expected: vec![other], actual: set.pcrs[usize::from(index)] };
        assert_eq!(violations(&policy(guest)), [wrong]);
    }
    let not_yours = VmId::new([7; 16]);
    let wrong = Violation::WrongGuestIdentity {
        field: "vm id",
        expected: not_yours.to_string(),
        actual: set.vm_id.to_string(),
    };
    assert_eq!(violations(&policy(set.image()).require_vm_ids([not_yours]).unwrap()), [wrong]);
    let measured = Measurement::new([1; 48]);
    let wrong = Violation::WrongMeasurement { expected: vec![measured], actual: set.measurement };
    assert_eq!(violations(&policy(GuestIdentity::by_measurement([measured]))), [wrong]);
    // Paravisors of that time do not state it.
    let console = policy(set.image())
        .require_vm_configuration(VmConfigurationBit::InteractiveConsole, BitRequirement::Clear)
        .unwrap();
    assert_eq!(violations(&console), [Violation::NotReported { claim: "interactive console" }]);
}

/// The administrator of such a VM may have put a key of their own in place of the attestation key: CVE-2025-49707.
#[test]
fn an_attestation_key_of_before_the_floor_is_refused() {
    let Some(vectors) = vectors() else { return };
    let set = set(&vectors, OLD);
    let azure = "942fd93ebde6ea7a96efadeafc60f1c6b3d10e703b1dafd7555b92f7f3d32d0e006767648cba5b102af3d65756af4177";
    let wrong =
        Violation::WrongGuestIdentity { field: "id key", expected: azure.to_owned(), actual: set.id_key.to_string() };
    let by_key = GuestIdentity::by_id_key([set.id_key]);
    for policy in [
        old_policy(GuestIdentity::allow_any_azure_cvm()),
        old_policy(set.image()),
        old_policy(by_key.clone()),
        // No minimum makes a known key another one.
        old_policy(by_key).require_minimum_report_guest_svn(1).unwrap(),
    ] {
        let refused = set.verify(&policy).unwrap_err();
        let failed: Vec<_> = refused.violations().collect();
        assert_eq!(failed, [&wrong], "{refused}");
    }
    // A pinned measurement is the caller's own decision, and the result shows it.
    let recorded = set.verify(&old_policy(GuestIdentity::by_measurement([set.measurement]))).unwrap();
    let check = recorded.appraisal().check("paravisor").unwrap();
    let below = "guest svn 5 of family 01000000000000000000000000000000: the measurement is pinned, and its paravisor is BELOW the \
                 floor of CVE-2025-49707";
    assert_eq!((check.verdict, &*check.actual), (Verdict::Allowed, below));
}

#[test]
fn the_certificate_of_the_attestation_key_is_of_this_key_and_of_an_authority_of_now() {
    let Some((vectors, sets)) = vector_sets() else { return };
    let pem = |name: &str| certificates_from_pem(&read(&vectors.join("azure-vtpm-ca"), name)).unwrap().remove(0);
    let [certified, other, _] = &sets[..] else { panic!("three sets") };
    let require = |set: &Set| policy(set.image()).require_ak_certificate().unwrap();
    let recorded = certified.verify(&require(certified)).unwrap();
    let check = recorded.appraisal().check("ak certificate").unwrap();
    assert_eq!(check.verdict, Verdict::Passed);
    assert!(
        check.actual.starts_with("01d451636602.ConfidentialVM.Azure.windows.net, valid until "),
        "{}",
        check.actual
    );

    let none = other.verify(&require(other)).unwrap_err();
    assert_eq!(none.violation(), Some(&Violation::NotReported { claim: "ak certificate" }));
    let with_chain = |set: &Set, chain: Vec<Vec<u8>>, now| {
        let mut evidence = set.evidence.clone();
        evidence.ak_chain = chain;
        verify_recorded(&evidence, &set.endorsements, &require(set), now)
    };
    let leaf = || certified.evidence.ak_chain[0].clone();
    // CA 01, which ended in November 2025: it did not issue this certificate, and is no root.
    let (ca_01, root) = (pem("azure_tpm_intermediate_01.pem"), pem("azure_tpm_root_2023.pem"));
    let cause = CertificateError::WrongIssuer {
        expected: "CN=Global Virtual TPM CA - 01".to_owned(),
        actual: "CN=Global Virtual TPM CA - 03".to_owned(),
    };
    let refused = AttestationError::InvalidAkCertificate(AkCertificateError::Certificate { index: 0, cause });
    for chain in [vec![leaf(), ca_01.clone()], vec![leaf(), ca_01.clone(), root.clone()]] {
        assert_eq!(with_chain(certified, chain, NOW), Err(refused.clone()));
    }
    // A genuine certificate, of the key of another VM.
    let another_key = AttestationError::InvalidAkCertificate(AkCertificateError::AnotherKey);
    assert_eq!(with_chain(other, vec![leaf()], NOW), Err(another_key));
    // After its end.
    let late = UnixTime::from_secs(1_804_809_601);
    let cause = CertificateError::Expired { not_after: UnixTime::from_secs(1_804_809_600), now: late };
    let expired = AttestationError::InvalidAkCertificate(AkCertificateError::Certificate { index: 0, cause });
    assert_eq!(with_chain(certified, vec![leaf()], late), Err(expired));
}

#[test]
fn evidence_of_two_vms_is_refused_and_a_recorded_quote_is_no_response_to_a_challenge() {
    let Some((_, sets)) = vector_sets() else { return };
    let [one, other, _] = &sets[..] else { panic!("three sets") };
    let policy = policy(one.image());
    let changed = |change: &dyn Fn(&mut Evidence)| {
        let mut evidence = one.evidence.clone();
        change(&mut evidence);
        verify_recorded(&evidence, &one.endorsements, &policy, NOW).unwrap_err()
    };
    let error = changed(&|evidence| evidence.quote = other.evidence.quote.clone());
    assert_eq!(error, AttestationError::InvalidTpmQuote(QuoteError::WrongSignature));
    let error = changed(&|evidence| {
        // The hardware report of this VM with the runtime claims of the other, which has an attestation key of its own.
        let mut blob = other.evidence.hcl_report.clone().unwrap();
        blob[0x20..0x4c0].copy_from_slice(&one.evidence.hcl_report.as_ref().unwrap()[0x20..0x4c0]);
        evidence.hcl_report = Some(blob);
    });
    assert!(matches!(error, AttestationError::InvalidHclReport(HclReportError::WrongReportData { .. })), "{error:?}");
    let error = changed(&|evidence| evidence.quote = None);
    assert_eq!(error, AttestationError::MissingEvidence { what: "a quote of the virtual TPM" });

    let challenge = Challenge::bound(SpkiDigest::new([0xab; 32]), ServerNameCheck::Validated, NOW).unwrap();
    let mut evidence = one.evidence.clone();
    evidence.runtime_data = Some(challenge.runtime_data());
    let refused = verify(&evidence, &one.endorsements, challenge, &policy, NOW).unwrap_err();
    assert!(
        matches!(refused, AttestationError::FalseAttestationReport { what: "quote extra data", .. }),
        "{refused:?}"
    );
}
