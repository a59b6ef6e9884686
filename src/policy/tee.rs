//! Which kinds of TEE a policy accepts, and which of its requirements apply to which kind.

use super::PolicyError;
use super::requirement::Requirement;
use super::schema::{COMPLIANT_CVM, Document, Kind};
use crate::types::TeeKind;

/// Intel's TCB status that a policy requires unless it names others.
pub(crate) const UP_TO_DATE: &str = "UpToDate";

/// Intel's status for a platform whose keys are known to others. No policy can accept it.
const REVOKED: &str = "Revoked";

impl Document {
    /// Returns the accepted kinds of TEE: SEV-SNP unless the policy names others.
    pub(super) fn accepted_tees(&self) -> &[TeeKind] {
        self.require.tee.as_deref().unwrap_or(&[TeeKind::Snp])
    }

    /// Whether the policy accepts a kind of TEE.
    pub(super) fn accepts(&self, tee: TeeKind) -> bool {
        self.accepted_tees().contains(&tee)
    }

    /// Returns the requirements that evidence of this kind of TEE must meet.
    ///
    /// The lists of `guest` are alternatives: `measurements` and `id-keys` say which SEV-SNP guests are accepted, `mrtd` which TDX
    /// guests. All other requirements apply to both.
    pub(super) fn given_for(&self, tee: TeeKind) -> Vec<Requirement> {
        let mut given = self.given();
        let Some(guest) = &self.guest else { return given };
        let (of_snp, of_tdx) = (guest.measurements.is_some() || guest.id_keys.is_some(), guest.mrtd.is_some());
        given.retain(|requirement| match (tee, requirement) {
            (TeeKind::Snp, Requirement::Mrtd) => !of_snp,
            (TeeKind::Tdx, Requirement::Measurements) => !of_tdx || guest.measurements.is_none(),
            (TeeKind::Tdx, Requirement::IdKeys) => !of_tdx || guest.id_keys.is_none(),
            _ => true,
        });
        given
    }

    /// Checks the settings of confidential VMs, and those of TDX.
    pub(super) fn validate_tee(&self) -> Result<(), PolicyError> {
        let contradiction = |reason| Err(PolicyError::Contradiction { reason });
        let require = &self.require;
        let mrtd = self.guest.as_ref().is_some_and(|guest| guest.mrtd.is_some());
        if require.tcb_status.iter().flatten().any(|status| status == REVOKED) {
            let reason = "`Revoked` means that the platform's keys are known to others";
            return Err(PolicyError::UnusableValue { requirement: Requirement::TcbStatus.field(), reason });
        }
        if self.kind == Kind::ConfidentialContainer && require.vm_ids.is_some() {
            return contradiction(
                "`require.vm-ids` is for confidential VMs: the evidence of a container names no VM; drop it",
            );
        }
        if self.kind != Kind::ConfidentialVm && (require.tee.is_some() || require.tcb_status.is_some() || mrtd) {
            return contradiction(
                "`require.tee`, `require.tcb-status` and `guest.mrtd` are for confidential VMs; drop them",
            );
        }
        if !self.accepts(TeeKind::Tdx) && (require.tcb_status.is_some() || mrtd) {
            return contradiction(
                "`guest.mrtd` and `require.tcb-status` are for guests of Intel TDX; accept them with `require.tee = [\"tdx\"]`",
            );
        }
        if self.accepts(TeeKind::Tdx) && self.trust.amd.is_some() {
            return contradiction(
                "`trust.amd` verifies hardware reports of AMD, which a guest of Intel TDX does not have; use `trust.maa` alone",
            );
        }
        let relaxed = require.compliance_status.iter().flatten().any(|status| status != COMPLIANT_CVM);
        if self.accepts(TeeKind::Tdx) && relaxed {
            return contradiction(
                "a token of Intel TDX is bound through the claims of Azure's paravisor, and only `azure-compliant-cvm` says that they are; \
                 drop `require.compliance-status`",
            );
        }
        if self.allow.old_paravisor && !self.accepts(TeeKind::Snp) {
            return contradiction(
                "`allow.old-paravisor` is for guests of SEV-SNP, which `require.tee` does not accept",
            );
        }
        Ok(())
    }
}
