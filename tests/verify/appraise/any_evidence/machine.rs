//! The machine: chip and TCB.

use blindbox_attestation::{ChipId, Policy, Product, TcbMinima, TcbMinimum, Trust, Violation};

use super::super::{failed, not_reported, passed};
use super::{guest_with, under_every_trust};
use crate::scene::*;

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
