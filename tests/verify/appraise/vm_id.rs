//! Which virtual machine it is: the id in the claims of the paravisor.

use blindbox_attestation::emulator::{Guest, TokenClaims};
use blindbox_attestation::maa::TokenError;
use blindbox_attestation::{
    AttestationError, Binding, BitRequirement, GuestIdentity, JsonType, Policy, PolicyError, Trust, Violation,
    VmConfigurationBit, VmId,
};
use serde_json::json;

use super::{failed, not_reported, passed};
use crate::scene::*;

/// The id of the emulator's VMs, which it writes in upper case.
const ITS_ID: &str = "6d0c2e4a-1b3f-4c5d-8e7a-90abcdef0123";
const OTHER: &str = "02fe12ec-5b74-4a1b-b261-8ea46fe9af36";

fn policy(id: &str) -> Policy {
    let guest = GuestIdentity::allow_any_azure_cvm();
    let policy = Policy::confidential_vm(Trust::maa(ISSUER).unwrap(), guest, Binding::OwnKey).unwrap();
    let id: VmId = id.parse().unwrap();
    policy.allow_direct_vm_token().and_then(|policy| policy.require_vm_ids([id])).unwrap()
}

#[test]
fn a_vm_is_one_of_those_that_are_accepted() {
    for guest in [Guest::confidential_vm(), Guest::confidential_vm_direct()] {
        passed(attest(&guest, &policy(ITS_ID)), "vm id", ITS_ID);
        failed(
            attest(&guest, &policy(OTHER)),
            "vm id",
            Violation::WrongGuestIdentity { field: "vm id", expected: OTHER.into(), actual: ITS_ID.into() },
        );
        let lints = |policy: &Policy| policy.lint().iter().any(|lint| lint.code == "any-vm");
        assert!(!lints(&policy(ITS_ID)));
    }
}

#[test]
fn an_id_that_the_report_does_not_cover_is_not_reported() {
    let vm = |change: fn(TokenClaims) -> TokenClaims| attest_claims(&Guest::confidential_vm(), &policy(ITS_ID), change);
    const NESTED: &str = "x-ms-isolation-tee/x-ms-runtime";
    // What MAA states about an azurevm beside it is not used alone.
    not_reported(vm(|claims| claims.without(NESTED)), "vm id", "vm id");
    not_reported(vm(|claims| claims.without("x-ms-isolation-tee/x-ms-runtime/vm-configuration")), "vm id", "vm id");
    let unique = "x-ms-isolation-tee/x-ms-runtime/vm-configuration/vmUniqueId";
    let without = attest_claims(&Guest::confidential_vm(), &policy(ITS_ID), |claims| claims.without(unique));
    not_reported(without, "vm id", "vm id");
    let without = vm(|claims| claims.without("x-ms-azurevm-vmid"));
    passed(without, "vm id", ITS_ID);
}

#[test]
fn two_ids_of_one_vm_agree_and_are_ids() {
    let refused = |path: &str, value: serde_json::Value| match attest_claims(
        &Guest::confidential_vm(),
        &policy(ITS_ID),
        |claims| claims.claim(path, value),
    ) {
        Err(AttestationError::InvalidToken(error)) => error,
        other => panic!("{other:?}"),
    };
    let unique = "x-ms-isolation-tee/x-ms-runtime/vm-configuration/vmUniqueId";
    let invalid = |name, expected, found: &str| TokenError::InvalidClaim { name, expected, found: found.into() };
    const VM_ID: &str = "x-ms-azurevm-vmid";
    assert_eq!(refused(VM_ID, json!(OTHER)), invalid(VM_ID, "the id that vmUniqueId states", OTHER));
    assert_eq!(refused(unique, json!(OTHER)), {
        invalid(VM_ID, "the id that vmUniqueId states", &ITS_ID.to_uppercase())
    });
    assert_eq!(refused(VM_ID, json!("VM")), invalid(VM_ID, "a UUID", "VM"));
    assert_eq!(refused(unique, json!("VM")), invalid("vmUniqueId", "a UUID", "VM"));
    let configuration = "x-ms-isolation-tee/x-ms-runtime/vm-configuration";
    for (path, name, expected) in [
        (VM_ID, VM_ID, JsonType::String),
        (unique, "vmUniqueId", JsonType::String),
        (configuration, "vm-configuration", JsonType::Object),
    ] {
        assert_eq!(
            refused(path, json!(1)),
            TokenError::WrongClaimType { name, expected, found: JsonType::UnsignedInteger }
        );
    }
}

