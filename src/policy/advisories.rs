use super::{InvalidPolicy, TcbMinimum};
use crate::types::Product;

/// A security advisory of AMD that can be told from the TCB, and the floor it sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advisory {
    /// AMD's name of it, such as `AMD-SB-3019`.
    pub name: &'static str,
    /// The day of its first publication, `YYYY-MM-DD`.
    pub published: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The product that the floor is for.
    pub product: Product,
    /// The least TCB that has the fix.
    pub floor: TcbMinimum,
}

/// The floors that hold under AMD trust unless a policy waives them by name
/// ([`Trust::allow_tcb_below`](super::Trust::allow_tcb_below)).
///
/// Only figures with a public source are here; what could not be confirmed is left out, so the absence of an advisory
/// says nothing. AMD-SB-3019 (CVE-2024-56161, microcode signature verification, 3 February 2025): SNP firmware 0x18 on
/// Milan and 0x17 on Genoa, as the bulletin is read in <https://github.com/microsoft/CCF/issues/6812>.
#[must_use]
pub fn advisories() -> &'static [Advisory] {
    const SB_3019: Advisory = Advisory {
        name: "AMD-SB-3019",
        published: "2025-02-03",
        about: "microcode patches with a forged signature could be loaded (CVE-2024-56161)",
        product: Product::Milan,
        floor: snp(0x18),
    };
    const TABLE: &[Advisory] = &[SB_3019, Advisory { product: Product::Genoa, floor: snp(0x17), ..SB_3019 }];
    TABLE
}

const fn snp(version: u8) -> TcbMinimum {
    TcbMinimum { fmc: None, bootloader: None, tee: None, snp: Some(version), microcode: None }
}

pub(super) fn check_known(name: &str) -> Result<(), InvalidPolicy> {
    if advisories().iter().any(|advisory| advisory.name == name) {
        return Ok(());
    }
    let why = "names an advisory that has no floor in this release, so there is nothing to waive";
    Err(InvalidPolicy::UnusableValue { requirement: "trust.amd.waived-advisories", why })
}
