//! Step 4a: cross-checks token, report and endorsement, which must all be about the same TEE.
//!
//! `REPORT_ID` is never zero. If there is both a token and a report, equal ids show that they are of the same guest, and every
//! field that both carry must be equal.

use crate::azure_vm::AzureVmClaims;
use crate::claims::{Bit, SnpClaims, TeeClaims, TokenShape, UvmClaims, VmSettings};
use crate::error::AttestationError;
use crate::maa::VerifiedToken;
use crate::snp::VerifiedReport;
use crate::types::{ChipId, TeeKind, shorten};
use crate::uvm::VerifiedEndorsement;

/// Verified evidence that is all about the same TEE.
#[derive(Clone, Debug)]
pub(crate) struct ConsistentEvidence {
    pub(crate) token: Option<VerifiedToken>,
    pub(crate) report: Option<VerifiedReport>,
    pub(crate) endorsement: Option<VerifiedEndorsement>,
    /// What belongs to the report, if it came in the report of a paravisor.
    pub(crate) vm: Option<AzureVmClaims>,
    /// The state of the TEE: from the report if there is one, since it carries more, otherwise from the token.
    pub(crate) claims: TeeClaims,
}

impl ConsistentEvidence {
    /// Combines verified evidence.
    ///
    /// # Errors
    ///
    /// [`AttestationError::EvidenceMismatch`] if two documents disagree, [`AttestationError::FalseAttestationReport`] for a report
    /// id of zeros, [`AttestationError::MissingEvidence`] without token and report.
    pub(crate) fn new(
        token: Option<VerifiedToken>,
        report: Option<VerifiedReport>,
        endorsement: Option<VerifiedEndorsement>,
    ) -> Result<Self, AttestationError> {
        let of_token = token.as_ref().map(VerifiedToken::tee);
        let stated_chip_id = token.as_ref().and_then(VerifiedToken::stated_chip_id);
        let of_report = report.as_ref().map(VerifiedReport::snp);
        for claims in [of_token.and_then(TeeClaims::snp), of_report].into_iter().flatten() {
            check_report_id(claims)?;
        }
        let claims = match (of_token, of_report) {
            (Some(TeeClaims::Snp(token)), Some(report)) => {
                check_report_matches_token(token, stated_chip_id, report)?;
                TeeClaims::Snp(report.clone())
            }
            (None, Some(report)) => TeeClaims::Snp(report.clone()),
            (Some(token), None) => token.clone(),
            (Some(TeeClaims::Tdx(_)), Some(_)) => {
                return Err(AttestationError::EvidenceMismatch {
                    field: "kind of tee",
                    left_source: "token",
                    left: TeeKind::Tdx.to_string(),
                    right_source: "hardware report",
                    right: TeeKind::Snp.to_string(),
                });
            }
            (None, None) => {
                return Err(AttestationError::MissingEvidence { what: "an MAA token or a hardware report" });
            }
        };
        let evidence = Self { token, report, endorsement, vm: None, claims };
        evidence.check_uvm_matches()?;
        Ok(evidence)
    }

    /// Adds what was verified under the report.
    ///
    /// # Errors
    ///
    /// [`AttestationError::EvidenceMismatch`] if the token is about another VM.
    pub(crate) fn with_vm(self, vm: Option<AzureVmClaims>) -> Result<Self, AttestationError> {
        if let (Some(token), Some(vm)) = (&self.token, &vm) {
            let (token, stated) = (token.maa(), &vm.runtime_claims.vm_configuration);
            if let Some(id) = &token.vm_id {
                require_match("vm id", Sourced::new("token", id), Sourced::new("runtime claims", &stated.vm_id))?;
            }
            if let Some(settings) = &token.vm_settings {
                check_settings_match(settings, &stated.into())?;
            }
        }
        Ok(Self { vm, ..self })
    }

    /// Returns the settings of a confidential VM, as its paravisor states them: in its report, or in a token.
    ///
    /// The paravisor's report may be of an earlier boot, so that with a token of the VM's guest attestation Secure Boot is on only if the
    /// token says so too; one that says nothing of it is [`Bit::NotReported`].
    pub(crate) fn vm_settings(&self) -> Option<VmSettings> {
        let token = self.token.as_ref().map(VerifiedToken::maa);
        let in_token = token.and_then(|token| token.vm_settings);
        let Some(vm) = &self.vm else { return in_token };
        let mut stated = VmSettings::from(&vm.runtime_claims.vm_configuration);
        if token.is_some_and(|token| token.shape == TokenShape::AzureVm) && stated.secure_boot == Bit::Set {
            stated.secure_boot = in_token.map_or(Bit::NotReported, |settings| settings.secure_boot);
        }
        Some(stated)
    }

