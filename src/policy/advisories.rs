//! The table of AMD's security bulletins, with the report values that show each fix.
//!
//! On the processors of a [`Fix`], the bulletin counts as fixed if *all* conditions hold. A processor without a [`Fix`] has
//! no figure in the cited sources, and nothing is concluded about it. AMD's own pages are authoritative; the figures are
//! those of the cited sources. Bulletins whose figures AMD withdrew (AMD-SB-3034, on
//! 24 September 2026) are not here, and neither is a mitigation bit that AMD's developers called wrong (bit 3 of
//! AMD-SB-3023).

use serde::Serialize;

use super::PolicyError;
use super::require_table::PlatformInfoBit;
use super::strict_serde::strict;
use super::tcb::TcbMinimum;
use crate::claims::Silicon;
use crate::claims::Silicon::{Bergamo, Genoa, GenoaX, Milan, MilanX, Turin, TurinDense};

/// A security bulletin of AMD, and the values in evidence that show its fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Advisory {
    /// AMD's identifier, such as `AMD-SB-3019`.
    pub name: &'static str,
    /// The name that its discoverers gave the attack, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack: Option<&'static str>,
    /// The vulnerabilities, as CVE records.
    pub cves: &'static [&'static str],
    /// The day of its first publication, `YYYY-MM-DD`.
    pub published: &'static str,
    /// A summary.
    pub about: &'static str,
    /// Whether AMD trust requires the fix by default.
    pub grade: Grade,
    /// The conditions that show the fix, by processor.
    pub fixes: &'static [Fix],
    /// The sources of the figures.
    pub sources: &'static [&'static str],
}

/// Whether a policy under AMD trust requires the fix of an advisory by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Grade {
    /// Required, unless the policy waives it: without the fix a report proves little.
    Required,
    /// Shown in the appraisal, and required only if the policy says so: providers deploy such fixes late.
    Advice,
}

/// The conditions that together show the fix of an advisory on some processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Fix {
    /// The processors.
    pub silicon: &'static [Silicon],
    /// The minimum `REPORTED_TCB`.
    pub tcb: TcbMinimum,
    /// A bit of both mitigation vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mitigation: Option<Mitigation>,
    /// A bit of `PLATFORM_INFO`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform_info: Option<PlatformInfoBit>,
}

strict! {
    /// A bit of `LAUNCH_MIT_VECTOR` and `CURRENT_MIT_VECTOR`, named after the bulletin that it is published in.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    #[non_exhaustive]
    pub enum Mitigation {
        /// Bit 1: the reverse map table is protected while SNP is initialised.
        #[serde(rename = "AMD-SB-3020")]
        AmdSb3020,
        /// Bit 2: the host's part of the fix for writes of the IOMMU. The host must run an updated system.
        #[serde(rename = "AMD-SB-3016")]
        AmdSb3016,
        /// Bit 4: the routing of memory-mapped registers is locked. On Milan.
        #[serde(rename = "AMD-SB-3030")]
        AmdSb3030,
    }
}

impl Mitigation {
    /// Returns the bit as a mask.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::AmdSb3020 => 1 << 1,
            Self::AmdSb3016 => 1 << 2,
            Self::AmdSb3030 => 1 << 4,
        }
    }
}

impl std::fmt::Display for Mitigation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// The table.
impl Advisory {
    /// The day, `YYYY-MM-DD`, of the latest comparison of the table with AMD's bulletins: it may lack later ones.
    pub const AS_OF: &'static str = "2026-10-08";
}

const CVE_RECORD: &str = "AMD's CVE record (github.com/CVEProject/cvelistV5)";
const CCF: &str = "github.com/microsoft/CCF/issues/6812";
const ALEPH: &str = "aleph-vm, minimum TCB of its SNP client (2026)";
const PI_TEE: &str =
    "github.com/ariofrio/pi-tee, review of the SNP floors against AMD's bulletins (fetched 2026-10-08)";
const ATAKIT: &str = "AmdSnpSecurityPolicyRegistry, mitigation masks for Milan B1 (2026)";
const TRACE: &str = "TRACE prototype, SNP collateral against AMD-SB-3016 (2026-09-30)";
const SNPVERIFY: &str = "snpverify, attacks on SEV-SNP and policy fields (2026-10-04)";
const SENTINEL: &str = "Sentinel, required firmware by AMD-SB-3030 (2026)";
const NEBULA: &str = "Nebula, firmware profile (2026)";
const KERNEL_LIST: &str =
    "Linux kernel list, 2026-04-17, on AMD-SB-3023: use the SNP version, bit 3 is another issue's";

