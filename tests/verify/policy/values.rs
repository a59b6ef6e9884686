//! Values that a policy refuses: those that require nothing, or that nothing has.

use std::time::Duration;

use blindbox_attestation::claims::Silicon;
use blindbox_attestation::{
    AttestedKeyRequirement, Binding, BitRequirement, ChipId, FamilyId, GuestIdentity, HostData, ImageId, KeyDigest,
    Measurement, Policy, PolicyError, Product, ReportId, Sha256Digest, TcbMinima, TcbMinimum, Trust, UvmRequirement,
    VmId, Workload,
};

use super::{OWN_ISSUER, SHARED, container, container_of_both, host_data};

#[test]
fn an_empty_list_is_never_any() {
    let empty = |requirement| Err(PolicyError::EmptyList { requirement });
    assert_eq!(container().require_measurements([]), empty("require.measurements"));
    assert_eq!(container().require_vmpl([]), empty("require.vmpl"));
    assert_eq!(container().require_id_keys([]), empty("require.id-keys"));
    assert_eq!(container().require_author_keys([]), empty("require.author-keys"));
    assert_eq!(container().require_family_ids([]), empty("require.family-ids"));
    assert_eq!(container().require_image_ids([]), empty("require.image-ids"));
    assert_eq!(container().require_chip_ids([]), empty("require.chip-ids"));
    assert_eq!(container().require_products([]), empty("require.products"));
    assert_eq!(container().require_report_ids([]), empty("require.report-ids"));
    assert_eq!(container().require_vm_ids([]), empty("require.vm-ids"));
    assert_eq!(container().require_compliance_status::<&str>([]), empty("require.compliance-status"));
    assert_eq!(container_of_both().require_signing_keys([]), empty("require.signing-keys"));
    let nothing = TcbMinima::any(TcbMinimum::new());
    for nothing in [nothing, TcbMinima::default()] {
        assert_eq!(container().require_reported_tcb(nothing), empty("require.reported-tcb"));
        assert_eq!(container_of_both().require_committed_tcb(nothing), empty("require.committed-tcb"));
        assert_eq!(container_of_both().require_current_tcb(nothing), empty("require.current-tcb"));
        assert_eq!(container_of_both().require_launch_tcb(nothing), empty("require.launch-tcb"));
    }
    assert_eq!(Trust::amd().require_products([]), Err(PolicyError::EmptyList { requirement: "trust.amd.products" }));
    let workload = Workload::binds_its_own_key(host_data());
    let trust = Trust::maa(SHARED).unwrap();
    assert_eq!(Policy::confidential_container_by_measurement(trust, workload, []), empty("require.measurements"));
}

#[test]
fn values_that_name_no_one_are_refused() {
    let vmpl =
        PolicyError::UnusableValue { requirement: "require.vmpl", reason: "there are the levels 0, 1, 2 and 3 only" };
    assert_eq!(container().require_vmpl([4]), Err(vmpl));
    let refused = |policy: Result<Policy, PolicyError>, requirement, reason| {
        assert_eq!(policy, Err(PolicyError::UnusableValue { requirement, reason }));
    };
    let unset = "is empty or all zero, which in evidence means that nothing was set";
    let zero = "is zero, which requires nothing or what nothing can meet";
    refused(container().require_id_keys([KeyDigest::new([0; 48])]), "require.id-keys", unset);
    refused(container().require_author_keys([KeyDigest::new([0; 48])]), "require.author-keys", unset);
    refused(container().require_chip_ids([ChipId::new([0; 64])]), "require.chip-ids", unset);
    refused(container().require_max_session_age(Duration::from_secs(0)), "require.max-session-age-seconds", zero);
    let zeros = Workload::binds_its_own_key(HostData::new([0; 32]));
    let trust = || Trust::maa(SHARED).unwrap();
    refused(
        Policy::confidential_container(trust(), zeros, UvmRequirement::at_least(1)),
        "workload.host-data",
        "is all zero, which means that no CCE policy was set",
    );
    let workload = Workload::binds_its_own_key(host_data());
    refused(Policy::confidential_container(trust(), workload, UvmRequirement::at_least(0)), "uvm.minimum-svn", zero);
    let uvm = |uvm| Policy::confidential_container(trust(), Workload::binds_its_own_key(host_data()), uvm);
    refused(uvm(UvmRequirement::at_least(1).issued_by("")), "uvm.issuer", "is empty");
    refused(uvm(UvmRequirement::at_least(1).of_feed("")), "uvm.feed", "is empty");
    let waived = || Trust::amd().allow_tcb_below("AMD-SB-3019").unwrap();
    let duplicate =
        PolicyError::DuplicateValue { requirement: "trust.amd.waived-advisories", value: "AMD-SB-3019".into() };
    assert_eq!(waived().allow_tcb_below("AMD-SB-3019"), Err(duplicate));
    let twice = container().require_vmpl([1, 1]);
    assert_eq!(twice, Err(PolicyError::DuplicateValue { requirement: "require.vmpl", value: "1".into() }));
}

