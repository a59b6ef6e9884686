//! The list of the requirements that a policy sets, each of which the appraisal must evaluate.

use super::advisories::{self, Advisory, Grade};
use super::attested_key::AttestedKeyRequirement;
use super::guest::GuestIdentity;
use super::require_table::Requirements;
use super::requirement::Requirement;
use super::schema::Document;
use super::trust::{AmdTrust, MaaTrust, Trust};
use super::uvm::UvmRequirement;
use super::workload::Workload;

/// The setting that requires the fix of an advisory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequiredBy {
    /// The policy, by the advisory's name. On a processor without a known fix it cannot be met.
    Name,
    /// The policy, by the day of publication.
    Day,
    /// AMD trust, by the advisory's grade.
    Trust,
}

impl Document {
    /// Returns all requirements of the policy.
    ///
    /// Each table is destructured without `..`: a field that is added to one of them must be listed here to compile.
    pub(super) fn given(&self) -> Vec<Requirement> {
        // Not listed: version and kind, which say how to read the rest; the binding, which is checked before any request and
        // again in step 4; and allowances, which require nothing.
        let Self { version: _, kind: _, binding: _, trust, workload, guest, uvm, require, allow: _ } = self;
        let mut given = Vec::new();
        trust.list(&mut given);
        if let Some(Workload { binding: _, host_data: _, allow_permissive: _ }) = workload {
            given.push(Requirement::HostData);
        }
        if let Some(GuestIdentity { measurements, id_keys, mrtd, allow_any_azure_cvm: _, pcrs, given_twice: _ }) = guest
        {
            given.extend(pcrs.iter().flatten().map(|(index, _)| Requirement::Pcr(*index)));
            given.extend(measurements.is_some().then_some(Requirement::Measurements));
            given.extend(id_keys.is_some().then_some(Requirement::IdKeys));
            given.extend(mrtd.is_some().then_some(Requirement::Mrtd));
        }
        if let Some(UvmRequirement { minimum_svn: _, issuer: _, feed: _, given_twice: _ }) = uvm {
            given.extend([Requirement::UvmMinimumSvn, Requirement::UvmIssuer, Requirement::UvmFeed]);
        }
        given.extend(require.given());
        // The default, which needs a report to be of use: see `Document::signing_keys`.
        let by_default = require.signing_keys.is_none() && trust.amd.is_some() && self.signing_keys().is_some();
        given.extend(by_default.then_some(Requirement::SigningKeys));
        given.extend(self.required_advisories().map(|(advisory, _)| Requirement::Advisory(advisory.name)));
        given
    }

    /// Whether some advisory is not required although the evidence could show its fix.
    pub(super) fn leaves_advice_open(&self) -> bool {
        self.trust.amd.is_some()
            && advisories::all().iter().filter(|advisory| advisory.grade == Grade::Advice).any(|advisory| {
                // A waived advisory has a lint of its own.
                advisory.name != "AMD-SB-3015"
                    && self.required_advisories().all(|(required, _)| required.name != advisory.name)
            })
    }

