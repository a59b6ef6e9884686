//! What every evidence carries, and what only a token does.

use std::time::Duration;

use blindbox_attestation::emulator::Guest;
use blindbox_attestation::{
    Bit, BitRequirement, ChipId, FamilyId, GuestIdentity, GuestPolicyBit, HostData, ImageId, KeyDigest, Measurement,
    Policy, PolicyError, Product, ReportId, SnpClaims, TcbMinima, TcbMinimum, Trust, UvmRequirement, Violation,
    Workload,
};

use super::{allowed, failed, not_reported, passed};
use crate::scene::*;

fn guest_with(change: impl FnOnce(&mut SnpClaims)) -> Guest {
    let mut guest = endorsed_container();
    change(&mut guest.snp);
    guest
}

/// Under every trust: MAA's word, AMD's word, both.
fn under_every_trust(change: impl Fn(Policy) -> Result<Policy, PolicyError>) -> [Policy; 3] {
    let maa = Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload(), own_uvm()).unwrap();
    [maa, amd_policy(), both_policy()].map(|policy| change(policy).unwrap())
}

#[test]
fn host_data_is_one_of_the_accepted() {
    let (first, second) = (host_data(), HostData::new([0x22; 32]));
    let of =
        |workload| Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload, UvmRequirement::at_least(101));
    let policy = of(Workload::binds_its_own_key(second).also_accept(first)).unwrap();
    let mut guest = container();
    passed(attest(&guest, &policy), "workload", &format!("host data {first}"));
    let actual = HostData::new([0x33; 32]);
    guest.snp.host_data = actual;
    failed(
        attest(&guest, &policy),
        "workload",
        Violation::InvalidEnclaveCode { expected: vec![second, first], actual },
    );
    guest.snp.host_data = HostData::new([0; 32]);
    assert_eq!(attest(&guest, &policy).unwrap_err().code(), "invalid-enclave-code");
}

#[test]
fn the_launch_measurement_is_one_of_the_accepted() {
    let (actual, other) = (container().snp.measurement, Measurement::new([1; 48]));
    for policy in under_every_trust(|policy| policy.require_measurements([other, actual])) {
        passed(attest(&endorsed_container(), &policy), "launch measurement", &actual.to_string());
    }
    for policy in under_every_trust(|policy| policy.require_measurements([other])) {
        failed(
            attest(&endorsed_container(), &policy),
            "launch measurement",
            Violation::WrongMeasurement { expected: vec![other], actual },
        );
    }
}

#[test]
fn the_security_version_of_the_utility_vm_is_a_number_and_not_that_of_the_report() {
    let of = |trust: Trust, svn: u64| {
        let uvm = UvmRequirement::at_least(svn).issued_by(uvm_signer().issuer());
        Policy::confidential_container(trust, workload(), uvm).unwrap()
    };
    let mut guest = endorsed_container();
    guest.snp.report_guest_svn = 1000;
    guest.uvm.as_mut().unwrap().svn = 104;
    for trust in [Trust::maa(ISSUER).unwrap(), Trust::amd(), Trust::maa_and_amd(ISSUER).unwrap()] {
        // Text would have it that "99" is more than "104".
        for enough in [99, 104] {
            passed(attest(&guest, &of(trust.clone(), enough)), "uvm endorsement", "security version 104");
        }
        failed(attest(&guest, &of(trust, 105)), "uvm endorsement", Violation::UvmTooOld { minimum: 105, actual: 104 });
    }
}

#[test]
fn issuer_and_feed_of_the_endorsement_are_the_policys_byte_for_byte() {
    let mut guest = container();
    let issuer = UvmRequirement::PRODUCTION_ISSUER.to_owned() + " ";
    guest.uvm.as_mut().unwrap().issuer.clone_from(&issuer);
    failed(
        attest(&guest, &maa_policy()),
        "uvm issuer",
        Violation::WrongUvm { field: "issuer", expected: UvmRequirement::PRODUCTION_ISSUER.to_owned(), actual: issuer },
    );
    let mut guest = container();
    guest.uvm.as_mut().unwrap().feed = "ConfAKS-AMD-UVM".to_owned();
    failed(
        attest(&guest, &maa_policy()),
        "uvm feed",
        Violation::WrongUvm {
            field: "feed",
            expected: UvmRequirement::PRODUCTION_FEED.to_owned(),
            actual: "ConfAKS-AMD-UVM".to_owned(),
        },
    );
    let uvm = UvmRequirement::at_least(101).of_feed("ConfAKS-AMD-UVM");
    let policy = Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload(), uvm).unwrap();
    passed(attest(&guest, &policy), "uvm feed", "ConfAKS-AMD-UVM");
    guest.uvm = None;
    not_reported(attest(&guest, &maa_policy()), "uvm endorsement", "uvm endorsement");
}

