//! Checks of what the virtual TPM of an Azure confidential VM shows.

use super::guest::require_bit;
use super::{AppraisalBuilder, AttestedTlsKey};
use crate::azure_vm::{AzureVmClaims, Pcrs, RuntimeClaims, VerifiedAkCertificate};
use crate::binding;
use crate::claims::{Bit, SnpClaims, VmSettings};
use crate::error::Violation;
use crate::policy::{ParavisorFix, PcrIndex, Policy, Requirement, VmConfigurationBit, missing_for_system};
use crate::types::{Sha256Digest, any_of, shorten};

/// Checks the evidence that the report of the paravisor covers.
pub(super) fn appraise(
    checks: &mut AppraisalBuilder,
    vm: &AzureVmClaims,
    stated: Option<VmSettings>,
    tls_key: AttestedTlsKey,
    policy: &Policy,
) {
    const SIGNED: &str = "signed by the attestation key in the paravisor's report";
    // Without one there is no verdict: see `crate::verify`.
    if vm.quote.is_some() {
        checks.passed("tpm quote", SIGNED, SIGNED);
    }
    report_of_this_boot(checks, &vm.runtime_claims, tls_key, policy);
    ak_certificate(checks, vm.ak_certificate.as_ref(), policy);
    settings(checks, stated, policy);
    if let Some(quote) = &vm.quote {
        vm_id_in_pcr(checks, quote.pcrs(), &vm.runtime_claims);
        pcrs(checks, quote.pcrs(), policy);
    }
}

/// The names of the checks of PCRs. A policy has no others.
const PCR_NAMES: [&str; 16] = [
    "pcr 0", "pcr 1", "pcr 2", "pcr 3", "pcr 4", "pcr 5", "pcr 6", "pcr 7", "pcr 8", "pcr 9", "pcr 10", "pcr 11",
    "pcr 12", "pcr 13", "pcr 14", "pcr 15",
];

/// Checks the values of the PCRs that the policy names, which say what was started.
fn pcrs(checks: &mut AppraisalBuilder, quoted: &Pcrs, policy: &Policy) {
    for (index, expected) in policy.guest().and_then(|guest| guest.pcrs.as_ref()).into_iter().flatten() {
        let name = PCR_NAMES.get(usize::from(index.0)).copied().unwrap_or("pcr");
        let checks = &mut checks.of(Requirement::Pcr(*index));
        let (index, wanted) = (index.0, any_of(expected));
        match quoted.get(index) {
            None => checks.failed(name, wanted, "not selected by the quote", Violation::PcrNotQuoted { index }),
            Some(actual) => {
                let violation = Violation::WrongPcr { index, expected: expected.clone(), actual: *actual };
                checks.require(name, expected.contains(actual), wanted, actual.to_string(), violation);
            }
        }
    }
}

/// Returns which PCRs show the boot chain up to the initial file system, if the policy requires enough of them and all are as
/// required; else why they do not.
///
/// A quote shows nothing where the VM's administrator may have replaced the key that signs it, even if the policy pins the paravisor.
pub(super) fn proven_system(
    vm: Option<&AzureVmClaims>,
    snp: &SnpClaims,
    policy: &Policy,
) -> Result<String, &'static str> {
    let required = policy.guest().and_then(|guest| guest.pcrs.as_ref());
    let quoted = vm.and_then(|vm| vm.quote.as_ref());
    let (Some(required), Some(quoted)) = (required, quoted) else {
        return Err("Azure CVM: the evidence does not show which operating system or application runs");
    };
    if let Some(missing) = missing_for_system(required) {
        return Err(missing);
    }
    match ParavisorFix::shown_by(snp) {
        ParavisorFix::Present => {}
        ParavisorFix::Missing => {
            return Err(
                "Azure CVM: its paravisor is below the floor of CVE-2025-49707, so that the quote may state any PCRs",
            );
        }
        ParavisorFix::Unknown => {
            return Err(
                "Azure CVM: its paravisor is not known, so that it is not known either who holds the key of the quote",
            );
        }
    }
    let holds = |(index, expected): (&PcrIndex, &Vec<Sha256Digest>)| {
        quoted.pcrs().get(index.0).is_some_and(|actual| expected.contains(actual))
    };
    if !required.iter().all(holds) {
        return Err("Azure CVM: its PCRs are not those of the operating system that the policy names");
    }
    let indices: Vec<String> = required.keys().map(PcrIndex::to_string).collect();
    Ok(indices.join(", "))
}