    /// Returns each advisory whose fix is required, and the setting that requires it.
    pub(super) fn required_advisories(&self) -> impl Iterator<Item = (&'static Advisory, RequiredBy)> + '_ {
        advisories::all().iter().filter_map(|advisory| {
            let mut waived = self.trust.amd.iter().flat_map(|amd| amd.waived_advisories.iter().flatten());
            let is_waived = waived.any(|name| name == advisory.name);
            let until = self.require.advisories_until.as_deref();
            if self.require.advisories.iter().flatten().any(|name| name == advisory.name) {
                Some((advisory, RequiredBy::Name))
            } else if is_waived {
                None
            } else if until.is_some_and(|day| advisory.published <= day) {
                Some((advisory, RequiredBy::Day))
            } else if self.trust.amd.is_some() && advisory.grade == Grade::Required {
                Some((advisory, RequiredBy::Trust))
            } else {
                None
            }
        })
    }
}

impl Trust {
    fn list(&self, given: &mut Vec<Requirement>) {
        let Self { maa, amd } = self;
        if let Some(maa) = maa {
            maa.list(given);
        }
        if let Some(AmdTrust { products, revocation: _, max_crl_age_seconds, waived_advisories: _ }) = amd {
            given.push(Requirement::Revocation);
            given.extend(max_crl_age_seconds.is_some().then_some(Requirement::MaxCrlAge));
            given.extend(products.is_some().then_some(Requirement::Products));
        }
    }
}

impl MaaTrust {
    fn list(&self, given: &mut Vec<Requirement>) {
        let Self { issuer: _, policy_hash, key_id, allow_any_policy: _, allow_test_attester: _, require_attested_key } =
            self;
        given.push(Requirement::MaaIssuer);
        given.extend(policy_hash.is_some().then_some(Requirement::MaaPolicyHash));
        given.extend(key_id.is_some().then_some(Requirement::MaaKeyId));
        // The issuer of the endorsement is checked with its signature.
        if let Some(AttestedKeyRequirement {
            host_data: _,
            minimum_uvm_svn: _,
            uvm_issuer: _,
            revocation: _,
            reported_tcb,
            given_twice: _,
        }) = require_attested_key
        {
            given.extend([
                Requirement::MaaKeyHolder,
                Requirement::MaaKeyHostData,
                Requirement::MaaKeyUvmSvn,
                Requirement::MaaKeyRevocation,
                Requirement::MaaKeyAdvisories,
            ]);
            given.extend(reported_tcb.is_some().then_some(Requirement::MaaKeyReportedTcb));
        }
    }
}

impl Requirements {
    /// Returns all requirements of the table `require`.
    pub(super) fn given(&self) -> Vec<Requirement> {
        let Self {
            measurements,
            compliance_status,
            tee,
            tcb_status,
            vmpl,
            minimum_report_guest_svn,
            id_keys,
            author_keys,
            family_ids,
            image_ids,
            chip_ids,
            products,
            report_ids,
            vm_ids,
            vm_configuration,
            ak_certificate,
            reported_tcb,
            committed_tcb,
            current_tcb,
            launch_tcb,
            // Listed with the advisories that the trust requires: see `Document::required_advisories`.
            advisories: _,
            advisories_until: _,
            mitigations,
            csp_ids,
            guest_policy,
            minimum_guest_abi,
            platform_info,
            minimum_firmware,
            minimum_committed_firmware,
            committed_firmware_only,
            signing_keys,
            author_key,
            launch_mitigations,
            current_mitigations,
            max_token_age_seconds,
            max_session_age_seconds,
            post_quantum,
        } = self;
        let single = [
            (measurements.is_some(), Requirement::Measurements),
            (compliance_status.is_some(), Requirement::ComplianceStatus),
            (tee.is_some(), Requirement::Tee),
            (tcb_status.is_some(), Requirement::TcbStatus),
            (vmpl.is_some(), Requirement::Vmpl),
            (minimum_report_guest_svn.is_some(), Requirement::MinimumReportGuestSvn),
            (id_keys.is_some(), Requirement::IdKeys),
            (author_keys.is_some(), Requirement::AuthorKeys),
            (family_ids.is_some(), Requirement::FamilyIds),
            (image_ids.is_some(), Requirement::ImageIds),
            (chip_ids.is_some(), Requirement::ChipIds),
            (products.is_some(), Requirement::Products),
            (report_ids.is_some(), Requirement::ReportIds),
            (vm_ids.is_some(), Requirement::VmIds),
            (*ak_certificate, Requirement::AkCertificate),
            (reported_tcb.is_some(), Requirement::ReportedTcb),
            (committed_tcb.is_some(), Requirement::CommittedTcb),
            (current_tcb.is_some(), Requirement::CurrentTcb),
            (launch_tcb.is_some(), Requirement::LaunchTcb),
            (mitigations.is_some(), Requirement::Mitigations),
            (csp_ids.is_some(), Requirement::CspIds),
            (minimum_guest_abi.is_some(), Requirement::MinimumGuestAbi),
            (minimum_firmware.is_some(), Requirement::MinimumFirmware),
            (minimum_committed_firmware.is_some(), Requirement::MinimumCommittedFirmware),
            (*committed_firmware_only, Requirement::CommittedFirmwareOnly),
            (signing_keys.is_some(), Requirement::SigningKeys),
            (*author_key, Requirement::AuthorKey),
            (launch_mitigations.is_some(), Requirement::LaunchMitigations),
            (current_mitigations.is_some(), Requirement::CurrentMitigations),
            (max_token_age_seconds.is_some(), Requirement::MaxTokenAge),
            (max_session_age_seconds.is_some(), Requirement::MaxSessionAge),
            (*post_quantum, Requirement::PostQuantum),
        ];
        let guest_policy = guest_policy.iter().flatten().map(|(bit, _)| Requirement::GuestPolicy(*bit));
        let platform_info = platform_info.iter().flatten().map(|(bit, _)| Requirement::PlatformInfo(*bit));
        let vm = vm_configuration.iter().flatten().map(|(bit, _)| Requirement::VmConfiguration(*bit));
        let single = single.into_iter().filter_map(|(given, requirement)| given.then_some(requirement));
        single.chain(guest_policy).chain(platform_info).chain(vm).collect()
    }
}