#[test]
fn zeros_name_no_one() {
    let reason = "is empty or all zero, which in evidence means that nothing was set";
    let unusable = |policy: Result<Policy, PolicyError>, requirement| {
        assert_eq!(policy, Err(PolicyError::UnusableValue { requirement, reason }));
    };
    unusable(container().require_report_ids([ReportId::new([0; 32])]), "require.report-ids");
    unusable(container().require_family_ids([FamilyId::new([0; 16])]), "require.family-ids");
    unusable(container().require_image_ids([ImageId::new([0; 16])]), "require.image-ids");
    unusable(container().require_vm_ids([VmId::new([0; 16])]), "require.vm-ids");
    unusable(container().require_compliance_status([""]), "require.compliance-status");
    let vm = |guest| Policy::confidential_vm(Trust::maa(SHARED).unwrap(), guest, Binding::OwnKey);
    unusable(vm(GuestIdentity::by_id_key([KeyDigest::new([0; 48])])), "guest.id-keys");
    let zero = Measurement::new([0; 48]);
    unusable(vm(GuestIdentity::by_measurement([zero])), "guest.measurements");
    unusable(container().require_measurements([zero]), "require.measurements");
    let trust = || Trust::maa(SHARED).unwrap();
    let workload = || Workload::binds_its_own_key(host_data());
    unusable(Policy::confidential_container_by_measurement(trust(), workload(), [zero]), "require.measurements");
    let hash = trust().require_maa_policy_hash(Sha256Digest::new([0; 32])).unwrap();
    unusable(Policy::confidential_container(hash, workload(), UvmRequirement::at_least(1)), "trust.maa.policy-hash");
}

/// Under MAA trust alone the issuer of the utility VM is compared with the one that MAA states, and not read.
#[test]
fn an_issuer_that_no_endorsement_can_have_is_refused() {
    let reason = "is no `did:x509:0:sha256:<fingerprint>` with policies of the kinds `eku` and `subject`";
    let with = |trust, issuer: &str| {
        let uvm = UvmRequirement::at_least(1).issued_by(issuer);
        Policy::confidential_container(trust, Workload::binds_its_own_key(host_data()), uvm)
    };
    for issuer in ["did:x509:0", &OWN_ISSUER.replace("eku:1.2", "san:dns:a"), &OWN_ISSUER.replace("sha256", "sha384")] {
        let refused = Err(PolicyError::UnusableValue { requirement: "uvm.issuer", reason });
        assert_eq!(with(Trust::amd(), issuer), refused);
        assert_eq!(with(Trust::maa_and_amd(SHARED).unwrap(), issuer), refused);
        assert!(with(Trust::maa(SHARED).unwrap(), issuer).is_ok());
        let holder = AttestedKeyRequirement::new([host_data()], 1).with_uvm_issuer(issuer);
        let requirement = "trust.maa.require-attested-key.uvm-issuer";
        let refused = Err(PolicyError::UnusableValue { requirement, reason });
        assert_eq!(Trust::maa(SHARED).unwrap().require_attested_maa_key(holder), refused);
    }
    assert!(with(Trust::amd(), OWN_ISSUER).is_ok());
}

/// What no processor of the product can meet is a mistake, and would otherwise show as a refusal of every machine.
#[test]
fn only_turin_has_a_version_of_the_fmc() {
    let minimum = TcbMinimum::new().fmc(1);
    let reason = "has a minimum of `fmc`, which Milan and Genoa do not have, so that nothing meets it; leave it out";
    let unmeetable = PolicyError::UnusableValue { requirement: "require.reported-tcb", reason };
    for silicon in [Silicon::Milan, Silicon::MilanX, Silicon::Genoa, Silicon::GenoaX, Silicon::Bergamo] {
        let minima = TcbMinima::default().with_silicon(silicon, minimum);
        assert_eq!(container().require_reported_tcb(minima), Err(unmeetable.clone()), "{silicon:?}");
    }
    for minima in [
        TcbMinima::any(minimum),
        TcbMinima::for_product(Product::Turin, minimum),
        TcbMinima::default().with_silicon(Silicon::TurinDense, minimum),
    ] {
        assert!(container().require_reported_tcb(minima).is_ok());
    }
}

