//! What is required twice: a second value never replaces the first.

use std::time::Duration;

use blindbox_attestation::advisories::Mitigation;
use blindbox_attestation::{
    AbiVersion, Binding, BitRequirement, ChipId, FamilyId, FirmwareVersion, GuestIdentity, GuestPolicyBit, HostData,
    ImageId, KeyDigest, Measurement, PlatformInfoBit, Policy, PolicyError, Product, ReportId, Sha256Digest, SigningKey,
    TcbMinima, TcbMinimum, TeeKind, Trust, UvmRequirement, VmId, Workload,
};

use super::{SHARED, container, container_of_both, host_data};

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
        ("require.minimum-report-guest-svn", |p| p.require_minimum_report_guest_svn(1)),
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
        ("require.minimum-guest-abi", |p| p.require_minimum_guest_abi(AbiVersion { major: 1, minor: 1 })),
        ("require.minimum-firmware", |p| p.require_minimum_firmware(FirmwareVersion { major: 1, minor: 1, build: 1 })),
        ("require.minimum-committed-firmware", |p| {
            p.require_minimum_committed_firmware(FirmwareVersion { major: 1, minor: 1, build: 1 })
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

/// The methods that accept something else too add to what is accepted.
#[test]
fn further_guests_and_workloads_are_accepted_beside_the_first() {
    let [one, two, three] = [[1; 48], [2; 48], [3; 48]].map(Measurement::new);
    let added = GuestIdentity::measured_tdx([one]).also_measured_tdx([two]).also_measured_tdx([three]);
    assert_eq!(added, GuestIdentity::measured_tdx([one, two, three]));
    let added = Workload::binds_its_own_key(host_data()).also_accept(HostData::new([7; 32]));
    let policy =
        Policy::confidential_container(Trust::maa(SHARED).unwrap(), added, UvmRequirement::at_least(101)).unwrap();
    let listed = format!(r#""host-data":["{}","{}"]"#, host_data(), HostData::new([7; 32]));
    assert!(policy.to_json().contains(&listed), "{}", policy.to_json());
}