#[test]
fn compliance_is_said_and_is_the_accepted_one() {
    let mut guest = container();
    passed(attest(&guest, &maa_policy()), "compliance", "azure-compliant-uvm");
    for status in [None, Some("azure-signed-uvm"), Some("AZURE-COMPLIANT-UVM"), Some("azure-compliant-uvm ")] {
        guest.compliance_status = status.map(ToOwned::to_owned);
        failed(
            attest(&guest, &maa_policy()),
            "compliance",
            Violation::NonCompliantUvm {
                expected: "azure-compliant-uvm".to_owned(),
                status: status.map(ToOwned::to_owned),
            },
        );
    }
    guest.compliance_status = Some("azure-signed-uvm".to_owned());
    let refused = attest(&guest, &maa_policy()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "attestation validation failed (non-compliant uvm): expected azure-compliant-uvm, found azure-signed-uvm"
    );
    let own = maa_policy().require_compliance_status(["azure-signed-uvm", "better"]).unwrap();
    // The default would have refused it, so the result shows whose rule accepts it.
    allowed(attest(&guest, &own), "compliance", "azure-signed-uvm, which require.compliance-status accepts");
    assert_eq!(relaxations(&own), ["compliance-status-relaxed"]);
    let beside = maa_policy().require_compliance_status(["azure-compliant-uvm", "azure-signed-uvm"]).unwrap();
    allowed(attest(&guest, &beside), "compliance", "azure-signed-uvm, which require.compliance-status accepts");
    passed(attest(&container(), &beside), "compliance", "azure-compliant-uvm");
    assert_eq!(relaxations(&beside), ["compliance-status-relaxed"]);
    let usual = maa_policy().require_compliance_status(["azure-compliant-uvm"]).unwrap();
    assert_eq!(relaxations(&usual), [""; 0]);
    guest.compliance_status = Some("azure-compliant-uvm".to_owned());
    failed(
        attest(&guest, &own),
        "compliance",
        Violation::NonCompliantUvm {
            expected: "one of azure-signed-uvm, better".to_owned(),
            status: Some("azure-compliant-uvm".to_owned()),
        },
    );
    guest.compliance_status = None;
    assert_eq!(attest(&guest, &own).unwrap_err().code(), "non-compliant-uvm");
}

#[test]
fn a_token_is_young_enough() {
    let policy = maa_policy().require_max_token_age(Duration::from_secs(10)).unwrap();
    let issued = |seconds: u64| {
        let at = NOW.minus(seconds).as_secs();
        attest_claims(&container(), &policy, |claims| claims.claim("iat", at).claim("nbf", at))
    };
    passed(issued(10), "token age", "10 s");
    failed(
        issued(11),
        "token age",
        Violation::TokenTooOld { maximum: Duration::from_secs(10), actual: Duration::from_secs(11) },
    );
}

#[test]
fn the_privilege_level_is_0_unless_others_are_accepted() {
    let at_level = |vmpl| guest_with(|snp| snp.vmpl = vmpl);
    for policy in under_every_trust(Ok) {
        passed(attest(&at_level(0), &policy), "vmpl", "0");
        for actual in 1..=3 {
            failed(attest(&at_level(actual), &policy), "vmpl", Violation::WrongVmpl { expected: vec![0], actual });
        }
    }
    for policy in under_every_trust(|policy| policy.require_vmpl([1, 2])) {
        allowed(attest(&at_level(2), &policy), "vmpl", "2, which require.vmpl accepts");
        assert_eq!(relaxations(&policy), ["vmpl-relaxed"]);
        failed(attest(&at_level(0), &policy), "vmpl", Violation::WrongVmpl { expected: vec![1, 2], actual: 0 });
    }
    for policy in under_every_trust(|policy| policy.require_vmpl([0, 1, 2, 3])) {
        passed(attest(&at_level(0), &policy), "vmpl", "0");
        allowed(attest(&at_level(3), &policy), "vmpl", "3, which require.vmpl accepts");
        assert_eq!(relaxations(&policy), ["vmpl-relaxed"]);
    }
    for policy in under_every_trust(|policy| policy.require_vmpl([0])) {
        passed(attest(&at_level(0), &policy), "vmpl", "0");
        assert_eq!(relaxations(&policy), [""; 0]);
    }
}

