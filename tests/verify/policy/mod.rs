//! What a policy refuses to be, and that it survives a file.

use std::time::Duration;

use blindbox_attestation::{
    AbiVersion, AttestedKeyRequirement, Binding, BitRequirement, ChipId, FamilyId, FirmwareVersion, GuestIdentity,
    GuestPolicyBit, HostData, ImageId, Issuer, KeyDigest, Measurement, Mitigation, PlatformInfoBit, Policy,
    PolicyError, Product, ReportId, Sha256Digest, SigningKey, TcbMinima, TcbMinimum, TeeKind, Trust, UvmRequirement,
    VmId, Workload,
};
use proptest::prelude::*;

const SHARED: &str = "https://sharedneu.neu.attest.azure.net";

fn host_data() -> HostData {
    HostData::new([0x5a; 32])
}

fn container() -> Policy {
    let workload = Workload::binds_its_own_key(host_data());
    Policy::confidential_container(Trust::maa(SHARED).unwrap(), workload, UvmRequirement::at_least(101)).unwrap()
}

fn container_of_both() -> Policy {
    let workload = Workload::binds_its_own_key(host_data());
    Policy::confidential_container(Trust::maa_and_amd(SHARED).unwrap(), workload, UvmRequirement::at_least(101))
        .unwrap()
}

/// A policy that uses every field there is.
fn everything() -> Policy {
    let minima = TcbMinima::for_product(Product::Milan, TcbMinimum::new().snp(24).microcode(219))
        .with_product(Product::Turin, TcbMinimum::new().fmc(1).bootloader(1).tee(1));
    let trust = Trust::maa_and_amd(SHARED)
        .unwrap()
        .require_maa_key_id("kid")
        .unwrap()
        .require_products([Product::Milan, Product::Turin])
        .unwrap()
        .allow_tcb_below("AMD-SB-3019")
        .unwrap()
        .allow_best_effort_revocation();
    let workload = Workload::binds_its_own_key(host_data()).also_accept(HostData::new([0x5b; 32])).allow_permissive();
    let uvm = UvmRequirement::at_least(100).issued_by("did:x509:0:sha256:x::eku:1.2").of_feed("Feed");
    let require = Policy::confidential_container(trust, workload, uvm).unwrap();
    require
        .require_measurements([Measurement::new([1; 48])])
        .and_then(|p| p.require_compliance_status(["azure-compliant-uvm"]))
        .and_then(|p| p.require_vmpl([0, 1]))
        .and_then(|p| p.require_report_guest_svn(2))
        .and_then(|p| p.require_id_keys([KeyDigest::new([2; 48])]))
        .and_then(|p| p.require_author_keys([KeyDigest::new([3; 48])]))
        .and_then(Policy::require_author_key)
        .and_then(|p| p.require_chip_ids([ChipId::new([4; 64])]))
        .and_then(|p| p.require_reported_tcb(minima))
        .and_then(|p| p.require_committed_tcb(minima))
        .and_then(|p| p.require_current_tcb(minima))
        .and_then(|p| p.require_launch_tcb(minima))
        .and_then(|p| p.require_guest_policy(GuestPolicyBit::MemAes256Xts, BitRequirement::Set))
        .and_then(|p| p.require_guest_policy(GuestPolicyBit::Smt, BitRequirement::Clear))
        .and_then(|p| p.require_platform_info(PlatformInfoBit::AliasCheckComplete, BitRequirement::Set))
        .and_then(Policy::require_committed_firmware_only)
        .and_then(|p| p.require_launch_mitigations(0b11))
        .and_then(|p| p.require_max_token_age(Duration::from_secs(600)))
        .and_then(|p| p.require_max_session_age(Duration::from_secs(300)))
        .and_then(Policy::require_post_quantum)
        .and_then(Policy::allow_debug)
        .and_then(Policy::allow_migration)
        .and_then(Policy::allow_unverified_name)
        .unwrap()
}

#[test]
fn a_policy_survives_toml_and_json() {
    for policy in [container(), container_of_both(), everything()] {
        assert_eq!(Policy::from_toml(&policy.to_toml()), Ok(policy.clone()), "{}", policy.to_toml());
        assert_eq!(Policy::from_json(&policy.to_json()), Ok(policy.clone()), "{}", policy.to_json());
        assert_eq!(Policy::from_json(&policy.to_json()).unwrap().digest(), policy.digest());
    }
    assert_ne!(container().digest(), container_of_both().digest());
}