/// Returns AMD's advisories whose fix evidence can show, the oldest first.
///
/// Under AMD trust those of [`Grade::Required`] are required unless a policy waives them by name
/// ([`Trust::allow_tcb_below`](super::Trust::allow_tcb_below)); the others are shown in the appraisal, and required with
/// [`Policy::require_advisories`](super::Policy::require_advisories) or
/// [`Policy::require_advisories_until`](super::Policy::require_advisories_until). Only figures with a public source are listed,
/// so the absence of an advisory means nothing.
#[must_use]
pub fn all() -> &'static [Advisory] {
    TABLE
}

const EVERY_GENOA: &[Silicon] = &[Genoa, GenoaX, Bergamo];
const EVERY_MILAN: &[Silicon] = &[Milan, MilanX];

const TABLE: &[Advisory] = &[
    Advisory {
        name: "AMD-SB-3015",
        attack: Some("BadRAM"),
        cves: &["CVE-2024-21944"],
        published: "2024-12-10",
        about: "memory modules that lie about their size make two addresses of one cell",
        grade: Grade::Advice,
        fixes: &[on(&Silicon::ALL).platform_info(PlatformInfoBit::AliasCheckComplete)],
        sources: &[SNPVERIFY],
    },
    Advisory {
        name: "AMD-SB-3019",
        attack: Some("EntrySign"),
        cves: &["CVE-2024-56161"],
        published: "2025-02-03",
        about: "microcode patches with a forged signature could be loaded",
        grade: Grade::Required,
        fixes: &[
            on(&[Milan]).snp(0x18).microcode(0xdb),
            on(&[MilanX]).snp(0x18).microcode(0x44),
            on(&[Genoa]).snp(0x17).microcode(0x54),
            on(&[GenoaX]).snp(0x17).microcode(0x4f),
            on(&[Bergamo]).snp(0x17).microcode(0x19),
        ],
        sources: &[CCF, ALEPH, PI_TEE],
    },
    Advisory {
        name: "AMD-SB-3020",
        attack: Some("RMPocalypse"),
        cves: &["CVE-2025-0033"],
        published: "2025-10-14",
        about: "the host could write the reverse map table while SNP is initialised",
        grade: Grade::Advice,
        fixes: &[
            on(EVERY_MILAN).mitigation(Mitigation::AmdSb3020),
            on(&[Genoa]).snp(0x1b).microcode(0x56),
            on(&[GenoaX]).snp(0x1b).microcode(0x51),
            // No microcode number is published in the sources; the bit says that the fix is in force.
            on(&[Bergamo]).snp(0x1b).mitigation(Mitigation::AmdSb3020),
            on(&[Turin]).snp(0x04).microcode(0x50),
        ],
        sources: &[PI_TEE, ATAKIT, CVE_RECORD],
    },
    Advisory {
        name: "AMD-SB-3027",
        attack: Some("StackWarp"),
        cves: &["CVE-2025-29943"],
        published: "2026-01-16",
        about: "a sibling thread of the host can corrupt the guest's stack pointer; without SMT it cannot",
        grade: Grade::Advice,
        fixes: &[on(&[Genoa]).microcode(0x56), on(&[GenoaX]).microcode(0x51), on(&[Turin]).microcode(0x51)],
        sources: &[PI_TEE, CVE_RECORD],
    },
    Advisory {
        name: "AMD-SB-3023",
        attack: None,
        cves: &["CVE-2025-48514"],
        published: "2026-02-10",
        about: "a SEV-ES guest beside an SNP guest could be used to attack it",
        grade: Grade::Advice,
        fixes: &[on(EVERY_MILAN).snp(0x1b)],
        sources: &[NEBULA, KERNEL_LIST, CVE_RECORD],
    },
    Advisory {
        name: "AMD-SB-3016",
        attack: None,
        cves: &["CVE-2023-20585"],
        published: "2026-04-14",
        about: "the IOMMU wrote host buffers without asking the reverse map table; the host's system must be updated too",
        grade: Grade::Advice,
        fixes: &[
            on(EVERY_MILAN).snp(0x1b).mitigation(Mitigation::AmdSb3016),
            on(EVERY_GENOA).snp(0x1b).mitigation(Mitigation::AmdSb3016),
            on(&[Turin, TurinDense]).platform_info(PlatformInfoBit::IommuWriteSafe),
        ],
        sources: &[TRACE, SNPVERIFY, CVE_RECORD],
    },
    Advisory {
        name: "AMD-SB-3030",
        attack: Some("BreakFAST"),
        cves: &["CVE-2025-61971", "CVE-2025-61972", "CVE-2024-36315"],
        published: "2026-05-12",
        about: "the host could change the routing of memory-mapped registers, which yields the signing key",
        grade: Grade::Advice,
        fixes: &[on(EVERY_MILAN).snp(0x1d)],
        sources: &[SENTINEL, CVE_RECORD],
    },
];

const fn on(silicon: &'static [Silicon]) -> Fix {
    let tcb = TcbMinimum { fmc: None, bootloader: None, tee: None, snp: None, microcode: None };
    Fix { silicon, tcb, mitigation: None, platform_info: None }
}

