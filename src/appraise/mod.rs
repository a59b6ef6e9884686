//! Step 5: appraises the bound evidence against every requirement of the policy, and reports all results.
//!
//! Cryptographic steps stop at the first failure. This step runs every check, so that the result shows all violations at once.
//! Evidence is refused if a requirement was not evaluated ([`AppraisalBuilder::finish`]).

mod advisories;
mod azure_vm;
mod builder;
mod guest;
mod hardware;
mod maa;
mod maa_key;
mod paravisor;
mod provenance;
mod tcb;
mod tdx;
mod workload;

use crate::appraisal::Appraisal;
use crate::challenge::{Channel, ServerNameCheck};
use crate::claims::TeeClaims;
use crate::cross_check::ConsistentEvidence;
use crate::error::AttestationError;
use crate::evidence::KeySetSource;
use crate::maa_key::AttestedMaaKey;
use crate::policy::{CarriedBy, Policy};
use crate::snp::VerifiedReport;
use crate::types::{SpkiDigest, UnixTime};
use builder::AppraisalBuilder;

/// The input of the appraisal.
pub(crate) struct AppraisalInput<'a> {
    pub(crate) tee: &'a ConsistentEvidence,
    /// How the connection is bound and whether its name was validated; `None` for recorded evidence.
    pub(crate) channel: Option<(Channel, ServerNameCheck)>,
    pub(crate) tls_key: AttestedTlsKey,
    /// The key exchange group of the connection, where the caller has named it.
    pub(crate) key_exchange: Option<&'a str>,
    pub(crate) key_set_source: KeySetSource,
    /// The container that holds the key of the token, where the policy requires one.
    pub(crate) maa_key: Option<&'a AttestedMaaKey>,
    pub(crate) now: UnixTime,
}

/// The TLS key that the evidence attests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttestedTlsKey {
    Is(SpkiDigest),
    /// The evidence is about another kind of key, or of none.
    Absent,
    /// Recorded evidence without runtime data, which would name it.
    NotRecorded,
}

/// Runs every check of the policy.
pub(crate) fn appraise(input: &AppraisalInput<'_>, policy: &Policy) -> Result<Appraisal, AttestationError> {
    let checks = &mut AppraisalBuilder::default();
    let tee = input.tee;
    provenance::connection(checks, input, policy);
    if let TeeClaims::Snp(snp) = &tee.claims {
        workload::host_data(checks, snp, tee.vm.as_ref(), policy);
    }
    provenance::sources(checks, input, policy);
    match &tee.claims {
        TeeClaims::Snp(snp) => {
            guest::policy(checks, &snp.policy, policy);
            workload::measurement(checks, snp, policy);
        }
        TeeClaims::Tdx(tdx) => tdx::appraise(checks, tdx, policy),
    }
    workload::uvm(checks, tee.uvm(), policy);
    if let Some(token) = &tee.token {
        maa::appraise(checks, token.maa(), input.now, policy);
    }
    if let (Some(key), Some(required)) = (input.maa_key, policy.attested_maa_key()) {
        maa_key::appraise(checks, key, required);
    }
    tdx::kind_of_tee(checks, &tee.claims, policy);
    guest::vm_id(checks, tee, policy);
    if tee.vm.is_none() {
        azure_vm::settings(checks, tee.vm_settings(), policy);
    }
    if let TeeClaims::Snp(snp) = &tee.claims {
        guest::identity(checks, tee, snp, policy);
        paravisor::appraise(checks, snp, policy);
        if let Some(vm) = &tee.vm {
            azure_vm::appraise(checks, vm, tee.vm_settings(), input.tls_key, policy);
        }
        let hardware = tee.report.as_ref().map(VerifiedReport::hardware);
        tcb::reported(checks, snp, hardware, policy);
        advisories::appraise(checks, snp, hardware, policy);
        tdx::refuse_absent(checks, policy);
    }
    if let Some(report) = &tee.report {
        hardware::appraise(checks, report, policy);
    }
    let recorded = input.channel.is_none();
    let required = policy
        .given_for(tee.claims.kind())
        .into_iter()
        .filter(|one| !(recorded && one.carried_by() == CarriedBy::Connection));
    std::mem::take(checks).finish(&required.collect::<Vec<_>>()).map_err(AttestationError::Rejected)
}
