//! Checks of the guest policy (such as the debug bit of AMD SEV-SNP) and of the identity of guest and chip.

use std::fmt;

use super::AppraisalBuilder;
use super::builder::Required;
use crate::claims::{Bit, GuestPolicy, SnpClaims};
use crate::cross_check::ConsistentEvidence;
use crate::error::Violation;
use crate::policy::{BitRequirement, GuestPolicyBit, Policy, Requirement};
use crate::types::{KeyDigest, SigningKey, any_of};

/// Checks the guest policy: what the guest allows the platform to do to it.
pub(super) fn policy(checks: &mut AppraisalBuilder, actual: &GuestPolicy, policy: &Policy) {
    let allow = policy.allowances();
    checks.require_off(
        "debug",
        actual.debug,
        allow.debug,
        "the host can read the guest's memory",
        Violation::DebugMode,
    );
    checks.require_off(
        "migration",
        actual.migrate_ma,
        allow.migration,
        "an agent can move the guest",
        Violation::MigrationAllowed,
    );
    for (bit, must) in policy.requirements().guest_policy.iter().flatten() {
        let (name, actual) = bit_of(*bit, actual);
        let checks = &mut checks.of(Requirement::GuestPolicy(*bit));
        let bit = Some(*bit);
        require_bit(checks, name, actual, *must, |expected, found| Violation::WrongGuestPolicy {
            bit,
            expected: format!("{name} {expected}"),
            actual: found.to_owned(),
        });
    }
}

fn bit_of(bit: GuestPolicyBit, policy: &GuestPolicy) -> (&'static str, Bit) {
    match bit {
        GuestPolicyBit::Smt => ("policy smt", policy.smt.into()),
        GuestPolicyBit::SingleSocket => ("policy single-socket", policy.single_socket),
        GuestPolicyBit::CxlAllow => ("policy cxl-allow", policy.cxl_allow),
        GuestPolicyBit::MemAes256Xts => ("policy mem-aes-256-xts", policy.mem_aes_256_xts),
        GuestPolicyBit::RaplDis => ("policy rapl-dis", policy.rapl_dis),
        GuestPolicyBit::CiphertextHidingDram => ("policy ciphertext-hiding", policy.ciphertext_hiding_dram),
        GuestPolicyBit::PageSwapDisable => ("policy page-swap-disable", policy.page_swap_disable),
    }
}

/// Checks one bit. Evidence that does not carry the bit is refused.
pub(super) fn require_bit(
    checks: &mut Required<'_>,
    name: &'static str,
    actual: Bit,
    must: BitRequirement,
    violation: impl FnOnce(&'static str, &'static str) -> Violation,
) {
    let expected = match must {
        BitRequirement::Set => "set",
        BitRequirement::Clear => "clear",
    };
    let found = match actual {
        Bit::NotReported => return checks.not_reported(name, expected),
        Bit::Set => "set",
        Bit::Clear => "clear",
    };
    checks.require(name, expected == found, expected, found, violation(expected, found));
}

