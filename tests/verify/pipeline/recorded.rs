//! Evidence of real machines and real MAA instances under real policies.

use std::fs;
use std::path::Path;

use blindbox_attestation::maa::KeySet;
use blindbox_attestation::snp::Vek;
use blindbox_attestation::{
    AttestationError, Binding, Endorsements, Evidence, GuestIdentity, HostData, Measurement, Policy, PolicyError,
    Product, RecordedAttestation, Trust, UnixTime, UvmRequirement, Verdict, Violation, Workload, verify_recorded,
};
use serde_json::Value;

/// Inside the validity of every recorded VCEK of the ACI sets, and of the debug one.
const AT: UnixTime = UnixTime::from_secs(1_774_000_000);

struct Set {
    evidence: Evidence,
    endorsements: Endorsements,
    expected: Value,
}

impl Set {
    fn hardware(directory: &Path) -> Self {
        let read = |name: &str| fs::read(directory.join(name));
        let mut evidence = Evidence::default();
        evidence.report = Some(read("report.bin").unwrap());
        evidence.uvm_endorsement = read("uvm.cose").ok();
        evidence.runtime_data = read("cose_key.cbor").ok();
        let mut endorsements = Endorsements::default();
        endorsements.vek = Some(Vek::from_der(read("vcek.der").unwrap()));
        Self { evidence, endorsements, expected: serde_json::from_slice(&read("expected.json").unwrap()).unwrap() }
    }

    fn token(directory: &Path) -> Self {
        let read = |name: &str| fs::read(directory.join(name)).unwrap();
        let mut evidence = Evidence::default();
        evidence.token = Some(String::from_utf8(read("token.jwt")).unwrap().trim_end().to_owned());
        let mut endorsements = Endorsements::default();
        endorsements.key_set = Some(KeySet::from_json(&read("jwks.json")).unwrap());
        Self { evidence, endorsements, expected: serde_json::from_slice(&read("expected.json")).unwrap() }
    }

    fn host_data(&self) -> HostData {
        HostData::from_hex(self.expected["host_data"].as_str().unwrap()).unwrap()
    }

    fn measurement(&self) -> Measurement {
        Measurement::from_hex(self.expected["measurement"].as_str().unwrap()).unwrap()
    }

    fn verify(&self, policy: &Policy) -> Result<RecordedAttestation, AttestationError> {
        verify_recorded(&self.evidence, &self.endorsements, policy, AT)
    }

    fn verify_at_issue(&self, policy: &Policy) -> Result<RecordedAttestation, AttestationError> {
        let issued_at = UnixTime::from_secs(self.expected["iat"].as_u64().unwrap());
        verify_recorded(&self.evidence, &self.endorsements, policy, issued_at)
    }
}

fn amd() -> Trust {
    Trust::amd().allow_no_revocation_check().unwrap()
}

/// Directory, product, security version of the utility VM.
const CONTAINERS: [(&str, Product, u64); 5] = [
    ("snp-aci-milan-v2-uvm22", Product::Milan, 22),
    ("snp-aci-milan-v3-20250617", Product::Milan, 101),
    ("snp-aci-milan-v3-20250812", Product::Milan, 101),
    ("snp-aci-milan-v3-tav", Product::Milan, 101),
    ("snp-aci-genoa-v3-tav", Product::Genoa, 101),
];

/// The policy of a recorded container: by its CCE policy where that is recorded too.
fn container(directory: &Path, set: &Set, trust: Trust, svn: u64) -> Policy {
    use base64::Engine;
    let host_data = match fs::read(directory.join("security_policy.rego")) {
        Ok(text) => {
            let cce_policy = base64::engine::general_purpose::STANDARD.encode(text);
            HostData::from_cce_policy(&cce_policy).unwrap()
        }
        Err(_) => set.host_data(),
    };
    assert_eq!(host_data, set.host_data(), "the recorded CCE policy is the one of the report");
    let make = |workload| Policy::confidential_container(trust.clone(), workload, UvmRequirement::at_least(svn));
    let workload = Workload::binds_its_own_key(host_data);
    match make(workload.clone()) {
        Err(PolicyError::PermissiveWorkload { .. }) => make(workload.allow_permissive()).unwrap(),
        policy => policy.unwrap(),
    }
}

