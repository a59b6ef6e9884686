//! SEV-SNP guests of other clouds: a recorded report of AWS, and what a policy for such guests requires.

use std::fs;

use blindbox_attestation::emulator::Guest;
use blindbox_attestation::emulator::amd::{CSP_ID, SignedVek};
use blindbox_attestation::snp::Vek;
use blindbox_attestation::{
    Attestation, AttestationError, Binding, Endorsements, Evidence, Measurement, Policy, PolicyError,
    RecordedAttestation, ReportData, ReportSigner, SigningKey, Trust, UnixTime, Verdict, Violation, verify,
    verify_recorded,
};

use crate::scene::*;

/// Inside the validity of the recorded VLEK.
const AT: UnixTime = UnixTime::from_secs(1_750_000_000);
const AWS: &str = "CN=cc-us-east-2.amazonaws.com";

fn provider(csp_id: &str) -> ReportSigner {
    ReportSigner::Provider(vec![csp_id.to_owned()])
}

fn recorded(policy: &Policy) -> Option<Result<RecordedAttestation, AttestationError>> {
    let folder = crate::common::vectors()?.join("snp-milan-v3-vlek-aws-ue2");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let mut evidence = Evidence::default();
    evidence.report = Some(read("report.bin"));
    let mut endorsements = Endorsements::default();
    endorsements.vek = Some(Vek::from_der(read("vlek.der")));
    Some(verify_recorded(&evidence, &endorsements, policy, AT))
}

/// The recorded guest asked for its report at VMPL 1, on firmware from before the fix of EntrySign. AMD's CRL is not recorded.
fn recorded_policy(measurement: Measurement, signer: ReportSigner) -> Policy {
    let trust = Trust::amd().allow_no_revocation_check().unwrap().allow_tcb_below("AMD-SB-3019").unwrap();
    let policy = Policy::snp_guest(trust, [measurement], signer, Binding::OwnKey).unwrap();
    policy.require_vmpl([1]).unwrap()
}

#[test]
fn a_recorded_report_of_aws_is_accepted_for_its_provider_and_measurement() {
    let measurement =
        "8922ebbdd00ec2c541f36a6e7a82a8773a7accb451ed67bc94e740dbe92c93c4e8c9af857f5ceeb5a493df2a570d7bf0";
    let measurement = Measurement::from_hex(measurement).unwrap();
    let Some(accepted) = recorded(&recorded_policy(measurement, provider(AWS))) else { return };
    let accepted = accepted.unwrap();
    let shown = |name| {
        let check = accepted.appraisal().check(name).unwrap();
        (check.verdict, check.actual.to_string())
    };
    assert_eq!(shown("csp id"), (Verdict::Passed, AWS.to_owned()));
    assert_eq!(shown("launch measurement"), (Verdict::Passed, measurement.to_string()));
    assert_eq!(shown("signing key").1, "VLEK");
    let reason = "SNP guest: the report shows the measured firmware, and no digest of an application";
    assert_eq!(shown("workload").0, Verdict::NotEvaluated(reason));
    assert_eq!(shown("uvm endorsement").0, Verdict::NotEvaluated("an SNP guest has no utility VM"));
    assert_eq!(shown("maa token").0, Verdict::NotEvaluated("not asked: the policy trusts AMD alone"));

    let refused = |policy: &Policy| {
        let refused = recorded(policy).unwrap().unwrap_err();
        let violations: Vec<_> = refused.violations().cloned().collect();
        violations
    };
    let other = Measurement::new([1; 48]);
    let wrong = Violation::WrongMeasurement { expected: vec![other], actual: measurement };
    assert_eq!(refused(&recorded_policy(other, provider(AWS))), [wrong]);
    let another_region = "CN=cc-us-east-1.amazonaws.com".to_owned();
    let wrong = Violation::WrongChip { field: "csp id", expected: another_region.clone(), actual: AWS.to_owned() };
    assert_eq!(refused(&recorded_policy(measurement, provider(&another_region))), [wrong]);
    let wrong = Violation::WrongChip { field: "signing key", expected: "VCEK".to_owned(), actual: "VLEK".to_owned() };
    assert_eq!(refused(&recorded_policy(measurement, ReportSigner::Chip)), [wrong]);
    let level_0 = Policy::snp_guest(
        Trust::amd().allow_no_revocation_check().unwrap().allow_tcb_below("AMD-SB-3019").unwrap(),
        [measurement],
        provider(AWS),
        Binding::OwnKey,
    );
    assert_eq!(refused(&level_0.unwrap()), [Violation::WrongVmpl { expected: vec![0], actual: 1 }]);
}

fn guest() -> Guest {
    Guest::snp_guest()
}

fn policy(signer: ReportSigner) -> Policy {
    Policy::snp_guest(Trust::amd(), [guest().snp.measurement], signer, Binding::OwnKey).unwrap()
}

/// The verdict on a guest whose report covers our challenge, or other report data.
fn attest(
    signed_by: &SignedVek,
    policy: &Policy,
    report_data: Option<ReportData>,
) -> Result<Attestation, AttestationError> {
    let challenge = bound();
    let runtime_data = challenge.runtime_data();
    let mut evidence = Evidence::default();
    let report = report(&guest(), &runtime_data);
    let report = match report_data {
        Some(other) => report.report_data(*other.as_bytes()),
        None => report,
    };
    evidence.report = Some(report.sign(signed_by));
    evidence.runtime_data = Some(runtime_data);
    let mut endorsements = endorsements();
    endorsements.key_set = None;
    endorsements.vek = Some(Vek::from_der(signed_by.der()));
    verify(&evidence, &endorsements, challenge, policy, NOW)
}

