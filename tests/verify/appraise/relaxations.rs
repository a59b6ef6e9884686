//! What a policy allows is not refused, and is not hidden either.

use blindbox_attestation::emulator::Guest;
use blindbox_attestation::{Binding, GuestIdentity, HostData, Policy, Trust, UvmRequirement, Violation, Workload};

use super::{allowed, failed, passed};
use crate::scene::*;

#[test]
fn debugging_is_refused_unless_allowed() {
    let mut guest = endorsed_container();
    guest.snp.policy.debug = true;
    let maa = Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload(), own_uvm()).unwrap();
    for policy in [maa, amd_policy(), both_policy()] {
        failed(attest(&guest, &policy), "debug", Violation::DebugMode);
        let text = attest(&guest, &policy).unwrap_err().to_string();
        assert!(
            text.starts_with(
                "attestation validation failed (enclave is in debug mode): expected a guest policy without debugging, \
                 found debugging allowed"
            ),
            "{text}"
        );
        let allowing = policy.allow_debug().unwrap();
        allowed(attest(&guest, &allowing), "debug", "ON: the host can read the guest's memory");
        passed(attest(&endorsed_container(), &allowing), "debug", "off");
    }
}

#[test]
fn migration_is_refused_unless_allowed() {
    let mut guest = endorsed_container();
    guest.snp.policy.migrate_ma = true;
    for policy in [amd_policy(), both_policy()] {
        failed(attest(&guest, &policy), "migration", Violation::MigrationAllowed);
        let allowing = policy.allow_migration().unwrap();
        allowed(attest(&guest, &allowing), "migration", "ON: an agent can move the guest");
    }
}

#[test]
fn an_allow_all_workload_shows() {
    let digest = "4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10";
    let all = HostData::from_hex(digest).unwrap();
    let workload = Workload::binds_its_own_key(all).also_accept(host_data()).allow_permissive();
    let policy =
        Policy::confidential_container(Trust::maa(ISSUER).unwrap(), workload, UvmRequirement::at_least(101)).unwrap();
    let mut guest = container();
    assert_eq!(attest(&guest, &policy).unwrap().appraisal().check("cce policy"), None);
    guest.snp.host_data = all;
    allowed(attest(&guest, &policy), "cce policy", "ALLOWS ALL: the host can run any code in the TEE");
    assert_eq!(attest(&guest, &maa_policy()).unwrap_err().code(), "invalid-enclave-code");
}

#[test]
fn any_vm_of_azure_shows() {
    let any = GuestIdentity::allow_any_azure_cvm();
    let policy = Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), any, Binding::OwnKey).unwrap();
    let vm = Guest::confidential_vm();
    allowed(attest(&vm, &policy), "launch measurement", &format!("ANY Azure CVM: {}", vm.snp.measurement));
}