#[test]
fn the_file_of_the_documentation_is_the_policy_of_the_code() {
    let text = format!(
        r#"
        version = 1
        kind = "confidential-container"

        [trust.maa]
        issuer = "{SHARED}"

        [workload]
        binding = "own-key"
        host-data = ["{}"]

        [uvm]
        minimum-svn = 101
        "#,
        host_data()
    );
    assert_eq!(Policy::from_toml(&text), Ok(container()));
}

#[test]
fn an_unknown_or_repeated_field_is_refused_wherever_it_stands() {
    let text = everything().to_toml();
    for (at, _) in text.match_indices('\n') {
        let changed = format!("{}\nunknown-field = 1\n{}", &text[..at], &text[at + 1..]);
        let error = Policy::from_toml(&changed).unwrap_err();
        assert!(matches!(error, PolicyError::Malformed { .. }), "{error}\n{changed}");
    }
    let json = everything().to_json();
    let doubled = json.replacen(r#""smt":"clear""#, r#""smt":"clear","smt":"set""#, 1);
    assert_ne!(json, doubled);
    assert!(matches!(Policy::from_json(&doubled), Err(PolicyError::Malformed { .. })));
}

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
    let refused = |policy: Result<Policy, PolicyError>, requirement| {
        assert!(
            matches!(&policy, Err(PolicyError::UnusableValue { requirement: named, .. }) if *named == requirement),
            "{policy:?}"
        );
    };
    refused(container().require_vmpl([4]), "require.vmpl");
    refused(container().require_id_keys([KeyDigest::new([0; 48])]), "require.id-keys");
    refused(container().require_author_keys([KeyDigest::new([0; 48])]), "require.author-keys");
    refused(container().require_chip_ids([ChipId::new([0; 64])]), "require.chip-ids");
    refused(container().require_max_session_age(Duration::from_secs(0)), "require.max-session-age-seconds");
    let zeros = Workload::binds_its_own_key(HostData::new([0; 32]));
    let trust = || Trust::maa(SHARED).unwrap();
    refused(Policy::confidential_container(trust(), zeros, UvmRequirement::at_least(1)), "workload.host-data");
    let workload = Workload::binds_its_own_key(host_data());
    refused(Policy::confidential_container(trust(), workload, UvmRequirement::at_least(0)), "uvm.minimum-svn");
    let uvm = |uvm| Policy::confidential_container(trust(), Workload::binds_its_own_key(host_data()), uvm);
    refused(uvm(UvmRequirement::at_least(1).issued_by("")), "uvm.issuer");
    refused(uvm(UvmRequirement::at_least(1).of_feed("")), "uvm.feed");
    let waived = || Trust::amd().allow_tcb_below("AMD-SB-3019").unwrap();
    let duplicate =
        PolicyError::DuplicateValue { requirement: "trust.amd.waived-advisories", value: "AMD-SB-3019".into() };
    assert_eq!(waived().allow_tcb_below("AMD-SB-3019"), Err(duplicate));
    let twice = container().require_vmpl([1, 1]);
    assert_eq!(twice, Err(PolicyError::DuplicateValue { requirement: "require.vmpl", value: "1".into() }));
}

#[test]
fn zeros_name_no_one() {
    let unusable = |policy: Result<Policy, PolicyError>, requirement| match policy {
        Err(PolicyError::UnusableValue { requirement: named, .. }) => assert_eq!(named, requirement),
        other => panic!("{requirement}: {other:?}"),
    };
    unusable(container().require_report_ids([ReportId::new([0; 32])]), "require.report-ids");
    unusable(container().require_vm_ids([VmId::new([0; 16])]), "require.vm-ids");
    unusable(container().require_compliance_status([""]), "require.compliance-status");
    let vm = |guest| Policy::confidential_vm(Trust::maa(SHARED).unwrap(), guest, Binding::OwnKey);
    unusable(vm(GuestIdentity::by_id_key([KeyDigest::new([0; 48])])), "guest.id-keys");
}