#[test]
fn a_report_binds_and_its_key_must_be_of_a_named_provider_or_of_a_chip() {
    let vlek = amd().vlek().issue();
    let attested = attest(&vlek, &policy(provider(CSP_ID)), None).unwrap();
    assert_eq!(attested.key(), Some(&KEY));
    assert_eq!(attested.claims().maa, None);
    assert!(attest(vek(), &policy(ReportSigner::Chip), None).is_ok());

    let only = |refused: Result<Attestation, AttestationError>| {
        let refused = refused.unwrap_err();
        let violations: Vec<_> = refused.violations().cloned().collect();
        violations
    };
    // A VCEK names no provider.
    assert_eq!(only(attest(vek(), &policy(provider(CSP_ID)), None)), [Violation::NotReported { claim: "csp id" }]);
    let wrong = Violation::WrongChip { field: "csp id", expected: "Other".to_owned(), actual: CSP_ID.to_owned() };
    assert_eq!(only(attest(&vlek, &policy(provider("Other")), None)), [wrong]);
    let wrong = Violation::WrongChip { field: "signing key", expected: "VCEK".to_owned(), actual: "VLEK".to_owned() };
    assert_eq!(only(attest(&vlek, &policy(ReportSigner::Chip), None)), [wrong]);

    let other = ReportData::new([7; 64]);
    let refused = attest(vek(), &policy(ReportSigner::Chip), Some(other)).unwrap_err();
    let AttestationError::FalseAttestationReport { what, actual, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((what, actual), ("report data", other.to_string()));
}

#[test]
fn a_policy_for_other_clouds_names_measurement_and_signer() {
    let reason = |policy: Result<Policy, PolicyError>| match policy {
        Err(PolicyError::Contradiction { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let measurement = "5a".repeat(48);
    let file = |more: &str| Policy::from_toml(&format!("version = 1\nkind = \"snp-guest\"\n{more}"));
    let usual = format!("binding = \"own-key\"\ntrust.amd = {{}}\nguest.measurements = [\"{measurement}\"]\n");
    let read = file(&format!("{usual}require.csp-ids = [\"{AWS}\"]\n")).unwrap();
    let measured = [Measurement::new([0x5a; 48])];
    assert_eq!(read, Policy::snp_guest(Trust::amd(), measured, provider(AWS), Binding::OwnKey).unwrap());
    assert_eq!(Policy::from_toml(&read.to_toml()), Ok(read.clone()));
    let chips = file(&format!("{usual}require.signing-keys = [\"vcek\"]\n")).unwrap();
    assert_eq!(chips, Policy::snp_guest(Trust::amd(), measured, ReportSigner::Chip, Binding::OwnKey).unwrap());
    assert!(read.lint().iter().any(|lint| lint.code == "firmware-only"));
    assert!(!read.lint().iter().any(|lint| lint.code == "workload-not-evaluated"));

    assert!(reason(file(&usual)).starts_with("a VLEK of any cloud provider would pass"));
    let both = file(&format!("{usual}require.signing-keys = [\"vcek\", \"vlek\"]\n"));
    assert!(reason(both).starts_with("a VLEK of any cloud provider would pass"));
    let never = file(&format!("{usual}require.signing-keys = [\"vcek\"]\nrequire.csp-ids = [\"{AWS}\"]\n"));
    assert!(reason(never).starts_with("`require.csp-ids` needs a VLEK"));
    let signer = format!("require.csp-ids = [\"{AWS}\"]\n");
    let unmeasured = format!("binding = \"own-key\"\ntrust.amd = {{}}\nguest.allow-any-azure-cvm = true\n{signer}");
    assert!(reason(file(&unmeasured)).starts_with("an SNP guest needs `guest.measurements`"));
    let any = format!("{usual}guest.allow-any-azure-cvm = true\n{signer}");
    assert!(reason(file(&any)).starts_with("`guest.allow-any-azure-cvm` is for confidential VMs"));
    let unbound = usual.replace("binding = \"own-key\"\n", "");
    assert!(reason(file(&format!("{unbound}{signer}"))).starts_with("an SNP guest needs `binding`"));
    let maa = usual.replace("trust.amd = {}", "trust.maa.issuer = \"https://sharedeus.eus.attest.azure.net\"");
    assert!(reason(file(&format!("{maa}{signer}"))).starts_with("an SNP guest is judged by its hardware report alone"));
    let uvm = format!("{usual}{signer}uvm.minimum-svn = 1\n");
    assert!(reason(file(&uvm)).starts_with("`workload` and `uvm` belong to a confidential container"));
    let twice = read.require_signing_keys([SigningKey::Vcek]);
    assert!(reason(twice).starts_with("`require.csp-ids` needs a VLEK"));
    let none: [Measurement; 0] = [];
    let empty = Policy::snp_guest(Trust::amd(), none, ReportSigner::Chip, Binding::OwnKey);
    assert_eq!(empty, Err(PolicyError::EmptyList { requirement: "guest.measurements" }));
    let nameless = Policy::snp_guest(Trust::amd(), measured, ReportSigner::Provider(Vec::new()), Binding::OwnKey);
    assert_eq!(nameless, Err(PolicyError::EmptyList { requirement: "require.csp-ids" }));
}
