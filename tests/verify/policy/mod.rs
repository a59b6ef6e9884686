//! Policies in code: what they refuse to be, what survives a file, and what they leave open. Each form of a file: `policy_file.rs`.

mod combinations;
mod file;
mod lint;
mod lint_codes;
mod twice;
mod values;

use std::time::Duration;

use blindbox_attestation::{
    BitRequirement, ChipId, GuestPolicyBit, HostData, KeyDigest, Measurement, PlatformInfoBit, Policy, Product,
    TcbMinima, TcbMinimum, Trust, UvmRequirement, Workload,
};

const SHARED: &str = "https://sharedneu.neu.attest.azure.net";

fn host_data() -> HostData {
    HostData::new([0x5a; 32])
}

/// A `did:x509` of another vendor.
const OWN_ISSUER: &str = "did:x509:0:sha256:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo::eku:1.2";

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
        .allow_best_effort_revocation()
        .unwrap();
    let workload = Workload::binds_its_own_key(host_data()).also_accept(HostData::new([0x5b; 32])).allow_permissive();
    let uvm = UvmRequirement::at_least(100).issued_by(OWN_ISSUER).of_feed("Feed");
    let require = Policy::confidential_container(trust, workload, uvm).unwrap();
    require
        .require_measurements([Measurement::new([1; 48])])
        .and_then(|p| p.require_compliance_status(["azure-compliant-uvm"]))
        .and_then(|p| p.require_vmpl([0, 1]))
        .and_then(|p| p.require_minimum_report_guest_svn(2))
        .and_then(|p| p.require_id_keys([KeyDigest::new([2; 48])]))
        .and_then(|p| p.require_author_keys([KeyDigest::new([3; 48])]))
        .and_then(Policy::require_any_author_key)
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
