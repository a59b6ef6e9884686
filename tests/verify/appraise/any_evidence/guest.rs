//! The guest: who it is, its policy, privilege level and version.

use blindbox_attestation::claims::{Bit, SnpClaims};
use blindbox_attestation::emulator::Guest;
use blindbox_attestation::{
    BitRequirement, FamilyId, GuestIdentity, GuestPolicyBit, ImageId, KeyDigest, Measurement, Policy, PolicyError,
    ReportId, Trust, Violation,
};

use super::super::{allowed, failed, not_reported, passed};
use super::relaxations;
use super::{guest_with, under_every_trust};
use crate::scene::*;

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

#[test]
fn the_guest_svn_of_the_report_is_high_enough() {
    for policy in under_every_trust(|policy| policy.require_minimum_report_guest_svn(2)) {
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
