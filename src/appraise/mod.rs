//! Step 5: each requirement of the policy against the bound evidence, all of them reported.
//!
//! Cryptographic steps stop at their first failure; this one runs every check, so that whoever reads the result sees all
//! that is wrong at once. What the policy requires and none of them has evaluated is refused ([`AppraisalBuilder::finish`]).

mod advisories;
mod builder;
mod guest;
mod hardware;
mod maa;
mod provenance;
mod tcb;
mod workload;

use crate::appraisal::Appraisal;
use crate::bind::ConsistentEvidence;
use crate::challenge::{Channel, ServerNameCheck};
use crate::error::AttestationError;
use crate::evidence::KeySetSource;
use crate::policy::{CarriedBy, Policy};
use crate::snp::VerifiedReport;
use crate::types::UnixTime;
use builder::AppraisalBuilder;

/// What the appraisal looks at.
pub(crate) struct AppraisalInput<'a> {
    pub(crate) tee: &'a ConsistentEvidence,
    /// The connection; `None` for recorded evidence.
    pub(crate) channel: Option<(Channel, ServerNameCheck)>,
    /// The key exchange group of the connection, where the caller has named it.
    pub(crate) key_exchange: Option<&'a str>,
    pub(crate) key_set_source: KeySetSource,
    pub(crate) now: UnixTime,
}

/// Runs every check of the policy.
pub(crate) fn appraise(facts: &AppraisalInput<'_>, policy: &Policy) -> Result<Appraisal, AttestationError> {
    let checks = &mut AppraisalBuilder::default();
    let tee = facts.tee;
    provenance::connection(checks, facts, policy);
    workload::host_data(checks, &tee.snp, policy);
    provenance::sources(checks, facts, policy);
    guest::policy(checks, &tee.snp.policy, policy);
    workload::measurement(checks, &tee.snp, policy);
    workload::uvm(checks, tee.uvm(), policy);
    if let Some(token) = &tee.token {
        maa::appraise(checks, token.maa(), facts.now, policy);
    }
    guest::identity(checks, tee, policy);
    tcb::reported(checks, &tee.snp, tee.report.as_ref().map(VerifiedReport::hardware), policy);
    advisories::appraise(checks, tee, policy);
    if let Some(report) = &tee.report {
        hardware::appraise(checks, report, policy);
    }
    let recorded = facts.channel.is_none();
    let required = policy.given().into_iter().filter(|one| !(recorded && one.carried_by() == CarriedBy::Connection));
    std::mem::take(checks).finish(&required.collect::<Vec<_>>())
}