#[test]
fn a_number_is_one_that_requires_something_and_that_a_file_can_hold() {
    let zero = "is zero, which requires nothing or what nothing can meet";
    let beyond = "is beyond 2^63 - 1, which a policy file cannot hold";
    for (number, reason) in [(0, zero), (1 << 63, beyond), (u64::MAX, beyond)] {
        let unusable = |policy: Result<Policy, PolicyError>, requirement| {
            assert_eq!(policy, Err(PolicyError::UnusableValue { requirement, reason }));
        };
        unusable(container_of_both().require_launch_mitigations(number), "require.launch-mitigations");
        unusable(container_of_both().require_current_mitigations(number), "require.current-mitigations");
        unusable(container().require_max_token_age(Duration::from_secs(number)), "require.max-token-age-seconds");
        unusable(container().require_max_session_age(Duration::from_secs(number)), "require.max-session-age-seconds");
        let workload = Workload::binds_its_own_key(host_data());
        let trust = Trust::maa(SHARED).unwrap();
        unusable(Policy::confidential_container(trust, workload, UvmRequirement::at_least(number)), "uvm.minimum-svn");
    }
    let greatest = container_of_both().require_launch_mitigations((1 << 63) - 1).unwrap();
    assert_eq!(Policy::from_toml(&greatest.to_toml()), Ok(greatest));
}

#[test]
fn pcrs_are_those_that_mean_something() {
    let value = blindbox_attestation::Sha256Digest::new;
    let any = GuestIdentity::allow_any_azure_cvm;
    let vm = |trust, guest| Policy::confidential_vm(trust, guest, Binding::OwnKey);
    let policy = vm(Trust::amd(), any().pcr(4, [value([1; 32])]).pcr(13, [value([0; 32]), value([2; 32])])).unwrap();
    let text = policy.to_toml();
    assert!(text.contains("[guest.pcrs]\n4 = [") && text.contains("\n13 = ["), "{text}");
    assert_eq!(Policy::from_toml(&text), Ok(policy.clone()));
    assert_eq!(Policy::from_json(&policy.to_json()), Ok(policy));

    for (index, part) in
        [(16, "reset"), (23, "reset"), (17, "do not extend"), (22, "do not extend"), (24, "does not have")]
    {
        let refused = vm(Trust::amd(), any().pcr(index, [value([1; 32])]));
        let Err(PolicyError::UnusableValue { requirement: "guest.pcrs", reason }) = refused else {
            panic!("{refused:?}")
        };
        assert!(reason.contains(part), "{reason}");
    }
    let refused = |guest| vm(Trust::amd(), guest).unwrap_err();
    assert_eq!(refused(any().pcr(4, [])), PolicyError::EmptyList { requirement: "guest.pcrs" });
    let twice = PolicyError::DuplicateValue { requirement: "guest.pcrs", value: "01".repeat(32) };
    assert_eq!(refused(any().pcr(4, [value([1; 32]), value([1; 32])])), twice);
    let again = any().pcr(4, [value([1; 32])]).pcr(4, [value([2; 32])]);
    assert_eq!(refused(again), PolicyError::GivenTwice { requirement: "guest.pcrs" });
    let no_quote = vm(Trust::maa(SHARED).unwrap(), any().pcr(4, [value([1; 32])]));
    assert_eq!(no_quote, Err(PolicyError::NotCoveredByTrust { requirement: "guest.pcrs", needs: "AMD" }));
    for key in ["\"04\"", "\"+4\"", "boot"] {
        let file = text.replace("\n4 = [", &format!("\n{key} = ["));
        assert!(matches!(Policy::from_toml(&file), Err(PolicyError::Malformed { .. })), "{file}");
    }
    // Nothing of these is of a container.
    let reason = "`require.vm-configuration` and `require.ak-certificate` are for confidential VMs of Azure; drop them";
    assert_eq!(container_of_both().require_ak_certificate(), Err(PolicyError::Contradiction { reason }));
    let bit = blindbox_attestation::VmConfigurationBit::SecureBoot;
    let refused = container_of_both().require_vm_configuration(bit, BitRequirement::Set);
    assert_eq!(refused, Err(PolicyError::Contradiction { reason }));
    let refused = vm(Trust::maa(SHARED).unwrap(), any()).unwrap().require_ak_certificate();
    assert_eq!(refused, Err(PolicyError::NotCoveredByTrust { requirement: "require.ak-certificate", needs: "AMD" }));
}
