//! What runs: host data, measurement, endorsement of the utility VM.

use blindbox_attestation::{HostData, Measurement, Policy, Trust, UvmRequirement, Violation, Workload};

use super::super::{failed, not_reported, passed};
use super::under_every_trust;
use crate::scene::*;

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