/// What the paravisor states, as the token repeats it, and what MAA read from the log of the firmware.
#[test]
fn settings_that_the_paravisor_states_are_as_required() {
    use BitRequirement::{Clear, Set};
    use VmConfigurationBit::{Console, FilteredVpciDevices, InteractiveConsole, SecureBoot, Tpm};
    let wrong = |setting, must| Violation::WrongVmConfiguration { setting, must };
    for (guest, at) in [(Guest::confidential_vm(), "x-ms-isolation-tee/"), (Guest::confidential_vm_direct(), "")] {
        let path = |name: &str| format!("{at}x-ms-runtime/vm-configuration/{name}");
        let attest = |bit, must, change: &dyn Fn(TokenClaims) -> TokenClaims| {
            let policy = policy(ITS_ID).require_vm_configuration(bit, must).unwrap();
            attest_claims(&guest, &policy, change)
        };
        for (bit, check, claim) in [
            (SecureBoot, "secure boot", "secure-boot"),
            (Tpm, "tpm", "tpm-enabled"),
            (Console, "console", "console-enabled"),
            (InteractiveConsole, "interactive console", "interactive-console-enabled"),
            (FilteredVpciDevices, "filtered vpci devices", "filtered-vpci-devices-allowed"),
        ] {
            let path = path(claim);
            for (value, must) in [(true, Set), (false, Clear)] {
                let stated = |claims: TokenClaims| claims.claim(&path, value);
                passed(attest(bit, must, &stated), check, if value { "set" } else { "clear" });
                let other = if value { Clear } else { Set };
                failed(attest(bit, other, &stated), check, wrong(bit, other));
            }
            // Those that every paravisor states are part of the claims that bind a direct token.
            let is_optional = matches!(bit, InteractiveConsole | FilteredVpciDevices);
            match attest(bit, Set, &|claims| claims.without(&path)) {
                Err(AttestationError::FalseAttestationReport { actual, .. }) if at.is_empty() && !is_optional => {
                    assert_eq!(actual, format!("not the claims of a paravisor: the member {claim} is missing"));
                }
                other => not_reported(other, check, check),
            }
            let refused = attest(bit, Set, &|claims| claims.claim(&path, "true"));
            let (expected, found) = (JsonType::Boolean, JsonType::String);
            let wrong_type = TokenError::WrongClaimType { name: claim, expected, found };
            assert_eq!(refused, Err(AttestationError::InvalidToken(wrong_type)));
        }
    }
    let attest = |change: fn(TokenClaims) -> TokenClaims| {
        let policy = policy(ITS_ID).require_vm_configuration(SecureBoot, Set).unwrap();
        attest_claims(&Guest::confidential_vm(), &policy, change)
    };
    failed(attest(|claims| claims.claim("secureboot", false)), "secure boot", wrong(SecureBoot, Set));
    not_reported(attest(|claims| claims.without("secureboot")), "secure boot", "secure boot");
    // What MAA read alone is of no use: the report does not cover it.
    let alone = attest(|claims| claims.without("x-ms-isolation-tee/x-ms-runtime/vm-configuration/secure-boot"));
    not_reported(alone, "secure boot", "secure boot");
}

/// The runtime data of a container are its own words, so that no evidence could meet the policy.
#[test]
fn a_container_names_no_vm() {
    let refused = maa_policy().require_vm_ids([ITS_ID.parse::<VmId>().unwrap()]).unwrap_err();
    let reason = "`require.vm-ids` is for confidential VMs: the evidence of a container names no VM; drop it";
    assert_eq!(refused, PolicyError::Contradiction { reason });
}