    /// Returns the utility VM's endorsement: from the document if there is one, otherwise from the token.
    pub(crate) fn uvm(&self) -> Option<&UvmClaims> {
        let endorsement = self.endorsement.as_ref().map(VerifiedEndorsement::claims);
        endorsement.or_else(|| self.token.as_ref().and_then(VerifiedToken::uvm))
    }

    /// Checks that the endorsement is for the launch measurement of this TEE, and that token and document agree about it.
    fn check_uvm_matches(&self) -> Result<(), AttestationError> {
        const ENDORSEMENT: &str = "uvm endorsement";
        const TOKEN: &str = "token";
        const FIELD: &str = "launch measurement";
        let token = self.token.as_ref().and_then(VerifiedToken::uvm);
        let document = self.endorsement.as_ref().map(VerifiedEndorsement::claims);
        // An endorsement is of the utility VM of a container, so that it never fits a TD.
        let measurement = match &self.claims {
            TeeClaims::Snp(snp) => &snp.measurement,
            TeeClaims::Tdx(tdx) => &tdx.mrtd,
        };
        if let Some(uvm) = token {
            require_match(
                FIELD,
                Sourced::new("token's uvm endorsement", &uvm.measurement),
                Sourced::new("evidence", measurement),
            )?;
        }
        if let Some(uvm) = document {
            require_match(FIELD, Sourced::new(ENDORSEMENT, &uvm.measurement), Sourced::new("evidence", measurement))?;
        }
        if let (Some(token), Some(document)) = (token, document) {
            require_match(
                "uvm issuer",
                Sourced::new(TOKEN, &token.issuer),
                Sourced::new(ENDORSEMENT, &document.issuer),
            )?;
            require_match("uvm feed", Sourced::new(TOKEN, &token.feed), Sourced::new(ENDORSEMENT, &document.feed))?;
            require_match(
                "uvm security version",
                Sourced::new(TOKEN, &token.svn),
                Sourced::new(ENDORSEMENT, &document.svn),
            )?;
        }
        Ok(())
    }
}

/// Checks that the report id is not zero. Firmware draws it at random when a guest is launched (AMD 56860, `GCTX.ReportID`), so
/// that no guest has the id zero, and two pieces of evidence that both have it could be of different guests.
fn check_report_id(claims: &SnpClaims) -> Result<(), AttestationError> {
    if claims.report_id.is_zero() {
        return Err(AttestationError::FalseAttestationReport {
            what: "report id",
            expected: "the id of a guest".to_owned(),
            actual: "zeros".to_owned(),
        });
    }
    Ok(())
}

/// Checks that the settings of a VM in a token are those that its paravisor states in the report. Those that a token omits do not count.
fn check_settings_match(token: &VmSettings, stated: &VmSettings) -> Result<(), AttestationError> {
    // Destructured, so that a setting that is added is compared here or does not compile.
    let VmSettings { secure_boot, tpm, console, interactive_console, filtered_vpci_devices } = token;
    for (field, token, stated) in [
        ("secure boot", secure_boot, &stated.secure_boot),
        ("tpm", tpm, &stated.tpm),
        ("console", console, &stated.console),
        ("interactive console", interactive_console, &stated.interactive_console),
        ("filtered vpci devices", filtered_vpci_devices, &stated.filtered_vpci_devices),
    ] {
        if *token != Bit::NotReported {
            require_match(
                field,
                Sourced::new("token", &shown(*token)),
                Sourced::new("runtime claims", &shown(*stated)),
            )?;
        }
    }
    Ok(())
}

const fn shown(bit: Bit) -> &'static str {
    match bit {
        Bit::Set => "set",
        Bit::Clear => "clear",
        Bit::NotReported => "not reported",
    }
}