/// Which of its requirements accept more than the default does, by `lint`.
fn relaxations(policy: &Policy) -> Vec<&'static str> {
    policy.lint().into_iter().map(|lint| lint.code).filter(|code| code.ends_with("-relaxed")).collect()
}

#[test]
fn the_guest_svn_of_the_report_is_high_enough() {
    for policy in under_every_trust(|policy| policy.require_report_guest_svn(2)) {
        passed(attest(&guest_with(|snp| snp.report_guest_svn = 2), &policy), "report guest svn", "2");
        failed(
            attest(&guest_with(|snp| snp.report_guest_svn = 1), &policy),
            "report guest svn",
            Violation::GuestSvnTooOld { minimum: 2, actual: 1 },
        );
    }
}

#[test]
fn who_the_guest_is() {
    let guest = endorsed_container();
    let snp = &guest.snp;
    let key = KeyDigest::new([9; 48]);
    let (family, image, report) = (FamilyId::new([9; 16]), ImageId::new([9; 16]), ReportId::new([9; 32]));
    type Require = Box<dyn Fn(Policy, bool) -> Result<Policy, PolicyError>>;
    let (id_key, its_family, its_image, its_report) = (snp.id_key_digest, snp.family_id, snp.image_id, snp.report_id);
    let cases: [(&'static str, String, String, Require); 4] = [
        (
            "id key",
            key.to_string(),
            id_key.to_string(),
            Box::new(move |policy, good| policy.require_id_keys([if good { id_key } else { key }])),
        ),
        (
            "family id",
            family.to_string(),
            its_family.to_string(),
            Box::new(move |policy, good| policy.require_family_ids([if good { its_family } else { family }])),
        ),
        (
            "image id",
            image.to_string(),
            its_image.to_string(),
            Box::new(move |policy, good| policy.require_image_ids([if good { its_image } else { image }])),
        ),
        (
            "report id",
            report.to_string(),
            its_report.to_string(),
            Box::new(move |policy, good| policy.require_report_ids([if good { its_report } else { report }])),
        ),
    ];
    for (field, expected, actual, require) in &cases {
        for policy in under_every_trust(|policy| require(policy, true)) {
            passed(attest(&guest, &policy), field, actual);
        }
        for policy in under_every_trust(|policy| require(policy, false)) {
            failed(
                attest(&guest, &policy),
                field,
                Violation::WrongGuestIdentity { field, expected: expected.clone(), actual: actual.clone() },
            );
        }
    }
    // MAA does not say whether an author key was used; a digest that is not zero says it.
    let guest = guest_with(|snp| snp.author_key_digest = key);
    let [policy, ..] = under_every_trust(|policy| policy.require_author_keys([key]));
    passed(attest(&guest, &policy), "author key", &key.to_string());
    let zeros = KeyDigest::new([0; 48]);
    failed(
        attest(&endorsed_container(), &policy),
        "author key",
        Violation::WrongGuestIdentity { field: "author key", expected: key.to_string(), actual: zeros.to_string() },
    );
}

#[test]
fn which_chip_it_is() {
    let (actual, other) = (vek().chip_id(), ChipId::new([9; 64]));
    for policy in under_every_trust(|policy| policy.require_chip_ids([other, actual])) {
        passed(attest(&endorsed_container(), &policy), "chip id", &actual.to_string());
    }
    for policy in under_every_trust(|policy| policy.require_chip_ids([other])) {
        failed(
            attest(&endorsed_container(), &policy),
            "chip id",
            Violation::WrongChip { field: "chip id", expected: other.to_string(), actual: actual.to_string() },
        );
    }
    for policy in under_every_trust(|policy| policy.require_products([Product::Milan, Product::Turin])) {
        passed(attest(&endorsed_container(), &policy), "product", "Milan");
    }
    for policy in under_every_trust(|policy| policy.require_products([Product::Genoa, Product::Turin])) {
        failed(
            attest(&endorsed_container(), &policy),
            "product",
            Violation::WrongChip {
                field: "product",
                expected: "one of Genoa, Turin".to_owned(),
                actual: "Milan".to_owned(),
            },
        );
    }
    let trust = Trust::amd().require_products([Product::Genoa]).unwrap();
    let policy = Policy::confidential_container(trust, workload(), own_uvm()).unwrap();
    failed(
        attest(&endorsed_container(), &policy),
        "product",
        Violation::WrongChip { field: "product", expected: "Genoa".to_owned(), actual: "Milan".to_owned() },
    );
    // A token from before 2026 says neither.
    let silent = guest_with(|snp| (snp.chip_id, snp.product) = (None, None));
    let [policy, ..] = under_every_trust(|policy| policy.require_chip_ids([actual]));
    not_reported(attest(&silent, &policy), "chip id", "chip id");
    let [policy, ..] = under_every_trust(|policy| policy.require_products([Product::Milan]));
    not_reported(attest(&silent, &policy), "product", "product");
}

#[test]
fn each_part_of_the_reported_tcb_is_new_enough() {
    type Minimum = fn(u8) -> TcbMinimum;
    let parts: [(&'static str, Minimum, u8); 4] = [
        ("bootloader", |version| TcbMinimum::new().bootloader(version), 4),
        ("tee", |version| TcbMinimum::new().tee(version), 0),
        ("snp", |version| TcbMinimum::new().snp(version), 24),
        ("microcode", |version| TcbMinimum::new().microcode(version), 219),
    ];
    let shown = "bootloader 4, tee 0, snp 24, microcode 219";
    for (part, minimum, actual) in parts {
        for wrap in [TcbMinima::any, |minimum| TcbMinima::for_product(Product::Milan, minimum)] {
            // Zero is no minimum.
            if actual > 0 {
                for policy in under_every_trust(|policy| policy.require_reported_tcb(wrap(minimum(actual)))) {
                    passed(attest(&endorsed_container(), &policy), "reported tcb", shown);
                }
            }
            for policy in under_every_trust(|policy| policy.require_reported_tcb(wrap(minimum(actual + 1)))) {
                failed(
                    attest(&endorsed_container(), &policy),
                    "reported tcb",
                    Violation::TcbTooOld {
                        tcb: "reported",
                        part,
                        minimum: actual + 1,
                        actual: Some(actual),
                        advisory: None,
                    },
                );
            }
        }
    }
}

#[test]
fn a_minimum_tcb_holds_for_the_product_that_it_names() {
    let low = TcbMinimum::new().snp(1);
    // Milan has no FMC: a minimum for one is not met.
    for policy in under_every_trust(|policy| policy.require_reported_tcb(TcbMinima::any(TcbMinimum::new().fmc(1)))) {
        failed(
            attest(&endorsed_container(), &policy),
            "reported tcb",
            Violation::TcbTooOld { tcb: "reported", part: "fmc", minimum: 1, actual: None, advisory: None },
        );
    }
    for policy in under_every_trust(|policy| policy.require_reported_tcb(TcbMinima::for_product(Product::Turin, low))) {
        failed(
            attest(&endorsed_container(), &policy),
            "reported tcb",
            Violation::WrongChip {
                field: "product",
                expected: "a product that the policy has a minimum for".to_owned(),
                actual: "Milan".to_owned(),
            },
        );
    }
    // A token that does not name its product meets only a minimum for any.
    let silent = guest_with(|snp| snp.product = None);
    let [policy, ..] =
        under_every_trust(|policy| policy.require_reported_tcb(TcbMinima::for_product(Product::Milan, low)));
    not_reported(attest(&silent, &policy), "reported tcb", "product");
    let mut either = TcbMinima::for_product(Product::Milan, TcbMinimum::new().snp(255));
    either.any = Some(low);
    let [policy, ..] = under_every_trust(|policy| policy.require_reported_tcb(either));
    assert!(attest(&silent, &policy).is_ok());
    assert_eq!(attest(&endorsed_container(), &policy).unwrap_err().code(), "tcb-too-old");
}

#[test]
fn what_is_required_of_any_product_holds_beside_a_products_own_minimum() {
    let minima = |own: TcbMinimum| {
        let mut minima = TcbMinima::for_product(Product::Milan, own);
        minima.any = Some(TcbMinimum::new().bootloader(5).snp(25));
        minima
    };
    for policy in under_every_trust(|policy| policy.require_reported_tcb(minima(TcbMinimum::new().snp(24)))) {
        failed(
            attest(&endorsed_container(), &policy),
            "reported tcb",
            Violation::TcbTooOld { tcb: "reported", part: "bootloader", minimum: 5, actual: Some(4), advisory: None },
        );
    }
    // A product's own number of a part is meant instead of the general one.
    let own = TcbMinimum::new().bootloader(4).snp(24);
    for policy in under_every_trust(|policy| policy.require_reported_tcb(minima(own))) {
        let shown = "bootloader 4, tee 0, snp 24, microcode 219";
        passed(attest(&endorsed_container(), &policy), "reported tcb", shown);
    }
}

#[test]
fn each_bit_of_the_guest_policy_is_as_required() {
    use GuestPolicyBit::{CiphertextHidingDram, CxlAllow, MemAes256Xts, PageSwapDisable, RaplDis, SingleSocket, Smt};
    type Set = fn(&mut SnpClaims, Bit);
    let bits: [(GuestPolicyBit, &'static str, Set); 7] = [
        (Smt, "policy smt", |snp, bit| snp.policy.smt = bit == Bit::Set),
        (SingleSocket, "policy single-socket", |snp, bit| snp.policy.single_socket = bit),
        (CxlAllow, "policy cxl-allow", |snp, bit| snp.policy.cxl_allow = bit),
        (MemAes256Xts, "policy mem-aes-256-xts", |snp, bit| snp.policy.mem_aes_256_xts = bit),
        (RaplDis, "policy rapl-dis", |snp, bit| snp.policy.rapl_dis = bit),
        (CiphertextHidingDram, "policy ciphertext-hiding", |snp, bit| snp.policy.ciphertext_hiding_dram = bit),
        (PageSwapDisable, "policy page-swap-disable", |snp, bit| snp.policy.page_swap_disable = bit),
    ];
    for (bit, name, set) in bits {
        for (must, good, bad) in
            [(BitRequirement::Set, Bit::Set, Bit::Clear), (BitRequirement::Clear, Bit::Clear, Bit::Set)]
        {
            let word = |bit| if bit == Bit::Set { "set" } else { "clear" };
            for policy in under_every_trust(|policy| policy.require_guest_policy(bit, must)) {
                passed(attest(&guest_with(|snp| set(snp, good)), &policy), name, word(good));
                failed(
                    attest(&guest_with(|snp| set(snp, bad)), &policy),
                    name,
                    Violation::WrongGuestPolicy {
                        bit: Some(bit),
                        expected: format!("{name} {}", word(good)),
                        actual: word(bad).to_owned(),
                    },
                );
            }
            if bit != Smt {
                // A token from before the bit.
                let [policy, ..] = under_every_trust(|policy| policy.require_guest_policy(bit, must));
                not_reported(attest(&guest_with(|snp| set(snp, Bit::NotReported)), &policy), name, name);
            }
        }
    }
}

#[test]
fn which_vm_it_is() {
    let vm = Guest::confidential_vm();
    let of = |guest| {
        let binding = blindbox_attestation::Binding::OwnKey;
        Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), guest, binding).unwrap()
    };
    let (measurement, key) = (vm.snp.measurement, vm.snp.id_key_digest);
    passed(
        attest(&vm, &of(GuestIdentity::by_measurement([measurement]))),
        "launch measurement",
        &measurement.to_string(),
    );
    passed(attest(&vm, &of(GuestIdentity::by_id_key([key]))), "id key", &key.to_string());
    let other = Measurement::new([1; 48]);
    failed(
        attest(&vm, &of(GuestIdentity::by_measurement([other]))),
        "launch measurement",
        Violation::WrongMeasurement { expected: vec![other], actual: measurement },
    );
    let other = KeyDigest::new([1; 48]);
    failed(
        attest(&vm, &of(GuestIdentity::by_id_key([other]))),
        "id key",
        Violation::WrongGuestIdentity { field: "id key", expected: other.to_string(), actual: key.to_string() },
    );
}