/// Checks the identity of the guest and the chip.
pub(super) fn identity(checks: &mut AppraisalBuilder, tee: &ConsistentEvidence, snp: &SnpClaims, policy: &Policy) {
    let require = policy.requirements();
    let vmpl = require.vmpl.clone().unwrap_or_else(|| vec![0]);
    let actual = snp.vmpl;
    let vmpl_of = |checks: &mut Required<'_>| {
        if actual != 0 && vmpl.contains(&actual) {
            return checks.allowed("vmpl", "0", format!("{actual}, which require.vmpl accepts"));
        }
        checks.require(
            "vmpl",
            vmpl.contains(&actual),
            any_of(&vmpl),
            actual.to_string(),
            Violation::WrongVmpl { expected: vmpl, actual },
        );
    };
    vmpl_of(&mut checks.of(Requirement::Vmpl));
    if let Some(minimum) = require.minimum_report_guest_svn {
        let actual = snp.report_guest_svn;
        let expected = format!("{minimum} or later");
        let checks = &mut checks.of(Requirement::MinimumReportGuestSvn);
        checks.require(
            "report guest svn",
            actual >= minimum,
            expected,
            actual.to_string(),
            Violation::GuestSvnTooOld { minimum, actual },
        );
    }
    require_one_of(&mut checks.of(Requirement::IdKeys), "id key", policy.id_keys(), &snp.id_key_digest);
    author_key(checks, tee, &snp.author_key_digest, policy);
    require_one_of(&mut checks.of(Requirement::FamilyIds), "family id", require.family_ids.as_deref(), &snp.family_id);
    require_one_of(&mut checks.of(Requirement::ImageIds), "image id", require.image_ids.as_deref(), &snp.image_id);
    require_one_of(&mut checks.of(Requirement::ReportIds), "report id", require.report_ids.as_deref(), &snp.report_id);
    // Many chips share one VLEK, and its certificate names none of them: one of these chips could claim the id of another.
    let signed_by_many = tee.report.as_ref().is_some_and(|report| report.hardware().signing_key == SigningKey::Vlek);
    require_chip(
        &mut checks.of(Requirement::ChipIds),
        "chip id",
        require.chip_ids.as_deref(),
        snp.chip_id.as_ref().filter(|_| !signed_by_many),
    );
    require_chip(&mut checks.of(Requirement::Products), "product", policy.products(), snp.product.as_ref());
}

/// Checks the id of a confidential VM.
pub(super) fn vm_id(checks: &mut AppraisalBuilder, tee: &ConsistentEvidence, policy: &Policy) {
    const NAME: &str = "vm id";
    let Some(accepted) = policy.requirements().vm_ids.as_deref() else { return };
    let checks = &mut checks.of(Requirement::VmIds);
    // Where the evidence has both, they are the same: see `ConsistentEvidence::with_vm`.
    let in_token = tee.token.as_ref().and_then(|token| token.maa().vm_id.as_ref());
    match tee.vm.as_ref().map(|vm| &vm.runtime_claims.vm_configuration.vm_id).or(in_token) {
        Some(actual) => require_one_of(checks, NAME, Some(accepted), actual),
        None => checks.not_reported(NAME, any_of(accepted)),
    }
}

/// Checks the author key. Its digest is meaningful only if the report says that an author key was used. A token does not say
/// this, but then the digest is zero, which no policy accepts.
fn author_key(checks: &mut AppraisalBuilder, tee: &ConsistentEvidence, actual: &KeyDigest, policy: &Policy) {
    const NAME: &str = "author key";
    let checks = &mut checks.of(Requirement::AuthorKeys);
    let accepted = policy.requirements().author_keys.as_deref();
    let unused = tee.report.as_ref().is_some_and(|report| !report.hardware().author_key_en);
    match accepted {
        Some(accepted) if unused => {
            checks.require_text(NAME, false, any_of(accepted), "none".to_owned(), |expected, actual| {
                Violation::WrongGuestIdentity { field: NAME, expected, actual }
            });
        }
        _ => require_one_of(checks, NAME, accepted, actual),
    }
}

fn require_one_of<T: PartialEq + fmt::Display>(
    checks: &mut Required<'_>,
    name: &'static str,
    accepted: Option<&[T]>,
    actual: &T,
) {
    let Some(accepted) = accepted else { return };
    checks.require_text(name, accepted.contains(actual), any_of(accepted), actual.to_string(), |expected, actual| {
        Violation::WrongGuestIdentity { field: name, expected, actual }
    });
}

fn require_chip<T: PartialEq + fmt::Display>(
    checks: &mut Required<'_>,
    name: &'static str,
    accepted: Option<&[T]>,
    actual: Option<&T>,
) {
    let Some(accepted) = accepted else { return };
    let expected = any_of(accepted);
    let Some(actual) = actual else { return checks.not_reported(name, expected) };
    checks.require_text(name, accepted.contains(actual), expected, actual.to_string(), |expected, actual| {
        Violation::WrongChip { field: name, expected, actual }
    });
}
