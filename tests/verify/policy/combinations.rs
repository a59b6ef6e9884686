//! Requirements that need others, and relaxations that do not go together.

use std::time::Duration;

use blindbox_attestation::{
    Binding, BitRequirement, ChipId, GuestIdentity, HostData, MaaIssuer, PlatformInfoBit, Policy, PolicyError,
    Sha256Digest, SigningKey, TcbMinima, TcbMinimum, Trust, UvmRequirement, Workload,
};

use super::{SHARED, container, container_of_both, host_data};

#[test]
fn what_is_required_of_maa_is_not_dropped_where_maa_is_not_asked() {
    let uncovered = |requirement| Err(PolicyError::NotCoveredByTrust { requirement, needs: "MAA" });
    let hash = Sha256Digest::new([1; 32]);
    assert_eq!(Trust::amd().require_maa_policy_hash(hash), uncovered("trust.maa.policy-hash"));
    assert_eq!(Trust::amd().require_maa_key_id("kid"), uncovered("trust.maa.key-id"));
}

#[test]
fn what_is_allowed_of_one_trust_is_refused_without_it() {
    let uncovered = |requirement, needs| Err(PolicyError::NotCoveredByTrust { requirement, needs });
    let maa = || Trust::maa(SHARED).unwrap();
    assert_eq!(Trust::amd().allow_any_maa_policy(), uncovered("trust.maa.allow-any-policy", "MAA"));
    assert_eq!(Trust::amd().allow_test_attester(), uncovered("trust.maa.allow-test-attester", "MAA"));
    assert_eq!(maa().allow_best_effort_revocation(), uncovered("trust.amd.revocation", "AMD"));
    assert_eq!(maa().allow_no_revocation_check(), uncovered("trust.amd.revocation", "AMD"));
    assert_eq!(maa().allow_tcb_below("AMD-SB-3019"), uncovered("trust.amd.waived-advisories", "AMD"));
    // In a file such a field is in the table of its trust, so that it includes that trust, or is refused without the instance.
    let file = container().to_toml().replace(&format!("issuer = \"{SHARED}\""), "allow-test-attester = true");
    let reason = match file.parse::<Policy>() {
        Err(PolicyError::Malformed { reason }) => reason,
        other => panic!("{file}: {other:?}"),
    };
    assert!(reason.contains("missing field `issuer`"), "{reason}");
}

#[test]
fn an_allow_all_policy_is_refused_unless_allowed() {
    let digest = "73973b78d70cc68353426de188db5dfc57e5b766e399935fb73a61127ea26d20";
    let digest = HostData::from_hex(digest).unwrap();
    let trust = || Trust::maa(SHARED).unwrap();
    let workload = Workload::binds_its_own_key(digest);
    let refused = Policy::confidential_container(trust(), workload.clone(), UvmRequirement::at_least(101));
    assert_eq!(refused, Err(PolicyError::PermissiveWorkload { digest }));
    let allowed =
        Policy::confidential_container(trust(), workload.allow_permissive(), UvmRequirement::at_least(101)).unwrap();
    assert_eq!(allowed.lint()[0].code, "permissive-workload-allowed");
}

#[test]
fn an_instance_that_someone_else_writes_the_policy_of_is_pinned_or_waived() {
    let with = |trust: Trust| {
        Policy::confidential_container(trust, Workload::binds_its_own_key(host_data()), UvmRequirement::at_least(101))
    };
    let own = "https://mine.neu.attest.azure.net";
    let issuer = MaaIssuer::new(own).unwrap();
    assert_eq!(with(Trust::maa(own).unwrap()), Err(PolicyError::MaaPolicyNotPinned { issuer }));
    let pinned = Trust::maa(own).unwrap().require_maa_policy_hash(Sha256Digest::new([1; 32])).unwrap();
    assert!(with(pinned).is_ok());
    let waived = with(Trust::maa(own).unwrap().allow_any_maa_policy().unwrap()).unwrap();
    assert!(waived.lint().iter().any(|lint| lint.code == "maa-policy-not-pinned"));
    // A name that only looks shared is someone's own.
    let lookalike = "https://shared.attest.azure.net.example.com";
    let issuer = MaaIssuer::new(lookalike).unwrap();
    assert_eq!(with(Trust::maa(lookalike).unwrap()), Err(PolicyError::MaaPolicyNotPinned { issuer }));
    let test = "https://sharedeus2.eus2.test.attest.azure.net";
    let issuer = MaaIssuer::new(test).unwrap();
    assert_eq!(with(Trust::maa(test).unwrap()), Err(PolicyError::TestAttester { issuer }));
    assert!(with(Trust::maa(test).unwrap().allow_test_attester().unwrap()).is_ok());
}