/// Cross-checks the id of the VM with PCR 6, which Azure's firmware extends with it. The guest can extend it too, and some VMs have
/// another value, so that a difference is no failure.
fn vm_id_in_pcr(checks: &mut AppraisalBuilder, quoted: &Pcrs, claims: &RuntimeClaims) {
    const NAME: &str = "vm id in pcr 6";
    match quoted.names_vm(&claims.vm_configuration.vm_id) {
        Some(true) => checks.passed(NAME, "that of the runtime claims", "that of the runtime claims"),
        Some(false) => {
            checks.not_evaluated(NAME, "another value: the guest extended it, or its firmware does not", "other")
        }
        None => checks.not_evaluated(NAME, "the quote does not select PCR 6", "none"),
    }
}

/// Checks the settings of the VM, as its paravisor states them: in its report, or in a token.
pub(super) fn settings(checks: &mut AppraisalBuilder, stated: Option<VmSettings>, policy: &Policy) {
    let of = |setting: fn(VmSettings) -> Bit| stated.map_or(Bit::NotReported, setting);
    for (setting, must) in policy.requirements().vm_configuration.iter().flatten() {
        let (setting, must) = (*setting, *must);
        let (name, actual) = match setting {
            VmConfigurationBit::SecureBoot => ("secure boot", of(|stated| stated.secure_boot)),
            VmConfigurationBit::Tpm => ("tpm", of(|stated| stated.tpm)),
            VmConfigurationBit::Console => ("console", of(|stated| stated.console)),
            VmConfigurationBit::InteractiveConsole => ("interactive console", of(|stated| stated.interactive_console)),
            VmConfigurationBit::FilteredVpciDevices => {
                ("filtered vpci devices", of(|stated| stated.filtered_vpci_devices))
            }
        };
        let checks = &mut checks.of(Requirement::VmConfiguration(setting));
        require_bit(checks, name, actual, must, |_, _| Violation::WrongVmConfiguration { setting, must });
    }
}

/// Checks that the report of the paravisor was made after the TLS key, which exists since this boot.
fn report_of_this_boot(
    checks: &mut AppraisalBuilder,
    claims: &RuntimeClaims,
    tls_key: AttestedTlsKey,
    policy: &Policy,
) {
    const NAME: &str = "report of this boot";
    const EXPECTED: &str = "user-data names the attested TLS key";
    let expected = match tls_key {
        AttestedTlsKey::Is(key) => Some(binding::user_data_of_key(&key)),
        AttestedTlsKey::Absent => None,
        AttestedTlsKey::NotRecorded => {
            return checks.not_evaluated(NAME, "recorded evidence without runtime data names no TLS key", "any");
        }
    };
    if expected.is_some() && claims.user_data == expected {
        return checks.passed(NAME, EXPECTED, EXPECTED);
    }
    if policy.allowances().report_of_earlier_boot {
        let actual = "NOT SHOWN: the report may be of an earlier boot, of an older paravisor or another configuration";
        return checks.allowed(NAME, EXPECTED, actual);
    }
    let actual = claims.user_data.map(|data| data.to_string());
    let found = actual.clone().unwrap_or_else(|| "no user-data".to_owned());
    let expected = expected.map_or_else(|| "an attested TLS key".to_owned(), |data| data.to_string());
    checks.failed(NAME, EXPECTED, found, Violation::KeyNotInReport { expected, actual });
}

/// Checks that Azure certified the attestation key, as was verified if there is a certificate.
fn ak_certificate(checks: &mut AppraisalBuilder, certificate: Option<&VerifiedAkCertificate>, policy: &Policy) {
    const NAME: &str = "ak certificate";
    const EXPECTED: &str = "issued by Azure to a confidential VM";
    let required = policy.requirements().ak_certificate;
    let Some(certificate) = certificate else {
        return match required {
            true => checks.of(Requirement::AkCertificate).not_reported(NAME, EXPECTED),
            false => checks.not_evaluated(NAME, "none was sent: that the VM stands in Azure is not shown", "none"),
        };
    };
    let shown = format!("{}, valid until {}", shorten(certificate.subject(), 80), certificate.expires_at());
    let checks = &mut checks.of(Requirement::AkCertificate);
    if certificate.has_custom_anchors() {
        checks.allowed(NAME, EXPECTED, format!("{shown}, under the CALLER'S OWN root"));
    } else {
        checks.passed(NAME, EXPECTED, shown);
    }
}