/// Checks that token and report are of the same guest and agree about it.
fn check_report_matches_token(
    token: &SnpClaims,
    stated_chip_id: Option<ChipId>,
    report: &SnpClaims,
) -> Result<(), AttestationError> {
    // Destructured, so that a field added to the claims is compared here or does not compile.
    let SnpClaims {
        measurement,
        host_data,
        report_data,
        report_id,
        report_guest_svn,
        vmpl,
        policy,
        reported_tcb,
        id_key_digest,
        author_key_digest,
        family_id,
        image_id,
        // Without the zeros of a masked one, which are compared too.
        chip_id: _,
        product,
    } = token;
    require_equal("report id", report_id, &report.report_id)?;
    require_equal("launch measurement", measurement, &report.measurement)?;
    require_equal("host data", host_data, &report.host_data)?;
    require_equal("report data", report_data, &report.report_data)?;
    require_equal("report guest svn", report_guest_svn, &report.report_guest_svn)?;
    require_equal("vmpl", vmpl, &report.vmpl)?;
    require_equal("guest policy debug", &policy.debug, &report.policy.debug)?;
    require_equal("guest policy migrate-ma", &policy.migrate_ma, &report.policy.migrate_ma)?;
    require_equal("guest policy smt", &policy.smt, &report.policy.smt)?;
    require_equal_if_reported("guest policy single-socket", policy.single_socket, report.policy.single_socket)?;
    require_equal_if_reported("guest policy cxl-allow", policy.cxl_allow, report.policy.cxl_allow)?;
    require_equal_if_reported("guest policy mem-aes-256-xts", policy.mem_aes_256_xts, report.policy.mem_aes_256_xts)?;
    require_equal_if_reported("guest policy rapl-dis", policy.rapl_dis, report.policy.rapl_dis)?;
    require_equal_if_reported(
        "guest policy ciphertext-hiding-dram",
        policy.ciphertext_hiding_dram,
        report.policy.ciphertext_hiding_dram,
    )?;
    require_equal_if_reported(
        "guest policy page-swap-disable",
        policy.page_swap_disable,
        report.policy.page_swap_disable,
    )?;
    require_equal("reported tcb bootloader", &reported_tcb.bootloader, &report.reported_tcb.bootloader)?;
    require_equal("reported tcb tee", &reported_tcb.tee, &report.reported_tcb.tee)?;
    require_equal("reported tcb snp", &reported_tcb.snp, &report.reported_tcb.snp)?;
    require_equal("reported tcb microcode", &reported_tcb.microcode, &report.reported_tcb.microcode)?;
    if let (Some(token), Some(report)) = (&reported_tcb.fmc, &report.reported_tcb.fmc) {
        require_equal("reported tcb fmc", token, report)?;
    }
    require_equal("id key digest", id_key_digest, &report.id_key_digest)?;
    require_equal("author key digest", author_key_digest, &report.author_key_digest)?;
    require_equal("family id", family_id, &report.family_id)?;
    require_equal("image id", image_id, &report.image_id)?;
    // Tokens from before 2026 have no chip id; a masked id is zeros, in both.
    if let Some(token) = stated_chip_id {
        require_equal("chip id", &token, &report.chip_id.unwrap_or(ChipId::new([0; ChipId::LEN])))?;
    }
    if let (Some(token), Some(report)) = (product, &report.product) {
        require_equal("product", token, report)?;
    }
    Ok(())
}

/// Checks that a claim of the token equals that of the report.
fn require_equal<T: PartialEq + ToString>(field: &'static str, token: &T, report: &T) -> Result<(), AttestationError> {
    require_match(field, Sourced::new("token", token), Sourced::new("hardware report", report))
}

/// Checks that a bit of the token equals that of the report, if both carry it.
fn require_equal_if_reported(field: &'static str, token: Bit, report: Bit) -> Result<(), AttestationError> {
    match (token, report) {
        (Bit::NotReported, _) | (_, Bit::NotReported) => Ok(()),
        (token, report) => require_equal(field, &(token == Bit::Set), &(report == Bit::Set)),
    }
}

/// A value and the document that it is from, for messages.
struct Sourced<'a, T> {
    source: &'static str,
    value: &'a T,
}

impl<'a, T> Sourced<'a, T> {
    const fn new(source: &'static str, value: &'a T) -> Self {
        Self { source, value }
    }
}

fn require_match<T: PartialEq + ToString>(
    field: &'static str,
    left: Sourced<'_, T>,
    right: Sourced<'_, T>,
) -> Result<(), AttestationError> {
    if left.value == right.value {
        return Ok(());
    }
    // Shortened: an endorsement's strings may be long.
    let show = |value: &T| shorten(&value.to_string(), 200);
    Err(AttestationError::EvidenceMismatch {
        field,
        left_source: left.source,
        left: show(left.value),
        right_source: right.source,
        right: show(right.value),
    })
}