#[test]
fn a_requirement_that_no_evidence_of_the_trust_can_show_is_refused() {
    let uncovered = |requirement, needs| Err(PolicyError::NotCoveredByTrust { requirement, needs });
    let minima = TcbMinima::any(TcbMinimum::new().snp(1));
    assert_eq!(container().require_committed_tcb(minima), uncovered("require.committed-tcb", "AMD"));
    assert_eq!(
        container().require_platform_info(PlatformInfoBit::EccEn, BitRequirement::Set),
        uncovered("require.platform-info", "AMD")
    );
    let amd = Policy::confidential_container(
        Trust::amd(),
        Workload::binds_its_own_key(host_data()),
        UvmRequirement::at_least(101),
    );
    let amd = amd.unwrap();
    assert_eq!(amd.require_max_token_age(Duration::from_secs(1)), uncovered("require.max-token-age-seconds", "MAA"));
}

#[test]
fn a_vm_is_named_somehow_and_binds_under_amd_trust() {
    let trust = || Trust::maa(SHARED).unwrap();
    let any = GuestIdentity::allow_any_azure_cvm();
    let vm = |trust, binding| Policy::confidential_vm(trust, any.clone(), binding);
    assert!(vm(trust(), Binding::None).is_ok());
    for trust in [Trust::amd(), Trust::maa_and_amd(SHARED).unwrap()] {
        assert!(vm(trust.clone(), Binding::OwnConnection).is_ok());
        let refused = vm(trust.clone(), Binding::None);
        assert!(
            matches!(&refused, Err(PolicyError::Contradiction { reason }) if reason.contains("no unbound form")),
            "{refused:?}"
        );
        // The quote of a VM whose administrator may have replaced the key proves nothing.
        let old = vm(trust.clone(), Binding::OwnKey).unwrap().allow_old_paravisor();
        assert!(
            matches!(&old, Err(PolicyError::Contradiction { reason }) if reason.contains("contradicts `trust.amd`")),
            "{old:?}"
        );
        let earlier = vm(trust, Binding::OwnKey).unwrap().allow_report_of_earlier_boot().unwrap();
        assert!(earlier.lint().iter().any(|lint| lint.code == "report-of-earlier-boot-allowed"));
        assert_eq!(Policy::from_toml(&earlier.to_toml()), Ok(earlier));
    }
    let useless = vm(trust(), Binding::OwnKey).unwrap().allow_report_of_earlier_boot();
    assert!(
        matches!(&useless, Err(PolicyError::Contradiction { reason }) if reason.contains("report-of-earlier-boot")),
        "{useless:?}"
    );
    let no_one = Policy::confidential_vm(trust(), GuestIdentity::by_measurement([]), Binding::OwnKey);
    assert_eq!(no_one, Err(PolicyError::EmptyList { requirement: "guest.measurements" }));
}

/// A VLEK names no chip, and a VCEK no provider.
#[test]
fn one_key_has_to_meet_all_that_is_required_of_the_signer() {
    let contradiction = |policy: Result<Policy, PolicyError>, begins: &str| match policy {
        Err(PolicyError::Contradiction { reason }) => assert!(reason.starts_with(begins), "{reason}"),
        other => panic!("{other:?}"),
    };
    let (chip, vcek, vlek) = (ChipId::new([1; 64]), SigningKey::Vcek, SigningKey::Vlek);
    let keys = |keys: &[SigningKey]| container_of_both().require_signing_keys(keys.iter().copied()).unwrap();
    contradiction(keys(&[vcek]).require_csp_ids(["AWS"]), "`require.csp-ids` needs a VLEK");
    contradiction(keys(&[vlek]).require_chip_ids([chip]), "`require.chip-ids` needs a VCEK");
    let of_provider = container_of_both().require_csp_ids(["AWS"]).unwrap();
    contradiction(of_provider.require_chip_ids([chip]), "`require.chip-ids` needs a VCEK");
    for either in [keys(&[vcek, vlek]), container_of_both()] {
        assert!(either.clone().require_csp_ids(["AWS"]).is_ok());
        assert!(either.require_chip_ids([chip]).is_ok());
    }
    assert!(keys(&[vcek]).require_chip_ids([chip]).is_ok());
    assert!(keys(&[vlek]).require_csp_ids(["AWS"]).is_ok());
}