#[test]
fn recorded_containers_pass_a_full_appraisal_by_amds_word_alone() {
    let Some(vectors) = crate::common::vectors() else { return };
    for (name, product, svn) in CONTAINERS {
        let directory = vectors.join(name);
        let set = Set::hardware(&directory);
        let old = name == "snp-aci-milan-v2-uvm22";
        let trust = if old { amd().allow_tcb_below("AMD-SB-3019").unwrap() } else { amd() };
        let recorded = set.verify(&container(&directory, &set, trust, svn)).unwrap_or_else(|error| {
            panic!("{name}: {error}\n{}", error.appraisal().map(ToString::to_string).unwrap_or_default())
        });
        let verdict = |check| recorded.appraisal().check(check).unwrap_or_else(|| panic!("{name}: {check}")).verdict;
        for check in ["workload", "hardware report", "debug", "uvm issuer", "uvm feed", "uvm endorsement", "vmpl"] {
            assert_eq!(verdict(check), Verdict::Passed, "{name}: {check}");
        }
        assert_eq!(verdict("anchors"), Verdict::Passed);
        assert_eq!(verdict("revocation"), Verdict::Allowed);
        assert_eq!(verdict("AMD-SB-3019"), if old { Verdict::Allowed } else { Verdict::Passed }, "{name}");
        let permissive = recorded.appraisal().check("cce policy").map(|check| check.verdict);
        assert_eq!(permissive, name.ends_with("-tav").then_some(Verdict::Allowed), "{name}");
        assert_eq!(recorded.claims().uvm.as_ref().unwrap().svn, svn);
        assert_eq!(recorded.claims().tee.snp().unwrap().product, Some(product));
        assert_eq!(recorded.claims().maa, None);

        let newer = set.verify(&container(&directory, &set, amd().allow_tcb_below("AMD-SB-3019").unwrap(), svn + 1));
        let Some(Violation::UvmTooOld { minimum, actual, .. }) = newer.as_ref().unwrap_err().violation() else {
            panic!("{name}: {newer:?}")
        };
        assert_eq!((*minimum, *actual), (svn + 1, svn));
    }
}

#[test]
fn a_recorded_container_of_another_policy_is_other_code() {
    let Some(vectors) = crate::common::vectors() else { return };
    let set = Set::hardware(&vectors.join("snp-aci-milan-v3-20250617"));
    let other = HostData::new([0x5a; 32]);
    let policy =
        Policy::confidential_container(amd(), Workload::binds_its_own_key(other), UvmRequirement::at_least(101));
    let refused = set.verify(&policy.unwrap());
    let Some(Violation::InvalidEnclaveCode { expected, actual, .. }) = refused.as_ref().unwrap_err().violation() else {
        panic!("{refused:?}")
    };
    assert_eq!((expected, *actual), (&vec![other], set.host_data()));
}

#[test]
fn a_tcb_with_a_published_weakness_is_refused_by_the_name_of_the_advisory() {
    let Some(vectors) = crate::common::vectors() else { return };
    let directory = vectors.join("snp-aci-milan-v2-uvm22");
    let set = Set::hardware(&directory);
    let refused = set.verify(&container(&directory, &set, amd(), 22)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "attestation validation failed (tcb too old): expected reported snp 24 or later (AMD-SB-3019), found 8"
    );
    let Some(Violation::TcbTooOld { tcb, part, minimum, actual, advisory, .. }) = refused.violation() else { panic!() };
    assert_eq!(
        (*tcb, *part, *minimum, *actual, advisory.as_deref()),
        ("reported", "snp", 24, Some(8), Some("AMD-SB-3019"))
    );
}