impl Fix {
    const fn snp(mut self, version: u8) -> Self {
        self.tcb.snp = Some(version);
        self
    }

    const fn microcode(mut self, version: u8) -> Self {
        self.tcb.microcode = Some(version);
        self
    }

    const fn mitigation(mut self, bit: Mitigation) -> Self {
        self.mitigation = Some(bit);
        self
    }

    const fn platform_info(mut self, bit: PlatformInfoBit) -> Self {
        self.platform_info = Some(bit);
        self
    }
}

pub(super) fn named(name: &str) -> Option<&'static Advisory> {
    TABLE.iter().find(|advisory| advisory.name == name)
}

/// Checks that an advisory can be waived: only one that is required by default can be.
pub(super) fn check_waivable(name: &str) -> Result<(), PolicyError> {
    if named(name).is_some_and(|advisory| advisory.grade == Grade::Required) {
        return Ok(());
    }
    let reason = "names an advisory that this release does not require by itself, so there is nothing to waive";
    Err(PolicyError::UnusableValue { requirement: "trust.amd.waived-advisories", reason })
}

/// Checks that an advisory can be required: only one whose fix this release can see can be.
pub(super) fn check_known(name: &str) -> Result<(), PolicyError> {
    if named(name).is_some() {
        return Ok(());
    }
    let reason = "names an advisory of which this release does not know what shows its fix; `advisories::all` and docs/trust.md list those it \
         knows";
    Err(PolicyError::UnusableValue { requirement: "require.advisories", reason })
}

/// Checks a date: `YYYY-MM-DD`, not before the first advisory.
pub(super) fn check_day(day: Option<&str>) -> Result<(), PolicyError> {
    let Some(day) = day else { return Ok(()) };
    let refuse = |reason| Err(PolicyError::UnusableValue { requirement: "require.advisories-until", reason });
    let in_form = day.len() == 10
        && day
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    let part =
        |range: std::ops::Range<usize>| day.get(range).and_then(|text| text.parse::<u8>().ok()).unwrap_or_default();
    if !in_form || !(1..=12).contains(&part(5..7)) || !(1..=31).contains(&part(8..10)) {
        return refuse("is not a day in the form `2026-05-31`");
    }
    if TABLE.iter().all(|advisory| advisory.published > day) {
        return refuse("is before the first advisory that this release knows, so it requires nothing");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_says_each_thing_once_and_where_it_is_from() {
        let names: BTreeSet<_> = TABLE.iter().map(|advisory| advisory.name).collect();
        assert_eq!(names.len(), TABLE.len());
        assert!(TABLE.is_sorted_by_key(|advisory| advisory.published), "oldest first");
        for advisory in TABLE {
            assert_eq!(check_day(Some(advisory.published)), Ok(()), "{}", advisory.name);
            assert!(!advisory.sources.is_empty() && !advisory.cves.is_empty() && !advisory.fixes.is_empty());
            let mut silicon = BTreeSet::new();
            for fix in advisory.fixes {
                let asks = fix.tcb != TcbMinimum::new() || fix.mitigation.is_some() || fix.platform_info.is_some();
                assert!(asks, "{} has a fix that asks for nothing", advisory.name);
                assert!(fix.silicon.iter().all(|silicon_of| silicon.insert(*silicon_of)), "{}", advisory.name);
                // Each processor counts its microcode versions by itself.
                assert!(fix.tcb.microcode.is_none() || fix.silicon.len() == 1, "{}", advisory.name);
            }
        }
        assert!(named("AMD-SB-3034").is_none(), "its figures were withdrawn");
    }

    /// Nothing newer is in it: the day changes with the table.
    #[test]
    fn the_table_is_not_newer_than_it_says() {
        assert_eq!(check_day(Some(Advisory::AS_OF)), Ok(()));
        assert!(TABLE.iter().all(|advisory| advisory.published <= Advisory::AS_OF));
    }

    #[test]
    fn a_day_has_one_form() {
        let form = "is not a day in the form `2026-05-31`";
        let before = "is before the first advisory that this release knows, so it requires nothing";
        for (day, reason) in [
            ("2026-5-31", form),
            ("2026-05-32", form),
            ("2026-13-01", form),
            ("2026-00-10", form),
            ("26-05-31", form),
            ("2026/05/31", form),
            ("2026-05-31 ", form),
            ("", form),
            ("2020-01-01", before),
        ] {
            let unusable = PolicyError::UnusableValue { requirement: "require.advisories-until", reason };
            assert_eq!(check_day(Some(day)), Err(unusable), "{day}");
        }
        for day in ["2024-12-10", "2026-05-31", "2099-12-31"] {
            assert_eq!(check_day(Some(day)), Ok(()), "{day}");
        }
    }
}