/// At another level than that of the paravisor, software in the VM chooses what a report covers, and so what its claims are.
#[test]
fn the_claims_of_a_paravisor_are_of_level_0() {
    let vm = |trust| Policy::confidential_vm(trust, GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap();
    let status = |status: &str| container().require_compliance_status([status]).unwrap();
    for policy in [vm(Trust::maa(SHARED).unwrap()), vm(Trust::amd()), status("azure-compliant-cvm")] {
        assert!(policy.clone().require_vmpl([0]).is_ok());
        for levels in [vec![2], vec![0, 1]] {
            match policy.clone().require_vmpl(levels) {
                Err(PolicyError::Contradiction { reason }) => assert!(reason.starts_with("`require.vmpl`"), "{reason}"),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(status("azure-compliant-uvm").require_vmpl([0, 1]).is_ok());
}

/// The paravisor of a confidential VM states its id, and so does a token; nothing of a container does.
#[test]
fn vm_ids_need_evidence_that_has_them() {
    let id = blindbox_attestation::VmId::new([7; 16]);
    let vm = |trust| Policy::confidential_vm(trust, GuestIdentity::allow_any_azure_cvm(), Binding::OwnKey).unwrap();
    assert!(vm(Trust::amd()).require_vm_ids([id]).is_ok());
    assert!(vm(Trust::maa(SHARED).unwrap()).require_vm_ids([id]).is_ok());
    let workload = Workload::binds_its_own_key(host_data());
    let container = Policy::confidential_container(Trust::amd(), workload, UvmRequirement::at_least(101)).unwrap();
    let refused = PolicyError::NotCoveredByTrust { requirement: "require.vm-ids", needs: "MAA" };
    assert_eq!(container.require_vm_ids([id]), Err(refused));
}

#[test]
fn host_data_needs_something_that_enforces_it() {
    let text = format!(
        r#"{{"version":1,"kind":"confidential-container","trust":{{"maa":{{"issuer":"{SHARED}"}}}},
            "workload":{{"binding":"own-key","host-data":["{}"]}}}}"#,
        host_data()
    );
    assert_eq!(Policy::from_json(&text), Err(PolicyError::HostDataNotAnchored));
}

/// `binding` is in `workload` for a container, and at the top for guests of the other kinds.
#[test]
fn fields_of_another_kind_are_refused() {
    let with = |text: &str, line: &str| {
        Policy::from_toml(&text.replacen("version = 1\n", &format!("version = 1\n{line}\n"), 1))
    };
    let refused = |policy: Result<Policy, PolicyError>, reason| {
        assert_eq!(policy, Err(PolicyError::Contradiction { reason }));
    };
    let of_a_guest =
        "a confidential container takes no `guest`, and `binding` only in `workload`; drop them, or use another `kind`";
    refused(with(&container().to_toml(), "binding = \"own-key\""), of_a_guest);
    refused(with(&container().to_toml(), "guest.allow-any-azure-cvm = true"), of_a_guest);
    let vm = format!(
        "version = 1\nkind = \"confidential-vm\"\nbinding = \"own-key\"\ntrust.maa.issuer = \"{SHARED}\"\n\
         guest.allow-any-azure-cvm = true\n"
    );
    let of_a_container =
        "`workload` and `uvm` belong to a confidential container, and a VM has no CCE policy; drop them";
    refused(with(&vm, "uvm.minimum-svn = 101"), of_a_container);
    refused(container().allow_direct_vm_token(), "`allow.direct-vm-token` is for confidential VMs; drop it");
}

#[test]
fn channel_relaxations_do_not_combine_into_nothing() {
    let contradiction = |policy: Result<Policy, PolicyError>, reason| {
        assert_eq!(policy, Err(PolicyError::Contradiction { reason }));
    };
    let own_key = "`allow.unbound-channel` is for workloads with `binding = \"none\"`: one that binds its own key is never spoken \
                   to over an unbound channel";
    contradiction(container().allow_unbound_channel(), own_key);
    contradiction(container().allow_unbound_plain_http(), own_key);
    let any_data = Workload::attests_any_data(host_data());
    let unbound =
        Policy::confidential_container(Trust::maa(SHARED).unwrap(), any_data, UvmRequirement::at_least(101)).unwrap();
    let in_clear = unbound.clone().allow_unbound_plain_http().unwrap();
    let unbound = unbound.allow_unbound_channel().unwrap();
    let nothing = "`allow.unverified-name` and `allow.unbound-channel` together would leave nothing that says who the peer is; \
                   drop one of them";
    contradiction(unbound.clone().allow_unverified_name(), nothing);
    assert_eq!(unbound.allow_unbound_plain_http().as_ref(), Ok(&in_clear));
    // A file states each field.
    let written = in_clear.to_toml();
    let reason = "`allow.plain-http` needs `allow.unbound-channel`: a bound channel is always TLS";
    let one = written.replace("unbound-channel = true\n", "");
    assert_ne!(one, written);
    assert_eq!(one.parse::<Policy>(), Err(PolicyError::Contradiction { reason }));
}