/// What `docs/policy-examples.md` shows is met by reports of real machines, whichever processor they are of.
#[test]
fn requirements_of_the_documentation_are_true_of_real_evidence() {
    let Some(vectors) = crate::common::vectors() else { return };
    let document = include_str!("../../../docs/policy-examples.md");
    let blocks = document.split("\n```toml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let full = blocks.filter(|block| block.contains("reported-tcb")).collect::<Vec<_>>();
    assert_eq!(full.len(), 1, "the full policy");
    let shown: toml::Table = full[0].parse().unwrap();
    let mut require = shown["require"].as_table().unwrap().clone();
    // Of the token and the session, which no recorded report has.
    require.remove("max-token-age-seconds").unwrap();
    require.remove("max-session-age-seconds").unwrap();
    let trust: toml::Table = "[amd]\nrevocation = \"allow-off\"".parse().unwrap();
    for name in ["snp-aci-genoa-v3-tav", "maa-sharedeus-own-evidence-2026", "snp-genoa-v5-live"] {
        let directory = vectors.join(name);
        let report = fs::read(directory.join("report.bin")).unwrap();
        let mut evidence = Evidence::default();
        evidence.report = Some(report.clone());
        let mut endorsements = Endorsements::default();
        endorsements.vek = Some(Vek::from_der(fs::read(directory.join("vcek.der")).unwrap()));
        let mut policy = shown.clone();
        policy["trust"] = trust.clone().into();
        policy.remove("uvm").unwrap();
        let mut require = require.clone();
        require.insert("measurements".to_owned(), vec![hex::encode(&report[0x90..0xc0])].into());
        policy["require"] = require.into();
        // A report of a VM has no host data of a container; all that the policy requires is looked at all the same.
        policy["workload"]["host-data"] = vec!["5a".repeat(32)].into();
        let host_data = hex::encode(&report[0xc0..0xe0]);
        if host_data != "00".repeat(32) {
            policy["workload"]["host-data"] = vec![host_data.clone()].into();
        }
        policy["workload"].as_table_mut().unwrap().insert("allow-permissive".to_owned(), true.into());
        let policy = Policy::from_toml(&policy.to_string()).unwrap();
        let at = UnixTime::from_secs(1_791_600_000);
        let verified = verify_recorded(&evidence, &endorsements, &policy, at);
        let appraisal = match &verified {
            Ok(recorded) => recorded.appraisal(),
            Err(error) => error.appraisal().unwrap_or_else(|| panic!("{name}: {error}")),
        };
        let failed = appraisal.checks().iter().filter(|check| check.verdict == Verdict::Failed);
        let failed: Vec<_> = failed.map(|check| (check.name, &*check.expected, &*check.actual)).collect();
        let of_a_vm = host_data == "00".repeat(32);
        assert!(failed.iter().all(|(check, ..)| of_a_vm && *check == "workload"), "{name}: {failed:?}");
    }
}

#[test]
fn revocation_is_looked_at_unless_the_policy_says_otherwise() {
    let Some(vectors) = crate::common::vectors() else { return };
    let directory = vectors.join("snp-aci-milan-v3-20250617");
    let set = Set::hardware(&directory);
    let refused = set.verify(&container(&directory, &set, Trust::amd(), 101));
    let reason = blindbox_attestation::snp::CrlError::Missing;
    assert_eq!(refused, Err(AttestationError::RevocationUnavailable { reason }));
    let best_effort =
        set.verify(&container(&directory, &set, Trust::amd().allow_best_effort_revocation().unwrap(), 101)).unwrap();
    let check = best_effort.appraisal().check("revocation").unwrap();
    assert_eq!((check.verdict, &*check.actual), (Verdict::Allowed, "NOT CHECKED: no current list could be had"));
}

#[test]
fn a_recorded_debug_guest_is_refused_for_that_before_anything_else() {
    let Some(vectors) = crate::common::vectors() else { return };
    let set = Set::hardware(&vectors.join("snp-milan-v2-debug-policy"));
    let workload = Workload::binds_its_own_key(HostData::new([0x5a; 32]));
    let policy = Policy::confidential_container_by_measurement(amd(), workload, [set.measurement()]).unwrap();
    let refused = set.verify(&policy).unwrap_err();
    assert!(matches!(refused.violation(), Some(Violation::DebugMode)), "{refused}");
    let text = refused.to_string();
    assert!(text.starts_with("attestation validation failed (enclave is in debug mode): expected "), "{text}");
    let checks = refused.appraisal().unwrap().checks().iter();
    let failed: Vec<_> = checks.filter(|check| check.verdict == Verdict::Failed).map(|check| check.name).collect();
    assert_eq!(failed, ["workload", "debug", "AMD-SB-3019"]);
}

#[test]
fn recorded_tokens_of_confidential_vms_pass_the_policy_for_one() {
    let Some(vectors) = crate::common::vectors() else { return };
    for name in ["maa-sharedweu-azurevm-2022", "maa-sharedeus2-azurevm-2024-12", "maa-sharedeus2-azurevm-2025-01"] {
        let set = Set::token(&vectors.join(name));
        let trust = || Trust::maa(set.expected["iss"].as_str().unwrap()).unwrap();
        let of = |guest| Policy::confidential_vm(trust(), guest, Binding::OwnKey).unwrap();
        let recorded = set.verify_at_issue(&of(GuestIdentity::by_measurement([set.measurement()]))).unwrap();
        let workload = recorded.appraisal().check("workload").unwrap();
        let reason = "Azure CVM: the evidence does not show which operating system or application runs";
        assert_eq!(workload.verdict, Verdict::NotEvaluated(reason), "{name}");
        assert_eq!(recorded.appraisal().check("kind of tee").unwrap().verdict, Verdict::Passed);
        assert_eq!(recorded.appraisal().check("compliance").unwrap().actual, "azure-compliant-cvm");

        // They are of before the fix of CVE-2025-49707, and signed by keys of that time.
        let refused = set.verify_at_issue(&of(GuestIdentity::allow_any_azure_cvm())).unwrap_err();
        let violation = refused.violation();
        assert!(matches!(violation, Some(Violation::WrongGuestIdentity { field: "id key", .. })), "{refused}");
        let any = of(GuestIdentity::allow_any_azure_cvm()).allow_old_paravisor().unwrap();
        let any = set.verify_at_issue(&any).unwrap();
        assert_eq!(any.appraisal().check("paravisor").unwrap().verdict, Verdict::Allowed, "{any}");
        assert_eq!(any.appraisal().check("launch measurement").unwrap().verdict, Verdict::Allowed, "{any}");
        let refused = set.verify_at_issue(&of(GuestIdentity::by_measurement([Measurement::new([1; 48])])));
        assert!(
            matches!(refused.as_ref().unwrap_err().violation(), Some(Violation::WrongMeasurement { .. })),
            "{name}: {refused:?}"
        );

        let workload = Workload::binds_its_own_key(HostData::new([0x5a; 32]));
        let container = Policy::confidential_container(trust(), workload, UvmRequirement::at_least(1)).unwrap();
        let refused = set.verify_at_issue(&container);
        let Some(Violation::WrongTeeKind { expected, actual, .. }) = refused.as_ref().unwrap_err().violation() else {
            panic!("{refused:?}")
        };
        assert_eq!((*expected, *actual), ("a confidential container", "a confidential VM"));
    }
}

#[test]
fn the_recorded_direct_token_of_a_vm_passes_where_it_is_asked_for_by_name() {
    let Some(vectors) = crate::common::vectors() else { return };
    let set = Set::token(&vectors.join("maa-sharedeus-sevsnpvm-2026"));
    let trust = || Trust::maa(set.expected["iss"].as_str().unwrap()).unwrap();
    let guest = GuestIdentity::by_measurement([set.measurement()]);
    let policy = Policy::confidential_vm(trust(), guest, Binding::OwnKey).unwrap();
    let kinds = |refused: Result<RecordedAttestation, AttestationError>| match refused.unwrap_err().violation() {
        Some(Violation::WrongTeeKind { expected, actual }) => (*expected, *actual),
        other => panic!("{other:?}"),
    };
    const DIRECT: &str = "a confidential VM, attested directly";
    assert_eq!(kinds(set.verify_at_issue(&policy)), ("a confidential VM", DIRECT));
    let recorded = set.verify_at_issue(&policy.allow_direct_vm_token().unwrap()).unwrap();
    assert_eq!(recorded.appraisal().check("kind of tee").unwrap().verdict, Verdict::Allowed);
    // Which VM it is stands in the claims of the paravisor, in upper case.
    let of_vm = |id: &str| {
        let any = Policy::confidential_vm(trust(), GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap();
        let policy = any.allow_direct_vm_token().and_then(|any| any.require_vm_ids([id.parse().unwrap()])).unwrap();
        set.verify_at_issue(&policy)
    };
    let id = "deaa4f4c-fbf3-439b-8dee-4875d5140983";
    assert_eq!(of_vm(id).unwrap().claims().maa.as_ref().unwrap().vm_id.unwrap().to_string(), id);
    let missed = of_vm("deaa4f4c-fbf3-439b-8dee-4875d5140984").unwrap_err();
    let violation = missed.violation();
    assert!(matches!(violation, Some(Violation::WrongGuestIdentity { field: "vm id", .. })), "{missed}");
    // Its paravisor is one with the fix of CVE-2025-49707.
    let any = Policy::confidential_vm(trust(), GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap();
    let recorded = set.verify_at_issue(&any.allow_direct_vm_token().unwrap()).unwrap();
    let paravisor = recorded.appraisal().check("paravisor").unwrap();
    assert_eq!(paravisor.verdict, Verdict::Passed);
    assert_eq!(paravisor.actual, "guest svn 65549 of family 01232000000000000000000000000000");
    // Its layout is that of a container.
    let workload = Workload::binds_its_own_key(HostData::new([0x5a; 32]));
    let container = Policy::confidential_container(trust(), workload, UvmRequirement::at_least(1)).unwrap();
    assert_eq!(kinds(set.verify_at_issue(&container)), ("a confidential container", DIRECT));
}

/// The report covers the claims of the paravisor as it wrote them: the token has their value, in another order.
#[test]
fn the_recorded_direct_token_of_a_vm_covers_the_claims_of_its_paravisor_byte_for_byte() {
    let Some(vectors) = crate::common::vectors() else { return };
    let directory = vectors.join("maa-sharedeus-sevsnpvm-2026");
    let set = Set::token(&directory);
    let trust = Trust::maa(set.expected["iss"].as_str().unwrap()).unwrap();
    let policy = Policy::confidential_vm(trust, GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap();
    let policy = policy.allow_direct_vm_token().unwrap();
    let exact = fs::read(directory.join("runtime-data.json")).unwrap();
    let issued_at = UnixTime::from_secs(set.expected["iat"].as_u64().unwrap());
    let cover = |runtime_data: &[u8]| {
        let mut evidence = set.evidence.clone();
        evidence.runtime_data = Some(runtime_data.to_vec());
        let refused = |error| match error {
            AttestationError::FalseAttestationReport { what, .. } => what,
            other => panic!("{other:?}"),
        };
        verify_recorded(&evidence, &set.endorsements, &policy, issued_at).map(drop).map_err(refused)
    };
    assert_eq!(cover(&exact), Ok(()));
    // The same value in other bytes, another value, and data as a container would have them.
    assert_eq!(cover(&[&exact[..], b"\n"].concat()), Err("report data"));
    let changed = String::from_utf8(exact).unwrap().replacen("true", "false", 1);
    assert_eq!(cover(changed.as_bytes()), Err("x-ms-runtime.user-data"));
    assert_eq!(cover(b"{}"), Err("x-ms-runtime.user-data"));
}

#[test]
fn a_recorded_token_of_another_enclave_or_instance_is_refused_before_any_appraisal() {
    let Some(vectors) = crate::common::vectors() else { return };
    let policy = |issuer: &Value| {
        let trust = Trust::maa(issuer.as_str().unwrap()).unwrap();
        Policy::confidential_vm(trust, GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap()
    };
    let sgx = Set::token(&vectors.join("maa-sharedeus-sgx-2023"));
    let refused = sgx.verify_at_issue(&policy(&sgx.expected["iss"]));
    assert_eq!(refused, Err(AttestationError::NotAnEnclave { attestation_type: "sgx".into() }));
    let vm = Set::token(&vectors.join("maa-sharedweu-azurevm-2022"));
    let refused = vm.verify_at_issue(&policy(&Value::from("https://sharedneu.neu.attest.azure.net")));
    assert!(matches!(refused, Err(AttestationError::WrongAttester { .. })), "{refused:?}");
}