#[test]
fn a_number_is_one_that_requires_something_and_that_a_file_can_hold() {
    let unusable = |policy: Result<Policy, PolicyError>, requirement| match policy {
        Err(PolicyError::UnusableValue { requirement: named, .. }) => assert_eq!(named, requirement),
        other => panic!("{requirement}: {other:?}"),
    };
    for number in [0, 1 << 63, u64::MAX] {
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
fn the_same_requirement_is_given_once() {
    let twice = |policy: Result<Policy, PolicyError>| {
        assert!(matches!(&policy, Err(PolicyError::Contradiction { reason }) if reason.contains("once")), "{policy:?}");
    };
    let vm = |guest| Policy::confidential_vm(Trust::maa(SHARED).unwrap(), guest, Binding::OwnKey).unwrap();
    let (measurement, key) = (Measurement::new([1; 48]), KeyDigest::new([1; 48]));
    twice(vm(GuestIdentity::by_measurement([measurement])).require_measurements([measurement]));
    twice(vm(GuestIdentity::by_id_key([key])).require_id_keys([key]));
    assert!(vm(GuestIdentity::by_id_key([key])).require_measurements([measurement]).is_ok());
    let trust = Trust::amd().require_products([Product::Milan]).unwrap();
    let workload = Workload::binds_its_own_key(host_data());
    let container = Policy::confidential_container(trust, workload, UvmRequirement::at_least(101)).unwrap();
    twice(container.require_products([Product::Milan]));
}

#[test]
fn a_second_value_does_not_replace_the_first() {
    type Require = fn(Policy) -> Result<Policy, PolicyError>;
    let once: [(&'static str, Require); 28] = [
        ("require.measurements", |p| p.require_measurements([Measurement::new([1; 48])])),
        ("require.compliance-status", |p| p.require_compliance_status(["azure-compliant-uvm"])),
        ("require.vmpl", |p| p.require_vmpl([0])),
        ("require.minimum-report-guest-svn", |p| p.require_report_guest_svn(1)),
        ("require.id-keys", |p| p.require_id_keys([KeyDigest::new([1; 48])])),
        ("require.author-keys", |p| p.require_author_keys([KeyDigest::new([1; 48])])),
        ("require.family-ids", |p| p.require_family_ids([FamilyId::new([1; 16])])),
        ("require.image-ids", |p| p.require_image_ids([ImageId::new([1; 16])])),
        ("require.chip-ids", |p| p.require_chip_ids([ChipId::new([1; 64])])),
        ("require.products", |p| p.require_products([Product::Milan])),
        ("require.report-ids", |p| p.require_report_ids([ReportId::new([1; 32])])),
        ("require.signing-keys", |p| p.require_signing_keys([SigningKey::Vcek])),
        ("require.reported-tcb", |p| p.require_reported_tcb(TcbMinima::any(TcbMinimum::new().snp(1)))),
        ("require.committed-tcb", |p| p.require_committed_tcb(TcbMinima::any(TcbMinimum::new().snp(1)))),
        ("require.current-tcb", |p| p.require_current_tcb(TcbMinima::any(TcbMinimum::new().snp(1)))),
        ("require.launch-tcb", |p| p.require_launch_tcb(TcbMinima::any(TcbMinimum::new().snp(1)))),
        ("require.minimum-guest-abi", |p| p.require_guest_abi(AbiVersion { major: 1, minor: 1 })),
        ("require.minimum-firmware", |p| p.require_firmware(FirmwareVersion { major: 1, minor: 1, build: 1 })),
        ("require.minimum-committed-firmware", |p| {
            p.require_committed_firmware_version(FirmwareVersion { major: 1, minor: 1, build: 1 })
        }),
        ("require.launch-mitigations", |p| p.require_launch_mitigations(1)),
        ("require.current-mitigations", |p| p.require_current_mitigations(1)),
        ("require.max-token-age-seconds", |p| p.require_max_token_age(Duration::from_secs(1))),
        ("require.max-session-age-seconds", |p| p.require_max_session_age(Duration::from_secs(1))),
        ("require.advisories", |p| p.require_advisories(["AMD-SB-3016"])),
        ("require.advisories-until", |p| p.require_advisories_until("2026-05-12")),
        ("require.mitigations", |p| p.require_mitigations([Mitigation::AmdSb3016])),
        ("require.csp-ids", |p| p.require_csp_ids(["AWS"])),
        ("require.guest-policy", |p| p.require_guest_policy(GuestPolicyBit::Smt, BitRequirement::Set)),
    ];
    for (requirement, require) in once {
        let twice = require(container_of_both()).and_then(require);
        match requirement {
            "require.guest-policy" => assert!(matches!(twice, Err(PolicyError::DuplicateValue { .. }))),
            _ => assert_eq!(twice, Err(PolicyError::GivenTwice { requirement })),
        }
    }
    let vm = || {
        let guest = GuestIdentity::allow_any_azure_cvm();
        Policy::confidential_vm(Trust::maa(SHARED).unwrap(), guest, Binding::OwnKey).unwrap()
    };
    let of_a_vm: [(&'static str, Require); 3] = [
        ("require.vm-ids", |p| p.require_vm_ids([VmId::new([1; 16])])),
        ("require.tee", |p| p.require_tee([TeeKind::Tdx])),
        ("require.tcb-status", |p| p.require_tcb_status(["UpToDate"])),
    ];
    for (requirement, require) in of_a_vm {
        let vm = if requirement == "require.tcb-status" { vm().require_tee([TeeKind::Tdx]).unwrap() } else { vm() };
        assert_eq!(require(vm).and_then(require), Err(PolicyError::GivenTwice { requirement }));
    }
    let twice = |requirement| Err(PolicyError::GivenTwice { requirement });
    let trust = || Trust::maa_and_amd(SHARED).unwrap();
    let hash = Sha256Digest::new([1; 32]);
    let pinned = trust().require_maa_policy_hash(hash).unwrap();
    assert_eq!(pinned.require_maa_policy_hash(hash), twice("trust.maa.policy-hash"));
    assert_eq!(trust().require_maa_key_id("a").unwrap().require_maa_key_id("b"), twice("trust.maa.key-id"));
    let milan = trust().require_products([Product::Milan]).unwrap();
    assert_eq!(milan.require_products([Product::Genoa]), twice("trust.amd.products"));
    // What the constructor names is given too.
    let workload = Workload::binds_its_own_key(host_data());
    let measured =
        Policy::confidential_container_by_measurement(trust(), workload, [Measurement::new([1; 48])]).unwrap();
    assert_eq!(measured.require_measurements([Measurement::new([2; 48])]).err(), twice("require.measurements").err());
    // Of minima the greater holds, since both were asked for.
    let minimum = TcbMinimum::new().snp(24).snp(20);
    assert_eq!(minimum, TcbMinimum::new().snp(24));
    let both = TcbMinima::for_product(Product::Milan, minimum)
        .with_product(Product::Milan, TcbMinimum::new().snp(20).microcode(1));
    assert_eq!(both, TcbMinima::for_product(Product::Milan, TcbMinimum::new().snp(24).microcode(1)));
}

#[test]
fn a_bit_is_required_once() {
    let twice = |requirement, value: &str| Err(PolicyError::DuplicateValue { requirement, value: value.into() });
    for must in [BitRequirement::Set, BitRequirement::Clear] {
        let policy = container().require_guest_policy(GuestPolicyBit::MemAes256Xts, BitRequirement::Set).unwrap();
        let refused = policy.require_guest_policy(GuestPolicyBit::MemAes256Xts, must);
        assert_eq!(refused, twice("require.guest-policy", "mem-aes-256-xts"));
        let policy = container_of_both().require_platform_info(PlatformInfoBit::EccEn, BitRequirement::Set).unwrap();
        let refused = policy.require_platform_info(PlatformInfoBit::EccEn, must);
        assert_eq!(refused, twice("require.platform-info", "ecc-en"));
    }
}

/// A second value would replace the first without a word.
#[test]
fn an_issuer_and_a_feed_of_utility_vms_are_given_once() {
    let uvm = UvmRequirement::at_least(101);
    for (uvm, requirement) in [
        (uvm.clone().issued_by("did:a").issued_by("did:a"), "uvm.issuer"),
        (uvm.clone().of_feed("A").of_feed("B"), "uvm.feed"),
        (uvm.clone().of_feed("A").issued_by("did:a").of_feed("B"), "uvm.feed"),
    ] {
        let refused = Policy::confidential_container(
            Trust::maa(SHARED).unwrap(),
            Workload::binds_its_own_key(host_data()),
            uvm.clone(),
        );
        assert_eq!(refused, Err(PolicyError::GivenTwice { requirement }), "{uvm:?}");
    }
    // A file cannot say it: there a field stands once.
    let text = container().to_json();
    let changed = text.replacen(r#""minimum-svn""#, r#""given-twice":"uvm.feed","minimum-svn""#, 1);
    assert_ne!(changed, text);
    assert!(matches!(Policy::from_json(&changed), Err(PolicyError::Malformed { .. })), "{changed}");
}

#[test]
fn null_is_no_value() {
    let text = container().to_json();
    for (from, to) in [
        (r#""version":1"#, r#""version":1,"guest":null"#),
        (r#""version":1"#, r#""version":1,"require":{"measurements":null}"#),
        (r#""binding":"own-key""#, r#""binding":"own-key","allow-permissive":null"#),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert!(matches!(Policy::from_json(&changed), Err(PolicyError::Malformed { .. })), "{changed}");
    }
}

#[test]
fn what_is_required_of_maa_is_not_dropped_where_maa_is_not_asked() {
    let uncovered = |requirement| Err(PolicyError::NotCoveredByTrust { requirement, needs: "MAA" });
    let hash = Sha256Digest::new([1; 32]);
    assert_eq!(Trust::amd().require_maa_policy_hash(hash), uncovered("trust.maa.policy-hash"));
    assert_eq!(Trust::amd().require_maa_key_id("kid"), uncovered("trust.maa.key-id"));
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
fn an_attester_that_someone_else_writes_the_policy_of_is_pinned_or_waived() {
    let with = |trust: Trust| {
        Policy::confidential_container(trust, Workload::binds_its_own_key(host_data()), UvmRequirement::at_least(101))
    };
    let own = "https://mine.neu.attest.azure.net";
    let issuer = Issuer::new(own).unwrap();
    assert_eq!(with(Trust::maa(own).unwrap()), Err(PolicyError::MaaPolicyNotPinned { issuer }));
    let pinned = Trust::maa(own).unwrap().require_maa_policy_hash(Sha256Digest::new([1; 32])).unwrap();
    assert!(with(pinned).is_ok());
    let waived = with(Trust::maa(own).unwrap().allow_any_maa_policy()).unwrap();
    assert!(waived.lint().iter().any(|lint| lint.code == "maa-policy-not-pinned"));
    // A name that only looks shared is someone's own.
    let lookalike = "https://shared.attest.azure.net.example.com";
    let issuer = Issuer::new(lookalike).unwrap();
    assert_eq!(with(Trust::maa(lookalike).unwrap()), Err(PolicyError::MaaPolicyNotPinned { issuer }));
    let test = "https://sharedeus2.eus2.test.attest.azure.net";
    let issuer = Issuer::new(test).unwrap();
    assert_eq!(with(Trust::maa(test).unwrap()), Err(PolicyError::TestAttester { issuer }));
    assert!(with(Trust::maa(test).unwrap().allow_test_attester()).is_ok());
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
    assert!(matches!(container_of_both().require_ak_certificate(), Err(PolicyError::Contradiction { .. })));
    let bit = blindbox_attestation::VmConfigurationBit::SecureBoot;
    let refused = container_of_both().require_vm_configuration(bit, BitRequirement::Set);
    assert!(matches!(refused, Err(PolicyError::Contradiction { .. })), "{refused:?}");
    let refused = vm(Trust::maa(SHARED).unwrap(), any()).unwrap().require_ak_certificate();
    assert_eq!(refused, Err(PolicyError::NotCoveredByTrust { requirement: "require.ak-certificate", needs: "AMD" }));
}

#[test]
fn what_stays_open_of_a_vm_is_said() {
    let value = blindbox_attestation::Sha256Digest::new([1; 32]);
    let codes = |pcrs: &[u8]| {
        let guest = GuestIdentity::by_measurement([Measurement::new([1; 48])]);
        let guest = pcrs.iter().fold(guest, |guest, index| guest.pcr(*index, [value]));
        let policy = Policy::confidential_vm(Trust::amd(), guest, Binding::OwnKey).unwrap();
        let of_interest = [
            "any-guest-os",
            "pcrs-without-boot-loader",
            "kernel-image-without-overrides",
            "system-extensions-not-required",
        ];
        let found: Vec<_> = policy.lint().into_iter().map(|lint| lint.code).collect();
        found.into_iter().filter(|code| of_interest.contains(code)).collect::<Vec<_>>()
    };
    assert_eq!(codes(&[]), ["any-guest-os"]);
    assert_eq!(codes(&[7]), ["any-guest-os"]);
    // The boot loader alone starts any command line and initial file system.
    assert_eq!(codes(&[4]), ["any-guest-os"]);
    assert_eq!(codes(&[4, 7]), ["any-guest-os"]);
    assert_eq!(codes(&[9]), ["any-guest-os", "pcrs-without-boot-loader"]);
    assert_eq!(codes(&[8, 9, 11, 12]), ["any-guest-os", "pcrs-without-boot-loader"]);
    assert_eq!(codes(&[4, 8]), ["any-guest-os"]);
    assert_eq!(codes(&[4, 9]), ["any-guest-os"]);
    assert_eq!(codes(&[4, 12]), ["any-guest-os", "kernel-image-without-overrides"]);
    assert_eq!(codes(&[4, 8, 12]), ["any-guest-os", "kernel-image-without-overrides"]);
    assert_eq!(codes(&[4, 11]), ["any-guest-os", "kernel-image-without-overrides"]);
    assert_eq!(codes(&[4, 8, 9]), ["any-guest-os"]);
    assert_eq!(codes(&[4, 8, 9, 12, 13]), [""; 0]);
    assert_eq!(codes(&[4, 8, 9, 12]), ["system-extensions-not-required"]);
    assert_eq!(codes(&[4, 9, 12, 13]), [""; 0]);
    assert_eq!(codes(&[4, 11, 12]), ["system-extensions-not-required"]);
    assert_eq!(codes(&[4, 11, 12, 13]), [""; 0]);

    // Values of one PCR are accepted with any value of another.
    let mixed = |several: &[u8]| {
        let values =
            |index| if several.contains(&index) { vec![value, Sha256Digest::new([9; 32])] } else { vec![value] };
        let guest = GuestIdentity::by_measurement([Measurement::new([1; 48])]);
        let guest = [4, 11, 12].into_iter().fold(guest, |guest, index| guest.pcr(index, values(index)));
        let policy = Policy::confidential_vm(Trust::amd(), guest, Binding::OwnKey).unwrap();
        policy.lint().iter().any(|lint| lint.code == "pcr-values-combine")
    };
    assert!(!mixed(&[]) && !mixed(&[4]) && mixed(&[4, 11]) && mixed(&[4, 11, 12]));

    // Zeros in a PCR say that nothing extended it, so that the command line is elsewhere.
    let zeros = blindbox_attestation::Sha256Digest::new([0; 32]);
    let is_open = |pcrs: &[(u8, &[blindbox_attestation::Sha256Digest])]| {
        let guest = GuestIdentity::by_measurement([Measurement::new([1; 48])]);
        let guest = pcrs.iter().fold(guest, |guest, (index, values)| guest.pcr(*index, values.iter().copied()));
        let policy = Policy::confidential_vm(Trust::amd(), guest, Binding::OwnKey).unwrap();
        policy.lint().iter().any(|lint| lint.code == "any-guest-os")
    };
    let (some, none, either) = (&[value][..], &[zeros][..], &[value, zeros][..]);
    for (pcrs, open) in [
        (&[(4, some), (11, some), (12, none)][..], false),
        (&[(4, some), (11, none), (12, none)], true),
        (&[(4, some), (11, either), (12, none)], true),
        (&[(4, none), (11, some), (12, none)], true),
        (&[(4, some), (8, some), (9, some)], true),
        // GRUB, and a stub that it starts gets nothing beside its image.
        (&[(4, some), (8, some), (9, some), (12, none)], false),
        (&[(4, some), (8, some), (9, some), (12, some)], false),
        (&[(4, some), (8, none), (9, some), (12, none)], true),
        (&[(4, some), (8, some), (9, either), (12, none)], true),
        // Ubuntu's images for confidential VMs: no GRUB, and no sections in PCR 11.
        (&[(4, some), (8, none), (9, some), (11, none), (12, some)], false),
        (&[(4, some), (8, none), (9, some), (11, none), (12, none)], true),
    ] {
        assert_eq!(is_open(pcrs), open, "{pcrs:?}");
    }

    let vm = |trust| {
        Policy::confidential_vm(trust, GuestIdentity::by_measurement([Measurement::new([1; 48])]), Binding::OwnKey)
    };
    let machine = |policy: &Policy| {
        let found = policy.lint().into_iter().map(|lint| lint.code);
        found
            .filter(|code| ["another-vm", "machine-anywhere", "workload-not-evaluated"].contains(code))
            .collect::<Vec<_>>()
    };
    let maa = vm(Trust::maa(SHARED).unwrap()).unwrap();
    assert_eq!(machine(&maa), ["workload-not-evaluated", "another-vm"]);
    let amd = vm(Trust::amd()).unwrap();
    assert_eq!(machine(&amd), ["another-vm", "machine-anywhere"]);
    let known = amd.require_vm_ids([blindbox_attestation::VmId::new([7; 16])]).unwrap();
    assert_eq!(machine(&known), ["machine-anywhere"]);
    assert_eq!(machine(&known.require_ak_certificate().unwrap()), [""; 0]);

    // What the paravisor states, and what a policy can require of it.
    let settings = |policy: &Policy| {
        let found = policy.lint().into_iter().map(|lint| lint.code);
        found.filter(|code| code.starts_with("secure-boot") || code.starts_with("interactive")).collect::<Vec<_>>()
    };
    let set = |policy: &Policy, bit, must| policy.clone().require_vm_configuration(bit, must).unwrap();
    use blindbox_attestation::VmConfigurationBit::{InteractiveConsole, SecureBoot};
    let (boot, console) = (SecureBoot, InteractiveConsole);
    let amd = vm(Trust::amd()).unwrap();
    let (no_boot, no_console) = ("secure-boot-not-required", "interactive-console-not-refused");
    assert_eq!(settings(&maa), [""; 0]);
    assert_eq!(settings(&amd), [no_boot, no_console]);
    assert_eq!(settings(&set(&amd, boot, BitRequirement::Set)), [no_console]);
    assert_eq!(settings(&set(&amd, boot, BitRequirement::Clear)), [no_boot, no_console]);
    assert_eq!(settings(&set(&amd, console, BitRequirement::Clear)), [no_boot]);
    assert_eq!(settings(&set(&amd, console, BitRequirement::Set)), [no_boot, no_console]);
    let by_pcr = GuestIdentity::by_measurement([Measurement::new([1; 48])]).pcr(7, [value]);
    let by_pcr = Policy::confidential_vm(Trust::amd(), by_pcr, Binding::OwnKey).unwrap();
    assert_eq!(settings(&by_pcr), [no_console]);
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

#[test]
fn channel_relaxations_do_not_combine_into_nothing() {
    let contradiction = |policy: Result<Policy, PolicyError>| {
        assert!(matches!(policy, Err(PolicyError::Contradiction { .. })), "{policy:?}");
    };
    contradiction(container().allow_unbound_channel());
    contradiction(container().allow_plain_http());
    let any_data = Workload::attests_any_data(host_data());
    let unbound =
        Policy::confidential_container(Trust::maa(SHARED).unwrap(), any_data, UvmRequirement::at_least(101)).unwrap();
    contradiction(unbound.clone().allow_plain_http());
    let unbound = unbound.allow_unbound_channel().unwrap();
    contradiction(unbound.clone().allow_unverified_name());
    assert!(unbound.allow_plain_http().is_ok());
}

#[test]
fn lint_says_what_is_open() {
    let open = container().lint();
    assert_eq!(open[0].to_string(), format!("{}: {}", open[0].code, open[0].message));
    let codes: Vec<_> = open.iter().map(|lint| lint.code).collect();
    assert_eq!(codes, ["no-advisory-floors", "no-minimum-tcb", "any-chip"]);
    let codes: Vec<_> = everything().lint().iter().map(|lint| lint.code).collect();
    assert_eq!(
        codes,
        [
            "debug-allowed",
            "permissive-workload-allowed",
            "migration-allowed",
            "name-not-validated",
            "own-uvm-issuer",
            "vmpl-relaxed",
            "revocation-not-required",
            "advisory-waived",
            "advisories-not-required",
            "microcode-of-a-product"
        ]
    );
}

/// A front end has a name, and no instance.
#[test]
fn lint_says_what_sealed_messages_leave_open() {
    let workload = Workload::binds_its_own_message_key(host_data());
    let policy = Policy::confidential_container(Trust::amd(), workload, UvmRequirement::at_least(101)).unwrap();
    let codes = |policy: &Policy| {
        let open = policy.lint().into_iter().map(|lint| lint.code);
        open.filter(|code| code.contains("front-end") || code.contains("message-key")).collect::<Vec<_>>()
    };
    assert_eq!(codes(&policy), ["front-end-chooses-instance", "classical-message-key"]);
    let policy = policy.require_post_quantum().unwrap();
    assert_eq!(codes(&policy), ["front-end-chooses-instance"]);
    let policy = policy.require_chip_ids([blindbox_attestation::ChipId::new([1; 64])]).unwrap();
    assert_eq!(codes(&policy), [""; 0]);
    assert_eq!(policy.to_toml().parse::<Policy>().unwrap(), policy);
    assert!(policy.to_toml().contains("binding = \"own-message-key\""));
}

/// What is open about the key of MAA is a finding as what is open about the guest.
#[test]
fn lint_says_what_is_open_about_the_key_of_maa() {
    let codes = |requirement: AttestedKeyRequirement| {
        let trust = Trust::maa(SHARED).unwrap().require_attested_maa_key(requirement).unwrap();
        let workload = Workload::binds_its_own_key(host_data());
        let policy = Policy::confidential_container(trust, workload, UvmRequirement::at_least(101)).unwrap();
        let open = policy.lint().into_iter().map(|lint| lint.code);
        open.filter(|code| !["no-advisory-floors", "no-minimum-tcb", "any-chip"].contains(code)).collect::<Vec<_>>()
    };
    let tight = || AttestedKeyRequirement::new([host_data()], 104);
    assert_eq!(codes(tight()), [""; 0]);
    let revocation = ["maa-key-revocation-not-required"];
    assert_eq!(codes(tight().allow_best_effort_revocation()), revocation);
    assert_eq!(codes(tight().allow_no_revocation_check()), revocation);
    assert_eq!(codes(tight().with_uvm_issuer("did:x509:0")), ["maa-key-own-uvm-issuer"]);
    assert_eq!(codes(tight().with_uvm_issuer(UvmRequirement::PRODUCTION_ISSUER)), [""; 0]);
    let milan = TcbMinima::any(TcbMinimum::new().microcode(1));
    assert_eq!(codes(tight().with_reported_tcb(milan)), ["microcode-of-a-product"]);
    assert_eq!(codes(tight().with_reported_tcb(TcbMinima::any(TcbMinimum::new().snp(1)))), [""; 0]);
}

#[test]
fn another_version_of_the_file_is_not_guessed_at() {
    let text = container().to_toml().replace("version = 1", "version = 2");
    assert_eq!(Policy::from_toml(&text), Err(PolicyError::UnsupportedVersion { found: 2 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_readers_panic(text in ".{0,200}") {
        let _ = Policy::from_toml(&text);
        let _ = Policy::from_json(&text);
    }
}

#[test]
fn the_greatest_age_of_the_crl_is_a_requirement() {
    const FIELD: &str = "trust.amd.max-crl-age-seconds";
    let day = Duration::from_secs(86_400);
    let policy = |trust| {
        let workload = Workload::binds_its_own_key(host_data());
        Policy::confidential_container(trust, workload, UvmRequirement::at_least(101))
    };
    let written = policy(Trust::amd().require_max_crl_age(day).unwrap()).unwrap().to_toml();
    assert!(written.contains("max-crl-age-seconds = 86400"), "{written}");
    assert_eq!(written.parse::<Policy>().unwrap().to_toml(), written);

    let refused = Trust::maa(SHARED).unwrap().require_max_crl_age(day);
    assert_eq!(refused, Err(PolicyError::NotCoveredByTrust { requirement: FIELD, needs: "AMD" }));
    let reason = "is zero, which requires nothing or what nothing can meet";
    let refused = Trust::amd().require_max_crl_age(Duration::from_millis(999));
    assert_eq!(refused, Err(PolicyError::UnusableValue { requirement: FIELD, reason }));
    let twice = Trust::amd().require_max_crl_age(day).unwrap().require_max_crl_age(day);
    assert_eq!(twice, Err(PolicyError::GivenTwice { requirement: FIELD }));
    let reason = "`trust.amd.max-crl-age-seconds` requires a recent CRL, and `trust.amd.revocation` requires none";
    for relax in [Trust::allow_best_effort_revocation, Trust::allow_no_revocation_check] {
        let contradiction = Err(PolicyError::Contradiction { reason });
        assert_eq!(policy(relax(Trust::amd().require_max_crl_age(day).unwrap())), contradiction);
        assert_eq!(relax(Trust::amd()).require_max_crl_age(day).err(), contradiction.err());
    }
}
