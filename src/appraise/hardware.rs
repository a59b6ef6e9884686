//! Checks of the claims that only a hardware report carries.

use super::builder::Required;
use super::guest::require_bit;
use super::{AppraisalBuilder, tcb};
use crate::claims::{HardwareClaims, PlatformInfo};
use crate::error::Violation;
use crate::policy::{AbiVersion, AmdTrust, Policy, Requirement};
use crate::snp::{RevocationOutcome, VerifiedReport};
use crate::types::{Revocation, any_of, shorten};

/// Checks the claims that only a hardware report carries.
pub(super) fn appraise(checks: &mut AppraisalBuilder, report: &VerifiedReport, policy: &Policy) {
    let (require, hardware) = (policy.requirements(), report.hardware());
    signing_key(checks, hardware, policy);
    let rule = policy.amd().map(AmdTrust::revocation);
    revocation(&mut checks.of(Requirement::Revocation), "revocation", report, rule);
    crl_age(checks, report, policy);
    csp_id(checks, hardware, policy);
    tcb::of_hardware(checks, hardware, report.product(), policy);
    firmware(checks, hardware, policy);
    platform_info(checks, &hardware.platform_info, policy);
    migration_agent(checks, hardware, policy);
    guest_abi(checks, hardware, policy);
    if require.author_key {
        let found = if hardware.author_key_en { "used" } else { "not used" };
        let checks = &mut checks.of(Requirement::AuthorKey);
        checks.require(
            "author key enabled",
            hardware.author_key_en,
            "used",
            found,
            Violation::WrongGuestIdentity {
                field: "author key",
                expected: "an author key".to_owned(),
                actual: "none".to_owned(),
            },
        );
    }
    if let Some(bits) = &require.mitigations {
        let mask = bits.iter().fold(0, |mask, bit| mask | bit.mask());
        let vectors = [
            ("launch", "named launch mitigations", hardware.launch_mitigation_vector),
            ("current", "named current mitigations", hardware.current_mitigation_vector),
        ];
        for (vector, name, actual) in vectors {
            mitigations(&mut checks.of(Requirement::Mitigations), vector, name, Some(mask), actual);
        }
    }
    mitigations(
        &mut checks.of(Requirement::LaunchMitigations),
        "launch",
        "launch mitigations",
        require.launch_mitigations,
        hardware.launch_mitigation_vector,
    );
    mitigations(
        &mut checks.of(Requirement::CurrentMitigations),
        "current",
        "current mitigations",
        require.current_mitigations,
        hardware.current_mitigation_vector,
    );
}

fn signing_key(checks: &mut AppraisalBuilder, hardware: &HardwareClaims, policy: &Policy) {
    const NAME: &str = "signing key";
    let actual = hardware.signing_key;
    let Some(accepted) = policy.signing_keys() else {
        return checks.not_evaluated(NAME, "the provider is required, whose key is a VLEK", actual.to_string());
    };
    let checks = &mut checks.of(Requirement::SigningKeys);
    checks.require_text(NAME, accepted.contains(&actual), any_of(accepted), actual.to_string(), |expected, actual| {
        Violation::WrongChip { field: NAME, expected, actual }
    });
}

/// Checks the cloud provider whose VLEK signed the report. The certificate of a VCEK names no provider.
fn csp_id(checks: &mut AppraisalBuilder, hardware: &HardwareClaims, policy: &Policy) {
    const NAME: &str = "csp id";
    let Some(accepted) = policy.requirements().csp_ids.as_deref() else { return };
    let checks = &mut checks.of(Requirement::CspIds);
    let expected = any_of(accepted);
    let Some(actual) = hardware.csp_id.clone() else { return checks.not_reported(NAME, expected) };
    checks.require_text(NAME, accepted.contains(&actual), expected, shorten(&actual, 64), |expected, actual| {
        Violation::WrongChip { field: NAME, expected, actual }
    });
}

/// Records whether AMD's CRL was checked. A required CRL that is missing or outdated has already failed the verification of the report.
pub(super) fn revocation(
    checks: &mut Required<'_>,
    name: &'static str,
    report: &VerifiedReport,
    rule: Option<Revocation>,
) {
    const EXPECTED: &str = "AMD's current list does not name the signing authority";
    let checked = matches!(report.revocation(), RevocationOutcome::Checked { .. });
    match (checked, rule) {
        (true, _) => checks.passed(name, EXPECTED, "not revoked"),
        (false, Some(Revocation::Off)) => checks.allowed(name, EXPECTED, "NOT CHECKED: the policy turns it off"),
        (false, _) => checks.allowed(name, EXPECTED, "NOT CHECKED: no current list could be had"),
    }
}

