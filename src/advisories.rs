//! AMD's advisories: what shows on each processor that the fix is in force, and the status of each according to an unverified report.
//!
//! [`all`] returns those that this release knows. A policy requires their fixes by name
//! ([`Policy::require_advisories`](crate::Policy::require_advisories)). [`UnverifiedAdvisories`] is for operators who inspect a machine.

use serde::Serialize;

use crate::claims::{Cpuid, Silicon};
use crate::policy::Platform;
use crate::snp::{self, ReportError};
use crate::types::{Product, Tcb};

pub use crate::policy::advisories::{Advisory, Fix, Grade, Mitigation, all};
pub use crate::policy::{AdvisoryStatus, Unmet};

/// The status of AMD's advisories according to a report. Nothing is verified: for display only, never for decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UnverifiedAdvisories {
    /// The version of the report.
    pub version: u32,
    /// The product; absent from reports of version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Product>,
    /// The processor; absent from reports of version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuid: Option<Cpuid>,
    /// The processor's name, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silicon: Option<Silicon>,
    /// `REPORTED_TCB`, by which the advisories are judged.
    pub reported_tcb: Tcb,
    /// One for each advisory, oldest first.
    pub findings: Vec<AdvisoryFinding>,
}

/// The status of one advisory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AdvisoryFinding {
    /// The status.
    #[serde(flatten)]
    pub status: AdvisoryStatus,
    /// The advisory, with its sources.
    pub advisory: &'static Advisory,
}

impl UnverifiedAdvisories {
    /// Reads a report of 1184 bytes and compares it with [`all`].
    ///
    /// # Errors
    ///
    /// [`ReportError`] for what is not in the form of a report (AMD 56860 table 23).
    pub fn read(report: &[u8]) -> Result<Self, ReportError> {
        let (snp, hardware) = snp::unverified_claims(report)?;
        let platform = Platform::new(&snp, Some(&hardware));
        let finding = |advisory: &'static Advisory| AdvisoryFinding { status: advisory.status(&platform), advisory };
        Ok(Self {
            version: hardware.version,
            product: snp.product,
            cpuid: hardware.cpuid,
            silicon: hardware.cpuid.and_then(Cpuid::silicon),
            reported_tcb: snp.reported_tcb,
            findings: all().iter().map(finding).collect(),
        })
    }
}