/// Records the age of the CRL, which the verification of the report has already checked. Without a CRL no check is recorded,
/// and the missing check refuses the evidence.
fn crl_age(checks: &mut AppraisalBuilder, report: &VerifiedReport, policy: &Policy) {
    let rule = policy.amd().map(AmdTrust::revocation);
    if let (Some(Revocation::RequireIssuedWithin(age)), RevocationOutcome::Checked { this_update, .. }) =
        (rule, report.revocation())
    {
        let checks = &mut checks.of(Requirement::MaxCrlAge);
        checks.passed("crl age", format!("issued at most {} s ago", age.as_secs()), format!("issued at {this_update}"));
    }
}

fn firmware(checks: &mut AppraisalBuilder, hardware: &HardwareClaims, policy: &Policy) {
    let require = policy.requirements();
    for (requirement, firmware, name, minimum, actual) in [
        (
            Requirement::MinimumFirmware,
            "running",
            "running firmware",
            require.minimum_firmware,
            hardware.current_firmware,
        ),
        (
            Requirement::MinimumCommittedFirmware,
            "committed",
            "committed firmware",
            require.minimum_committed_firmware,
            hardware.committed_firmware,
        ),
    ] {
        let Some(minimum) = minimum else { continue };
        let checks = &mut checks.of(requirement);
        checks.require_text(
            name,
            actual >= minimum,
            format!("{minimum} or later"),
            actual.to_string(),
            |expected, actual| Violation::FirmwareTooOld { firmware, expected, actual },
        );
    }
    if require.committed_firmware_only {
        let checks = &mut checks.of(Requirement::CommittedFirmwareOnly);
        let provisional = hardware.is_firmware_provisional();
        let actual = format!("running {}, committed {}", hardware.current_firmware, hardware.committed_firmware);
        checks.require_text("provisional firmware", !provisional, "none".to_owned(), actual, |_, actual| {
            Violation::FirmwareTooOld { firmware: "running", expected: "the committed one".to_owned(), actual }
        });
    }
}

fn platform_info(checks: &mut AppraisalBuilder, actual: &PlatformInfo, policy: &Policy) {
    if actual.unnamed() != 0 {
        // Newer firmware sets bits that this release has no name for. They are signed and do not revoke the meaning of other
        // bits, so they are shown and not refused.
        let reason = "no published table names these bits";
        checks.not_evaluated("platform unnamed bits", reason, format!("{:#x}", actual.unnamed()));
    }
    for (bit, must) in policy.requirements().platform_info.iter().flatten() {
        let (name, actual) = (bit.check_name(), bit.of(actual));
        let (bit, must) = (*bit, *must);
        let checks = &mut checks.of(Requirement::PlatformInfo(bit));
        require_bit(checks, name, actual, must, |_, _| Violation::WrongPlatformInfo { bit, must });
    }
}

/// Checks for a migration agent: a guest that has one can be moved, whatever its guest policy says.
fn migration_agent(checks: &mut AppraisalBuilder, hardware: &HardwareClaims, policy: &Policy) {
    const NAME: &str = "migration agent";
    match (hardware.has_migration_agent(), policy.allowances().migration) {
        (false, _) => checks.passed(NAME, "none", "none"),
        (true, true) => checks.allowed(NAME, "none", "PRESENT: it can move the guest"),
        (true, false) => checks.failed(NAME, "none", "present", Violation::MigrationAllowed),
    }
}

fn guest_abi(checks: &mut AppraisalBuilder, hardware: &HardwareClaims, policy: &Policy) {
    let Some(minimum) = policy.requirements().minimum_guest_abi else { return };
    let actual = AbiVersion { major: hardware.policy_abi_major, minor: hardware.policy_abi_minor };
    let checks = &mut checks.of(Requirement::MinimumGuestAbi);
    checks.require_text(
        "guest abi",
        actual >= minimum,
        format!("{minimum} or later"),
        actual.to_string(),
        |expected, actual| Violation::WrongGuestPolicy { bit: None, expected, actual },
    );
}

fn mitigations(
    checks: &mut Required<'_>,
    vector: &'static str,
    name: &'static str,
    required: Option<u64>,
    actual: Option<u64>,
) {
    let Some(expected) = required else { return };
    let text = format!("{expected:#x}");
    let Some(actual) = actual else { return checks.not_reported(name, text) };
    checks.require(
        name,
        actual & expected == expected,
        text,
        format!("{actual:#x}"),
        Violation::MissingMitigations { vector, expected, actual },
    );
}
